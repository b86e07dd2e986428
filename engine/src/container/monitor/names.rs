//! The monitor answers its container for names, in a thread that waits for nothing else.

use std::fs::File;
use std::io::PipeWriter;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{Builder, JoinHandle};

use pillbox::Container;
use pillbox_network::responder::{self, Sockets};

use super::Monitored;
use crate::container::neighbours::Neighbourhood;
use crate::error::{Context, Result};
use crate::inside::open_name_sockets;
use crate::names::Server;

/// What the thread has for its stack, of which the kernel gives what is used.
const STACK: usize = 1 << 20;

/// Whoever drops it ends the thread.
#[derive(Debug)]
pub struct Naming {
    end: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Naming {
    /// Begins to answer in the container's network namespace.
    ///
    /// # Errors
    /// The kernel gives no sockets there, or no thread.
    pub fn begin(monitored: &Monitored, container: &Container) -> Result<Naming> {
        let is_users = monitored.store.maps().is_some();
        let opened = open_sockets(container.pid()?, is_users);
        let Sockets { udp, tcp } = opened.context(|| "answer for names")?;
        let directory = Neighbourhood::of(monitored.store.clone(), monitored.folder.clone());
        let (ended, end) = std::io::pipe().context(|| "a pipe")?;
        let ended = OwnedFd::from(ended);
        let serve = move || Server::new(udp, tcp, directory).serve(&ended);
        let thread = Builder::new().name("box-names".into()).stack_size(STACK).spawn(serve);
        Ok(Naming { end: Some(end), thread: Some(thread.context(|| "a thread")?) })
    }
}

/// In the network namespace of a container's process. That of an ordinary user's is entered by another process.
fn open_sockets(pid: i32, is_users: bool) -> Result<Sockets> {
    if is_users {
        return open_name_sockets(pid);
    }
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).context(|| path.clone())?;
    Ok(responder::open(namespace.as_fd()).map_err(pillbox::container::worded)?)
}

impl Drop for Naming {
    fn drop(&mut self) {
        drop(self.end.take());
        // It has nothing to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
