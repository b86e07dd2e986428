//! Where a container's stdin, stdout and stderr lead.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};

use super::create::CreateOptions;
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

impl CreateOptions {
    /// Descriptors above 2 for those of the three streams that are not the caller's own, with the streams' numbers.
    pub(super) fn open_stdio(&self) -> Result<Vec<(OwnedFd, u32)>> {
        let mut streams = Vec::new();
        for (number, stream) in [&self.stdin, &self.stdout, &self.stderr].into_iter().enumerate() {
            let opened = match stream {
                Stdio::Inherit => continue,
                Stdio::Null => {
                    rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                }
                Stdio::Descriptor(descriptor) => rustix::io::fcntl_dupfd_cloexec(descriptor, 3),
            };
            streams.push((opened.context(|| format!("open stdio {number}"))?, number as u32));
        }
        Ok(streams)
    }
}
