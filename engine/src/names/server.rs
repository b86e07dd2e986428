//! Answers questions until it is told to end: one thread that waits for everything at once, and for nobody alone.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Directory;
use super::forward::{Forward, Passage, framed, length_of};
use super::message::{MOST, Question, Status, Wanted, refusal};

/// How many questions over UDP may be with servers at once, and how many connections there may be.
const FORWARDS: usize = 64;
const CONNECTIONS: usize = 16;

/// How many questions are read before anybody else has his turn.
const TURN: usize = 32;

/// The longest question, and how much is read at once.
const QUESTION: usize = 4096;
const BUFFER: usize = 8192;

/// How long a connection may say nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// Who answers.
#[derive(Debug)]
pub struct Server<D> {
    udp: UdpSocket,
    tcp: TcpListener,
    directory: D,
    forwards: Vec<Forward>,
    connections: Vec<Connection>,
    /// Who comes first among several addresses of a name: each in turn.
    turn: usize,
}

/// A connection of somebody who asks over TCP.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    passage: Option<Passage>,
    deadline: Instant,
    is_gone: bool,
}

/// What becomes of a question.
enum Answer {
    Now(Vec<u8>),
    Forward(Question, Vec<SocketAddr>),
}

impl<D: Directory> Server<D> {
    /// With sockets that block nobody.
    pub fn new(udp: UdpSocket, tcp: TcpListener, directory: D) -> Server<D> {
        Server { udp, tcp, directory, forwards: Vec::new(), connections: Vec::new(), turn: 0 }
    }

    /// Answers until `end` has something to read, or hangs up.
    pub fn serve(mut self, end: &OwnedFd) {
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.wait(end) {
                Ok(true) | Err(_) => return,
                Ok(false) => {}
            }
            self.answer_packets(&mut buffer);
            self.pass_answers_on(&mut buffer);
            self.accept();
            let mut connections = std::mem::take(&mut self.connections);
            for connection in &mut connections {
                self.go_on_with(connection, &mut buffer);
            }
            connections.retain(|connection| !connection.is_gone);
            self.connections = connections;
        }
    }

    /// Whether it is the end.
    fn wait(&self, end: &OwnedFd) -> rustix::io::Result<bool> {
        let mut polled = vec![PollFd::new(end, PollFlags::IN), PollFd::new(&self.udp, PollFlags::IN)];
        if self.connections.len() < CONNECTIONS {
            polled.push(PollFd::new(&self.tcp, PollFlags::IN));
        }
        polled.extend(self.forwards.iter().map(|forward| PollFd::new(forward, PollFlags::IN)));
        for connection in &self.connections {
            match &connection.passage {
                Some(passage) => polled.push(PollFd::new(passage, passage.wanted())),
                None => {
                    let wanted = if connection.unsent.is_empty() { PollFlags::IN } else { PollFlags::OUT };
                    polled.push(PollFd::from_borrowed_fd(connection.stream.as_fd(), wanted));
                }
            }
        }
        let of_connection = |connection: &Connection| {
            connection.passage.as_ref().map_or(connection.deadline, Passage::deadline)
        };
        let deadlines = self.forwards.iter().map(Forward::deadline);
        let next = deadlines.chain(self.connections.iter().map(of_connection)).min();
        let timeout = next.map(|next| {
            let rest = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec { tv_sec: rest.as_secs().cast_signed(), tv_nsec: rest.subsec_nanos().into() }
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => Ok(!polled[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn answer_packets(&mut self, buffer: &mut [u8]) {
        for _ in 0..TURN {
            let (length, client) = match self.udp.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let message = &buffer[..length.min(QUESTION)];
            match self.answer(message, None) {
                None => {}
                // Who does not take it asks again.
                Some(Answer::Now(answer)) => drop(self.udp.send_to(&answer, client)),
                Some(Answer::Forward(question, servers)) => {
                    let has_room = self.forwards.len() < FORWARDS;
                    let begin = || Forward::begin(message, question.bytes(message), client, servers);
                    match has_room.then(begin).flatten() {
                        Some(forward) => self.forwards.push(forward),
                        None => {
                            let failed = question.with_status(message, Status::Failed);
                            drop(self.udp.send_to(&failed, client));
                        }
                    }
                }
            }
        }
    }

    /// `limit` is that of TCP; otherwise it is the client's own.
    fn answer(&mut self, message: &[u8], limit: Option<usize>) -> Option<Answer> {
        let question = match Question::read(message) {
            Ok(question) => question,
            Err(status) => return status.map(|status| Answer::Now(refusal(message, status))),
        };
        if let Wanted::Name(address) = question.wanted
            && let Some(name) = self.directory.name(address)
        {
            return Some(Answer::Now(question.with_name(message, &name, limit)));
        }
        if let Some(mut addresses) = self.directory.addresses(&question.name) {
            match question.wanted {
                Wanted::V4 => addresses.retain(IpAddr::is_ipv4),
                Wanted::V6 => addresses.retain(IpAddr::is_ipv6),
                Wanted::Name(_) | Wanted::Other => addresses.clear(),
            }
            if !addresses.is_empty() {
                self.turn = self.turn.wrapping_add(1);
                let first = self.turn % addresses.len();
                addresses.rotate_left(first);
            }
            return Some(Answer::Now(question.with_addresses(message, &addresses, limit)));
        }
        let servers = self.directory.servers();
        match servers.is_empty() {
            true => Some(Answer::Now(question.with_status(message, Status::Missing))),
            false => Some(Answer::Forward(question, servers)),
        }
    }

    fn pass_answers_on(&mut self, buffer: &mut [u8]) {
        let now = Instant::now();
        let Server { forwards, udp, .. } = self;
        forwards.retain_mut(|forward| {
            let is_over = match forward.receive(buffer) {
                Ok(Some(answer)) => {
                    // What has filled the buffer may be longer.
                    let answer = if answer.len() < BUFFER { Some(answer.to_vec()) } else { forward.cut() };
                    drop(answer.map(|answer| udp.send_to(&answer, forward.client)));
                    return false;
                }
                Ok(None) => forward.deadline() <= now,
                Err(_) => true,
            };
            if !is_over || forward.go_on() {
                return true;
            }
            if let Some(failed) = forward.failure() {
                drop(udp.send_to(&failed, forward.client));
            }
            false
        });
    }

    fn accept(&mut self) {
        while self.connections.len() < CONNECTIONS {
            let Ok((stream, _)) = self.tcp.accept() else { return };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.connections.push(Connection {
                stream,
                received: Vec::new(),
                unsent: Vec::new(),
                passage: None,
                deadline: Instant::now() + SILENCE,
                is_gone: false,
            });
        }
    }

    fn go_on_with(&mut self, connection: &mut Connection, buffer: &mut [u8]) {
        connection.hear_server(buffer);
        connection.send();
        connection.receive(buffer);
        while let Some(message) = connection.next_question() {
            match self.answer(&message, Some(MOST)) {
                None => connection.is_gone = true,
                Some(Answer::Now(answer)) => connection.unsent.extend(framed(&answer)),
                Some(Answer::Forward(question, servers)) => match Passage::begin(&message, servers) {
                    Some(passage) => connection.passage = Some(passage),
                    None => connection.unsent.extend(framed(&question.with_status(&message, Status::Failed))),
                },
            }
            connection.send();
        }
    }
}

impl Connection {
    /// One question after the other, as they came.
    fn next_question(&mut self) -> Option<Vec<u8>> {
        if self.is_gone || self.passage.is_some() || !self.unsent.is_empty() {
            return None;
        }
        let length = length_of(&self.received)?;
        if length > QUESTION {
            self.is_gone = true;
            return None;
        }
        let message = self.received.get(2..length + 2)?.to_vec();
        self.received.drain(..length + 2);
        Some(message)
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        if self.passage.is_some() || !self.unsent.is_empty() || self.received.len() > QUESTION + 2 {
            return;
        }
        match self.stream.read(buffer) {
            Ok(0) => self.is_gone = true,
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                self.deadline = Instant::now() + SILENCE;
            }
            Err(error) if is_later(&error) => self.is_gone |= Instant::now() >= self.deadline,
            Err(_) => self.is_gone = true,
        }
    }

    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => {
                    self.unsent.drain(..length);
                    self.deadline = Instant::now() + SILENCE;
                }
                Err(error) if is_later(&error) => {
                    self.is_gone |= Instant::now() >= self.deadline;
                    return;
                }
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
    }

    /// Who has asked is told nothing if no server answers: it asks elsewhere when its connection ends.
    fn hear_server(&mut self, buffer: &mut [u8]) {
        let Some(passage) = &mut self.passage else { return };
        let is_over = match passage.advance(buffer) {
            Ok(Some(answer)) => {
                self.unsent.extend(answer);
                self.passage = None;
                return;
            }
            Ok(None) => passage.deadline() <= Instant::now(),
            Err(_) => true,
        };
        self.is_gone |= is_over && !passage.go_on();
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
