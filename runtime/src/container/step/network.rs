//! The container's network namespace.

use super::{Line, Making, Prepared, Step, too_early};
use crate::container::network::Network;
use crate::container::networks::Networks;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::NetDevice;
use crate::spawn::{Opened, Stop, network};
use crate::validate::NamespaceKind;

/// A thread makes the namespace in parallel with all other steps. It began as soon as the configuration was
/// known to be valid, so there is nothing left to do here.
pub struct Begin;

impl Step for Begin {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.plan.namespaces.network_meanwhile
    }

    fn apply(&self, _: &mut Making<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn lines(&self, _: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        lines.push(("Unshare", "network, with its loopback up, for init".to_string()));
        Ok(())
    }
}

/// Decides about the container's interfaces, and records that: addresses and ports are its own from here on.
pub struct Reserve;

impl Step for Reserve {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.networks.as_ref().is_some_and(|networks| networks.has_own() || networks.has_user_mode())
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Some(networks) = &making.prepared.networks else { return Ok(()) };
        let joined = joined(making.prepared).map(str::to_string);
        let mut warnings = std::mem::take(&mut making.warnings);
        let attached = networks.reserve(making.directory()?, joined, &mut warnings);
        making.warnings = warnings;
        making.attached = Some(attached?);
        Ok(())
    }

    fn kind(&self) -> Kind {
        Kind::Network
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        prepared.networks.iter().for_each(|networks| networks.interface_lines(lines));
        Ok(())
    }
}

/// The path of the network namespace that the container joins, if it joins one.
fn joined<'p>(prepared: &'p Prepared<'_>) -> Option<&'p str> {
    prepared.spec().namespace(NamespaceKind::Network).and_then(|namespace| namespace.path.as_deref())
}

/// Makes sure that the network namespace that the container joins is not the host's by another name: its
/// interfaces would be the host's.
pub(super) fn check_joined(prepared: &Prepared<'_>, opened: &Opened) -> Result<()> {
    const OWN: &str = "/proc/thread-self/ns/net";
    let Some(networks) = prepared.networks.as_ref().filter(|networks| networks.has_interfaces()) else {
        return Ok(());
    };
    let (Some(namespace), Some(path)) = (opened.joined(NamespaceKind::Network), joined(prepared)) else {
        return Ok(());
    };
    let own = rustix::fs::stat(OWN).context(|| format!("stat of {OWN}"))?;
    let other = rustix::fs::fstat(namespace).context(|| format!("stat of {path}"))?;
    if (own.st_dev, own.st_ino) != (other.st_dev, other.st_ino) {
        return Ok(());
    }
    let file = networks.name();
    Err(Error::of(
        Kind::Invalid,
        format!("{file}: {path} in linux.namespaces is the host's network namespace: name another one"),
    ))
}

/// Writes the files by which the container finds names.
pub struct WriteFiles;

impl Step for WriteFiles {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.networks.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Some(networks) = &making.prepared.networks else { return Ok(()) };
        let hostname = making.prepared.spec().hostname.as_deref();
        networks.write_files(making.directory()?, hostname, making.attached.as_ref())
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        prepared.networks.iter().for_each(|networks| networks.file_lines(lines));
        Ok(())
    }
}

/// Sets up the loopback, connects the container and moves interfaces, through init's netlink socket.
pub struct Configure;

impl Step for Configure {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.plan.sends_network
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Making { options, prepared, replanned, opened, init, .. } = making;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        let init = init.as_mut().ok_or_else(|| too_early("init"))?;
        match init.next_stop(plan, opened)? {
            Stop::Network(socket) => {
                let socket = network::configure(socket, plan, init.pid)?;
                let is_connected = prepared.networks.as_ref().is_some_and(Networks::has_interfaces);
                if !is_connected && !options.network.is_there() {
                    return Ok(());
                }
                let mut network = Network {
                    namespace: network::namespace_of(&socket)?,
                    socket,
                    is_new: plan.namespaces.makes(NamespaceKind::Network),
                    pid: init.pid.as_raw_pid(),
                };
                let options = *options;
                if is_connected {
                    connect(making, &mut network)?;
                }
                options.network.give(network)
            }
            stop => Err(stop.unexpected()),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Network
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        prepared.networks.iter().for_each(|networks| networks.cni_lines(lines));
        for NetDevice { name, new_name } in &prepared.plan.net_devices {
            let new_name = new_name.as_ref().map_or(String::new(), |name| format!(" as {name}"));
            lines.push(("MoveNetDevice", format!("{name}{new_name}, with its permanent global addresses")));
        }
        Ok(())
    }
}

/// Connects the container. What CNI plugins say is known only now: it goes to the files that the container
/// sees, and to the record.
fn connect(making: &mut Making<'_, '_>, network: &mut Network) -> Result<()> {
    let prepared = making.prepared;
    let Some(networks) = &prepared.networks else { return Ok(()) };
    let mut attached = making.attached.take().unwrap_or_default();
    let mut warnings = std::mem::take(&mut making.warnings);
    let connected =
        networks.connect(making.directory()?, &mut attached, network, joined(prepared), &mut warnings);
    making.warnings = warnings;
    connected?;
    if networks.learns_addresses() {
        networks.write_files(making.directory()?, prepared.spec().hostname.as_deref(), Some(&attached))?;
        if let Some(mut record) = making.record.take() {
            record.network = attached.records().into();
            making.directory()?.store(&record, &making.bundle.config)?;
            making.record = Some(record);
        }
    }
    making.attached = Some(attached);
    Ok(())
}
