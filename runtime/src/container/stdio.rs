//! Where a container's stdin, stdout and stderr lead.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Context, Result};

/// One of the three streams that a program starts with. With `process.terminal` the terminal is all three.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null` of the host.
    Null,
    /// Whatever a descriptor leads to: one end of a pipe, a file, a socket.
    Descriptor(OwnedFd),
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(descriptor: T) -> Self {
        Stdio::Descriptor(descriptor.into())
    }
}

impl Stdio {
    /// A descriptor above 2 for it; `None` for the caller's own.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>> {
        match self {
            Stdio::Inherit => Ok(None),
            Stdio::Null => {
                let flags = OFlags::RDWR | OFlags::CLOEXEC;
                rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty())
                    .map(Some)
                    .context(|| "open /dev/null")
            }
            Stdio::Descriptor(descriptor) => rustix::io::fcntl_dupfd_cloexec(descriptor, 3)
                .map(Some)
                .context(|| "duplicate a descriptor for stdio"),
        }
    }
}
