//! What a container has of its networks, as a document: Docker's shape. Lists are made of it as well, so it is written as it is and not
//! built of values first.

use std::collections::BTreeMap;

use pillbox::state::NetworkRecord as Interface;
use serde::{Serialize, Serializer};

use super::exposed::exposed_ports;
use super::network::{own_network_id, runtime_name};
use super::options::{Connection, NetworkMode, USUAL};
use super::ports::{Published, is_on, published_by};
use super::record::ContainerRecord;
use crate::digest::Digest;
use crate::store::NetworkRecord;

/// What a container has of the network at this moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings<'a> {
    bridge: &'static str,
    #[serde(rename = "SandboxID")]
    sandbox: &'a str,
    sandbox_key: &'static str,
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_prefix: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    secondary_addresses: Option<()>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    secondary_v6_addresses: Option<()>,
    #[serde(rename = "EndpointID")]
    endpoint: String,
    /// Those of the usual network, which stand beside the networks.
    #[serde(flatten)]
    usual: Addresses,
    /// By port and protocol, `80/tcp`; none where a port is exposed alone.
    pub ports: BTreeMap<String, Option<Vec<Binding>>>,
    /// By name.
    pub networks: BTreeMap<String, Endpoint>,
}

/// Where on the host a port is published.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Binding {
    /// The address.
    pub host_ip: String,
    /// The port.
    pub host_port: String,
}

/// A container's end of a network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    asked: Option<Asked>,
    links: Option<()>,
    driver_opts: Option<()>,
    gw_priority: u8,
    /// Its id; empty of one that does not run.
    #[serde(rename = "EndpointID")]
    pub id: String,
    #[serde(serialize_with = "null_if_empty")]
    aliases: Vec<String>,
    #[serde(rename = "DNSNames", serialize_with = "null_if_empty")]
    names: Vec<String>,
    #[serde(rename = "NetworkID")]
    network: String,
    /// Its addresses.
    #[serde(flatten)]
    pub addresses: Addresses,
}

/// Addresses that were asked for.
#[derive(Debug, Serialize)]
struct Asked {
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    four: Option<String>,
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    six: Option<String>,
}

/// Addresses of an interface; without one they are empty.
#[derive(Debug, Default, Serialize)]
pub struct Addresses {
    #[serde(rename = "Gateway")]
    gateway: String,
    #[serde(rename = "IPAddress")]
    four: String,
    #[serde(rename = "IPPrefixLen")]
    prefix: u8,
    #[serde(rename = "IPv6Gateway")]
    six_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    six: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    six_prefix: u8,
    /// The hardware address.
    #[serde(rename = "MacAddress")]
    pub mac: String,
}

impl<'a> NetworkSettings<'a> {
    /// By these interfaces, of which a container that does not run has none. `named` finds the record of a network.
    pub fn of(
        record: &'a ContainerRecord,
        interfaces: &[Interface],
        named: &dyn Fn(&str) -> Option<NetworkRecord>,
    ) -> NetworkSettings<'a> {
        let mut networks = BTreeMap::new();
        let mut usual = Addresses::default();
        let mut endpoint = String::new();
        for connection in record.options.network.connections() {
            let named = match connection.network.as_str() {
                USUAL => None,
                name => named(name),
            };
            let link = runtime_name(named.as_ref());
            let interface = interfaces.iter().find(|interface| is_on(interface, &link));
            if connection.network == USUAL {
                usual = Addresses::of(interface, None);
                endpoint = interface.map_or(String::new(), |_| endpoint_id(&record.id, USUAL));
            }
            networks.insert(connection.network.clone(), Endpoint::of(record, connection, named, interface));
        }
        if networks.is_empty() && !matches!(record.options.network.mode, NetworkMode::Container(_)) {
            let name = network_name(&record.options.network.mode);
            let connection = Connection { network: name.clone(), ..Connection::default() };
            networks.insert(name, Endpoint::of(record, connection, None, None));
        }
        NetworkSettings {
            bridge: "",
            sandbox: if interfaces.is_empty() { "" } else { &record.id },
            sandbox_key: "",
            hairpin_mode: false,
            link_local_address: "",
            link_local_prefix: 0,
            secondary_addresses: None,
            secondary_v6_addresses: None,
            endpoint,
            usual,
            ports: ports(record, interfaces),
            networks,
        }
    }
}

/// Docker's word for what a container is connected to.
pub fn network_name(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Default => "bridge".to_string(),
        NetworkMode::None => "none".to_string(),
        NetworkMode::Host => "host".to_string(),
        NetworkMode::Named(name) => name.clone(),
        NetworkMode::Container(name) => format!("container:{name}"),
    }
}

fn ports(record: &ContainerRecord, interfaces: &[Interface]) -> BTreeMap<String, Option<Vec<Binding>>> {
    let mut ports = BTreeMap::new();
    if interfaces.is_empty() {
        return ports;
    }
    let has_six = interfaces.iter().flat_map(|one| &one.addresses).any(|address| address.contains(':'));
    for Published { host, port, protocol, is_everywhere } in published_by(interfaces) {
        let (address, host_port) = host.rsplit_once(':').unwrap_or(("0.0.0.0", &host));
        let other = Some("::").filter(|_| is_everywhere && has_six);
        let bindings = ports.entry(format!("{port}/{protocol}")).or_insert_with(|| Some(Vec::new()));
        for address in [address.trim_matches(['[', ']'])].into_iter().chain(other) {
            let binding = Binding { host_ip: address.to_string(), host_port: host_port.to_string() };
            bindings.get_or_insert_default().push(binding);
        }
    }
    // Ports that nobody has published are shown as well. An image may say what is none.
    for port in exposed_ports(&record.execution, &record.options.network).unwrap_or_default() {
        ports.entry(port.to_string()).or_insert(None);
    }
    ports
}

impl Endpoint {
    fn of(
        record: &ContainerRecord,
        connection: Connection,
        named: Option<NetworkRecord>,
        interface: Option<&Interface>,
    ) -> Endpoint {
        let Connection { network: name, aliases, addresses: asked, mac: _ } = connection;
        let addresses = Addresses::of(interface, named.as_ref());
        Endpoint {
            asked: Asked::of(&asked),
            links: None,
            driver_opts: None,
            gw_priority: 0,
            id: interface.map_or(String::new(), |_| endpoint_id(&record.id, &name)),
            names: if named.is_some() { dns_names(record, &aliases) } else { Vec::new() },
            aliases,
            network: named.map_or_else(|| own_network_id(&name), |named| named.id),
            addresses,
        }
    }
}

impl Asked {
    fn of(addresses: &[String]) -> Option<Asked> {
        let find = |wants_six: bool| addresses.iter().find(|address| address.contains(':') == wants_six);
        let (four, six) = (find(false).cloned(), find(true).cloned());
        (four.is_some() || six.is_some()).then_some(Asked { four, six })
    }
}

impl Addresses {
    fn of(interface: Option<&Interface>, network: Option<&NetworkRecord>) -> Addresses {
        let Some(interface) = interface else { return Addresses::default() };
        let of_family = |wants_six: bool| {
            let mut all = interface.addresses.iter().filter(|address| address.contains(':') == wants_six);
            let found = all.find_map(|address| address.split_once('/'));
            found.map(|(address, prefix)| (address.to_string(), prefix.parse().unwrap_or(0)))
        };
        let (four, prefix) = of_family(false).unwrap_or_default();
        let (six, six_prefix) = of_family(true).unwrap_or_default();
        Addresses {
            gateway: gateway(&four, prefix, network).unwrap_or_default(),
            six_gateway: gateway(&six, six_prefix, network).unwrap_or_default(),
            four,
            prefix,
            six,
            six_prefix,
            mac: interface.mac.clone().unwrap_or_default(),
        }
    }

    /// The one of IPv4 with its prefix; empty if there is none.
    pub fn four(&self) -> String {
        with_prefix(&self.four, self.prefix)
    }

    /// The one of IPv6 with its prefix; empty if there is none.
    pub fn six(&self) -> String {
        with_prefix(&self.six, self.six_prefix)
    }
}

fn with_prefix(address: &str, prefix: u8) -> String {
    if address.is_empty() { String::new() } else { format!("{address}/{prefix}") }
}

/// The gateway of a subnet: the network's, or else its first address.
fn gateway(address: &str, prefix: u8, network: Option<&NetworkRecord>) -> Option<String> {
    let subnet = pillbox_network::Cidr::parse(&format!("{address}/{prefix}"))?.network();
    Some(network.map_or(subnet.hosts().0, |network| network.gateway_of(subnet)).to_string())
}

/// It has none of its own: the same one each time.
fn endpoint_id(container: &str, network: &str) -> String {
    Digest::of(format!("{container} on {network}").as_bytes()).hex()
}

/// By which names others find it.
fn dns_names(record: &ContainerRecord, aliases: &[String]) -> Vec<String> {
    let mut names = vec![record.name.clone()];
    let own = record.options.hostname.iter().cloned();
    for name in aliases.iter().cloned().chain([record.id[..12].to_string()]).chain(own) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn null_if_empty<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    Some(names).filter(|names| !names.is_empty()).serialize(serializer)
}
