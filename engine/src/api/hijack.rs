//! A connection that has become a stream in both directions: somebody who is attached to a program.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;

use super::web_socket::{Came, Frames, end, frame};
use crate::container::Caller;
use crate::container::log::Stream;
use crate::container::monitor::Size;

/// The media types of both forms.
pub const RAW: &str = "application/vnd.docker.raw-stream";
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// How output is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is: of a terminal.
    Raw,
    /// In frames that say which stream it is of.
    Multiplexed,
    /// In those of a web socket, which have no streams.
    WebSocket,
}

impl Form {
    /// That of a program with a terminal, or without.
    pub fn of(terminal: bool) -> Form {
        if terminal { Form::Raw } else { Form::Multiplexed }
    }

    /// Its media type.
    pub fn name(self) -> &'static str {
        match self {
            Form::Raw | Form::WebSocket => RAW,
            Form::Multiplexed => MULTIPLEXED,
        }
    }

    /// A piece of output in this form.
    pub fn wrap(self, stream: Stream, content: &[u8]) -> Vec<u8> {
        if self == Form::WebSocket {
            return frame(content);
        }
        let mut bytes = Vec::with_capacity(8 + content.len());
        if self == Form::Multiplexed {
            let number = if stream == Stream::Stdout { 1 } else { 2 };
            bytes.extend_from_slice(&[number, 0, 0, 0]);
            // The monitor and the log have pieces far below 4 GB.
            bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        bytes.extend_from_slice(content);
        bytes
    }
}

/// Which streams a client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The program's stdout, or its terminal.
    pub stdout: bool,
    /// Its stderr.
    pub stderr: bool,
}

/// A client that is attached.
#[derive(Debug)]
pub struct Attached<'c> {
    connection: &'c UnixStream,
    /// What it had sent before it was attached.
    begun: Vec<u8>,
    /// What it has sent for the program before there was one.
    ahead: VecDeque<u8>,
    form: Form,
    frames: Frames,
    shown: Shown,
    is_gone: bool,
    /// Whether it sends nothing more.
    is_silent: bool,
}

/// How much of it is kept before there is a program. Above this nothing more is read.
const AHEAD_MAX: usize = 1 << 16;

impl<'c> Attached<'c> {
    /// A client whose connection was hijacked; `begun` is what had come of it.
    pub fn new(connection: &'c UnixStream, begun: Vec<u8>, form: Form, shown: Shown) -> Attached<'c> {
        let (ahead, frames) = (VecDeque::new(), Frames::default());
        Attached { connection, begun, ahead, form, frames, shown, is_gone: false, is_silent: false }
    }

    /// Whether it is to be read while there is no program yet: frames want answers. Other clients are read by their programs alone.
    pub fn is_read_ahead(&self) -> bool {
        let is_open = !self.is_silent && !self.frames.have_ended();
        self.form == Form::WebSocket && is_open && self.ahead.len() < AHEAD_MAX
    }

    /// Whether it wants to be attached no more.
    pub fn has_left(&self) -> bool {
        self.frames.have_ended()
    }

    /// Reads what has come while there is no program yet, and answers that. What is for the program is kept for it, or dropped.
    pub fn read_ahead(&mut self, keeps: bool) {
        let mut buffer = [0; 1 << 14];
        match self.read_connection(&mut buffer) {
            Ok(0) => self.is_silent = true,
            Ok(length) if keeps => self.ahead.extend(&buffer[..length]),
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            // It is said again to whoever reads for the program.
            Err(_) => self.is_silent = true,
        }
    }

    /// What has come of the connection.
    fn read_raw(&mut self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        if self.begun.is_empty() {
            return rustix::io::read(self.connection, buffer);
        }
        let length = self.begun.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.begun[..length]);
        self.begun.drain(..length);
        Ok(length)
    }

    /// What has come for the program.
    fn read_connection(&mut self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        if self.frames.have_ended() {
            return Ok(0);
        }
        let length = self.read_raw(buffer)?;
        if self.form != Form::WebSocket || length == 0 {
            return Ok(length);
        }
        let Came { data, answer } = self.frames.take(&buffer[..length]);
        self.send(&answer);
        if self.frames.have_ended() {
            // Both have said so: nothing moves any more.
            let _ = self.connection.shutdown(Shutdown::Both);
        }
        // A frame has a head: what is in it is shorter.
        buffer[..data.len()].copy_from_slice(&data);
        match data.is_empty() && !self.frames.have_ended() {
            true => Err(Errno::AGAIN),
            false => Ok(data.len()),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut connection = self.connection;
        self.is_gone = self.is_gone || connection.write_all(bytes).is_err();
    }

    /// Says that nothing more comes, where the form has words for that.
    pub fn end(mut self) {
        if self.form == Form::WebSocket && !self.frames.have_ended() {
            self.send(&end());
        }
    }
}

impl Caller for Attached<'_> {
    fn input(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    fn is_read_anyway(&self) -> bool {
        self.form == Form::WebSocket
    }

    fn has_input(&self) -> bool {
        !self.begun.is_empty() || !self.ahead.is_empty()
    }

    fn read(&mut self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        if self.ahead.is_empty() {
            return self.read_connection(buffer);
        }
        self.ahead.read(buffer).map_err(|_| Errno::IO)
    }

    fn show(&mut self, stream: Stream, content: &[u8]) {
        let is_wanted = if stream == Stream::Stdout { self.shown.stdout } else { self.shown.stderr };
        if is_wanted && !self.is_gone {
            self.send(&self.form.wrap(stream, content));
        }
    }

    fn size(&self) -> Option<Size> {
        None
    }

    fn lifeline(&self) -> Option<BorrowedFd<'_>> {
        Some(self.connection.as_fd())
    }
}
