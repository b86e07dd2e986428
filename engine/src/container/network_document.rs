//! Networks as documents of Docker's shape: those with names, and those that are always there.

use std::collections::BTreeMap;

use pillbox_network::network::Network;
use serde_json::{Value, json};

use super::network::own_network_id;
use super::network_settings::{Endpoint, NetworkSettings};
use super::ports::interfaces;
use super::record::ContainerRecord;
use super::subnets::{existing_networks, expected_subnets, subnet_documents};
use crate::error::Result;
use crate::store::{NetworkDriver, NetworkRecord, NetworkRecords, Store};
use crate::time::{Moment, rfc3339};

/// Networks that are always there, and their drivers.
const OWN: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// The bridge of containers that name no network.
const DEFAULT_BRIDGE: &str = "pillbox0";

/// So many digits of the id of one that is always there are enough to name it.
const ID_LEAST: usize = 12;

/// Whether it is one of those that are always there.
pub fn is_own_network(name: &str) -> bool {
    OWN.iter().any(|(own, _)| *own == name)
}

/// What is looked up once for all documents.
pub struct NetworkDocuments {
    records: Vec<NetworkRecord>,
    /// What exists on the host at this moment.
    existing: Vec<Network>,
    /// The subnets that the bridge without a name will have.
    expected: Vec<String>,
    containers: Vec<(ContainerRecord, BTreeMap<String, Endpoint>)>,
}

/// What a document shows.
struct Shown<'a> {
    name: &'a str,
    id: &'a str,
    created: Moment,
    driver: &'a str,
    internal: bool,
    subnets: Vec<Value>,
    options: Value,
    labels: &'a BTreeMap<String, String>,
}

impl NetworkDocuments {
    /// Looks up the networks, without their containers.
    ///
    /// # Errors
    /// The store, or what the runtime has made, cannot be read.
    pub fn look(store: &Store) -> Result<NetworkDocuments> {
        let existing = existing_networks(store)?;
        // It is shown without them if nobody can tell.
        let expected = expected_subnets(store, &existing).unwrap_or_default();
        Ok(NetworkDocuments { records: store.networks().list()?, existing, expected, containers: Vec::new() })
    }

    /// Looks up their containers as well.
    ///
    /// # Errors
    /// As for [`NetworkDocuments::look`].
    pub fn with_containers(mut self, store: &Store) -> Result<NetworkDocuments> {
        let named = |name: &str| NetworkRecords::find_in(&self.records, name).cloned();
        for record in ContainerRecord::list(store)? {
            // One whose state is damaged keeps nobody from the others.
            let interfaces = interfaces(store, &record.id).unwrap_or_default();
            let endpoints = NetworkSettings::of(&record, &interfaces, &named).networks;
            self.containers.push((record, endpoints));
        }
        Ok(self)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Value> {
        let own = OWN.iter().map(|(name, driver)| self.own(name, driver));
        self.records.iter().map(|record| self.named(record)).chain(own).collect()
    }

    /// That of a name or the beginning of an id, if there is one.
    pub fn find(&self, name: &str) -> Option<Value> {
        let is_id = |own: &str| name.len() >= ID_LEAST && own_network_id(own).starts_with(name);
        let own = OWN.iter().find(|(own, _)| *own == name || is_id(own));
        let record = || NetworkRecords::find_in(&self.records, name).map(|record| self.named(record));
        own.map(|(name, driver)| self.own(name, driver)).or_else(record)
    }

    /// The containers that run on a network.
    pub fn containers(&self, network: &str) -> serde_json::Map<String, Value> {
        let mut containers = serde_json::Map::new();
        for (record, endpoints) in &self.containers {
            let Some(endpoint) = endpoints.get(network).filter(|endpoint| !endpoint.id.is_empty()) else {
                continue;
            };
            let document = json!({
                "Name": record.name,
                "EndpointID": endpoint.id,
                "MacAddress": endpoint.addresses.mac,
                "IPv4Address": endpoint.addresses.four(),
                "IPv6Address": endpoint.addresses.six(),
            });
            containers.insert(record.id.clone(), document);
        }
        containers
    }

    fn own(&self, name: &str, driver: &str) -> Value {
        let (mut subnets, mut options) = (Vec::new(), json!({}));
        if name == "bridge" {
            let bridge = NetworkRecord {
                chosen: self.expected.clone(),
                ..NetworkRecord::new(name.to_string(), DEFAULT_BRIDGE.to_string(), NetworkDriver::Bridge)
            };
            subnets = subnet_documents(&bridge, &self.existing);
            options = json!({
                "com.docker.network.bridge.default_bridge": "true",
                "com.docker.network.bridge.name": DEFAULT_BRIDGE,
            });
        }
        self.document(Shown {
            name,
            id: &own_network_id(name),
            created: Moment(0),
            driver,
            internal: false,
            subnets,
            options,
            labels: &BTreeMap::new(),
        })
    }

    fn named(&self, record: &NetworkRecord) -> Value {
        let mut options = serde_json::Map::new();
        if let Some(mtu) = record.mtu {
            options.insert("com.docker.network.driver.mtu".into(), json!(mtu.to_string()));
        }
        if record.driver != NetworkDriver::Bridge {
            options.insert("parent".into(), json!(record.link));
        }
        let NetworkRecord { name, id, created, internal, labels, driver, .. } = record;
        self.document(Shown {
            name,
            id,
            created: *created,
            driver: driver.name(),
            internal: *internal,
            subnets: subnet_documents(record, &self.existing),
            options: Value::Object(options),
            labels,
        })
    }

    fn document(&self, shown: Shown<'_>) -> Value {
        let Shown { name, id, created, driver, internal, subnets, options, labels } = shown;
        let is_six = |range: &Value| range["Subnet"].as_str().is_some_and(|text| text.contains(':'));
        json!({
            "Name": name,
            "Id": id,
            "Created": rfc3339(created),
            "Scope": "local",
            "Driver": driver,
            "EnableIPv4": true,
            "EnableIPv6": subnets.iter().any(is_six),
            "IPAM": {"Driver": "default", "Options": {}, "Config": subnets},
            "Internal": internal,
            "Attachable": false,
            "Ingress": false,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": false,
            "Containers": self.containers(name),
            "Options": options,
            "Labels": labels,
        })
    }
}
