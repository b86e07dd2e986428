//! Undoes what connects a container, however much of it was made.

use pillbox_netlink::Socket;
use pillbox_netlink::link::{self as netlink_link, Which};
use pillbox_netlink::nft::Batch;
use rustix::io::Errno;

use crate::attachment::Attachment;
use crate::bring_up::has_table;
use crate::error::{Error, Result};
use crate::filter::{self, Change};
use crate::host::Host;
use crate::link::{self, NAMES};
use crate::namespace;
use crate::passage;
use crate::store::{Locked, Store};
use crate::tracked;

/// Undoes an attachment by its key. Of one that is not there, what was reserved for it is given back.
///
/// # Errors
/// Something could not be undone; it stays recorded then.
pub fn detach(store: &Store, key: &str) -> Result<()> {
    let locked = store.lock()?;
    match locked.attachment(key)? {
        Some(attachment) => undo(&locked, &mut Host::open()?, &attachment),
        // A command that was killed before it recorded anything may have reserved something.
        None => locked.sweep_after(key),
    }
}

/// Links that were cut off, and are still to be deleted: that takes the kernel 15 ms and longer than all the
/// rest.
pub struct Remains {
    host: Host,
    /// Their names. Another command may have deleted them by then, and a new link may have got an index of
    /// theirs.
    links: Vec<String>,
}

impl Remains {
    /// Deletes them. Those that go with their network namespace meanwhile are none to delete.
    ///
    /// # Errors
    /// The kernel refuses one; the others are deleted nevertheless.
    pub fn delete(mut self) -> Result<()> {
        let delete = |link: String| delete_link(&mut self.host.links, &*link);
        self.links.into_iter().map(delete).fold(Ok(()), Result::and)
    }
}

/// As [`detach`] for an attachment with one interface, but the links of a namespace that may stay are only
/// cut off: they are down and have other names. A caller that cannot delete them leaves them to the
/// namespace's end.
///
/// # Errors
/// As for [`detach`].
pub fn cut_off(store: &Store, key: &str, interface: &str) -> Result<Option<Remains>> {
    let locked = store.lock()?;
    let mut host = Host::open()?;
    let Some(attachment) = locked.attachment(key)? else {
        // The command that struck it may have been killed right after that.
        let mut links = Vec::new();
        for attempt in 0..NAMES {
            let name = link::name_of_remains(&link::host_name(key, interface, attempt));
            if host.index_of(&name)?.is_some() {
                links.push(name);
            }
        }
        return Ok(Some(Remains { host, links }).filter(|remains| !remains.links.is_empty()));
    };
    unpublish(&mut host, &attachment)?;
    let links = set_aside(&mut host, &attachment)?;
    let released = release(&locked, &mut host, &attachment);
    let remains = Remains { host, links };
    match released {
        Ok(()) => Ok(Some(remains).filter(|remains| !remains.links.is_empty())),
        Err(error) => Err(error.besides(remains.delete())),
    }
}

/// Undoes an attachment: published ports, links that do not go by themselves, addresses; the record last.
///
/// # Errors
/// As for [`detach`].
pub fn undo(locked: &Locked<'_>, host: &mut Host, attachment: &Attachment) -> Result<()> {
    unpublish(host, attachment)?;
    delete_links(host, attachment)?;
    release(locked, host, attachment)
}

fn release(locked: &Locked<'_>, host: &mut Host, attachment: &Attachment) -> Result<()> {
    host.leave_filter();
    release_parts(locked, attachment)?;
    locked.strike(&attachment.key)
}

/// Gives ports and addresses back.
pub(crate) fn release_parts(locked: &Locked<'_>, attachment: &Attachment) -> Result<()> {
    locked.release_ports(attachment)?;
    locked.release_leases(attachment)
}

pub(crate) fn unpublish(host: &mut Host, attachment: &Attachment) -> Result<()> {
    passage::close_pairs(host, attachment)?;
    let mut batch = Batch::new();
    // Adding what is there already changes nothing, and then all of it can be deleted.
    for change in [Change::Add, Change::Delete] {
        filter::change_ports(&mut batch, attachment, change)?;
    }
    if batch.is_empty() || !has_table(host)? {
        return Ok(());
    }
    match host.commit(&batch) {
        // Somebody else's leads elsewhere: ours is gone.
        Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
        committed => committed,
    }?;
    tracked::forget(host, attachment)
}

/// Sets both ends of each pair down and gives them other names, so that nothing is in the way of the next
/// ones. Returns the names of those that are there.
fn set_aside(host: &mut Host, attachment: &Attachment) -> Result<Vec<String>> {
    let mut inside = match &attachment.namespace {
        Some(path) if attachment.holder.is_there()? => namespace::open_socket(path)?,
        _ => None,
    };
    let mut links = Vec::new();
    for interface in attachment.interfaces.iter().filter(|interface| interface.kind.is_pair()) {
        let name = link::name_of_remains(&interface.host_name);
        // Another command may have been killed behind this.
        if host.index_of(&name)?.is_some() {
            links.push(name.clone());
        }
        let Some(index) = host.index_of(&interface.host_name)? else { continue };
        let aside = |index| [netlink_link::set_down(index), netlink_link::rename(index, &name)];
        if let Some(inside) = &mut inside {
            let [down, rename] = aside(interface.index);
            // What is not there needs nothing, and what cannot be done is done when the pair is deleted.
            inside.exchange(&[down?, rename?])?;
        }
        let [down, rename] = aside(index);
        if host.links.exchange(&[down?, rename?])?.is_empty() {
            links.push(name);
        } else {
            delete_link(&mut host.links, &*interface.host_name)?;
        }
    }
    Ok(links)
}

pub(crate) fn delete_link<'a>(socket: &mut Socket, link: impl Into<Which<'a>>) -> Result<()> {
    match socket.request(&[netlink_link::delete(link)?]).map_err(Error::from) {
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        deleted => deleted,
    }
}

/// Deletes links that do not go by themselves. Others go with their network namespace, a moment later;
/// deleting one takes the kernel longer than all the rest. A name that somebody has asked for is to be free
/// at once.
fn delete_links(host: &mut Host, attachment: &Attachment) -> Result<()> {
    let mut inside = None;
    for interface in &attachment.interfaces {
        let is_asked = interface.kind.is_pair() && !link::is_host_name(&interface.host_name);
        if attachment.namespace.is_none() && !is_asked {
            continue;
        }
        // By now somebody else may have a link of that name.
        if is_asked && host.index_of(&interface.host_name)? != Some(interface.host_index) {
            continue;
        }
        if interface.kind.is_pair() {
            delete_link(&mut host.links, &*interface.host_name)?;
            continue;
        }
        // There is no end of it on the host.
        if inside.is_none() {
            inside = attachment.namespace.as_deref().map(namespace::open_socket).transpose()?.flatten();
        }
        if let Some(socket) = &mut inside {
            delete_link(socket, &*interface.name)?;
        }
    }
    Ok(())
}

/// Deletes what remains of what was cut off by commands that were killed.
///
/// # Errors
/// The kernel refuses to list or to delete links.
pub(crate) fn delete_remains(host: &mut Host) -> Result<u32> {
    let mut count = 0;
    for found in netlink_link::list(&mut host.links)? {
        if found.kind.as_deref() == Some("veth") && link::is_of_remains(&found.name) {
            delete_link(&mut host.links, &*found.name)?;
            count += 1;
        }
    }
    Ok(count)
}
