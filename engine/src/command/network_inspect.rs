//! network inspect: everything that is known of networks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::documents::show_documents;
use super::network::running_on;
use super::{Arguments, Command, Flag, Global};
use crate::container::{existing_networks, subnet_documents};
use crate::error::Result;
use crate::store::Store;
use crate::time::rfc3339;

pub const INSPECT: Command = Command {
    name: "network inspect",
    aliases: &[],
    operands: "NETWORK …",
    operand_count: 1..=usize::MAX,
    help: "show networks as JSON",
    flags: &[&[Flag {
        long: "format",
        short: Some('f'),
        value: Some("FORMAT"),
        help: "json, or fields as {{.Driver}}",
    }]],
    ends_at_operand: false,
    run: inspect,
};

fn inspect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    show_documents(arguments, |name| document(&store, name))
}

/// Everything that is known of a network.
///
/// # Errors
/// There is none of that name.
pub fn document(store: &Store, name: &str) -> Result<Value> {
    let record = store.networks().find(name)?;
    let mut containers = BTreeMap::new();
    for container in running_on(store, &record.name)? {
        let folder = store.containers().find(&container.id)?;
        let Ok(known) = crate::container::inspect(store, &folder) else { continue };
        let network = &known["NetworkSettings"]["Networks"][&record.name];
        let address = |address: &str, prefix: &str| match network[address].as_str() {
            None | Some("") => String::new(),
            Some(text) => format!("{text}/{}", network[prefix]),
        };
        let (four, six) =
            (address("IPAddress", "IPPrefixLen"), address("GlobalIPv6Address", "GlobalIPv6PrefixLen"));
        let mac = &network["MacAddress"];
        let document =
            json!({"Name": container.name, "MacAddress": mac, "IPv4Address": four, "IPv6Address": six});
        containers.insert(container.id, document);
    }
    let ranges = subnet_documents(&record, &existing_networks(store)?);
    Ok(json!({
        "Name": record.name,
        "Id": record.id,
        "Created": rfc3339(record.created),
        "Scope": "local",
        "Driver": record.driver.name(),
        "IPAM": {"Driver": "default", "Config": ranges},
        "Internal": record.internal,
        "Subnets": ranges.iter().map(|range| &range["Subnet"]).collect::<Vec<_>>(),
        "Link": record.link,
        "Containers": containers,
        "Labels": record.labels,
    }))
}
