//! The program's output, as it comes to the monitor: named pipes, which outlive a monitor that is killed, or a terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::container::log::Stream;
use crate::error::{Context, Result};

/// The most that is read at once, and the most that the pipe holds.
pub const CHUNK: usize = 1 << 16;

/// A stream of the program's.
#[derive(Debug)]
pub struct Output {
    pub stream: Stream,
    descriptor: OwnedFd,
    /// How many more bytes are read, where there is an end to that.
    rest: Option<usize>,
}

/// What a look at a stream brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// So many bytes.
    Some(usize),
    /// Nothing now.
    Nothing,
    /// Nobody has it open any more.
    End,
}

impl Output {
    /// The master of the program's terminal.
    pub fn of_terminal(master: OwnedFd) -> Output {
        Output { stream: Stream::Stdout, descriptor: master, rest: None }
    }

    /// Nothing is read any more but what is there now: the program has ended, and whoever has outlived it may write for ever.
    pub fn read_only_the_rest(&mut self) {
        let there = rustix::io::ioctl_fionread(&self.descriptor).unwrap_or(0);
        // A terminal may have more on the way.
        self.rest = Some(usize::try_from(there).unwrap_or(usize::MAX).max(CHUNK));
    }

    /// A pipe into which a program writes.
    pub fn of_pipe(stream: Stream, descriptor: OwnedFd) -> Result<Output> {
        rustix::io::ioctl_fionbio(&descriptor, true).context(|| "the program's output")?;
        Ok(Output { stream, descriptor, rest: None })
    }

    /// Reads what is there, without waiting.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Look> {
        let most = self.rest.unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(Look::Nothing);
        }
        match rustix::io::read(&self.descriptor, &mut buffer[..most]) {
            // A terminal says EIO when nobody has it open.
            Ok(0) | Err(Errno::IO) => Ok(Look::End),
            Ok(length) => {
                self.rest = self.rest.map(|rest| rest - length);
                Ok(Look::Some(length))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Look::Nothing),
            Err(errno) => Err(errno).context(|| "read the program's output"),
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The pipes for stdout and stderr in a folder.
pub struct Pipes {
    paths: [(PathBuf, Stream); 2],
}

impl Pipes {
    pub fn in_folder(folder: &Path) -> Pipes {
        Pipes { paths: [(folder.join("stdout"), Stream::Stdout), (folder.join("stderr"), Stream::Stderr)] }
    }

    /// Makes them, and opens the program's ends: for reading as well, so that the program does not get SIGPIPE when the monitor is
    /// killed, but waits for the next one.
    pub fn make(&self) -> Result<[OwnedFd; 2]> {
        let make = |(path, _): &(PathBuf, Stream)| {
            let named = || format!("make the pipe {}", path.display());
            // Whoever the program is, it may open its /dev/stdout. The folder is nobody else's.
            let mode = Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0).context(named)?;
            rustix::fs::chmodat(CWD, path, mode, rustix::fs::AtFlags::empty()).context(named)?;
            rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).context(named)
        };
        Ok([make(&self.paths[0])?, make(&self.paths[1])?])
    }

    /// Opens the monitor's ends.
    pub fn open(&self) -> Result<Vec<Output>> {
        let open = |(path, stream): &(PathBuf, Stream)| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let descriptor = rustix::fs::open(path, flags, Mode::empty());
            let descriptor = descriptor.context(|| format!("open the pipe {}", path.display()))?;
            Ok(Output { stream: *stream, descriptor, rest: None })
        };
        self.paths.iter().map(open).collect()
    }
}
