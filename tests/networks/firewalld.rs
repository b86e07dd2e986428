//! A firewalld that a test answers for, with a table of its own as the real one (2.5) makes it, at the system's message bus.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard};

use pillbox_dbus::{Message, Value};
use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Expression, Family, Hook, MetaKey, Reject, Rule, Socket, Table, Verdict,
    connection, table,
};

use crate::fake_bus::{error, reply, serve};

const FORWARD: &str = "filter_FORWARD";
const ZONES: &str = "filter_FORWARD_dispatch";
const EXCEPTION: &str = "org.fedoraproject.FirewallD1.Exception";

/// One that runs, until the test ends.
#[derive(Clone)]
pub struct Firewalld(Arc<Mutex<State>>);

struct State {
    /// Its table belongs to it.
    filter: Socket,
    /// Links, and the zones that they are in.
    zones: Vec<(String, String)>,
    /// It fails to do what it is asked for.
    is_broken: bool,
    /// Nobody has its name on the bus.
    is_gone: bool,
    /// The bus closes every connection.
    is_deaf: bool,
    /// How many clients there were.
    clients: usize,
}

impl Firewalld {
    /// Starts it, with the bus.
    pub fn start() -> Firewalld {
        fs::create_dir_all("/run/dbus").expect("a folder");
        // Where systemd has not started it.
        fs::write("/run/firewalld.pid", "1\n").expect("a file");
        let listener = UnixListener::bind("/run/dbus/system_bus_socket").expect("a bus");
        let filter = Socket::open().expect("nf_tables");
        let state =
            State { filter, zones: Vec::new(), is_broken: false, is_gone: false, is_deaf: false, clients: 0 };
        let firewalld = Firewalld(Arc::new(Mutex::new(state)));
        firewalld.state().make_table(false);
        let own = firewalld.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                own.answer(&mut client.expect("a client"));
            }
        });
        firewalld
    }

    /// What `firewall-cmd --reload` does: what it was asked for is forgotten.
    pub fn reload(&self) {
        let mut state = self.state();
        state.zones.clear();
        state.make_table(true);
    }

    /// Puts a link into a zone, as an administrator does.
    pub fn put(&self, link: &str, zone: &str) {
        let mut state = self.state();
        state.zones.push((link.to_string(), zone.to_string()));
        state.let_pass();
    }

    /// From now on it fails to do what it is asked for, or does it again.
    pub fn break_down(&self, is_broken: bool) {
        self.state().is_broken = is_broken;
    }

    /// It ends, but for its table.
    pub fn leave(&self) {
        self.state().is_gone = true;
    }

    /// The bus answers nobody from now on, or everybody again.
    pub fn turn_deaf(&self, is_deaf: bool) {
        self.state().is_deaf = is_deaf;
    }

    /// The links that are in a zone, and which.
    pub fn zones(&self) -> Vec<(String, String)> {
        self.state().zones.clone()
    }

    /// How many clients there were so far.
    pub fn clients(&self) -> usize {
        self.state().clients
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread has panicked")
    }

    fn answer(&self, client: &mut UnixStream) {
        self.state().clients += 1;
        if self.state().is_deaf {
            return;
        }
        serve(client, |call, serial| vec![self.state().answer(call, serial)]);
    }
}

impl State {
    fn answer(&mut self, call: &Message, serial: u32) -> Vec<u8> {
        let refuse = |text: &str| error(serial, EXCEPTION, text);
        let words: Vec<&str> = call
            .body
            .iter()
            .map(|value| match value {
                Value::Text(text) => text.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        match (call.member.as_deref(), &words[..]) {
            (Some("NameHasOwner"), ["org.fedoraproject.FirewallD1"]) => {
                reply(serial, &[Value::Boolean(!self.is_gone)])
            }
            (Some("getZoneOfInterface"), [link]) => {
                let zone = self.zones.iter().find(|(known, _)| known == link);
                reply(serial, &[Value::text(zone.map_or("", |(_, zone)| zone))])
            }
            (Some("addInterface"), _) if self.is_broken => refuse("COMMAND_FAILED: no memory"),
            (Some("addInterface"), [zone, link]) => {
                if self.zones.iter().any(|(known, _)| known == link) {
                    return refuse(&format!("ZONE_CONFLICT: '{link}' already bound to a zone"));
                }
                self.zones.push((link.to_string(), zone.to_string()));
                self.let_pass();
                reply(serial, &[Value::text(*zone)])
            }
            (Some("removeInterface"), [zone, link]) => {
                let before = self.zones.len();
                self.zones.retain(|(known, of)| (known.as_str(), of.as_str()) != (*link, *zone));
                if self.zones.len() == before {
                    return refuse(&format!("UNKNOWN_INTERFACE: '{link}' is not in any zone"));
                }
                self.let_pass();
                reply(serial, &[Value::text(*zone)])
            }
            (member, _) => panic!("{member:?} {words:?}"),
        }
    }

    fn make_table(&mut self, is_there: bool) {
        let table = Table { flags: table::OWNED, ..own() };
        let known = connection::ESTABLISHED | connection::RELATED;
        let rule = || Rule::new(FORWARD);
        let mut batch = Batch::new();
        if is_there {
            batch.delete_table(&own()).expect("table");
        }
        batch.add_table(&table).expect("table");
        let base = Base::new(ChainKind::Filter, Hook::Forward, 10);
        batch.add_chain(&own(), &Chain::based(FORWARD, base)).expect("chain");
        batch.add_chain(&own(), &Chain::new(ZONES)).expect("chain");
        for rule in [
            rule().connection_state(known).accept(),
            rule().connection_status(connection::DESTINATION_TRANSLATED).accept(),
            rule().verdict(Verdict::Jump(ZONES.to_string())),
            rule().then(Expression::Reject(Reject::IcmpAny(3))),
        ] {
            batch.add_rule(&own(), &rule).expect("rule");
        }
        self.filter.commit(&batch).expect("nf_tables");
    }

    /// Lets pass what comes from a link in the zone that lets everything pass.
    fn let_pass(&mut self) {
        let mut batch = Batch::new();
        batch.flush_chain(&own(), ZONES).expect("chain");
        for (link, _) in self.zones.iter().filter(|(_, zone)| zone == "trusted") {
            let name = pillbox_netlink::nft::Value::interface(link);
            batch
                .add_rule(&own(), &Rule::new(ZONES).meta_is(MetaKey::IncomingName, name).accept())
                .expect("rule");
        }
        self.filter.commit(&batch).expect("nf_tables");
    }
}

fn own() -> Table {
    Table::new(Family::Inet, "firewalld")
}
