//! An overlay that a thread makes while its caller goes on: overlayfs tries out on each mount what the disk's file system can do, and
//! makes and removes files there.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::io::Errno;
use rustix::process::{Gid, Pid, Uid};
use rustix::thread::gettid;

use super::{Layers, Source};
use crate::error::{Context, Result};
use crate::sys::{send_away, several_processors};

/// Enough for its system calls, and for the words of an error.
const STACK: usize = 256 * 1024;

/// Layers, and the thread that makes an overlay of them; dropping it waits for its end.
#[derive(Debug)]
pub(super) struct Meanwhile {
    layers: Layers,
    thread: Mutex<Option<JoinHandle<Option<OwnedFd>>>>,
}

impl Meanwhile {
    /// Begins to make it, if there is another processor.
    pub(super) fn begin(layers: Layers) -> Meanwhile {
        let own = layers.clone();
        let thread = several_processors().and_then(|processors| {
            let thread = Builder::new().stack_size(STACK).spawn(move || own.mount().ok()).ok();
            if let Some(only) = other_thread() {
                send_away(Some(only), &processors);
            }
            thread
        });
        Meanwhile { thread: Mutex::new(thread), layers }
    }
}

/// The other thread of a process that has two.
fn other_thread() -> Option<Pid> {
    let own = gettid();
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.flatten();
    let numbers = tasks.filter_map(|task| Pid::from_raw(task.file_name().to_str()?.parse().ok()?));
    let mut others = numbers.filter(|number| *number != own);
    others.next().filter(|_| others.next().is_none())
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        // What it has made is unmounted before anybody removes its folders.
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(thread.take().map(JoinHandle::join));
    }
}

impl Source for Meanwhile {
    fn name(&self) -> &'static str {
        self.layers.name()
    }

    fn check(&self) -> Result<()> {
        self.layers.check()
    }

    fn open(&self) -> Result<OwnedFd> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread.and_then(|thread| thread.join().ok().flatten()) {
            Some(mount) => Ok(mount),
            // Or to say why not.
            None => self.layers.mount(),
        }
    }

    fn can_be_made_inside(&self) -> bool {
        false
    }

    fn open_inside(&self, _: BorrowedFd<'_>, _: (Uid, Gid)) -> Result<OwnedFd> {
        Err(Errno::PERM).context(|| "root: the overlay")
    }
}

impl fmt::Display for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layers.fmt(f)
    }
}
