//! Connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::{Destination, begin};

/// More connections at a time wait until others have ended.
const MOST: usize = 4096;

/// How long is waited where the kernel has no room for one more.
const PAUSE: Duration = Duration::from_millis(100);

/// What one thread reads at once, at first and at most.
const FIRST: usize = 2 << 10;
const PIECE: usize = 32 << 10;

/// How long is read on for nobody: closed with something unread in it, a connection is reset, and its end loses what it was told last.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes connections, for ever.
pub fn serve(listener: &TcpListener, to: Destination) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        if open.load(Ordering::Relaxed) >= MOST {
            std::thread::sleep(PAUSE);
            continue;
        }
        // Whoever has given up meanwhile, or too many open files: the next one is taken.
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        open.fetch_add(1, Ordering::Relaxed);
        let counted = open.clone();
        let begun = begin(move || {
            connect(client, to);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if begun.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A client that finds nobody is hung up on.
fn connect(client: TcpStream, to: Destination) {
    // A container without IPv4 has its port at all addresses.
    let found = TcpStream::connect(to).or_else(|_| TcpStream::connect((Ipv6Addr::LOCALHOST, to.1)));
    let Ok(server) = found else { return };
    // What is written at once is sent at once, as without anybody in between.
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let ends = Arc::new(Ends { client, server, is_broken: AtomicBool::new(false) });
    let other = ends.clone();
    if begin(move || other.pass_on(&other.client, &other.server)).is_ok() {
        ends.pass_on(&ends.server, &ends.client);
    }
}

/// Both ends of a connection. They are closed when nothing more is passed on in either direction.
struct Ends {
    client: TcpStream,
    server: TcpStream,
    /// Whether one of them has hung up without an end: so does the other one, who could take it for one.
    is_broken: AtomicBool,
}

impl Ends {
    /// Passes on what one end writes, then its end.
    fn pass_on(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut piece = vec![0; FIRST];
        // When whoever does not take it any more has to have read the rest of what was said to him.
        let mut refused: Option<Instant> = None;
        loop {
            match from.read(&mut piece) {
                Ok(0) => break,
                Ok(_) if refused.is_some_and(|since| self.is_broken() || since.elapsed() > PATIENCE) => {
                    return;
                }
                Ok(length) => {
                    if refused.is_none() && to.write_all(&piece[..length]).is_err() {
                        refused = Some(Instant::now());
                        let _ = from.set_read_timeout(Some(PATIENCE));
                    }
                    // Most have little to say, and many wait.
                    if length == piece.len() && length < PIECE {
                        piece.resize(length * 4, 0);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if refused.is_some() => return,
                Err(_) => return self.hang_up(to),
            }
        }
        if !self.is_broken() {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Resets a connection, whose other end was reset.
    fn hang_up(&self, end: &TcpStream) {
        self.is_broken.store(true, Ordering::Relaxed);
        let _ = set_socket_linger(end, Some(Duration::ZERO));
        // Whoever waits for what it says goes on.
        let _ = end.shutdown(Shutdown::Read);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A client and a server that are connected by what forwards; both give up soon.
    fn connected() -> (TcpStream, TcpStream) {
        let open = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (listener, server) = (open(), open());
        let (address, port) = (listener.local_addr().unwrap(), server.local_addr().unwrap().port());
        std::thread::spawn(move || serve(&listener, (Ipv4Addr::LOCALHOST, port)));
        let ends = (TcpStream::connect(address).unwrap(), server.accept().unwrap().0);
        for end in [&ends.0, &ends.1] {
            end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            end.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        ends
    }

    fn read_all(mut end: &TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        end.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn each_direction_has_its_own_end() {
        let (client, server) = connected();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number >> 4) as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(&sent).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            let said = read_all(&server);
            assert!(said == sent);
            (&server).write_all(&said).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_all(&client) == sent);
    }

    /// Whoever is not told of it takes a part for the whole.
    #[test]
    fn a_reset_is_no_end() {
        for is_client in [false, true] {
            let (client, server) = connected();
            let (one, mut other) = if is_client { (client, server) } else { (server, client) };
            (&one).write_all(b"part").unwrap();
            let mut part = [0; 4];
            other.read_exact(&mut part).unwrap();
            set_socket_linger(&one, Some(Duration::ZERO)).unwrap();
            drop(one);
            let error = other.read(&mut part).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }

    /// A server that answers before it has heard everything, and closes.
    #[test]
    fn an_early_answer_is_whole() {
        let (client, server) = connected();
        let uploading = client.try_clone().unwrap();
        let upload = std::thread::spawn(move || while (&uploading).write_all(&[7; 4096]).is_ok() {});
        let answer = vec![1; 3_000_000];
        (&server).write_all(&answer).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let all = read_all(&client);
        assert_eq!(all.len(), answer.len());
        drop(server);
        upload.join().unwrap();
    }
}
