//! SCTP. Where the kernel has loaded it, its sockets are used. Otherwise the first two packets of an association are
//! written here and sent through raw sockets: an INIT, and the INIT ACK to it, which has the answer as a parameter (RFC
//! 9260). For rules and translations, which the kernel has without its SCTP, that is a connection.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, listen, recvfrom,
    sendto, socket_with,
};

use super::traffic::{converse, wait_readable};

/// How long an answer is waited for before the INIT is sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long an association of the kernel's is waited for before another one is made.
const ATTEMPT: Duration = Duration::from_secs(2);

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// The common header; the header of a chunk and the fixed fields of an INIT; the header of a parameter.
const COMMON: usize = 12;
const FIXED: usize = 20;
const PARAMETER: usize = 4;

/// A parameter's type that nobody knows, and skips (RFC 9260, 3.2.1).
const ANSWER: u16 = 0xbfff;

pub enum Listener {
    Native(TcpListener),
    Raw { port: u16, sockets: [OwnedFd; 2] },
}

/// Whether there are sockets for it. To ask for one would load the module.
fn is_native() -> bool {
    std::path::Path::new("/proc/thread-self/net/sctp").exists()
}

fn native(ip: IpAddr, flags: SocketFlags) -> io::Result<OwnedFd> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket_with(family, SocketType::STREAM, flags | SocketFlags::CLOEXEC, Some(ipproto::SCTP))?)
}

fn raw(is_v4: bool) -> io::Result<OwnedFd> {
    let family = if is_v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::RAW, flags, Some(ipproto::SCTP))?)
}

impl Listener {
    /// For raw sockets only the port of `at` counts.
    pub fn open(at: SocketAddr) -> io::Result<Listener> {
        if !is_native() {
            return Ok(Listener::Raw { port: at.port(), sockets: [raw(true)?, raw(false)?] });
        }
        let socket = native(at.ip(), SocketFlags::NONBLOCK)?;
        bind(&socket, &at)?;
        listen(&socket, 16)?;
        Ok(Listener::Native(TcpListener::from(socket)))
    }

    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Listener::Native(listener) => vec![listener.as_fd()],
            Listener::Raw { sockets, .. } => sockets.iter().map(AsFd::as_fd).collect(),
        }
    }

    pub fn answer(&self, answer: impl Fn(IpAddr) -> String) -> io::Result<()> {
        match self {
            Listener::Native(listener) => {
                let (mut stream, peer) = listener.accept()?;
                io::Write::write_all(&mut stream, answer(peer.ip()).as_bytes())
            }
            Listener::Raw { port, sockets } => {
                for (socket, is_v4) in sockets.iter().zip([true, false]) {
                    let Some((packet, peer)) = receive(socket, is_v4)? else { continue };
                    if packet.chunk == INIT && packet.ports[1] == *port {
                        let text = answer(peer);
                        let ports = [*port, packet.ports[0]];
                        let ack = Packet { ports, tag: packet.own_tag, chunk: INIT_ACK, own_tag: 7, text };
                        ack.send(socket, peer)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// What a server says to a client from here.
pub fn ask(to: SocketAddr, limit: Duration) -> io::Result<String> {
    static PORTS: AtomicU16 = AtomicU16::new(40_000);
    if is_native() {
        let begun = Instant::now();
        loop {
            let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
            match ask_natively(to, left.min(ATTEMPT)) {
                // On a slow machine an association may be aborted while it ends, before what came with it is read; or a packet
                // of it is lost, and the kernel sends it again after three seconds, and then twice as many.
                Err(error) if is_unlucky(&error) && begun.elapsed() < limit => {}
                answer => return answer,
            }
        }
    }
    let ports = [PORTS.fetch_add(1, Ordering::Relaxed), to.port()];
    let init = Packet { ports, tag: 0, chunk: INIT, own_tag: 0x1234_5678, text: String::new() };
    let socket = raw(to.is_ipv4())?;
    let begun = Instant::now();
    while begun.elapsed() < limit {
        init.send(&socket, to.ip())?;
        while wait_readable(&[socket.as_fd()], Some(AGAIN)) {
            let Some((packet, _)) = receive(&socket, to.is_ipv4())? else { continue };
            if packet.chunk == INIT_ACK && packet.ports == [ports[1], ports[0]] && packet.tag == init.own_tag
            {
                return Ok(packet.text);
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn is_unlucky(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionReset, TimedOut, WouldBlock};
    matches!(error.kind(), ConnectionReset | TimedOut | WouldBlock)
}

fn ask_natively(to: SocketAddr, limit: Duration) -> io::Result<String> {
    let socket = native(to.ip(), SocketFlags::NONBLOCK)?;
    // It is aborted when it is closed: one that shuts down keeps the other end's namespace, and its links, for seconds.
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut polled = [PollFd::new(&socket, PollFlags::OUT)];
    if poll(&mut polled, Some(&Timespec::try_from(limit).expect("a limit")))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let stream = TcpStream::from(socket);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.set_nonblocking(false)?;
    converse(stream, limit)
}

/// A packet with an INIT or an INIT ACK.
struct Packet {
    /// Source and destination.
    ports: [u16; 2],
    /// The tag that the other side has chosen; 0 in an INIT.
    tag: u32,
    chunk: u8,
    own_tag: u32,
    text: String,
}

impl Packet {
    fn send(&self, socket: &OwnedFd, to: IpAddr) -> io::Result<()> {
        sendto(socket, &self.encode(), SendFlags::empty(), &SocketAddr::new(to, 0))?;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.ports.iter().for_each(|port| bytes.extend(port.to_be_bytes()));
        bytes.extend(self.tag.to_be_bytes());
        // The checksum.
        bytes.extend([0; 4]);
        let parameter = if self.text.is_empty() { 0 } else { PARAMETER + self.text.len() };
        bytes.extend([self.chunk, 0]);
        bytes.extend((FIXED as u16 + parameter as u16).to_be_bytes());
        bytes.extend(self.own_tag.to_be_bytes());
        // The window, the streams out and in, the first number.
        bytes.extend(65_536u32.to_be_bytes());
        bytes.extend([0, 1, 0, 1]);
        bytes.extend(1u32.to_be_bytes());
        if parameter > 0 {
            bytes.extend(ANSWER.to_be_bytes());
            bytes.extend((parameter as u16).to_be_bytes());
            bytes.extend(self.text.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let checksum = crc32c(&bytes);
        bytes[8..COMMON].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// None for other packets.
    fn decode(bytes: &[u8]) -> Option<Packet> {
        let u16_at = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let chunk = *bytes.get(COMMON)?;
        let text = COMMON + FIXED + PARAMETER;
        let text = match u16_at(text - 2) {
            Some(length) => bytes.get(text..text + usize::from(length).checked_sub(PARAMETER)?)?,
            None => &[],
        };
        let text = String::from_utf8(text.to_vec()).ok()?;
        let ports = [u16_at(0)?, u16_at(2)?];
        Some(Packet { ports, tag: u32_at(4)?, chunk, own_tag: u32_at(COMMON + 4)?, text })
    }
}

/// The next packet and who sent it; none if there is none, or another one.
fn receive(socket: &OwnedFd, is_v4: bool) -> io::Result<Option<(Packet, IpAddr)>> {
    let mut buffer = [0; 512];
    let (length, from) = match recvfrom(socket, &mut buffer, RecvFlags::empty()) {
        Err(Errno::AGAIN) => return Ok(None),
        Ok((length, _, from)) => (length, from),
        Err(errno) => return Err(errno.into()),
    };
    // Raw sockets of IPv4 have the header before it.
    let header = if is_v4 { usize::from(buffer[0] & 0xf) * 4 } else { 0 };
    let packet = buffer[..length].get(header..).and_then(Packet::decode);
    let from = from.map(SocketAddr::try_from).transpose()?;
    Ok(packet.zip(from.map(|from| from.ip())))
}

/// CRC-32C (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
