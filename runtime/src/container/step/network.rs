//! The container's network namespace.

use super::{Line, Making, Prepared, Step, too_early};
use crate::container::network::Network;
use crate::container::networks::Networks;
use crate::error::{Kind, Result};
use crate::plan::NetDevice;
use crate::spawn::{Stop, network};
use crate::validate::NamespaceKind;

/// A thread makes the namespace in parallel with all other steps. It began as soon as the configuration was known to be
/// valid, so there is nothing left to do here.
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
        prepared.networks.as_ref().is_some_and(Networks::has_interfaces)
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Some(networks) = &making.prepared.networks else { return Ok(()) };
        let spec = making.prepared.spec();
        let joined = spec.namespace(NamespaceKind::Network).and_then(|namespace| namespace.path.as_deref());
        let mut warnings = std::mem::take(&mut making.warnings);
        let attached = networks.reserve(making.directory()?, joined.map(str::to_string), &mut warnings);
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

/// Writes the files by which the container finds names.
pub struct WriteFiles;

impl Step for WriteFiles {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.networks.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Some(networks) = &making.prepared.networks else { return Ok(()) };
        let hostname = making.prepared.spec().hostname.as_deref();
        networks.write_files(making.directory()?.folder(), hostname, making.attached.as_ref())
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
        let Making { options, prepared, replanned, opened, init, attached, .. } = making;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        let init = init.as_mut().ok_or_else(|| too_early("init"))?;
        match init.next_stop(plan, opened)? {
            Stop::Network(socket) => {
                let socket = network::configure(socket, plan, init.pid)?;
                if attached.is_none() && !options.network.is_there() {
                    return Ok(());
                }
                let mut network = Network {
                    namespace: network::namespace_of(&socket)?,
                    socket,
                    is_new: plan.namespaces.makes(NamespaceKind::Network),
                    pid: init.pid.as_raw_pid(),
                };
                attached.as_mut().map_or(Ok(()), |attached| attached.connect(&mut network))?;
                options.network.give(network)
            }
            stop => Err(stop.unexpected()),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Network
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        for NetDevice { name, new_name } in &prepared.plan.net_devices {
            let new_name = new_name.as_ref().map_or(String::new(), |name| format!(" as {name}"));
            lines.push(("MoveNetDevice", format!("{name}{new_name}, with its permanent global addresses")));
        }
        Ok(())
    }
}
