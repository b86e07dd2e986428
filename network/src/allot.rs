//! What an interface gets of a network: addresses, routes, published ports.

use std::net::IpAddr;

use crate::attachment::{Interface, Published, Route};
use crate::cidr::Cidr;
use crate::error::{Error, Kind, Result};
use crate::ip::Ip;
use crate::link::{mac_of_address, mac_text};
use crate::network::{Network, NetworkKind, Range};
use crate::port::Port;
use crate::request::{Pool, Request, Wanted};
use crate::store::Locked;

/// Gives an interface its addresses, and with them its routes and ports.
pub(crate) fn allot(
    locked: &mut Locked<'_>,
    key: &str,
    request: &Request,
    network: &Network,
    before: &[Interface],
    interface: &mut Interface,
) -> Result<()> {
    let mut gateways = Vec::new();
    for Pool { ranges, wanted } in addresses_of(request, network)? {
        let mut ranges = ranges.iter().peekable();
        while let Some(range) = ranges.next() {
            let leased = match lease(locked, network, range, wanted.map(|wanted| wanted.ip), key) {
                Err(error) if error.kind() == Kind::Taken && ranges.peek().is_some() => continue,
                leased => leased?,
            };
            // Recorded at once: it is given back if the next one is not to be had.
            let prefix = wanted.and_then(|wanted| wanted.prefix).unwrap_or(leased.prefix);
            interface.addresses.0.push(Cidr { ip: leased.ip, prefix });
            gateways.extend(range.gateway);
            break;
        }
    }
    interface.routes = routes_of(request, network, &gateways, before).into();
    // An ipvlan has that of the link below; what a DHCP server is to know must not change.
    let is_chosen = interface.mac.is_none() && network.kind != NetworkKind::Ipvlan;
    if let Some(address) = interface.addresses.first().filter(|_| is_chosen) {
        interface.mac = Some(mac_text(mac_of_address(address.ip)));
    }
    for &port in &request.ports {
        let published = publish(interface, network, port)?;
        let port = locked.reserve(&published.port, key)?;
        interface.ports.0.push(Published { port, ..published });
    }
    Ok(())
}

/// An address that is not reserved. Those that are come to this attachment as well, which does not have them:
/// they are free again at its end.
fn lease(
    locked: &mut Locked<'_>,
    network: &Network,
    range: &Range,
    wanted: Option<IpAddr>,
    key: &str,
) -> Result<Cidr> {
    if let Some(ip) = wanted.filter(|ip| network.reserved.contains(&Ip(*ip))) {
        let text = format_args!("address {ip} of network {}: it is reserved", network.name);
        return Err(Error::of(Kind::Taken, text));
    }
    loop {
        let leased = locked.lease(&network.name, range, wanted, key)?;
        if !network.reserved.contains(&Ip(leased.ip)) {
            return Ok(leased);
        }
    }
}

/// Which addresses an interface gets: those that were asked for, else one of each range.
fn addresses_of(request: &Request, network: &Network) -> Result<Vec<Pool>> {
    let pool = |range: Range, wanted| Pool { ranges: vec![range], wanted };
    if !request.pools.is_empty() || network.open {
        return Ok(request.pools.clone());
    }
    if request.addresses.is_empty() {
        return Ok(network.ranges.iter().map(|range| pool(*range, None)).collect());
    }
    let range_for = |wanted: &Wanted| {
        let known = network.ranges.iter().find(|range| range.subnet.contains(wanted.ip));
        let is_of_family = |range: &&Range| range.subnet.ip.is_ipv4() == wanted.ip.is_ipv4();
        match (known, network.ranges.iter().find(is_of_family)) {
            (Some(range), _) => Ok(pool(*range, Some(*wanted))),
            (None, Some(other)) => Err(Error::invalid(format_args!(
                "address {}: it is not in the subnet of network {}, {}",
                wanted.ip, network.name, other.subnet
            ))),
            // The network says nothing of that family.
            (None, None) => {
                let whole = Cidr::single(wanted.ip).prefix;
                let subnet = Cidr { ip: wanted.ip, prefix: wanted.prefix.unwrap_or(whole) }.network();
                Ok(pool(Range { subnet, ..Range::default() }, Some(*wanted)))
            }
        }
    };
    request.addresses.iter().map(range_for).collect()
}

fn routes_of(request: &Request, network: &Network, gateways: &[Ip], before: &[Interface]) -> Vec<Route> {
    if let Some(routes) = &request.routes {
        let through = |route: &Route| {
            let of_family = |gateway: &&Ip| gateway.0.is_ipv4() == route.to.ip.is_ipv4();
            let gateway = gateways.iter().find(of_family).filter(|_| request.through_gateway);
            Route { via: route.via.or(gateway.copied()), ..*route }
        };
        return routes.iter().map(through).collect();
    }
    if network.internal {
        return Vec::new();
    }
    // One default route of a family is enough: the first subnet of the first interface has it.
    let mut routes: Vec<Route> = Vec::new();
    for via in gateways {
        let route = Route::default_through(via.0.is_ipv4(), Some(*via));
        let mut others = before.iter().flat_map(|interface| interface.routes.iter()).chain(&routes);
        if !others.any(|other| other.to == route.to) {
            routes.push(route);
        }
    }
    routes
}

/// Where a port leads: to the interface's addresses of the families in which it is published.
pub(crate) fn publish(interface: &Interface, network: &Network, port: Port) -> Result<Published> {
    let why = if network.internal {
        "an internal network has no way in"
    } else if !network.kind.is_pair() {
        "it is reached at its own address"
    } else {
        ""
    };
    if !why.is_empty() {
        return Err(Error::invalid(format_args!(
            "port {port}: interface {}: {why}: leave the port out",
            interface.name
        )));
    }
    let is_for = |is_v4: bool| port.host_ip.is_none_or(|Ip(ip)| ip.is_ipv4() == is_v4);
    let target = |is_v4| interface.address(is_v4).filter(|_| is_for(is_v4)).map(Ip);
    let (v4, v6) = (target(true), target(false));
    if v4.is_none() && v6.is_none() {
        let family = if is_for(true) { "IPv4" } else { "IPv6" };
        return Err(Error::invalid(format_args!(
            "port {port}: interface {} has no {family} address for it",
            interface.name
        )));
    }
    Ok(Published { port, v4, v6 })
}
