//! How the runtime connects a container of an ordinary user's: in the namespaces that stand for the host, and by ports of the host that
//! lead there.

use pillbox::container::{Elsewhere, Whose, worded};
use pillbox::state::NetworkRecord as Interface;
use pillbox_network::{Ip, Port};
use serde_json::Value;

use super::rootless::Namespaces;
use crate::error::{Error, Kind, Result};
use crate::inside::NetworkAct;
use crate::order;

/// Connects one container.
#[derive(Debug)]
pub struct Connector {
    namespaces: Namespaces,
    /// netconf.json.
    document: Value,
    /// Its published ports, as they are shown.
    shown: Vec<String>,
    /// What the user should know.
    notes: Vec<String>,
}

impl Connector {
    /// Of a container whose networks a netconf.json describes.
    pub fn new(namespaces: Namespaces, document: Value, notes: Vec<String>) -> Connector {
        Connector { namespaces, document, shown: Vec::new(), notes }
    }

    /// Of one that has these interfaces.
    pub fn of_connected(namespaces: Namespaces, interfaces: &[Interface]) -> Connector {
        let shown = interfaces.iter().flat_map(|interface| interface.ports.iter().cloned()).collect();
        Connector { namespaces, document: Value::Null, shown, notes: Vec::new() }
    }

    /// What is needed besides the interfaces. The result is netconf.json with the ports of the loopback there to which those of the host
    /// lead, which are open from now on, and how those are shown.
    fn begin(&self, whose: &Whose, pid: i32, notes: &mut Vec<String>) -> Result<(String, Vec<String>)> {
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
                check_numbers(&asked)?;
                let ports = self.namespaces.open_ports(&whose.name, &texts, asked, pid)?;
                // One number at several addresses of the host is one there.
                let mut inside: Vec<String> = ports.iter().map(inside_port).collect();
                order::sort(&mut inside);
                inside.dedup();
                interface["ports"] = inside.into();
                shown.extend(ports.iter().map(|port| format!("{port} -> {}", port.container_port)));
            }
        }
        if has_way_out && let Err(error) = self.namespaces.open_way_out() {
            notes.push(format!("your networks reach nothing outside: {error}"));
        }
        Ok((document.to_string(), shown))
    }
}

/// A number leads to one port of the container, at whatever addresses of the host it is published.
fn check_numbers(ports: &[Port]) -> Result<()> {
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| port.host_port != 0) {
        let is_same = |other: &&Port| (other.host_port, other.protocol) == (port.host_port, port.protocol);
        for other in ports[..index].iter().filter(is_same) {
            let is_all = |port: &Port| port.host_ip.is_none_or(|Ip(ip)| ip.is_unspecified());
            if is_all(port) || is_all(other) || port.host_ip == other.host_ip {
                return Err(Error::invalid(format!("port {port}: it is published twice")));
            }
            if port.container_port != other.container_port {
                let led = other.container_port;
                let why = "on an ordinary user's networks a number leads to one port of the container";
                return Err(Error::invalid(format!("port {port}: {why}, and {other} leads to {led}")));
            }
        }
    }
    Ok(())
}

/// As it is published there: whatever the address of the host, it is reached by the loopback.
fn inside_port(port: &Port) -> String {
    format!("{}:{}/{}", port.host_port, port.container_port, port.protocol.name())
}

/// Published ports are shown with the address of the host.
fn with_host_addresses(mut records: Vec<Interface>, shown: &[String]) -> Vec<Interface> {
    for ports in records.iter_mut().map(|record| &mut record.ports.0) {
        let at_addresses = |text: &String| {
            let end = format!(":{text}");
            let found: Vec<String> = shown.iter().filter(|shown| shown.ends_with(&end)).cloned().collect();
            if found.is_empty() { vec![text.clone()] } else { found }
        };
        *ports = ports.iter().flat_map(at_addresses).collect();
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
        Kind::Conflict => pillbox::Kind::Busy,
        Kind::PortTaken => pillbox::Kind::PortTaken,
        Kind::Corrupt | Kind::Closed | Kind::Program | Kind::Host => pillbox::Kind::Network,
    };
    pillbox::Error::of(kind, error.to_string())
}
