//! Sets up on the host what a network needs: its bridge, the rules of the packet filter, forwarding.

use std::net::{IpAddr, Ipv6Addr};

use pillbox_netlink::nft::{self, Batch};
use pillbox_netlink::{address, link as netlink_link};
use rustix::io::Errno;

use crate::attachment::hash;
use crate::cidr::Cidr;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, Change};
use crate::foreign;
use crate::host::{self, Host};
use crate::ip::Ip;
use crate::link::{self, choose_index};
use crate::network::{Network, NetworkKind, Range};
use crate::request::NetworkRequest;
use crate::store::Locked;

/// How often another index is tried for a link when somebody has it.
pub(crate) const ATTEMPTS: u32 = 4;

/// `RTPROT_RA`: routes that routers advertise.
const BY_ADVERTISEMENT: u8 = 9;

/// Finds a network, or makes it. `notes` gets what was changed on the host, a line each.
///
/// # Errors
/// It is another one than was asked for, its subnets are somebody else's, or the kernel refuses something. What was made
/// is gone again.
pub fn bring_up(
    locked: &Locked<'_>,
    host: &mut Host,
    wanted: &NetworkRequest,
    notes: &mut Vec<String>,
) -> Result<Network> {
    match wanted.kind {
        NetworkKind::Pair => return Ok(as_asked(wanted)),
        NetworkKind::Macvlan | NetworkKind::Ipvlan => {
            let link = &wanted.link;
            let missing = || {
                Error::new(
                    Kind::Missing,
                    format!("network {}: there is no link {link} to lie over", wanted.name),
                )
            };
            host.index_of(link)?.ok_or_else(missing)?;
            return Ok(as_asked(wanted));
        }
        NetworkKind::Bridge => {}
    }
    let recorded = locked.network(&wanted.name)?;
    let index = host.index_of(&wanted.link)?;
    match (recorded, index) {
        (Some(network), Some(_)) if network.ready => {
            check_same(&network, wanted)?;
            pass_others(locked, host, network, notes)
        }
        (recorded, index) => set_up(locked, host, wanted, recorded, index, notes),
    }
}

/// Makes sure that packets pass the filters of programs that have been started or ended since.
fn pass_others(
    locked: &Locked<'_>,
    host: &mut Host,
    mut network: Network,
    notes: &mut Vec<String>,
) -> Result<Network> {
    let witness = foreign::witness();
    if network.witness != witness {
        foreign::let_pass(host, &network.link, notes)?;
        network.witness = witness;
        locked.put_network(&network)?;
    }
    Ok(network)
}

/// The network as a request has it, with nothing of the host in it.
fn as_asked(wanted: &NetworkRequest) -> Network {
    let NetworkRequest { name, kind, link, mode, ranges, suggested, mtu, masquerade, isolated, internal } =
        wanted;
    let is_internal = internal.unwrap_or(false);
    let ranges = if ranges.is_empty() { suggested } else { ranges };
    Network {
        name: name.clone(),
        kind: *kind,
        link: link.clone(),
        mode: mode.clone(),
        ranges: ranges.clone().into(),
        mtu: *mtu,
        masquerade: masquerade.unwrap_or(true) && !is_internal,
        isolated: isolated.unwrap_or(true),
        internal: is_internal,
        foreign: false,
        witness: 0,
        ready: false,
    }
}

/// Makes sure that a network is what a request takes it for.
fn check_same(network: &Network, wanted: &NetworkRequest) -> Result<()> {
    let NetworkRequest {
        name,
        kind: _,
        link,
        mode: _,
        ranges,
        suggested: _,
        mtu: _,
        masquerade,
        isolated,
        internal,
    } = wanted;
    let differs = |what: &str, has: &str, asked: &str| {
        Err(Error::invalid(format_args!(
            "network {name}: {what} is {has}, not {asked}: use another name, or remove it (pillbox net rm {name})"
        )))
    };
    if network.link != *link {
        return differs("its bridge", &network.link, link);
    }
    let missing =
        ranges.iter().find(|range| !network.ranges.iter().any(|known| known.subnet == range.subnet));
    if let Some(range) = missing {
        return differs("its subnet", &subnets(network), &range.subnet.to_string());
    }
    for (what, has, asked) in [
        ("masquerade", network.masquerade, masquerade),
        ("isolated", network.isolated, isolated),
        ("internal", network.internal, internal),
    ] {
        if asked.is_some_and(|asked| asked != has) {
            return differs(what, &has.to_string(), &(!has).to_string());
        }
    }
    Ok(())
}

fn subnets(network: &Network) -> String {
    let subnets: Vec<String> = network.ranges.iter().map(|range| range.subnet.to_string()).collect();
    subnets.join(" and ")
}

fn set_up(
    locked: &Locked<'_>,
    host: &mut Host,
    wanted: &NetworkRequest,
    recorded: Option<Network>,
    index: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Network> {
    let is_known = recorded.is_some();
    let mut network = recorded.unwrap_or_else(|| as_asked(wanted));
    match index {
        Some(index) if !is_known => adopt(host, wanted, index, &mut network)?,
        Some(_) => {}
        None => {
            choose_subnets(locked, host, &mut network, notes)?;
            network.foreign = false;
        }
    }
    network.ready = false;
    locked.put_network(&network)?;
    let made = finish(locked, host, &mut network, index, notes);
    match made {
        Ok(()) => Ok(network),
        // The record of a network that was there stays: its bridge may still be needed.
        Err(error) if is_known || index.is_some() => Err(error),
        Err(error) => Err(error.besides(take_down(locked, host, &network))),
    }
}

/// Does what the record says, however much of it is done already. `index` is the bridge's, if it is there.
pub(crate) fn finish(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &mut Network,
    index: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<()> {
    match index {
        None => make_bridge(locked, host, network)?,
        // Whoever made it may not have come to that.
        Some(index) if !network.foreign => connect_again(locked, host, network, index)?,
        Some(_) => {}
    }
    put_rules(locked, host, network)?;
    if !network.foreign {
        for is_v4 in [true, false] {
            let is_needed =
                network.ranges.iter().any(|range| range.subnet.ip.is_ipv4() == is_v4) && !network.internal;
            if is_needed && host::let_forward(is_v4)? {
                let family = if is_v4 { "IPv4" } else { "IPv6" };
                notes.push(format!(
                    "network {}: the host forwards {family} packets from now on",
                    network.name
                ));
            }
        }
    }
    host::route_loopback(&network.link)?;
    if !network.foreign {
        network.witness = foreign::witness();
        foreign::let_pass(host, &network.link, notes)?;
    }
    network.ready = true;
    locked.put_network(network)
}

/// Makes a network's bridge, to which containers that it had before are connected again.
fn make_bridge(locked: &Locked<'_>, host: &mut Host, network: &Network) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let index = choose_index(&network.link, "", attempt);
        match host.links.request(&link::bridge(network, index)?) {
            Ok(()) => return connect_again(locked, host, network, index),
            Err(error)
                if error
                    .refusal()
                    .is_some_and(|refusal| refusal.errno == Errno::EXIST && refusal.message == 0) => {}
            Err(error) => return Err(word_missing_kind(error.into(), "bridge")),
        }
    }
    Err(Error::new(Kind::Taken, format!("bridge {}: no index for a link is free", network.link)))
}

/// Makes the links of a network's containers ports of its bridge.
fn connect_again(locked: &Locked<'_>, host: &mut Host, network: &Network, bridge: u32) -> Result<()> {
    for attachment in locked.attachments()? {
        let of_network = attachment.interfaces.iter().filter(|interface| interface.network == network.name);
        for interface in of_network {
            if let Some(index) = host.index_of(&interface.host_name)? {
                let mut messages = vec![netlink_link::set_master(index, bridge)?];
                if !interface.ports.is_empty() {
                    messages.push(netlink_link::set_hairpin(index)?);
                }
                host.links.request(&messages)?;
            }
        }
    }
    Ok(())
}

/// Says what helps where the kernel lacks a kind of link.
pub(crate) fn word_missing_kind(error: Error, module: &str) -> Error {
    match error.errno() {
        Some(Errno::OPNOTSUPP) => Error::new(
            Kind::Host,
            format!("{error}: the kernel has no such links: load its module (modprobe {module})"),
        ),
        _ => error,
    }
}

/// Takes a bridge that somebody else has made as it is: with its subnets, its rules and its name.
fn adopt(host: &mut Host, wanted: &NetworkRequest, index: u32, network: &mut Network) -> Result<()> {
    let found = netlink_link::get(&mut host.links, index)?;
    let kind = found.kind.as_deref().unwrap_or("no virtual link");
    if kind != "bridge" {
        return Err(Error::invalid(format_args!(
            "network {}: link {} is no bridge but {kind}: choose another name for the bridge",
            wanted.name, wanted.link
        )));
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

/// The range of a subnet whose gateway has that address.
fn range_of(gateway: Cidr) -> Range {
    Range { subnet: gateway.network(), gateway: Some(Ip(gateway.ip)), first: None, last: None }
}

/// Chooses subnets that nobody has, if none were asked for; makes sure that those asked for are free.
fn choose_subnets(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &mut Network,
    notes: &mut Vec<String>,
) -> Result<()> {
    let routes = host.routes()?;
    let others = locked.networks()?;
    let taken_by = |subnet: Cidr| -> Option<String> {
        let other = others.iter().filter(|other| other.name != network.name);
        let mut of_network =
            other.filter(|other| other.ranges.iter().any(|range| range.subnet.overlaps(subnet)));
        let of_network =
            of_network.next().map(|other| format!("network {} ({})", other.name, subnets(other)));
        let route = || routes.iter().map(host::destination).find(|route| route.overlaps(subnet));
        of_network.or_else(|| Some(format!("the host's route to {}", route()?)))
    };
    if let Some((range, by)) = network.ranges.iter().find_map(|range| Some((range, taken_by(range.subnet)?)))
    {
        let text = format!(
            "network {}: subnet {} overlaps with {by}: choose another one",
            network.name, range.subnet
        );
        return Err(Error::new(Kind::Taken, text));
    }
    if !network.ranges.is_empty() {
        for range in &mut network.ranges.0 {
            // Its first address, as everybody expects.
            range.gateway.get_or_insert(Ip(range.subnet.hosts().0));
        }
        return Ok(());
    }
    let candidates = (88..=255).map(|number| Cidr { ip: IpAddr::from([10, number, 0, 0]), prefix: 16 });
    let subnet = candidates.into_iter().find(|subnet| taken_by(*subnet).is_none());
    let full = || {
        Error::new(
            Kind::Taken,
            format!("network {}: 10.88.0.0/16 to 10.255.0.0/16 are all taken: name a subnet", network.name),
        )
    };
    let mut ranges = vec![range_of(Cidr { ip: subnet.ok_or_else(full)?.hosts().0, prefix: 16 })];
    if host::has_ipv6() {
        // A host that has its own routes by advertisement would lose them as a router.
        let is_advertised = |route: &pillbox_netlink::route::Route| route.protocol == BY_ADVERTISEMENT;
        let all = pillbox_netlink::route::list(&mut host.links)?;
        if !host::forwards(false)? && all.iter().any(is_advertised) {
            notes.push(format!(
                "network {}: without IPv6, because a host that forwards it ignores router advertisements: set \
                 net.ipv6.conf.LINK.accept_ra=2 and net.ipv6.conf.all.forwarding=1, or name an IPv6 subnet",
                network.name
            ));
        } else {
            ranges.push(range_of(local_subnet(&network.name)?));
        }
    }
    network.ranges = ranges.into();
    Ok(())
}

/// The gateway in the network's own subnet of unique local addresses (RFC 4193): the same each time on this machine.
fn local_subnet(name: &str) -> Result<Cidr> {
    let machine = std::fs::read("/etc/machine-id").or_else(|_| host::boot_id().map(String::into_bytes))?;
    let [global @ .., _, _, _] = hash(&machine).to_be_bytes();
    let [.., high, low] = hash(name.as_bytes()).to_be_bytes();
    let [a, b, c, d, e] = global;
    let ip = Ipv6Addr::from([0xfd, a, b, c, d, e, high, low, 0, 0, 0, 0, 0, 0, 0, 1]);
    Ok(Cidr { ip: ip.into(), prefix: 64 })
}

/// Adds a network's rules, and with them whatever else of the records is missing in the packet filter.
pub(crate) fn put_rules(locked: &Locked<'_>, host: &mut Host, network: &Network) -> Result<()> {
    let mut batch = Batch::new();
    if !has_table(host)? {
        add_recorded(locked, &mut batch)?;
    }
    filter::change_network(&mut batch, network, Change::Add)?;
    if !batch.is_empty() {
        host.filter()?.commit(&batch)?;
    }
    Ok(())
}

/// Whether the packet filter has our table: a question of some microseconds.
pub(crate) fn has_table(host: &mut Host) -> Result<bool> {
    Ok(nft::table::find(host.filter()?, filter::table().family, filter::TABLE)?.is_some())
}

/// Puts everything back that somebody has flushed: the table, the elements of all networks and of all published ports.
pub(crate) fn restore_rules(locked: &Locked<'_>, host: &mut Host) -> Result<()> {
    let mut batch = Batch::new();
    add_recorded(locked, &mut batch)?;
    host.filter()?.commit(&batch)?;
    // With ours, those in the chains of others have been flushed.
    for network in locked.networks()?.iter().filter(|network| network.ready && !network.foreign) {
        foreign::let_pass(host, &network.link, &mut Vec::new())?;
    }
    Ok(())
}

fn add_recorded(locked: &Locked<'_>, batch: &mut Batch) -> Result<()> {
    filter::add_base(batch)?;
    add_elements(locked, batch)
}

/// Adds the elements of all networks and of all published ports.
pub(crate) fn add_elements(locked: &Locked<'_>, batch: &mut Batch) -> Result<()> {
    for network in locked.networks()?.iter().filter(|network| network.ready) {
        filter::change_network(batch, network, Change::Add)?;
    }
    for attachment in locked.attachments()? {
        filter::change_ports(batch, &attachment, Change::Add)?;
    }
    Ok(())
}

/// Removes a network from the host: its rules, its bridge unless that is somebody else's, its record. With the last one goes
/// what is the same for all. The record goes last: as long as it is there, whoever comes later removes the rest, or puts it
/// back.
///
/// # Errors
/// The kernel refuses something; the record stays then.
pub fn take_down(locked: &Locked<'_>, host: &mut Host, network: &Network) -> Result<()> {
    let mut batch = Batch::new();
    if locked.has_only(&network.name)? {
        filter::remove_base(&mut batch)?;
    } else if has_table(host)? {
        // Adding what is there already changes nothing, and then all of it can be deleted.
        filter::change_network(&mut batch, network, Change::Add)?;
        filter::change_network(&mut batch, network, Change::Delete)?;
    }
    if !batch.is_empty() {
        host.filter()?.commit(&batch)?;
    }
    if network.kind == NetworkKind::Bridge && !network.foreign {
        foreign::forget(host, &network.link)?;
        if host.index_of(&network.link)?.is_some() {
            host.links.request(&[netlink_link::delete(&*network.link)?])?;
        }
    }
    locked.remove_network(&network.name)
}
