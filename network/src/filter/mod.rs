//! The packet filter's table: `inet pillbox`. It is the same for all networks; what differs are elements of
//! its sets and maps. Pure: batches are compiled here, and committed by [`crate::host`].
//!
//! Only this table filters and translates. Chains of others are not touched, except where they drop what is
//! forwarded: there two rules let these networks pass.

mod loopback;
mod table;

use std::net::IpAddr;

use pillbox_netlink::nft::{Batch, Element, Set, Value};

use crate::attachment::{Attachment, Published};
use crate::error::Result;
use crate::ip::Ip;
use crate::network::{Network, NetworkKind};
use crate::port::Port;

pub use table::{TABLE, add_base, remove_base, table};

/// What a network's elements are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are added; one that is there already stays.
    Add,
    /// They are deleted; one that is missing is an error, and then none is deleted.
    Delete,
}

/// Adds the elements of one network: what it may reach, and whether it is masqueraded. Only bridges have any.
pub fn add_network(batch: &mut Batch, network: &Network) -> Result<()> {
    for (set, elements) in network_elements(network) {
        apply(batch, &set, &elements, Change::Add)?;
    }
    loopback::change(batch, network, Change::Add)
}

/// Deletes the elements of one network, except for those that `others`, networks on the same bridge, have
/// too.
pub fn delete_network(batch: &mut Batch, network: &Network, others: &[Network]) -> Result<()> {
    let kept: Vec<(Set, Vec<Element>)> = others.iter().flat_map(network_elements).collect();
    for (set, mut elements) in network_elements(network) {
        let kept = kept.iter().filter(|(other, _)| other.name == set.name).flat_map(|(_, elements)| elements);
        elements.retain(|element| !kept.clone().any(|kept| kept.key == element.key));
        // Adding what is there already changes nothing, and then all of it can be deleted.
        apply(batch, &set, &elements, Change::Add)?;
        apply(batch, &set, &elements, Change::Delete)?;
    }
    loopback::change(batch, network, Change::Delete)
}

fn network_elements(network: &Network) -> Vec<(Set, Vec<Element>)> {
    if network.kind != NetworkKind::Bridge {
        return Vec::new();
    }
    let name = Value::interface(&network.link);
    let own = |is_wanted: bool| is_wanted.then(|| Element::new(name.clone())).into_iter().collect();
    let subnets = |is_v4: bool, is_wanted: bool| {
        let subnets = network.ranges.iter().map(|range| range.subnet.network());
        let subnets = subnets.filter(|subnet| is_wanted && subnet.ip.is_ipv4() == is_v4);
        subnets.map(|subnet| Element::network(subnet.ip, subnet.prefix)).collect()
    };
    let gateways = network.gateways().into_iter().filter(|gateway| gateway.ip.is_ipv6());
    vec![
        (table::bridges(), own(true)),
        (table::isolated(), own(network.isolated)),
        (table::internal(), own(network.internal)),
        (table::hidden(), own(network.masquerade && !network.open)),
        (table::same(), vec![Element::new(name.clone().and(name.clone()))]),
        (table::sources(true), subnets(true, network.masquerade)),
        (table::sources(false), subnets(false, network.masquerade)),
        (table::subnets(true), subnets(true, true)),
        (table::subnets(false), subnets(false, true)),
        (table::gateways(), gateways.map(|gateway| Element::new(gateway.ip)).collect()),
    ]
}

/// Adds or deletes the elements of an attachment's published ports, with its owner as their comment.
pub fn change_ports(batch: &mut Batch, attachment: &Attachment, change: Change) -> Result<()> {
    for (set, elements) in port_elements(attachment) {
        let elements: Vec<Element> = elements.into_iter().map(|(_, element)| element).collect();
        apply(batch, &set, &elements, change)?;
    }
    Ok(())
}

/// The elements of an attachment's published ports, by the map that they belong to.
pub(crate) fn port_elements(attachment: &Attachment) -> Vec<(Set, Vec<(Port, Element)>)> {
    let published = || attachment.interfaces.iter().flat_map(|interface| &interface.ports);
    let of_map = |(map, is_v4, has_address)| {
        let elements = published().filter_map(|published| {
            let element = element(published, is_v4, has_address)?.commented(shorten(&attachment.owner));
            Some((published.port, element))
        });
        (table::ports(map, is_v4, has_address), elements.collect())
    };
    table::PORT_MAPS
        .into_iter()
        .map(of_map)
        .filter(|(_, elements): &(_, Vec<_>)| !elements.is_empty())
        .collect()
}

/// The element of a published port in the map for that family, with or without the host's address in the key.
fn element(published: &Published, is_v4: bool, has_address: bool) -> Option<Element> {
    let Published { port, v4, v6 } = *published;
    let Ip(target) = if is_v4 { v4? } else { v6? };
    let host_ip = port.host_ip.map(|Ip(ip)| ip).filter(|ip| !ip.is_unspecified());
    if host_ip.is_some() != has_address || host_ip.is_some_and(|ip| ip.is_ipv4() != is_v4) {
        return None;
    }
    let numbers = Value::protocol(port.protocol.number()).and(Value::port(port.host_port));
    let key = host_ip.map_or(numbers.clone(), |ip: IpAddr| Value::from(ip).and(numbers));
    Some(Element::new(key).to(Value::from(target).and(Value::port(port.container_port))))
}

fn apply(batch: &mut Batch, set: &Set, elements: &[Element], change: Change) -> Result<()> {
    if elements.is_empty() {
        return Ok(());
    }
    match change {
        Change::Add => batch.add_elements(&table(), set, elements)?,
        Change::Delete => batch.delete_elements(&table(), set, elements)?,
    };
    Ok(())
}

/// The kernel keeps 256 bytes beside an element.
fn shorten(text: &str) -> &str {
    const MAX: usize = 128;
    text.get(..MAX).unwrap_or(text)
}
