//! Containers that report when they are ready: see [`crate::spawn::notify`].

use std::os::fd::OwnedFd;

use crate::error::Result;
use crate::spawn::notify::{self, Proxy};
use crate::state::{Record, StateDirectory};

/// Listens to a created container until it is ready.
#[derive(Debug)]
pub struct Readiness {
    proxy: Proxy,
    process: OwnedFd,
    pid: i32,
}

impl Readiness {
    /// Begins to listen. The container is a created one, and its folder is locked. `manager` is the value of
    /// `NOTIFY_SOCKET`. `None` if the container was created without [`super::CommandLine::notify`].
    pub(super) fn listen(
        directory: &StateDirectory,
        record: &Record,
        manager: &str,
    ) -> Result<Option<Readiness>> {
        let Some(process) = record.open_process()? else { return Ok(None) };
        let proxy = notify::listen(directory.folder(), manager)?;
        Ok(proxy.map(|proxy| Readiness { proxy, process, pid: record.pid }))
    }

    /// Waits until the started container is ready and the service manager has been told, or until the
    /// container has ended.
    ///
    /// # Errors
    /// The service manager could not be told.
    pub fn wait(mut self) -> Result<()> {
        self.proxy.wait(&self.process, self.pid)
    }
}
