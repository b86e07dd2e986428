//! Containers with a netconf.json.

use std::cell::OnceCell;
use std::fs;
use std::ops::Deref;

use serde_json::{Value, json};

use crate::harness::{Container, wait_for};
use crate::host::Host;
use crate::inventory::Inventory;
use crate::standpoint::{Standpoint, ip};

/// A container with a netconf.json, whose program does nothing until it is killed.
pub struct Connected<'h> {
    container: Container<'h>,
    pid: OnceCell<u32>,
}

impl<'h> Connected<'h> {
    /// Its bundle, with that netconf.json beside config.json.
    pub fn new(host: &'h Host, netconf: &Value) -> Connected<'h> {
        let mut container = Container::new(&host.runtime);
        container.spec["process"]["args"] = json!(["/bin/sleep", "1000000"]);
        let connected = Connected { container, pid: OnceCell::new() };
        connected.write_netconf(netconf);
        connected
    }

    /// Created and started, which must succeed silently.
    #[track_caller]
    pub fn started(host: &'h Host, netconf: &Value) -> Connected<'h> {
        let connected = Connected::new(host, netconf);
        connected.create_and_start();
        connected
    }

    pub fn write_netconf(&self, netconf: &Value) {
        fs::write(self.bundle().join("netconf.json"), netconf.to_string()).expect("netconf.json");
    }

    /// Its network namespace.
    #[track_caller]
    pub fn at(&self) -> Standpoint {
        Standpoint::Of(*self.pid.get_or_init(|| self.container.pid()))
    }

    /// What `state` says of its interfaces.
    #[track_caller]
    pub fn network(&self) -> Value {
        self.state()["network"].clone()
    }

    /// Its first address of the family, as `state` has it.
    #[track_caller]
    pub fn address(&self, is_v4: bool) -> String {
        let network = self.network();
        let addresses = network[0]["addresses"].as_array().unwrap_or_else(|| panic!("{network}"));
        let mut addresses = addresses.iter().map(|address| address.as_str().expect("an address"));
        let address = addresses.find(|address| address.contains(':') != is_v4);
        address
            .and_then(|address| address.split('/').next())
            .unwrap_or_else(|| panic!("{network}"))
            .to_string()
    }

    /// Killed and deleted, which must leave nothing of it. Waits for its links, which the kernel takes away a moment
    /// later.
    #[track_caller]
    pub fn remove(self) {
        let ends = self.host_ends();
        self.container.delete_force().ok();
        self.container.assert_gone();
        wait_for("links that go", || {
            let links = Standpoint::Host.links();
            links.iter().all(|link| !ends.contains(&link.name)).then_some(())
        });
    }

    /// The names of its links' ends on the host, from the record of what connects it.
    pub fn host_ends(&self) -> Vec<String> {
        let records = Inventory::take().records;
        let records = records.values().filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let own = records.filter(|record| record["owner"] == json!(self.id));
        let interfaces = own.flat_map(|record| record["interfaces"].as_array().cloned().unwrap_or_default());
        let names = interfaces.filter_map(|interface| interface["hostName"].as_str().map(String::from));
        names.filter(|name| !name.is_empty()).collect()
    }

    /// To change config.json.
    pub fn spec(&mut self) -> &mut Value {
        &mut self.container.spec
    }

    pub fn container(&mut self) -> &mut Container<'h> {
        &mut self.container
    }
}

impl<'h> Deref for Connected<'h> {
    type Target = Container<'h>;

    fn deref(&self) -> &Container<'h> {
        &self.container
    }
}

/// A netconf.json for one interface on a bridge with those ports, and everything else chosen.
pub fn bridged(ports: &[&str]) -> Value {
    json!({"model": {"type": "bridge"}, "interfaces": [{"ports": ports}]})
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
pub fn socket(address: &str, port: u16) -> String {
    std::net::SocketAddr::new(ip(address), port).to_string()
}
