//! Ports of the host that lead to containers of an ordinary user's networks: whoever connects is connected, by a socket of this
//! process's, to the same port of the loopback in the network namespace that stands for those networks' host, where the packet filter
//! leads it to the container. The container sees that host's address, not the client's.
//!
//! The host's addresses are not there. Each has an address of the loopback instead ([`address_inside`]), so that one number can lead to
//! several containers.

mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread::Builder;

use pillbox_network::rootless::bind_ports;
use pillbox_network::{Ip, Port, Protocol};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::digest::Digest;
use crate::error::{Context, Error, Result};

/// Where a port of the host leads to.
type Destination = (Ipv4Addr, u16);

/// What a thread has for its stack, of which the kernel gives what is used.
const STACK: usize = 128 << 10;

/// The address of the loopback at which a port is published in there that is published at this address of the host: the same one, if that is
/// one of the lower half of the loopback, else one of the upper half. `None` is all addresses.
pub fn address_inside(host_ip: Option<Ip>) -> Option<Ipv4Addr> {
    let ip = host_ip.map(|Ip(ip)| ip.to_canonical()).filter(|ip| !ip.is_unspecified())?;
    let digest = match ip {
        IpAddr::V4(ip) if ip.is_loopback() && ip.octets()[1] < 128 => return Some(ip),
        IpAddr::V4(ip) => Digest::of(&ip.octets()),
        IpAddr::V6(ip) => Digest::of(&ip.octets()),
    };
    let [first, second, third, ..] = *digest.as_bytes();
    // 127.255.255.255 is nobody's.
    Some(Ipv4Addr::new(127, 128 | first, second, third.min(254)))
}

/// Sockets of the host.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<(TcpListener, Destination)>,
    udp: Vec<(UdpSocket, Destination)>,
    /// The ports, with those that were chosen.
    pub ports: Vec<Port>,
}

impl Listeners {
    /// Listens at ports of the host; those that are 0 are chosen.
    ///
    /// # Errors
    /// One is taken, or not to be had; it is named.
    pub fn open(ports: &[Port]) -> Result<Listeners> {
        let bound = bind_ports(ports).map_err(|error| Error::from(pillbox::container::worded(error)))?;
        let mut listeners = Listeners { tcp: Vec::new(), udp: Vec::new(), ports: Vec::new() };
        for (port, socket) in bound {
            let to = (address_inside(port.host_ip).unwrap_or(Ipv4Addr::LOCALHOST), port.host_port);
            match port.protocol {
                Protocol::Tcp => listeners.tcp.push((TcpListener::from(socket), to)),
                _ => listeners.udp.push((UdpSocket::from(socket), to)),
            }
            listeners.ports.push(port);
        }
        Ok(listeners)
    }

    /// Forwards until the process ends whose pidfd that is, from where the calling process stands.
    ///
    /// # Errors
    /// The kernel gives no threads.
    pub fn serve(self, process: &OwnedFd) -> Result<()> {
        // Each connection needs two descriptors; what is usual is for programs that use select(2).
        let files = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
        for (listener, to) in self.tcp {
            begin(move || tcp::serve(&listener, to))?;
        }
        for (socket, to) in self.udp {
            begin(move || udp::serve(&socket, to))?;
        }
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(process, PollFlags::IN)], None) {}
        Ok(())
    }
}

/// Begins a thread that ends with the process.
fn begin(work: impl FnOnce() + Send + 'static) -> Result<()> {
    Builder::new().stack_size(STACK).spawn(work).map(drop).context(|| "begin a thread")
}

/// Waits until there is something to read; false if that takes longer, in seconds.
fn is_readable(socket: BorrowedFd<'_>, limit: i64) -> bool {
    let limit = rustix::event::Timespec { tv_sec: limit, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
}
