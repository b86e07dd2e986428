//! `/networks`.

use std::collections::BTreeMap;

use pillbox_network::Cidr;
use serde::Deserialize;
use serde_json::{Value, json};

use super::container::{EndpointBody, connection};
use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};
use super::log::Level;
use super::query::Filters;
use crate::command::{is_labelled, is_named, make_network, prune_networks, remove_network};
use crate::container::{
    ContainerRecord, NetworkDocuments, USUAL, connect as connect_container,
    disconnect as disconnect_container, is_own_network, is_to_have_none,
};
use crate::error::Kind;
use crate::order::Collect;
use crate::store::{NetworkDriver, NetworkRecord, random_id};

/// The network of those that are to have none, and that of the host.
const NONE: &str = "none";
const HOST: &str = "host";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: String,
    driver: String,
    internal: bool,
    ingress: bool,
    config_only: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    driver: String,
    config: Vec<IpamConfig>,
    options: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct IpamConfig {
    subnet: String,
    gateway: String,
    #[serde(rename = "IPRange")]
    ip_range: String,
    auxiliary_addresses: BTreeMap<String, String>,
}

/// Which networks there are.
pub fn list(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let filters =
        exchange.head.query.filters(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let is_dangling = filters.flag("dangling")?;
    let used: Vec<String> = ContainerRecord::list(&daemon.store)?
        .iter()
        .flat_map(|record| record.options.network.names())
        .collect();
    let mut documents = NetworkDocuments::look(&daemon.store)?.all();
    documents.retain(|document| {
        let is_own = is_own_network(document["Name"].as_str().unwrap_or_default());
        let is_used = used.iter().any(|name| document["Name"] == **name);
        is_wanted(document, &filters) && is_dangling.is_none_or(|wanted| wanted == (!is_own && !is_used))
    });
    Ok(Reply::Json(200, Value::Array(documents)))
}

fn is_wanted(document: &Value, filters: &Filters) -> bool {
    let text = |member: &str| document[member].as_str().unwrap_or_default();
    let labels: BTreeMap<String, String> =
        serde_json::from_value(document["Labels"].clone()).unwrap_or_default();
    let kind = if is_own_network(text("Name")) { "builtin" } else { "custom" };
    filters.any("driver", |value| text("Driver") == value)
        && filters.any("id", |value| text("Id").starts_with(value))
        && filters.all("label", |value| is_labelled(&labels, value))
        && filters.any("name", |value| is_named(text("Name"), value))
        && filters.any("scope", |value| value == "local")
        && filters.any("type", |value| kind == value)
}

/// Everything that is known of one.
pub fn inspect(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let name = exchange.parameter(0);
    let documents = NetworkDocuments::look(&daemon.store)?.with_containers(&daemon.store)?;
    let missing = || Fault::missing(format!("network {name} not found"));
    Ok(Reply::Json(200, documents.find(name).ok_or_else(missing)?))
}

/// Makes one.
pub fn create(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let body: CreateBody = exchange.document()?;
    if body.ingress || body.config_only {
        return Err(Fault::invalid("Ingress and ConfigOnly are of swarms, which box has none of"));
    }
    let name = body.name.clone();
    let record = record(body)?;
    let id = record.id.clone();
    if daemon.store.networks().find(&name).is_ok_and(|known| known.name == name) {
        return Err(Fault::conflict(format!("network with name {name} already exists")));
    }
    make_network(&daemon.store, record).map_err(|error| match error.kind() {
        Kind::Conflict if is_own_network(&name) => {
            Fault::new(403, format!("operation is not permitted on predefined {name} network "))
        }
        Kind::Conflict => Fault::new(
            403,
            format!("invalid pool request: Pool overlaps with other one on this address space: {error}"),
        ),
        _ => error.into(),
    })?;
    Ok(Reply::Json(201, json!({"Id": id, "Warning": ""})))
}

fn record(body: CreateBody) -> Outcome<NetworkRecord> {
    let driver = match body.driver.as_str() {
        "" | "bridge" => NetworkDriver::Bridge,
        "macvlan" => NetworkDriver::Macvlan,
        "ipvlan" => NetworkDriver::Ipvlan,
        other => {
            return Err(Fault::missing(format!(
                "could not find plugin {other} in v1 plugin registry: plugin not found"
            )));
        }
    };
    if !matches!(body.ipam.driver.as_str(), "" | "default") || !body.ipam.options.is_empty() {
        return Err(Fault::invalid(format!(
            "IPAM.Driver: {}: must be default, without options",
            body.ipam.driver
        )));
    }
    let subnets = body.ipam.config.iter().map(subnet).collect::<Outcome<Vec<_>>>()?;
    let ranges =
        body.ipam.config.iter().map(|config| config.ip_range.clone()).filter(|range| !range.is_empty());
    let gateways =
        body.ipam.config.iter().map(|config| config.gateway.clone()).filter(|gateway| !gateway.is_empty());
    let reserved = body.ipam.config.iter().flat_map(|config| config.auxiliary_addresses.clone());
    let id = random_id()?;
    let (mut link, mut mtu) = (format!("pb{}", &id[..10]), None);
    for (name, value) in &body.options {
        let wrong = || Fault::invalid(format!("Options.{name}: {value}: must be a number of bytes"));
        match name.as_str() {
            "com.docker.network.bridge.name" if driver == NetworkDriver::Bridge => link.clone_from(value),
            "parent" if driver != NetworkDriver::Bridge => link.clone_from(value),
            "com.docker.network.driver.mtu" | "mtu" => mtu = Some(value.parse().map_err(|_| wrong())?),
            "com.docker.network.bridge.enable_icc" | "com.docker.network.bridge.enable_ip_masquerade"
                if value == "true" => {}
            _ => return Err(Fault::invalid(format!("Options.{name}: {value}: box has no such option"))),
        }
    }
    if driver != NetworkDriver::Bridge && !body.options.contains_key("parent") {
        return Err(Fault::invalid("Options.parent says over which link of the host's"));
    }
    Ok(NetworkRecord {
        id,
        subnets: subnets.into_iter().flatten().collect(),
        gateways: gateways.collect(),
        ranges: ranges.collect(),
        reserved: reserved.collect_map(),
        internal: body.internal,
        mtu,
        labels: body.labels,
        ..NetworkRecord::new(body.name, link, driver)
    })
}

/// A subnet, if one is named.
fn subnet(config: &IpamConfig) -> Outcome<Option<String>> {
    let IpamConfig { subnet, gateway, ip_range: _, auxiliary_addresses: _ } = config;
    if subnet.is_empty() {
        return match gateway.is_empty() {
            true => Ok(None),
            false => Err(Fault::invalid(format!("IPAM.Config.Gateway: {gateway}: Subnet is missing"))),
        };
    }
    match Cidr::parse(subnet) {
        Some(_) => Ok(Some(subnet.clone())),
        None => Err(Fault::invalid(format!("invalid subnet {subnet}: must be as 10.89.0.0/24"))),
    }
}

/// Removes one.
pub fn remove(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let name = exchange.parameter(0);
    if is_own_network(name) {
        return Err(Fault::new(403, format!("{name} is a pre-defined network and cannot be removed")));
    }
    let record = daemon.network(name)?;
    remove_network(&daemon.store, &record.name).map_err(|error| match error.kind() {
        Kind::Conflict => {
            let documents = NetworkDocuments::look(&daemon.store)
                .and_then(|documents| documents.with_containers(&daemon.store));
            let ends = documents.map(|documents| documents.containers(&record.name)).unwrap_or_default();
            let ends: Vec<String> =
                ends.values().map(|end| format!("name:{} id:{:?}", end["Name"], endpoint(end))).collect();
            let name = &record.name;
            Fault::new(
                403,
                format!(
                    "error while removing network: network {name} has active endpoints ({})",
                    ends.join(", ")
                ),
            )
        }
        _ => error.into(),
    })?;
    Ok(Reply::Empty(204))
}

/// The short form of its id.
fn endpoint(end: &Value) -> &str {
    end["EndpointID"].as_str().and_then(|id| id.get(..12)).unwrap_or_default()
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConnectBody {
    container: String,
    endpoint_config: EndpointBody,
    force: bool,
}

/// Connects a container to one.
pub fn connect(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let name = match exchange.parameter(0) {
        NONE => return Err(private_mode()),
        HOST => {
            return Err(Fault::new(
                403,
                "cannot connect container to host network - container must be created in host network mode",
            ));
        }
        name => known(daemon, name)?,
    };
    let body: ConnectBody = exchange.document()?;
    let folder = daemon.container(&body.container)?;
    if is_to_have_none(&ContainerRecord::of(&folder)?) {
        return Err(private_mode());
    }
    let wanted = connection(&name, &body.endpoint_config)?;
    let mut warn = |text: &str| daemon.log.write(Level::Info, text);
    connect_container(&daemon.store, &folder, wanted, &mut warn).map_err(|error| match error.kind() {
        Kind::Connection => {
            let container = &body.container;
            Fault::new(403, format!("endpoint with name {container} already exists in network {name}"))
        }
        _ => error.into(),
    })?;
    Ok(Reply::Empty(200))
}

/// In Docker's words: who is to have no network has no other one.
fn private_mode() -> Fault {
    Fault::new(
        403,
        "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    )
}

/// Disconnects a container from one.
pub fn disconnect(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (name, body): (String, ConnectBody) = (known(daemon, exchange.parameter(0))?, exchange.document()?);
    let folder = daemon.container(&body.container)?;
    let mut warn = |text: &str| daemon.log.write(Level::Info, text);
    let done = disconnect_container(&daemon.store, &folder, &name, body.force, &mut warn);
    done.map_err(|error| match error.kind() {
        Kind::Connection => {
            Fault::new(403, format!("container {} is not connected to network {name}", folder.id))
        }
        _ => error.into(),
    })?;
    Ok(Reply::Empty(200))
}

/// The name of a network that containers can be on.
fn known(daemon: &Daemon, name: &str) -> Outcome<String> {
    match name {
        USUAL => Ok(USUAL.to_string()),
        HOST => Err(Fault::new(
            403,
            "container cannot be disconnected from host network or connected to host network",
        )),
        NONE => Ok(NONE.to_string()),
        name => Ok(daemon.network(name)?.name),
    }
}

/// Removes those that no container has.
pub fn prune(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let filters = exchange.head.query.filters(&["until", "label", "label!"])?;
    let names = prune_networks(&daemon.store, &filters.prune_filter()?)?;
    let deleted = if names.is_empty() { Value::Null } else { json!(names) };
    Ok(Reply::Json(200, json!({ "NetworksDeleted": deleted })))
}
