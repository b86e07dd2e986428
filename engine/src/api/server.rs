//! Connections: idle ones wait in one loop, in which heads of requests arrive as well; a request that has come has a thread.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pillbox::container::ForwardedSignals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::daemon::Daemon;
use super::exchange::Exchange;
use super::fault::Fault;
use super::head::{Head, parse_head};
use super::listener::Listener;
use super::route;
use crate::container::{are_unreaped, reap};
use crate::error::{Context, Result};

/// How long a head may take from its first byte to its last.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Requests at once; each has a thread.
const ACTIVE_MAX: usize = 2048;

/// What a thread may have on its stack. Only what is touched takes memory.
const STACK: usize = 1 << 20;

/// How long a client that sends nothing has to see that its connection has ended.
const PARTING: Duration = Duration::from_secs(2);

/// The same of one that goes on sending, as one that reads no answer before all of its context is sent.
const PARTING_MAX: Duration = Duration::from_secs(60);

/// How often monitors that have ended are looked for, where there are any.
const REAPING: Duration = Duration::from_secs(5);

/// When it is looked for the first time what killed ones have left.
const FIRST_SWEEP: Duration = Duration::from_millis(200);

/// How long nobody is let in when there are no descriptors left.
const NO_DESCRIPTORS: Duration = Duration::from_millis(100);

/// A connection between two requests.
#[derive(Debug)]
struct Parked {
    connection: UnixStream,
    /// The beginning of a head.
    begun: Vec<u8>,
    /// When that began to come.
    since: Option<Instant>,
}

/// What threads and the loop share.
#[derive(Debug)]
pub struct Shared {
    pub daemon: Daemon,
    active: AtomicUsize,
    returned: Mutex<Vec<Parked>>,
    /// Wakes the loop.
    bell: UnixStream,
}

/// The loop.
struct Server {
    shared: Arc<Shared>,
    bell: UnixStream,
    listeners: Vec<Listener>,
    parked: Vec<Parked>,
    /// Nobody is let in before.
    closed_until: Option<Instant>,
    /// When something happened last.
    last: Instant,
    idle: Option<Duration>,
}

/// Serves until a signal ends it or, with `idle`, until nothing has happened for so long.
///
/// # Errors
/// The kernel refuses to wait.
pub fn serve(
    daemon: Daemon,
    listeners: Vec<Listener>,
    signals: &ForwardedSignals,
    idle: Option<Duration>,
) -> Result<()> {
    let (bell, ring) = UnixStream::pair().context(|| "a pair of sockets")?;
    bell.set_nonblocking(true).context(|| "a pair of sockets")?;
    ring.set_nonblocking(true).context(|| "a pair of sockets")?;
    let (active, returned) = (AtomicUsize::new(0), Mutex::default());
    let shared = Arc::new(Shared { daemon, active, returned, bell: ring });
    let last = Instant::now();
    let mut server = Server { shared, bell, listeners, parked: Vec::new(), closed_until: None, last, idle };
    server.sweep_aside();
    loop {
        if server.wait(signals)? {
            return Ok(());
        }
        server.take_returned();
        server.accept();
        server.read_heads();
        reap();
        if server.is_idle() {
            return Ok(());
        }
    }
}

impl Server {
    /// What killed ones have left is put away, soon.
    fn sweep_aside(&self) {
        let shared = self.shared.clone();
        // Without a thread the first request does it.
        let sweep = move || {
            // Whoever has started it by a request is answered meanwhile.
            std::thread::sleep(FIRST_SWEEP);
            shared.daemon.sweep();
        };
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(sweep);
    }

    /// Waits until something happens; true if it is to end.
    fn wait(&self, signals: &ForwardedSignals) -> Result<bool> {
        let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut polled = vec![readable(signals.descriptor()), readable(self.bell.as_fd())];
        if self.closed_until.is_none() {
            polled.extend(self.listeners.iter().map(|listener| readable(listener.as_fd())));
        }
        polled.extend(self.parked.iter().map(|parked| readable(parked.connection.as_fd())));
        let timeout = self.timeout().map(|time| Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for requests"),
        }
        let mut ends = false;
        if !polled[0].revents().is_empty() {
            signals.each(|signal| ends |= is_end(signal))?;
        }
        Ok(ends)
    }

    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let heads = self.parked.iter().filter_map(|parked| Some(parked.since? + HEAD_TIME));
        let idle = self.idle.filter(|_| self.is_quiet()).map(|idle| self.last + idle);
        let reaping = are_unreaped().then(|| now + REAPING);
        let next = heads.chain(idle).chain(reaping).chain(self.closed_until).min()?;
        Some(next.saturating_duration_since(now))
    }

    fn is_quiet(&self) -> bool {
        self.parked.is_empty() && self.shared.active.load(Ordering::Acquire) == 0
    }

    fn is_idle(&self) -> bool {
        self.idle.is_some_and(|idle| self.is_quiet() && self.last.elapsed() >= idle)
    }

    fn take_returned(&mut self) {
        let mut rung = [0; 256];
        while (&self.bell).read(&mut rung).is_ok_and(|length| length > 0) {
            self.last = Instant::now();
        }
        let mut returned = self.shared.returned.lock().unwrap_or_else(PoisonError::into_inner);
        self.parked.append(&mut returned);
    }

    fn accept(&mut self) {
        if self.closed_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.closed_until = None;
        for listener in &self.listeners {
            loop {
                match listener.accept() {
                    Ok(Some(connection)) => {
                        self.last = Instant::now();
                        self.parked.push(Parked { connection, begun: Vec::new(), since: None });
                    }
                    Ok(None) => break,
                    // The next ones wait until somebody has gone.
                    Err(_) => {
                        self.closed_until = Some(Instant::now() + NO_DESCRIPTORS);
                        return;
                    }
                }
            }
        }
    }

    /// Reads what has come, and gives requests whose head is there to threads.
    fn read_heads(&mut self) {
        let mut index = 0;
        while let Some(parked) = self.parked.get_mut(index) {
            match parked.read_head() {
                Arrived::Nothing => index += 1,
                Arrived::End => drop(self.parked.swap_remove(index)),
                Arrived::Head(head, rest) => {
                    self.last = Instant::now();
                    let parked = self.parked.swap_remove(index);
                    self.begin(parked.connection, *head, rest);
                }
                Arrived::Fault(fault) => refuse(self.parked.swap_remove(index).connection, fault),
            }
        }
    }

    fn begin(&mut self, connection: UnixStream, head: Head, rest: Vec<u8>) {
        let shared = self.shared.clone();
        if shared.active.fetch_add(1, Ordering::AcqRel) >= ACTIVE_MAX {
            shared.active.fetch_sub(1, Ordering::AcqRel);
            let text = format!("{ACTIVE_MAX} requests are being answered: try again later");
            return refuse(connection, Fault::new(503, text));
        }
        let shared_too = self.shared.clone();
        let work = move || {
            let parked = answer(&shared, connection, head, rest);
            shared.give_back(parked);
            // Nobody waits for it.
            shared.daemon.do_what_is_due();
        };
        let builder = std::thread::Builder::new().stack_size(STACK);
        if builder.spawn(work).is_err() {
            // The client sees that its connection is closed.
            shared_too.give_back(None);
        }
    }
}

impl Shared {
    fn give_back(&self, parked: Option<Parked>) {
        if let Some(parked) = parked {
            self.returned.lock().unwrap_or_else(PoisonError::into_inner).push(parked);
        }
        self.active.fetch_sub(1, Ordering::AcqRel);
        // A bell that is full has rung.
        let _ = (&self.bell).write(&[0]);
    }
}

/// What has come on a connection.
enum Arrived {
    Nothing,
    End,
    Head(Box<Head>, Vec<u8>),
    Fault(Fault),
}

impl Parked {
    fn read_head(&mut self) -> Arrived {
        let mut buffer = [0; 4096];
        loop {
            match self.connection.read(&mut buffer) {
                Ok(0) => return Arrived::End,
                Ok(length) => {
                    self.since.get_or_insert_with(Instant::now);
                    self.begun.extend_from_slice(&buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Arrived::End,
            }
            if !self.is_incomplete() {
                break;
            }
        }
        if self.begun.is_empty() {
            return Arrived::Nothing;
        }
        match parse_head(&self.begun) {
            Ok(Some((head, length))) => Arrived::Head(Box::new(head), self.begun.split_off(length)),
            Err(fault) => Arrived::Fault(fault),
            Ok(None) if self.since.is_some_and(|since| since.elapsed() >= HEAD_TIME) => {
                Arrived::Fault(Fault::new(408, "the request's head has not come within ten seconds"))
            }
            Ok(None) => Arrived::Nothing,
        }
    }

    /// Whether more is to be read before it is looked at: a head that is there is not read further.
    fn is_incomplete(&self) -> bool {
        self.begun.len() < super::head::HEAD_MAX && !self.begun.windows(4).any(|four| four == b"\r\n\r\n")
    }
}

/// Answers a request and those that have come behind it; the connection, if another may follow.
fn answer(shared: &Shared, connection: UnixStream, head: Head, rest: Vec<u8>) -> Option<Parked> {
    connection.set_nonblocking(false).ok()?;
    let (mut head, mut rest) = (head, rest);
    loop {
        let mut exchange = Exchange::new(head, rest, &connection);
        let outcome = route::handle(&shared.daemon, &mut exchange);
        shared.daemon.note_request(&exchange.head, &outcome);
        exchange.finish(outcome).ok()?;
        let Some(next) = exchange.into_next() else {
            part(&connection);
            return None;
        };
        rest = next;
        match parse_head(&rest) {
            Ok(Some((next, length))) => {
                head = next;
                rest = rest.split_off(length);
            }
            Ok(None) => break,
            Err(fault) => {
                refuse(connection, fault);
                return None;
            }
        }
    }
    connection.set_nonblocking(true).ok()?;
    let since = (!rest.is_empty()).then(Instant::now);
    Some(Parked { connection, begun: rest, since })
}

/// Ends a connection. A client that is still sending would lose the end of what it was told (ECONNRESET) if it were closed at once: what
/// it sends is thrown away until it has seen that nothing more comes.
fn part(mut connection: &UnixStream) {
    let deadline = Instant::now() + PARTING_MAX;
    let _ = connection.set_nonblocking(false);
    let _ = connection.shutdown(Shutdown::Write);
    let mut thrown_away = [0; 1 << 14];
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(PARTING);
        // No time at all is one that cannot be set.
        if connection.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match connection.read(&mut thrown_away) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// Says what is wrong and closes the connection. Whoever does not take it at once does not get it.
fn refuse(connection: UnixStream, fault: Fault) {
    let status = fault.status();
    let text = serde_json::json!({ "message": fault.message() }).to_string();
    let answer = format!(
        "HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = connection.set_nonblocking(true);
    let _ = (&connection).write(answer.as_bytes());
}

fn is_end(signal: pillbox::Signal) -> bool {
    [pillbox::Signal::TERM, pillbox::Signal::INT, pillbox::Signal::QUIT].contains(&signal)
}
