//! Chains of others that drop what they do not know.

use pillbox_netlink::nft::{
    Chain, Family, Hook, Listed, Outline, Policy, Socket, Table, chain, outline, table,
};

use super::iptables;
use crate::error::Result;
use crate::filter;

/// Finds the chains that drop the packets of a bridge, a line each in `notes`: those that drop what no rule
/// of theirs accepts, and have no rule that names the bridge. The table `but` is left out, if one is named:
/// its owner has been asked.
pub fn find(filter: &mut Socket, link: &str, but: Option<&str>, notes: &mut Vec<String>) -> Result<()> {
    for (table, Listed { value: chain, .. }) in chain::list_all(filter)? {
        let is_asked = but.is_some_and(|but| table.family == Family::Inet && table.name == but);
        if is_asked || !may_drop(&table, &chain) {
            continue;
        }
        let rules = outline::list(filter, &table, &chain.name, &[])?;
        let policy = chain.base.and_then(|base| base.policy);
        let drops = policy == Some(Policy::Drop) || rules.last().is_some_and(Outline::refuses_all);
        // The author of such a rule knows the bridge.
        let names = |rule: &Outline| rule.links.iter().any(|name| is_link(name, link));
        if drops && !rules.iter().any(names) && !is_dormant(filter, &table)? {
            let (family, table, chain) = (table.family.name(), table.name, chain.name);
            notes.push(format!(
                "link {link}: chain {family} {table} {chain} drops what is forwarded: let it accept packets from and to {link}"
            ));
        }
    }
    Ok(())
}

/// Whether a name in a rule is that of a link: with zeros behind it, or without as a pattern of how names
/// begin.
fn is_link(name: &[u8], link: &str) -> bool {
    match name.iter().position(|byte| *byte == 0) {
        Some(end) => &name[..end] == link.as_bytes(),
        None => link.as_bytes().starts_with(name),
    }
}

/// Whether it sees routed packets before our rules do, or beside them, and is not ours.
fn may_drop(table: &Table, chain: &Chain) -> bool {
    let is_routed = matches!(table.family, Family::Inet | Family::Ip | Family::Ip6);
    let is_of_iptables = table.family != Family::Inet && table.name == iptables::TABLE;
    if is_of_iptables && [iptables::FORWARD, iptables::FOR_USERS].contains(&&*chain.name) {
        return chain.name == iptables::FOR_USERS;
    }
    let is_base = chain.base.as_ref().is_some_and(|base| base.hook == Hook::Forward);
    is_base && is_routed && table.name != filter::TABLE
}

fn is_dormant(filter: &mut Socket, table: &Table) -> Result<bool> {
    let found = table::find(filter, table.family, &table.name)?;
    Ok(found.is_some_and(|found| found.value.flags & table::DORMANT != 0))
}
