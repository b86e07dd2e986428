//! Sets up on the host what a network needs: its bridge, the rules of the packet filter, forwarding.

use std::fmt::Display;

use pillbox_netlink::nft::{self, Batch};
use pillbox_netlink::{address, link as netlink_link};
use rustix::io::Errno;

use crate::attachment::{Interface, Published};
use crate::bridge::{adopt, complete_bridge, connect_again, make_bridge, on_same_bridge};
use crate::cidr::Cidr;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, Change};
use crate::host::{self, Host};
use crate::ip::Ip;
use crate::kernel;
use crate::link;
use crate::network::{Network, NetworkKind, Range};
use crate::passage;
use crate::request::NetworkRequest;
use crate::store::Locked;
use crate::subnet::{check_families, check_free, choose_subnets, subnets};

/// Finds a network, or makes it. `notes` gets what was changed on the host, a line each.
///
/// # Errors
/// It is another one than was asked for, its subnets are somebody else's, or the kernel refuses something.
/// What was made is gone again.
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
        (Some(network), Some(_)) if network.ready && !is_extended(&network, wanted) => {
            check_same(&network, wanted)?;
            passage::keep_open(locked, host, network, notes)
        }
        (recorded, index) => set_up(locked, host, wanted, recorded, index, notes),
    }
}

/// The network as a request has it, with nothing of the host in it.
pub(crate) fn as_asked(wanted: &NetworkRequest) -> Network {
    let NetworkRequest {
        name,
        kind,
        link,
        mode,
        ranges,
        reserved,
        suggested,
        preferred: _,
        mtu,
        masquerade,
        isolated,
        internal,
        gateway,
        force: _,
        open,
        promiscuous,
    } = wanted;
    let is_internal = internal.unwrap_or(false);
    let ranges = if ranges.is_empty() { suggested } else { ranges };
    Network {
        name: name.clone(),
        kind: *kind,
        link: link.clone(),
        mode: mode.clone(),
        ranges: ranges.clone().into(),
        reserved: reserved.iter().map(|ip| Ip(*ip)).collect::<Vec<_>>().into(),
        mtu: *mtu,
        masquerade: masquerade.unwrap_or(true) && !is_internal,
        isolated: isolated.unwrap_or(true),
        internal: is_internal,
        bare: *gateway == Some(false),
        open: *open,
        promiscuous: promiscuous.unwrap_or(false),
        foreign: false,
        routes_loopback: false,
        trusted: false,
        crowded: false,
        witness: 0,
        ready: false,
    }
}

/// Whether a request has subnets for a network that it does not have yet, and means to add them.
fn is_extended(network: &Network, wanted: &NetworkRequest) -> bool {
    wanted.gateway.is_some() && wanted.ranges.iter().any(|range| is_new(network, range))
}

fn is_new(network: &Network, range: &Range) -> bool {
    !network.ranges.iter().any(|known| known.subnet == range.subnet)
}

/// Makes sure that a network is what a request takes it for.
fn check_same(network: &Network, wanted: &NetworkRequest) -> Result<()> {
    let NetworkRequest {
        name,
        kind: _,
        link,
        mode: _,
        ranges,
        reserved: _,
        suggested: _,
        preferred: _,
        mtu: _,
        masquerade,
        isolated,
        internal,
        gateway,
        force: _,
        open: _,
        promiscuous,
    } = wanted;
    let differs = |what: &str, has: &str, asked: &str| {
        Err(Error::invalid(format_args!(
            "network {name}: {what} is {has}, not {asked}: use another name, or remove it (pillbox net rm {name})"
        )))
    };
    if network.link != *link {
        return differs("its bridge", &network.link, link);
    }
    let missing = ranges.iter().find(|range| is_new(network, range));
    if let Some(range) = missing.filter(|_| gateway.is_none()) {
        return differs("its subnet", &subnets(network), &range.subnet.to_string());
    }
    let other = |range: &Range| {
        let known = network.ranges.iter().find(|known| known.subnet == range.subnet)?;
        let (has, asked) = (known.gateway?, range.gateway?);
        (has != asked).then(|| (has.0.to_string(), asked.0.to_string()))
    };
    // A CNI configuration says it again for each container.
    if let Some((has, asked)) = ranges.iter().find_map(other).filter(|_| gateway.is_none()) {
        return differs("its gateway", &has, &asked);
    }
    for (what, has, asked) in [
        ("masquerade", network.masquerade, masquerade),
        ("isolated", network.isolated, isolated),
        ("internal", network.internal, internal),
        ("isGateway", !network.bare, gateway),
        ("promiscMode", network.promiscuous, promiscuous),
    ] {
        if asked.is_some_and(|asked| asked != has) {
            return differs(what, &has.to_string(), &(!has).to_string());
        }
    }
    Ok(())
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
    let mut network = prepare(locked, host, wanted, recorded, index, notes)?;
    network.ready = false;
    locked.put_network(&network)?;
    let made = finish(locked, host, &mut network, index, Some(wanted), notes);
    let Err(mut error) = made else { return Ok(network) };
    if error.kind() == Kind::Unsupported {
        error = error.after(&format!("network {}", network.name));
    }
    // The record of a network that was there stays: its bridge may still be needed.
    if is_known || index.is_some() {
        return Err(error);
    }
    Err(error.besides(take_down(locked, host, &network)))
}

/// Whether a bridge and its network could be as they are asked for.
///
/// # Errors
/// As for [`bring_up`], as far as it is seen without doing anything.
pub(crate) fn could_bring_up(locked: &Locked<'_>, host: &mut Host, wanted: &NetworkRequest) -> Result<()> {
    let (recorded, index) = (locked.network(&wanted.name)?, host.index_of(&wanted.link)?);
    prepare(locked, host, wanted, recorded, index, &mut Vec::new()).map(drop)
}

/// Decides what becomes of a network that is not there, or of which something is missing.
fn prepare(
    locked: &Locked<'_>,
    host: &mut Host,
    wanted: &NetworkRequest,
    recorded: Option<Network>,
    index: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Network> {
    let is_known = recorded.is_some();
    let mut network = recorded.unwrap_or_else(|| as_asked(wanted));
    if is_known && wanted.gateway.is_some() {
        check_same(&network, wanted)?;
        let new = wanted.ranges.iter().filter(|range| is_new(&network, range));
        let new: Vec<Range> = new.copied().collect();
        network.ranges.0.extend(new);
    }
    match index {
        Some(index) if !is_known => adopt(locked, host, wanted, index, &mut network)?,
        Some(_) => {}
        None => network.foreign = false,
    }
    if index.is_none() && network.ranges.is_empty() && are_free(locked, host, &network, &wanted.preferred)? {
        network.ranges = wanted.preferred.clone().into();
    }
    check_families(&network, index)?;
    if index.is_none() || wanted.gateway.is_some() {
        check_free(locked, host, &network, index)?;
    }
    // A network of a bridge alone has none, if its request says so.
    if index.is_none() && !(wanted.gateway.is_some() && network.ranges.is_empty()) {
        choose_subnets(locked, host, &mut network, notes)?;
    }
    Ok(network)
}

/// Whether a network that has to be made can have these subnets, if there are any.
fn are_free(locked: &Locked<'_>, host: &mut Host, network: &Network, ranges: &[Range]) -> Result<bool> {
    let with_them = Network { ranges: ranges.to_vec().into(), ..network.clone() };
    let checked = check_families(&with_them, None).and_then(|()| check_free(locked, host, &with_them, None));
    match checked {
        Err(error) if matches!(error.kind(), Kind::Taken | Kind::Unsupported) => Ok(false),
        checked => checked.map(|()| !ranges.is_empty()),
    }
}

/// Does what the record says, however much of it is done already. `index` is the bridge's, if it is there;
/// `wanted` is the request, if one may ask for more of the bridge than it has.
pub(crate) fn finish(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &mut Network,
    index: Option<u32>,
    wanted: Option<&NetworkRequest>,
    notes: &mut Vec<String>,
) -> Result<()> {
    match index {
        None => make_bridge(locked, host, network)?,
        Some(index) => {
            if let Some(wanted) = wanted.filter(|wanted| wanted.gateway.is_some()) {
                complete_bridge(locked, host, network, index, wanted.force)?;
            }
            // The command that made it may have been killed before that.
            if !network.foreign {
                connect_again(locked, host, network, index)?;
            }
        }
    }
    put_rules(locked, host, network)?;
    if network.is_served() {
        let_forward(network, notes)?;
    }
    if let Some(index) = index.filter(|_| network.has_family(false) && !network.bare) {
        host.links.request(&[link::loopback_through(index)?])?;
    }
    let is_changed = host::route_loopback(&network.link)?;
    network.routes_loopback |= is_changed && network.foreign;
    if network.is_served() {
        passage::open(locked, host, network, notes)?;
    }
    network.ready = true;
    locked.put_network(network)
}

/// Lets the host forward what a network needs. `notes` gets what was changed, a line each.
pub(crate) fn let_forward(network: &Network, notes: &mut Vec<String>) -> Result<()> {
    let is_needed = |is_v4| !network.internal && network.has_family(is_v4);
    forward(is_needed, &format_args!("network {}", network.name), notes)
}

/// Lets the host forward what the published ports of a plain pair need. `notes` gets what was changed, a line
/// each.
pub(crate) fn let_forward_ports(interface: &Interface, notes: &mut Vec<String>) -> Result<()> {
    let is_needed = |is_v4| has_pair_ports(interface, is_v4);
    forward(is_needed, &format_args!("interface {}", interface.name), notes)
}

/// Whether an interface is a plain pair with ports published to an address of that family.
pub(crate) fn has_pair_ports(interface: &Interface, is_v4: bool) -> bool {
    let target = |published: &Published| if is_v4 { published.v4 } else { published.v6 };
    interface.kind == NetworkKind::Pair && interface.ports.iter().any(|published| target(published).is_some())
}

fn forward(is_needed: impl Fn(bool) -> bool, whose: &dyn Display, notes: &mut Vec<String>) -> Result<()> {
    for (is_v4, family) in [(true, "IPv4"), (false, "IPv6")] {
        if is_needed(is_v4) && host::let_forward(is_v4)? {
            notes.push(format!("{whose}: the host forwards {family} packets from now on"));
        }
    }
    Ok(())
}

/// Adds a network's rules, and with them whatever else of the records is missing in the packet filter.
pub(crate) fn put_rules(locked: &Locked<'_>, host: &mut Host, network: &Network) -> Result<()> {
    let mut batch = Batch::new();
    if !has_table(host)? {
        add_recorded(locked, &mut batch)?;
    }
    filter::add_network(&mut batch, network)?;
    if !batch.is_empty() {
        host.commit(&batch)?;
    }
    Ok(())
}

/// Whether the packet filter has our table: a question of some microseconds.
pub(crate) fn has_table(host: &mut Host) -> Result<bool> {
    let find = |socket| Ok(nft::table::find(socket, filter::table().family, filter::TABLE)?);
    Ok(kernel::of_filter(host.filter().and_then(find))?.flatten().is_some())
}

/// Puts everything back that somebody has flushed: the table, the elements of all networks and of all
/// published ports.
pub(crate) fn restore_rules(locked: &Locked<'_>, host: &mut Host) -> Result<()> {
    let mut batch = Batch::new();
    add_recorded(locked, &mut batch)?;
    host.commit(&batch)?;
    // With ours, those in the chains of others have been flushed. What keeps one network from passing is not
    // what all need.
    passage::open_all(locked, host, None, &mut Vec::new(), &mut Vec::new()).map(drop)
}

fn add_recorded(locked: &Locked<'_>, batch: &mut Batch) -> Result<()> {
    filter::add_base(batch)?;
    add_elements(locked, batch)
}

/// Adds the elements of all networks and of all published ports.
pub(crate) fn add_elements(locked: &Locked<'_>, batch: &mut Batch) -> Result<()> {
    for network in locked.networks()?.iter().filter(|network| network.ready) {
        filter::add_network(batch, network)?;
    }
    for attachment in locked.attachments()? {
        filter::change_ports(batch, &attachment, Change::Add)?;
    }
    Ok(())
}

/// Undoes what was changed at a bridge of somebody else's, if that is still there.
fn leave_bridge(host: &mut Host, network: &Network) -> Result<()> {
    let Some(index) = host.index_of(&network.link)? else { return Ok(()) };
    if network.routes_loopback {
        host::keep_loopback(&network.link)?;
    }
    match host.links.request(&[link::no_loopback_through(index)?]).map_err(Error::from) {
        // Without IPv6 there was none.
        Err(error) if error.errno() == Some(Errno::SRCH) => Ok(()),
        deleted => deleted,
    }
}

/// Removes a network from the host: its rules, its bridge unless that is somebody else's or another
/// network's, its record. With the last network goes what is the same for all. The record goes last: as long
/// as it is there, a later command removes the rest, or puts it back.
///
/// # Errors
/// The kernel refuses something; the record stays then.
pub fn take_down(locked: &Locked<'_>, host: &mut Host, network: &Network) -> Result<()> {
    let others = on_same_bridge(locked, network)?;
    match others.first() {
        None if network.foreign => leave_bridge(host, network)?,
        // The network that is left undoes it.
        Some(other) if network.routes_loopback || network.trusted => {
            let mut heir = other.clone();
            heir.routes_loopback |= network.routes_loopback;
            heir.trusted |= network.trusted;
            locked.put_network(&heir)?;
        }
        _ => {}
    }
    // A kernel without the packet filter has nothing in it.
    let removed = if host.has_filter()? { remove_rules(locked, host, network, &others) } else { Ok(()) };
    if network.kind == NetworkKind::Bridge {
        remove_bridge(host, network, &others)?;
    }
    match removed {
        Ok(()) => locked.remove_network(&network.name),
        Err(error) => {
            // A later command removes the rest, and does not make the bridge again.
            let half_gone = locked.put_network(&Network { ready: false, ..network.clone() });
            Err(error.besides(half_gone))
        }
    }
}

fn remove_rules(locked: &Locked<'_>, host: &mut Host, network: &Network, others: &[Network]) -> Result<()> {
    let mut batch = Batch::new();
    if locked.has_only(&network.name)? {
        filter::remove_base(&mut batch)?;
    } else if has_table(host)? {
        filter::delete_network(&mut batch, network, others)?;
    }
    if !batch.is_empty() {
        host.commit(&batch)?;
    }
    if network.kind == NetworkKind::Bridge && others.is_empty() && network.is_served() {
        passage::close(host, network)?;
    }
    Ok(())
}

/// Removes a network's bridge, or its addresses from one that others have too. From one of somebody else's
/// nothing is removed.
fn remove_bridge(host: &mut Host, network: &Network, others: &[Network]) -> Result<()> {
    let Some(index) = host.index_of(&network.link)?.filter(|_| !network.foreign) else { return Ok(()) };
    if others.is_empty() {
        return Ok(host.links.request(&[netlink_link::delete(index)?])?);
    }
    let kept: Vec<Cidr> = others.iter().flat_map(Network::gateways).collect();
    for gateway in network.gateways().into_iter().filter(|gateway| !kept.contains(gateway)) {
        match host.links.request(&[address::delete(index, gateway.into())?]).map_err(Error::from) {
            Err(error) if error.errno() == Some(Errno::ADDRNOTAVAIL) => {}
            deleted => deleted?,
        }
    }
    Ok(())
}
