//! What is ended in order when the user ends it: signals are taken while it runs.

use std::io::pipe;
use std::sync::atomic::{AtomicBool, Ordering};

use pillbox::Signal;
use pillbox::container::ForwardedSignals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Context, Result};
use crate::thread::spawn;

/// How long the work has to end after it was told, in seconds.
const PATIENCE: i64 = 3;

/// Signals that end programs.
const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// Does some work; when a signal comes that is to end it, `cancel` is called. Work that goes on for all that is ended with the process.
///
/// # Errors
/// Signals cannot be received.
pub fn until_interrupted<T>(cancel: &mut (dyn FnMut() + Send), work: impl FnOnce() -> T) -> Result<T> {
    let signals = ForwardedSignals::block()?;
    let (end, running) = pipe().context(|| "a pipe")?;
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        spawn(scope, || {
            let wait = || {
                let mut polled = [
                    PollFd::new(&end, PollFlags::IN),
                    PollFd::from_borrowed_fd(signals.descriptor(), PollFlags::IN),
                ];
                let _ = poll(&mut polled, None);
            };
            let wait_for_end = || {
                let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
                let _ = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&patience));
            };
            while !is_done.load(Ordering::SeqCst) {
                wait();
                let mut ending = None;
                let _ = signals
                    .each(|signal| ending = ending.or(Some(signal).filter(|signal| ENDING.contains(signal))));
                let Some(signal) = ending else { continue };
                cancel();
                wait_for_end();
                if !is_done.load(Ordering::SeqCst) {
                    std::process::exit(128 + signal.as_raw());
                }
            }
        })?;
        let done = work();
        is_done.store(true, Ordering::SeqCst);
        drop(running);
        Ok(done)
    })
}
