//! The ports of a container in a list, as Docker shows them: ranges stay ranges.

use std::collections::HashMap;

use crate::container::Published;
use crate::order::{self, Collect};

/// Ports that follow each other, at the same numbers on the host if they are published.
struct Range {
    /// The host's; empty of ports that are only exposed.
    address: String,
    first: u16,
    last: u16,
    protocol: String,
}

impl Range {
    fn text(&self) -> String {
        let Range { address, first, last, protocol } = self;
        let numbers = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match address.as_str() {
            "" => format!("{numbers}/{protocol}"),
            address => format!("{address}:{numbers}->{numbers}/{protocol}"),
        }
    }
}

/// Ranges, then those that have another number on the host. Exposed ports are `80/tcp`.
pub fn shown(published: &[Published], exposed: &[String]) -> String {
    let inside = published.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect_set();
    let exposed = exposed.iter().filter(|port| !inside.contains(*port));
    // A port, the address at which it has the same number on the host, and its protocol.
    let mut plain: Vec<(u16, &str, &str)> = exposed.filter_map(|text| exposed_port(text)).collect();
    let mut mapped: Vec<(u16, String)> = Vec::new();
    for port in published {
        let number = port.port.parse().unwrap_or(0);
        match port.host.rsplit_once(':') {
            Some((address, outside)) if outside == port.port => {
                plain.push((number, address, &port.protocol));
            }
            _ => mapped.push((number, port.to_string())),
        }
    }
    order::sort(&mut plain);
    order::sort(&mut mapped);
    let texts = ranges(&plain).into_iter().chain(mapped.into_iter().map(|(_, text)| text));
    texts.collect::<Vec<_>>().join(", ")
}

fn exposed_port(text: &str) -> Option<(u16, &'static str, &str)> {
    let (number, protocol) = text.split_once('/')?;
    Some((number.parse().ok()?, "", protocol))
}

/// Sorted ports with those that follow each other as one. Ranges that are interrupted stand first.
fn ranges(ports: &[(u16, &str, &str)]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut open: Vec<Range> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for &(number, address, protocol) in ports {
        let place = *places.entry((address, protocol)).or_insert(open.len());
        let begin = || Range {
            address: address.to_string(),
            first: number,
            last: number,
            protocol: protocol.to_string(),
        };
        match open.get_mut(place) {
            None => open.push(begin()),
            Some(range) if range.last.checked_add(1) == Some(number) => range.last = number,
            Some(range) => texts.push(std::mem::replace(range, begin()).text()),
        }
    }
    texts.extend(open.iter().map(Range::text));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_ranges() {
        let published = |host: &str, port: &str, protocol: &str| Published {
            host: host.to_string(),
            port: port.to_string(),
            protocol: protocol.to_string(),
            is_everywhere: false,
        };
        let exposed = |ports: &[&str]| ports.iter().map(|port| port.to_string()).collect::<Vec<_>>();
        assert_eq!(shown(&[], &[]), "");
        let all = exposed(&["443/tcp", "80/tcp", "81/tcp", "82/tcp", "82/udp", "65535/tcp"]);
        assert_eq!(shown(&[], &all), "80-82/tcp, 443/tcp, 65535/tcp, 82/udp");
        let ports = [
            published("0.0.0.0:8080", "80", "tcp"),
            published("0.0.0.0:91", "91", "tcp"),
            published("0.0.0.0:90", "90", "tcp"),
            published("[::1]:91", "91", "tcp"),
            published("0.0.0.0:92", "92", "udp"),
        ];
        assert_eq!(
            shown(&ports, &exposed(&["80/tcp", "90/tcp", "7/tcp"])),
            "7/tcp, 0.0.0.0:90-91->90-91/tcp, [::1]:91->91/tcp, 0.0.0.0:92->92/udp, 0.0.0.0:8080->80/tcp"
        );
    }
}
