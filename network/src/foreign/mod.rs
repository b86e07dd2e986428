//! The packet filters of others on the same host. An accept in our table does not outweigh a drop in another
//! one: so two rules of ours in the chain of iptables let the packets of a link pass, which iptables shows
//! and keeps as its own, and firewalld is asked to let it pass. Nothing of others' is changed.

mod drops;
mod iptables;
mod legacy;
mod xtables;
#[cfg(test)]
mod xtables_tests;

use pillbox_netlink::nft::{Batch, Family};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::firewalld;
use crate::host::Host;
use crate::network::Network;

/// There as long as it runs: dockerd, firewalld without systemd and with it.
const RUNNING: [&str; 3] =
    ["/run/docker.pid", "/run/firewalld.pid", "/run/systemd/units/invocation:firewalld.service"];

/// ufw's settings, which it writes when it is told something.
const SETTINGS: [&str; 2] = ["/etc/ufw/ufw.conf", "/etc/default/ufw"];

/// How often rules are put that somebody changes at the same time.
const ATTEMPTS: u32 = 4;

/// A link whose packets are to pass, and whether it has addresses of either family.
#[derive(Debug, Clone)]
pub struct Passage<'a> {
    pub link: &'a str,
    pub has_v4: bool,
    pub has_v6: bool,
}

impl<'a> From<&'a Network> for Passage<'a> {
    fn from(network: &'a Network) -> Self {
        Passage { link: &network.link, has_v4: network.has_family(true), has_v6: network.has_family(false) }
    }
}

/// Whether others filter what is forwarded, with iptables or firewalld, or are about to: then anything may
/// change without a witness.
///
/// # Errors
/// The kernel refuses a question.
pub fn is_crowded(host: &mut Host) -> Result<bool> {
    let filter = host.filter()?;
    Ok(RUNNING.iter().any(|path| rustix::fs::lstat(*path).is_ok())
        || firewalld::table_handle(filter)? != 0
        || iptables::is_used(filter, Family::Ip)?
        || iptables::is_used(filter, Family::Ip6)?)
}

/// A number that changes when another program that has packet filters has been started or ended, most likely,
/// and on a crowded host when firewalld has reloaded its own.
///
/// # Errors
/// The kernel refuses a question.
pub fn witness(host: &mut Host, is_crowded: bool) -> Result<u64> {
    let of =
        |path: &&str| rustix::fs::lstat(*path).map_or(0, |status| status.st_ino ^ status.st_mtime as u64);
    let handle = if is_crowded { firewalld::table_handle(host.filter()?)? } else { 0 };
    let numbers = RUNNING.iter().chain(&SETTINGS).map(of).chain([handle]);
    Ok(numbers.fold(0, |sum, number| u64::rotate_left(sum, 7) ^ number))
}

/// Puts the rules for a link into the chains of iptables; whether any was missing, or stood before those of
/// others.
///
/// # Errors
/// The kernel refuses something.
pub fn put_rules(host: &mut Host, passage: &Passage<'_>) -> Result<bool> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let batch = missing(host, passage, families(passage))?;
        if batch.is_empty() {
            return Ok(attempt > 1);
        }
        match host.filter()?.commit(&batch).map_err(Error::from) {
            // Somebody has removed the rule beside them meanwhile.
            Err(error) if error.errno() == Some(Errno::NOENT) && attempt < ATTEMPTS => {}
            committed => return committed.map(|()| true),
        }
    }
}

/// Whether all rules for a link stand where they should, in the chains of the families that it has addresses
/// of: another family's may have been made since.
///
/// # Errors
/// The kernel refuses a question.
pub fn has_rules(host: &mut Host, passage: &Passage<'_>) -> Result<bool> {
    let own = families(passage).into_iter().filter(|(_, is_own)| *is_own);
    Ok(missing(host, passage, own)?.is_empty())
}

/// Whether all rules for a link stand where they should, most likely: asked for each container, and so in few
/// questions.
///
/// # Errors
/// The kernel refuses a question.
pub fn seem_to_have_rules(host: &mut Host, passage: &Passage<'_>) -> Result<bool> {
    let mut doubtful = Vec::new();
    for family in families(passage) {
        // A family that the link has no addresses of may have no chain.
        if !iptables::seem_to_stand(host.filter()?, family.0, passage.link)? {
            doubtful.push(family);
        }
    }
    Ok(doubtful.is_empty() || missing(host, passage, doubtful)?.is_empty())
}

/// Removes the rules for a link.
///
/// # Errors
/// The kernel refuses something.
pub fn forget_rules(host: &mut Host, link: &str) -> Result<()> {
    // A kernel without the packet filter has none.
    if !host.has_filter()? {
        return Ok(());
    }
    for family in [Family::Ip, Family::Ip6] {
        iptables::forget(host.filter()?, family, link)?;
    }
    Ok(())
}

/// Makes sure that iptables-legacy does not drop a link's packets: nobody can put a rule there beside its own
/// programs.
///
/// # Errors
/// It does: the remedy is named. Its rules cannot be read.
pub fn refuse_legacy(passage: &Passage<'_>) -> Result<()> {
    legacy::refuse(passage)
}

/// Finds what still drops the packets of a link, a line each in `notes`. Leaves out the table of that name,
/// whose owner has been asked.
///
/// # Errors
/// The kernel refuses a question.
pub fn find_drops(host: &mut Host, link: &str, but: Option<&str>, notes: &mut Vec<String>) -> Result<()> {
    drops::find(host.filter()?, link, but, notes)
}

/// The families of iptables, and whether a link has addresses of them.
fn families(passage: &Passage<'_>) -> [(Family, bool); 2] {
    [(Family::Ip, passage.has_v4), (Family::Ip6, passage.has_v6)]
}

/// What is missing in the chains of iptables for those families.
fn missing(
    host: &mut Host,
    passage: &Passage<'_>,
    families: impl IntoIterator<Item = (Family, bool)>,
) -> Result<Batch> {
    let filter = host.filter()?;
    let mut batch = Batch::new();
    for (family, may_make) in families {
        iptables::add_missing(filter, &mut batch, family, passage.link, may_make)?;
    }
    Ok(batch)
}
