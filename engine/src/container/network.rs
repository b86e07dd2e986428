//! What a container is connected to, as the runtime takes it: netconf.json.

use std::path::PathBuf;

use pillbox::container::Networks;
use serde_json::{Map, Value, json};

use super::exposed::ports_to_publish;
use super::options::{Network, NetworkMode, Options};
use crate::error::{Error, Result};
use crate::image::Execution;
use crate::store::{NetworkDriver, NetworkRecord, Store};

/// Compiles it. `named` is the network that is meant by its name. An ordinary user's network is one in user mode, because links of
/// the host are root's.
///
/// # Errors
/// A flag has a value that cannot be; it is named.
pub fn compile_network(
    image: &Execution,
    network: &Network,
    named: Option<&NetworkRecord>,
    is_users: bool,
) -> Result<Value> {
    let Network {
        mode,
        aliases,
        addresses,
        mac,
        published: _,
        exposed: _,
        publish_all,
        hosts,
        servers,
        search,
        resolver_options,
    } = network;
    let published = ports_to_publish(image, network)?;
    let mut netconf = Map::new();
    if named.is_none() {
        refuse_without_name(aliases, addresses)?;
    }
    let model = match (mode, named) {
        (NetworkMode::Named(name), _) if is_users => {
            return Err(Error::invalid(format!(
                "--network {name}: networks with names are root's: an ordinary user's containers have one in user mode"
            )));
        }
        (_, Some(record)) => Some(model(record)),
        (NetworkMode::Default, None) if is_users => Some(json!({"type": "pasta"})),
        (NetworkMode::Default, None) => Some(json!({"type": "bridge"})),
        (NetworkMode::Named(name), None) => {
            return Err(Error::not_found(format!("network {name}: there is none")));
        }
        (NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_), None) => None,
    };
    if let Some(model) = model {
        let mut interface = json!({"ports": published});
        if !is_users {
            interface["peer_name"] = json!("eth0");
            interface["type"] = json!("veth");
        }
        if !addresses.is_empty() {
            interface["peer_ips"] = json!(with_prefixes(addresses, named)?);
        }
        if let Some(mac) = mac {
            interface["mac"] = json!(mac);
        }
        netconf.insert("model".into(), model);
        netconf.insert("interfaces".into(), json!([interface]));
    }
    let without_ports = match mode {
        NetworkMode::Host => Some("host"),
        NetworkMode::None => Some("none"),
        NetworkMode::Container(_) => Some("container"),
        NetworkMode::Default | NetworkMode::Named(_) => None,
    };
    if let Some(name) = without_ports {
        let flag = match network.published.first() {
            Some(port) => format!("--publish {port}"),
            None if *publish_all => "--publish-all".to_string(),
            None => String::new(),
        };
        if !flag.is_empty() {
            return Err(Error::invalid(format!("{flag}: with --network {name} there is no port to publish")));
        }
    }
    if !(servers.is_empty() && search.is_empty() && resolver_options.is_empty()) {
        let dns = json!({"nameservers": servers, "search": search, "options": resolver_options});
        netconf.insert("dns".into(), dns);
    }
    if !hosts.is_empty() {
        netconf.insert("hosts".into(), hosts.iter().map(|host| named_address(host)).collect::<Result<_>>()?);
    }
    Ok(Value::Object(netconf))
}

/// What a container is connected to, as a document and as the runtime takes it. `names` is the folder for the files by which it finds
/// names.
///
/// # Errors
/// A flag has a value that cannot be; the network is not there.
pub(super) fn look_up(
    store: &Store,
    image: &Execution,
    options: &Options,
    names: PathBuf,
) -> Result<(Value, Networks)> {
    let named = match &options.network.mode {
        NetworkMode::Named(name) => Some(store.networks().find(name)?),
        NetworkMode::Default | NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => None,
    };
    let document = compile_network(image, &options.network, named.as_ref(), store.maps().is_some())?;
    let mut networks = Networks::parse("network".to_string(), document.to_string().as_bytes())?;
    networks.set_files(names);
    Ok((document, networks))
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
            "--ip {address}: an address can be chosen on a network with a name and a subnet alone"
        )));
    }
    Ok(())
}

fn model(record: &NetworkRecord) -> Value {
    let NetworkRecord { driver, link, subnets, internal, mtu, .. } = record;
    let mut model = match driver {
        NetworkDriver::Bridge => json!({"type": "bridge", "bridge_name": link, "internal": internal}),
        NetworkDriver::Macvlan => json!({"type": "macvlan", "parent": link}),
        NetworkDriver::Ipvlan => json!({"type": "ipvlan", "parent": link}),
    };
    if !subnets.is_empty() {
        model["subnets"] = json!(subnets);
    }
    if let Some(mtu) = mtu {
        model["mtu"] = json!(mtu);
    }
    model
}

/// Each address with the length of the prefix of a subnet of its family.
fn with_prefixes(addresses: &[String], named: Option<&NetworkRecord>) -> Result<Vec<String>> {
    let subnets = named.map(|record| record.subnets.as_slice()).unwrap_or_default();
    let one = |address: &String| {
        let parsed: std::net::IpAddr =
            address.parse().map_err(|_| Error::invalid(format!("--ip {address}: must be an IP address")))?;
        let same_family = subnets.iter().find(|subnet| subnet.contains(':') == parsed.is_ipv6());
        let prefix = same_family.and_then(|subnet| subnet.split_once('/')).map(|(_, prefix)| prefix);
        prefix.map(|prefix| format!("{address}/{prefix}")).ok_or_else(|| {
            Error::invalid(format!("--ip {address}: the network has no subnet of that kind that was named: --subnet of box network create"))
        })
    };
    addresses.iter().map(one).collect()
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`.
fn named_address(host: &str) -> Result<(String, Value)> {
    let split = host.split_once('=').or_else(|| host.split_once(':'));
    let wrong = || Error::invalid(format!("--add-host {host}: must be NAME:ADDRESS"));
    let (name, address) = split.ok_or_else(wrong)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    Ok((name.to_string(), json!(address.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_root_and_of_others() {
        let network = Network {
            published: vec!["8080:80".into()],
            hosts: vec!["db:10.0.0.1".into(), "six=[::1]".into()],
            servers: vec!["9.9.9.9".into()],
            ..Network::default()
        };
        let of_root = compile_network(&Execution::default(), &network, None, false).unwrap();
        assert_eq!(of_root["interfaces"][0]["ports"], json!(["8080:80"]));
        assert_eq!(of_root["hosts"], json!({"db": "10.0.0.1", "six": "::1"}));
        assert_eq!(of_root["dns"]["nameservers"], json!(["9.9.9.9"]));
        assert_eq!(
            compile_network(&Execution::default(), &network, None, true).unwrap()["model"]["type"],
            "pasta"
        );
        let none = Network { mode: NetworkMode::None, ..network };
        let error = compile_network(&Execution::default(), &none, None, false).unwrap_err().to_string();
        assert_eq!(error, "--publish 8080:80: with --network none there is no port to publish");
        let wrong = Network { hosts: vec!["db".into()], ..Network::default() };
        assert!(compile_network(&Execution::default(), &wrong, None, false).is_err());
    }
}
