//! What is in the packet filter.

use pillbox_netlink::nft::{Listed, Socket, chain, element, rule, set, table};

/// Everything in the packet filter, a line each; rules with their numbers, for their order counts.
pub fn rules() -> Vec<String> {
    let mut socket = Socket::open().expect("nf_tables");
    let socket = &mut socket;
    let mut lines = Vec::new();
    for Listed { value: table, .. } in table::list(socket).expect("tables") {
        let place = format!("{} {}", table.family.name(), table.name);
        lines.push(format!("table {place}"));
        for Listed { value: set, .. } in set::list(socket, &table).expect("sets") {
            lines.push(format!("{place}: {set:?}"));
            let elements = element::list(socket, &table, &set).expect("elements");
            lines.extend(elements.iter().map(|element| format!("{place} {}: {element:?}", set.name)));
        }
        for Listed { value: chain, .. } in chain::list(socket, &table).expect("chains") {
            lines.push(format!("{place}: {chain:?}"));
            let rules = rule::list(socket, &table, Some(&chain.name)).expect("rules");
            let rules = rules.iter().enumerate();
            lines.extend(rules.map(|(number, rule)| format!("{place} {number}: {:?}", rule.value)));
        }
    }
    lines.sort();
    lines
}
