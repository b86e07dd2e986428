//! What there is on this host, what is wrong with it, and mending that: what commands left that were killed,
//! and what others have removed.

use pillbox_netlink::nft::{Batch, Element, element};

use crate::attachment::Attachment;
use crate::bring_up::{
    add_elements, finish, has_pair_ports, has_table, let_forward, let_forward_ports, restore_rules, take_down,
};
use crate::detach;
use crate::error::{Error, Result};
use crate::filter;
use crate::host::{self, Host};
use crate::network::{Network, NetworkKind};
use crate::passage;
use crate::port::Port;
use crate::store::{Locked, Store, Swept};

/// Everything that is recorded.
#[derive(Debug, Default)]
pub struct Listing {
    /// The networks, in the order of their names.
    pub networks: Vec<Network>,
    /// The attachments, and whether what they live with is still there.
    pub attachments: Vec<(Attachment, bool)>,
}

/// What is recorded on this host.
///
/// # Errors
/// A record cannot be read.
pub fn list(store: &Store) -> Result<Listing> {
    let locked = store.lock()?;
    let mut listing = Listing { networks: locked.networks()?, ..Listing::default() };
    for attachment in locked.attachments()? {
        let is_alive = attachment.is_alive(store.boot())?;
        listing.attachments.push((attachment, is_alive));
    }
    Ok(listing)
}

/// What is wrong, a line each.
///
/// # Errors
/// The records cannot be listed, or the kernel refuses a question.
pub fn check(store: &Store, host: &mut Host) -> Result<Vec<String>> {
    host::check_rights()?;
    let locked = store.lock()?;
    let mut problems = Vec::new();
    let stale = locked.stale()?;
    problems.extend(stale.attachments.iter().map(|attachment| {
        format!("container {}: it is gone, and its addresses and ports are still taken", attachment.owner)
    }));
    problems.extend(stale.unreadable.iter().map(Error::to_string));
    describe(&locked.left_behind()?, &mut problems);
    let (networks, half_made) =
        locked.networks()?.into_iter().partition::<Vec<_>, _>(|network| network.ready);
    problems.extend(half_made.iter().map(|network| format!("network {}: {HALF_MADE}", network.name)));
    let is_flushed = needs_filter(&locked)? && !has_table(host)?;
    for network in &networks {
        check_network(host, network, &mut problems)?;
        if network.is_served() && !is_flushed {
            passage::find_faults(host, network, &mut problems)?;
        }
    }
    if is_flushed {
        problems.push(format!("nf_tables: table inet {} is missing: somebody has flushed it", filter::TABLE));
        return Ok(problems);
    }
    for attachment in locked.attachments()? {
        passage::find_faults_of_pairs(host, &attachment, &mut problems)?;
        let whose = format!("container {}", attachment.owner);
        for interface in &attachment.interfaces {
            find_unforwarded(|is_v4| has_pair_ports(interface, is_v4), &whose, &mut problems)?;
        }
        for missing in missing_ports(host, &attachment)? {
            problems.push(format!("container {}: {missing} is not published any more", attachment.owner));
        }
    }
    Ok(problems)
}

const HALF_MADE: &str = "it was not made completely";

fn check_network(host: &mut Host, network: &Network, problems: &mut Vec<String>) -> Result<()> {
    let Network { name, link, .. } = network;
    if network.kind != NetworkKind::Bridge {
        return Ok(());
    }
    if host.index_of(link)?.is_none() {
        problems.push(format!("network {name}: its bridge {link} is missing"));
    }
    let is_needed = |is_v4| network.has_family(is_v4) && !network.internal && !network.bare;
    find_unforwarded(is_needed, &format!("network {name}"), problems)
}

/// The families that the host does not forward although it should.
fn find_unforwarded(is_needed: impl Fn(bool) -> bool, whose: &str, problems: &mut Vec<String>) -> Result<()> {
    for (is_v4, family) in [(true, "IPv4"), (false, "IPv6")] {
        if is_needed(is_v4) && !host::forwards(is_v4)? {
            problems.push(format!("{whose}: the host does not forward {family} packets"));
        }
    }
    Ok(())
}

/// Whether anything recorded needs our table: a network, or a plain pair with published ports.
fn needs_filter(locked: &Locked<'_>) -> Result<bool> {
    Ok(locked.networks()?.iter().any(|network| network.ready)
        || locked.attachments()?.iter().any(passage::has_pairs))
}

/// The published ports of an attachment that the packet filter does not have.
pub(crate) fn missing_ports(host: &mut Host, attachment: &Attachment) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (set, wanted) in filter::port_elements(attachment) {
        let (ports, elements): (Vec<Port>, Vec<Element>) = wanted.into_iter().unzip();
        for place in element::find_missing(host.filter()?, &filter::table(), &set, &elements)? {
            missing.push(format!("port {}", ports[place]));
        }
    }
    Ok(missing)
}

fn describe(swept: &Swept, lines: &mut Vec<String>) {
    lines.extend(
        swept
            .freed
            .iter()
            .map(|(reservation, _)| format!("{reservation}: nobody has it, and it is still taken")),
    );
    lines.extend(swept.unreadable.iter().map(Error::to_string));
}

/// Removes what is left of containers that are gone, and puts back what others have removed. The result is
/// what was done, a line each.
///
/// # Errors
/// Something could not be mended: the first error, after all else has been tried.
pub fn mend(store: &Store, host: &mut Host) -> Result<Vec<String>> {
    host::check_rights()?;
    let mut locked = store.lock()?;
    let mut done = Vec::new();
    let stale = locked.stale()?;
    let mut first_error = stale.unreadable.into_iter().next().map_or(Ok(()), Err);
    for attachment in stale.attachments {
        match detach::undo(&locked, host, &attachment) {
            Ok(()) => done.push(format!("container {}: its addresses and ports are free", attachment.owner)),
            Err(error) => first_error = first_error.and(Err(error)),
        }
    }
    if detach::delete_remains(host)? > 0 {
        done.push("links gone-*: they are deleted".to_string());
    }
    let swept = locked.sweep()?;
    done.extend(swept.freed.iter().map(|(reservation, _)| format!("{reservation}: it is free")));
    first_error = first_error.and(swept.unreadable.into_iter().next().map_or(Ok(()), Err));
    first_error.and(put_back(&mut locked, host, &mut done)).map(|()| done)
}

fn put_back(locked: &mut Locked<'_>, host: &mut Host, done: &mut Vec<String>) -> Result<()> {
    let (had_table, is_needed) = (has_table(host)?, needs_filter(locked)?);
    let mut unready = Vec::new();
    for mut network in locked.networks()? {
        let is_lost = network.ready
            && network.kind == NetworkKind::Bridge
            && !network.foreign
            && host.index_of(&network.link)?.is_none();
        if is_lost {
            // Recorded, so that a later command goes on if this one is killed.
            network.ready = false;
            locked.put_network(&network)?;
        }
        if !network.ready {
            unready.push((network, is_lost));
        }
    }
    for (mut network, is_lost) in unready {
        let Network { name, link, .. } = &network;
        let shown = format!("network {name}: ");
        let what = if is_lost {
            format!("its bridge {link} is there again")
        } else if locked.user(name)?.is_some() {
            format!("{HALF_MADE}, and is now")
        } else {
            take_down(locked, host, &network)?;
            done.push(format!("{shown}{HALF_MADE}, and is gone"));
            continue;
        };
        let index = host.index_of(link)?;
        finish(locked, host, &mut network, index, None, done)?;
        done.push(shown + &what);
    }
    if !is_needed {
        return remove_unneeded(locked, host, done);
    }
    if !has_table(host)? {
        restore_rules(locked, host)?;
    } else if had_table {
        // Adding what is there already changes nothing.
        let mut batch = Batch::new();
        add_elements(locked, &mut batch)?;
        host.commit(&batch)?;
    }
    if !had_table {
        done.push(format!("nf_tables: table inet {} is there again", filter::TABLE));
    }
    for network in locked.networks()?.iter().filter(|network| network.is_served()) {
        let_forward(network, done)?;
    }
    for attachment in locked.attachments()? {
        attachment.interfaces.iter().try_for_each(|interface| let_forward_ports(interface, done))?;
    }
    let mut failed = Vec::new();
    let opened = passage::open_all(locked, host, None, done, &mut failed)?;
    done.extend(
        opened.into_iter().map(|whose| format!("{whose}: others' chains let its packets pass again")),
    );
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// Removes what is the same for all networks, if it is there and nothing is recorded.
fn remove_unneeded(locked: &Locked<'_>, host: &mut Host, done: &mut Vec<String>) -> Result<()> {
    if locked.is_empty()? && has_table(host)? {
        let mut batch = Batch::new();
        filter::remove_base(&mut batch)?;
        host.commit(&batch)?;
        done.push(format!("nf_tables: table inet {} is gone: nobody needs it", filter::TABLE));
    }
    Ok(())
}

/// Removes a network of which no container is left.
///
/// # Errors
/// There is none of that name, or a container is connected to it.
pub fn remove(store: &Store, host: &mut Host, name: &str) -> Result<()> {
    use crate::error::Kind::{Missing, Taken};
    host::check_rights()?;
    let locked = store.lock()?;
    let missing = || Error::of(Missing, format_args!("network {name}: there is none: see pillbox net list"));
    let network = locked.network(name)?.ok_or_else(missing)?;
    if let Some(user) = locked.user(name)? {
        return Err(Error::of(
            Taken,
            format_args!("network {name}: container {} is connected to it: delete it first", user.owner),
        ));
    }
    take_down(&locked, host, &network)
}
