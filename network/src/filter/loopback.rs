//! Ports that are published on `::1`. Answers to it come in over the bridge. The kernel routes them by a
//! route of their own ([`crate::link::loopback_through`]), unless bridged packets pass the rules for routed
//! ones (bridge-nf-call-ip6tables): then the address is translated back before IPv6 sees the packet, which
//! drops what comes from outside for `::1`. For that case a chain behind the bridge hands such answers to the
//! loopback.
//!
//! Frames that a container makes up for `::1` must not get there: the guards of [`super::table`] drop them.

use std::net::{IpAddr, Ipv6Addr};

use pillbox_netlink::LOOPBACK_INDEX;
use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Comparison, Expression, Family, Hook, MetaKey, PayloadBase, Register,
    Rule, Table, Value, priority,
};

use super::Change;
use super::table::TABLE;
use crate::cidr::Cidr;
use crate::error::Result;
use crate::ip::Ip;
use crate::network::Network;

/// `ETH_P_IPV6`.
const IPV6: u16 = 0x86dd;

/// The bytes of an IPv6 header where its source and its destination begin.
const SOURCE: u32 = 8;
const DESTINATION: u32 = 24;

/// The length of a hardware address.
const MAC: u32 = 6;

/// The table for chains behind links.
fn table() -> Table {
    Table::new(Family::Netdev, TABLE)
}

/// Adds the network's chain behind its bridge, if the network has IPv6, or deletes it. A chain goes with its
/// bridge.
pub(super) fn change(batch: &mut Batch, network: &Network, change: Change) -> Result<()> {
    let is_v6 = |gateway: IpAddr| gateway.is_ipv6();
    let ranges = network.ranges.iter().filter_map(|range| Some((range.subnet.network(), range.gateway?.0)));
    let ranges: Vec<_> = ranges.filter(|(_, gateway)| is_v6(*gateway) && !network.bare).collect();
    if ranges.is_empty() {
        return Ok(());
    }
    let (table, name) = (table(), network.name.as_str());
    let base = Base::new(ChainKind::Filter, Hook::Ingress, priority::FILTER);
    batch.add_table(&table)?;
    batch.add_chain(&table, &Chain::based(name, Base { device: Some(network.link.clone()), ..base }))?;
    // What an earlier command has added, before it was killed.
    batch.flush_chain(&table, name)?;
    match change {
        Change::Add => {
            for (subnet, gateway) in ranges {
                batch.add_rule(&table, &answer(name, subnet, Ip(gateway)))?;
            }
        }
        Change::Delete => {
            batch.delete_chain(&table, name)?;
        }
    }
    Ok(())
}

/// Hands an answer from a subnet to the loopback, as a frame of the loopback's.
fn answer(chain: &str, subnet: Cidr, gateway: Ip) -> Rule {
    let first = Register::FIRST;
    let load = |offset, length| Expression::Payload { base: PayloadBase::Network, offset, length, to: first };
    let compare = |comparison, value| Expression::Compare { register: first, comparison, value };
    let Ip(network) = Ip(subnet.ip);
    let bytes = u32::from(subnet.prefix / 8);
    let mut begins = Value::from(network);
    begins.0.truncate(bytes.max(1) as usize);
    Rule::new(chain)
        .meta_is(MetaKey::Protocol, Value(IPV6.to_be_bytes().to_vec()))
        .then(load(DESTINATION, 16))
        .then(compare(Comparison::Equal, Value::from(Ipv6Addr::LOCALHOST)))
        // Whole bytes of the subnet: the guards look at it exactly.
        .then(load(SOURCE, bytes.max(1)))
        .then(compare(Comparison::Equal, begins))
        .then(load(SOURCE, 16))
        .then(compare(Comparison::NotEqual, Value::from(gateway.0)))
        .then(Expression::Immediate { value: Value(vec![0; MAC as usize]), to: first })
        .then(Expression::SetPayload {
            base: PayloadBase::Link,
            offset: 0,
            length: MAC,
            from: first,
            checksum: None,
            pseudo_header: false,
        })
        .then(Expression::Immediate { value: Value::number(LOOPBACK_INDEX), to: first })
        .then(Expression::Forward { to: first })
}
