//! A client of the monitor, as the monitor sees it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;

use super::protocol::{Decoder, FRAME_MAX, Hello, KNOWS_EXITED, Kind, decode_value, encode};
use crate::error::{Context, Result};

/// What a client has not taken yet. Above this the program waits.
const PENDING_MAX: usize = 1 << 18;

/// A connection. It never makes the monitor wait.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
    pending: Vec<u8>,
    hello: Hello,
    is_gone: bool,
}

impl Client {
    /// One that has not said yet who it is.
    pub fn new(stream: UnixStream) -> Result<Client> {
        Client::of(stream, Hello::default())
    }

    /// One of which it is known.
    pub fn of(stream: UnixStream, hello: Hello) -> Result<Client> {
        stream.set_nonblocking(true).context(|| "a client")?;
        Ok(Client { stream, decoder: Decoder::default(), pending: Vec::new(), hello, is_gone: false })
    }

    /// What is waited for; `None` if nothing is: poll(2) would tell of its end again and again.
    pub fn wanted(&self, may_read: bool) -> Option<PollFlags> {
        let read = if may_read { PollFlags::IN } else { PollFlags::empty() };
        let write = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        Some(read | write).filter(|wanted| !wanted.is_empty())
    }

    /// Whether it has closed its end.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether it has so much to take that the program should wait.
    pub fn is_full(&self) -> bool {
        self.pending.len() > PENDING_MAX
    }

    /// Whether there is something that it has not taken.
    pub fn is_behind(&self) -> bool {
        !self.pending.is_empty() && !self.is_gone
    }

    /// Whether it has something for the program to read.
    pub fn has_input(&self) -> bool {
        self.hello.input
    }

    /// Reads what it says.
    ///
    /// # Errors
    /// It says what is not known.
    pub fn hear(&mut self) -> Result<Vec<(Kind, Vec<u8>)>> {
        let mut buffer = [0; 1 << 14];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.is_gone = true,
            Ok(length) => self.decoder.add(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.is_gone = true,
        }
        let mut frames = Vec::new();
        while let Some((kind, payload)) = self.decoder.next_frame()? {
            match kind {
                Kind::Hello => self.hello = decode_value(&payload)?,
                kind => frames.push((kind, payload)),
            }
        }
        Ok(frames)
    }

    /// Lets go of one that says what cannot be.
    pub fn dismiss(&mut self) {
        self.is_gone = true;
        self.pending.clear();
    }

    /// Tells it something.
    pub fn say(&mut self, frame: &[u8]) {
        if !self.is_gone {
            self.pending.extend_from_slice(frame);
            self.flush();
        }
    }

    /// Shows it what the program wrote, if it wants to see it.
    pub fn show(&mut self, kind: Kind, content: &[u8]) {
        if self.hello.output {
            for part in content.chunks(FRAME_MAX) {
                self.say(&encode(kind, part));
            }
        }
    }

    /// Tells it that the program has ended, if it knows that word.
    pub fn say_exited(&mut self, status: u8) {
        if self.hello.version >= KNOWS_EXITED {
            self.say(&encode(Kind::Exited, &[status]));
        }
    }

    /// Sends as much as it takes.
    pub fn flush(&mut self) {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(length) => {
                    self.pending.drain(..length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.dismiss(),
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
