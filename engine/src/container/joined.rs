//! Namespaces of other containers: `--network`, `--pid` and `--ipc` with `container:NAME`.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::options::{IpcAccess, NetworkMode, Options};
use super::record::ContainerRecord;
use super::status::open_running;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{ContainerFolder, Store};

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

/// Another container, which runs.
struct Other {
    folder: ContainerFolder,
    record: ContainerRecord,
    process: i32,
}

impl Other {
    fn find(store: &Store, flag: &str, name: &str) -> Result<Other> {
        let named = || format!("--{flag} container:{name}");
        let find = || {
            let folder = store.containers().find(name)?;
            let process = open_running(store, &folder)?.pid()?;
            Ok::<_, Error>(Other { record: ContainerRecord::of(&folder)?, folder, process })
        };
        find().context(named)
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.process)
    }
}

impl Joined {
    /// Finds the containers, which must be running.
    ///
    /// # Errors
    /// One is not; it is named with its flag.
    pub fn look(store: &Store, options: &Options) -> Result<Joined> {
        let namespaces = &options.namespaces;
        let network = match &options.network.mode {
            NetworkMode::Container(name) => Some(name),
            _ => None,
        };
        let find =
            |flag: &str, name: Option<&String>| name.map(|name| Other::find(store, flag, name)).transpose();
        let pid = find("pid", namespaces.pid_of.as_ref())?;
        let ipc = find("ipc", namespaces.ipc_of.as_ref())?;
        let network = find("network", network)?;
        if let Some(Other { record, .. }) = &ipc
            && record.options.namespaces.ipc_access != IpcAccess::Shareable
        {
            return Err(Error::conflict(format!(
                "--ipc container:{}: that one's is nobody else's: start it with --ipc shareable",
                record.name
            )));
        }
        let user = match store.maps() {
            Some(_) => shared_users([&network, &pid, &ipc].into_iter().flatten())?,
            None => None,
        };
        let names = network.as_ref().map(|other| other.folder.names());
        Ok(Joined {
            user,
            network: network.map(|other| other.path("net")),
            pid: pid.map(|other| other.path("pid")),
            ipc: ipc.map(|other| other.path("ipc")),
            hostname: names.as_ref().and_then(|names| read_hostname(&names.join("hostname"))),
            names,
        })
    }
}

/// Writes the ids of other containers in the place of their names: whatever they are called later, those are meant. As with Docker,
/// the one whose network it is may be missing until the start.
///
/// # Errors
/// One is not there, or is the container itself, whose name is to be `own`.
pub fn pin_others(store: &Store, options: &mut Options, own: &str) -> Result<()> {
    let pin = |flag: &str, name: &mut String, must_be: bool| {
        let named = || format!("--{flag} container:{name}");
        if name.is_empty() {
            return Err(Error::invalid("must be container:NAME or container:ID").context(named()));
        }
        if name == own {
            return Err(Error::invalid("it is that container itself").context(named()));
        }
        match store.containers().find(name) {
            Ok(folder) => *name = folder.id.to_string(),
            Err(error) if error.kind() == Kind::NotFound && !must_be => {}
            Err(error) => return Err(error.context(named())),
        }
        Ok(())
    };
    if let NetworkMode::Container(name) = &mut options.network.mode {
        pin("network", name, false)?;
    }
    let namespaces = &mut options.namespaces;
    let others = [("pid", &mut namespaces.pid_of), ("ipc", &mut namespaces.ipc_of)];
    others
        .into_iter()
        .filter_map(|(flag, name)| Some((flag, name.as_mut()?)))
        .try_for_each(|(flag, name)| pin(flag, name, true))
}

/// The user namespace of the containers whose namespaces an ordinary user's joins: only in that one it has rights over them.
fn shared_users<'o>(others: impl Iterator<Item = &'o Other>) -> Result<Option<String>> {
    let mut shared: Option<(&String, String)> = None;
    for other in others {
        let (name, users) = (&other.record.name, other.path("user"));
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
