//! Links whose packets are to pass the filters of others: the bridges of networks that the host serves, and
//! the host's ends of pairs with published ports.

use crate::attachment::{Attachment, Interface};
use crate::error::{Error, Result};
use crate::firewalld::{TABLE, ZONE};
use crate::foreign::{self, Passage};
use crate::host::Host;
use crate::network::{Network, NetworkKind};
use crate::store::Locked;

/// Lets the packets of a network's bridge pass; whether anything was missing for that. `notes` gets what
/// drops them all the same, a line each. The caller records the network.
///
/// # Errors
/// iptables-legacy drops them: the remedy is named. The kernel refuses something.
pub(crate) fn open(
    locked: &Locked<'_>,
    host: &mut Host,
    network: &mut Network,
    notes: &mut Vec<String>,
) -> Result<bool> {
    network.crowded = foreign::is_crowded(host)?;
    network.witness = foreign::witness(host, network.crowded)?;
    foreign::refuse_legacy(&Passage::from(&*network))?;
    let is_changed = foreign::put_rules(host, &Passage::from(&*network))?;
    let zone = trust(locked, host, network).unwrap_or_else(|error| {
        let link = &network.link;
        notes.push(format!("link {link}: {error}: {}", remedy(link)));
        Zone::Known
    });
    let but = (zone != Zone::None).then_some(TABLE);
    foreign::find_drops(host, &network.link, but, notes)?;
    Ok(is_changed || zone == Zone::Joined)
}

/// What firewalld does with a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// It does not run.
    None,
    /// The bridge was in a zone.
    Known,
    /// The bridge is in a zone now.
    Joined,
}

/// Lets firewalld put a network's bridge into a zone.
fn trust(locked: &Locked<'_>, host: &mut Host, network: &mut Network) -> Result<Zone> {
    let Some(firewalld) = host.firewalld()? else { return Ok(Zone::None) };
    if firewalld.knows(&network.link)? {
        return Ok(Zone::Known);
    }
    if !network.trusted {
        // Recorded first, so that taking the network down undoes it.
        network.trusted = true;
        locked.put_network(network)?;
    }
    firewalld.trust(&network.link)?;
    Ok(Zone::Joined)
}

fn remedy(link: &str) -> String {
    format!("let its packets pass (firewall-cmd --zone={ZONE} --add-interface={link})")
}

/// Makes sure that a network's bridge is still let pass, at each container: on a crowded host chains are
/// flushed and firewalld reloads. Where it was not, all others are looked at as well.
///
/// # Errors
/// As for [`open`].
pub(crate) fn keep_open(
    locked: &Locked<'_>,
    host: &mut Host,
    mut network: Network,
    notes: &mut Vec<String>,
) -> Result<Network> {
    if !network.is_served() {
        return Ok(network);
    }
    let is_same = network.witness == foreign::witness(host, network.crowded)?;
    if is_same && (!network.crowded || foreign::seem_to_have_rules(host, &Passage::from(&network))?) {
        return Ok(network);
    }
    open(locked, host, &mut network, notes)?;
    locked.put_network(&network)?;
    let mut failed = Vec::new();
    open_all(locked, host, Some(&network.name), notes, &mut failed)?;
    // What keeps others from it is none of this command's errors.
    notes.extend(failed.iter().map(Error::to_string));
    Ok(network)
}

/// Lets the packets of everything recorded pass, except for the network `but`, and says which did not pass
/// before. A failure goes into `failed`, and does not keep the others from passing.
///
/// # Errors
/// The records cannot be read or written.
pub(crate) fn open_all(
    locked: &Locked<'_>,
    host: &mut Host,
    but: Option<&str>,
    notes: &mut Vec<String>,
    failed: &mut Vec<Error>,
) -> Result<Vec<String>> {
    let mut opened = Vec::new();
    for mut network in locked.networks()? {
        if Some(&*network.name) == but || !network.ready || !network.is_served() {
            continue;
        }
        match open(locked, host, &mut network, notes) {
            Ok(is_changed) => {
                locked.put_network(&network)?;
                opened.extend(is_changed.then_some(format!("network {}", network.name)));
            }
            Err(error) => failed.push(error),
        }
    }
    for attachment in locked.attachments()? {
        match open_pairs(host, &attachment) {
            Ok(is_changed) => opened.extend(is_changed.then_some(format!("container {}", attachment.owner))),
            Err(error) => failed.push(error),
        }
    }
    Ok(opened)
}

/// Undoes [`open`], when the last network with that bridge goes.
///
/// # Errors
/// The kernel or firewalld refuses something.
pub(crate) fn close(host: &mut Host, network: &Network) -> Result<()> {
    foreign::forget_rules(host, &network.link)?;
    if network.trusted
        && let Some(firewalld) = host.firewalld()?
    {
        firewalld.forget(&network.link)?;
    }
    Ok(())
}

/// Lets what is for the published ports of an attachment's pairs pass; whether anything was missing for that.
/// firewalld lets all published ports pass.
///
/// # Errors
/// As for [`open`].
pub(crate) fn open_pairs(host: &mut Host, attachment: &Attachment) -> Result<bool> {
    let mut is_changed = false;
    for passage in pairs(attachment) {
        foreign::refuse_legacy(&passage)?;
        is_changed |= foreign::put_rules(host, &passage)?;
    }
    Ok(is_changed)
}

/// Undoes [`open_pairs`].
///
/// # Errors
/// The kernel refuses something.
pub(crate) fn close_pairs(host: &mut Host, attachment: &Attachment) -> Result<()> {
    pairs(attachment).try_for_each(|passage| foreign::forget_rules(host, passage.link))
}

/// Whether an attachment has plain pairs with published ports.
pub(crate) fn has_pairs(attachment: &Attachment) -> bool {
    pairs(attachment).next().is_some()
}

fn pairs(attachment: &Attachment) -> impl Iterator<Item = Passage<'_>> {
    let is_pair = |interface: &&Interface| interface.kind == NetworkKind::Pair && !interface.ports.is_empty();
    attachment.interfaces.iter().filter(is_pair).map(|interface| Passage {
        link: &interface.host_name,
        has_v4: interface.ports.iter().any(|published| published.v4.is_some()),
        has_v6: interface.ports.iter().any(|published| published.v6.is_some()),
    })
}

/// Finds what keeps the packets of a network from passing, a line each in `problems`.
///
/// # Errors
/// The kernel refuses a question.
pub(crate) fn find_faults(host: &mut Host, network: &Network, problems: &mut Vec<String>) -> Result<()> {
    let Network { name, link, .. } = network;
    let passage = Passage::from(network);
    find_missing(host, &format!("network {name}"), &passage, problems)?;
    let mut but = None;
    match host.firewalld()?.map(|firewalld| firewalld.knows(link)).transpose() {
        Ok(None) => {}
        Ok(Some(is_known)) => {
            but = Some(TABLE);
            if !is_known {
                problems.push(format!(
                    "network {name}: firewalld has its bridge {link} in no zone, and rejects its packets: it has reloaded \
                     (pillbox net gc)"
                ));
            }
        }
        Err(error) => problems.push(format!("network {name}: {error}: {}", remedy(link))),
    }
    foreign::find_drops(host, link, but, problems)
}

/// As [`find_faults`], for the pairs of an attachment.
///
/// # Errors
/// The same.
pub(crate) fn find_faults_of_pairs(
    host: &mut Host,
    attachment: &Attachment,
    problems: &mut Vec<String>,
) -> Result<()> {
    let whose = format!("container {}", attachment.owner);
    pairs(attachment).try_for_each(|passage| find_missing(host, &whose, &passage, problems))
}

fn find_missing(
    host: &mut Host,
    whose: &str,
    passage: &Passage<'_>,
    problems: &mut Vec<String>,
) -> Result<()> {
    problems.extend(foreign::refuse_legacy(passage).err().map(|error| error.to_string()));
    if !foreign::has_rules(host, passage)? {
        problems.push(format!(
            "{whose}: the rules that let its packets pass are missing in the chains of iptables, or stand before \
             others': somebody has changed them (pillbox net gc)"
        ));
    }
    Ok(())
}
