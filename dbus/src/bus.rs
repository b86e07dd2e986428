//! A connection to a message bus.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::error::{CallError, Error, Result};
use crate::message::{Call, Kind, Message, whole_length};
use crate::value::Value;

/// Time limit of a call, and of the wait for a signal.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How many signals are kept before they are asked for.
const SIGNALS_MAX: usize = 4096;

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// A connection to a message bus.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    /// For error messages.
    address: String,
    serial: u32,
    received: Vec<u8>,
    /// The unique name, given by the bus, of the peer that has answered calls; others cannot take it.
    answering: Option<String>,
    /// Signals received: once `answering` is known, only from that peer.
    signals: Vec<Message>,
    patience: Duration,
}

impl Bus {
    /// Says hello to the bus that a socket is connected to; errors name it by `address`.
    ///
    /// # Errors
    /// What answers there is no message bus, or refuses the caller.
    pub fn over(socket: OwnedFd, address: &str) -> Result<Bus> {
        Bus::over_within(socket, address, PATIENCE)
    }

    /// [`over`](Self::over) with another time limit for this and for every call.
    ///
    /// # Errors
    /// The same.
    pub fn over_within(socket: OwnedFd, address: &str, patience: Duration) -> Result<Bus> {
        let mut bus = Bus {
            socket,
            address: address.to_string(),
            serial: 0,
            received: Vec::new(),
            answering: None,
            signals: Vec::new(),
            patience,
        };
        bus.authenticate()?;
        bus.call(&bus_call("Hello", &[])).map_err(|error| error.of_bus("Hello"))?;
        Ok(bus)
    }

    /// EXTERNAL without an identity: the bus takes the one that the kernel reports, even from a user
    /// namespace.
    fn authenticate(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        for (say, expected) in [("\0AUTH EXTERNAL\r\n", "DATA"), ("DATA\r\n", "OK")] {
            self.send(say.as_bytes(), deadline)?;
            let line = self.receive_line(deadline)?;
            if line.split_ascii_whitespace().next() != Some(expected) {
                return Err(Error::new(format_args!(
                    "D-Bus: {}: authentication: it says {line:?}",
                    self.address
                )));
            }
        }
        self.send(b"BEGIN\r\n", deadline)
    }

    fn receive_line(&mut self, deadline: Instant) -> Result<String> {
        const LINE_MAX: usize = 1024;
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.received[..end]).into_owned();
                self.received.drain(..end + 2);
                return Ok(line);
            }
            if self.received.len() > LINE_MAX {
                return Err(Error::new(format_args!(
                    "D-Bus: {}: authentication: a line without end",
                    self.address
                )));
            }
            self.receive_more(deadline)?;
        }
    }

    /// Calls a method, waits for the reply and returns its values.
    ///
    /// # Errors
    /// The method's own error; or there is no answer.
    pub fn call(&mut self, call: &Call<'_>) -> std::result::Result<Vec<Value>, CallError> {
        let deadline = Instant::now() + self.patience;
        // 0 is not a valid serial.
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        let serial = self.serial;
        self.send(&call.encode(serial), deadline)?;
        loop {
            let message = self.receive(deadline)?;
            if message.reply_serial != Some(serial) {
                self.keep_signal(message);
                continue;
            }
            if call.destination != BUS {
                self.answering.clone_from(&message.sender);
            }
            if message.kind == Kind::Return as u8 {
                return Ok(message.body);
            }
            if message.kind == Kind::Error as u8 {
                let text = match message.body.first() {
                    Some(Value::Text(text)) => text.clone(),
                    _ => "it failed".to_string(),
                };
                return Err(CallError::Method(message.error_name.unwrap_or_default(), text));
            }
        }
    }

    /// Whether anybody has that name. Whoever could be started for it is not.
    ///
    /// # Errors
    /// The bus does not answer.
    pub fn has_owner(&mut self, name: &str) -> Result<bool> {
        let call = self.call(&bus_call("NameHasOwner", &[Value::text(name)]));
        let answer = call.map_err(|error| error.of_bus("NameHasOwner"))?;
        Ok(answer == [Value::Boolean(true)])
    }

    /// Asks the bus for the signals that match a rule: "Match Rules" in the specification.
    ///
    /// # Errors
    /// The bus refuses the rule or does not answer.
    pub fn add_match(&mut self, rule: &str) -> Result<()> {
        let call = self.call(&bus_call("AddMatch", &[Value::text(rule)]));
        call.map(drop).map_err(|error| error.of_bus("AddMatch"))
    }

    /// Waits for a signal whose body `wanted` accepts, sent by the peer that answered the last call; earlier
    /// ones that were kept count. The sender is checked because anybody may send such a signal to this
    /// process directly, past the rule of [`Self::add_match`].
    ///
    /// # Errors
    /// There is none within ten seconds.
    pub fn wait_for_signal<T>(
        &mut self,
        interface: &str,
        member: &str,
        wanted: impl Fn(&[Value]) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + self.patience;
        loop {
            for signal in std::mem::take(&mut self.signals) {
                let is_wanted = signal.sender == self.answering
                    && signal.interface.as_deref() == Some(interface)
                    && signal.member.as_deref() == Some(member);
                if let Some(found) = is_wanted.then(|| wanted(&signal.body)).flatten() {
                    return Ok(found);
                }
            }
            let message = self.receive(deadline)?;
            self.keep_signal(message);
        }
    }

    fn keep_signal(&mut self, message: Message) {
        let may_be_wanted = self.answering.is_none() || message.sender == self.answering;
        if message.kind == Kind::Signal as u8 && may_be_wanted && self.signals.len() < SIGNALS_MAX {
            self.signals.push(message);
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message> {
        loop {
            if let Some(length) = whole_length(&self.received)?
                && self.received.len() >= length
            {
                let message = Message::decode(&self.received[..length]);
                self.received.drain(..length);
                return message;
            }
            self.receive_more(deadline)?;
        }
    }

    fn receive_more(&mut self, deadline: Instant) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    return Err(Error::new(format_args!(
                        "D-Bus: {}: it closed the connection",
                        self.address
                    )));
                }
                Ok((count, _)) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    return Ok(());
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("receive", errno)),
            }
        }
    }

    fn send(&self, mut bytes: &[u8], deadline: Instant) -> Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("send", errno)),
            }
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.socket, events)], Some(&timeout)) {
            Ok(0) => {
                let seconds = self.patience.as_secs();
                Err(Error::timeout(format_args!("D-Bus: {}: no answer within {seconds} s", self.address)))
            }
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.failed("wait", errno)),
        }
    }

    #[cold]
    fn failed(&self, step: &str, errno: Errno) -> Error {
        Error::failed(format_args!("D-Bus: {}: {step}", self.address), errno)
    }
}

fn bus_call<'a>(member: &'a str, body: &'a [Value]) -> Call<'a> {
    Call { destination: BUS, path: BUS_PATH, interface: BUS, member, body }
}
