//! Connects a container: what it gets is decided and recorded first ([`reserve`]), then made ([`connect`]).

use std::os::fd::BorrowedFd;

use pillbox_netlink::nft::Batch;
use pillbox_netlink::{LOOPBACK_INDEX, Message, Socket, link as netlink_link};
use rustix::io::Errno;

use crate::allot::allot;
use crate::attachment::{Attachment, Holder, Interface};
use crate::bridge::word_missing_kind;
use crate::bring_up::{ATTEMPTS, bring_up, has_table, restore_rules};
use crate::detach;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, Change};
use crate::host::Host;
use crate::link::{self, choose_index, mac_text};
use crate::network::{Network, NetworkKind};
use crate::request::Request;
use crate::store::{Locked, Store};
use crate::tracked;

/// The index of the first interface in a new network namespace, where the loopback has 1.
const FIRST_INDEX: u32 = 2;

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
/// Something that was asked for cannot be had: it is named, and nothing of this container is left.
pub fn reserve(
    store: &Store,
    host: &mut Host,
    owner: &Owner,
    requests: &[Request],
    notes: &mut Vec<String>,
) -> Result<Attachment> {
    check_names(requests)?;
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
    let decided = requests.iter().try_for_each(|request| {
        let network = bring_up(&locked, host, &request.network, notes)?;
        // What it has so far is given back if anything fails.
        attachment.interfaces.0.push(Interface::default());
        let position = attachment.interfaces.len() - 1;
        decide(&mut locked, host, owner, request, &network, position, &mut attachment.interfaces.0[position])
    });
    match decided.and_then(|()| locked.note(&attachment)) {
        Ok(()) => Ok(attachment),
        Err(error) => {
            let error = error.besides(locked.release_leases(&attachment));
            Err(error.besides(locked.release_ports(&attachment)))
        }
    }
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

fn decide(
    locked: &mut Locked<'_>,
    host: &Host,
    owner: &Owner,
    request: &Request,
    network: &Network,
    position: usize,
    interface: &mut Interface,
) -> Result<()> {
    let (key, name) = (&owner.key, &request.name);
    interface.network = network.name.clone();
    interface.kind = network.kind;
    interface.link = network.link.clone();
    let is_made = network.kind == NetworkKind::Bridge && !network.foreign;
    interface.link_mac = is_made.then(|| mac_text(link::mac_of_name(&network.link)));
    interface.mode = network.mode.clone();
    interface.name = name.clone();
    interface.mtu = request.mtu.or(network.mtu);
    interface.hairpin = request.hairpin;
    interface.isolated = request.isolated;
    interface.locked = request.locked;
    interface.down = request.down;
    interface.host_addresses = request.host_addresses.clone().into();
    interface.host_index = choose_index(key, name, 0);
    interface.index = match owner.namespace {
        None => FIRST_INDEX + position as u32,
        Some(_) => choose_index(key, name, ATTEMPTS),
    };
    if network.kind.is_pair() {
        interface.host_name = match &request.host_name {
            Some(name) => link::check_name("the name of the host's end", name)?.to_string(),
            None => link::host_name(key, name),
        };
        interface.host_mac = Some(mac_text(link::mac_of_host_end(&interface.host_name)));
        if host.index_of(&interface.host_name)?.is_some() {
            let name = &interface.host_name;
            let text = format!(
                "interface {name}: the host has a link of that name already: choose another one for the host's end"
            );
            return Err(Error::new(Kind::Taken, text));
        }
    }
    interface.mac = request.mac.as_deref().map(|mac| link::parse_mac(mac).map(mac_text)).transpose()?;
    allot(locked, key, request, network, interface)
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
    complete(store, host, attachment, inside)
}

/// Gives an interface that is connected addresses, and with them routes and ports: for who learns them only then.
/// `notes` gets what was changed on the host, a line each.
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
        allot(&mut locked, &key, request, &network, interface)?;
    }
    locked.note(attachment)?;
    drop(locked);
    complete(store, host, attachment, inside)
}

/// Makes what of an attachment is no link.
fn complete(store: &Store, host: &mut Host, attachment: &Attachment, inside: &mut Socket) -> Result<()> {
    let mut messages = Vec::new();
    if attachment.namespace.is_some() {
        // Whoever made the namespace may have left that to others.
        messages.push(netlink_link::set_up(LOOPBACK_INDEX)?);
    }
    for interface in &attachment.interfaces {
        messages.extend(link::inside(interface)?);
    }
    // The kernel answers to no more at once than fits its buffer.
    for batch in messages.chunks(pillbox_netlink::MAX_BATCH) {
        inside.request(batch)?;
    }
    publish_ports(store, host, attachment)
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
            // The record has the indices that nobody could have known before.
            Ok(()) if attempt > 1 => store.lock()?.note(attachment)?,
            Ok(()) => {}
            Err(error) if error.errno() == Some(Errno::EXIST) && attempt < ATTEMPTS => {
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
