//! The subnets of networks: which are free.

use std::net::{IpAddr, Ipv6Addr};

use pillbox_netlink::route::Route;

use crate::attachment::hash;
use crate::cidr::Cidr;
use crate::error::{Error, Kind, Result};
use crate::host::{self, Host};
use crate::ip::Ip;
use crate::kernel;
use crate::network::{Network, Range};
use crate::store::Locked;

/// `RTPROT_RA`: routes that routers advertise.
const BY_ADVERTISEMENT: u8 = 9;

/// The first of other networks that has an address of a subnet.
fn network_in(others: &[Network], subnet: Cidr) -> Option<String> {
    let has_one = |other: &&Network| other.ranges.iter().any(|range| range.subnet.overlaps(subnet));
    others.iter().find(has_one).map(|other| format!("network {} ({})", other.name, subnets(other)))
}

/// Makes sure that the kernel has the families of a network's subnets, and its bridge if it has to be made.
pub(crate) fn check_families(network: &Network, index: Option<u32>) -> Result<()> {
    let Some(range) = network.ranges.iter().find(|range| range.subnet.ip.is_ipv6()) else { return Ok(()) };
    let why = if !kernel::has_ipv6() {
        kernel::WITHOUT_IPV6
    } else if index.is_none() && !network.bare && !host::new_links_have_ipv6() {
        "new links of this host have no IPv6: leave it out, or set net.ipv6.conf.default.disable_ipv6=0"
    } else {
        return Ok(());
    };
    let (name, subnet) = (&network.name, range.subnet);
    Err(Error::of(Kind::Unsupported, format_args!("network {name}: subnet {subnet}: {why}")))
}

/// Makes sure that the subnets that were asked for are free.
pub(crate) fn check_free(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &Network,
    index: Option<u32>,
) -> Result<()> {
    let (routes, others) = (host.routes()?, locked.networks()?);
    for range in &network.ranges {
        let subnet = range.subnet;
        let in_the_way =
            others.iter().filter(|other| other.name != network.name && !share(network, other, range));
        let by = network_in(&in_the_way.cloned().collect::<Vec<_>>(), subnet).or_else(|| {
            let in_the_way = |route: &&Route| {
                let to = host::destination(route);
                let is_own = index.is_some() && route.index == index;
                // Like a default route it leads to what nothing else leads to.
                let is_wider = to.prefix < subnet.prefix && route.gateway.is_some();
                to.overlaps(subnet) && !is_own && !is_wider
            };
            let route = routes.iter().find(in_the_way)?;
            Some(format!("the host's route to {}", host::destination(route)))
        });
        if let Some(by) = by {
            let name = &network.name;
            return Err(Error::of(
                Kind::Taken,
                format_args!("network {name}: subnet {subnet} overlaps with {by}: choose another one"),
            ));
        }
    }
    Ok(())
}

/// Whether two networks have a subnet in common as they may: on one bridge, giving different addresses.
fn share(network: &Network, other: &Network, range: &Range) -> bool {
    let gives_others = |known: &Range| {
        let ((first, last), (known_first, known_last)) = (range.ends(), known.ends());
        first > known_last || known_first > last || !range.may_give(first.max(known_first))
    };
    let is_alike = network.link == other.link && network.masquerade == other.masquerade;
    let mut met = other.ranges.iter().filter(|known| known.subnet.overlaps(range.subnet));
    is_alike && met.all(|known| known.subnet == range.subnet && gives_others(known))
}

/// Chooses subnets that nobody has, if none were asked for, and the gateways.
pub(crate) fn choose_subnets(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &mut Network,
    notes: &mut Vec<String>,
) -> Result<()> {
    if !network.ranges.is_empty() {
        network.choose_gateways();
        return Ok(());
    }
    network.ranges = free_subnets(host, &network.name, &locked.networks()?, &[], notes)?.into();
    Ok(())
}

/// Free subnets, with their gateways, for a network of that name: neither the host, nor these networks, nor
/// `others` have any of their addresses.
///
/// # Errors
/// [`Kind::Taken`]: there are none.
pub fn free_subnets(
    host: &mut Host,
    name: &str,
    networks: &[Network],
    others: &[Cidr],
    notes: &mut Vec<String>,
) -> Result<Vec<Range>> {
    let routes = host.routes()?;
    let is_free = |subnet: &Cidr| {
        let is_routed = routes.iter().any(|route| host::destination(route).overlaps(*subnet));
        !is_routed
            && network_in(networks, *subnet).is_none()
            && !others.iter().any(|other| other.overlaps(*subnet))
    };
    let mut candidates = (88..=255).map(|number| Cidr { ip: IpAddr::from([10, number, 0, 0]), prefix: 16 });
    let subnet = candidates.find(is_free);
    let full = || {
        Error::new(
            Kind::Taken,
            format!("network {name}: 10.88.0.0/16 to 10.255.0.0/16 are all taken: name a subnet"),
        )
    };
    let mut ranges = vec![range_of(Cidr { ip: subnet.ok_or_else(full)?.hosts().0, prefix: 16 })];
    if host::has_ipv6() {
        // A host that has its own routes by advertisement would lose them as a router.
        let is_advertised = |route: &Route| route.protocol == BY_ADVERTISEMENT;
        let all = pillbox_netlink::route::list(&mut host.links)?;
        if !host::forwards(false)? && all.iter().any(is_advertised) {
            notes.push(format!(
                "network {name}: without IPv6, because a host that forwards it ignores router advertisements: set \
                 net.ipv6.conf.LINK.accept_ra=2 and net.ipv6.conf.all.forwarding=1, or name an IPv6 subnet"
            ));
        } else {
            ranges.push(range_of(local_subnet(name)?));
        }
    }
    Ok(ranges)
}

/// The range of a subnet whose gateway has that address.
pub(crate) fn range_of(gateway: Cidr) -> Range {
    Range { subnet: gateway.network(), gateway: Some(Ip(gateway.ip)), first: None, last: None }
}

/// The gateway in the network's own subnet of unique local addresses (RFC 4193): the same each time on this
/// machine.
fn local_subnet(name: &str) -> Result<Cidr> {
    let machine = std::fs::read("/etc/machine-id").or_else(|_| host::boot_id().map(String::into_bytes))?;
    let [global @ .., _, _, _] = hash(&machine).to_be_bytes();
    let [.., high, low] = hash(name.as_bytes()).to_be_bytes();
    let [a, b, c, d, e] = global;
    let ip = Ipv6Addr::from([0xfd, a, b, c, d, e, high, low, 0, 0, 0, 0, 0, 0, 0, 1]);
    Ok(Cidr { ip: ip.into(), prefix: 64 })
}

pub(crate) fn subnets(network: &Network) -> String {
    let subnets: Vec<String> = network.ranges.iter().map(|range| range.subnet.to_string()).collect();
    subnets.join(" and ")
}
