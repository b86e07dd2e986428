//! How the runtime connects a container of an ordinary user's: in the namespaces that stand for the host, and by ports of the host that
//! lead there.

use pillbox::container::{Elsewhere, Whose, worded};
use pillbox::state::NetworkRecord as Interface;
use pillbox_network::{Ip, Port};
use serde_json::Value;

use super::rootless::Namespaces;
use crate::error::{Error, Kind, Result};
use crate::forward::address_inside;
use crate::inside::NetworkAct;
use crate::order;

/// Connects one container.
#[derive(Debug)]
pub struct Connector {
    namespaces: Namespaces,
    /// netconf.json.
    document: Value,
    /// Its published ports.
    shown: Vec<Shown>,
    /// What the user should know.
    notes: Vec<String>,
}

/// A published port.
#[derive(Debug)]
struct Shown {
    /// As it is published there.
    inside: String,
    /// As it is shown.
    outside: String,
}

impl Shown {
    /// Of what is recorded of a container's interface; both ways in which it can be published there.
    fn of(text: &str) -> Vec<Shown> {
        let Some(port) = recorded(text) else { return Vec::new() };
        let mut ways = [true, false].map(|has_v4| told(&inside(&port, has_v4))).to_vec();
        // Of all addresses they are one.
        ways.dedup();
        ways.into_iter().map(|inside| Shown { inside, outside: text.to_string() }).collect()
    }
}

impl Connector {
    /// Of a container whose networks a netconf.json describes.
    pub fn new(namespaces: Namespaces, document: Value, notes: Vec<String>) -> Connector {
        Connector { namespaces, document, shown: Vec::new(), notes }
    }

    /// Of one that has these interfaces.
    pub fn of_connected(namespaces: Namespaces, interfaces: &[Interface]) -> Connector {
        let texts = interfaces.iter().flat_map(|interface| interface.ports.iter());
        let shown = texts.flat_map(|text| Shown::of(text)).collect();
        Connector { namespaces, document: Value::Null, shown, notes: Vec::new() }
    }

    /// What is needed besides the interfaces. The result is netconf.json with the ports of the loopback there to which those of the host
    /// lead, which are open from now on, and how those are shown.
    fn begin(&self, whose: &Whose, pid: i32, notes: &mut Vec<String>) -> Result<(String, Vec<Shown>)> {
        notes.extend(self.notes.iter().cloned());
        let mut document = self.document.clone();
        let (mut shown, mut has_way_out) = (Vec::new(), false);
        for interface in document["interfaces"].as_array_mut().into_iter().flatten() {
            has_way_out |= interface["model"]["internal"] != true;
            let texts = interface["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
            let texts: Vec<String> =
                texts.iter().filter_map(|text| text.as_str().map(str::to_string)).collect();
            if !texts.is_empty() {
                let parsed: pillbox_network::Result<Vec<_>> =
                    texts.iter().map(|text| Port::parse(text)).collect();
                let asked: Vec<Port> = parsed.map_err(worded)?.into_iter().flatten().collect();
                check_numbers(&asked, has_v4(interface))?;
                let ports = self.namespaces.open_ports(&whose.name, &texts, asked, pid)?;
                let has_v4 = has_v4(interface);
                let inside = |port: &Port| inside(port, has_v4);
                let mut wanted: Vec<String> = ports.iter().map(|port| published(&inside(port))).collect();
                order::sort(&mut wanted);
                wanted.dedup();
                interface["ports"] = wanted.into();
                shown.extend(
                    ports.iter().map(|port| Shown { inside: told(&inside(port)), outside: told(port) }),
                );
            }
        }
        if has_way_out && let Err(error) = self.namespaces.open_way_out() {
            notes.push(format!("your networks reach nothing outside: {error}"));
        }
        Ok((document.to_string(), shown))
    }
}

/// A number leads to one port of the container at each address; without IPv4 at all of them.
fn check_numbers(ports: &[Port], has_v4: bool) -> Result<()> {
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| port.host_port != 0) {
        let is_same = |other: &&Port| (other.host_port, other.protocol) == (port.host_port, port.protocol);
        for other in ports[..index].iter().filter(is_same) {
            let is_all = |port: &Port| port.host_ip.is_none_or(|Ip(ip)| ip.is_unspecified());
            if is_all(port) || is_all(other) || port.host_ip == other.host_ip {
                return Err(Error::invalid(format!("port {port}: it is published twice")));
            }
            if port.container_port != other.container_port && !has_v4 {
                let led = other.container_port;
                let why =
                    "on an ordinary user's network without IPv4 a number leads to one port of the container";
                return Err(Error::invalid(format!("port {port}: {why}, and {other} leads to {led}")));
            }
        }
    }
    Ok(())
}

/// Whether the container has an address of IPv4 on the network of an interface.
fn has_v4(interface: &Value) -> bool {
    let subnets = interface["model"]["subnets"].as_array().map(Vec::as_slice).unwrap_or_default();
    subnets.is_empty() || subnets.iter().any(|subnet| subnet.as_str().is_some_and(|text| !text.contains(':')))
}

/// The port of the loopback there that stands for one of the host.
fn inside(port: &Port, has_v4: bool) -> Port {
    let host_ip = address_inside(port.host_ip).filter(|_| has_v4).map(|ip| Ip(ip.into()));
    Port { host_ip, ..*port }
}

/// A port as interfaces are recorded with it.
pub(super) fn recorded(text: &str) -> Option<Port> {
    let (outside, container_port) = text.split_once(" -> ")?;
    let (host, protocol) = outside.rsplit_once('/')?;
    Port::parse(&format!("{host}:{container_port}/{protocol}")).ok()?.pop()
}

/// As `--publish` takes it.
pub(super) fn published(port: &Port) -> String {
    let Port { protocol, host_ip, host_port, container_port } = port;
    let address = host_ip.map(|ip| format!("{ip}:")).unwrap_or_default();
    format!("{address}{host_port}:{container_port}/{}", protocol.name())
}

/// As interfaces are recorded with it.
fn told(port: &Port) -> String {
    format!("{port} -> {}", port.container_port)
}

/// Published ports are shown with the address of the host.
fn with_host_addresses(mut records: Vec<Interface>, shown: &[Shown]) -> Vec<Interface> {
    for ports in records.iter_mut().map(|record| &mut record.ports.0) {
        let at_addresses = |text: String| {
            let found: Vec<String> = shown
                .iter()
                .filter(|shown| shown.inside == text)
                .map(|shown| shown.outside.clone())
                .collect();
            if found.is_empty() { vec![text] } else { found }
        };
        *ports = std::mem::take(ports).into_iter().flat_map(at_addresses).collect();
    }
    records
}

impl Elsewhere for Connector {
    fn connect(&self, whose: &Whose, pid: i32, notes: &mut Vec<String>) -> pillbox::Result<Vec<Interface>> {
        let (netconf, shown) = self.begin(whose, pid, notes).map_err(foreign)?;
        let act = NetworkAct::Connect { whose: whose.clone(), netconf, pid };
        Ok(with_host_addresses(self.namespaces.act(act).map_err(foreign)?, &shown))
    }

    fn add(
        &self,
        whose: &Whose,
        name: &str,
        pid: i32,
        notes: &mut Vec<String>,
    ) -> pillbox::Result<Interface> {
        let (netconf, shown) = self.begin(whose, pid, notes).map_err(foreign)?;
        let act = NetworkAct::Add { whose: whose.clone(), netconf, name: name.to_string(), pid };
        let added = with_host_addresses(self.namespaces.act(act).map_err(foreign)?, &shown);
        added.into_iter().next().ok_or_else(|| foreign(Error::corrupt("no interface was made")))
    }

    fn remove(&self, whose: &Whose, name: &str, pid: i32) -> pillbox::Result<Vec<Interface>> {
        let act = NetworkAct::Remove { whose: whose.clone(), name: name.to_string(), pid };
        Ok(with_host_addresses(self.namespaces.act(act).map_err(foreign)?, &self.shown))
    }
}

/// As the runtime's.
fn foreign(error: Error) -> pillbox::Error {
    let kind = match error.kind() {
        Kind::Invalid => pillbox::Kind::Invalid,
        Kind::NotFound => pillbox::Kind::NotFound,
        Kind::Conflict | Kind::Connection => pillbox::Kind::Busy,
        Kind::PortTaken => pillbox::Kind::PortTaken,
        Kind::FileMissing | Kind::Corrupt | Kind::Closed | Kind::Program | Kind::Host => {
            pillbox::Kind::Network
        }
    };
    pillbox::Error::of(kind, error.to_string())
}
