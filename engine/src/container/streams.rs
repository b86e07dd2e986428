//! The streams of a program that box waits for. The caller's files and terminals stay out of the container, which could do more with
//! them than read or write: box copies between them and pipes.

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use pillbox::container::ForwardedSignals;
use pillbox::{Stdio, Warning};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat, major, minor};
use rustix::io::{Errno, read, write};
use rustix::process::{getegid, geteuid};
use rustix::stdio;
use serde_json::Value;

use crate::error::{Context, Result};

/// /dev/null, which is nobody's.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// How much is copied at once, and the most that a pipe holds.
const CHUNK: usize = 1 << 16;

/// Whose a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// That of the user who calls box: the container's root.
    Caller,
    /// Another one, who becomes the owner of what the program gets.
    Other,
}

impl Account {
    /// That of a `process` of config.json.
    pub fn of(process: &Value) -> Account {
        let user = &process["user"];
        if user["uid"] == 0 && user["gid"] == 0 { Account::Caller } else { Account::Other }
    }
}

/// What the program gets.
#[derive(Debug)]
pub struct ProgramStreams {
    pub stdin: Stdio,
    pub stdout: Stdio,
    pub stderr: Stdio,
}

/// Threads that copy what is not passed on as it is.
#[derive(Default)]
pub struct Copying {
    outputs: Vec<(&'static str, JoinHandle<rustix::io::Result<()>>)>,
    /// Whose other end is closed when the program has ended.
    running: Option<(Arc<PipeReader>, PipeWriter)>,
    /// Threads begin with the signals of the one that starts them, and must not take what is for the program.
    signals: Option<ForwardedSignals>,
}

/// Connects a program to the caller's streams; without `interactive` it has nothing to read.
///
/// # Errors
/// There are no descriptors, or no threads.
pub fn connect(interactive: bool, account: Account) -> Result<(ProgramStreams, Copying)> {
    let mut copying = Copying::default();
    let stdin = match interactive {
        true if is_passed(stdio::stdin(), account)? => Stdio::Inherit,
        true => copying.input()?,
        false => Stdio::Null,
    };
    let [stdout, stderr] = [stdio::stdout(), stdio::stderr()];
    let [pass_stdout, pass_stderr] = [is_passed(stdout, account)?, is_passed(stderr, account)?];
    // Two pipes to the same place would not keep the order of what is written.
    if !pass_stdout && !pass_stderr && is_same(stdout, stderr)? {
        let writer = copying.output("stdout", stdout)?;
        let again = writer.try_clone().context(|| "a pipe")?;
        return Ok((ProgramStreams { stdin, stdout: writer.into(), stderr: again.into() }, copying));
    }
    let mut lead = |is_passed, name, sink| match is_passed {
        true => Ok(Stdio::Inherit),
        false => copying.output(name, sink).map(Stdio::from),
    };
    let (stdout, stderr) = (lead(pass_stdout, "stdout", stdout)?, lead(pass_stderr, "stderr", stderr)?);
    Ok((ProgramStreams { stdin, stdout, stderr }, copying))
}

impl Copying {
    /// When the program has ended: waits until everything that it wrote is where it belongs, unless a signal ends box.
    pub fn finish(self, warn: &mut dyn FnMut(&Warning)) {
        let Copying { outputs, running, signals } = self;
        drop((running, signals));
        for (name, thread) in outputs {
            match thread.join() {
                // Whoever has gone knows that.
                Ok(Ok(()) | Err(Errno::PIPE | Errno::IO | Errno::CONNRESET)) => {}
                Ok(Err(errno)) => {
                    let cause = std::io::Error::from(errno);
                    warn(&Warning::output_lost(format_args!("{name}: {cause}: output is lost")));
                }
                Err(_) => {
                    warn(&Warning::output_lost(format_args!("{name}: its thread has ended: output is lost")))
                }
            }
        }
    }

    fn input(&mut self) -> Result<Stdio> {
        let (reader, writer) = pipe().context(|| "a pipe")?;
        self.hold_signals()?;
        // Nobody waits for it: it may wait for what is typed, and ends with box.
        let started = Builder::new().spawn(move || copy_input(&writer));
        started.context(|| "a thread for stdin")?;
        Ok(Stdio::from(reader))
    }

    fn output(&mut self, name: &'static str, sink: BorrowedFd<'static>) -> Result<PipeWriter> {
        let (reader, writer) = pipe().context(|| "a pipe")?;
        rustix::io::ioctl_fionbio(&reader, true).context(|| "a pipe")?;
        self.hold_signals()?;
        if self.running.is_none() {
            let (end, running) = pipe().context(|| "a pipe")?;
            self.running = Some((Arc::new(end), running));
        }
        let end = self.running.iter().map(|(end, _)| end.clone()).next();
        let started = Builder::new().spawn(move || copy_output(&reader, sink, end.as_deref()));
        self.outputs.push((name, started.context(|| format!("a thread for {name}"))?));
        Ok(writer)
    }

    fn hold_signals(&mut self) -> Result<()> {
        if self.signals.is_none() {
            self.signals = Some(ForwardedSignals::block()?);
        }
        Ok(())
    }
}

/// Whether a program may have a stream of the caller's as it is: with nothing behind it but what is read and written, and with the
/// owner that it has.
fn is_passed(stream: BorrowedFd<'_>, account: Account) -> Result<bool> {
    let status = fstat(stream).context(|| "stdio")?;
    let is_callers = (status.st_uid, status.st_gid) == (geteuid().as_raw(), getegid().as_raw());
    Ok(match FileType::from_raw_mode(status.st_mode) {
        FileType::Fifo | FileType::Socket => account == Account::Caller && is_callers,
        FileType::CharacterDevice => (major(status.st_rdev), minor(status.st_rdev)) == NULL_DEVICE,
        _ => false,
    })
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool> {
    let place = |stream| fstat(stream).map(|status| (status.st_dev, status.st_ino)).context(|| "stdio");
    Ok(place(one)? == place(other)?)
}

/// Until there is nothing more to read, or nobody to read it.
fn copy_input(pipe: &PipeWriter) {
    let (stdin, mut buffer) = (stdio::stdin(), vec![0; CHUNK]);
    loop {
        match read(stdin, &mut *buffer) {
            Ok(0) => return,
            Ok(length) => {
                if write_all(pipe.as_fd(), &buffer[..length]).is_err() {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if wait_for(&mut [PollFd::from_borrowed_fd(stdin, PollFlags::IN)]).is_err() {
                    return;
                }
            }
            // Of a terminal whose user has gone, or in the background.
            Err(_) => return,
        }
    }
}

/// Until nobody can write any more, or the program has ended: what has outlived it may keep the pipe open. If it fails, the pipe is
/// closed, and the program gets SIGPIPE as if it had written itself.
fn copy_output(pipe: &PipeReader, sink: BorrowedFd<'_>, end: Option<&PipeReader>) -> rustix::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut is_last = false;
    loop {
        match read(pipe, &mut *buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => write_all(sink, &buffer[..length])?,
            Err(Errno::AGAIN) if is_last => return Ok(()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if is_last {
            return Ok(());
        }
        let mut polled = vec![PollFd::new(pipe, PollFlags::IN)];
        polled.extend(end.map(|end| PollFd::new(end, PollFlags::IN)));
        wait_for(&mut polled)?;
        // One more look, which takes all that a pipe holds.
        is_last = polled.get(1).is_some_and(|end| !end.revents().is_empty());
    }
}

fn write_all(sink: BorrowedFd<'_>, mut content: &[u8]) -> rustix::io::Result<()> {
    while !content.is_empty() {
        match write(sink, content) {
            Ok(length) => content = &content[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for(&mut [PollFd::from_borrowed_fd(sink, PollFlags::OUT)])?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn wait_for(polled: &mut [PollFd<'_>]) -> rustix::io::Result<()> {
    match poll(polled, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
