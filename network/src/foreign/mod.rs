//! The packet filters of others on the same host. An accept in our table does not outweigh a drop in another one: so two
//! rules of ours in the chain of iptables let the packets of a bridge pass, which iptables shows and keeps as its own. Nothing
//! of others' is changed.

mod drops;
mod iptables;

use pillbox_netlink::nft::{Batch, Family};

use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::network::Network;

/// Which tables of iptables-legacy exist.
const LEGACY: &str = "/proc/net/ip_tables_names";

/// The families of iptables, and which of them is for IPv4.
const FAMILIES: [(Family, bool); 2] = [(Family::Ip, true), (Family::Ip6, false)];

/// Whoever comes up or goes down changes one of these: dockerd, ufw.
const WITNESSES: [&str; 2] = ["/run/docker.pid", "/etc/ufw/ufw.conf"];

/// A number that changes when another program that has packet filters has been started or ended, most likely.
pub fn witness() -> u64 {
    let of = |path: &&str| rustix::fs::stat(*path).map_or(0, |status| status.st_ino ^ status.st_mtime as u64);
    WITNESSES.iter().map(of).fold(0, |sum, number| u64::rotate_left(sum, 7) ^ number)
}

/// Lets the packets of a bridge pass others' chains; whether anything was missing for that in the chains of iptables. `notes`
/// gets what drops them all the same, a line each.
///
/// # Errors
/// The filter table of iptables-legacy is loaded, which cannot be looked into: the remedy is named. The kernel refuses
/// something.
pub fn let_pass(host: &mut Host, network: &Network, notes: &mut Vec<String>) -> Result<bool> {
    refuse_legacy(&network.link)?;
    let batch = missing(host, network, FAMILIES)?;
    if !batch.is_empty() {
        host.commit(&batch)?;
    }
    drops::find(host.filter()?, &network.link, notes)?;
    Ok(!batch.is_empty())
}

/// Finds what keeps the packets of a bridge from passing, a line each in `problems`.
///
/// # Errors
/// The kernel refuses a question.
pub fn find_faults(host: &mut Host, network: &Network, problems: &mut Vec<String>) -> Result<()> {
    let Network { name, link, .. } = network;
    problems.extend(refuse_legacy(link).err().map(|error| error.to_string()));
    // In the other family's chain, which may have been made since, nothing of the network's own is dropped.
    let own = FAMILIES.into_iter().filter(|(_, is_v4)| network.has_family(*is_v4));
    if !missing(host, network, own)?.is_empty() {
        problems.push(format!(
            "network {name}: the chains of iptables lack the rules that let its packets pass: somebody has flushed them \
             (pillbox net gc)"
        ));
    }
    drops::find(host.filter()?, link, problems)
}

/// Removes what lets a bridge's packets pass.
///
/// # Errors
/// The kernel refuses something.
pub fn forget(host: &mut Host, link: &str) -> Result<()> {
    for family in [Family::Ip, Family::Ip6] {
        iptables::forget(host.filter()?, family, link)?;
    }
    Ok(())
}

/// What is missing in the chains of iptables for those families.
fn missing(
    host: &mut Host,
    network: &Network,
    families: impl IntoIterator<Item = (Family, bool)>,
) -> Result<Batch> {
    let filter = host.filter()?;
    let mut batch = Batch::new();
    for (family, is_v4) in families {
        iptables::add_missing(filter, &mut batch, family, &network.link, network.has_family(is_v4))?;
    }
    Ok(batch)
}

/// The chains of iptables-legacy are seen by nobody else, and may drop everything.
fn refuse_legacy(link: &str) -> Result<()> {
    let tables = std::fs::read_to_string(LEGACY).unwrap_or_default();
    if !tables.lines().any(|table| table == "filter") {
        return Ok(());
    }
    Err(Error::of(
        Kind::Host,
        format_args!(
            "link {link}: iptables-legacy has a filter table, whose rules cannot be seen: use iptables-nft \
             (update-alternatives --set iptables /usr/sbin/iptables-nft) and remove it (modprobe -r iptable_filter)"
        ),
    ))
}
