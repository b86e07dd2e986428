//! Undoes what connects a container, however much of it was made.

use pillbox_netlink::link as netlink_link;
use pillbox_netlink::nft::Batch;
use rustix::io::Errno;

use crate::attachment::Attachment;
use crate::bring_up::has_table;
use crate::error::{Error, Result};
use crate::filter::{self, Change};
use crate::host::Host;
use crate::link;
use crate::namespace;
use crate::store::{Locked, Store};
use crate::tracked;

/// Undoes an attachment by its key; one that is not there is none to undo.
///
/// # Errors
/// Something could not be undone; it stays recorded then.
pub fn detach(store: &Store, key: &str) -> Result<()> {
    let locked = store.lock()?;
    match locked.attachment(key)? {
        Some(attachment) => undo(&locked, &mut Host::open()?, &attachment),
        None => Ok(()),
    }
}

/// Undoes an attachment: published ports, links that do not go by themselves, addresses; the record last.
///
/// # Errors
/// As for [`detach`].
pub fn undo(locked: &Locked<'_>, host: &mut Host, attachment: &Attachment) -> Result<()> {
    unpublish(host, attachment)?;
    delete_links(host, attachment)?;
    host.leave_filter();
    locked.release_ports(attachment)?;
    locked.release_leases(attachment)?;
    locked.strike(&attachment.key)
}

fn unpublish(host: &mut Host, attachment: &Attachment) -> Result<()> {
    let mut batch = Batch::new();
    // Adding what is there already changes nothing, and then all of it can be deleted.
    for change in [Change::Add, Change::Delete] {
        filter::change_ports(&mut batch, attachment, change)?;
    }
    if batch.is_empty() || !has_table(host)? {
        return Ok(());
    }
    match host.filter()?.commit(&batch).map_err(Error::from) {
        // Somebody else's leads elsewhere: ours is gone.
        Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
        committed => committed,
    }?;
    tracked::forget(host, attachment)
}

/// Deletes links that do not go by themselves. Others go with their network namespace, a moment later; deleting one takes
/// the kernel longer than all the rest. A name that somebody has asked for is to be free at once.
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
        let deleted = if interface.kind.is_pair() {
            host.links.request(&[netlink_link::delete(&*interface.host_name)?])
        } else {
            // There is no end of it on the host.
            if inside.is_none() {
                inside = attachment.namespace.as_deref().map(namespace::open_socket).transpose()?.flatten();
            }
            let Some(socket) = &mut inside else { continue };
            socket.request(&[netlink_link::delete(&*interface.name)?])
        };
        match deleted.map_err(Error::from) {
            Err(error) if error.errno() == Some(Errno::NODEV) => {}
            deleted => deleted?,
        }
    }
    Ok(())
}
