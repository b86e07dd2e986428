//! Where boxd is reached: a socket in the file system, one that systemd has opened, or TCP with TLS.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use rustls::ServerConfig;

use super::tls::{self, Strangers};
use crate::error::{Context, Error, Result};
use crate::file;
use crate::store::{Lock, Sharing};

/// The first descriptor that systemd passes on (sd_listen_fds(3)).
const FIRST_PASSED: i32 = 3;

/// A place at which clients arrive.
#[derive(Debug)]
pub enum Listener {
    /// In the file system.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Of one's own; systemd's is left alone.
        _own: Option<OwnSocket>,
    },
    /// On the network.
    Tls {
        /// The socket.
        listener: TcpListener,
        /// Who clients have to be.
        config: Arc<ServerConfig>,
        /// Who has not shown it yet.
        strangers: Arc<Strangers>,
    },
}

/// A socket that this process has made.
#[derive(Debug)]
pub struct OwnSocket {
    path: PathBuf,
    /// Held as long as it serves: a second boxd does not take its place.
    _lock: Lock,
}

impl Listener {
    /// Makes a socket at a path. One that a killed boxd has left is replaced.
    ///
    /// # Errors
    /// Another boxd serves it; it cannot be made.
    pub fn at(path: &Path) -> Result<Listener> {
        let named = || format!("--host unix://{}", path.display());
        let lock_path = with_ending(path, ".lock");
        file::make(&lock_path).context(named)?;
        let lock = Lock::try_at(&lock_path, Sharing::Exclusive).context(named)?;
        let taken = || Error::conflict(format!("{}: another boxd serves it", named()));
        let lock = lock.ok_or_else(taken)?;
        if std::fs::symlink_metadata(path).is_ok() && UnixStream::connect(path).is_ok() {
            return Err(Error::conflict(format!("{}: another program serves it", named())));
        }
        // Nobody gets in before its mode is right.
        let beside = with_ending(path, &format!(".{}", std::process::id()));
        let _ = std::fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).context(named)?;
        let settled = admit(&beside).and_then(|()| std::fs::rename(&beside, path).context(named));
        if let Err(error) = settled {
            let _ = std::fs::remove_file(&beside);
            return Err(error);
        }
        listener.set_nonblocking(true).context(named)?;
        Ok(Listener::Unix { listener, _own: Some(OwnSocket { path: path.to_path_buf(), _lock: lock }) })
    }

    /// The sockets that systemd has opened for this process.
    ///
    /// # Errors
    /// There are none, or they are of another kind.
    pub fn passed() -> Result<Vec<Listener>> {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
        let count = number("LISTEN_FDS").unwrap_or(0);
        let is_for_us = number("LISTEN_PID") == Some(getpid().as_raw_pid());
        if !is_for_us || count < 1 {
            return Err(Error::invalid(
                "--host fd://: nobody has passed a socket (LISTEN_FDS, LISTEN_PID): it is for systemd's boxd.socket",
            ));
        }
        // As they are, containers' monitors would have them, too.
        pillbox_init::sys::close_on_exec_from(FIRST_PASSED.cast_unsigned())?;
        let own = pidfd_open(getpid(), PidfdFlags::empty()).context(|| "this process")?;
        let take = |number: i32| {
            let socket: OwnedFd = pidfd_getfd(&own, number, PidfdGetfdFlags::empty())
                .context(|| format!("--host fd://: descriptor {number}"))?;
            let listener = UnixListener::from(socket);
            let wrong =
                || Error::invalid(format!("--host fd://: descriptor {number} is no socket that listens"));
            listener.local_addr().map_err(|_| wrong())?;
            listener.set_nonblocking(true)?;
            Ok(Listener::Unix { listener, _own: None })
        };
        (FIRST_PASSED..FIRST_PASSED.saturating_add(count.min(64))).map(take).collect()
    }

    /// At an address of the network, for clients that show who they are.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn on_network(address: &str, config: Arc<ServerConfig>) -> Result<Listener> {
        let named = || format!("--host tcp://{address}");
        let listener = TcpListener::bind(address).context(named)?;
        listener.set_nonblocking(true).context(named)?;
        Ok(Listener::Tls { listener, config, strangers: Arc::default() })
    }

    /// Lets somebody in; `None` if nobody is there.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn accept(&self) -> Result<Option<UnixStream>> {
        let accepted = match self {
            Listener::Unix { listener, .. } => listener.accept().and_then(|(connection, _)| {
                connection.set_nonblocking(true)?;
                Ok(connection)
            }),
            Listener::Tls { listener, config, strangers } => match listener.accept() {
                Ok((socket, _)) => return tls::accept(config, strangers, socket).map(Some),
                Err(error) => Err(error),
            },
        };
        match accepted {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Unix { listener, .. } => listener.as_fd(),
            Listener::Tls { listener, .. } => listener.as_fd(),
        }
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(with_ending(&self.path, ".lock"));
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

/// Whoever may speak to root's boxd is root: a group for that decides, if there is one.
fn admit(path: &Path) -> Result<()> {
    let named = || path.display().to_string();
    let is_root = rustix::process::geteuid().is_root();
    let group = if is_root { group_id() } else { None };
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).context(named)?;
    match group {
        Some(_) => std::os::unix::fs::chown(path, None, group).context(named),
        None => Ok(()),
    }
}

/// Of the group `docker`, or else of `box`.
fn group_id() -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let find = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == wanted).then(|| fields.nth(1)?.parse().ok())?
        })
    };
    find("docker").or_else(|| find("box"))
}
