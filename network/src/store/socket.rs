//! Ports that programs of the host have: the kernel knows them when a port is bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::{self, Errno};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::process;
use crate::error::{Error, Kind, Result, describe};
use crate::ip::Ip;
use crate::port::{Port, Protocol};

/// All addresses of the host.
const ALL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// Checks that no program has the port of any address that it is for.
///
/// # Errors
/// [`Kind::PortTaken`], which names the process; no interface has the address; the caller may not have such a
/// low port.
pub(super) fn check_free(port: &Port) -> Result<()> {
    probe(port).map_err(|(ip, errno)| refusal(port, ip, errno))
}

/// Whether no program has the port, without asking which.
///
/// # Errors
/// As for [`check_free`], except that a taken port is no error.
pub(super) fn is_free(port: &Port) -> Result<bool> {
    match probe(port) {
        Err((_, Errno::ADDRINUSE)) => Ok(false),
        probed => probed.map(|()| true).map_err(|(ip, errno)| refusal(port, ip, errno)),
    }
}

/// Binds a port of each address that it is for, or says which one cannot be bound.
fn probe(port: &Port) -> std::result::Result<(), (IpAddr, Errno)> {
    let asked = match port.host_ip {
        None => &ALL[..],
        Some(Ip(ip)) => &[ip],
    };
    for &ip in asked {
        match bind(port.protocol, ip, port.host_port) {
            Ok(true) => {}
            // Without a protocol in the kernel, no program has its ports.
            Ok(false) if port.host_ip.is_none() || port.protocol == Protocol::Sctp => {}
            Ok(false) => return Err((ip, Errno::AFNOSUPPORT)),
            Err(errno) => return Err((ip, errno)),
        }
    }
    Ok(())
}

/// Why a port cannot be had.
#[cold]
fn refusal(port: &Port, ip: IpAddr, errno: Errno) -> Error {
    let (kind, why) = match errno {
        Errno::ADDRINUSE => (Kind::PortTaken, format!("taken by {}", process::holder(port))),
        Errno::ADDRNOTAVAIL => (Kind::Invalid, format!("no interface of this host has the address {ip}")),
        Errno::AFNOSUPPORT => (Kind::Invalid, format!("this kernel has no addresses like {ip}")),
        Errno::ACCESS => {
            let why = "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE";
            (Kind::NotPermitted, why.to_string())
        }
        errno => (Kind::Host, format!("bind to {ip}: {}", describe(errno))),
    };
    Error::new(kind, format!("port {port}: {why}"))
}

/// Binds a port and closes it again. False if the kernel does not have the protocol or the address family.
fn bind(protocol: Protocol, ip: IpAddr, port: u16) -> io::Result<bool> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        // A socket would load the module, which publishing does without.
        Protocol::Sctp if !has_sctp() => return Ok(false),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = match rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number)) {
        Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => return Ok(false),
        socket => socket?,
    };
    if protocol == Protocol::Tcp {
        // For TCP this hides no listener, only connections of one that has ended (TIME_WAIT).
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if ip.is_ipv6() {
        // IPv4's ports are asked for by themselves.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(ip, port))?;
    Ok(true)
}

fn has_sctp() -> bool {
    rustix::fs::accessat(CWD, "/proc/thread-self/net/sctp", Access::EXISTS, AtFlags::empty()).is_ok()
}
