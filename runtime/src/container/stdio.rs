//! Where a container's stdin, stdout and stderr lead.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// One of the three streams that a program starts with. With `process.terminal` the terminal is all three.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null` of the host.
    Null,
    /// A descriptor: one end of a pipe, a file, a socket.
    Descriptor(OwnedFd),
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(descriptor: T) -> Self {
        Stdio::Descriptor(descriptor.into())
    }
}

/// The three streams of a program.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub stdin: Stdio,
    pub stdout: Stdio,
    pub stderr: Stdio,
}

impl Streams {
    /// Opens all streams that are not the caller's own, as descriptors above 2; each comes with the stream's
    /// number.
    pub(super) fn open(&self) -> Result<Vec<(OwnedFd, u32)>> {
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

/// Opens /dev/null in the place of a closed stdin, stdout or stderr. Otherwise the next file that is opened
/// would get that number; what is printed would go there, and a child that gets another stream would not have
/// the file.
#[doc(hidden)]
pub fn occupy_stdio() -> Result<()> {
    let stdio = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut polled = stdio.map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::empty()));
    loop {
        match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(Errno::INTR) => {}
            done => break done.map(drop).context(|| "look at stdin, stdout and stderr: poll")?,
        }
    }
    for stream in &polled {
        if stream.revents().contains(PollFlags::NVAL) {
            // Descriptors are given in ascending order, so that this one is the closed one.
            let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())
                .context(|| "open /dev/null in the place of a closed stdin, stdout or stderr")?;
            // If another thread has done the same meanwhile, the number is higher, and the file is closed
            // again.
            if null.as_raw_fd() <= 2 {
                std::mem::forget(null);
            }
        }
    }
    Ok(())
}
