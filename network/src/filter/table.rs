//! The table itself: its sets, maps, chains and rules.

use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, DataType, End, Expression, Family, Hook, Lookup, MetaKey, NatKind,
    PayloadBase, Register, Rule, Set, Table, Value, connection, priority,
};

use crate::error::Result;

/// The table's name; its family is inet.
pub const TABLE: &str = "pillbox";

const RAW: &str = "raw";
const PRE: &str = "pre";
const OUT: &str = "out";
const POST: &str = "post";
const FORWARD: &str = "fwd";

const BRIDGES: &str = "bridges";
const ISOLATED: &str = "isolated";
const INTERNAL: &str = "internal";
const HIDDEN: &str = "hidden";
const SAME: &str = "same";
const SUBNETS_4: &str = "subnets4";
const SUBNETS_6: &str = "subnets6";
const GATEWAYS_6: &str = "gateways6";
const SOURCES_4: &str = "sources4";
const SOURCES_6: &str = "sources6";

/// The maps of published ports: the name, whether for IPv4, whether the host's address is in the key. Those
/// with it come first.
pub(super) const PORT_MAPS: [(&str, bool, bool); 4] = [
    ("ports4_at", true, true),
    ("ports4", true, false),
    ("ports6_at", false, true),
    ("ports6", false, false),
];

/// The table.
pub fn table() -> Table {
    Table::new(Family::Inet, TABLE)
}

/// The bridges of all networks.
pub(super) fn bridges() -> Set {
    Set::new(BRIDGES, [DataType::LinkName])
}

/// The bridges that other bridges do not reach, and that do not reach others.
pub(super) fn isolated() -> Set {
    Set::new(ISOLATED, [DataType::LinkName])
}

/// The bridges without a way out or in.
pub(super) fn internal() -> Set {
    Set::new(INTERNAL, [DataType::LinkName])
}

/// The bridges whose addresses are hidden from the outside: only published ports lead there.
pub(super) fn hidden() -> Set {
    Set::new(HIDDEN, [DataType::LinkName])
}

/// Each bridge twice: what stays on it.
pub(super) fn same() -> Set {
    Set::new(SAME, [DataType::LinkName, DataType::LinkName])
}

/// The subnets of all bridges.
pub(super) fn subnets(is_v4: bool) -> Set {
    let (name, kind) =
        if is_v4 { (SUBNETS_4, DataType::Ipv4Address) } else { (SUBNETS_6, DataType::Ipv6Address) };
    Set::new(name, [kind]).of_ranges()
}

/// The IPv6 addresses of all bridges.
pub(super) fn gateways() -> Set {
    Set::new(GATEWAYS_6, [DataType::Ipv6Address])
}

/// The subnets that are masqueraded.
pub(super) fn sources(is_v4: bool) -> Set {
    let (name, kind) =
        if is_v4 { (SOURCES_4, DataType::Ipv4Address) } else { (SOURCES_6, DataType::Ipv6Address) };
    Set::new(name, [kind]).of_ranges()
}

/// The map of that name in [`PORT_MAPS`].
pub(super) fn ports(name: &str, is_v4: bool, has_address: bool) -> Set {
    let address = if is_v4 { DataType::Ipv4Address } else { DataType::Ipv6Address };
    let (data, ports) = ([address, DataType::Port], [DataType::Protocol, DataType::Port]);
    if has_address {
        Set::map(name, [address, ports[0], ports[1]], data)
    } else {
        Set::map(name, ports, data)
    }
}

/// Adds the table with everything that is the same for all networks, to a host that does not have it.
pub fn add_base(batch: &mut Batch) -> Result<()> {
    let table = table();
    batch.add_table(&table)?;
    let sources = [sources(true), sources(false)];
    let sets =
        [bridges(), isolated(), internal(), hidden(), same(), subnets(true), subnets(false), gateways()];
    for set in sets.into_iter().chain(sources) {
        batch.add_set(&table, &set)?;
    }
    for (name, is_v4, has_address) in PORT_MAPS {
        batch.add_set(&table, &ports(name, is_v4, has_address))?;
    }
    use ChainKind::{Filter, Nat};
    for (name, kind, hook, priority) in [
        (RAW, Filter, Hook::Prerouting, priority::RAW),
        (PRE, Nat, Hook::Prerouting, priority::DESTINATION_NAT),
        (OUT, Nat, Hook::Output, priority::DESTINATION_NAT),
        (POST, Nat, Hook::Postrouting, priority::SOURCE_NAT),
        (FORWARD, Filter, Hook::Forward, priority::FILTER),
    ] {
        batch.add_chain(&table, &Chain::based(name, Base::new(kind, hook, priority)))?;
    }
    for rule in translations().into_iter().chain(masquerades()).chain(filters()) {
        batch.add_rule(&table, &rule)?;
    }
    Ok(())
}

/// Deletes everything of ours in the packet filter, if anything is there.
pub fn remove_base(batch: &mut Batch) -> Result<()> {
    for family in [Family::Inet, Family::Netdev] {
        let table = Table::new(family, TABLE);
        batch.add_table(&table)?.delete_table(&table)?;
    }
    Ok(())
}

/// Published ports, for what comes from other machines and from this one.
fn translations() -> Vec<Rule> {
    let chains = [PRE, OUT].into_iter();
    let rules = chains.flat_map(|chain| {
        PORT_MAPS.into_iter().map(move |(map, is_v4, has_address)| {
            let rule = Rule::new(chain).local_destination();
            match (is_v4, has_address) {
                (true, false) => rule.dnat_by_map(map),
                (false, false) => rule.dnat6_by_map(map),
                (_, true) => dnat_by_address(rule, map, is_v4),
            }
        })
    });
    rules.collect()
}

/// Translates the destination by a map from address, protocol and port to address and port.
fn dnat_by_address(rule: Rule, map: &str, is_v4: bool) -> Rule {
    let (family, number, offset, length) =
        if is_v4 { (Family::Ip, IPV4, 16, 4) } else { (Family::Ip6, IPV6, 24, 16) };
    let first = Register::FIRST;
    let (behind, port) = (at(length / 4), at(length / 4 + 1));
    rule.meta_is(MetaKey::Family, Value(vec![number]))
        .then(Expression::Payload { base: PayloadBase::Network, offset, length, to: first })
        .then(Expression::Meta { key: MetaKey::TransportProtocol, to: behind })
        .then(Expression::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: port })
        .then(look_up(map, Lookup::Load(first)))
        .then(Expression::Nat {
            kind: NatKind::Destination,
            family,
            address: Some(first),
            last_address: None,
            port: Some(behind),
            last_port: None,
            flags: 0,
        })
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// The register with that number, which is below 16.
fn at(number: u32) -> Register {
    u8::try_from(number).ok().and_then(Register::new).unwrap_or(Register::FIRST)
}

fn masquerades() -> Vec<Rule> {
    let mut rules = Vec::new();
    for is_v4 in [true, false] {
        let (set, all) = if is_v4 { (SOURCES_4, SUBNETS_4) } else { (SOURCES_6, SUBNETS_6) };
        // What leaves for the outside.
        rules.push(from(set, is_v4).meta_not_in(MetaKey::OutgoingName, BRIDGES).masquerade());
        // Answers to a container that has reached a published port must come back through this host.
        rules.push(
            from(all, is_v4)
                .connection_status(connection::DESTINATION_TRANSLATED)
                .meta_in(MetaKey::OutgoingName, BRIDGES)
                .masquerade(),
        );
    }
    for (loopback, prefix) in
        [(std::net::IpAddr::from([127, 0, 0, 0]), 8), (std::net::Ipv6Addr::LOCALHOST.into(), 128)]
    {
        let rule = Rule::new(POST).network(End::Source, loopback, prefix);
        rules.push(rule.meta_in(MetaKey::OutgoingName, BRIDGES).masquerade());
    }
    rules
}

/// For packets from a subnet in a set.
fn from(set: &str, is_v4: bool) -> Rule {
    let (number, offset, length) = if is_v4 { (IPV4, 12, 4) } else { (IPV6, 8, 16) };
    Rule::new(POST)
        .meta_is(MetaKey::Family, Value(vec![number]))
        .then(Expression::Payload { base: PayloadBase::Network, offset, length, to: Register::FIRST })
        .then(Expression::Lookup {
            set: set.to_string(),
            id: None,
            key: Register::FIRST,
            result: Lookup::Present,
        })
}

/// For packets that stay on their bridge.
fn same_bridge() -> Rule {
    let (first, second) = (Register::FIRST, at(NAME / 4));
    Rule::new(FORWARD)
        .then(Expression::Meta { key: MetaKey::IncomingName, to: first })
        .then(Expression::Meta { key: MetaKey::OutgoingName, to: second })
        .then(look_up(SAME, Lookup::Present))
}

const LOOPBACK_6: std::net::Ipv6Addr = std::net::Ipv6Addr::LOCALHOST;

const LOAD_SOURCE_6: Expression =
    Expression::Payload { base: PayloadBase::Network, offset: 8, length: 16, to: Register::FIRST };

fn look_up(set: &str, result: Lookup) -> Expression {
    Expression::Lookup { set: set.to_string(), id: None, key: Register::FIRST, result }
}

/// The length of a link's name in bytes, as it stands in registers (`IFNAMSIZ`).
const NAME: u32 = 16;

fn filters() -> Vec<Rule> {
    let (incoming, outgoing) = (MetaKey::IncomingName, MetaKey::OutgoingName);
    let forward = || Rule::new(FORWARD);
    let known = connection::ESTABLISHED | connection::RELATED;
    vec![
        // With route_localnet a frame that a container makes up would reach the host's own services.
        Rule::new(RAW)
            .meta_in(incoming, BRIDGES)
            .network(End::Destination, std::net::Ipv4Addr::new(127, 0, 0, 0), 8)
            .drop(),
        // The same for IPv6, where only answers from a bridge may come to the loopback: see `loopback`.
        Rule::new(RAW)
            .meta_is_not(incoming, Value::interface("lo"))
            .network(End::Destination, LOOPBACK_6, 128)
            .drop(),
        Rule::new(RAW)
            .meta_is(incoming, Value::interface("lo"))
            .network(End::Destination, LOOPBACK_6, 128)
            .then(LOAD_SOURCE_6)
            .then(look_up(SUBNETS_6, Lookup::Present))
            .then(look_up(GATEWAYS_6, Lookup::Absent))
            .drop(),
        forward().connection_state(known).accept(),
        same_bridge().accept(),
        forward().meta_in(incoming, INTERNAL).drop(),
        forward().meta_in(outgoing, INTERNAL).drop(),
        forward().connection_status(connection::DESTINATION_TRANSLATED).accept(),
        forward().meta_in(incoming, ISOLATED).meta_in(outgoing, BRIDGES).drop(),
        forward().meta_in(incoming, BRIDGES).meta_in(outgoing, ISOLATED).drop(),
        // A neighbour that has found a route to a container's address.
        forward().meta_not_in(incoming, BRIDGES).meta_in(outgoing, HIDDEN).drop(),
    ]
}
