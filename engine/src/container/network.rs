//! What a container is connected to, as the runtime takes it: netconf.json.

use std::path::PathBuf;

use pillbox::container::Networks;
use pillbox_network::dns::Resolver;
use pillbox_network::netconf::DEFAULT_BRIDGE;
use pillbox_network::responder::ADDRESS as RESPONDER;
use serde_json::{Map, Value, json};

use super::exposed::ports_to_publish;
use super::options::{Connection, Network, NetworkMode, Options, USUAL};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Execution;
use crate::store::{NetworkDriver, NetworkRecord, Store};

/// What networks depend on besides what is asked for.
#[derive(Debug, Clone, Default)]
pub struct NetworkFacts {
    /// Those with names that the container is on.
    pub named: Vec<NetworkRecord>,
    /// Whether its user is an ordinary one, whose usual network is in user mode, because links of the host are root's.
    pub is_users: bool,
    /// Where the host looks up names.
    pub search: Vec<String>,
}

impl NetworkFacts {
    /// Looks them up.
    ///
    /// # Errors
    /// There is no such network.
    pub fn look(store: &Store, network: &Network) -> Result<NetworkFacts> {
        let named = network.names().iter().map(|name| store.networks().find(name)).collect::<Result<_>>()?;
        let is_users = store.maps().is_some();
        Ok(NetworkFacts { named, is_users, search: Resolver::of_host().search })
    }

    fn find(&self, name: &str) -> Result<Option<&NetworkRecord>> {
        if name == USUAL {
            return Ok(None);
        }
        // A name may be the beginning of an id as well.
        let found = self.named.iter().find(|record| record.name == name || record.id.starts_with(name));
        found.map(Some).ok_or_else(|| Error::not_found(format!("network {name}: there is none")))
    }
}

/// By what the runtime knows the network that is meant; the usual one has no record.
pub fn runtime_name(record: Option<&NetworkRecord>) -> String {
    record.map_or(DEFAULT_BRIDGE.to_string(), NetworkRecord::runtime_name)
}

/// Compiles it.
///
/// # Errors
/// A flag has a value that cannot be; it is named.
pub fn compile_network(image: &Execution, network: &Network, facts: &NetworkFacts) -> Result<Value> {
    let Network { mode, aliases, addresses, mac: _, others, publish_all, hosts, .. } = network;
    let published = ports_to_publish(image, network)?;
    let connections = network.connections();
    if !matches!(mode, NetworkMode::Named(_)) {
        refuse_without_name(aliases, addresses)?;
    }
    if let (true, Some(other)) = (connections.is_empty(), others.first()) {
        return Err(Error::invalid(format!(
            "--network {}: with --network {} there is no other one",
            other.network,
            mode_name(mode)
        )));
    }
    let flag = match network.published.first() {
        Some(port) => format!("--publish {port}"),
        None if *publish_all => "--publish-all".to_string(),
        None => String::new(),
    };
    if connections.is_empty() && !flag.is_empty() {
        let name = mode_name(mode);
        return Err(Error::invalid(format!("{flag}: with --network {name} there is no port to publish")));
    }
    let mut netconf = Map::new();
    if facts.is_users && !connections.is_empty() && network.names().is_empty() {
        netconf.extend(in_user_mode(network, &published));
    } else if !connections.is_empty() {
        netconf.insert("interfaces".into(), json!(interfaces(&connections, &published, facts)?));
    }
    netconf.extend(resolver(network, facts));
    if !hosts.is_empty() {
        let has_gateway = !facts.is_users && !connections.is_empty();
        let host = match mode {
            NetworkMode::Host => Some("127.0.0.1"),
            _ => Some("0.0.0.0").filter(|_| has_gateway),
        };
        let hosts = hosts.iter().map(|text| named_address(text, host));
        netconf.insert("hosts".into(), hosts.collect::<Result<_>>()?);
    }
    Ok(Value::Object(netconf))
}

/// What a container is connected to, as a document and as the runtime takes it. `names` is the folder for the files by which it finds
/// names.
///
/// # Errors
/// A flag has a value that cannot be; a network is not there.
pub(super) fn look_up(
    store: &Store,
    image: &Execution,
    options: &Options,
    names: PathBuf,
) -> Result<(Value, Networks)> {
    let network = &options.network;
    let document = compile_network(image, network, &NetworkFacts::look(store, network)?)?;
    let networks = parse_network(&document, names)?;
    Ok((document, networks))
}

/// As the runtime takes it.
///
/// # Errors
/// The runtime does not take it.
pub(super) fn parse_network(document: &Value, names: PathBuf) -> Result<Networks> {
    let mut networks = Networks::parse("network".to_string(), document.to_string().as_bytes())?;
    networks.set_files(names);
    Ok(networks)
}

/// One more connection of a container that runs, alone. Published ports are those of a container whose other networks have none.
///
/// # Errors
/// As for [`compile_network`].
pub fn compile_connection(
    network: &Network,
    connection: &Connection,
    published: &[String],
    facts: &NetworkFacts,
) -> Result<Value> {
    let mut netconf = Map::new();
    let connections = std::slice::from_ref(connection);
    netconf.insert("interfaces".into(), json!(interfaces(connections, published, facts)?));
    netconf.extend(resolver(network, facts));
    Ok(Value::Object(netconf))
}

/// An ordinary user's usual network.
fn in_user_mode(network: &Network, published: &[String]) -> Map<String, Value> {
    let mut interface = json!({"ports": published});
    if let Some(mac) = &network.mac {
        interface["mac"] = json!(mac);
    }
    let mut netconf = Map::new();
    netconf.insert("model".into(), json!({"type": "pasta"}));
    netconf.insert("interfaces".into(), json!([interface]));
    netconf
}

fn interfaces(connections: &[Connection], published: &[String], facts: &NetworkFacts) -> Result<Vec<Value>> {
    let records: Vec<_> =
        connections.iter().map(|connection| facts.find(&connection.network)).collect::<Result<_>>()?;
    let can_publish = |record: &Option<&NetworkRecord>| {
        record.is_none_or(|record| record.driver == NetworkDriver::Bridge && !record.internal)
    };
    // If none can, the first one says why.
    let publishing = records.iter().position(can_publish).unwrap_or(0);
    let mut interfaces = Vec::new();
    let mut known: Vec<(String, &str)> = Vec::new();
    for (index, (connection, record)) in connections.iter().zip(&records).enumerate() {
        let Connection { network, aliases, addresses, mac } = connection;
        if record.is_none() {
            refuse_without_name(aliases, addresses)?;
        }
        let link = runtime_name(*record);
        if let Some((_, other)) = known.iter().find(|(known, _)| *known == link) {
            return Err(Error::invalid(match *other == network {
                true => format!("--network {network}: it is named twice"),
                false => format!("--network {network}: it lies over the same link as network {other}"),
            }));
        }
        known.push((link, network));
        let mut interface = json!({"model": model(*record), "peer_name": format!("eth{index}")});
        if index == publishing {
            interface["ports"] = json!(published);
        }
        if !addresses.is_empty() {
            interface["peer_ips"] = json!(with_prefixes(addresses, *record)?);
        }
        if let Some(mac) = mac {
            interface["mac"] = json!(mac);
        }
        interfaces.push(interface);
    }
    Ok(interfaces)
}

/// How names are found. On networks with names the container's monitor answers; otherwise it is as is asked for, or as on the host.
fn resolver(network: &Network, facts: &NetworkFacts) -> Option<(String, Value)> {
    let Network { servers, search, resolver_options, .. } = network;
    if network.names().is_empty() {
        if servers.is_empty() && search.is_empty() && resolver_options.is_empty() {
            return None;
        }
        let dns = json!({"nameservers": servers, "search": search, "options": resolver_options});
        return Some(("dns".into(), dns));
    }
    let search = if search.is_empty() { &facts.search } else { search };
    let mut options = resolver_options.clone();
    // A name without a dot is that of a container first.
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        options.push("ndots:0".to_string());
    }
    Some(("dns".into(), json!({"nameservers": [RESPONDER], "search": search, "options": options})))
}

fn mode_name(mode: &NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Container(_) => "container",
        NetworkMode::Default | NetworkMode::Named(_) => USUAL,
    }
}

/// What is only for a network of which one is asked for by name, or for any at all.
fn refuse_without_name(aliases: &[String], addresses: &[String]) -> Result<()> {
    if let Some(alias) = aliases.first() {
        return Err(Error::invalid(format!(
            "--network-alias {alias}: names are found on networks with a name alone: --network NAME"
        )));
    }
    if let Some(address) = addresses.first() {
        return Err(Error::invalid(format!(
            "--{} {address}: an address can be chosen on a network with a name and a subnet alone",
            address_flag(address)
        )));
    }
    Ok(())
}

fn model(record: Option<&NetworkRecord>) -> Value {
    let Some(record) = record else { return json!({"type": "bridge"}) };
    let NetworkRecord { driver, link, subnets, chosen, gateways, ranges, reserved, internal, mtu, .. } =
        record;
    let mut model = match driver {
        NetworkDriver::Bridge => json!({"type": "bridge", "bridge_name": link, "internal": internal}),
        NetworkDriver::Macvlan => json!({"type": "macvlan", "parent": link}),
        NetworkDriver::Ipvlan => json!({"type": "ipvlan", "parent": link}),
    };
    let mut reserved: Vec<&String> = reserved.values().collect();
    let is_bridge = *driver == NetworkDriver::Bridge;
    let mut gateways: Vec<&String> = gateways.iter().collect();
    if !is_bridge && *internal {
        // Whoever has these addresses is no way out for it.
        reserved.append(&mut gateways);
    }
    for (member, texts) in [
        ("subnets", json!(subnets)),
        ("preferred", json!(if is_bridge && subnets.is_empty() { chosen.as_slice() } else { &[] })),
        ("gateways", json!(gateways)),
        ("ranges", json!(ranges)),
        ("reserved", json!(reserved)),
    ] {
        if texts != json!([]) {
            model[member] = texts;
        }
    }
    if let Some(mtu) = mtu {
        model["mtu"] = json!(mtu);
    }
    model
}

/// Each address with the length of the prefix of a subnet of its family.
fn with_prefixes(addresses: &[String], record: Option<&NetworkRecord>) -> Result<Vec<String>> {
    let subnets = record.map(|record| record.subnets.as_slice()).unwrap_or_default();
    let one = |address: &String| {
        let parsed: std::net::IpAddr = address.parse().map_err(|_| {
            Error::invalid(format!("--{} {address}: must be an IP address", address_flag(address)))
        })?;
        let same_family = subnets.iter().find(|subnet| subnet.contains(':') == parsed.is_ipv6());
        let prefix = same_family.and_then(|subnet| subnet.split_once('/')).map(|(_, prefix)| prefix);
        prefix.map(|prefix| format!("{address}/{prefix}")).ok_or_else(|| {
            Error::invalid(format!("--{} {address}: the network has no subnet of that kind that was named: --subnet of box network create", address_flag(address)))
        })
    };
    addresses.iter().map(one).collect()
}

/// The flag that asks for an address.
pub(super) fn address_flag(address: &str) -> &'static str {
    if address.contains(':') { "ip6" } else { "ip" }
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; `host-gateway` is the host, whose address the network has to say.
pub(super) fn named_address(text: &str, host: Option<&str>) -> Result<(String, Value)> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let wrong = || Error::invalid(format!("--add-host {text}: must be NAME:ADDRESS"));
    let (name, address) = split.filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    if address == "host-gateway" {
        let none = || Error::invalid(format!("--add-host {text}: only root's networks lead to the host"));
        return Ok((name.to_string(), json!(host.ok_or_else(none)?)));
    }
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    Ok((name.to_string(), json!(address.to_string())))
}

/// The id of a network that is always there: the same on each machine.
pub fn own_network_id(name: &str) -> String {
    Digest::of(format!("network {name}").as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(is_users: bool) -> NetworkFacts {
        let record = |name: &str, link: &str, internal| NetworkRecord {
            id: format!("{name:0<64}"),
            internal,
            ..NetworkRecord::new(name.to_string(), link.to_string(), NetworkDriver::Bridge)
        };
        let named = vec![record("front", "pb1", false), record("inner", "pb2", true)];
        NetworkFacts { named, is_users, search: vec!["example.org".into()] }
    }

    #[test]
    fn networks_of_root_and_of_others() {
        let network = Network {
            published: vec!["8080:80".into()],
            hosts: vec!["db:10.0.0.1".into(), "six=[::1]".into()],
            servers: vec!["9.9.9.9".into()],
            ..Network::default()
        };
        let of_root = compile_network(&Execution::default(), &network, &facts(false)).unwrap();
        assert_eq!(of_root["interfaces"][0]["ports"], json!(["8080:80"]));
        assert_eq!(of_root["hosts"], json!({"db": "10.0.0.1", "six": "::1"}));
        assert_eq!(of_root["dns"]["nameservers"], json!(["9.9.9.9"]));
        assert_eq!(
            compile_network(&Execution::default(), &network, &facts(true)).unwrap()["model"]["type"],
            "pasta"
        );
        let none = Network { mode: NetworkMode::None, ..network };
        let error = compile_network(&Execution::default(), &none, &facts(false)).unwrap_err().to_string();
        assert_eq!(error, "--publish 8080:80: with --network none there is no port to publish");
        let wrong = Network { hosts: vec!["db".into()], ..Network::default() };
        assert!(compile_network(&Execution::default(), &wrong, &facts(false)).is_err());
    }

    #[test]
    fn several_networks() {
        let mut network = Network { published: vec!["80".into()], ..Network::default() };
        let on = |name: &str| Connection { network: name.to_string(), ..Connection::default() };
        network.set_connections(vec![on("inner"), on("front"), on(USUAL)]);
        assert_eq!(network.mode, NetworkMode::Named("inner".into()));
        assert_eq!(network.names(), ["inner", "front"]);
        let netconf = compile_network(&Execution::default(), &network, &facts(false)).unwrap();
        let bridges: Vec<_> = netconf["interfaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["model"]["bridge_name"])
            .collect();
        assert_eq!(bridges, [&json!("pb2"), &json!("pb1"), &Value::Null]);
        // The first one with a way in has the ports.
        assert_eq!(netconf["interfaces"][1]["ports"], json!(["80"]));
        assert_eq!(
            netconf["dns"],
            json!({"nameservers": ["127.0.0.11"], "search": ["example.org"], "options": ["ndots:0"]})
        );
        Networks::parse("network".into(), netconf.to_string().as_bytes()).unwrap();
        network.set_connections(vec![on("front"), on("front")]);
        let error = compile_network(&Execution::default(), &network, &facts(false)).unwrap_err().to_string();
        assert_eq!(error, "--network front: it is named twice");
        network.set_connections(Vec::new());
        assert_eq!(network.mode, NetworkMode::None);
        let users = Network { mode: NetworkMode::Named("front".into()), ..Network::default() };
        let of_user = compile_network(&Execution::default(), &users, &facts(true)).unwrap();
        assert_eq!(of_user, compile_network(&Execution::default(), &users, &facts(false)).unwrap());
    }
}
