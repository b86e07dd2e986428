//! net: the networks that pillbox has made on this host.

use std::path::Path;

use pillbox::container::{STORE, check_attachments, collect_garbage, worded};
use pillbox::error::{Error, Result};
use pillbox::text::json;
use pillbox_network::host::Host;
use pillbox_network::inspect::{self, Listing};
use pillbox_network::store::Store;
use pillbox_network::{Attachment, Network};
use serde::Serialize;

use super::table::table;
use super::{cni_networks, cni_settings, print, root};
use crate::arguments::{Arguments, Global};

pub fn net(global: &Global, arguments: Arguments) -> Result<u8> {
    let word = arguments.operand(0)?;
    let most = if word == "rm" { 2 } else { 1 };
    if let Some(operand) = arguments.operands.get(most) {
        let operand = operand.display();
        return Err(Error::formatted(format_args!("net {word}: {operand:?} is one operand too many")));
    }
    for flag in ["cni", "cni-network"] {
        if word != "gc" && arguments.value(flag).is_some() {
            return Err(Error::formatted(format_args!("net {word}: --{flag}: is for net gc alone")));
        }
    }
    // Where there is no store nothing has been made, and nothing is made now.
    let store = Store::find(Path::new(STORE)).map_err(worded)?;
    match (word, store) {
        ("list", store) => list(store.as_ref(), &arguments),
        ("check", store) => check(global, store.as_ref()),
        ("gc", store) => mend(global, store.as_ref(), &arguments),
        ("rm", Some(store)) => {
            let name = arguments.operand(1)?;
            Host::open().and_then(|mut host| inspect::remove(&store, &mut host, name)).map_err(worded)?;
            Ok(0)
        }
        ("rm", None) => {
            let name = arguments.operand(1)?;
            Err(Error::formatted(format_args!("network {name}: there is none: see pillbox net list")))
        }
        _ => Err(Error::formatted(format_args!("net {word}: must be list, check, gc or rm NAME"))),
    }
}

fn check(global: &Global, store: Option<&Store>) -> Result<u8> {
    let mut problems = check_attachments(&root(global))?;
    if let Some(store) = store {
        let own = Host::open().and_then(|mut host| inspect::check(store, &mut host));
        problems.splice(0..0, own.map_err(worded)?);
    }
    print(&lines(&problems))?;
    Ok(u8::from(!problems.is_empty()))
}

fn mend(global: &Global, store: Option<&Store>, arguments: &Arguments) -> Result<u8> {
    let networks = cni_networks(global, arguments)?;
    let mut done = match store {
        Some(store) => Host::open().and_then(|mut host| inspect::mend(store, &mut host)).map_err(worded)?,
        None => Vec::new(),
    };
    if !networks.is_empty() {
        done.extend(collect_garbage(&root(global), &networks, &cni_settings(arguments)?)?);
    }
    print(&lines(&done))?;
    Ok(0)
}

fn lines(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

#[derive(Serialize)]
struct Document<'l> {
    networks: &'l [Network],
    attachments: Vec<AttachmentDocument<'l>>,
}

#[derive(Serialize)]
struct AttachmentDocument<'l> {
    attachment: &'l Attachment,
    alive: bool,
}

fn list(store: Option<&Store>, arguments: &Arguments) -> Result<u8> {
    let format = arguments.value("format").map_or("table".into(), |format| format.to_string_lossy());
    let listing = store.map_or(Ok(Listing::default()), inspect::list).map_err(worded)?;
    let text = match &*format {
        "json" => {
            let attachments = listing.attachments.iter();
            let attachments =
                attachments.map(|(attachment, alive)| AttachmentDocument { attachment, alive: *alive });
            let document = Document { networks: &listing.networks, attachments: attachments.collect() };
            json::pretty(&json::to_string(&document)?) + "\n"
        }
        "table" => tables(&listing),
        other => return Err(Error::formatted(format_args!("--format {other}: must be table or json"))),
    };
    print(&text)?;
    Ok(0)
}

/// The networks, and below them the containers with their interfaces.
fn tables(listing: &Listing) -> String {
    let Listing { networks, attachments } = listing;
    let join = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(" ");
    let mut cells = "NETWORK\0KIND\0LINK\0SUBNETS\0CONTAINERS\0".to_string();
    for Network { name, kind, link, ranges, .. } in networks {
        let of_network = |attachment: &Attachment| {
            attachment.interfaces.iter().any(|interface| interface.network == *name)
        };
        let count = attachments.iter().filter(|(attachment, _)| of_network(attachment)).count();
        let subnets = join(&mut ranges.iter().map(|range| range.subnet.to_string()));
        for cell in [name, kind.name(), link, &subnets, &count.to_string()] {
            cells.extend([cell, "\0"]);
        }
    }
    let mut text = table(5, &cells);
    cells = "CONTAINER\0INTERFACE\0NETWORK\0ADDRESSES\0PORTS\0".to_string();
    for (attachment, is_alive) in attachments {
        let owner = if *is_alive { attachment.owner.clone() } else { format!("{} (gone)", attachment.owner) };
        for interface in &attachment.interfaces {
            let addresses = join(&mut interface.addresses.iter().map(|address| address.to_string()));
            let ports = interface.ports.iter().map(|published| published.port);
            let ports = join(&mut ports.map(|port| format!("{port}->{}", port.container_port)));
            for cell in [&owner, &interface.name, &interface.network, &addresses, &ports] {
                cells.extend([cell, "\0"]);
            }
        }
    }
    if !attachments.is_empty() {
        text += "\n";
        text += &table(5, &cells);
    }
    text
}
