//! What is in the packet filter.

use pillbox_netlink::nft::{Expression, Listed, Rule, Socket, chain, element, rule, set, table};

/// Everything in the packet filter, a line each, without what was counted; rules with their numbers, for their order counts.
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
            let rules = rules.into_iter().map(|listed| without_counts(listed.value)).enumerate();
            lines.extend(rules.map(|(number, rule)| match rule.comment().as_deref() {
                // Those that let bridges pass, whichever comes first.
                Some("pillbox") => format!("{place}: {rule:?}"),
                _ => format!("{place} {number}: {rule:?}"),
            }));
        }
    }
    lines.sort();
    lines
}

fn without_counts(mut rule: Rule) -> Rule {
    for expression in &mut rule.expressions {
        if matches!(expression, Expression::Counter { .. }) {
            *expression = Expression::COUNTER;
        }
    }
    rule
}
