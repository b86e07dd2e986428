//! Which connections are meant, as the kernel filters them and as we do.

use std::net::IpAddr;

use super::{
    DESTINATION_PORT, Entry, FILTER, IPV4, IPV4_DESTINATION, IPV4_SOURCE, IPV6, ORIGINAL, PROTOCOL, REPLY,
    SOURCE_PORT, TUPLE_IP, TUPLE_PROTOCOL, Tuple,
};
use crate::attribute::Attributes;
use crate::error::{Error, Result};

/// Which connections; by default all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of that protocol over IP: 6 TCP, 17 UDP.
    pub protocol: Option<u8>,
    /// Those whose packets look so before any translation.
    pub original: Pattern,
    /// Those whose packets back look so when they arrive.
    pub reply: Pattern,
}

/// What packets look like; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pattern {
    /// Where they come from.
    pub source: Option<IpAddr>,
    /// Where they go.
    pub destination: Option<IpAddr>,
    /// The port that they come from; the filter must name the protocol.
    pub source_port: Option<u16>,
    /// The port that they go to; the filter must name the protocol.
    pub destination_port: Option<u16>,
}

impl Filter {
    /// Whether that is one of them.
    pub fn matches(&self, entry: &Entry) -> bool {
        self.protocol.is_none_or(|protocol| protocol == entry.original.protocol)
            && self.original.matches(&entry.original)
            && self.reply.matches(&entry.reply)
    }

    /// The family of its addresses, 0 without any.
    pub(super) fn family(&self) -> Result<u8> {
        let Pattern { source, destination, source_port, destination_port } = self.original;
        let back = self.reply;
        let ports = [source_port, destination_port, back.source_port, back.destination_port];
        if self.protocol.is_none() && ports.iter().any(Option::is_some) {
            return Err(Error::invalid(format_args!("filter of connections: ports without a protocol")));
        }
        let addresses = [source, destination, back.source, back.destination];
        let mut families = addresses.iter().flatten().map(|ip| if ip.is_ipv4() { IPV4 } else { IPV6 });
        let family = families.next().unwrap_or(0);
        if families.any(|other| other != family) {
            return Err(Error::invalid(format_args!("filter of connections: IPv4 and IPv6 addresses")));
        }
        Ok(family)
    }

    /// Whether a kernel that gets it deletes the right ones, and one that does not know filters deletes none:
    /// it must not be empty, nor have both addresses of a tuple, by which such a kernel may find one without
    /// looking at the rest.
    pub(super) fn can_delete(&self) -> bool {
        let mut empty = self.protocol.is_none();
        for Pattern { source, destination, .. } in [self.original, self.reply] {
            let addresses = [source, destination];
            if addresses.iter().all(Option::is_some) || addresses.iter().flatten().any(IpAddr::is_ipv6) {
                return false;
            }
            empty &= addresses == [None, None];
        }
        !empty
    }

    /// Both patterns, and which parts of them count (`CTA_FILTER`). Kernels before 5.8 do not know that, and
    /// list all.
    pub(super) fn push(&self, attributes: &mut Attributes) {
        let mut flags = Attributes::default();
        for (kind, pattern) in [(ORIGINAL, &self.original), (REPLY, &self.reply)] {
            // One protocol belongs to both.
            let protocol = if kind == ORIGINAL || pattern.has_ports() { self.protocol } else { None };
            let (tuple, bits) = pattern.encode(protocol);
            if bits != 0 {
                attributes.nest_flagged(kind, &tuple);
                // `CTA_FILTER_ORIG_FLAGS` is 1, `CTA_FILTER_REPLY_FLAGS` is 2.
                flags.push_u32(kind, bits);
            }
        }
        if !flags.0.is_empty() {
            attributes.nest_flagged(FILTER, &flags);
        }
    }
}

impl Pattern {
    fn matches(&self, tuple: &Tuple) -> bool {
        let Pattern { source, destination, source_port, destination_port } = *self;
        source.is_none_or(|ip| ip == tuple.source)
            && destination.is_none_or(|ip| ip == tuple.destination)
            && source_port.is_none_or(|port| port == tuple.source_port)
            && destination_port.is_none_or(|port| port == tuple.destination_port)
    }

    fn has_ports(&self) -> bool {
        self.source_port.is_some() || self.destination_port.is_some()
    }

    /// As a tuple with gaps, and which parts it has: `CTA_FILTER_FLAG` (net/netfilter/nf_internals.h).
    fn encode(&self, protocol: Option<u8>) -> (Attributes, u32) {
        let Pattern { source, destination, source_port, destination_port } = *self;
        let (mut ips, mut ports, mut bits) = (Attributes::default(), Attributes::default(), 0);
        for (ip, kind, bit) in [(source, IPV4_SOURCE, 1), (destination, IPV4_DESTINATION, 2)] {
            // Asked for an IPv6 address, the kernel (seen with 6.18) lists all connections but those that
            // have it.
            if let Some(ip @ IpAddr::V4(_)) = ip {
                ips.push_ip(kind, ip);
                bits |= bit;
            }
        }
        if let Some(protocol) = protocol {
            ports.push_u8(PROTOCOL, protocol);
            bits |= 8;
        }
        for (port, kind, bit) in [(source_port, SOURCE_PORT, 16), (destination_port, DESTINATION_PORT, 32)] {
            if let Some(port) = port {
                ports.push(kind, &port.to_be_bytes());
                bits |= bit;
            }
        }
        let mut tuple = Attributes::default();
        for (kind, part) in [(TUPLE_IP, ips), (TUPLE_PROTOCOL, ports)] {
            if !part.0.is_empty() {
                tuple.nest_flagged(kind, &part);
            }
        }
        (tuple, bits)
    }
}
