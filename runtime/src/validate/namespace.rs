//! Namespaces, and settings that need a namespace of the container's own.

use std::fmt;

use linux_raw_sys::general as kernel;

use super::text::{check_absolute, check_text, reject};
use crate::error::Result;
use crate::oci::spec::json::{Map, Text, first_repeated};
use crate::oci::spec::linux::{Namespace, NetDevice, TimeOffset};

/// The eight kinds: namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // their names say it
pub enum NamespaceKind {
    Mount,
    Network,
    Uts,
    Ipc,
    Pid,
    Cgroup,
    User,
    Time,
}

impl NamespaceKind {
    /// All of them.
    pub const ALL: [NamespaceKind; 8] = [
        NamespaceKind::Mount,
        NamespaceKind::Network,
        NamespaceKind::Uts,
        NamespaceKind::Ipc,
        NamespaceKind::Pid,
        NamespaceKind::Cgroup,
        NamespaceKind::User,
        NamespaceKind::Time,
    ];

    /// The specification's name.
    pub fn name(self) -> &'static str {
        match self {
            NamespaceKind::Mount => "mount",
            NamespaceKind::Network => "network",
            NamespaceKind::Uts => "uts",
            NamespaceKind::Ipc => "ipc",
            NamespaceKind::Pid => "pid",
            NamespaceKind::Cgroup => "cgroup",
            NamespaceKind::User => "user",
            NamespaceKind::Time => "time",
        }
    }

    /// The flag for clone(2), setns(2) and unshare(2).
    pub fn clone_flag(self) -> u32 {
        match self {
            NamespaceKind::Mount => kernel::CLONE_NEWNS,
            NamespaceKind::Network => kernel::CLONE_NEWNET,
            NamespaceKind::Uts => kernel::CLONE_NEWUTS,
            NamespaceKind::Ipc => kernel::CLONE_NEWIPC,
            NamespaceKind::Pid => kernel::CLONE_NEWPID,
            NamespaceKind::Cgroup => kernel::CLONE_NEWCGROUP,
            NamespaceKind::User => kernel::CLONE_NEWUSER,
            NamespaceKind::Time => kernel::CLONE_NEWTIME,
        }
    }
}

/// A namespace to make or, if it has a path, to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidNamespace<'a> {
    /// Its kind.
    pub kind: NamespaceKind,
    /// An absolute path on the host.
    pub path: Option<Text<'a>>,
}

pub(super) fn find<'n, 'a>(
    namespaces: &'n [ValidNamespace<'a>],
    kind: NamespaceKind,
) -> Option<&'n ValidNamespace<'a>> {
    namespaces.iter().find(|namespace| namespace.kind == kind)
}

pub(super) fn validate_namespaces<'a>(namespaces: &[Namespace<'a>]) -> Result<Vec<ValidNamespace<'a>>> {
    let mut valid: Vec<ValidNamespace<'a>> = Vec::with_capacity(namespaces.len());
    for (index, Namespace { kind: name, path }) in namespaces.iter().enumerate() {
        let field = format_args!("linux.namespaces[{index}]");
        let Some(kind) = NamespaceKind::ALL.into_iter().find(|kind| kind.name() == &**name) else {
            let known = NamespaceKind::ALL.map(NamespaceKind::name).join(", ");
            reject!("{field}.type: {:?} is not one of {known}", &**name);
        };
        if find(&valid, kind).is_some() {
            reject!("{field}.type: {:?} is there twice", &**name);
        }
        let path = path.clone().filter(|path| !path.is_empty());
        if let Some(path) = &path {
            check_absolute(format_args!("{field}.path"), path)?;
        }
        valid.push(ValidNamespace { kind, path });
    }
    Ok(valid)
}

pub(super) fn validate_time_offsets(
    offsets: &Map<'_, TimeOffset>,
    namespaces: &[ValidNamespace<'_>],
) -> Result<()> {
    if offsets.is_empty() {
        return Ok(());
    }
    match find(namespaces, NamespaceKind::Time) {
        None => reject!("linux.timeOffsets: needs a time namespace: add \"time\" to linux.namespaces"),
        Some(ValidNamespace { path: Some(path), .. }) => {
            // time_namespaces(7): the offsets are fixed once a process is inside.
            reject!("linux.timeOffsets: cannot be set in {:?}, which is joined", &**path)
        }
        Some(ValidNamespace { path: None, .. }) => {}
    }
    for (clock, TimeOffset { secs: _, nanosecs }) in offsets.iter() {
        if !["monotonic", "boottime"].contains(&&**clock) {
            reject!("linux.timeOffsets: {:?} is not one of monotonic, boottime", &**clock);
        }
        if *nanosecs > 999_999_999 {
            reject!("linux.timeOffsets.{clock}.nanosecs: {nanosecs} is not below 1000000000");
        }
    }
    Ok(())
}

pub(super) fn validate_net_devices(
    devices: &Map<'_, NetDevice<'_>>,
    namespaces: &[ValidNamespace<'_>],
) -> Result<()> {
    if !devices.is_empty() && find(namespaces, NamespaceKind::Network).is_none() {
        reject!("linux.netDevices: needs a network namespace: add \"network\" to linux.namespaces");
    }
    let mut names: Vec<&str> = Vec::with_capacity(devices.len());
    let mut renamed: Vec<&str> = Vec::with_capacity(devices.len());
    for (device, NetDevice { name }) in devices.iter() {
        check_interface_name(format_args!("linux.netDevices"), device)?;
        let name = match name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => {
                check_interface_name(format_args!("linux.netDevices.{device}.name"), name)?;
                name
            }
            None => device,
        };
        // The kernel replaces `%d`, so that equal templates give different names.
        if !name.as_bytes().windows(2).any(|pair| pair == b"%d") {
            names.push(name);
            renamed.push(device);
        }
    }
    if let Some(index) = first_repeated(&names) {
        reject!("linux.netDevices.{}.name: {:?} is there twice", renamed[index], names[index]);
    }
    Ok(())
}

/// The kernel's dev_valid_name(). The specification allows `%d`, for a number that the kernel chooses.
fn check_interface_name(field: fmt::Arguments<'_>, name: &str) -> Result<()> {
    check_text(field, name)?;
    let is_valid = !name.is_empty()
        && name.len() < 16
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\u{b}')
        && name.replacen("%d", "", 1).find('%').is_none();
    if !is_valid {
        reject!("{field}: {name:?} is not an interface name: 1 to 15 bytes without / : % and white space");
    }
    Ok(())
}
