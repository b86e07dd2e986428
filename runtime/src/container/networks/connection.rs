//! A container that runs is connected to one more network, or to one less.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

use pillbox_network::attach::Owner;
use pillbox_network::connection::{Inside, add_interface, remove_interface};
use pillbox_network::host::Host;
use pillbox_network::namespace::socket_in;
use pillbox_network::store::Store;

use super::elsewhere::Elsewhere;
use super::netconf::{STORE, interface_records, owner, record_of};
use super::{Networks, open_folder, refuse_ordinary_user, worded};
use crate::error::{Context, Error, Kind, Result, Warning, WarningKind};
use crate::oci::ContainerId;
use crate::spawn::names;
use crate::state::{Entry, NetworkRecord, Record, Root, StateDirectory};

/// A container that runs, locked.
struct Running {
    directory: StateDirectory,
    record: Record,
    document: Vec<u8>,
    namespace: File,
}

/// Connects a container that runs to one more network, whose interface gets the next free name. The result is
/// what was changed on the host.
///
/// # Errors
/// It does not run; something that was asked for cannot be had. Everything is as before then.
pub fn connect(root: &Root, id: &ContainerId, networks: &Networks) -> Result<Vec<Warning>> {
    if networks.elsewhere.is_none() {
        refuse_ordinary_user()?;
    }
    let [request] = networks.netconf.requests.as_slice() else {
        return Err(Error::of(Kind::Invalid, format!("{}: must be one interface", networks.name())));
    };
    let mut running = open(root, id)?;
    let is_taken = |name: &String| running.record.network.iter().any(|known| known.interface == *name);
    let mut names = (0_u32..).map(|number| format!("eth{number}"));
    let name = names.find(|name| !is_taken(name)).unwrap_or_default();
    let mut notes = Vec::new();
    let record = match &networks.elsewhere {
        None => {
            let request = pillbox_network::Request { name, ..request.clone() };
            running.add(&request, &mut notes)?
        }
        Some(elsewhere) => {
            let whose = owner(&running.directory, None)?.into();
            elsewhere.add(&whose, &name, running.record.pid, &mut notes)?
        }
    };
    running.record.network.0.push(record.clone());
    running.directory.replace_record(&running.record, &running.document)?;
    let changed = notes.iter().map(|note| Warning::new(WarningKind::HostChanged, format_args!("{note}")));
    let mut warnings: Vec<Warning> = changed.collect();
    if let Err(error) = running.add_names(networks, &record.addresses) {
        warnings.push(Warning::new(WarningKind::Ignored, format_args!("{error}")));
    }
    Ok(warnings)
}

/// Takes an interface of pillbox's own networks away from a container that runs. Its default routes and
/// published ports become those of another one that can have them. `files` is the folder of the files by
/// which it finds names; `elsewhere` is the process that made the interface, if it was another one.
///
/// # Errors
/// It does not run, has no such interface, or something cannot be undone.
pub fn disconnect(
    root: &Root,
    id: &ContainerId,
    interface: &str,
    files: &Path,
    elsewhere: Option<&dyn Elsewhere>,
) -> Result<()> {
    if elsewhere.is_none() {
        refuse_ordinary_user()?;
    }
    let mut running = open(root, id)?;
    let position = running.record.network.iter().position(|known| known.interface == interface);
    let Some(position) = position else {
        return Err(Error::of(Kind::NotFound, format!("container {id}: it has no interface {interface}")));
    };
    let left = match elsewhere {
        None => running.remove(interface)?,
        Some(elsewhere) => {
            let whose = owner(&running.directory, None)?.into();
            elsewhere.remove(&whose, interface, running.record.pid)?
        }
    };
    let gone = running.record.network.0.remove(position);
    for known in &mut running.record.network.0 {
        if let Some(record) = left.iter().find(|record| record.interface == known.interface) {
            *known = record.clone();
        }
    }
    running.directory.replace_record(&running.record, &running.document)?;
    // Where its addresses stand in a file that its program has spoilt, they stay.
    remove_names(files, &gone)
}

fn open(root: &Root, id: &ContainerId) -> Result<Running> {
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let (record, document) = directory.load_whole()?;
    let path = format!("/proc/{}/ns/net", record.pid);
    let namespace = File::open(&path).context(|| format!("open {path}"));
    // Checked after opening: meanwhile another process may have got the pid.
    match record.is_alive()? {
        true => Ok(Running { directory, record, document, namespace: namespace? }),
        false => Err(Error::of(Kind::Status, format!("container {id}: it is not running"))),
    }
}

impl Running {
    /// Makes one more interface on this host.
    fn add(&self, request: &pillbox_network::Request, notes: &mut Vec<String>) -> Result<NetworkRecord> {
        let (store, mut host, owner) = self.network()?;
        self.directory.note(Entry::Network, owner.key.as_ref())?;
        let mut socket = socket_in(self.namespace.as_fd()).map_err(worded)?;
        let inside = Inside { namespace: self.namespace.as_fd(), socket: &mut socket };
        let added = add_interface(&store, &mut host, &owner, request, inside, notes);
        added.map(|interface| record_of(&interface)).map_err(worded)
    }

    /// Takes an interface of this host away; what the container has then.
    fn remove(&self, interface: &str) -> Result<Vec<NetworkRecord>> {
        let (store, mut host, owner) = self.network()?;
        let mut socket = socket_in(self.namespace.as_fd()).map_err(worded)?;
        let inside = Inside { namespace: self.namespace.as_fd(), socket: &mut socket };
        let left = remove_interface(&store, &mut host, &owner, interface, inside).map_err(worded)?;
        Ok(interface_records(&left))
    }

    fn network(&self) -> Result<(Store, Host, Owner)> {
        let open = || Ok((Store::open(Path::new(STORE))?, Host::open()?));
        let (store, host) = open().map_err(worded)?;
        Ok((store, host, owner(&self.directory, None)?))
    }

    /// It finds itself by its new addresses as well, and names as the network has them.
    fn add_names(&self, networks: &Networks, addresses: &[String]) -> Result<()> {
        let opened = networks.files.as_deref().map(open_folder).transpose()?;
        let folder = opened.as_ref().map_or(self.directory.folder(), AsFd::as_fd);
        let hostname = names::read(folder, "hostname").unwrap_or_default();
        let hostname = hostname.trim();
        if let Some(mut text) = names::read(folder, "hosts").filter(|_| !hostname.is_empty()) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.extend(
                addresses.iter().filter_map(|address| ip_of(address)).map(|ip| format!("{ip}\t{hostname}\n")),
            );
            names::write(folder, "hosts", &text)?;
        }
        if let (Some(resolver), Some(_)) = (&networks.netconf.resolver, names::read(folder, "resolv.conf")) {
            names::write(folder, "resolv.conf", &resolver.text("dns").map_err(worded)?)?;
        }
        Ok(())
    }
}

fn remove_names(files: &Path, gone: &NetworkRecord) -> Result<()> {
    let folder = open_folder(files)?;
    let addresses: Vec<String> =
        gone.addresses.iter().filter_map(|address| Some(ip_of(address)?.to_string())).collect();
    let Some(text) = names::read(folder.as_fd(), "hosts") else { return Ok(()) };
    let is_gone = |line: &str| {
        let first = line.split_ascii_whitespace().next();
        first.is_some_and(|first| addresses.iter().any(|address| address == first))
    };
    let kept: String = text.split_inclusive('\n').filter(|line| !is_gone(line)).collect();
    if kept == text { Ok(()) } else { names::write(folder.as_fd(), "hosts", &kept) }
}

fn ip_of(address: &str) -> Option<IpAddr> {
    pillbox_network::Cidr::parse(address).map(|cidr| cidr.ip)
}
