//! What networks leave on a host: links, rules, records.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::wait_for;
use crate::rules::rules;
use crate::standpoint::Standpoint;

/// Where pillbox keeps its records.
pub const STORE: &str = "/run/pillbox/.network";

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Names, kinds, and names of bridges that they are ports of.
    pub links: Vec<String>,
    /// Everything in the packet filter, without handles.
    pub rules: Vec<String>,
    /// The files and their texts.
    pub records: BTreeMap<String, String>,
}

impl Inventory {
    /// What is on this host now.
    pub fn take() -> Inventory {
        let mut records = BTreeMap::new();
        if Path::new(STORE).exists() {
            collect(Path::new(STORE), &mut records);
        }
        Inventory { links: links(), rules: rules(), records }
    }

    /// Waits until there are the links again that there were: they go with a network namespace, which takes a moment.
    #[track_caller]
    pub fn wait_for_links(&self) {
        wait_for(&format!("these links and no others: {:?}", self.links), || {
            (links() == self.links).then_some(())
        });
    }

    /// Asserts that there is again what there was.
    #[track_caller]
    pub fn is_back(&self) {
        self.wait_for_links();
        let now = Inventory::take();
        assert_same("link", &now.links, &self.links);
        assert_same("rule", &now.rules, &self.rules);
        let records = |of: &Inventory| -> Vec<String> {
            of.records.iter().map(|(name, text)| format!("{name}: {text}")).collect()
        };
        assert_same("record", &records(&now), &records(self));
    }
}

/// Asserts that two lists are the same; says only what differs.
#[track_caller]
pub fn assert_same(what: &str, now: &[String], before: &[String]) {
    let left: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    let gone: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    assert!(left.is_empty() && gone.is_empty(), "{what}s left: {left:#?}; gone: {gone:#?}");
    assert_eq!(now.len(), before.len(), "{what}s: how many");
}

fn links() -> Vec<String> {
    let links = Standpoint::Host.links();
    let name = |index| links.iter().find(|link| link.index == index).map_or("?", |link| &link.name);
    let kind = |kind: &Option<String>| kind.clone().unwrap_or_default();
    let mut names: Vec<String> = links
        .iter()
        .map(|link| format!("{} {} {}", link.name, kind(&link.kind), link.master.map_or("", name)))
        .collect();
    names.sort();
    names
}

/// Adds what reserves or records something: neither folders nor whose turn is next, nor what a killed command was writing.
fn collect(path: &Path, records: &mut BTreeMap<String, String>) {
    let name = path.file_name().expect("a name").to_string_lossy();
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder").flatten();
        entries.for_each(|entry| collect(&entry.path(), records));
    } else if !["lock", "boot", "new"].contains(&&*name) && !name.starts_with("order-") {
        let text = fs::read_link(path).map(|target| target.display().to_string());
        let text = text.or_else(|_| fs::read_to_string(path)).expect("a record");
        records.insert(path.display().to_string(), text);
    }
}
