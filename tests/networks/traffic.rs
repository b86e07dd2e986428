//! Servers that tell their clients who they are and whom they see, and clients.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::sctp;
use super::standpoint::Standpoint;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// After how long nobody answers any more, where nobody should.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a datagram's answer is waited for before it is sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// The most that an answer has.
const MOST: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

pub use Protocol::{Sctp, Tcp, Udp};

impl Protocol {
    pub const ALL: [Protocol; 3] = [Tcp, Udp, Sctp];
}

/// A server; it ends when it is dropped.
pub struct Server {
    heard: Arc<Mutex<Vec<IpAddr>>>,
    thread: Option<JoinHandle<()>>,
    /// Closed to end it.
    stop: Option<io::PipeWriter>,
}

enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
    Sctp(sctp::Listener),
}

impl Standpoint {
    /// A server called `name` on all addresses of there.
    #[track_caller]
    pub fn serve(self, name: &str, protocol: Protocol, port: u16) -> Server {
        self.serve_at(name, protocol, &format!("[::]:{port}"))
    }

    /// A server called `name` on one address of there.
    #[track_caller]
    pub fn serve_at(self, name: &str, protocol: Protocol, at: &str) -> Server {
        let at: SocketAddr = at.parse().unwrap_or_else(|_| panic!("{at}"));
        let listener = self.run(move || Listener::open(protocol, at));
        let listener = listener.unwrap_or_else(|error| panic!("{protocol:?} {at}: {error}"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (stopped, stop) = io::pipe().expect("pipe");
        let (name, log) = (name.to_string(), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let mut waited_for = listener.descriptors();
            waited_for.push(stopped.as_fd());
            while wait_readable(&waited_for, None) && !wait_readable(&[stopped.as_fd()], Some(Duration::ZERO))
            {
                // A client that is gone again is no matter of the server's.
                let _ = listener.answer(&name, &log);
            }
        });
        Server { heard, thread: Some(thread), stop: Some(stop) }
    }

    /// What a server says to a client from there: `NAME sees ADDRESS`. Or what happens instead: `refused`,
    /// `unreachable`, `no answer`.
    pub fn ask(self, protocol: Protocol, to: &str) -> String {
        self.ask_within(protocol, to, LIMIT)
    }

    fn ask_within(self, protocol: Protocol, to: &str, limit: Duration) -> String {
        let to: SocketAddr = to.parse().unwrap_or_else(|_| panic!("{to}"));
        let answer = self.run(move || match protocol {
            Tcp => converse(TcpStream::connect_timeout(&to, limit)?, limit),
            Udp => exchange(to, limit),
            Sctp => sctp::ask(to, limit),
        });
        match answer.as_ref().map_err(io::Error::kind) {
            Ok(text) => text.clone(),
            Err(ErrorKind::ConnectionRefused) => "refused".to_string(),
            Err(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "unreachable".to_string(),
            Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => "no answer".to_string(),
            Err(_) => panic!("{protocol:?} {to}: {answer:?}"),
        }
    }
}

/// Asserts that nobody answers a client who asks from there, over TCP and UDP. All ask at once.
#[track_caller]
pub fn ask_in_vain(questions: &[(Standpoint, String)]) {
    let asked = questions.iter().flat_map(|(from, to)| [(*from, Tcp, to), (*from, Udp, to)]);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = asked
            .map(|(from, protocol, to)| {
                scope.spawn(move || {
                    let answer = from.ask_within(protocol, to, SILENCE);
                    (answer != "no answer").then(|| format!("{protocol:?} to {to} from {from:?}: {answer}"))
                })
            })
            .collect();
        asking.into_iter().filter_map(|asking| asking.join().expect("a client")).collect()
    });
    assert!(answers.is_empty(), "there was to be no answer: {answers:#?}");
}

/// What the server at the other end says until it closes the connection.
pub fn converse(mut stream: TcpStream, limit: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(limit))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn exchange(to: SocketAddr, limit: Duration) -> io::Result<String> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(AGAIN))?;
    let begun = Instant::now();
    loop {
        socket.send(b"who?")?;
        let mut buffer = [0; MOST];
        match socket.recv(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < limit => {}
            received => return Ok(String::from_utf8_lossy(&buffer[..received?]).into_owned()),
        }
    }
}

impl Listener {
    fn open(protocol: Protocol, at: SocketAddr) -> io::Result<Listener> {
        Ok(match protocol {
            Tcp => {
                let listener = TcpListener::bind(at)?;
                listener.set_nonblocking(true)?;
                Listener::Tcp(listener)
            }
            Udp => {
                let socket = UdpSocket::bind(at)?;
                socket.set_nonblocking(true)?;
                Listener::Udp(socket)
            }
            Sctp => Listener::Sctp(sctp::Listener::open(at)?),
        })
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Listener::Tcp(listener) => vec![listener.as_fd()],
            Listener::Udp(socket) => vec![socket.as_fd()],
            Listener::Sctp(listener) => listener.descriptors(),
        }
    }

    fn answer(&self, name: &str, log: &Mutex<Vec<IpAddr>>) -> io::Result<()> {
        let answer = |peer: IpAddr| {
            let peer = peer.to_canonical();
            log.lock().expect("the log").push(peer);
            format!("{name} sees {peer}")
        };
        match self {
            Listener::Tcp(listener) => {
                let (mut stream, peer) = listener.accept()?;
                stream.write_all(answer(peer.ip()).as_bytes())
            }
            Listener::Udp(socket) => {
                let (_, peer) = socket.recv_from(&mut [0; MOST])?;
                socket.send_to(answer(peer.ip()).as_bytes(), peer).map(drop)
            }
            Listener::Sctp(listener) => listener.answer(answer),
        }
    }
}

impl Server {
    /// All clients that it has answered.
    pub fn heard(&self) -> Vec<IpAddr> {
        self.heard.lock().expect("the log").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().expect("a thread").join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server's thread has panicked");
    }
}

/// Waits until one of the descriptors has something to read or its other end is closed; false when the time is over.
pub fn wait_readable(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> bool {
    let limit = limit.map(|limit| Timespec::try_from(limit).expect("a limit"));
    let descriptors = descriptors.iter();
    let mut polled: Vec<_> =
        descriptors.map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    poll(&mut polled, limit.as_ref()).expect("poll") > 0
}
