//! The monitor while a program runs: it waits for everything at once, and for nobody alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Monitored;
use super::client::Client;
use super::health::Watching;
use super::input::Input;
use super::output::{CHUNK, Look, Output};
use super::protocol::{Kind, Size, decode_value, encode, encode_warning};
use super::served::Served;
use crate::container::event::note_start;
use crate::container::log::{Log, Stream};
use crate::container::overlay::Overlay;
use crate::container::record::Progress;
use crate::error::{Context, Error, Result};
use crate::time::Moment;

/// How much at once is worth a look of its own, and how long it takes otherwise until the next one.
const SMALL: usize = 1 << 14;
const PACE: Duration = Duration::from_micros(500);

/// How long it takes until there may be descriptors again.
const DEAF: Duration = Duration::from_millis(100);

/// How long a client that is behind may take until it has to wait for the disk with the rest.
const COURTESY: Duration = Duration::from_secs(1);

/// Who is served, and how far it has come.
pub struct Watch {
    pub clients: Vec<Client>,
    listener: UnixListener,
    log: Log,
    pub is_started: bool,
    /// Why it could not be started.
    pub failure: Option<Error>,
    /// When little was read last.
    last_small: Option<Instant>,
    /// Until when nobody is let in, because there was no descriptor for the last one.
    deaf_until: Option<Instant>,
}

impl Watch {
    pub fn new(first: UnixStream, listener: UnixListener, log: Log) -> Result<Watch> {
        let clients = vec![Client::new(first)?];
        let (is_started, failure, last_small, deaf_until) = (false, None, None, None);
        Ok(Watch { clients, listener, log, is_started, failure, last_small, deaf_until })
    }

    /// Until the program has ended and everything that it wrote is read.
    pub fn serve(&mut self, served: &mut Served, monitored: &Monitored) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut has_ended = false;
        let (mut is_watching, mut health) = (false, None);
        loop {
            if self.is_started && !is_watching {
                (is_watching, health) = (true, Watching::begin(monitored));
            }
            if let Some(watching) = health.as_mut().filter(|_| !has_ended) {
                watching.go_on(&served.container, monitored);
            }
            self.wait(served, has_ended, health.as_ref())?;
            self.accept();
            self.hear(served, monitored);
            let starter_is_gone = self.clients.first().is_none_or(Client::is_gone);
            self.clients.retain(|client| !client.is_gone());
            if self.failure.is_some() || (!self.is_started && starter_is_gone) {
                return Ok(());
            }
            if served.input.as_mut().is_some_and(|input| !input.flush()) {
                served.input = None;
            }
            // After the end there is no more than a pipe holds, and nobody whom waiting would slow down.
            let was_full = !has_ended && self.clients.iter().any(Client::is_full);
            let length = if was_full { 0 } else { self.copy(served, &mut buffer)? };
            self.complain();
            self.pace(length);
            // Processes that have outlived the program may keep a pipe open, and write no more of interest.
            if has_ended && length == 0 {
                if let Some(watching) = health {
                    watching.finish();
                }
                return Ok(());
            }
            if !has_ended && self.is_started && is_readable(&served.ended)? {
                has_ended = true;
                served.outputs.iter_mut().for_each(Output::read_only_the_rest);
            }
        }
    }

    /// What clients say. One that says what cannot be, as one of another version may, is let go of.
    fn hear(&mut self, served: &mut Served, monitored: &Monitored) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            client.flush();
            // What the program does not read now stays with whoever sends it.
            if client.has_input() && served.input.as_ref().is_some_and(Input::is_full) {
                continue;
            }
            let obeyed = client.hear().and_then(|frames| {
                frames
                    .into_iter()
                    .try_for_each(|(kind, payload)| self.obey(index, kind, &payload, served, monitored))
            });
            if obeyed.is_err() {
                self.clients[index].dismiss();
            }
        }
    }

    /// Copies what is there of each stream; how many bytes that was.
    fn copy(&mut self, served: &mut Served, buffer: &mut [u8]) -> Result<usize> {
        let mut sum = 0;
        let mut index = 0;
        while let Some(output) = served.outputs.get_mut(index) {
            match output.read(buffer)? {
                Look::Some(length) => {
                    sum += length;
                    let stream = output.stream;
                    self.log.write(stream, &buffer[..length]);
                    let kind = if stream == Stream::Stderr { Kind::Stderr } else { Kind::Stdout };
                    self.clients.iter_mut().for_each(|client| client.show(kind, &buffer[..length]));
                    index += 1;
                }
                Look::Nothing => index += 1,
                // Before the program begins nobody has its terminal open.
                Look::End if !self.is_started => index += 1,
                Look::End => {
                    served.outputs.remove(index);
                }
            }
        }
        Ok(sum)
    }

    /// The program has ended, and wrote nothing more.
    pub fn finish_log(&mut self) {
        self.log.finish();
        self.complain();
    }

    /// Says that the log takes nothing, if that is new.
    fn complain(&mut self) {
        if let Some(text) = self.log.complaint() {
            self.say_to_all(&encode_warning(&text));
        }
    }

    /// Lets output that comes in small pieces one right after the other become more: a look costs as much for one line as for a
    /// thousand.
    fn pace(&mut self, length: usize) {
        if length == 0 || length >= SMALL {
            self.last_small = None;
            return;
        }
        if self.last_small.is_some_and(|last| last.elapsed() < 2 * PACE) {
            std::thread::sleep(PACE);
        }
        self.last_small = Some(Instant::now());
    }

    fn wait(&self, served: &Served, has_ended: bool, health: Option<&Watching>) -> Result<()> {
        let is_full = self.clients.iter().any(Client::is_full);
        let input_is_full = served.input.as_ref().is_some_and(Input::is_full);
        let mut polled = Vec::new();
        if self.deafness().is_none() {
            polled.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        if !has_ended && self.is_started {
            polled.push(PollFd::new(&served.ended, PollFlags::IN));
        }
        for client in &self.clients {
            let may_read = !(client.has_input() && input_is_full);
            polled.extend(client.wanted(may_read).map(|wanted| PollFd::new(client, wanted)));
        }
        if !is_full && self.is_started {
            polled.extend(served.outputs.iter().map(|output| PollFd::new(output, PollFlags::IN)));
        }
        if let Some(input) = served.input.as_ref().filter(|input| input.is_behind()) {
            polled.push(PollFd::new(input, PollFlags::OUT));
        }
        let looks = health.into_iter().flat_map(Watching::descriptors);
        polled.extend(looks.map(|look| PollFd::from_borrowed_fd(look, PollFlags::IN)));
        // What is left after the end is there already.
        let rest = match has_ended {
            true => Some(Duration::ZERO),
            false => self.deafness().into_iter().chain(health.map(Watching::rest)).min(),
        };
        match poll(&mut polled, rest.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).context(|| "wait for the container"),
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept().map(|(stream, _)| Client::new(stream)) {
                Ok(Ok(client)) => self.clients.push(client),
                // It has gone again.
                Ok(Err(_)) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Without descriptors the next one waits.
                Err(_) => {
                    self.deaf_until = Some(Instant::now() + DEAF);
                    return;
                }
            }
        }
    }

    /// How long nobody is let in.
    fn deafness(&self) -> Option<Duration> {
        let left = self.deaf_until?.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    fn obey(
        &mut self,
        index: usize,
        kind: Kind,
        payload: &[u8],
        served: &mut Served,
        monitored: &Monitored,
    ) -> Result<()> {
        match kind {
            Kind::Start if !self.is_started => {
                let started = served.container.start().map_err(Error::from).and_then(|()| {
                    let progress = Progress::read(&monitored.folder)?;
                    let (started, is_kept) = (Some(Moment::now()), !monitored.record.auto_remove);
                    Progress { started, exit: None, is_kept, ..progress }.write(&monitored.folder)
                });
                match started {
                    Ok(()) => {
                        self.is_started = true;
                        note_start(&monitored.store, &monitored.record);
                        self.clients[index].say(&encode(Kind::Started, b""));
                    }
                    Err(error) => self.failure = Some(error),
                }
            }
            Kind::Names => match served.begin_naming(monitored) {
                Ok(()) => self.clients[index].say(&encode(Kind::Names, b"")),
                Err(error) => self.clients[index].say(&encode_warning(&error.to_string())),
            },
            Kind::Input => {
                if let Some(input) = &mut served.input {
                    input.add(payload);
                }
            }
            Kind::InputEnd if served.terminal.is_none() => {
                if let Some(input) = &mut served.input {
                    input.end();
                }
            }
            Kind::Resize => {
                let Size { rows, columns } = decode_value(payload)?;
                if let Some(terminal) = &served.terminal {
                    // One that is gone has no size.
                    let _ = pillbox::resize_terminal(terminal, rows, columns);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets those in who were there before this monitor.
    pub fn admit(&mut self, clients: Vec<Client>) {
        self.clients.extend(clients);
    }

    /// Tells everybody that the program has ended, and may be started again.
    pub fn say_exited(&mut self, status: u8) {
        self.clients.iter_mut().for_each(|client| client.say_exited(status));
    }

    pub fn say_to_all(&mut self, frame: &[u8]) {
        self.clients.iter_mut().for_each(|client| client.say(frame));
    }

    /// Lets time pass, or less if a client comes.
    pub fn rest(&mut self, time: Duration) {
        let time = self.deafness().map_or(time, |deafness| deafness.min(time));
        let mut polled: Vec<_> = match self.deafness() {
            None => vec![PollFd::new(&self.listener, PollFlags::IN)],
            Some(_) => Vec::new(),
        };
        match poll(&mut polled, Some(&timespec(time))) {
            Ok(_) | Err(Errno::INTR) => {}
            // Time passes nevertheless.
            Err(_) => std::thread::sleep(time),
        }
        self.accept();
    }

    /// Tells everybody how it ended, also those who have come last, and waits until they have taken it with what is left for them,
    /// or have gone. The container's lock and socket are gone: nobody waits for this monitor any more, but for its overlay whoever
    /// starts the container again.
    pub fn take_leave(mut self, frame: &[u8], mut overlay: Option<Overlay>) -> Result<()> {
        let due = Instant::now() + COURTESY;
        self.accept();
        self.say_to_all(frame);
        let Watch { mut clients, listener, log, .. } = self;
        drop(listener);
        loop {
            clients.retain(Client::is_behind);
            if clients.is_empty() || Instant::now() >= due {
                drop(overlay.take());
            }
            if clients.is_empty() {
                // Whoever waits for the end has heard of it; what is left for the log may take a while.
                drop(log);
                return Ok(());
            }
            let mut polled: Vec<_> =
                clients.iter().map(|client| PollFd::new(client, PollFlags::OUT)).collect();
            let rest = overlay.is_some().then(|| due.saturating_duration_since(Instant::now()));
            match poll(&mut polled, rest.map(timespec).as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| "wait for the clients"),
            }
            clients.iter_mut().for_each(Client::flush);
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

fn is_readable(descriptor: &OwnedFd) -> Result<bool> {
    let descriptor: BorrowedFd<'_> = descriptor.as_fd();
    let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno).context(|| "wait for the container"),
    }
}
