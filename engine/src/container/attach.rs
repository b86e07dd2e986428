//! A command that is attached to a container: it passes its streams, its terminal's size and its signals on, until the end.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use pillbox::Signal;
use pillbox::container::ForwardedSignals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio;
use rustix::termios::tcgetwinsize;

use super::detach::{DetachKeys, Keyboard, Typed};
use super::log::Stream;
use super::monitor::{Decoder, Failure, Hello, Kind, Size, VERSION, decode_value, encode, encode_value};
use super::raw_terminal::{RawTerminal, write_all};
use crate::error::{Context, Error, Result};

/// What a caller asks for: which of the program's streams are box's, and how they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attaching {
    /// It reads what box reads, if it reads anything.
    pub stdin: bool,
    /// What it writes to stdout, or to its terminal, is shown.
    pub stdout: bool,
    /// What it writes to stderr is shown.
    pub stderr: bool,
    /// Signals are passed on.
    pub signals: bool,
    /// What lets go of its terminal.
    pub keys: DetachKeys,
}

impl Default for Attaching {
    fn default() -> Self {
        Attaching { stdin: true, stdout: true, stderr: true, signals: true, keys: DetachKeys::default() }
    }
}

/// What a client wants of a monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// To see what the program writes to stdout, or to its terminal.
    pub stdout: bool,
    /// To see what it writes to stderr.
    pub stderr: bool,
    /// To let it read what box reads, but for these keys.
    pub input: Option<DetachKeys>,
    /// Whether its stdin ends with what is read.
    pub ends_input: bool,
    /// Whether the program has a terminal.
    pub terminal: bool,
}

impl Wants {
    /// To know when it has started, or ended.
    pub const NOTHING: Wants =
        Wants { stdout: false, stderr: false, input: None, ends_input: false, terminal: false };
}

/// What becomes of the signals that box gets; without it they are for box itself. It does not go by the monitor, where it would
/// stand behind input that the program does not read.
pub type PassOn<'a> = &'a dyn Fn(Signal);

/// How far a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The program runs.
    Started,
    /// It has ended.
    Ended,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program runs.
    Running,
    /// It has ended with this status.
    Ended(u8),
    /// The user has let go of it with the keys for that.
    Detached,
    /// The monitor has gone without a word.
    Lost,
}

/// What may wait for the monitor. Above this nothing more is read from stdin.
const UNSENT_MAX: usize = 1 << 16;

/// Whoever is attached, with streams of his own.
pub trait Caller {
    /// What he writes, to be waited for.
    fn input(&self) -> BorrowedFd<'_>;

    /// Whether he is read although nothing of it is for the program: his form has words for both ends.
    fn is_read_anyway(&self) -> bool {
        false
    }

    /// Whether there is something to read without waiting.
    fn has_input(&self) -> bool {
        false
    }

    /// Reads what he has written.
    ///
    /// # Errors
    /// Nothing can be read.
    fn read(&mut self, buffer: &mut [u8]) -> rustix::io::Result<usize>;

    /// Shows him what the program has written to a stream.
    fn show(&mut self, stream: Stream, content: &[u8]);

    /// The size of his terminal.
    fn size(&self) -> Option<Size>;

    /// What shows that he has gone, if he can be gone while box is still there.
    fn lifeline(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Whoever has called box.
struct Stdio;

impl Caller for Stdio {
    fn input(&self) -> BorrowedFd<'_> {
        stdio::stdin()
    }

    fn read(&mut self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::io::read(stdio::stdin(), buffer)
    }

    fn show(&mut self, stream: Stream, content: &[u8]) {
        let to = if stream == Stream::Stderr { stdio::stderr() } else { stdio::stdout() };
        write_all(to, content);
    }

    fn size(&self) -> Option<Size> {
        let streams = [stdio::stdin(), stdio::stdout(), stdio::stderr()];
        let size = streams.into_iter().find_map(|stream| tcgetwinsize(stream).ok())?;
        Some(Size { rows: size.ws_row, columns: size.ws_col })
    }
}

/// Speaks to a monitor for whoever has called box. With `start` it lets a container that was just made begin. `warn` gets lines for
/// the user.
///
/// # Errors
/// The container could not be started; the connection broke.
pub fn attach(
    stream: &UnixStream,
    wants: Wants,
    pass_on: Option<PassOn<'_>>,
    start: bool,
    until: Until,
    warn: &mut dyn FnMut(&str),
) -> Result<Outcome> {
    attach_caller(stream, wants, &mut Stdio, pass_on, start, until, warn)
}

/// Attaches somebody to the monitor of a container, until its end or until he lets go.
///
/// # Errors
/// The container could not be started; the connection broke.
pub fn relay(stream: &UnixStream, wants: Wants, caller: &mut dyn Caller) -> Result<Outcome> {
    attach_caller(stream, wants, caller, None, false, Until::Ended, &mut |_| {})
}

fn attach_caller(
    stream: &UnixStream,
    wants: Wants,
    caller: &mut dyn Caller,
    pass_on: Option<PassOn<'_>>,
    start: bool,
    until: Until,
    warn: &mut dyn FnMut(&str),
) -> Result<Outcome> {
    let hello =
        Hello { version: VERSION, output: wants.stdout || wants.stderr, input: wants.input.is_some() };
    // Neither end ever waits for the other, or both would.
    stream.set_nonblocking(true).context(|| "monitor")?;
    let signals = pass_on.map(|_| ForwardedSignals::block()).transpose()?;
    let is_typed = wants.terminal && wants.input.is_some() && caller.lifeline().is_none();
    let raw = is_typed.then(RawTerminal::enter).flatten();
    let mut session = Session {
        stream,
        keyboard: Keyboard::new(wants.input.clone().unwrap_or_default()),
        reads: wants.input.is_some() || caller.is_read_anyway(),
        wants,
        caller,
        pass_on,
        decoder: Decoder::default(),
        unsent: encode_value(Kind::Hello, &hello),
        start,
        until,
    };
    if session.wants.terminal && !start {
        session.send_size();
    }
    let outcome = session.run(signals.as_ref(), warn);
    drop(raw);
    outcome
}

struct Session<'a> {
    stream: &'a UnixStream,
    wants: Wants,
    caller: &'a mut dyn Caller,
    pass_on: Option<PassOn<'a>>,
    decoder: Decoder,
    /// What the monitor has not taken yet.
    unsent: Vec<u8>,
    /// Whether stdin has not come to its end.
    reads: bool,
    keyboard: Keyboard,
    start: bool,
    until: Until,
}

impl Session<'_> {
    fn run(&mut self, signals: Option<&ForwardedSignals>, warn: &mut dyn FnMut(&str)) -> Result<Outcome> {
        loop {
            self.send();
            let write = if self.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut polled = vec![PollFd::new(self.stream, PollFlags::IN | write)];
            if let Some(signals) = signals {
                polled.push(PollFd::from_borrowed_fd(signals.descriptor(), PollFlags::IN));
            }
            // What is typed before the program runs is for it as well.
            if self.reads && !self.start && self.unsent.len() < UNSENT_MAX {
                polled.push(PollFd::from_borrowed_fd(self.caller.input(), PollFlags::IN));
            }
            let lifeline = self.caller.lifeline();
            polled.extend(lifeline.map(|line| PollFd::from_borrowed_fd(line, PollFlags::empty())));
            // What has come already is not waited for.
            let has_input = self.reads && !self.start && self.caller.has_input();
            let limit = has_input.then_some(Timespec { tv_sec: 0, tv_nsec: 0 });
            match poll(&mut polled, limit.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).context(|| "wait for the container"),
            }
            let ready = |wanted: BorrowedFd<'_>| {
                use std::os::fd::AsRawFd;
                polled
                    .iter()
                    .any(|one| one.as_fd().as_raw_fd() == wanted.as_raw_fd() && !one.revents().is_empty())
            };
            let (heard, signalled, typed) = (
                ready(self.stream.as_fd()),
                signals.is_some_and(|signals| ready(signals.descriptor())),
                has_input || ready(self.caller.input()),
            );
            // Whoever has gone may have left something to be read.
            let has_gone = lifeline.is_some() && polled.last().is_some_and(|line| !line.revents().is_empty());
            if has_gone && !(self.reads && self.unsent.len() < UNSENT_MAX) {
                return Ok(Outcome::Detached);
            }
            if let Some(signals) = signals.filter(|_| signalled) {
                let mut arrived = Vec::new();
                signals.each(|signal| arrived.push(signal))?;
                arrived.into_iter().for_each(|signal| self.take_signal(signal));
            }
            if typed && self.reads && self.read_keyboard()? {
                return Ok(Outcome::Detached);
            }
            if heard && let Some(outcome) = self.hear(warn)? {
                return Ok(outcome);
            }
        }
    }

    /// What the monitor says.
    fn hear(&mut self, warn: &mut dyn FnMut(&str)) -> Result<Option<Outcome>> {
        let mut buffer = [0; 1 << 16];
        let length = match (&mut &*self.stream).read(&mut buffer) {
            Ok(0) => return Ok(Some(Outcome::Lost)),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Some(Outcome::Lost)),
            Err(error) => return Err(error).context(|| "monitor"),
        };
        self.decoder.add(&buffer[..length]);
        while let Some((kind, payload)) = self.decoder.next_frame()? {
            match kind {
                Kind::Created if self.start => {
                    self.start = false;
                    if self.wants.terminal {
                        self.send_size();
                    }
                    self.say(&encode(Kind::Start, b""));
                }
                Kind::Started if self.until == Until::Started => return Ok(Some(Outcome::Running)),
                Kind::Failed => {
                    let Failure { text, status, kind } = decode_value(&payload)?;
                    return Err(Error::new(kind.unwrap_or(crate::Kind::Host), text).with_status(status));
                }
                Kind::Stdout if self.wants.stdout => self.caller.show(Stream::Stdout, &payload),
                Kind::Stderr if self.wants.stderr => self.caller.show(Stream::Stderr, &payload),
                Kind::Warning => warn(&String::from_utf8_lossy(&payload)),
                Kind::Ended => return Ok(Some(Outcome::Ended(payload.first().copied().unwrap_or(0)))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Passes stdin on; true if the user lets go.
    fn read_keyboard(&mut self) -> Result<bool> {
        let mut buffer = [0; 1 << 14];
        let length = match self.caller.read(&mut buffer) {
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Err(_) => 0,
        };
        if self.wants.input.is_none() {
            // Nothing of it is for the program.
            self.reads = length > 0;
            return Ok(false);
        }
        if length == 0 {
            self.reads = false;
            if self.wants.ends_input {
                self.say(&encode(Kind::InputEnd, b""));
            }
            return Ok(false);
        }
        if !self.wants.terminal {
            self.say(&encode(Kind::Input, &buffer[..length]));
            return Ok(false);
        }
        let Typed { text, lets_go } = self.keyboard.take(&buffer[..length]);
        if !text.is_empty() {
            self.say(&encode(Kind::Input, &text));
        }
        // What was typed before the keys is for the program still.
        while lets_go && !self.unsent.is_empty() {
            match poll(&mut [PollFd::new(self.stream, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => self.send(),
                Err(errno) => return Err(errno).context(|| "monitor"),
            }
        }
        Ok(lets_go)
    }

    fn take_signal(&mut self, signal: Signal) {
        match signal {
            Signal::WINCH if self.wants.terminal => self.send_size(),
            // Of a reader of box's own that has gone.
            Signal::PIPE => {}
            signal => self.pass_on.iter().for_each(|pass_on| pass_on(signal)),
        }
    }

    fn send_size(&mut self) {
        if let Some(size) = self.caller.size() {
            self.say(&encode_value(Kind::Resize, &size));
        }
    }

    fn say(&mut self, frame: &[u8]) {
        self.unsent.extend_from_slice(frame);
        self.send();
    }

    /// Sends as much as the monitor takes. One that has gone is seen when it is read from.
    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match (&mut &*self.stream).write(&self.unsent) {
                Ok(length) => {
                    self.unsent.drain(..length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.unsent.clear(),
            }
        }
    }
}
