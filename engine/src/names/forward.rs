//! Questions that others answer: over UDP as they came, and over TCP where the question came that way.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};

use super::message::{MOST, Question, Status, answers, id, set_id};

/// How long one server is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many questions to servers one question can become.
const ATTEMPTS: usize = 3;

/// A question over UDP that a server has not answered yet.
#[derive(Debug)]
pub struct Forward {
    socket: UdpSocket,
    servers: Vec<SocketAddr>,
    attempt: usize,
    deadline: Instant,
    /// As it came, but with a number that nobody can guess.
    message: Vec<u8>,
    question: Vec<u8>,
    own_id: u16,
    /// Who has asked, and with which number.
    pub client: SocketAddr,
    client_id: u16,
}

impl Forward {
    /// Asks the first server that can be reached; `None` if none can.
    pub fn begin(
        message: &[u8],
        question: &[u8],
        client: SocketAddr,
        servers: Vec<SocketAddr>,
    ) -> Option<Forward> {
        let own_id = random_id()?;
        let client_id = id(message)?;
        let mut message = message.to_vec();
        set_id(&mut message, own_id);
        let (socket, attempt) = send(&message, &servers, 0)?;
        let (question, deadline) = (question.to_vec(), Instant::now() + PATIENCE);
        Some(Forward { socket, servers, attempt, deadline, message, question, own_id, client, client_id })
    }

    /// Until when nothing is to be done.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is answered if no server answers.
    pub fn failure(&self) -> Option<Vec<u8>> {
        let mut failure = Question::read(&self.message).ok()?.with_status(&self.message, Status::Failed);
        set_id(&mut failure, self.client_id);
        Some(failure)
    }

    /// Says that there is an answer that is too long.
    pub fn cut(&self) -> Option<Vec<u8>> {
        let question = Question::read(&self.message).ok()?;
        let mut cut = question.with_nothing_but_that_there_is_more(&self.message);
        set_id(&mut cut, self.client_id);
        Some(cut)
    }

    /// Asks the next server if this one does not answer in time; false: there is none.
    pub fn go_on(&mut self) -> bool {
        match send(&self.message, &self.servers, self.attempt + 1) {
            Some((socket, attempt)) => {
                (self.socket, self.attempt, self.deadline) = (socket, attempt, Instant::now() + PATIENCE);
                true
            }
            None => false,
        }
    }

    /// The answer, if it is there, with the number of who has asked; an error: this server does not answer.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> std::io::Result<Option<&'b [u8]>> {
        loop {
            match self.socket.recv(buffer) {
                // Of somebody who guesses.
                Ok(length) if !answers(&buffer[..length], self.own_id, &self.question) => {}
                Ok(length) => {
                    set_id(&mut buffer[..length], self.client_id);
                    return Ok(Some(&buffer[..length]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Forward {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket of its own for each question: its port is one more thing that nobody can guess.
fn send(message: &[u8], servers: &[SocketAddr], first: usize) -> Option<(UdpSocket, usize)> {
    // One alone is asked once more: packets get lost.
    let attempts = servers.iter().cycle().take(ATTEMPTS.min(servers.len().max(2)));
    attempts.enumerate().skip(first).find_map(|(attempt, server)| {
        let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(server).ok()?;
        socket.send(message).ok()?;
        Some((socket, attempt))
    })
}

fn random_id() -> Option<u16> {
    let mut bytes = [0; 2];
    getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    Some(u16::from_be_bytes(bytes))
}

/// A question over TCP that a server has not answered yet.
#[derive(Debug)]
pub struct Passage {
    stream: TcpStream,
    servers: Vec<SocketAddr>,
    attempt: usize,
    deadline: Instant,
    message: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
}

impl Passage {
    /// Connects to the first server that can be reached; `None` if none can. `message` is without its length.
    pub fn begin(message: &[u8], servers: Vec<SocketAddr>) -> Option<Passage> {
        let (stream, attempt) = connect_to(&servers, 0)?;
        let message = framed(message);
        let deadline = Instant::now() + PATIENCE;
        Some(Passage { stream, servers, attempt, deadline, message, sent: 0, received: Vec::new() })
    }

    /// Until when nothing is to be done.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is waited for.
    pub fn wanted(&self) -> PollFlags {
        if self.sent < self.message.len() { PollFlags::OUT } else { PollFlags::IN }
    }

    /// Asks the next server; false: there is none.
    pub fn go_on(&mut self) -> bool {
        let next = connect_to(&self.servers, self.attempt + 1);
        let Some((stream, attempt)) = next else { return false };
        (self.stream, self.attempt, self.deadline) = (stream, attempt, Instant::now() + PATIENCE);
        self.sent = 0;
        self.received.clear();
        true
    }

    /// Sends and receives what can be; the whole answer with its length if it is there. An error: this server does not answer.
    pub fn advance(&mut self, buffer: &mut [u8]) -> std::io::Result<Option<Vec<u8>>> {
        while self.sent < self.message.len() {
            match self.stream.write(&self.message[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(length) = length_of(&self.received).filter(|length| self.received.len() >= length + 2)
            {
                self.received.truncate(length + 2);
                return Ok(Some(std::mem::take(&mut self.received)));
            }
            if self.received.len() > MOST + 2 {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }
}

impl AsFd for Passage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A message as it goes over TCP, with its length in front.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let message = &message[..message.len().min(MOST)];
    let mut framed = u16::try_from(message.len()).unwrap_or(0).to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    framed
}

/// How long the message is that begins there, without its length.
pub fn length_of(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(..2)?;
    Some(usize::from(u16::from_be_bytes(length.try_into().ok()?)))
}

fn connect_to(servers: &[SocketAddr], first: usize) -> Option<(TcpStream, usize)> {
    servers.iter().take(ATTEMPTS).enumerate().skip(first).find_map(|(attempt, server)| {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None).ok()?;
        match connect(&socket, server) {
            Ok(()) | Err(Errno::INPROGRESS) => Some((TcpStream::from(socket), attempt)),
            Err(_) => None,
        }
    })
}
