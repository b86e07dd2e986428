//! network: networks with names.

use std::collections::BTreeSet;
use std::path::Path;

use pillbox::container::{STORE, worded};
use pillbox_network::Cidr;

use super::confirmation::{FORCE, is_confirmed};
use super::container_flags::{addresses, labels};
use super::prune_filter::{FILTER, PruneFilter};
use super::table::list;
use super::{Arguments, Command, Flag, Global, each, print, say, whole};
use crate::container::{
    Connection, ContainerRecord, NetworkFacts, NetworkMode, Rootless, Status, check_network_name,
    check_ranges, choose_gateways, choose_subnets, compile_network, is_own_network,
};
use crate::error::{Error, Kind, Result};
use crate::order::Collect;
use crate::store::{EventKind, NetworkDriver, NetworkRecord, Store, random_id};

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
        Flag {
            long: "gateway",
            short: None,
            value: Some("ADDRESS"),
            help: "the host's address there: otherwise the first that is given",
        },
        Flag {
            long: "ip-range",
            short: None,
            value: Some("RANGE"),
            help: "the part of a subnet out of which addresses are given",
        },
        Flag {
            long: "aux-address",
            short: None,
            value: Some("NAME=ADDRESS"),
            help: "an address that no container gets",
        },
        Flag {
            long: "ipv6",
            short: None,
            value: None,
            help: "it has an IPv6 subnet, as each has without --subnet",
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

pub const RM: Command = Command {
    name: "network rm",
    aliases: &["network remove"],
    operands: "NETWORK …",
    operand_count: 1..=usize::MAX,
    help: "remove networks on which no container runs",
    flags: &[&[Flag {
        long: "force",
        short: Some('f'),
        value: None,
        help: "one that is not there is no error",
    }]],
    ends_at_operand: false,
    run: rm,
};

pub const PRUNE: Command = Command {
    name: "network prune",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "remove networks that no container has",
    flags: &[&[FORCE, FILTER]],
    ends_at_operand: false,
    run: prune,
};

pub const CONNECT: Command = Command {
    name: "network connect",
    aliases: &[],
    operands: "NETWORK CONTAINER",
    operand_count: 2..=2,
    help: "connect a container to one more network, whether it runs or not",
    flags: &[&[
        Flag { long: "ip", short: None, value: Some("ADDRESS"), help: "its IPv4 address there" },
        Flag { long: "ip6", short: None, value: Some("ADDRESS"), help: "its IPv6 address there" },
        Flag { long: "alias", short: None, value: Some("NAME"), help: "one more name there" },
    ]],
    ends_at_operand: false,
    run: connect,
};

pub const DISCONNECT: Command = Command {
    name: "network disconnect",
    aliases: &[],
    operands: "NETWORK CONTAINER",
    operand_count: 2..=2,
    help: "disconnect a container from a network, whether it runs or not",
    flags: &[&[Flag {
        long: "force",
        short: Some('f'),
        value: None,
        help: "also one that has lost its networks",
    }]],
    ends_at_operand: false,
    run: disconnect,
};

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
    let subnets = arguments.texts("subnet")?;
    if arguments.is_set("ipv6") && !subnets.is_empty() && !subnets.iter().any(|text| text.contains(':')) {
        return Err(Error::invalid(
            "--ipv6: none of its subnets is one: --subnet fd00:…/64, or leave --subnet out",
        ));
    }
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
        id: id.clone(),
        subnets,
        gateways: arguments.texts("gateway")?,
        ranges: arguments.texts("ip-range")?,
        reserved: arguments.texts("aux-address")?.iter().map(|text| reserved(text)).try_collect_map()?,
        internal: arguments.is_set("internal"),
        mtu,
        labels: labels(arguments)?,
        ..NetworkRecord::new(name.to_string(), link, driver)
    };
    let store = global.store()?;
    make(&store, record)?;
    print(&format!("{id}\n"))
}

/// An address that somebody else has, with his name.
fn reserved(text: &str) -> Result<(String, String)> {
    let split = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, address) =
        split.ok_or_else(|| Error::invalid(format!("--aux-address {text}: must be NAME=ADDRESS")))?;
    Ok((name.to_string(), address.to_string()))
}

/// Makes a network.
///
/// # Errors
/// It cannot be as it is described; there is one of that name, or with that subnet.
pub fn make(store: &Store, mut record: NetworkRecord) -> Result<()> {
    choose_subnets(store, &mut record)?;
    choose_gateways(&mut record);
    let record = &record;
    let name = record.name.as_str();
    check_network_name(name)?;
    if is_own_network(name) {
        return Err(Error::conflict(format!("network {name}: it is always there")));
    }
    check_ranges(record)?;
    // What is wrong with it is said now, not by its first container.
    let network =
        crate::container::Network { mode: NetworkMode::Named(name.to_string()), ..Default::default() };
    let facts = NetworkFacts { named: vec![record.clone()], ..NetworkFacts::default() };
    let netconf = compile_network(&Default::default(), &network, &facts)?.to_string();
    pillbox::container::Networks::parse(format!("network {name}"), netconf.as_bytes())?;
    refuse_links_of_host(store, record)?;
    check_overlaps(store, record)?;
    store.networks().add(record)?;
    store.events().note_network(record, "create", None);
    Ok(())
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

fn connect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let network = arguments.operand(0)?.unwrap_or_default();
    refuse_unconnectable(network, &["host", "none"])?;
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(1)?.unwrap_or_default())?;
    let connection = Connection {
        network: network.to_string(),
        aliases: arguments.texts("alias")?,
        addresses: addresses(arguments)?,
        mac: None,
    };
    crate::container::connect(&store, &folder, connection, &mut say).map(|()| 0)
}

fn disconnect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let network = arguments.operand(0)?.unwrap_or_default();
    refuse_unconnectable(network, &["host"])?;
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(1)?.unwrap_or_default())?;
    let force = arguments.is_set("force");
    crate::container::disconnect(&store, &folder, network, force, &mut say).map(|()| 0)
}

/// Whose network is the host's, or none, has had it from its beginning.
fn refuse_unconnectable(network: &str, refused: &[&str]) -> Result<()> {
    match refused.contains(&network) {
        true => Err(Error::invalid(format!(
            "network {network}: a container has it from its beginning: box run --network {network}"
        ))),
        false => Ok(()),
    }
}

/// Links of the host are root's, and so is what lies over them.
fn refuse_links_of_host(store: &Store, record: &NetworkRecord) -> Result<()> {
    match record.driver {
        NetworkDriver::Macvlan | NetworkDriver::Ipvlan if store.maps().is_some() => {
            Err(Error::invalid(format!(
                "--driver {}: it lies over a link of the host's ({}), which is root's: an ordinary user's networks are bridges",
                record.driver.name(),
                record.link
            )))
        }
        _ => Ok(()),
    }
}

/// The containers that run on it.
pub(super) fn running_on(store: &Store, network: &str) -> Result<Vec<ContainerRecord>> {
    let mut found = Vec::new();
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        if record.options.network.names().iter().any(|name| name == network)
            && whole(&folder, Status::of(store, &folder)).is_some_and(|status| status.is_alive())
        {
            found.push(record);
        }
    }
    Ok(found)
}

fn prune(global: &Global, arguments: &Arguments) -> Result<u8> {
    let filter = PruneFilter::parse(arguments)?;
    if !is_confirmed(arguments, "all networks that no container has")? {
        return Ok(0);
    }
    print(&list("Deleted Networks", &prune_networks(&global.store()?, &filter)?))
}

fn rm(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    each(arguments, |name| {
        // One that another command removes meanwhile is gone, as was wanted.
        let is_gone_well = arguments.is_set("force") || store.networks().find(name).is_ok();
        match remove(&store, name) {
            Err(error) if error.kind() == Kind::NotFound && is_gone_well => Ok(()),
            removed => removed,
        }
    })
}

/// Removes a network, and what its containers have left of it on the host.
///
/// # Errors
/// There is none; a container runs on it.
pub fn remove(store: &Store, name: &str) -> Result<()> {
    if is_own_network(name) {
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
    let rootless = Rootless::of(store);
    match &rootless {
        None => take_down(&record)?,
        Some(rootless) => rootless.take_down(&record.runtime_name())?,
    }
    store.networks().remove(&record.name)?;
    rootless.map_or(Ok(()), |rootless| rootless.end_if_unused(store))?;
    store.events().note_network(&record, "destroy", None);
    Ok(())
}

/// Removes networks that no container has, running or not; their names.
///
/// # Errors
/// One cannot be removed.
pub fn prune_networks(store: &Store, filter: &PruneFilter) -> Result<Vec<String>> {
    let used = networks_in_use(store)?;
    let mut names = Vec::new();
    for record in store.networks().list()? {
        if used.contains(&record.name) || !filter.accepts(record.created, &record.labels) {
            continue;
        }
        match remove(store, &record.name) {
            // Another command was faster, or a container runs on it by now.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            removed => {
                removed?;
                names.push(record.name);
            }
        }
    }
    store.events().note_prune(EventKind::Network, 0);
    Ok(names)
}

/// The networks that containers are on, whether they run or not.
///
/// # Errors
/// A folder cannot be read.
pub fn networks_in_use(store: &Store) -> Result<BTreeSet<String>> {
    let names = |record: ContainerRecord| record.options.network.names();
    Ok(ContainerRecord::list(store)?.into_iter().flat_map(names).collect())
}

/// Removes from the host what its first container has brought.
fn take_down(record: &NetworkRecord) -> Result<()> {
    use pillbox_network::{host::Host, inspect, store::Store};
    let name = record.runtime_name();
    let Some(store) = Store::find(Path::new(STORE)).map_err(worded)? else { return Ok(()) };
    let removed = Host::open().and_then(|mut host| inspect::remove(&store, &mut host, &name));
    match removed {
        Err(error) if error.kind() == pillbox_network::Kind::Missing => Ok(()),
        removed => Ok(removed.map_err(worded)?),
    }
}
