//! Hosts of the benchmark's own: a network namespace with a mount namespace, in which records of networks are other ones.
//! So what is measured on one host neither sees nor slows what is on another.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, move_mount, open_tree,
    unmount,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, Result, error};
use crate::sys;

/// Where pillbox and the reference plugins keep records. What a container needs besides is not below these.
const RECORDS: [&str; 2] = ["/run/pillbox", "/var/lib"];

/// How often to try again to enter a mount namespace, 0.1 ms apart: a thread that has ended may still be leaving.
const ATTEMPTS: usize = 100;

/// How long an end of a connection waits for the other one.
const PATIENCE: Duration = Duration::from_secs(5);

/// A host.
pub struct Host {
    network: OwnedFd,
    mounts: OwnedFd,
}

/// Has /sys show this network namespace's links, as on any host; the cgroups stay where they are.
fn show_own_links() -> Result<()> {
    const CGROUPS: &str = "/sys/fs/cgroup";
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let cgroups = open_tree(CWD, CGROUPS, flags).context(|| format!("open the mounts at {CGROUPS}"))?;
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).context(|| "mount a sysfs at /sys")?;
    move_mount(cgroups, "", CWD, CGROUPS, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .context(|| format!("move the mounts to {CGROUPS}"))
}

impl Host {
    /// Makes a host, and goes there: from now on this process and what it starts are on it.
    pub fn new() -> Result<Host> {
        sys::unshare_network(true).context(|| "make a network and a mount namespace")?;
        for folder in RECORDS {
            fs::create_dir_all(folder).context(|| format!("mkdir {folder}"))?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            mount("tmpfs", folder, "tmpfs", flags, c"mode=755")
                .context(|| format!("mount a tmpfs at {folder}"))?;
        }
        show_own_links()?;
        Socket::open()?.request(&[link::set_up(LOOPBACK_INDEX)?])?;
        Ok(Host { network: open("/proc/self/ns/net")?, mounts: open("/proc/self/ns/mnt")? })
    }

    /// Goes there. The process must have no other threads.
    pub fn enter(&self) -> Result<()> {
        move_to(self.network.as_fd())?;
        for _ in 0..ATTEMPTS {
            match move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount)) {
                Err(Errno::INVAL) => std::thread::sleep(Duration::from_micros(100)),
                moved => return moved.context(|| "enter a mount namespace"),
            }
        }
        Err(error("enter a mount namespace: this process has other threads"))
    }

    /// Does something in another network namespace, then comes back to this host's.
    pub fn within<T>(&self, network: BorrowedFd<'_>, act: impl FnOnce() -> Result<T>) -> Result<T> {
        move_to(network)?;
        let done = act();
        move_to(self.network.as_fd())?;
        done
    }

    /// Its network namespace.
    pub fn network(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    /// A connection between two network namespaces, over TCP. The second end listened at the address.
    pub fn connect(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        address: SocketAddr,
    ) -> Result<(TcpStream, TcpStream)> {
        let listen = || TcpListener::bind(address).context(|| format!("listen on {address}"));
        let listener = self.within(to, listen)?;
        let address = listener.local_addr().context(|| "getsockname")?;
        let connect =
            || TcpStream::connect_timeout(&address, PATIENCE).context(|| format!("connect to {address}"));
        let one = self.within(from, connect)?;
        let (other, _) = listener.accept().context(|| "accept")?;
        for end in [&one, &other] {
            end.set_nodelay(true).context(|| "TCP_NODELAY")?;
            // An end that waits for one that has failed fails as well.
            end.set_read_timeout(Some(PATIENCE)).context(|| "SO_RCVTIMEO")?;
            end.set_write_timeout(Some(PATIENCE)).context(|| "SO_SNDTIMEO")?;
        }
        Ok((one, other))
    }
}

fn open(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    Ok(File::open(path).context(|| format!("open {}", path.display()))?.into())
}

fn move_to(network: BorrowedFd<'_>) -> Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(network, kind).context(|| "enter a network namespace")
}

/// The network namespace of a process.
pub fn network_of(pid: i32) -> Result<OwnedFd> {
    open(format!("/proc/{pid}/ns/net"))
}

/// A network namespace without processes, bound to a path, as callers of CNI plugins make them.
pub struct Namespace {
    /// The path.
    pub path: PathBuf,
}

impl Namespace {
    /// Makes one from `host`, on which this process is.
    pub fn new(host: &Host, path: PathBuf) -> Result<Namespace> {
        File::create(&path).context(|| format!("create {}", path.display()))?;
        sys::unshare_network(false).context(|| "make a network namespace")?;
        let bound = mount_bind("/proc/self/ns/net", &path).context(|| format!("bind {}", path.display()));
        move_to(host.network())?;
        bound.map(|()| Namespace { path })
    }

    /// A descriptor of it.
    pub fn open(&self) -> Result<OwnedFd> {
        open(&self.path)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let gone = unmount(&self.path, UnmountFlags::DETACH).map_err(std::io::Error::from);
        if let Err(error) = gone.and_then(|()| fs::remove_file(&self.path)) {
            eprintln!("bench: {} is left: {error}", self.path.display());
        }
    }
}
