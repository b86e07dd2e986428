//! Connects a container: what it gets is decided and recorded first ([`reserve`]), then made ([`connect`]).

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use pillbox_netlink::nft::Batch;
use pillbox_netlink::{Message, Socket};
use rustix::io::Errno;

use crate::attachment::{Attachment, Holder, Interface, Published, Route};
use crate::bring_up::{ATTEMPTS, bring_up, has_table, restore_rules, take_down, word_missing_kind};
use crate::cidr::Cidr;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, Change};
use crate::host::Host;
use crate::ip::Ip;
use crate::link::{self, choose_index, mac_of_address, mac_text};
use crate::network::{Network, NetworkKind, Range};
use crate::port::Port;
use crate::request::{Request, Wanted};
use crate::store::{Locked, Store};
use crate::tracked;

/// The index of the first interface in a new network namespace, where the loopback has 1.
const FIRST_INDEX: u32 = 2;

/// How many names are tried for a pair's host end.
const NAMES: u32 = 16;

/// How often a link is waited for that is about to go, and how long each time.
const PATIENCE: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// Whose interfaces they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Unique on the host: see [`Attachment`].
    pub key: String,
    /// The container's id.
    pub name: String,
    /// What they live with.
    pub holder: Holder,
    /// The network namespace, if it may outlive the container.
    pub namespace: Option<String>,
}

/// Decides everything about a container's interfaces and records it: networks are found or made, addresses and ports
/// are its own from now on. `notes` gets what was changed on the host, a line each.
///
/// # Errors
/// Something that was asked for cannot be had: it is named, and nothing of this container is left, nor of networks that
/// were made for it.
pub fn reserve(
    store: &Store,
    host: &mut Host,
    owner: &Owner,
    requests: &[Request],
    notes: &mut Vec<String>,
) -> Result<Attachment> {
    check_names(requests)?;
    let mut locked = store.lock()?;
    let mut attachment = Attachment {
        key: owner.key.clone(),
        owner: owner.name.clone(),
        boot: store.boot().to_string(),
        holder: owner.holder.clone(),
        namespace: owner.namespace.clone(),
        interfaces: Vec::new().into(),
    };
    let mut made = Vec::new();
    let decided = requests.iter().try_for_each(|request| {
        let is_new =
            request.network.kind == NetworkKind::Bridge && !locked.has_network(&request.network.name)?;
        let network = bring_up(&locked, host, &request.network, notes)?;
        made.extend(is_new.then(|| network.clone()));
        // What it has so far is given back if anything fails.
        attachment.interfaces.0.push(Interface::default());
        let Some((interface, before)) = attachment.interfaces.0.split_last_mut() else { return Ok(()) };
        decide(&mut locked, host, owner, request, &network, before, interface)
    });
    match decided.and_then(|()| locked.note(&attachment)) {
        Ok(()) => Ok(attachment),
        Err(error) => {
            let error = error.besides(locked.release_leases(&attachment));
            let error = error.besides(locked.release_ports(&attachment));
            // Nobody else can be on them yet: the lock was held all the time.
            Err(made.iter().fold(error, |error, network| error.besides(take_down(&locked, host, network))))
        }
    }
}

fn check_names(requests: &[Request]) -> Result<()> {
    for (position, request) in requests.iter().enumerate() {
        link::check_name("the interface's name", &request.name)?;
        let mut others = requests[..position].iter();
        if request.name == "lo" || others.any(|other| other.name == request.name) {
            let name = &request.name;
            return Err(Error::invalid(format_args!("interface {name}: there is another one of that name")));
        }
    }
    Ok(())
}

fn decide(
    locked: &mut Locked<'_>,
    host: &Host,
    owner: &Owner,
    request: &Request,
    network: &Network,
    before: &[Interface],
    interface: &mut Interface,
) -> Result<()> {
    let (key, name) = (&owner.key, &request.name);
    interface.network = network.name.clone();
    interface.kind = network.kind;
    interface.link = network.link.clone();
    interface.mode = network.mode.clone();
    interface.name = name.clone();
    interface.mtu = request.mtu.or(network.mtu);
    interface.host_addresses = request.host_addresses.clone().into();
    interface.index = match owner.namespace {
        None => FIRST_INDEX + before.len() as u32,
        Some(_) => choose_index(key, name, ATTEMPTS),
    };
    if network.kind.is_pair() {
        (interface.host_name, interface.host_index) = choose_host_end(host, key, request)?;
    }
    let mut gateways = Vec::new();
    for (range, wanted) in addresses_of(request, network)? {
        let leased = locked.lease(&network.name, &range, wanted.map(|wanted| wanted.ip), key)?;
        // Recorded at once: it is given back if the next one is not to be had.
        let prefix = wanted.and_then(|wanted| wanted.prefix).unwrap_or(leased.prefix);
        interface.addresses.0.push(Cidr { ip: leased.ip, prefix });
        gateways.extend(range.gateway);
    }
    interface.routes = routes_of(request, network, &gateways, before).into();
    interface.mac = match (&request.mac, interface.addresses.first()) {
        (Some(mac), _) => Some(mac_text(link::parse_mac(mac)?)),
        // An ipvlan has that of the link below; what a DHCP server is to know must not change.
        (None, Some(address)) if network.kind != NetworkKind::Ipvlan => {
            Some(mac_text(mac_of_address(address.ip)))
        }
        _ => None,
    };
    for &port in &request.ports {
        let published = publish(interface, network, port)?;
        let port = locked.reserve(&published.port, key)?;
        interface.ports.0.push(Published { port, ..published });
    }
    Ok(())
}

/// The name of a pair's host end, and an index that goes with it.
fn choose_host_end(host: &Host, key: &str, request: &Request) -> Result<(String, u32)> {
    let (asked, inside) = (&request.host_name, &request.name);
    // The link of a container with the same id that has just ended goes with its network namespace, which takes a moment.
    let attempts = if asked.is_some() { 1 } else { NAMES };
    for attempt in 0..attempts {
        let name = match asked {
            Some(name) => link::check_name("the name of the host's end", name)?.to_string(),
            None => link::host_name(key, inside, attempt),
        };
        if host.index_of(&name)?.is_none() {
            return Ok((name, choose_index(key, inside, attempt)));
        }
    }
    let name = asked.as_ref().unwrap_or(inside);
    let text = format!(
        "interface {name}: the host has a link of that name already: choose another one for the host's end"
    );
    Err(Error::new(Kind::Taken, text))
}

/// Which addresses an interface gets: those that were asked for, else one of each range.
fn addresses_of(request: &Request, network: &Network) -> Result<Vec<(Range, Option<Wanted>)>> {
    if request.addresses.is_empty() {
        return Ok(network.ranges.iter().map(|range| (*range, None)).collect());
    }
    let range_for = |wanted: &Wanted| {
        let known = network.ranges.iter().find(|range| range.subnet.contains(wanted.ip));
        let is_of_family = |range: &&Range| range.subnet.ip.is_ipv4() == wanted.ip.is_ipv4();
        match (known, network.ranges.iter().find(is_of_family)) {
            (Some(range), _) => Ok((*range, Some(*wanted))),
            (None, Some(other)) => Err(Error::invalid(format_args!(
                "address {}: it is not in the subnet of network {}, {}",
                wanted.ip, network.name, other.subnet
            ))),
            // The network says nothing of that family.
            (None, None) => {
                let whole = Cidr::single(wanted.ip).prefix;
                let subnet = Cidr { ip: wanted.ip, prefix: wanted.prefix.unwrap_or(whole) }.network();
                Ok((Range { subnet, gateway: None, first: None, last: None }, Some(*wanted)))
            }
        }
    };
    request.addresses.iter().map(range_for).collect()
}

fn routes_of(request: &Request, network: &Network, gateways: &[Ip], before: &[Interface]) -> Vec<Route> {
    if let Some(routes) = &request.routes {
        return routes.clone();
    }
    if network.internal {
        return Vec::new();
    }
    let default = |via: &Ip| {
        let to = if via.0.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        Route { to: Cidr { ip: to, prefix: 0 }, via: Some(*via) }
    };
    // One default route is enough: the first interface has it.
    let is_new = |route: &Route| {
        let mut others = before.iter().flat_map(|interface| interface.routes.iter());
        !others.any(|other| other.to == route.to)
    };
    gateways.iter().map(default).filter(is_new).collect()
}

/// Where a port leads: to the interface's addresses of the families in which it is published.
fn publish(interface: &Interface, network: &Network, port: Port) -> Result<Published> {
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

/// Makes what was recorded: the links, with `namespace` for the container's ends, then their addresses and routes by
/// `inside`, a socket in that namespace, then the published ports. Three messages over netlink and their answers.
///
/// # Errors
/// The kernel refuses something. What was made stays recorded: [`crate::detach`] undoes it.
pub fn connect(
    store: &Store,
    host: &mut Host,
    attachment: &mut Attachment,
    namespace: BorrowedFd<'_>,
    inside: &mut Socket,
) -> Result<()> {
    for position in 0..attachment.interfaces.len() {
        add_link(store, host, attachment, position, namespace)?;
    }
    let mut messages = Vec::new();
    for interface in &attachment.interfaces {
        let mut own = link::inside(interface)?;
        if interface.kind == NetworkKind::Macvlan {
            let routes = own.split_off(interface.addresses.len() + 1);
            set_up_macvlan(inside, &own, interface)?;
            own = routes;
        }
        messages.extend(own);
    }
    // The kernel answers to no more at once than fits its buffer.
    for batch in messages.chunks(pillbox_netlink::MAX_BATCH) {
        inside.request(batch)?;
    }
    publish_ports(store, host, attachment)
}

/// Gives a macvlan its addresses and sets it up, for which no other one over the same link may have its hardware address.
/// That of a container that has just ended goes with its network namespace, which takes a moment.
fn set_up_macvlan(inside: &mut Socket, messages: &[Message<'_>], interface: &Interface) -> Result<()> {
    let (addresses, set_up) = messages.split_at(interface.addresses.len());
    for batch in addresses.chunks(pillbox_netlink::MAX_BATCH) {
        inside.request(batch)?;
    }
    for _ in 0..PATIENCE {
        match inside.request(set_up).map_err(Error::from) {
            Err(error) if error.errno() == Some(Errno::ADDRINUSE) => std::thread::sleep(PAUSE),
            set_up => return set_up,
        }
    }
    let Interface { name, link, mac, .. } = interface;
    let mac = mac.as_deref().unwrap_or_default();
    let text = format!("interface {name}: another macvlan over {link} has the hardware address {mac}");
    Err(Error::new(Kind::Taken, text))
}

/// Adds an interface's link, with other indices if somebody has those that were chosen.
fn add_link(
    store: &Store,
    host: &mut Host,
    attachment: &mut Attachment,
    position: usize,
    namespace: BorrowedFd<'_>,
) -> Result<()> {
    let interface = &attachment.interfaces[position];
    let below = match interface.kind {
        NetworkKind::Pair => None,
        _ => {
            let gone = || Error::new(Kind::Missing, format!("link {}: it is gone", interface.link));
            Some(host.index_of(&interface.link)?.ok_or_else(gone)?)
        }
    };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let interface = &attachment.interfaces[position];
        let messages: Vec<Message<'_>> = link::host_end(interface, below, namespace)?;
        match host.links.request(&messages).map_err(Error::from) {
            Ok(()) if attempt == 1 => return Ok(()),
            // The record has the indices that nobody could have known before.
            Ok(()) => return store.lock()?.note(attachment),
            Err(error) if error.errno() == Some(Errno::EXIST) && attempt < ATTEMPTS => {
                let (key, name) = (attachment.key.clone(), interface.name.clone());
                let interface = &mut attachment.interfaces.0[position];
                interface.host_index = choose_index(&key, &name, attempt);
                interface.index = choose_index(&key, &name, attempt + ATTEMPTS);
            }
            Err(error) => return Err(word_link(error, interface)),
        }
    }
}

fn word_link(error: Error, interface: &Interface) -> Error {
    let Interface { name, link, kind, .. } = interface;
    match error.errno() {
        // EXFULL: a bridge numbers its ports with ten bits.
        Some(Errno::XFULL) => Error::new(
            Kind::Host,
            format!("bridge {link}: it has 1,023 ports already, the most that a bridge can have"),
        ),
        Some(Errno::EXIST) => Error::new(
            Kind::Taken,
            format!("interface {name}: the network namespace has a link of that name or its index"),
        ),
        _ => word_missing_kind(error, if kind.is_pair() { "veth" } else { kind.name() }),
    }
}

/// Adds the published ports to the packet filter; where there are none, makes sure at least that nobody has flushed it.
fn publish_ports(store: &Store, host: &mut Host, attachment: &Attachment) -> Result<()> {
    let mut batch = Batch::new();
    filter::change_ports(&mut batch, attachment, Change::Add)?;
    let is_there = if batch.is_empty() {
        let has_rules = attachment.interfaces.iter().any(|interface| interface.kind == NetworkKind::Bridge);
        !has_rules || has_table(host)?
    } else {
        match host.filter()?.commit(&batch).map_err(Error::from) {
            Ok(()) => true,
            Err(error) if error.errno() == Some(Errno::NOENT) => false,
            Err(error) => return Err(error),
        }
    };
    // Somebody has flushed the whole packet filter.
    if !is_there {
        restore_rules(&store.lock()?, host)?;
    }
    tracked::redirect(host, attachment)
}
