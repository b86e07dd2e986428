//! The networks of the machine on which containers are made, and what is left on it of one of them.

use std::fs;
use std::io;
use std::path::Path;

use pillbox_netlink::nft::{self, Batch};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};

use crate::rules::rules;

/// Where pillbox keeps its records.
const STORE: &str = "/run/pillbox/.network";

/// The network of all containers, and its bridge.
pub const NETWORK: &str = "pillbox0";

/// Makes the machine one that forwards: otherwise the first container of a network says that this was turned on.
pub fn prepare() -> io::Result<()> {
    let up = link::set_up(LOOPBACK_INDEX).and_then(|up| Socket::open()?.request(&[up]));
    up.map_err(io::Error::other)?;
    ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]
        .into_iter()
        .try_for_each(|name| fs::write(Path::new("/proc/sys/net").join(name), "1"))
}

/// Whether the network was set up.
pub fn is_there() -> bool {
    Path::new(STORE).join("networks").join(NETWORK).exists()
}

/// What there is of a single container: its links, its records, its elements in the packet filter.
pub fn of_a_container() -> Vec<String> {
    let mut left: Vec<String> =
        links().into_iter().filter(|name| name != NETWORK).map(|name| format!("link {name}")).collect();
    for folder in ["attachments", "leases", "ports"] {
        collect(&Path::new(STORE).join(folder), &mut left);
    }
    // An element has its owner as a comment.
    let is_element = |rule: &String| rule.contains(" ports") && rule.contains(": Element");
    left.extend(rules().into_iter().filter(is_element).map(|rule| format!("rule {rule}")));
    left
}

/// What there is of networks: links, and everything in the packet filter.
pub fn of_networks() -> Vec<String> {
    let links = links().into_iter().map(|name| format!("link {name}"));
    links.chain(rules().into_iter().map(|rule| format!("rule {rule}"))).collect()
}

/// Removes all of it, so that the next case starts clean.
pub fn clear() -> io::Result<()> {
    let remove = |socket: &mut nft::Socket| {
        let mut batch = Batch::new();
        let tables = nft::table::list(socket)?;
        for table in &tables {
            batch.delete_table(&table.value)?;
        }
        if tables.is_empty() { Ok(()) } else { socket.commit(&batch) }
    };
    nft::Socket::open().and_then(|mut socket| remove(&mut socket)).map_err(io::Error::other)?;
    let mut socket = Socket::open().map_err(io::Error::other)?;
    for name in links() {
        // The other end of a pair goes with it.
        let _ = link::delete(name.as_str()).and_then(|delete| socket.request(&[delete]));
    }
    match fs::remove_dir_all(STORE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The names of all links but the loopback.
fn links() -> Vec<String> {
    let links = Socket::open().and_then(|mut socket| link::list(&mut socket)).unwrap_or_default();
    links.into_iter().map(|link| link.name).filter(|name| name != "lo").collect()
}

/// Adds the files and links below a folder, but not whose turn is next.
fn collect(folder: &Path, left: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), left),
            _ if entry.file_name().to_string_lossy().starts_with("order-") => {}
            _ => left.push(format!("record {}", entry.path().display())),
        }
    }
}
