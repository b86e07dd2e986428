//! What a container's configuration depends on besides its image and what is asked for. Looked at once, before it is compiled.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::account::Accounts;
use super::cgroup_parent::cgroup_parent;
use super::joined::Joined;
use super::options::{DeviceLimit, Options};
use crate::error::{Context, Error, Result};
use crate::ids::IdMaps;
use crate::order;
use crate::store::{Store, VolumeDevice};

/// The facts.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The container's id.
    pub id: String,
    /// The image's users and groups.
    pub accounts: Accounts,
    /// The ids of an ordinary user's containers; `None` for root.
    pub maps: Option<IdMaps>,
    /// `std::env::consts::ARCH`.
    pub machine: &'static str,
    /// The host's name.
    pub hostname: String,
    /// The folder of volumes.
    pub volumes: PathBuf,
    /// What those are on that are no folders there, by their names.
    pub volume_devices: BTreeMap<String, VolumeDevice>,
    /// Namespaces of other containers.
    pub joined: Joined,
    /// Devices that are asked for; all of the host's for a privileged container.
    pub devices: Vec<Device>,
    /// Disks of which it may use only so much, with their numbers.
    pub limited: Vec<(DeviceLimit, [u32; 2])>,
    /// Whether the host has its POSIX message queues mounted.
    pub has_message_queues: bool,
    /// The path of the cgroup above its own, if one is asked for.
    pub cgroup_parent: Option<String>,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where the container has it.
    pub path: String,
    /// Whether it is one for blocks.
    pub is_block: bool,
    /// Of its driver.
    pub major: u32,
    /// Among those of its driver.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What may be done: `r`, `w`, `m`.
    pub access: String,
}

impl Facts {
    /// Looks at the host for what these options need.
    ///
    /// # Errors
    /// A device is missing or none.
    pub fn look(store: &Store, id: &str, options: &Options, accounts: Accounts) -> Result<Facts> {
        let maps = store.maps();
        let devices = if options.rights.privileged && maps.is_none() {
            all_devices(Path::new("/dev"))?
        } else {
            Vec::new()
        };
        let joined = Joined::look(store, options)?;
        let mut facts = Facts { devices, joined, ..Facts::of_running(store, id, accounts) };
        for request in &options.devices {
            let named = || format!("--device {}", request.host.display());
            let found = Device::look(&request.host).context(named)?;
            let device = found.ok_or_else(|| Error::invalid("not a device").context(named()))?;
            facts.devices.retain(|known| known.path != request.container);
            facts.devices.push(Device {
                path: request.container.clone(),
                access: request.access.clone(),
                ..device
            });
        }
        let parent = options.namespaces.cgroup_parent.as_ref();
        facts.cgroup_parent = parent.map(|parent| cgroup_parent(parent, facts.maps.is_some())).transpose()?;
        facts.volume_devices = volume_devices(store, options)?;
        facts.has_message_queues = Path::new("/dev/mqueue").exists();
        facts.limited = options.device_limits.iter().map(with_numbers).collect::<Result<_>>()?;
        Ok(facts)
    }

    /// What one more program in a container needs.
    pub fn of_running(store: &Store, id: &str, accounts: Accounts) -> Facts {
        let (machine, hostname) = (std::env::consts::ARCH, hostname());
        let (maps, volumes) = (store.maps().cloned(), store.volumes().folder().to_path_buf());
        Facts {
            id: id.to_string(),
            accounts,
            maps,
            machine,
            hostname,
            volumes,
            volume_devices: BTreeMap::new(),
            joined: Joined::default(),
            devices: Vec::new(),
            limited: Vec::new(),
            has_message_queues: false,
            cgroup_parent: None,
        }
    }
}

/// What volumes are on that are no folders of box's.
///
/// # Errors
/// A volume's record is broken.
fn volume_devices(store: &Store, options: &Options) -> Result<BTreeMap<String, VolumeDevice>> {
    let mut devices = BTreeMap::new();
    for name in options.volumes() {
        devices.extend(store.volumes().device(name)?.map(|device| (name.to_string(), device)));
    }
    Ok(devices)
}

/// The kernel counts a disk's traffic by its numbers.
fn with_numbers(limit: &DeviceLimit) -> Result<(DeviceLimit, [u32; 2])> {
    let named = || format!("{} {}", limit.what.flag(), limit.device.display());
    match Device::look(&limit.device).context(named)? {
        Some(device) if device.is_block => Ok((limit.clone(), [device.major, device.minor])),
        _ => Err(Error::invalid("must be a block device, such as /dev/sda").context(named())),
    }
}

/// The host's name.
pub fn hostname() -> String {
    let name = rustix::system::uname();
    CStr::to_string_lossy(name.nodename()).into_owned()
}

impl Device {
    /// The device at a path; `None` if something else is there.
    fn look(path: &Path) -> std::io::Result<Option<Device>> {
        let status = std::fs::metadata(path)?;
        let kind = status.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            return Ok(None);
        }
        Ok(Some(Device {
            path: path.display().to_string(),
            is_block: kind.is_block_device(),
            major: rustix::fs::major(status.rdev()),
            minor: rustix::fs::minor(status.rdev()),
            mode: status.mode() & 0o777,
            uid: status.uid(),
            gid: status.gid(),
            access: "rwm".to_string(),
        }))
    }
}

/// All devices below a folder but those that every container has of its own.
fn all_devices(folder: &Path) -> Result<Vec<Device>> {
    const OWN: [&str; 7] =
        ["/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/.udev", "/dev/ptmx"];
    let mut devices = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).context(|| folder.display().to_string())? {
            let path = entry.context(|| folder.display().to_string())?.path();
            if OWN.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            // A device may be unplugged meanwhile.
            match std::fs::symlink_metadata(&path) {
                Ok(status) if status.is_dir() => folders.push(path),
                Ok(status) if !status.is_symlink() => devices.extend(Device::look(&path).unwrap_or_default()),
                _ => {}
            }
        }
    }
    order::sort_by(&mut devices, |one, other| one.path.cmp(&other.path));
    Ok(devices)
}
