//! `linux.netDevices`: interfaces of the host that move into the container.

use super::Host;
use crate::error::{Error, Result};
use crate::oci::spec::linux;
use crate::validate::ValidSpec;

/// An interface that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container, if that differs; `eth%d` lets the kernel choose a number.
    pub new_name: Option<String>,
}

pub(super) fn compile(spec: &ValidSpec<'_>, host: &Host) -> Result<Vec<NetDevice>> {
    if !spec.net_devices.is_empty() && !host.privileged {
        return Err(Error::new(
            "linux.netDevices: only a privileged runtime can move the host's interfaces: run pillbox as root, or leave it out",
        ));
    }
    let devices = spec.net_devices.iter().map(|(device, linux::NetDevice { name })| NetDevice {
        name: device.to_string(),
        new_name: name.as_deref().filter(|name| !name.is_empty()).map(str::to_string),
    });
    Ok(devices.collect())
}
