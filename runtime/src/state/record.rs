//! The record of a container, and what it leads to: init, its cgroup, its root.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use serde::Serialize;

use super::process::{ProcessId, boot_id};
use crate::cgroup::{Cgroup, CgroupPath, Hierarchy};
use crate::error::{Context, Error, Kind, Result};
use crate::oci::spec::json::{List, Map, Text, object};
use crate::text::json::Members;

/// What is recorded of a container.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// From the config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Init's pid in the runtime's pid namespace.
    pub pid: i32,
    /// The inode of init's pidfds: see [`ProcessId`].
    pub pidfd_inode: u64,
    /// When init started, in clock ticks after boot: see [`ProcessId`].
    pub start_time: u64,
    /// The boot in which init was started.
    pub boot_id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system; empty where none leads there.
    pub rootfs: String,
    /// When it was created: RFC 3339 with nanoseconds.
    pub created: String,
    /// The user who made it.
    pub owner: String,
    /// The cgroup's path below the hierarchy's mount, if it has one.
    pub cgroup: Option<String>,
    /// That cgroup's inode: a cgroup with another one at the same path is not this container's.
    pub cgroup_inode: u64,
    /// The systemd unit of the cgroup, if systemd made it.
    pub systemd_unit: Option<String>,
    /// From the config.json.
    pub annotations: Members,
    /// Whether its root is made by chroot(2) alone, so that its namespaces do not lead there.
    pub chrooted: bool,
    /// Whether the config.json has a process; without one there is nothing to start.
    pub startable: bool,
    /// Whether the config.json has hooks that run after `create`.
    pub hooks: bool,
    /// What pillbox connected it to.
    #[serde(skip_serializing_if = "is_empty")]
    pub network: List<NetworkRecord>,
}

fn is_empty(list: &List<NetworkRecord>) -> bool {
    list.0.is_empty()
}

object! {
    /// An interface that pillbox made.
    #[derive(Eq, Serialize)]
    NetworkRecord {
        "interface" => interface: String,
        "network" => network: String,
        "mac" => mac: Option<String>,
        /// With the length of the prefix: `10.88.0.5/16`.
        "addresses" => addresses: List<String>,
        /// `8080/tcp -> 80`: the host's and the container's.
        "ports" => ports: List<String>,
    }
}

object! {
    /// state.json as it is read.
    StoredRecord<'a> {
        "ociVersion" => oci_version: Text<'a>,
        "id" => id: Text<'a>,
        "pid" => pid: i32,
        "pidfdInode" => pidfd_inode: u64,
        "startTime" => start_time: u64,
        "bootId" => boot_id: Text<'a>,
        "bundle" => bundle: Text<'a>,
        "rootfs" => rootfs: Text<'a>,
        "created" => created: Text<'a>,
        "owner" => owner: Text<'a>,
        "cgroup" => cgroup: Option<Text<'a>>,
        "cgroupInode" => cgroup_inode: u64,
        "systemdUnit" => systemd_unit: Option<Text<'a>>,
        "annotations" => annotations: Map<'a, Text<'a>>,
        "chrooted" => chrooted: bool,
        "startable" => startable: bool,
        "hooks" => hooks: bool,
        "network" => network: List<NetworkRecord>,
    }
}

impl From<StoredRecord<'_>> for Record {
    fn from(stored: StoredRecord<'_>) -> Self {
        let StoredRecord {
            oci_version,
            id,
            pid,
            pidfd_inode,
            start_time,
            boot_id,
            bundle,
            rootfs,
            created,
            owner,
            cgroup,
            cgroup_inode,
            systemd_unit,
            annotations,
            chrooted,
            startable,
            hooks,
            network,
        } = stored;
        Record {
            oci_version: oci_version.to_string(),
            id: id.to_string(),
            pid,
            pidfd_inode,
            start_time,
            boot_id: boot_id.to_string(),
            bundle: bundle.to_string(),
            rootfs: rootfs.to_string(),
            created: created.to_string(),
            owner: owner.to_string(),
            cgroup: cgroup.map(|cgroup| cgroup.to_string()),
            cgroup_inode,
            systemd_unit: systemd_unit.map(|unit| unit.to_string()),
            annotations: Members(annotations.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()),
            chrooted,
            startable,
            hooks,
            network,
        }
    }
}

impl StoredRecord<'_> {
    /// Init, in the boot of the record.
    pub(super) fn init(&self) -> ProcessId {
        ProcessId { pid: self.pid, pidfd_inode: self.pidfd_inode, start_time: self.start_time }
    }
}

impl Record {
    /// Init, in the boot of the record.
    pub fn init(&self) -> ProcessId {
        ProcessId { pid: self.pid, pidfd_inode: self.pidfd_inode, start_time: self.start_time }
    }

    /// Whether init still lives, in this boot.
    pub fn is_alive(&self) -> Result<bool> {
        self.open_process().map(|process| process.is_some())
    }

    /// See [`ProcessId::is_ending`].
    pub fn is_ending(&self) -> Result<bool> {
        self.init().is_ending()
    }

    /// Opens a pidfd for init; `None` if it is gone. It is never that of a later process with the same pid.
    pub fn open_process(&self) -> Result<Option<OwnedFd>> {
        let process = self.init().open()?;
        Ok(if process.is_some() && boot_id()? == self.boot_id { process } else { None })
    }

    /// Init's pid in its own pid namespace: the last one in proc_pid_status(5).
    ///
    /// # Errors
    /// It is gone.
    pub fn pid_inside(&self) -> Result<i32> {
        let path = format!("/proc/{}/status", self.pid);
        let text = std::fs::read_to_string(&path).context(|| format!("read {path}"))?;
        let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let last = numbers.and_then(|numbers| numbers.split_ascii_whitespace().next_back()?.parse().ok());
        last.ok_or_else(|| Error::formatted(format_args!("{path}: no number in NSpid")))
    }

    /// See [`ProcessId::exit_code_of_zombie`].
    pub fn exit_code_of_zombie(&self) -> Result<Option<i32>> {
        if boot_id()? == self.boot_id { self.init().exit_code_of_zombie() } else { Ok(None) }
    }

    /// Whether there is a cgroup at its path, even if it is no longer this container's.
    pub fn cgroup_is_there(&self) -> Result<bool> {
        let Some(path) = &self.cgroup else { return Ok(false) };
        Ok(Cgroup::open(&Hierarchy::of_containers(path)?, &CgroupPath::parse(path)?)?.is_some())
    }

    /// Opens the cgroup; `None` if there is none any more, or if another one has been made at its path since.
    ///
    /// # Errors
    /// It cannot be looked up, because cgroup v2 is not mounted here.
    pub fn open_cgroup(&self) -> Result<Option<Cgroup>> {
        let Some(path) = &self.cgroup else { return Ok(None) };
        let cgroup = Cgroup::open(&Hierarchy::of_containers(path)?, &CgroupPath::parse(path)?)?;
        Ok(match cgroup {
            // Records of earlier versions have no inode.
            Some(cgroup) if self.cgroup_inode != 0 && cgroup.inode()? != self.cgroup_inode => None,
            cgroup => cgroup,
        })
    }

    /// Opens the root of the container's process, if it cannot be reached through its namespaces.
    ///
    /// # Errors
    /// The process is gone.
    pub fn open_chroot(&self) -> Result<Option<OwnedFd>> {
        if !self.chrooted {
            return Ok(None);
        }
        let path = format!("/proc/{}/root", self.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &path, flags, Mode::empty()).context(|| format!("open {path}"))?;
        // Checked after opening: meanwhile another process may have got the pid.
        if self.is_alive()? {
            Ok(Some(root))
        } else {
            Err(Error::of(Kind::Status, "container not running".into()))
        }
    }
}
