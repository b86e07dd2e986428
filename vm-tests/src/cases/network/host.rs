//! The guest as a host of containers with networks.

use std::collections::BTreeSet;
use std::fs;

use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
use serde_json::{Value, json};

use super::machine::Machine;
use super::standpoint::{Standpoint, ip};
use super::traffic::{Protocol, Server};
use crate::cases::Guest;
use crate::cases::config::Config;
use crate::cases::container::{Container, Finished, wait_until};
use crate::cases::expectation::equal;
use crate::traces;

/// What lets a host forward, by family.
pub const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

const BRIDGE_FILTERS: [&str; 2] =
    ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/// The guest, and what was there before a case.
pub struct Host<'g> {
    pub guest: &'g Guest,
    before: BTreeSet<String>,
}

/// Runs a body on the guest, and removes all networks behind it: nothing may be left of them.
pub fn on_a_host(guest: &Guest, body: impl FnOnce(&Host<'_>) -> Result<(), String>) -> Result<(), String> {
    let up = link::set_up(LOOPBACK_INDEX).and_then(|up| Socket::open()?.request(&[up]));
    up.map_err(|e| format!("the loopback: {e}"))?;
    let host = Host { guest, before: traces::all() };
    // Otherwise the first container of a network says that it has turned this on.
    set_forwarding("1")?;
    let result = body(&host).and_then(|()| host.remove_networks());
    set_forwarding("0")?;
    result
}

/// As [`on_a_host`], with another machine at the host's `out0`.
pub fn with_outside(
    guest: &Guest,
    body: impl FnOnce(&Host<'_>, &Machine) -> Result<(), String>,
) -> Result<(), String> {
    on_a_host(guest, |host| body(host, &Machine::outside()))
}

fn set_forwarding(value: &str) -> Result<(), String> {
    let there = FORWARDING.iter().filter(|name| fs::exists(format!("/proc/sys/{name}")).unwrap_or(false));
    there.into_iter().try_for_each(|name| set(name, value))
}

/// Changes a setting of the guest.
pub fn set(name: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).map_err(|e| format!("{path}: {e}"))
}

impl<'g> Host<'g> {
    /// Traces of networks that are there now and were not before the case.
    pub fn left(&self) -> Vec<String> {
        traces::all().difference(&self.before).cloned().collect()
    }

    /// Waits until there is left what was before something that must leave nothing.
    pub fn is_as_before_but(&self, left: &[String]) -> Result<(), String> {
        let gone = wait_until("nothing is left", || Ok(self.left() == left));
        gone.map_err(|e| format!("{e}: {:?}", self.left()))
    }

    /// Waits until there is what there was before: links go with a network namespace, which takes a moment.
    pub fn is_as_before(&self) -> Result<(), String> {
        self.is_as_before_but(&[])
    }

    /// What `pillbox net` prints; it must succeed.
    pub fn net(&self, arguments: &[&str]) -> Result<String, String> {
        Ok(self.guest.call(&[&["net"], arguments].concat())?.exits(0)?.stdout)
    }

    /// Asserts that all networks are as they should be, and removes them.
    pub fn remove_networks(&self) -> Result<(), String> {
        equal("net check", self.net(&["check"])?.as_str(), "")?;
        let listed: Value =
            serde_json::from_str(&self.net(&["list", "--format", "json"])?).map_err(|e| e.to_string())?;
        let names = listed["networks"].as_array().into_iter().flatten();
        for name in names.filter_map(|network| network["name"].as_str()) {
            self.net(&["rm", name])?;
        }
        // The packet filter's table stays behind a pair with ports.
        self.net(&["gc"]).map(drop)
    }

    /// A bundle with a netconf.json. The container's program does nothing.
    pub fn bundle(&self, id: &str, netconf: &Value) -> Result<Container<'g>, String> {
        let container = self.guest.container(id, Config::new(&["sleep", "1000000"]))?;
        let file = container.bundle.join("netconf.json");
        fs::write(&file, netconf.to_string()).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(container)
    }

    /// A container with that netconf.json, started.
    pub fn start(&self, id: &str, netconf: &Value) -> Result<Connected<'g>, String> {
        let container = self.bundle(id, netconf)?;
        container.launch()?;
        Connected::of(container)
    }

    /// A container on the default bridge with those ports, and servers in it called by its id.
    pub fn serve(&self, id: &str, ports: &[&str]) -> Result<(Connected<'g>, Vec<Server>), String> {
        let container = self.start(id, &bridged(ports))?;
        let servers = Protocol::ALL.map(|protocol| container.at().serve(id, protocol, 80));
        Ok((container, servers.into()))
    }

    /// Runs a body with each value of whether bridged packets pass the rules for routed ones.
    pub fn with_and_without_bridge_netfilter(
        &self,
        mut body: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        // 1 is what the module sets.
        for value in ["0", "1"] {
            BRIDGE_FILTERS.iter().try_for_each(|name| set(name, value))?;
            body(&format!("bridge-nf-call-iptables={value}"))?;
        }
        Ok(())
    }
}

/// A netconf.json for one interface on the default bridge with those ports.
pub fn bridged(ports: &[&str]) -> Value {
    json!({"model": {"type": "bridge"}, "interfaces": [{"ports": ports}]})
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
pub fn socket(address: &str, port: u16) -> String {
    std::net::SocketAddr::new(ip(address), port).to_string()
}

/// A client's question, and who is to answer it and see whom.
pub fn answers(
    from: Standpoint,
    protocol: Protocol,
    to: &str,
    expected: &str,
    how: &str,
) -> Result<(), String> {
    equal(&format!("{protocol:?} to {to} {how}"), from.ask(protocol, to).as_str(), expected)
}

/// A running container with a network.
pub struct Connected<'g> {
    pub container: Container<'g>,
    at: Standpoint,
}

impl<'g> Connected<'g> {
    pub fn of(container: Container<'g>) -> Result<Connected<'g>, String> {
        let pid = u32::try_from(container.pid()?).map_err(|e| e.to_string())?;
        Ok(Connected { container, at: Standpoint::Of(pid) })
    }

    /// Its network namespace.
    pub fn at(&self) -> Standpoint {
        self.at
    }

    /// Its first address of the family, as `state` has it.
    pub fn address(&self, is_v4: bool) -> Result<String, String> {
        let network = &self.container.state()?["network"][0];
        let mut addresses = network["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let address = addresses.find(|address| address.contains(':') != is_v4);
        let ip = address.and_then(|address| address.split('/').next());
        ip.map(str::to_owned).ok_or_else(|| format!("state: no such address in {network}"))
    }

    /// Killed and deleted.
    pub fn remove(self) -> Result<(), String> {
        self.container.remove()
    }
}

/// What a call that must fail says: one line.
pub fn one_line(finished: Finished) -> Result<String, String> {
    let said = finished.fails()?.stderr;
    equal("lines of stderr", said.lines().count(), 1)?;
    Ok(said)
}
