//! What networks leave on a machine: links, tables of the packet filter, and pillbox's records of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pillbox_netlink::nft::{self, Batch, Table};
use pillbox_netlink::{Socket, link};

/// Where pillbox keeps its records.
const STORE: &str = "/run/pillbox/.network";

/// The folders of what is recorded; beside them are a lock, the boot, and whose turn is next.
const RECORDS: [&str; 4] = ["networks", "attachments", "leases", "ports"];

/// All traces, as texts. What cannot be read counts as empty: a kernel without netfilter has nothing in it.
pub fn all() -> BTreeSet<String> {
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let links = links.map(|link| format!("link {}", link.file_name().to_string_lossy()));
    let tables = tables().into_iter().map(|table| format!("table {} {}", table.family.name(), table.name));
    let mut found: BTreeSet<String> = links.chain(tables).collect();
    for folder in RECORDS {
        collect_records(&Path::new(STORE).join(folder), &mut found);
    }
    found
}

fn tables() -> Vec<Table> {
    let listed = nft::Socket::open().and_then(|mut socket| nft::table::list(&mut socket));
    listed.unwrap_or_default().into_iter().map(|listed| listed.value).collect()
}

fn collect_records(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // The order in which addresses become free again is no trace of anybody.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_records(&path, found);
        } else if !entry.file_name().as_encoded_bytes().starts_with(b"order-") {
            found.insert(format!("record {}", path.display()));
        }
    }
}

/// Removes what is not in `before`, as far as possible.
pub fn clear(before: &BTreeSet<String>) {
    let now = all();
    let new: Vec<&String> = now.difference(before).collect();
    if let Ok(mut socket) = Socket::open() {
        for name in new.iter().filter_map(|trace| trace.strip_prefix("link ")) {
            let _ = link::delete(name).and_then(|delete| socket.request(&[delete]));
        }
    }
    for table in tables() {
        if new.iter().any(|trace| **trace == format!("table {} {}", table.family.name(), table.name)) {
            let mut batch = Batch::new();
            let _ = batch.delete_table(&table).and_then(|batch| nft::Socket::open()?.commit(batch));
        }
    }
    for path in new.iter().filter_map(|trace| trace.strip_prefix("record ")) {
        let _ = fs::remove_file(path);
    }
}
