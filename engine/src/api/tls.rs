//! TLS over TCP, for clients with a certificate alone. A thread for each connection passes on what comes and goes, so that everything
//! else sees a socket like any other.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::error::{Context, Error, Result};

/// How long a client has to show who it is.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How many clients at once may be about to show it. Each has a thread and three descriptors, and anybody can be one.
const STRANGERS_MAX: usize = 256;

/// How long a connection is silent before it is asked for, and how long its answer is waited for.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long what a client has sent before it left waits to be taken.
const LEFT_TIME: Duration = Duration::from_secs(10);

/// What may wait on its way in one direction.
const WAITING_MAX: usize = 1 << 16;

/// The files that say who boxd is, and whom it believes.
#[derive(Debug)]
pub struct TlsFiles<'p> {
    /// `--tlscacert`: authorities of clients.
    pub authorities: &'p Path,
    /// `--tlscert`: boxd's own certificate.
    pub certificate: &'p Path,
    /// `--tlskey`: its key.
    pub key: &'p Path,
}

/// Reads them.
///
/// # Errors
/// A file cannot be read, or is something else.
pub fn configure(files: &TlsFiles<'_>) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates("--tlscacert", files.authorities)? {
        let named = || format!("--tlscacert {}", files.authorities.display());
        roots.add(authority).map_err(|error| Error::corrupt(format!("{}: {error}", named())))?;
    }
    let wrong = |error: &dyn std::fmt::Display| Error::invalid(format!("--tlsverify: {error}"));
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| wrong(&error))?;
    let own = certificates("--tlscert", files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(files.key).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            Error::invalid(format!("--tlskey {}: it has no private key", files.key.display()))
        }
        error => Error::corrupt(format!("--tlskey {}: {error}", files.key.display())),
    })?;
    let pair = || format!("--tlscert {} --tlskey {}", files.certificate.display(), files.key.display());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(own, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                Error::invalid(format!("{}: the key is not that of the certificate", pair()))
            }
            error => Error::invalid(format!("{}: {error}", pair())),
        })?;
    Ok(Arc::new(config))
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |error| Error::corrupt(format!("{flag} {}: {error}", path.display()));
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .collect::<std::result::Result<_, _>>()
        .map_err(wrong)?;
    match found.is_empty() {
        true => Err(Error::invalid(format!("{flag} {}: it has no certificate", path.display()))),
        false => Ok(found),
    }
}

/// Puts TLS over a connection; what comes out is as it was sent.
///
/// # Errors
/// There are no descriptors or threads.
pub fn accept(
    config: &Arc<ServerConfig>,
    strangers: &Arc<Strangers>,
    socket: TcpStream,
) -> Result<UnixStream> {
    let (plain, outside) = UnixStream::pair().context(|| "a pair of sockets")?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_nodelay(true);
    // A client whose machine is gone says nothing: it is asked.
    let _ = sockopt::set_socket_keepalive(&socket, true);
    let _ = sockopt::set_tcp_keepidle(&socket, KEEPALIVE);
    let _ = sockopt::set_tcp_keepintvl(&socket, KEEPALIVE);
    plain.set_nonblocking(true)?;
    outside.set_nonblocking(true)?;
    let tls =
        ServerConnection::new(config.clone()).map_err(|error| Error::invalid(format!("TLS: {error}")))?;
    let (socket, strangers) = (Arc::new(socket), strangers.clone());
    let passage = Passage {
        tls,
        socket: socket.clone(),
        plain: outside,
        inward: Vec::new(),
        said: Said::More,
        has_left: false,
        is_refused: false,
        plain_ended: false,
    };
    let builder = std::thread::Builder::new().stack_size(1 << 20);
    strangers.add(socket.clone());
    let begun = builder.spawn({
        let strangers = strangers.clone();
        move || passage.run(&strangers)
    });
    if begun.is_err() {
        strangers.remove(&socket);
    }
    begun.map(|_| plain).context(|| "a thread")
}

/// Clients that have not shown who they are, the oldest first.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<VecDeque<Arc<TcpStream>>>);

impl Strangers {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<TcpStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one. Of too many the oldest goes: one that has a certificate shows it at once.
    fn add(&self, socket: Arc<TcpStream>) {
        let mut strangers = self.lock();
        strangers.push_back(socket);
        if strangers.len() > STRANGERS_MAX {
            let oldest = strangers.pop_front();
            let _ = oldest.map(|socket| socket.shutdown(Shutdown::Both));
        }
    }

    fn remove(&self, socket: &Arc<TcpStream>) {
        self.lock().retain(|known| !Arc::ptr_eq(known, socket));
    }
}

/// What a client has said of what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// There may be more.
    More,
    /// That was all; it still reads.
    All,
}

/// Both ends of a connection.
struct Passage {
    tls: ServerConnection,
    socket: Arc<TcpStream>,
    plain: UnixStream,
    /// What has been decrypted, and not been taken yet.
    inward: Vec<u8>,
    said: Said,
    /// The client has closed its connection: it does not read either.
    has_left: bool,
    /// Nobody takes what comes any more.
    is_refused: bool,
    plain_ended: bool,
}

/// Why a passage ends.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

impl Passage {
    fn run(mut self, strangers: &Strangers) {
        let mut deadline = Some(Instant::now() + HANDSHAKE_TIME);
        while self.wait(deadline).is_ok() && self.pass().is_ok() {
            if deadline.is_some() && !self.tls.is_handshaking() {
                strangers.remove(&self.socket);
                deadline = None;
            }
        }
        strangers.remove(&self.socket);
        // What is wrong with a client is said to it, if it listens.
        let _ = self.tls.write_tls(&mut &*self.socket);
    }

    /// Waits until there is something to do. An end of which nothing is wanted is not asked: that it is closed would be told again and
    /// again.
    fn wait(&mut self, deadline: Option<Instant>) -> std::result::Result<(), Over> {
        let mut on_socket = PollFlags::empty();
        on_socket.set(PollFlags::IN, self.may_read_socket());
        on_socket.set(PollFlags::OUT, self.tls.wants_write());
        on_socket.set(PollFlags::RDHUP, !self.has_left);
        let mut on_plain = PollFlags::empty();
        on_plain.set(PollFlags::IN, self.may_read_plain());
        on_plain.set(PollFlags::OUT, !self.inward.is_empty());
        let limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if limit == Some(Duration::ZERO) {
            return Err(Over);
        }
        let limit = limit.or_else(|| self.has_left.then_some(LEFT_TIME));
        let limit = limit.map(|left| Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        });
        // Behind the last of the answer only whether the other end is closed altogether.
        let is_answered = self.is_answered();
        let mut polled = Vec::with_capacity(2);
        if !on_socket.is_empty() {
            polled.push(PollFd::from_borrowed_fd(self.socket.as_fd(), on_socket));
        }
        if !on_plain.is_empty() || is_answered {
            polled.push(PollFd::from_borrowed_fd(self.plain.as_fd(), on_plain));
        }
        match poll(&mut polled, limit.as_ref()) {
            Ok(1..) | Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return Err(Over),
        }
        let mut told = polled.iter().map(PollFd::revents);
        if !on_socket.is_empty() {
            let told = told.next().unwrap_or(PollFlags::empty());
            self.has_left |= told.intersects(PollFlags::RDHUP | PollFlags::HUP);
            if told.contains(PollFlags::ERR) {
                return Err(Over);
            }
        }
        let told = told.next().unwrap_or(PollFlags::empty());
        self.is_refused |= is_answered && told.intersects(PollFlags::HUP | PollFlags::ERR);
        Ok(())
    }

    /// Whether the client has been told everything.
    fn is_answered(&self) -> bool {
        self.plain_ended && !self.tls.wants_write()
    }

    fn may_read_socket(&self) -> bool {
        self.said == Said::More && self.inward.len() < WAITING_MAX
    }

    fn may_read_plain(&self) -> bool {
        !self.plain_ended && !self.tls.is_handshaking() && !self.tls.wants_write()
    }

    fn pass(&mut self) -> std::result::Result<(), Over> {
        self.read_socket()?;
        self.write_plain();
        self.read_plain()?;
        self.write_socket()?;
        let has_all = self.inward.is_empty() && self.said == Said::All;
        match has_all && self.has_left || (has_all || self.is_refused) && self.is_answered() {
            true => Err(Over),
            false => Ok(()),
        }
    }

    fn read_socket(&mut self) -> std::result::Result<(), Over> {
        if !self.may_read_socket() {
            return Ok(());
        }
        match self.tls.read_tls(&mut &*self.socket) {
            Ok(0) => (self.said, self.has_left) = (Said::All, true),
            Ok(_) => {}
            Err(error) if is_later(&error) => return Ok(()),
            Err(_) => return Err(Over),
        }
        let state = self.tls.process_new_packets().map_err(|_| Over)?;
        let mut content = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut content)?;
        self.inward.extend_from_slice(&content);
        if state.peer_has_closed() {
            self.said = Said::All;
        }
        Ok(())
    }

    /// Whoever takes no more may still answer.
    fn write_plain(&mut self) {
        while !self.inward.is_empty() && !self.is_refused {
            match self.plain.write(&self.inward) {
                Ok(length) => drop(self.inward.drain(..length)),
                Err(error) if is_later(&error) => return,
                Err(_) => self.is_refused = true,
            }
        }
        self.inward.clear();
        if self.said == Said::All {
            // One that is closed already cannot be closed once more.
            let _ = self.plain.shutdown(Shutdown::Write);
        }
    }

    fn read_plain(&mut self) -> std::result::Result<(), Over> {
        if !self.may_read_plain() {
            return Ok(());
        }
        let mut buffer = [0; 1 << 14];
        match self.plain.read(&mut buffer) {
            Ok(length @ 1..) => self.tls.writer().write_all(&buffer[..length])?,
            Err(error) if is_later(&error) => {}
            // Whoever closes it with something unread in it is seen as an error.
            Ok(0) | Err(_) => {
                self.plain_ended = true;
                self.tls.send_close_notify();
            }
        }
        Ok(())
    }

    fn write_socket(&mut self) -> std::result::Result<(), Over> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &*self.socket) {
                Ok(_) => {}
                Err(error) if is_later(&error) => return Ok(()),
                Err(_) => return Err(Over),
            }
        }
        if self.plain_ended {
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
