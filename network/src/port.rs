//! Published ports: which port of the host leads to which port of a container.

use std::fmt;
use std::net::IpAddr;

use pillbox_json::reader::{Failed, Reader};
use pillbox_json::{Value, object};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::ip::{self, Ip};

/// A protocol with ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// `tcp`, `udp` or `sctp`.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// The protocol of that name, in either case.
    pub fn of_name(name: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Its number in IP's header (`IPPROTO_`).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Value<'_> for Protocol {
    fn read(&mut self, reader: &mut Reader<'_>) -> std::result::Result<(), Failed> {
        *self = ip::read(reader, "tcp, udp or sctp", Protocol::of_name)?;
        Ok(())
    }
}

object! {
    /// A port of the host that leads to one of a container.
    #[derive(Copy, Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Port {
        "protocol" => protocol: Protocol,
        /// The host's address; none: all addresses of the container's families.
        "hostIp" => host_ip: Option<Ip>,
        /// 0: one that is free is chosen.
        "hostPort" => host_port: u16,
        "containerPort" => container_port: u16,
    }
}

impl Port {
    /// Reads `[HOST-ADDRESS:][HOST-PORT:]PORT[/PROTOCOL]`, as Docker's `--publish` takes it; ports may be
    /// ranges of equal length (`8000-8009:80-89`), and an IPv6 address stands in brackets. Without a host
    /// port a free one is chosen.
    ///
    /// # Errors
    /// What is wrong, naming the text.
    pub fn parse(text: &str) -> Result<Vec<Port>> {
        let wrong = |why: &str| {
            Error::invalid(format_args!(
                "port {text:?}: {why}: must be like 8080:80, 127.0.0.1:8080:80/udp or [::1]:8000-8009:80-89"
            ))
        };
        let (rest, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((rest, name)) => {
                (rest, Protocol::of_name(name).ok_or_else(|| wrong("the protocol is not tcp, udp or sctp"))?)
            }
        };
        let (rest, inside) = rest.rsplit_once(':').unwrap_or(("", rest));
        let (host_ip, outside) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (ip, outside) = rest.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
                (ip, outside.strip_prefix(':').unwrap_or(outside))
            }
            None => rest.split_once(':').unwrap_or(("", rest)),
        };
        let host_ip = match host_ip {
            "" => None,
            ip => Some(Ip(ip.parse().map_err(|_| wrong("the host's address is not an IP address"))?)),
        };
        let (first, last) =
            range(inside).ok_or_else(|| wrong("the container's port is not from 1 to 65535"))?;
        let outside = match outside {
            "" => None,
            outside => Some(range(outside).ok_or_else(|| wrong("the host's port is not from 1 to 65535"))?),
        };
        if outside.is_some_and(|(from, to)| to - from != last - first) {
            return Err(wrong("the two ranges have different lengths"));
        }
        let ports = (first..=last).map(|container_port| {
            let host_port = outside.map_or(0, |(from, _)| from + (container_port - first));
            Port { protocol, host_ip, host_port, container_port }
        });
        Ok(ports.collect())
    }

    /// Whether it is for packets to that address of the host.
    pub fn is_for(&self, ip: IpAddr) -> bool {
        self.host_ip
            .is_none_or(|Ip(host)| host == ip || host.is_unspecified() && host.is_ipv4() == ip.is_ipv4())
    }
}

/// As the host sees it: `8080/tcp`, `127.0.0.1:8080/udp`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Port { protocol, host_ip, host_port, container_port: _ } = self;
        match host_ip {
            Some(Ip(IpAddr::V6(ip))) => write!(f, "[{ip}]:")?,
            Some(Ip(ip)) => write!(f, "{ip}:")?,
            None => {}
        }
        write!(f, "{host_port}/{}", protocol.name())
    }
}

/// A port, or the first and the last of several.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&port: &u16| is_number && port > 0)
    };
    Some((port(first)?, port(last)?)).filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let ports = Port::parse(text).unwrap_or_else(|error| panic!("{error}"));
        ports.iter().map(|port| format!("{port}>{}", port.container_port)).collect()
    }

    #[test]
    fn what_docker_takes_is_read() {
        assert_eq!(shown("8080:80"), ["8080/tcp>80"]);
        assert_eq!(shown("80"), ["0/tcp>80"]);
        assert_eq!(shown("127.0.0.1:8080:80/udp"), ["127.0.0.1:8080/udp>80"]);
        assert_eq!(shown("127.0.0.1::80"), ["127.0.0.1:0/tcp>80"]);
        assert_eq!(shown("[::1]:8080:80/SCTP"), ["[::1]:8080/sctp>80"]);
        assert_eq!(shown("8000-8002:80-82"), ["8000/tcp>80", "8001/tcp>81", "8002/tcp>82"]);
        assert_eq!(shown("65535:65535"), ["65535/tcp>65535"]);
    }

    #[test]
    fn anything_else_is_refused_with_what_would_be_right() {
        for wrong in [
            "",
            ":",
            "0:80",
            "8080:0",
            "70000:80",
            "8080:80/icmp",
            "1.2.3:8080:80",
            "[::1:80:80",
            "80-70:80-70",
            "1-3:1-2",
            "+80:80",
            "a:b:c:d",
        ] {
            let error = Port::parse(wrong).expect_err(wrong).to_string();
            assert!(error.contains(&format!("{wrong:?}")) && error.contains("must be like"), "{error}");
        }
    }
}
