//! network ls: which networks there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::filter::{Filters, is_labelled, is_named};
use super::format::{Format, Heads};
use super::network::networks_in_use;
use super::template::LABELS;
use super::{Arguments, Command, Flag, Global, print, tell_broken};
use crate::container::{NetworkDocuments, is_own_network};
use crate::error::Result;
use crate::order::{self, Collect};
use crate::time::{Moment, parse_rfc3339, spoken};

pub const COMMAND: Command = Command {
    name: "network ls",
    aliases: &["network list"],
    operands: "",
    operand_count: 0..=0,
    help: "list networks",
    flags: &[&[
        Flag { long: "quiet", short: Some('q'), value: None, help: "ids alone" },
        Flag { long: "no-trunc", short: None, value: None, help: "nothing is shortened" },
        Flag {
            long: "filter",
            short: Some('f'),
            value: Some("NAME=VALUE"),
            help: "driver, id, label, name, scope, type or dangling, =…",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.Name}}" },
    ]],
    ends_at_operand: false,
    run: ls,
};

const HEADS: &Heads = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

fn ls(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let filters = Filters::parse(arguments, &["driver", "id", "label", "name", "scope", "type", "dangling"])?;
    filters.check_words("type", &["custom", "builtin"])?;
    filters.check_words("dangling", &["true", "false", "1", "0"])?;
    let store = global.store()?;
    tell_broken(&store.broken_networks()?);
    let used = networks_in_use(&store)?;
    let mut documents = NetworkDocuments::look(&store)?.all();
    documents.retain(|document| is_wanted(document, &used, &filters));
    order::sort_by(&mut documents, |one, other| text(one, "Name").cmp(text(other, "Name")));
    let whole = arguments.is_set("no-trunc");
    if arguments.is_set("quiet") {
        let ids = documents.iter().map(|document| format!("{}\n", shown_id(document, whole)));
        return print(&ids.collect::<String>());
    }
    let rows: Vec<Value> = documents.iter().map(|document| fields(document, whole)).collect();
    print(&format.show(&rows, HEADS, &["ID", "Name", "Driver", "Scope"])?)
}

fn is_wanted(document: &Value, used: &BTreeSet<String>, filters: &Filters) -> bool {
    let name = text(document, "Name");
    let is_own = is_own_network(name);
    let kind = if is_own { "builtin" } else { "custom" };
    filters.any("driver", |value| text(document, "Driver") == value)
        && filters.any("id", |value| text(document, "Id").contains(value))
        && filters.all("label", |value| is_labelled(&labels(document), value))
        && filters.any("name", |value| is_named(name, value))
        && filters.any("scope", |value| text(document, "Scope") == value)
        && filters.any("type", |value| value == kind)
        // Docker: what is always there dangles never.
        && filters.all("dangling", |value| {
            matches!(value, "true" | "1") != (is_own || used.contains(name))
        })
}

fn text<'d>(document: &'d Value, member: &str) -> &'d str {
    document[member].as_str().unwrap_or_default()
}

fn labels(document: &Value) -> BTreeMap<String, String> {
    let labels = document["Labels"].as_object().into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_string())).collect_map()
}

fn shown_id(document: &Value, whole: bool) -> &str {
    let id = text(document, "Id");
    if whole { id } else { id.get(..12).unwrap_or(id) }
}

fn fields(document: &Value, whole: bool) -> Value {
    let labels = labels(document);
    let shown = labels.iter().map(|(name, value)| format!("{name}={value}"));
    let created = parse_rfc3339(text(document, "Created")).unwrap_or(Moment(0));
    json!({
        "ID": shown_id(document, whole),
        "Name": document["Name"],
        "Driver": document["Driver"],
        "Scope": document["Scope"],
        "IPv4": document["EnableIPv4"].to_string(),
        "IPv6": document["EnableIPv6"].to_string(),
        "Internal": document["Internal"].to_string(),
        "CreatedAt": spoken(created),
        "Labels": shown.collect::<Vec<_>>().join(","),
        LABELS: labels,
    })
}
