//! Work that its client waits for: nobody needs it when the client has gone.

use std::io::pipe;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::fault::Outcome;
use crate::thread::spawn;

/// Does some work; `cancel` is called when the client closes its end altogether meanwhile.
///
/// # Errors
/// There are too many threads or descriptors already.
pub fn while_there<T>(
    connection: &UnixStream,
    cancel: impl FnOnce() + Send,
    work: impl FnOnce() -> T,
) -> Outcome<T> {
    let (end, running) = pipe()?;
    std::thread::scope(|scope| {
        spawn(scope, move || {
            // That it has gone is always told, whatever is asked.
            let mut polled = [PollFd::new(&end, PollFlags::IN), PollFd::new(connection, PollFlags::empty())];
            while poll(&mut polled, None) == Err(Errno::INTR) {}
            if !polled[1].revents().is_empty() {
                cancel();
            }
        })?;
        let done = work();
        drop(running);
        Ok(done)
    })
}
