//! What is kept of a container, and what it leads to: init, its cgroup, its root.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::Serialize;

use super::process::{Process, boot_id, process_start};
use crate::cgroup::{Cgroup, CgroupPath, Hierarchy};
use crate::error::{Context, Error, Kind, Result};
use crate::json::Members;
use crate::spec::json::{Map, Text, object};

/// What is kept of a container.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// From the config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Init, as the runtime's pid namespace numbers it.
    pub pid: i32,
    /// When init started, in clock ticks after boot: tells it from a later process with the same number.
    pub start_time: u64,
    /// Which boot that was.
    pub boot_id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// RFC 3339, nanoseconds.
    pub created: String,
    /// The user who made it.
    pub owner: String,
    /// The cgroup below the hierarchy's mount, if it has one.
    pub cgroup: Option<String>,
    /// The unit whose cgroup that is, if systemd made it.
    pub systemd_unit: Option<String>,
    /// From the config.json.
    pub annotations: Members,
    /// Whether its root is made with chroot(2) alone: its namespaces do not lead there.
    pub chrooted: bool,
    /// Whether the config.json has a process, without which there is nothing to start.
    pub startable: bool,
    /// Whether the config.json has hooks for what comes after `create`.
    pub hooks: bool,
}

object! {
    /// state.json as it is read back.
    StoredRecord<'a> {
        "ociVersion" => oci_version: Text<'a>,
        "id" => id: Text<'a>,
        "pid" => pid: i32,
        "startTime" => start_time: u64,
        "bootId" => boot_id: Text<'a>,
        "bundle" => bundle: Text<'a>,
        "rootfs" => rootfs: Text<'a>,
        "created" => created: Text<'a>,
        "owner" => owner: Text<'a>,
        "cgroup" => cgroup: Option<Text<'a>>,
        "systemdUnit" => systemd_unit: Option<Text<'a>>,
        "annotations" => annotations: Map<'a, Text<'a>>,
        "chrooted" => chrooted: bool,
        "startable" => startable: bool,
        "hooks" => hooks: bool,
    }
}

impl From<StoredRecord<'_>> for Record {
    fn from(stored: StoredRecord<'_>) -> Self {
        let StoredRecord {
            oci_version,
            id,
            pid,
            start_time,
            boot_id,
            bundle,
            rootfs,
            created,
            owner,
            cgroup,
            systemd_unit,
            annotations,
            chrooted,
            startable,
            hooks,
        } = stored;
        Record {
            oci_version: oci_version.to_string(),
            id: id.to_string(),
            pid,
            start_time,
            boot_id: boot_id.to_string(),
            bundle: bundle.to_string(),
            rootfs: rootfs.to_string(),
            created: created.to_string(),
            owner: owner.to_string(),
            cgroup: cgroup.map(|cgroup| cgroup.to_string()),
            systemd_unit: systemd_unit.map(|unit| unit.to_string()),
            annotations: Members(annotations.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()),
            chrooted,
            startable,
            hooks,
        }
    }
}

impl Record {
    /// Whether init still lives: the process with that number, if it started when init did, in this boot.
    pub fn is_alive(&self) -> Result<bool> {
        match process_start(self.pid)? {
            Some(Process { start_time, ended: false }) if start_time == self.start_time => {
                Ok(boot_id()? == self.boot_id)
            }
            _ => Ok(false),
        }
    }

    /// A pidfd for init; `None` when it is gone. A process that got its number since is never meant.
    pub fn open_process(&self) -> Result<Option<OwnedFd>> {
        let pid = Pid::from_raw(self.pid).ok_or_else(|| Error::new("state.json: pid 0"))?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor stands for one process; whether it is init is asked after that.
            Ok(pidfd) => Ok(if self.is_alive()? { Some(pidfd) } else { None }),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("open process {pid:?}", pid = self.pid)),
        }
    }

    /// The cgroup, if there is (still) one.
    pub fn open_cgroup(&self) -> Result<Option<Cgroup>> {
        let (Some(path), Some(hierarchy)) = (&self.cgroup, Hierarchy::find()?) else { return Ok(None) };
        Cgroup::open(&hierarchy, &CgroupPath::parse(path)?)
    }

    /// The root of the container's process, for those that can't reach it by its namespaces.
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
        // Asked after that: a number may have passed to a stranger.
        if self.is_alive()? {
            Ok(Some(root))
        } else {
            Err(Error::of(Kind::Status, "container not running".into()))
        }
    }
}
