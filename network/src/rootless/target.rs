//! Whose network namespace it is about.

use std::os::unix::fs::MetadataExt as _;

use rustix::process::Pid;

use super::process::errno;
use crate::error::{Context, Result};

/// A process in the namespaces of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its pid.
    pub pid: i32,
    /// Whether it stands in another user namespace than the caller.
    pub has_own_users: bool,
}

impl Target {
    /// Looks at a process.
    ///
    /// # Errors
    /// It is gone, or its namespaces are closed to the caller.
    pub fn of(process: Pid) -> Result<Target> {
        let mut target = Target { pid: process.as_raw_pid(), has_own_users: false };
        let path = target.namespace("user");
        let users = inode(&path).context(format_args!("open {path}"))?;
        target.has_own_users = inode("/proc/self/ns/user") != Ok(users);
        Ok(target)
    }

    /// The path of its namespace of that kind.
    pub fn namespace(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.pid)
    }
}

fn inode(path: &str) -> rustix::io::Result<u64> {
    std::fs::metadata(path).map(|status| status.ino()).map_err(errno)
}
