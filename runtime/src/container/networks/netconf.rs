//! Networks of pillbox's own.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

use pillbox_network::attach::{self, Owner, Reserved};
use pillbox_network::detach;
use pillbox_network::host::Host;
use pillbox_network::store::Store;
use pillbox_network::{Holder, Interface, Request, attachment_key};

use super::{port_text, worded};
use crate::container::network::Network;
use crate::error::{Context, Result, Warning, WarningKind};
use crate::state::{Entry, NetworkRecord, StateDirectory};

/// Where leases, published ports and attachments are recorded: for the whole host, whatever the root of its
/// containers.
pub const STORE: &str = "/run/pillbox/.network";

/// A container's interfaces, decided and recorded.
pub struct Own {
    store: Store,
    host: Host,
    reserved: Reserved,
}

/// Decides about the interfaces and records that, in the journal first.
pub fn reserve(
    requests: &[Request],
    directory: &StateDirectory,
    namespace: Option<String>,
    warnings: &mut Vec<Warning>,
) -> Result<Own> {
    let owner = owner(directory, namespace)?;
    let open = || Ok((Store::open(Path::new(STORE))?, Host::open()?));
    let (store, mut host) = open().map_err(worded)?;
    directory.note(Entry::Network, owner.key.as_ref())?;
    let mut notes = Vec::new();
    let reserved = attach::reserve(&store, &mut host, &owner, requests, &mut notes);
    let said = notes.iter().map(|note| Warning::new(WarningKind::HostChanged, format_args!("{note}")));
    warnings.extend(said);
    Ok(Own { store, host, reserved: reserved.map_err(worded)? })
}

/// The owner of the interfaces of the container with that state folder.
pub fn owner(directory: &StateDirectory, namespace: Option<String>) -> Result<Owner> {
    let path = directory.path().display().to_string();
    let status = rustix::fs::fstat(directory.folder()).context(|| format!("stat of {path}"))?;
    let id = directory.id().as_str();
    let (key, name) = (attachment_key(&path, id), id.to_string());
    Ok(Owner { key, name, holder: Holder { path, device: status.st_dev, inode: status.st_ino }, namespace })
}

/// What state.json says of an interface.
pub fn record_of(interface: &Interface) -> NetworkRecord {
    let strings = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>().into();
    NetworkRecord {
        interface: interface.name.clone(),
        network: interface.network.clone(),
        mac: interface.mac.clone(),
        addresses: strings(&mut interface.addresses.iter().map(|address| address.to_string())),
        ports: strings(
            &mut interface.ports.iter().map(|published| port_text(published.port.host_ip, &published.port)),
        ),
    }
}

/// What state.json says of interfaces.
pub fn interface_records(interfaces: &[Interface]) -> Vec<NetworkRecord> {
    interfaces.iter().map(record_of).collect()
}

impl Own {
    /// Makes the interfaces in the container's network namespace.
    pub fn connect(&mut self, network: &mut Network) -> Result<()> {
        let Own { store, host, reserved } = self;
        let (attachment, namespace) = (&mut reserved.attachment, network.namespace.as_fd());
        attach::connect(store, host, attachment, namespace, &mut network.socket, false)
            .map_err(|error| worded(error.besides(attach::give_up(store, host, reserved))))
    }

    /// The addresses of all interfaces.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let interfaces = self.reserved.attachment.interfaces.iter();
        interfaces.flat_map(|interface| interface.addresses.iter().map(|address| address.ip)).collect()
    }

    /// The host, as it is reached from the first interface: the first address of its subnet.
    pub fn gateway(&self) -> Option<IpAddr> {
        let first = self.reserved.attachment.interfaces.first()?;
        let four = first.addresses.iter().find(|address| address.ip.is_ipv4());
        four.or(first.addresses.first()).map(|address| address.network().hosts().0)
    }

    /// What state.json says of the interfaces.
    pub fn records(&self) -> Vec<NetworkRecord> {
        interface_records(&self.reserved.attachment.interfaces)
    }
}

/// Undoes what connects a container, by the text of its entry in the journal.
pub fn undo(key: &Path) -> Result<()> {
    let store = Store::open(Path::new(STORE)).map_err(worded)?;
    detach::detach(&store, &key.to_string_lossy()).map_err(worded)
}
