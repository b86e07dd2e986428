//! A container is connected to a network, or disconnected from one, whether it runs or not.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use pillbox::Root;
use pillbox::container::Elsewhere;
use pillbox::state::NetworkRecord as Interface;

use super::connector::Connector;
use super::exposed::ports_to_publish;
use super::monitor::{Decoder, Hello, Kind, VERSION, connect as reach_monitor, encode, encode_value};
use super::neighbours::{announce, check_names_on_networks};
use super::network::{NetworkFacts, compile_connection, compile_network, parse_network, runtime_name};
use super::options::{Connection, Network, NetworkMode, USUAL};
use super::ports::is_on;
use super::record::ContainerRecord;
use super::rename::lock;
use super::rootless::{Namespaces, Rootless};
use super::status::open;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::store::{ContainerFolder, Store};

/// The network of those that are to have none.
const NONE: &str = "none";

/// How long a monitor is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects a container to a network; one that runs at once.
///
/// # Errors
/// It is on that network already, or cannot be; something that is asked for cannot be had. Everything is as before then.
pub fn connect(
    store: &Store,
    folder: &ContainerFolder,
    mut connection: Connection,
    warn: &mut dyn FnMut(&str),
) -> Result<()> {
    let _locks = (lock(folder)?, folder.lock_networks()?);
    let mut record = ContainerRecord::of(folder)?;
    check_mode(&record)?;
    if is_to_have_none(&record) {
        let name = &record.name;
        return Err(Error::conflict(format!(
            "container {name}: it is to have no network: box network disconnect none {name} first"
        )));
    }
    let mut wanted = record.options.network.clone();
    let mut connections = wanted.connections();
    if connection.network != USUAL {
        connection.network = store.networks().find(&connection.network)?.name;
    }
    let name = connection.network.clone();
    // It is not removed meanwhile.
    let _network = (name != USUAL).then(|| store.networks().lock(&name)).transpose()?;
    let is_recorded = connections.iter().any(|known| known.network == name);
    if !is_recorded {
        connections.push(connection.clone());
    }
    wanted.set_connections(connections);
    let facts = NetworkFacts::look(store, &wanted)?;
    let named = facts.named.iter().find(|record| record.name == name);
    let link = runtime_name(named);
    let interfaces = interfaces(store, folder)?;
    let is_made = interfaces.as_ref().is_none_or(|all| all.iter().any(|one| is_on(one, &link)));
    if is_recorded && is_made {
        return Err(Error::new(
            ErrorKind::Connection,
            format!("network {name}: container {} is connected to it already", record.name),
        ));
    }
    let mut options = record.options.clone();
    options.network = wanted.clone();
    check_names_on_networks(&record.name, &options)?;
    parse_network(&compile_network(&record.execution, &wanted, &facts)?, folder.names())?;
    let root = Root::at(&store.place().runtime);
    let id = pillbox::ContainerId::new(folder.id.as_str())?;
    if let Some(interfaces) = interfaces.as_ref().filter(|_| !is_made) {
        let is_published = interfaces.iter().any(|interface| !interface.ports.is_empty());
        let can_publish = named
            .is_none_or(|record| record.driver == crate::store::NetworkDriver::Bridge && !record.internal);
        let published = match is_published || !can_publish {
            true => Vec::new(),
            false => ports_to_publish(&record.execution, &wanted)?,
        };
        let document = compile_connection(&wanted, &connection, &published, &facts)?;
        let mut networks = parse_network(&document, folder.names())?;
        if let Some(namespaces) = namespaces_of(store, folder, &record.name)? {
            networks.set_elsewhere(Arc::new(Connector::new(namespaces, document, Vec::new())));
        }
        for warning in pillbox::container::connect(&root, &id, &networks)? {
            warn(&warning.to_string());
        }
    }
    record.options.network = wanted;
    if let Err(error) = record.write(folder) {
        if let Some(made) = find_interface(store, folder, &link)?.filter(|_| interfaces.is_some()) {
            take_away(store, folder, &record.name, &made)?;
        }
        return Err(error);
    }
    announce(store, &record.options.network);
    if let Some(network) = named {
        store.events().note_network(network, "connect", Some(&record.id));
    }
    if interfaces.is_some() && name != USUAL && !tell_monitor(store, folder)? {
        warn(&format!(
            "container {}: it has no monitor that would answer it for names: others find it by its name, but not it others",
            record.name
        ));
    }
    Ok(())
}

/// Whether a container was asked for with `--network none`.
pub fn is_to_have_none(record: &ContainerRecord) -> bool {
    record.options.network.mode == NetworkMode::None && !record.options.network.is_disconnected
}

/// Disconnects a container from a network; one that runs at once. From `none`, too: others can be its networks then. With `force` also one that has lost its networks: what cannot be undone
/// now is said, and goes with its end.
///
/// # Errors
/// It is not on that network; something could not be undone.
pub fn disconnect(
    store: &Store,
    folder: &ContainerFolder,
    name: &str,
    force: bool,
    warn: &mut dyn FnMut(&str),
) -> Result<()> {
    let _locks = (lock(folder)?, folder.lock_networks()?);
    let mut record = ContainerRecord::of(folder)?;
    check_mode(&record)?;
    if name == NONE && is_to_have_none(&record) {
        record.options.network.is_disconnected = true;
        return record.write(folder);
    }
    let before = record.options.network.clone();
    // Also from one that is gone meanwhile, by its name.
    let found = if name == USUAL { None } else { Some(store.networks().find(name)) };
    let named = found.and_then(Result::ok);
    let name = named.as_ref().map_or(name, |record| record.name.as_str());
    let mut connections = before.connections();
    let is_recorded = connections.iter().any(|known| known.network == name);
    connections.retain(|known| known.network != name);
    let made = match named.is_some() || name == USUAL {
        true => find_interface(store, folder, &runtime_name(named.as_ref()))?,
        false => None,
    };
    if !is_recorded && made.is_none() {
        return Err(Error::new(
            ErrorKind::Connection,
            format!("network {name}: container {} is not connected to it", record.name),
        ));
    }
    let taken = match made {
        Some(made) => take_away(store, folder, &record.name, &made),
        None if interfaces(store, folder)?.is_some() => namespaces_of(store, folder, &record.name).map(drop),
        None => Ok(()),
    };
    match taken {
        Err(error) if force && is_recorded => warn(&error.to_string()),
        taken => taken?,
    }
    record.options.network.set_connections(connections);
    record.write(folder)?;
    announce(store, &before);
    if let Some(network) = &named {
        store.events().note_network(network, "disconnect", Some(&record.id));
    }
    Ok(())
}

/// Takes an interface away from a container that runs.
fn take_away(store: &Store, folder: &ContainerFolder, name: &str, made: &Interface) -> Result<()> {
    let root = Root::at(&store.place().runtime);
    let id = pillbox::ContainerId::new(folder.id.as_str())?;
    let connector = match namespaces_of(store, folder, name)? {
        Some(namespaces) => {
            Some(Connector::of_connected(namespaces, &interfaces(store, folder)?.unwrap_or_default()))
        }
        None => None,
    };
    let elsewhere = connector.as_ref().map(|connector| connector as &dyn Elsewhere);
    Ok(pillbox::container::disconnect(&root, &id, &made.interface, &folder.names(), elsewhere)?)
}

/// Where the interfaces of a running container of an ordinary user's are made; `None` for root's, whose are made on the host.
fn namespaces_of(store: &Store, folder: &ContainerFolder, name: &str) -> Result<Option<Namespaces>> {
    let Some(rootless) = Rootless::of(store) else { return Ok(None) };
    let missing = || Error::conflict(format!("container {name}: it has just ended"));
    let pid = open(store, &folder.id)?.ok_or_else(missing)?.pid()?;
    match rootless.find()? {
        Some(namespaces) if namespaces.have(pid)? => Ok(Some(namespaces)),
        _ => Err(Error::conflict(format!(
            "container {name}: it was started without a network with a name, or has lost those that it had, so that its networks cannot be changed while it runs: stop it first (box stop {name})"
        ))),
    }
}

fn check_mode(record: &ContainerRecord) -> Result<()> {
    let Network { mode, .. } = &record.options.network;
    let why = match mode {
        NetworkMode::Host => "the host's",
        NetworkMode::Container(_) => "another container's",
        NetworkMode::Default | NetworkMode::None | NetworkMode::Named(_) => return Ok(()),
    };
    Err(Error::conflict(format!(
        "container {}: its network is {why}: only one with a network of its own can be connected",
        record.name
    )))
}

/// The interfaces of a container that runs, or is about to.
fn interfaces(store: &Store, folder: &ContainerFolder) -> Result<Option<Vec<Interface>>> {
    let Some(container) = open(store, &folder.id)? else { return Ok(None) };
    // It may have gone since.
    if !container.status().is_ok_and(|status| status != pillbox::Status::Stopped) {
        return Ok(None);
    }
    let id = pillbox::ContainerId::new(folder.id.as_str())?;
    let state = Root::at(&store.place().runtime).find(&id)?.load()?;
    Ok(Some(state.network.0))
}

fn find_interface(store: &Store, folder: &ContainerFolder, link: &str) -> Result<Option<Interface>> {
    let interfaces = interfaces(store, folder)?.unwrap_or_default();
    Ok(interfaces.into_iter().find(|interface| interface.network == link))
}

/// Has a container's monitor answer for names, if it does not yet; whether there is one that does.
fn tell_monitor(store: &Store, folder: &ContainerFolder) -> Result<bool> {
    let Some(mut stream) = reach_monitor(store, &folder.id)? else { return Ok(false) };
    stream.set_read_timeout(Some(PATIENCE))?;
    let hello = Hello { version: VERSION, output: false, input: false };
    stream.write_all(&encode_value(Kind::Hello, &hello))?;
    stream.write_all(&encode(Kind::Names, b""))?;
    let (mut decoder, mut buffer) = (Decoder::default(), [0; 1024]);
    loop {
        // One of an earlier version hangs up.
        let length = match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(false),
            Ok(length) => length,
        };
        decoder.add(&buffer[..length]);
        while let Some((kind, _)) = decoder.next_frame()? {
            if kind == Kind::Names {
                return Ok(true);
            }
        }
    }
}
