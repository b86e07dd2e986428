//! Golden messages: what the netconf.json in golden/ compile to, a line for what each message does, and below
//! it its bytes. `PILLBOX_BLESS=1 cargo test` rewrites them.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::*;
use crate::allot::publish;
use crate::bring_up;
use crate::netconf::Netconf;

/// The index of a bridge, or of the link that others lie over.
const BELOW: u32 = 40;

/// The container, in a store of the test's own.
const KEY: &str = "0123456789abcdef-web";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/attach/golden")
}

/// What is sent, in order.
#[derive(Default)]
struct Sent(String);

impl Sent {
    fn section(&mut self, name: &str) {
        let _ = writeln!(self.0, "{name}:");
    }

    fn messages(&mut self, messages: &[Message<'_>]) {
        for message in messages {
            self.line(message.what(), &message.encode(0).expect("short enough"));
        }
    }

    fn batch(&mut self, batch: &Batch) {
        let wire = batch.encode(0).expect("short enough");
        let mut messages = split(&wire);
        // What begins and ends a transaction is the same for all.
        assert_eq!(messages.len(), batch.len() + 2);
        messages.remove(0);
        batch.lines().zip(messages).for_each(|(line, message)| self.line(line, message));
    }

    fn line(&mut self, line: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(self.0, "    {line}\n        {hex}");
    }
}

/// Messages one behind the other, each of which begins with its length.
fn split(mut wire: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((length, _)) = wire.split_first_chunk() {
        let length = u32::from_ne_bytes(*length) as usize;
        messages.push(&wire[..length]);
        wire = &wire[length.next_multiple_of(4)..];
    }
    messages
}

/// What a netconf.json is compiled to where no address is taken.
fn compile(netconf: &[u8], store: &Path) -> String {
    let netconf = Netconf::parse(netconf).expect("a netconf.json");
    let store = Store::open(store).expect("a store");
    let mut locked = store.lock().expect("locked");
    let (key, name) = (KEY.to_string(), "web".to_string());
    let owner = Owner { key, name, holder: Holder::default(), namespace: None };
    let mut networks: Vec<Network> = Vec::new();
    let mut attachment =
        Attachment { key: owner.key.clone(), owner: owner.name.clone(), ..Attachment::default() };
    for request in &netconf.requests {
        let mut network = bring_up::as_asked(&request.network);
        if network.kind == NetworkKind::Bridge {
            network.choose_gateways();
        }
        let before = &attachment.interfaces.0;
        let mut interface = as_asked(&owner, request, &network, before.len()).expect("an interface");
        if network.kind.is_pair() {
            let name = request.host_name.clone();
            let name = name.unwrap_or_else(|| link::host_name(KEY, &request.name, 0));
            interface.set_host_end((name, choose_index(KEY, &request.name, 0)));
        }
        // Ports are bound on the host when they are reserved.
        let without_ports = Request { ports: Vec::new(), ..request.clone() };
        allot(&mut locked, KEY, &without_ports, &network, before, &mut interface).expect("addresses");
        let ports = request.ports.iter().map(|port| publish(&interface, &network, *port).expect("a port"));
        interface.ports = ports.collect::<Vec<_>>().into();
        attachment.interfaces.0.push(interface);
        if !networks.iter().any(|other| other.name == network.name) {
            networks.push(network);
        }
    }
    describe(&networks, &attachment)
}

fn describe(networks: &[Network], attachment: &Attachment) -> String {
    let mut sent = Sent::default();
    for network in networks.iter().filter(|network| network.kind == NetworkKind::Bridge) {
        sent.section(&format!("network {}", network.name));
        sent.messages(&link::bridge(network, BELOW).expect("a bridge"));
        let mut batch = Batch::new();
        filter::add_network(&mut batch, network).expect("elements");
        sent.batch(&batch);
    }
    // Its number stands in the message.
    let namespace = std::io::stdin();
    for interface in &attachment.interfaces {
        sent.section(&format!("interface {}, on the host", interface.name));
        let below = (interface.kind != NetworkKind::Pair).then_some(BELOW);
        sent.messages(&link::host_end(interface, below, namespace.as_fd()).expect("a link"));
        sent.section(&format!("interface {}, inside", interface.name));
        sent.messages(&link::inside(interface).expect("addresses and routes"));
    }
    for (what, change) in [("published", Change::Add), ("unpublished", Change::Delete)] {
        let mut batch = Batch::new();
        filter::change_ports(&mut batch, attachment, change).expect("elements");
        if !batch.is_empty() {
            sent.section(&format!("ports, {what}"));
            sent.batch(&batch);
        }
    }
    sent.0
}

#[track_caller]
fn is_as_recorded(name: &str, found: &str) {
    let path = golden().join(format!("{name}.txt"));
    if std::env::var_os("PILLBOX_BLESS").is_some() {
        fs::write(&path, found).expect("a golden file");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differs = || found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{name} differs (PILLBOX_BLESS=1 writes it anew): {:?}", differs());
}

#[test]
fn requests_compile_to_the_messages_that_were_recorded() {
    let folder = std::env::temp_dir().join(format!("pillbox-attach-{}", std::process::id()));
    let mut names: Vec<String> = fs::read_dir(golden())
        .expect("golden/")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(String::from))
        .collect();
    names.sort();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let netconf = fs::read(golden().join(format!("{name}.json"))).expect("a netconf.json");
        is_as_recorded(&name, &compile(&netconf, &folder.join(&name)));
    }
    fs::remove_dir_all(folder).expect("the stores");
}
