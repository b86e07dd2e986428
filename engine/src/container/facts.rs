//! What a container's configuration depends on besides its image and what is asked for. Looked at once, before it is compiled.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::account::Accounts;
use super::cgroup_parent::cgroup_parent;
use super::options::{DeviceLimit, IpcAccess, NetworkMode, Options};
use super::record::ContainerRecord;
use super::status::open_running;
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

/// Namespaces of other containers that a container is to be in, by their paths.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    /// Ids: that of an ordinary user's networks with names.
    pub user: Option<String>,
    /// Network.
    pub network: Option<String>,
    /// Processes.
    pub pid: Option<String>,
    /// System V and POSIX objects.
    pub ipc: Option<String>,
    /// What the other one on the network is called.
    pub hostname: Option<String>,
    /// Where its /etc/hosts and the like are.
    pub names: Option<PathBuf>,
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

impl Joined {
    /// Finds the containers, which must be running.
    fn look(store: &Store, options: &Options) -> Result<Joined> {
        let namespaces = &options.namespaces;
        let network = match &options.network.mode {
            NetworkMode::Container(name) => Some(name),
            _ => None,
        };
        let mut joined = Joined::default();
        let path = |name: &String, kind: &str| {
            let container = open_running(store, &store.containers().find(name)?)?;
            Ok::<_, Error>(format!("/proc/{}/ns/{kind}", container.pid()?))
        };
        if store.maps().is_some() {
            let others = [network, namespaces.pid_of.as_ref(), namespaces.ipc_of.as_ref()];
            joined.user = shared_users(others.into_iter().flatten(), &path)?;
        }
        joined.pid = namespaces.pid_of.as_ref().map(|name| path(name, "pid")).transpose()?;
        if let Some(name) = &namespaces.ipc_of {
            let other = ContainerRecord::of(&store.containers().find(name)?)?;
            if other.options.namespaces.ipc_access != IpcAccess::Shareable {
                return Err(Error::conflict(format!(
                    "--ipc container:{name}: that one's is nobody else's: start it with --ipc shareable"
                )));
            }
        }
        joined.ipc = namespaces.ipc_of.as_ref().map(|name| path(name, "ipc")).transpose()?;
        if let Some(name) = network {
            let folder = store.containers().find(name)?;
            let names = folder.names();
            joined.network = Some(path(name, "net")?);
            joined.hostname = read_hostname(&names.join("hostname"));
            joined.names = Some(names);
        }
        Ok(joined)
    }
}

/// The user namespace of the containers whose namespaces an ordinary user's joins: only in that one it has rights over them.
fn shared_users<'n>(
    names: impl Iterator<Item = &'n String>,
    path: &dyn Fn(&String, &str) -> Result<String>,
) -> Result<Option<String>> {
    let mut shared: Option<(&String, String)> = None;
    for name in names {
        let users = path(name, "user")?;
        match &shared {
            None => shared = Some((name, users)),
            Some((first, known)) if !are_one(known, &users)? => {
                return Err(Error::conflict(format!(
                    "container:{name}: its user namespace is not that of {first}: an ordinary user's container can only join those that share one, as on networks with names"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(shared.map(|(_, users)| users))
}

/// Whether two paths lead to one namespace.
pub(super) fn are_one(one: &str, other: &str) -> Result<bool> {
    let inode = |path: &str| {
        let status = std::fs::metadata(path).context(|| path)?;
        Ok::<_, Error>((status.dev(), status.ino()))
    };
    Ok(inode(one)? == inode(other)?)
}

/// The most bytes that the kernel takes as a host name.
const HOSTNAME_MAX: u64 = 64;

/// Another container's, whose program may have written there what it likes.
fn read_hostname(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(HOSTNAME_MAX + 1).read_to_string(&mut text).ok()?;
    let name = text.trim();
    (!name.is_empty() && name.len() as u64 <= HOSTNAME_MAX).then(|| name.to_string())
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
