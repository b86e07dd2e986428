//! The usual parts of rules, which take several expressions each.

use std::net::IpAddr;

use super::data::mask_byte;
use super::expression::Lookup;
use super::{
    Comparison, ConnectionKey, Expression, Family, FibResult, MetaKey, NatKind, PayloadBase, Register, Rule,
    Value, Verdict, fib,
};

/// What the state and the status of a connection are, in bits (linux/netfilter/nf_conntrack_common.h).
pub mod connection {
    /// State: the packet fits no connection.
    pub const INVALID: u32 = 1;
    /// State: the connection has seen packets both ways.
    pub const ESTABLISHED: u32 = 2;
    /// State: it belongs to another connection, an ICMP error for example.
    pub const RELATED: u32 = 4;
    /// State: the packet begins a connection.
    pub const NEW: u32 = 8;
    /// Status: the source is translated.
    pub const SOURCE_TRANSLATED: u32 = 16;
    /// Status: the destination is translated.
    pub const DESTINATION_TRANSLATED: u32 = 32;
}

/// One end of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// The values of `NFT_META_NFPROTO` and of `RTN_LOCAL`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const LOCAL: u32 = 2;

const FIRST: Register = Register::FIRST;

impl Rule {
    /// For packets of which `key` has that value.
    pub fn meta_is(self, key: MetaKey, value: impl Into<Value>) -> Self {
        self.meta(key, Comparison::Equal, value.into())
    }

    /// For packets of which `key` has another value.
    pub fn meta_is_not(self, key: MetaKey, value: impl Into<Value>) -> Self {
        self.meta(key, Comparison::NotEqual, value.into())
    }

    fn meta(self, key: MetaKey, comparison: Comparison, value: Value) -> Self {
        self.then(Expression::Meta { key, to: FIRST }).compare(comparison, value)
    }

    fn compare(self, comparison: Comparison, value: Value) -> Self {
        self.then(Expression::Compare { register: FIRST, comparison, value })
    }

    /// For packets one end of which lies in a network. In tables of one family it says which, too.
    pub fn network(self, end: End, ip: impl Into<IpAddr>, prefix: u8) -> Self {
        self.network_compared(Comparison::Equal, end, ip.into(), prefix)
    }

    /// For packets of the network's family one end of which does not lie in it.
    pub fn not_network(self, end: End, ip: impl Into<IpAddr>, prefix: u8) -> Self {
        self.network_compared(Comparison::NotEqual, end, ip.into(), prefix)
    }

    fn network_compared(self, comparison: Comparison, end: End, ip: IpAddr, prefix: u8) -> Self {
        let (family, offset, length) = match (ip, end) {
            (IpAddr::V4(_), End::Source) => (IPV4, 12, 4),
            (IpAddr::V4(_), End::Destination) => (IPV4, 16, 4),
            (IpAddr::V6(_), End::Source) => (IPV6, 8, 16),
            (IpAddr::V6(_), End::Destination) => (IPV6, 24, 16),
        };
        let rule = self.meta_is(MetaKey::Family, Value(vec![family]));
        let load = |length| Expression::Payload { base: PayloadBase::Network, offset, length, to: FIRST };
        let (mut network, _) = Value::network(ip, prefix);
        // Whole bytes need no mask.
        if prefix.is_multiple_of(8) && prefix > 0 {
            network.0.truncate(usize::from(prefix / 8));
            return rule.then(load(u32::from(prefix / 8))).compare(comparison, network);
        }
        let mask = (0..network.0.len()).map(|index| mask_byte(prefix, index)).collect();
        let xor = Value(vec![0; network.0.len()]);
        rule.then(load(length))
            .then(Expression::Bitwise { from: FIRST, to: FIRST, mask: Value(mask), xor })
            .compare(comparison, network)
    }

    /// For packets of a protocol (6 TCP, 17 UDP, 132 SCTP) with that port at one end.
    pub fn port(self, protocol: u8, end: End, port: u16) -> Self {
        self.meta_is(MetaKey::TransportProtocol, Value::protocol(protocol))
            .then(load_port(end, FIRST))
            .compare(Comparison::Equal, Value::port(port))
    }

    /// For packets that are to their connection one of those [states](connection).
    pub fn connection_state(self, states: u32) -> Self {
        self.connection_bits(ConnectionKey::State, states)
    }

    /// For packets whose connection has one of those [status bits](connection).
    pub fn connection_status(self, bits: u32) -> Self {
        self.connection_bits(ConnectionKey::Status, bits)
    }

    fn connection_bits(self, key: ConnectionKey, bits: u32) -> Self {
        let (mask, zero) = (Value::number(bits), Value::number(0));
        self.then(Expression::Connection { key, direction: None, to: FIRST })
            .then(Expression::Bitwise { from: FIRST, to: FIRST, mask, xor: zero.clone() })
            .compare(Comparison::NotEqual, zero)
    }

    /// For packets whose destination is an address of this machine.
    pub fn local_destination(self) -> Self {
        self.then(Expression::Fib { result: FibResult::AddressKind, flags: fib::DESTINATION, to: FIRST })
            .compare(Comparison::Equal, Value::number(LOCAL))
    }

    /// For packets whose `key` is in a set.
    pub fn meta_in(self, key: MetaKey, set: &str) -> Self {
        self.then(Expression::Meta { key, to: FIRST }).look_up(set, Lookup::Present)
    }

    /// For packets whose `key` is in no element of a set.
    pub fn meta_not_in(self, key: MetaKey, set: &str) -> Self {
        self.then(Expression::Meta { key, to: FIRST }).look_up(set, Lookup::Absent)
    }

    /// For packets whose incoming and outgoing links stand together in a set, by their indexes.
    pub fn links_in(self, set: &str) -> Self {
        self.then(Expression::Meta { key: MetaKey::IncomingIndex, to: FIRST })
            .then(Expression::Meta { key: MetaKey::OutgoingIndex, to: SECOND })
            .look_up(set, Lookup::Present)
    }

    /// Decides by a map from destination ports of a protocol to verdicts.
    pub fn port_verdict(self, protocol: u8, map: &str) -> Self {
        self.meta_is(MetaKey::TransportProtocol, Value::protocol(protocol))
            .then(load_port(End::Destination, FIRST))
            .look_up(map, Lookup::Decide)
    }

    fn look_up(self, set: &str, result: Lookup) -> Self {
        self.then(Expression::Lookup { set: set.to_string(), id: None, key: FIRST, result })
    }

    /// Translates the destination of IPv4 packets by a map from protocol and port to address and port.
    pub fn dnat_by_map(self, map: &str) -> Self {
        self.dnat_of(Family::Ip, SECOND, map)
    }

    /// Translates the destination of IPv6 packets by a map from protocol and port to address and port.
    pub fn dnat6_by_map(self, map: &str) -> Self {
        self.dnat_of(Family::Ip6, BEHIND_IPV6, map)
    }

    fn dnat_of(self, family: Family, port: Register, map: &str) -> Self {
        let number = if family == Family::Ip { IPV4 } else { IPV6 };
        self.meta_is(MetaKey::Family, Value(vec![number]))
            .then(Expression::Meta { key: MetaKey::TransportProtocol, to: FIRST })
            .then(load_port(End::Destination, SECOND))
            .look_up(map, Lookup::Load(FIRST))
            .then(Expression::Nat {
                kind: NatKind::Destination,
                family,
                address: Some(FIRST),
                last_address: None,
                port: Some(port),
                last_port: None,
                flags: 0,
            })
    }

    /// Translates the destination to one address and, if it is given, one port.
    pub fn dnat(self, ip: impl Into<IpAddr>, port: Option<u16>) -> Self {
        let ip = ip.into();
        let (family, behind) = if ip.is_ipv4() { (Family::Ip, SECOND) } else { (Family::Ip6, BEHIND_IPV6) };
        let mut rule = self.then(Expression::Immediate { value: ip.into(), to: FIRST });
        if let Some(port) = port {
            rule = rule.then(Expression::Immediate { value: Value::port(port), to: behind });
        }
        rule.then(Expression::Nat {
            kind: NatKind::Destination,
            family,
            address: Some(FIRST),
            last_address: None,
            port: port.map(|_| behind),
            last_port: None,
            flags: 0,
        })
    }

    /// Translates the source to the address of the link that the packet goes out by.
    pub fn masquerade(self) -> Self {
        self.then(Expression::Masquerade { port: None, last_port: None, flags: 0 })
    }

    /// Translates the destination to this machine and that port.
    pub fn redirect(self, port: u16) -> Self {
        self.then(Expression::Immediate { value: Value::port(port), to: FIRST }).then(Expression::Redirect {
            port: Some(FIRST),
            last_port: None,
            flags: 0,
        })
    }

    /// Counts.
    pub fn counted(self) -> Self {
        self.then(Expression::COUNTER)
    }

    /// Decides.
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Expression::Verdict(verdict))
    }

    /// Lets the packet pass this hook.
    pub fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    /// Drops the packet.
    pub fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }
}

/// Behind four bytes, and behind an IPv6 address.
const SECOND: Register = at(1);
const BEHIND_IPV6: Register = at(4);

const fn at(number: u8) -> Register {
    match Register::new(number) {
        Some(register) => register,
        None => FIRST,
    }
}

/// TCP, UDP and SCTP begin with both ports.
fn load_port(end: End, to: Register) -> Expression {
    let offset = if end == End::Source { 0 } else { 2 };
    Expression::Payload { base: PayloadBase::Transport, offset, length: 2, to }
}
