//! The names of the links for ports: `ports/tcp-8080/127.0.0.1`, `ports/tcp-8080/any`.

use crate::ip::Ip;
use crate::port::{Port, Protocol};

/// Stands for all addresses of the host.
const ANY: &str = "any";

/// The folder of all that have the same port of different addresses.
pub(super) fn port_folder(port: &Port) -> String {
    format!("ports/{}-{}", port.protocol.name(), port.host_port)
}

/// The name of a port's link.
pub(super) fn port_file(port: &Port) -> String {
    let folder = port_folder(port);
    match canonical(port.host_ip) {
        Some(ip) => format!("{folder}/{ip}"),
        None => format!("{folder}/{ANY}"),
    }
}

/// Whether two are the same port of the same address.
pub(super) fn is_same(one: &Port, other: &Port) -> bool {
    (one.protocol, one.host_port, canonical(one.host_ip))
        == (other.protocol, other.host_port, canonical(other.host_ip))
}

/// The port that a link is for, by its folder and its name in there.
pub(super) fn port_of(folder: &str, name: &str) -> Option<Port> {
    let (protocol, port) = folder.strip_prefix("ports/")?.split_once('-')?;
    let host_ip = if name == ANY { None } else { Some(Ip(name.parse().ok()?)) };
    let (protocol, host_port) = (Protocol::of_name(protocol)?, port.parse().ok()?);
    Some(Port { protocol, host_ip, host_port, container_port: 0 })
}

/// An IPv4 address that is written as an IPv6 address is that IPv4 address.
pub(super) fn canonical(ip: Option<Ip>) -> Option<Ip> {
    ip.map(|Ip(ip)| Ip(ip.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_name_says_which_port_it_is() {
        for text in ["8080:80", "127.0.0.1:53:53/udp", "[::1]:1:1/sctp"] {
            let port = Port::parse(text).expect(text)[0];
            let file = port_file(&port);
            let (folder, name) = file.rsplit_once('/').expect("in a folder");
            assert!(is_same(&port_of(folder, name).expect(text), &port), "{file}");
        }
        let mapped =
            Port { host_ip: Some(Ip("::ffff:10.0.0.1".parse().expect("an address"))), ..Port::default() };
        assert_eq!(port_file(&mapped), "ports/tcp-0/10.0.0.1");
        for (folder, name) in [
            ("ports/tcp", ANY),
            ("ports/icmp-8", ANY),
            ("ports/tcp-70000", ANY),
            ("ports/tcp-80", "all"),
            ("tcp-80", ANY),
        ] {
            assert_eq!(port_of(folder, name), None, "{folder}/{name}");
        }
    }
}
