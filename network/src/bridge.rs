//! Bridges: made, or taken as they are, with what networks need of them.

use pillbox_netlink::{address, link as netlink_link};
use rustix::io::Errno;

use crate::cidr::Cidr;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::kernel;
use crate::link::{self, ATTEMPTS, choose_index};
use crate::network::{Network, NetworkKind, Range};
use crate::request::NetworkRequest;
use crate::store::Locked;
use crate::subnet::range_of;

/// Makes a network's bridge, to which containers that it had before are connected again.
pub(crate) fn make_bridge(locked: &Locked<'_>, host: &mut Host, network: &Network) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let index = choose_index(&network.link, "", attempt);
        match host.links.request(&link::bridge(network, index)?) {
            Ok(()) => return connect_again(locked, host, network, index),
            Err(error)
                if error
                    .refusal()
                    .is_some_and(|refusal| refusal.errno == Errno::EXIST && refusal.message == 0) => {}
            Err(error) => return Err(kernel::BRIDGE.word_link(error)),
        }
    }
    Err(Error::new(Kind::Taken, format!("bridge {}: no index for a link is free", network.link)))
}

/// Makes the links of a network's containers ports of its bridge.
pub(crate) fn connect_again(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &Network,
    bridge: u32,
) -> Result<()> {
    for attachment in locked.attachments()? {
        let of_network = attachment.interfaces.iter().filter(|interface| interface.network == network.name);
        for interface in of_network {
            if let Some(index) = host.index_of(&interface.host_name)? {
                let mut messages = vec![netlink_link::set_master(index, bridge)?];
                messages.extend(link::port(interface, index)?);
                host.links.request(&messages)?;
            }
        }
    }
    Ok(())
}

/// Adds to a bridge that is there what is missing for a network. It may be the bridge of other networks, too.
pub(crate) fn complete_bridge(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &Network,
    index: u32,
    force: bool,
) -> Result<()> {
    let gateways = network.gateways();
    let of_others = on_same_bridge(locked, network)?;
    let of_others: Vec<Cidr> = of_others.iter().flat_map(Network::gateways).collect();
    let assigned = address::list(&mut host.links)?;
    let own = assigned.iter().filter(|assigned| assigned.index == index && assigned.is_permanent_global());
    let own: Vec<Cidr> = own.map(|assigned| Cidr::from(assigned.address)).collect();
    let mut messages = Vec::new();
    for address in own.iter().filter(|address| !of_others.contains(address)) {
        let is_in_the_way = |gateway: &&Cidr| {
            gateway.ip.is_ipv4() == address.ip.is_ipv4()
                && (address.ip.is_ipv4() || gateway.network().overlaps(address.network()))
        };
        let Some(gateway) = gateways.iter().find(is_in_the_way).filter(|_| !gateways.contains(address))
        else {
            continue;
        };
        if !force {
            return Err(Error::of(
                Kind::Taken,
                format_args!(
                    "network {}: bridge {} has the address {address}, not {gateway}: remove it, or set forceAddress",
                    network.name, network.link
                ),
            ));
        }
        messages.push(address::delete(index, (*address).into())?);
    }
    for gateway in gateways.iter().filter(|gateway| !own.contains(gateway)) {
        messages.push(address::add(index, (*gateway).into())?);
    }
    // Otherwise it would have another one as soon as it has a port.
    if let Some(own) = netlink_link::get(&mut host.links, index)?.address.filter(|_| !gateways.is_empty()) {
        messages.push(netlink_link::set_address(index, own)?);
    }
    if network.promiscuous {
        messages.push(netlink_link::set_promiscuous(index, true)?);
    }
    messages.push(netlink_link::set_up(index)?);
    Ok(host.links.request(&messages)?)
}

/// The other networks with the same bridge.
pub(crate) fn on_same_bridge(locked: &Locked<'_>, network: &Network) -> Result<Vec<Network>> {
    let is_other = |other: &Network| {
        other.name != network.name && other.link == network.link && other.kind == NetworkKind::Bridge
    };
    Ok(locked.networks()?.into_iter().filter(is_other).collect())
}

/// Takes a bridge that somebody else has made as it is: with its subnets, its rules and its name.
pub(crate) fn adopt(
    locked: &Locked<'_>,
    host: &mut Host,
    wanted: &NetworkRequest,
    index: u32,
    network: &mut Network,
) -> Result<()> {
    let found = netlink_link::get(&mut host.links, index)?;
    let kind = found.kind.as_deref().unwrap_or("hardware");
    if kind != "bridge" {
        return Err(Error::invalid(format_args!(
            "network {}: link {} is no bridge ({kind}): choose another name for the bridge",
            wanted.name, wanted.link
        )));
    }
    if wanted.gateway.is_some() {
        let others = on_same_bridge(locked, network)?;
        network.foreign = others.iter().all(|other| other.foreign);
        return match others.iter().find(|other| other.isolated != network.isolated) {
            None => Ok(()),
            Some(other) => Err(Error::invalid(format_args!(
                "network {}: isolated is {}, but network {} has the same bridge {}, where it is {}: they must agree",
                network.name, network.isolated, other.name, network.link, other.isolated
            ))),
        };
    }
    network.foreign = true;
    network.masquerade = wanted.masquerade.unwrap_or(false);
    network.isolated = wanted.isolated.unwrap_or(false);
    let assigned = address::list(&mut host.links)?;
    let own = assigned.iter().filter(|assigned| assigned.index == index && assigned.is_permanent_global());
    let own: Vec<Range> = own
        .map(|assigned| range_of(Cidr { ip: assigned.address.ip, prefix: assigned.address.prefix }))
        .collect();
    if wanted.ranges.is_empty() && !own.is_empty() {
        network.ranges = own.into();
    }
    Ok(())
}
