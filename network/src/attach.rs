//! Connects a container: what it gets is decided and recorded first ([`reserve`]), then made ([`connect`]).

use std::os::fd::BorrowedFd;
use std::time::Duration;

use pillbox_netlink::nft::Batch;
use pillbox_netlink::{LOOPBACK_INDEX, Message, Socket, link as netlink_link};
use rustix::io::Errno;

use crate::allot::allot;
use crate::attachment::{Attachment, Holder, Interface};
use crate::bring_up::{bring_up, has_table, let_forward_ports, restore_rules, take_down};
use crate::detach;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, Change};
use crate::host::{self, Host};
use crate::kernel::Part;
use crate::link::{self, ATTEMPTS, NAMES, choose_index, mac_text};
use crate::network::{Network, NetworkKind};
use crate::passage;
use crate::request::Request;
use crate::store::{Locked, Store};
use crate::tracked;

#[cfg(test)]
mod tests;

/// The index of the first interface in a new network namespace, where the loopback has 1.
const FIRST_INDEX: u32 = 2;

/// How often a link is waited for that is about to go, and how long each time.
const PATIENCE: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// The container to which interfaces belong.
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

/// What was decided for a container.
pub struct Reserved {
    /// What connects it.
    pub attachment: Attachment,
    /// The names of networks that were made for it.
    pub made: Vec<String>,
}

/// Decides everything about a container's interfaces and records it: networks are found or made, addresses
/// and ports are its own from now on. `notes` gets what was changed on the host, a line each.
///
/// # Errors
/// Something that was asked for cannot be had: it is named, and nothing of this container is left, nor of
/// networks that were made for it.
pub fn reserve(
    store: &Store,
    host: &mut Host,
    owner: &Owner,
    requests: &[Request],
    notes: &mut Vec<String>,
) -> Result<Reserved> {
    check_names(requests)?;
    host::check_rights()?;
    let mut locked = store.lock()?;
    make_way(&locked, host, owner)?;
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
        made.extend(is_new.then(|| network.name.clone()));
        // What it has so far is given back if anything fails.
        attachment.interfaces.0.push(Interface::default());
        let Some((interface, before)) = attachment.interfaces.0.split_last_mut() else { return Ok(()) };
        decide(&mut locked, host, owner, request, &network, before, interface)?;
        let_forward_ports(interface, notes)
    });
    match decided.and_then(|()| locked.note(&attachment)) {
        Ok(()) => Ok(Reserved { attachment, made }),
        Err(error) => {
            let error = error.besides(locked.release_leases(&attachment));
            let error = error.besides(locked.release_ports(&attachment));
            Err(error.besides(remove_made(&locked, host, &made)))
        }
    }
}

/// Undoes what was reserved and could not be connected, and the networks that were made for it, unless
/// somebody else is on them meanwhile.
///
/// # Errors
/// Something could not be undone; it stays recorded then.
pub fn give_up(store: &Store, host: &mut Host, reserved: &Reserved) -> Result<()> {
    let locked = store.lock()?;
    detach::undo(&locked, host, &reserved.attachment)?;
    remove_made(&locked, host, &reserved.made)
}

/// Removes networks as they are now that nobody is on. All are tried; the first error counts.
pub(crate) fn remove_made(locked: &Locked<'_>, host: &mut Host, made: &[String]) -> Result<()> {
    let mut remove = |name: &String| match (locked.network(name)?, locked.user(name)?) {
        (Some(network), None) => take_down(locked, host, &network),
        _ => Ok(()),
    };
    made.iter().map(&mut remove).fold(Ok(()), Result::and)
}

/// Undoes what is recorded of another one with that key.
fn make_way(locked: &Locked<'_>, host: &mut Host, owner: &Owner) -> Result<()> {
    let Some(other) = locked.attachment(&owner.key)? else { return Ok(()) };
    if other.holder == owner.holder && other.is_alive(locked.boot())? {
        let name = &owner.name;
        let text = format_args!("container {name}: it is connected already: disconnect it first");
        return Err(Error::of(Kind::Taken, text));
    }
    detach::undo(locked, host, &other)
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

pub(crate) fn decide(
    locked: &mut Locked<'_>,
    host: &Host,
    owner: &Owner,
    request: &Request,
    network: &Network,
    before: &[Interface],
    interface: &mut Interface,
) -> Result<()> {
    request.check_families()?;
    *interface = as_asked(owner, request, network, before.len())?;
    if network.kind.is_pair() {
        interface.set_host_end(choose_host_end(host, &owner.key, request)?);
    }
    allot(locked, &owner.key, request, network, before, interface)
}

/// An interface as it was asked for, the one at that position: without addresses and what follows from them,
/// and without an end on the host.
fn as_asked(owner: &Owner, request: &Request, network: &Network, position: usize) -> Result<Interface> {
    let is_made = network.kind == NetworkKind::Bridge && !network.foreign;
    Ok(Interface {
        network: network.name.clone(),
        kind: network.kind,
        link: network.link.clone(),
        link_mac: is_made.then(|| mac_text(link::mac_of_name(&network.link))),
        mode: network.mode.clone(),
        name: request.name.clone(),
        mtu: request.mtu.or(network.mtu),
        hairpin: request.hairpin,
        isolated: request.isolated,
        locked: request.locked,
        down: request.down,
        host_addresses: request.host_addresses.clone().into(),
        index: match owner.namespace {
            None => FIRST_INDEX + position as u32,
            Some(_) => choose_index(&owner.key, &request.name, ATTEMPTS),
        },
        mac: request.mac.as_deref().map(|mac| link::parse_mac(mac).map(mac_text)).transpose()?,
        ..Interface::default()
    })
}

impl Interface {
    fn set_host_end(&mut self, (name, index): (String, u32)) {
        self.host_mac = Some(mac_text(link::mac_of_host_end(&name)));
        (self.host_name, self.host_index) = (name, index);
    }
}

/// The name of a pair's host end, and an index that goes with it.
fn choose_host_end(host: &Host, key: &str, request: &Request) -> Result<(String, u32)> {
    let (asked, inside) = (&request.host_name, &request.name);
    // The link of a container with the same id that has just ended goes with its network namespace, which
    // takes a moment.
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

/// Makes what was recorded: the links, with `namespace` for the container's ends, then their addresses and
/// routes by `inside`, a socket in that namespace, where the loopback may be set up on the way, then the
/// published ports. Three messages over netlink and their answers.
///
/// # Errors
/// The kernel refuses something. What was made stays recorded: [`crate::detach`] undoes it.
pub fn connect(
    store: &Store,
    host: &mut Host,
    attachment: &mut Attachment,
    namespace: BorrowedFd<'_>,
    inside: &mut Socket,
    with_loopback: bool,
) -> Result<()> {
    for position in 0..attachment.interfaces.len() {
        add_link(store, host, attachment, position, namespace)?;
    }
    let loopback = if with_loopback { vec![netlink_link::set_up(LOOPBACK_INDEX)?] } else { Vec::new() };
    complete(store, host, attachment, inside, loopback)
}

/// Gives an interface that is connected already its addresses, and with them routes and ports: for callers
/// that learn them only then. `notes` gets what was changed on the host, a line each.
///
/// # Errors
/// As for [`reserve`] and [`connect`].
pub fn extend(
    store: &Store,
    host: &mut Host,
    attachment: &mut Attachment,
    request: &Request,
    inside: &mut Socket,
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut locked = store.lock()?;
    let network = bring_up(&locked, host, &request.network, notes)?;
    let key = attachment.key.clone();
    for interface in attachment.interfaces.0.iter_mut().filter(|interface| interface.name == request.name) {
        allot(&mut locked, &key, request, &network, &[], interface)?;
    }
    locked.note(attachment)?;
    drop(locked);
    complete(store, host, attachment, inside, Vec::new())
}

/// Makes what of an attachment is no link; `messages` come before it.
pub(crate) fn complete(
    store: &Store,
    host: &mut Host,
    attachment: &Attachment,
    inside: &mut Socket,
    mut messages: Vec<Message<'_>>,
) -> Result<()> {
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
    for interface in
        attachment.interfaces.iter().filter(|interface| interface.kind.is_pair() && !interface.down)
    {
        host.notice_carrier(&interface.host_name, interface.host_index)?;
    }
    publish_ports(store, host, attachment)
}

/// Gives a macvlan its addresses and sets it up, for which no other one over the same link may have its
/// hardware address. That of a container that has just ended goes with its network namespace, which takes a
/// moment.
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
pub(crate) fn add_link(
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
        match host.links.request(&messages) {
            // The record has the indices that nobody could have known before.
            Ok(()) if attempt > 1 => store.lock()?.note(attachment)?,
            Ok(()) => {}
            Err(error) if error.refused() == Some(Errno::EXIST) && attempt < ATTEMPTS => {
                let (key, name) = (attachment.key.clone(), interface.name.clone());
                let interface = &mut attachment.interfaces.0[position];
                interface.host_index = choose_index(&key, &name, attempt);
                interface.index = choose_index(&key, &name, attempt + ATTEMPTS);
                continue;
            }
            Err(error) => return Err(word_link(error, interface)),
        }
        return check_lock(host, &attachment.interfaces[position]);
    }
}

/// Makes sure that the kernel knows locked ports: one that does not ignores them.
fn check_lock(host: &mut Host, interface: &Interface) -> Result<()> {
    let Interface { name, host_index, .. } = interface;
    if interface.locked {
        let port = netlink_link::get(&mut host.links, *host_index)?.port()?;
        if port.is_none_or(|port| port.locked != Some(true)) {
            let text =
                format_args!("interface {name}: a port that checks hardware addresses needs Linux 5.16");
            return Err(Error::of(Kind::Host, text));
        }
    }
    Ok(())
}

fn word_link(error: pillbox_netlink::Error, interface: &Interface) -> Error {
    let Interface { name, link, kind, .. } = interface;
    match error.refused() {
        // EXFULL: a bridge numbers its ports with ten bits.
        Some(Errno::XFULL) => Error::new(
            Kind::Host,
            format!("bridge {link}: it has 1,023 ports already, the most that a bridge can have"),
        ),
        Some(Errno::EXIST) => Error::new(
            Kind::Taken,
            format!("interface {name}: the network namespace has a link of that name or its index"),
        ),
        _ => match Part::of_links(*kind).word_link(error) {
            error if error.kind() == Kind::Unsupported => error.after(&interface.place()),
            error => error,
        },
    }
}

/// Adds the published ports to the packet filter; where there are none, makes sure at least that nobody has
/// flushed it.
pub(crate) fn publish_ports(store: &Store, host: &mut Host, attachment: &Attachment) -> Result<()> {
    let mut batch = Batch::new();
    filter::change_ports(&mut batch, attachment, Change::Add)?;
    let named = |error: Error| match error.kind() {
        Kind::Unsupported => error.after(&attachment.subject()),
        _ => error,
    };
    let is_there = if batch.is_empty() {
        let has_rules = attachment.interfaces.iter().any(|interface| interface.kind == NetworkKind::Bridge);
        !has_rules || has_table(host)?
    } else {
        match host.commit(&batch) {
            Ok(()) => true,
            Err(error) if error.errno() == Some(Errno::NOENT) => false,
            Err(error) => return Err(named(error)),
        }
    };
    // Somebody has flushed the whole packet filter.
    if !is_there {
        restore_rules(&store.lock()?, host).map_err(named)?;
    }
    passage::open_pairs(host, attachment)?;
    tracked::redirect(host, attachment)
}
