//! Whether an attachment still has something that it lives with.

use std::path::Path;

use rustix::fs::Stat;
use rustix::io::{self, Errno};

use super::Result;
use crate::attachment::{Attachment, Holder};
use crate::error::Context;

impl Holder {
    /// What is at the path now: a container's state folder, a network namespace.
    ///
    /// # Errors
    /// There is nothing, or it cannot be looked at.
    pub fn of(path: &Path) -> Result<Holder> {
        let shown = path.display().to_string();
        let status = stat(&shown).context(format_args!("stat of {shown}"))?;
        Ok(Holder { path: shown, device: status.st_dev, inode: status.st_ino })
    }

    /// Whether its path still leads to it. Without a path there is nothing that could be gone.
    ///
    /// # Errors
    /// The path cannot be looked at, which says nothing about what is there.
    pub fn is_there(&self) -> Result<bool> {
        if self.path.is_empty() {
            return Ok(true);
        }
        match stat(&self.path) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            status => {
                let status = status.context(format_args!("stat of {}", self.path))?;
                Ok((status.st_dev, status.st_ino) == (self.device, self.inode))
            }
        }
    }
}

impl Attachment {
    /// Whether somebody will undo it: it is of this boot, and its holder is there.
    ///
    /// # Errors
    /// The holder's path cannot be looked at.
    pub fn is_alive(&self, boot: &str) -> Result<bool> {
        if self.boot != boot { Ok(false) } else { self.holder.is_there() }
    }
}

fn stat(path: &str) -> io::Result<Stat> {
    rustix::fs::stat(path)
}
