//! What a container is connected to, as the runtime takes it: netconf.json.

use serde_json::{Map, Value, json};

use super::options::{Network, NetworkMode};
use crate::error::{Error, Result};

/// Compiles it. An ordinary user's network is one in user mode, because links of the host are root's.
///
/// # Errors
/// A flag has a value that cannot be; it is named.
pub fn compile_network(network: &Network, is_users: bool) -> Result<Value> {
    let Network { mode, published, hosts, servers, search, resolver_options } = network;
    let mut netconf = Map::new();
    if *mode == NetworkMode::Default {
        let model = if is_users { json!({"type": "pasta"}) } else { json!({"type": "bridge"}) };
        let interface = match is_users {
            true => json!({"ports": published}),
            false => json!({"type": "veth", "peer_name": "eth0", "ports": published}),
        };
        netconf.insert("model".into(), model);
        netconf.insert("interfaces".into(), json!([interface]));
    } else if let Some(port) = published.first() {
        let name = if *mode == NetworkMode::Host { "host" } else { "none" };
        return Err(Error::invalid(format!(
            "--publish {port}: with --network {name} there is no port to publish"
        )));
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
        let of_root = compile_network(&network, false).unwrap();
        assert_eq!(of_root["interfaces"][0]["ports"], json!(["8080:80"]));
        assert_eq!(of_root["hosts"], json!({"db": "10.0.0.1", "six": "::1"}));
        assert_eq!(of_root["dns"]["nameservers"], json!(["9.9.9.9"]));
        assert_eq!(compile_network(&network, true).unwrap()["model"]["type"], "pasta");
        let none = Network { mode: NetworkMode::None, ..network };
        let error = compile_network(&none, false).unwrap_err().to_string();
        assert_eq!(error, "--publish 8080:80: with --network none there is no port to publish");
        let wrong = Network { hosts: vec!["db".into()], ..Network::default() };
        assert!(compile_network(&wrong, false).is_err());
    }
}
