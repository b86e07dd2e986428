//! Ports of the host, tried before anything is started.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

use super::{Options, Program};
use crate::error::{Error, Kind, Result, describe};
use crate::ip::Ip;
use crate::port::{Port, Protocol};

/// The first port that an ordinary user may bind in the caller's network namespace: ip-sysctl.rst.
const UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Tries each port, because older pasta passes over taken ones in a range, and over one of two address
/// families. Chooses those that are 0.
pub(super) fn reserve(program: Program, ports: &[Port], options: &Options) -> Result<Vec<Port>> {
    let has_v6 = options.ipv6 && program == Program::Pasta;
    let mut reserved = ports.to_vec();
    // A port that was chosen stays bound until all are, so that none is chosen twice.
    let mut held = Vec::new();
    for port in &mut reserved {
        let why = match port.host_ip {
            _ if port.protocol == Protocol::Sctp => "publishes tcp and udp, not sctp",
            Some(Ip(IpAddr::V6(_))) if program == Program::Slirp4netns => {
                "publishes IPv4 only: install passt"
            }
            Some(Ip(IpAddr::V6(_))) if !has_v6 => "runs without IPv6",
            _ => "",
        };
        if !why.is_empty() {
            return Err(Error::invalid(format_args!("port {port}: {} {why}", program.name())));
        }
        let wanted = *port;
        let is_chosen = wanted.host_port == 0;
        loop {
            let (socket, number) = try_port(&wanted, has_v6).map_err(|errno| word(&wanted, errno))?;
            port.host_port = number;
            if !is_chosen {
                break;
            }
            held.push(socket);
            // One that was asked for is not bound any more, or not yet.
            if !ports.iter().any(|other| other.host_port == number) {
                break;
            }
        }
    }
    Ok(reserved)
}

/// Binds ports of the host, and listens at those of TCP, for a program that forwards them itself. Ports that
/// are 0 are chosen, and never one that is asked for as well.
///
/// # Errors
/// A port is taken, reserved for root or not of a kind that can be published; it is named.
pub fn bind_ports(ports: &[Port]) -> Result<Vec<(Port, OwnedFd)>> {
    let mut bound: Vec<Option<(Port, OwnedFd)>> = ports.iter().map(|_| None).collect();
    for is_chosen in [false, true] {
        for (port, bound) in
            ports.iter().zip(&mut bound).filter(|(port, _)| (port.host_port == 0) == is_chosen)
        {
            if port.protocol == Protocol::Sctp {
                let why = "an ordinary user publishes tcp and udp, not sctp";
                return Err(Error::invalid(format_args!("port {port}: {why}")));
            }
            let (socket, host_port) = try_port(port, true).map_err(|errno| word(port, errno))?;
            if port.protocol == Protocol::Tcp {
                listen(&socket, BACKLOG).map_err(|errno| word(port, errno))?;
            }
            *bound = Some((Port { host_port, ..*port }, socket));
        }
    }
    Ok(bound.into_iter().flatten().collect())
}

/// How many connections may wait to be taken.
const BACKLOG: i32 = 1024;

/// Binds a port of the host, of both families if there is no address; and tells which.
fn try_port(port: &Port, has_v6: bool) -> rustix::io::Result<(OwnedFd, u16)> {
    match port.host_ip {
        Some(Ip(ip)) => bind_at(port, ip),
        None if has_v6 => match bind_at(port, Ipv6Addr::UNSPECIFIED.into()) {
            // No IPv6 here.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => bind_at(port, Ipv4Addr::UNSPECIFIED.into()),
            bound => bound,
        },
        None => bind_at(port, Ipv4Addr::UNSPECIFIED.into()),
    }
}

fn bind_at(port: &Port, ip: IpAddr) -> rustix::io::Result<(OwnedFd, u16)> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let is_tcp = port.protocol == Protocol::Tcp;
    let kind = if is_tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if is_tcp {
        // Connections of a former listener that are still closing are no obstacle.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(ip, port.host_port))?;
    if is_tcp {
        listen(&socket, 1)?;
    }
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, bound.port()))
}

/// Names the port, and the remedy.
#[cold]
fn word(port: &Port, errno: Errno) -> Error {
    let (kind, why) = match errno {
        Errno::ADDRINUSE => (Kind::PortTaken, "another program on the host has it".into()),
        Errno::ADDRNOTAVAIL => (Kind::Invalid, "no interface of the host has that address".into()),
        Errno::ACCESS => {
            let first = std::fs::read_to_string(UNPRIVILEGED).unwrap_or_default();
            let remedy = format!(
                "an ordinary user may bind ports from {} on: publish a higher one, or let root set sysctl \
                 net.ipv4.ip_unprivileged_port_start={}",
                first.trim(),
                port.host_port
            );
            (Kind::NotPermitted, remedy)
        }
        errno => (Kind::Host, describe(errno)),
    };
    Error::new(kind, format!("port {port}: {why}"))
}
