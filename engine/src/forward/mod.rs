//! Ports of the host that lead to containers of an ordinary user's networks: whoever connects is connected, by a socket of this
//! process's, to the same port of the loopback in the network namespace that stands for those networks' host, where the packet filter
//! leads it to the container. The container sees that host's address, not the client's.

mod tcp;
mod udp;

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread::Builder;

use pillbox_network::rootless::bind_ports;
use pillbox_network::{Port, Protocol};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Context, Error, Result};

/// What a thread has for its stack, of which the kernel gives what is used.
const STACK: usize = 128 << 10;

/// Sockets of the host.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<(TcpListener, u16)>,
    udp: Vec<(UdpSocket, u16)>,
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
            match port.protocol {
                Protocol::Tcp => listeners.tcp.push((TcpListener::from(socket), port.host_port)),
                _ => listeners.udp.push((UdpSocket::from(socket), port.host_port)),
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
        for (listener, port) in self.tcp {
            begin(move || tcp::serve(&listener, port))?;
        }
        for (socket, port) in self.udp {
            begin(move || udp::serve(&socket, port))?;
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
