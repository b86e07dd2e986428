//! TLS over TCP, for clients with a certificate alone. A thread for each connection passes on what comes and goes, so that everything
//! else sees a socket like any other.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::error::{Context, Error, Result};

/// How long a client has to show who it is.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

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
    let key = PrivateKeyDer::from_pem_file(files.key)
        .map_err(|error| Error::corrupt(format!("--tlskey {}: {error}", files.key.display())))?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(own, key)
        .map_err(|error| wrong(&error))?;
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
pub fn accept(config: &Arc<ServerConfig>, socket: TcpStream) -> Result<UnixStream> {
    let (plain, outside) = UnixStream::pair().context(|| "a pair of sockets")?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_nodelay(true);
    plain.set_nonblocking(true)?;
    outside.set_nonblocking(true)?;
    let tls =
        ServerConnection::new(config.clone()).map_err(|error| Error::invalid(format!("TLS: {error}")))?;
    let passage =
        Passage { tls, socket, plain: outside, inward: Vec::new(), socket_ended: false, plain_ended: false };
    let builder = std::thread::Builder::new().stack_size(1 << 20);
    builder.spawn(move || passage.run()).context(|| "a thread")?;
    Ok(plain)
}

/// Both ends of a connection.
struct Passage {
    tls: ServerConnection,
    socket: TcpStream,
    plain: UnixStream,
    /// What has been decrypted, and not been taken yet.
    inward: Vec<u8>,
    socket_ended: bool,
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
    fn run(mut self) {
        let deadline = Instant::now() + HANDSHAKE_TIME;
        while self.wait(deadline).is_ok() && self.pass().is_ok() {}
        // What is wrong with a client is said to it, if it listens.
        let _ = self.tls.write_tls(&mut self.socket);
    }

    fn wait(&self, deadline: Instant) -> std::result::Result<(), Over> {
        let flags = |read, write| {
            let read = if read { PollFlags::IN } else { PollFlags::empty() };
            read | if write { PollFlags::OUT } else { PollFlags::empty() }
        };
        let may_read_socket = !self.socket_ended && self.inward.len() < WAITING_MAX;
        let may_read_plain = !self.plain_ended && !self.tls.is_handshaking() && !self.tls.wants_write();
        let mut polled = [
            PollFd::from_borrowed_fd(self.socket.as_fd(), flags(may_read_socket, self.tls.wants_write())),
            PollFd::from_borrowed_fd(self.plain.as_fd(), flags(may_read_plain, !self.inward.is_empty())),
        ];
        let left = self.tls.is_handshaking().then(|| deadline.saturating_duration_since(Instant::now()));
        let limit = left.map(|left| Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut polled, limit.as_ref()) {
            Ok(0) => Err(Over),
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                // An end that is closed altogether says so again and again.
                let gone = PollFlags::HUP | PollFlags::ERR;
                let is_over = polled[1].revents().intersects(gone)
                    && self.inward.is_empty()
                    && self.plain_ended
                    || polled[0].revents().intersects(gone) && self.socket_ended && !self.tls.wants_write();
                if is_over { Err(Over) } else { Ok(()) }
            }
            Err(_) => Err(Over),
        }
    }

    fn pass(&mut self) -> std::result::Result<(), Over> {
        self.read_socket()?;
        self.write_plain()?;
        self.read_plain()?;
        self.write_socket()?;
        match self.socket_ended && self.plain_ended && self.inward.is_empty() && !self.tls.wants_write() {
            true => Err(Over),
            false => Ok(()),
        }
    }

    fn read_socket(&mut self) -> std::result::Result<(), Over> {
        if self.socket_ended || self.inward.len() >= WAITING_MAX {
            return Ok(());
        }
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => self.socket_ended = true,
            Ok(_) => {}
            Err(error) if is_later(&error) => return Ok(()),
            Err(_) => return Err(Over),
        }
        let state = self.tls.process_new_packets().map_err(|_| Over)?;
        let mut content = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut content)?;
        self.inward.extend_from_slice(&content);
        self.socket_ended |= state.peer_has_closed();
        Ok(())
    }

    fn write_plain(&mut self) -> std::result::Result<(), Over> {
        while !self.inward.is_empty() {
            match self.plain.write(&self.inward) {
                Ok(length) => drop(self.inward.drain(..length)),
                Err(error) if is_later(&error) => return Ok(()),
                Err(_) => return Err(Over),
            }
        }
        if self.socket_ended {
            // One that is closed already cannot be closed once more.
            let _ = self.plain.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn read_plain(&mut self) -> std::result::Result<(), Over> {
        if self.plain_ended || self.tls.is_handshaking() || self.tls.wants_write() {
            return Ok(());
        }
        let mut buffer = [0; 1 << 14];
        match self.plain.read(&mut buffer) {
            Ok(0) => {
                self.plain_ended = true;
                self.tls.send_close_notify();
            }
            Ok(length) => self.tls.writer().write_all(&buffer[..length])?,
            Err(error) if is_later(&error) => {}
            Err(_) => return Err(Over),
        }
        Ok(())
    }

    fn write_socket(&mut self) -> std::result::Result<(), Over> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
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
