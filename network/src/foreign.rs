//! The packet filters of others on the same host. An accept in our table does not outweigh a drop in another one: where
//! iptables drops what is forwarded, two rules of ours in its chain let the packets of our bridges pass, which iptables
//! shows and keeps as its own. Nothing of others' is changed.

use pillbox_netlink::nft::{
    Batch, Family, Hook, Listed, MetaKey, Place, Policy, Rule, Table, Value, chain, rule, table,
};

use crate::error::{Error, Kind, Result};
use crate::filter::TABLE;
use crate::host::Host;

/// What iptables shows beside our rules, and by which they are found again.
const COMMENT: &str = "pillbox";

/// The chain that Docker leaves to others, and asks first.
const FOR_USERS: &str = "DOCKER-USER";

/// The chain of what is forwarded.
const FORWARD: &str = "FORWARD";

/// Which tables of iptables-legacy exist.
const LEGACY: &str = "/proc/net/ip_tables_names";

/// Whoever comes up or goes down changes one of these.
const WITNESSES: [&str; 2] = ["/run/docker.pid", "/run/firewalld.pid"];

/// A number that changes when another program that has packet filters has been started or ended, most likely.
pub fn witness() -> u64 {
    let of = |path: &&str| rustix::fs::stat(*path).map_or(0, |status| status.st_ino ^ status.st_mtime as u64);
    WITNESSES.iter().map(of).fold(0, |sum, number| sum.rotate_left(7) ^ number)
}

/// Lets the packets of a bridge pass others' chains. `notes` gets what drops them all the same, a line each.
///
/// # Errors
/// The filter table of iptables-legacy is loaded, which cannot be looked into: the remedy is named.
pub fn let_pass(host: &mut Host, link: &str, notes: &mut Vec<String>) -> Result<()> {
    refuse_legacy(link)?;
    let filter = host.filter()?;
    let mut batch = Batch::new();
    for family in [Family::Ip, Family::Ip6] {
        let Some((table, chain)) = chain_of(filter, family)? else { continue };
        for rule in accepts(&chain, link) {
            if rule::find_like(filter, &table, &rule)?.is_empty() {
                batch.place_rule(&table, &rule, Place::First)?;
            }
        }
    }
    if !batch.is_empty() {
        filter.commit(&batch)?;
    }
    find_drops(host, link, notes)
}

/// Finds the chains that drop the packets of a bridge, a line each in `notes`.
///
/// # Errors
/// The kernel refuses a question.
pub fn find_drops(host: &mut Host, link: &str, notes: &mut Vec<String>) -> Result<()> {
    for (table, chain) in dropping(host.filter()?)? {
        let (family, table) = (table.family.name(), table.name);
        notes.push(format!(
            "link {link}: chain {family} {table} {chain} drops what is forwarded: let it accept packets from and to {link}"
        ));
    }
    Ok(())
}

/// Removes the rules for a bridge from others' chains.
///
/// # Errors
/// The kernel refuses something.
pub fn forget(host: &mut Host, link: &str) -> Result<()> {
    let filter = host.filter()?;
    let mut batch = Batch::new();
    for family in [Family::Ip, Family::Ip6] {
        let table = Table::new(family, "filter");
        // Docker may have come later.
        for chain in [FOR_USERS, FORWARD] {
            if chain::find(filter, &table, chain)?.is_none() {
                continue;
            }
            for rule in accepts(chain, link) {
                for handle in rule::find_like(filter, &table, &rule)? {
                    batch.delete_rule(&table, chain, handle)?;
                }
            }
        }
    }
    if batch.is_empty() { Ok(()) } else { Ok(filter.commit(&batch)?) }
}

/// Where rules for all that is forwarded stand in iptables' table; none where iptables has not been used.
fn chain_of(filter: &mut pillbox_netlink::nft::Socket, family: Family) -> Result<Option<(Table, String)>> {
    let table = Table::new(family, "filter");
    for chain in [FOR_USERS, FORWARD] {
        if chain::find(filter, &table, chain)?.is_some() {
            return Ok(Some((table, chain.to_string())));
        }
    }
    Ok(None)
}

/// What comes from a bridge and what goes there, as iptables writes it: it takes rules in other forms for none of its own.
fn accepts(chain: &str, link: &str) -> [Rule; 2] {
    [MetaKey::IncomingName, MetaKey::OutgoingName]
        .map(|key| Rule::new(chain).meta_is(key, Value::text(link)).counted().accept().commented(COMMENT))
}

/// The chains of others that drop what no rule of theirs accepts, but for those of iptables.
fn dropping(filter: &mut pillbox_netlink::nft::Socket) -> Result<Vec<(Table, String)>> {
    let drops = |listed: &Listed<chain::Chain>| {
        let base = listed.value.base.as_ref();
        base.is_some_and(|base| base.hook == Hook::Forward && base.policy == Some(Policy::Drop))
    };
    let is_routed = |family| matches!(family, Family::Inet | Family::Ip | Family::Ip6);
    let mut found = Vec::new();
    for (table, listed) in chain::list_all(filter)? {
        let is_iptables =
            table.name == "filter" && table.family != Family::Inet && listed.value.name == FORWARD;
        if drops(&listed) && is_routed(table.family) && table.name != TABLE && !is_iptables {
            found.push((table, listed.value.name));
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let dormant = table::list(filter)?.into_iter().map(|listed| listed.value);
    let dormant: Vec<Table> = dormant.filter(|table| table.flags & table::DORMANT != 0).collect();
    found.retain(|(table, _)| {
        !dormant.iter().any(|other| other.family == table.family && other.name == table.name)
    });
    Ok(found)
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
