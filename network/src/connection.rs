//! A container that runs is connected to one more network, or to one less.

use std::os::fd::BorrowedFd;

use pillbox_netlink::{Message, Socket};

use crate::allot::publish;
use crate::attach::{Owner, add_link, complete, decide, publish_ports, remove_made};
use crate::attachment::{Attachment, Interface, Route};
use crate::bring_up::{bring_up, let_forward_ports};
use crate::detach::{delete_link, release_parts, unpublish};
use crate::error::Result;
use crate::host::Host;
use crate::link::{self, ATTEMPTS, choose_index};
use crate::network::{Network, NetworkKind};
use crate::request::Request;
use crate::store::{Locked, Store};

/// A container's network namespace, from outside.
pub struct Inside<'s> {
    /// The namespace.
    pub namespace: BorrowedFd<'s>,
    /// A socket in it.
    pub socket: &'s mut Socket,
}

/// Adds an interface to a container that runs, and makes it. `notes` gets what was changed on the host, a
/// line each.
///
/// # Errors
/// Something that was asked for cannot be had: it is named, and nothing of the interface is left, nor of a
/// network that was made for it.
pub fn add_interface(
    store: &Store,
    host: &mut Host,
    owner: &Owner,
    request: &Request,
    inside: Inside<'_>,
    notes: &mut Vec<String>,
) -> Result<Interface> {
    link::check_name("the interface's name", &request.name)?;
    let mut locked = store.lock()?;
    let recorded = locked.attachment(&owner.key)?;
    let mut attachment = recorded.filter(|known| known.holder == owner.holder).unwrap_or(Attachment {
        key: owner.key.clone(),
        owner: owner.name.clone(),
        boot: store.boot().to_string(),
        holder: owner.holder.clone(),
        namespace: owner.namespace.clone(),
        interfaces: Vec::new().into(),
    });
    // Of a command that was killed: nobody else knows of it.
    if let Some(left) = take(&mut attachment, &request.name) {
        undo(&locked, host, &left, inside.socket)?;
    }
    let name = &request.network.name;
    let is_new = request.network.kind == NetworkKind::Bridge && !locked.has_network(name)?;
    let network = bring_up(&locked, host, &request.network, notes)?;
    let made: Vec<String> = is_new.then(|| network.name.clone()).into_iter().collect();
    let mut interface = Interface::default();
    let decided = decide(&mut locked, host, owner, request, &network, &attachment.interfaces, &mut interface)
        .and_then(|()| let_forward_ports(&interface, notes));
    // Others have come and gone in that namespace.
    interface.index = choose_index(&owner.key, &request.name, ATTEMPTS);
    let part = alone(&attachment, interface);
    attachment.interfaces.0.extend(part.interfaces.0.iter().cloned());
    if let Err(error) = decided.and_then(|()| locked.note(&attachment)) {
        let error = error.besides(release_parts(&locked, &part));
        return Err(error.besides(remove_made(&locked, host, &made)));
    }
    drop(locked);
    let position = attachment.interfaces.len() - 1;
    let connected = add_link(store, host, &mut attachment, position, inside.namespace).and_then(|()| {
        let part = alone(&attachment, attachment.interfaces[position].clone());
        complete(store, host, &part, inside.socket, Vec::new())
    });
    match connected {
        Ok(()) => Ok(attachment.interfaces.0.swap_remove(position)),
        Err(error) => {
            let error = error.besides(remove_interface(store, host, owner, &request.name, inside).map(drop));
            Err(error.besides(remove_made(&store.lock()?, host, &made)))
        }
    }
}

/// Takes an interface away from a container that runs. Its default routes and published ports become those of
/// another one that can have them. The result is what the container has then; of an interface that is not
/// there nothing is changed.
///
/// # Errors
/// Something could not be undone; it stays recorded then.
pub fn remove_interface(
    store: &Store,
    host: &mut Host,
    owner: &Owner,
    name: &str,
    inside: Inside<'_>,
) -> Result<Vec<Interface>> {
    let mut locked = store.lock()?;
    let Some(mut attachment) = locked.attachment(&owner.key)? else { return Ok(Vec::new()) };
    let Some(gone) = take(&mut attachment, name) else { return Ok(attachment.interfaces.0) };
    unpublish(host, &gone)?;
    delete_end(host, &gone, inside.socket)?;
    let routes = inherit_routes(&locked, &mut attachment)?;
    let heir = inherit_ports(&locked, &mut attachment, &gone)?;
    let kept = heir.iter().flat_map(|heir| heir.interfaces.iter().flat_map(|one| one.ports.iter()));
    let kept: Vec<_> = kept.map(|published| published.port).collect();
    let mut freed = gone.clone();
    freed
        .interfaces
        .0
        .iter_mut()
        .for_each(|one| one.ports.0.retain(|published| !kept.contains(&published.port)));
    host.leave_filter();
    release_parts(&locked, &freed)?;
    locked.note(&attachment)?;
    drop(locked);
    if !routes.is_empty() {
        inside.socket.request(&routes)?;
    }
    if let Some(heir) = heir {
        for interface in &heir.interfaces {
            host.links.request(&link::port(interface, interface.host_index)?)?;
        }
        publish_ports(store, host, &heir)?;
    }
    Ok(attachment.interfaces.0)
}

/// Takes an interface out of what is recorded, as an attachment of its own.
fn take(attachment: &mut Attachment, name: &str) -> Option<Attachment> {
    let position = attachment.interfaces.iter().position(|interface| interface.name == name)?;
    let interface = attachment.interfaces.0.remove(position);
    Some(alone(attachment, interface))
}

fn alone(attachment: &Attachment, interface: Interface) -> Attachment {
    Attachment { interfaces: vec![interface].into(), ..attachment.clone() }
}

fn undo(locked: &Locked<'_>, host: &mut Host, gone: &Attachment, socket: &mut Socket) -> Result<()> {
    unpublish(host, gone)?;
    delete_end(host, gone, socket)?;
    host.leave_filter();
    release_parts(locked, gone)
}

/// Deletes the link, of which nobody else may have the name meanwhile: the caller has the container locked.
fn delete_end(host: &mut Host, gone: &Attachment, socket: &mut Socket) -> Result<()> {
    for interface in &gone.interfaces {
        match interface.kind.is_pair() {
            true => delete_link(&mut host.links, &*interface.host_name)?,
            false => delete_link(socket, &*interface.name)?,
        }
    }
    Ok(())
}

/// A family that has lost its default route gets the one of the first interface that has a gateway.
fn inherit_routes(locked: &Locked<'_>, attachment: &mut Attachment) -> Result<Vec<Message<'static>>> {
    let mut messages = Vec::new();
    for is_v4 in [true, false] {
        let default = Route::default_through(is_v4, None).to;
        if attachment.interfaces.iter().any(|one| one.routes.iter().any(|route| route.to == default)) {
            continue;
        }
        for interface in &mut attachment.interfaces.0 {
            let network = locked.network(&interface.network)?.filter(|network| !network.internal);
            let gateways =
                network.iter().flat_map(|network| network.ranges.iter().filter_map(|range| range.gateway));
            let Some(via) = gateways.into_iter().find(|via| via.0.is_ipv4() == is_v4) else { continue };
            if interface.address(is_v4).is_none() {
                continue;
            }
            let route = Route::default_through(is_v4, Some(via));
            messages.push(link::route(interface, &route)?);
            interface.routes.0.push(route);
            break;
        }
    }
    Ok(messages)
}

/// The ports of an interface that is gone become those of the first one that can have them; the result is
/// that one alone.
fn inherit_ports(
    locked: &Locked<'_>,
    attachment: &mut Attachment,
    gone: &Attachment,
) -> Result<Option<Attachment>> {
    let ports: Vec<_> = gone.interfaces.iter().flat_map(|one| one.ports.iter().map(|it| it.port)).collect();
    if ports.is_empty() {
        return Ok(None);
    }
    for position in 0..attachment.interfaces.len() {
        let interface = &attachment.interfaces[position];
        let recorded = locked.network(&interface.network)?;
        let Some(network) = recorded.filter(can_publish) else { continue };
        let published: Result<Vec<_>> =
            ports.iter().map(|port| publish(interface, &network, *port)).collect();
        // An address of the family is missing there.
        let Ok(published) = published else { continue };
        let interface = &mut attachment.interfaces.0[position];
        interface.ports.0.extend(published);
        let interface = interface.clone();
        return Ok(Some(alone(attachment, interface)));
    }
    Ok(None)
}

fn can_publish(network: &Network) -> bool {
    network.kind == NetworkKind::Bridge && !network.internal
}
