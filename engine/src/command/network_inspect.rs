//! network inspect: everything that is known of networks.

use serde_json::Value;

use super::documents::show_documents;
use super::{Arguments, Command, Flag, Global};
use crate::container::NetworkDocuments;
use crate::error::{Error, Result};
use crate::store::Store;

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
    let found = NetworkDocuments::look(store)?.with_containers(store)?.find(name);
    let Some(mut document) = found else {
        // A record that cannot be read says so itself.
        store.networks().find(name)?;
        return Err(Error::not_found(format!("network {name}: there is none")));
    };
    let subnets = document["IPAM"]["Config"].as_array().into_iter().flatten();
    document["Subnets"] = subnets.map(|range| range["Subnet"].clone()).collect();
    if let Ok(record) = store.networks().find(document["Id"].as_str().unwrap_or_default()) {
        document["Link"] = record.link.into();
    }
    Ok(document)
}
