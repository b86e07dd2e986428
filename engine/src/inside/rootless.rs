//! The namespaces that stand for the host of an ordinary user's networks: a user namespace with the ids of his containers, and a network
//! namespace of that one, held by a process that does nothing else. What is done in them is done by this program once more.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pillbox::container::{There, Whose, worded};
use pillbox::netlink::{LOOPBACK_INDEX, Socket, link};
use pillbox::state::NetworkRecord;
use pillbox_network::responder::{self, Sockets};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::place::NEW_USER;
use crate::error::{Context, Error, Result};
use crate::file;
use crate::forward::Listeners;

/// `CLONE_NEWNET`.
const NEW_NETWORK: u32 = 0x4000_0000;

/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How they are entered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entrance {
    /// The process that holds them.
    pub pid: i32,
    /// The file that it has locked as long as it lives.
    pub lock: PathBuf,
}

/// What is done to networks there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum NetworkAct {
    /// Connects a process's network namespace to all that a netconf.json says.
    Connect {
        /// Whose interfaces they are.
        whose: Whose,
        /// The text.
        netconf: String,
        /// The process.
        pid: i32,
    },
    /// Makes one more interface there, by a name.
    Add {
        /// Whose it is.
        whose: Whose,
        /// The text.
        netconf: String,
        /// The interface's name.
        name: String,
        /// The process.
        pid: i32,
    },
    /// Takes an interface away.
    Remove {
        /// Whose it is.
        whose: Whose,
        /// The interface's name.
        name: String,
        /// The process.
        pid: i32,
    },
    /// Removes a network on which nobody is.
    TakeDown(String),
}

/// An interface, as the runtime records it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Interface {
    interface: String,
    network: String,
    mac: Option<String>,
    addresses: Vec<String>,
    ports: Vec<String>,
}

impl From<NetworkRecord> for Interface {
    fn from(record: NetworkRecord) -> Interface {
        let NetworkRecord { interface, network, mac, addresses, ports } = record;
        Interface { interface, network, mac, addresses: addresses.0, ports: ports.0 }
    }
}

impl From<Interface> for NetworkRecord {
    fn from(interface: Interface) -> NetworkRecord {
        let Interface { interface, network, mac, addresses, ports } = interface;
        NetworkRecord { interface, network, mac, addresses: addresses.into(), ports: ports.into() }
    }
}

impl Entrance {
    fn enter(&self) -> Result<()> {
        let named = || format!("process {}, which holds the networks", self.pid);
        let pid = Pid::from_raw(self.pid).ok_or_else(|| Error::invalid("no process"))?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context(named)?;
        // Checked after opening: if it has ended, another process may have its number.
        if !is_held(&self.lock)? {
            return Err(Error::conflict("it has just ended").context(named()));
        }
        pillbox_init::sys::setns(&process, NEW_USER | NEW_NETWORK)
            .context(|| "enter the namespaces of your networks")
    }
}

/// Whether a process holds the namespaces: it has that file locked.
///
/// # Errors
/// The kernel refuses the question.
pub fn is_held(lock: &Path) -> Result<bool> {
    let named = || lock.display().to_string();
    let file = match file::open(lock) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        file => file.context(named)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Ok(true),
        locked => locked.context(named).map(|()| false),
    }
}

/// Makes the network namespace in the user namespace in which the process stands, and locks the file, which says its number from now on.
pub fn hold(lock: &Path) -> Result<File> {
    let file = take_lock(lock)?;
    pillbox_init::sys::unshare_namespaces(NEW_NETWORK).context(|| "make a network namespace")?;
    let up = || Socket::open()?.request(&[link::set_up(LOOPBACK_INDEX)?]);
    up().map_err(|error| Error::from(worded(error.into())).context("set the loopback up"))?;
    write_into(&file, lock, &std::process::id().to_string())?;
    Ok(file)
}

/// Makes the file by which a process that stays is known.
fn take_lock(lock: &Path) -> Result<File> {
    let named = || lock.display().to_string();
    // Whoever leads the session that it was started in may end it.
    let _ = rustix::process::setsid();
    let file =
        file::open_with(File::options().create(true).truncate(false).write(true), lock).context(named)?;
    let began = Instant::now();
    while let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Whoever looks whether it is held has it for a moment.
        if errno != Errno::WOULDBLOCK || began.elapsed() > PATIENCE {
            return Err(errno).context(named);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    file.set_len(0).context(named)?;
    Ok(file)
}

fn write_into(mut file: &File, lock: &Path, text: &str) -> Result<()> {
    file.write_all(text.as_bytes()).context(|| lock.display().to_string())
}

/// Does something to networks.
pub fn act(entrance: &Entrance, store: &Path, act: NetworkAct) -> Result<Vec<Interface>> {
    entrance.enter()?;
    let mut there = There::open(store)?;
    let records = match act {
        NetworkAct::Connect { whose, netconf, pid } => there.connect(&whose, &netconf, pid)?,
        NetworkAct::Add { whose, netconf, name, pid } => vec![there.add(&whose, &netconf, &name, pid)?],
        NetworkAct::Remove { whose, name, pid } => there.remove(&whose, &name, pid)?,
        NetworkAct::TakeDown(network) => there.take_down(&network).map(|()| Vec::new())?,
    };
    Ok(records.into_iter().map(Interface::from).collect())
}

/// A process that forwards ports of the host.
pub struct Forwarding {
    /// The ports.
    pub listeners: Listeners,
    /// The pidfd of the container's process, with which it ends.
    process: OwnedFd,
    /// By which it is known, and which says the number of the container's process, then those of the ports.
    file: File,
    lock: PathBuf,
}

impl Forwarding {
    /// Forwards until the container's process ends, and then ends this one: whoever gets the lock finds the ports free, because the kernel
    /// closes descriptors in their order.
    pub fn live(self) -> Result<()> {
        let Forwarding { listeners, process, file: _file, lock } = self;
        listeners.serve(&process)?;
        std::fs::remove_file(&lock).context(|| lock.display().to_string())?;
        std::process::exit(0)
    }
}

/// Listens at ports of the host, and enters the namespaces then.
pub fn listen(entrance: &Entrance, lock: &Path, ports: &[String], container: i32) -> Result<Forwarding> {
    let mut wanted = Vec::new();
    for text in ports {
        wanted.extend(pillbox_network::Port::parse(text).map_err(|error| Error::from(worded(error)))?);
    }
    let pid = Pid::from_raw(container).ok_or_else(|| Error::invalid("no process"))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context(|| "the container's process")?;
    let listeners = Listeners::open(&wanted)?;
    let file = take_lock(lock)?;
    let numbers = listeners.ports.iter().map(|port| i32::from(port.host_port));
    let words: Vec<String> = std::iter::once(container).chain(numbers).map(|word| word.to_string()).collect();
    write_into(&file, lock, &words.join(" "))?;
    entrance.enter()?;
    Ok(Forwarding { listeners, process, file, lock: lock.to_path_buf() })
}

/// Opens the sockets at which a container of the user's is answered for names.
pub fn open_name_sockets(container: i32) -> Result<Sockets> {
    let pid = Pid::from_raw(container).ok_or_else(|| Error::invalid("no process"))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context(|| "the container's process")?;
    let path = format!("/proc/{container}/ns/net");
    let namespace = File::open(&path).context(|| path)?;
    // Where it comes from it could not return to.
    pillbox_init::sys::setns(&process, NEW_USER | NEW_NETWORK)
        .context(|| "enter the container's namespaces")?;
    responder::open(namespace.as_fd()).map_err(|error| Error::from(worded(error)))
}

/// The numbers of their descriptors.
pub fn numbers(sockets: &Sockets) -> [i32; 2] {
    [sockets.udp.as_raw_fd(), sockets.tcp.as_raw_fd()]
}
