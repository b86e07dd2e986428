//! A container that says itself when it is ready: see [`crate::notify`].

use std::os::fd::OwnedFd;

use crate::container_id::ContainerId;
use crate::error::Result;
use crate::notify::{self, Proxy};
use crate::state::Root;

/// Listens for a created container, until it is ready.
#[derive(Debug)]
pub struct Readiness {
    proxy: Proxy,
    process: OwnedFd,
    pid: i32,
}

impl Readiness {
    /// Begins to listen, which has to be before `start`; `manager` is the value of `NOTIFY_SOCKET`. None if the
    /// container was created without [`super::CreateOptions::notify`].
    ///
    /// # Errors
    /// There is no such container.
    pub fn listen(root: &Root, id: &ContainerId, manager: &str) -> Result<Option<Readiness>> {
        let directory = root.find(id)?;
        let record = directory.load()?;
        let Some(process) = record.open_process()? else { return Ok(None) };
        let proxy = notify::listen(directory.folder(), manager)?;
        Ok(proxy.map(|proxy| Readiness { proxy, process, pid: record.pid }))
    }

    /// Waits until the started container has said that it is ready, and tells the service manager; or until its end.
    ///
    /// # Errors
    /// The service manager could not be told.
    pub fn wait(self) -> Result<()> {
        self.proxy.wait(&self.process, self.pid)
    }
}
