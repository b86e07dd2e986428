//! Chains of others that drop what they do not know.

use pillbox_netlink::nft::{Family, Hook, Listed, Outline, Policy, Socket, Table, chain, outline, table};

use super::iptables;
use crate::error::Result;
use crate::filter;

/// Finds the chains that drop the packets of a bridge, a line each in `notes`: those that drop what no rule of theirs accepts,
/// and have no rule that names the bridge.
pub fn find(filter: &mut Socket, link: &str, notes: &mut Vec<String>) -> Result<()> {
    for (table, Listed { value: chain, .. }) in chain::list_all(filter)? {
        let Some(base) =
            chain.base.filter(|base| base.hook == Hook::Forward && is_others(&table, &chain.name))
        else {
            continue;
        };
        let rules = outline::list(filter, &table, &chain.name)?;
        let drops = base.policy == Some(Policy::Drop) || rules.last().is_some_and(|last| last.refuses_all);
        // Whoever has written such a rule knows the bridge.
        let names = |rule: &Outline| rule.links.iter().any(|name| name.starts_with(link.as_bytes()));
        if drops && !rules.iter().any(names) && !is_dormant(filter, &table)? {
            let (family, table, chain) = (table.family.name(), table.name, chain.name);
            notes.push(format!(
                "link {link}: chain {family} {table} {chain} drops what is forwarded: let it accept packets from and to {link}"
            ));
        }
    }
    Ok(())
}

/// Whether it sees routed packets, and is neither ours nor one for which there are other means.
fn is_others(table: &Table, chain: &str) -> bool {
    let is_routed = matches!(table.family, Family::Inet | Family::Ip | Family::Ip6);
    let is_iptables =
        table.family != Family::Inet && table.name == iptables::TABLE && chain == iptables::FORWARD;
    is_routed && !is_iptables && table.name != filter::TABLE
}

fn is_dormant(filter: &mut Socket, table: &Table) -> Result<bool> {
    let found = table::find(filter, table.family, &table.name)?;
    Ok(found.is_some_and(|found| found.value.flags & table::DORMANT != 0))
}
