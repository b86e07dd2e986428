//! network: networks with names.

use std::collections::BTreeMap;
use std::path::Path;

use pillbox::container::{STORE, worded};
use pillbox_network::Cidr;
use serde_json::{Value, json};

use super::confirmation::{FORCE, is_confirmed};
use super::container_flags::labels;
use super::documents::show_documents;
use super::format::Format;
use super::table::{list, table};
use super::{Arguments, Command, Flag, Global, each, print, whole};
use crate::container::{ContainerRecord, NetworkMode, Status, check_network_name};
use crate::error::{Error, Kind, Result, unless_gone};
use crate::store::{NetworkDriver, NetworkRecord, Store, random_id};
use crate::time::{Moment, rfc3339};

pub const CREATE: Command = Command {
    name: "network create",
    aliases: &[],
    operands: "NAME",
    operand_count: 1..=1,
    help: "make a network, on which containers find each other by name",
    flags: &[&[
        Flag {
            long: "driver",
            short: Some('d'),
            value: Some("DRIVER"),
            help: "bridge (default), macvlan or ipvlan",
        },
        Flag {
            long: "subnet",
            short: None,
            value: Some("SUBNET"),
            help: "as 10.89.0.0/24; otherwise free ones",
        },
        Flag { long: "internal", short: None, value: None, help: "it has no way out" },
        Flag {
            long: "opt",
            short: Some('o'),
            value: Some("NAME=VALUE"),
            help: "parent=LINK for macvlan and ipvlan; mtu=BYTES",
        },
        Flag { long: "label", short: None, value: Some("NAME=VALUE"), help: "whatever you like" },
    ]],
    ends_at_operand: false,
    run: create,
};

pub const LS: Command = Command {
    name: "network ls",
    aliases: &["network list"],
    operands: "",
    operand_count: 0..=0,
    help: "list networks",
    flags: &[&[
        Flag { long: "quiet", short: Some('q'), value: None, help: "ids alone" },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.Name}}" },
    ]],
    ends_at_operand: false,
    run: ls,
};

pub const INSPECT: Command = Command {
    name: "network inspect",
    aliases: &[],
    operands: "NETWORK …",
    operand_count: 1..=usize::MAX,
    help: "show networks as JSON",
    flags: &[&[Flag {
        long: "format",
        short: Some('f'),
        value: Some("FORMAT"),
        help: "json, or fields as {{.Driver}}",
    }]],
    ends_at_operand: false,
    run: inspect,
};

pub const RM: Command = Command {
    name: "network rm",
    aliases: &["network remove"],
    operands: "NETWORK …",
    operand_count: 1..=usize::MAX,
    help: "remove networks on which no container runs",
    flags: &[],
    ends_at_operand: false,
    run: rm,
};

pub const PRUNE: Command = Command {
    name: "network prune",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "remove networks that no container has",
    flags: &[&[FORCE]],
    ends_at_operand: false,
    run: prune,
};

/// Networks that are always there.
const OWN: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

fn create(global: &Global, arguments: &Arguments) -> Result<u8> {
    let name = arguments.operand(0)?.unwrap_or_default();
    check_network_name(name)?;
    let driver = match arguments.text("driver")? {
        None | Some("bridge") => NetworkDriver::Bridge,
        Some("macvlan") => NetworkDriver::Macvlan,
        Some("ipvlan") => NetworkDriver::Ipvlan,
        Some(other) => {
            return Err(Error::invalid(format!("--driver {other}: must be bridge, macvlan or ipvlan")));
        }
    };
    let id = random_id()?;
    let (mut link, mut mtu) = (format!("pb{}", &id[..10]), None);
    let options = arguments.texts("opt")?;
    for option in &options {
        match option.split_once('=') {
            Some(("parent", parent)) if driver != NetworkDriver::Bridge => link = parent.to_string(),
            Some(("mtu" | "com.docker.network.driver.mtu", bytes)) => {
                let wrong = || Error::invalid(format!("--opt {option}: must be a number of bytes"));
                mtu = Some(bytes.parse().map_err(|_| wrong())?);
            }
            _ => {
                return Err(Error::invalid(format!(
                    "--opt {option}: must be parent=LINK (not of a bridge) or mtu=BYTES"
                )));
            }
        }
    }
    if driver != NetworkDriver::Bridge && !options.iter().any(|option| option.starts_with("parent=")) {
        return Err(Error::invalid(
            "--driver macvlan and ipvlan: --opt parent=LINK says over which link of the host's",
        ));
    }
    let record = NetworkRecord {
        id,
        name: name.to_string(),
        driver,
        link,
        subnets: arguments.texts("subnet")?,
        internal: arguments.is_set("internal"),
        mtu,
        labels: labels(arguments)?,
        created: Moment::now(),
    };
    let store = global.store()?;
    make(&store, &record)?;
    print(&format!("{}\n", record.id))
}

/// Makes a network.
///
/// # Errors
/// It cannot be as it is described; there is one of that name, or with that subnet.
pub fn make(store: &Store, record: &NetworkRecord) -> Result<()> {
    let name = record.name.as_str();
    check_network_name(name)?;
    if OWN.iter().any(|(own, _)| *own == name) {
        return Err(Error::conflict(format!("network {name}: it is always there")));
    }
    // What is wrong with it is said now, not by its first container.
    let network =
        crate::container::Network { mode: NetworkMode::Named(name.to_string()), ..Default::default() };
    let netconf =
        crate::container::compile_network(&Default::default(), &network, Some(record), false)?.to_string();
    pillbox::container::Networks::parse(format!("network {name}"), netconf.as_bytes())?;
    if store.maps().is_some() {
        return Err(Error::new(
            Kind::Host,
            format!(
                "network {name}: an ordinary user can make no links on the host: containers have a network in user mode by themselves"
            ),
        ));
    }
    check_overlaps(store, record)?;
    store.networks().add(record)
}

/// Subnets that two networks have would be said by the second one's first container.
fn check_overlaps(store: &Store, record: &NetworkRecord) -> Result<()> {
    let parse = |record: &NetworkRecord| {
        record.subnets.iter().filter_map(|text| Cidr::parse(text)).collect::<Vec<_>>()
    };
    let own = parse(record);
    for other in store.networks().list()? {
        for theirs in parse(&other) {
            if let Some(subnet) = own.iter().find(|own| own.overlaps(theirs)) {
                return Err(Error::conflict(format!(
                    "network {}: subnet {subnet} overlaps with network {} ({theirs}): choose another one",
                    record.name, other.name
                )));
            }
        }
    }
    Ok(())
}

fn ls(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let format = Format::parse(arguments.text("format")?)?;
    let own = OWN.iter().map(|(name, driver)| ("-".repeat(12), name.to_string(), driver.to_string()));
    let records = store.networks().list()?;
    let named = records
        .iter()
        .map(|record| (record.id[..12].to_string(), record.name.clone(), driver(record).to_string()));
    let rows: Vec<_> = own.chain(named).collect();
    if arguments.is_set("quiet") {
        let ids = records.iter().map(|record| format!("{}\n", &record.id[..12]));
        return print(&ids.collect::<String>());
    }
    if format != Format::Table {
        let lines = rows.iter().map(|(id, name, driver)| {
            format.row(&json!({"ID": id, "Name": name, "Driver": driver, "Scope": "local"}))
        });
        return print(&lines.collect::<Result<String>>()?);
    }
    let cells: Vec<[String; 3]> = rows.into_iter().map(|(id, name, driver)| [id, name, driver]).collect();
    print(&table(["NETWORK ID", "NAME", "DRIVER"], &cells))
}

fn driver(record: &NetworkRecord) -> &'static str {
    match record.driver {
        NetworkDriver::Bridge => "bridge",
        NetworkDriver::Macvlan => "macvlan",
        NetworkDriver::Ipvlan => "ipvlan",
    }
}

fn inspect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    show_documents(arguments, |name| document(&store, name))
}

/// Everything that is known of a network.
///
/// # Errors
/// There is none of that name.
pub fn document(store: &Store, name: &str) -> Result<Value> {
    let record = store.networks().find(name)?;
    let containers: BTreeMap<String, Value> = running_on(store, &record.name)?
        .into_iter()
        .map(|container| (container.id, json!({"Name": container.name})))
        .collect();
    Ok(json!({
        "Name": record.name,
        "Id": record.id,
        "Created": rfc3339(record.created),
        "Driver": driver(&record),
        "Internal": record.internal,
        "Subnets": record.subnets,
        "Link": record.link,
        "Containers": containers,
        "Labels": record.labels,
    }))
}

fn running_on(store: &Store, network: &str) -> Result<Vec<ContainerRecord>> {
    let mut found = Vec::new();
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        if record.options.network.mode == NetworkMode::Named(network.to_string())
            && whole(&folder, Status::of(store, &folder)).is_some_and(|status| status.is_alive())
        {
            found.push(record);
        }
    }
    Ok(found)
}

fn prune(global: &Global, arguments: &Arguments) -> Result<u8> {
    if !is_confirmed(arguments, "all networks that no container has")? {
        return Ok(0);
    }
    print(&list("Deleted Networks", &prune_networks(&global.store()?)?))
}

fn rm(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    each(arguments, |name| remove(&store, name))
}

/// Removes a network, and what its containers have left of it on the host.
///
/// # Errors
/// There is none; a container runs on it.
pub fn remove(store: &Store, name: &str) -> Result<()> {
    if OWN.iter().any(|(own, _)| *own == name) {
        return Err(Error::conflict(format!("network {name}: it is always there")));
    }
    let record = store.networks().find(name)?;
    let _lock = store.networks().lock(&record.name)?;
    if let Some(container) = running_on(store, &record.name)?.first() {
        return Err(Error::conflict(format!(
            "network {name}: container {} runs on it: stop it first",
            container.name
        )));
    }
    take_down(&record)?;
    store.networks().remove(&record.name)
}

/// Removes networks that no container has, running or not; their names.
///
/// # Errors
/// One cannot be removed.
pub fn prune_networks(store: &Store) -> Result<Vec<String>> {
    let used: Vec<NetworkMode> =
        ContainerRecord::list(store)?.into_iter().map(|record| record.options.network.mode).collect();
    let mut names = Vec::new();
    for record in store.networks().list()? {
        if !used.contains(&NetworkMode::Named(record.name.clone())) {
            names.extend(unless_gone(remove(store, &record.name))?.map(|()| record.name));
        }
    }
    Ok(names)
}

/// Removes from the host what its first container has brought.
fn take_down(record: &NetworkRecord) -> Result<()> {
    use pillbox_network::{host::Host, inspect, store::Store};
    let name = match record.driver {
        NetworkDriver::Bridge => record.link.clone(),
        _ => format!("{}-{}", driver(record), record.link),
    };
    let Some(store) = Store::find(Path::new(STORE)).map_err(worded)? else { return Ok(()) };
    let removed = Host::open().and_then(|mut host| inspect::remove(&store, &mut host, &name));
    match removed {
        Err(error) if error.kind() == pillbox_network::Kind::Missing => Ok(()),
        removed => Ok(removed.map_err(worded)?),
    }
}
