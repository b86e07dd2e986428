//! Networks with names of an ordinary user: they are in a network namespace that stands for the host, where he has root's rights, and so
//! do bridges, pairs and the packet filter. It is made with the first container, and has its way out through pasta or slirp4netns. The
//! containers on these networks share its user namespace: only so can their interfaces be made there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use pillbox::container::worded;
use pillbox::state::NetworkRecord as Interface;
use pillbox_network::rootless::{Helper, Options as UserMode, Tools, end_unrecorded, prepare};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::joined::are_one;
use super::own_cgroup::OwnCgroup;
use super::record::ContainerRecord;
use super::status::Status;
use super::unreaped::leave_unreaped;
use crate::error::{Context, Error, Result};
use crate::file;
use crate::ids::{IdMaps, Range};
use crate::inside::{Entrance, NetworkAct, act_on_networks, hold_namespaces, is_held};
use crate::store::{Lock, Sharing, Store};

/// In its folder: which process is the way out.
const WAY_OUT: &str = "way-out.json";

/// Of a store's, in its runtime folder.
#[derive(Debug, Clone)]
pub struct Rootless {
    /// What is recorded of the processes here.
    pub(super) folder: PathBuf,
    /// What is recorded of the networks.
    records: PathBuf,
}

/// The namespaces, held by a process.
#[derive(Debug, Clone)]
pub struct Namespaces {
    pub(super) rootless: Rootless,
    pub(super) entrance: Entrance,
}

impl Rootless {
    /// That of an ordinary user's store; nothing of it need be there. `None` for root's, whose networks are on the host.
    pub fn of(store: &Store) -> Option<Rootless> {
        store.maps()?;
        let runtime = &store.place().runtime;
        Some(Rootless { folder: runtime.join(".rootless"), records: runtime.join(".network") })
    }

    /// Where what exists of the networks is recorded.
    pub fn records(&self) -> &Path {
        &self.records
    }

    fn lock_file(&self) -> PathBuf {
        self.folder.join("holder")
    }

    pub(super) fn lock(&self) -> Result<Lock> {
        Lock::at(&self.folder, Sharing::Exclusive, "your networks")
    }

    /// The namespaces, if they are there.
    ///
    /// # Errors
    /// What is recorded of them cannot be read.
    pub fn find(&self) -> Result<Option<Namespaces>> {
        let lock = self.lock_file();
        if !is_held(&lock)? {
            return Ok(None);
        }
        // Whoever makes them has not come so far.
        let Some(pid) = self.holder() else { return Ok(None) };
        Ok(Some(Namespaces { rootless: self.clone(), entrance: Entrance { pid, lock } }))
    }

    /// The namespaces, made if they are not there. `notes` gets what the user should know, a line each.
    ///
    /// # Errors
    /// The kernel gives no namespaces; the ids cannot be mapped.
    pub fn provide(&self, store: &Store, notes: &mut Vec<String>) -> Result<Namespaces> {
        let maps = store.maps().ok_or_else(|| Error::invalid("root's networks are on the host"))?;
        store.place().make_runtime()?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.context(|| format!("make the folder {}", self.folder.display()))?;
        let _lock = self.lock()?;
        if let Some(namespaces) = self.find()? {
            if namespaces.have_ids(maps)? {
                return Ok(namespaces);
            }
            if self.has_containers()? {
                return Err(Error::conflict(
                    "your networks were made with other ranges of ids than you have now (/etc/subuid, /etc/subgid, newuidmap): stop the containers on them first, then they are made anew",
                ));
            }
            namespaces.end()?;
        }
        // One that ends as it should removes its file.
        if self.lock_file().exists() {
            notes.extend(cut_off(store)?);
        }
        self.clear()?;
        leave_unreaped(hold_namespaces(maps, &self.lock_file())?);
        self.find()?.ok_or_else(|| Error::conflict("the process that holds your networks was killed"))
    }

    /// Ends them if nobody needs them any more: there is no network with a name, and no container is connected. What one that was killed
    /// has left goes as well.
    ///
    /// # Errors
    /// A record cannot be read, or the process cannot be ended.
    pub fn end_if_unused(&self, store: &Store) -> Result<()> {
        let is_needed = || Ok::<_, Error>(!store.networks().list()?.is_empty() || self.has_containers()?);
        if !self.lock_file().exists() || is_needed()? {
            return Ok(());
        }
        let _lock = self.lock()?;
        if is_needed()? {
            return Ok(());
        }
        let ended = match self.find()? {
            Some(namespaces) => namespaces.end()?,
            None => None,
        };
        self.clear()?;
        // When the way out has ended as well.
        if let Some((process, Some(cgroup))) = ended {
            cgroup.is_left_by(process.as_fd());
        }
        Ok(())
    }

    /// Has another program be the way out, if the one that was is not any more.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn replace_way_out(&self) -> Result<()> {
        let has_lost_it = self.way_out().is_some_and(|helper| !helper.is_running().unwrap_or(true));
        if !has_lost_it {
            return Ok(());
        }
        let Some(namespaces) = self.find()? else { return Ok(()) };
        let opened = namespaces.open_way_out();
        // With who held it, who has just been killed.
        if self.find()?.is_none() { Ok(()) } else { opened }
    }

    /// Removes what belongs to namespaces that are gone: records, and the program that was their way out.
    fn clear(&self) -> Result<()> {
        remove_if_there(fs::remove_dir_all(&self.records)).context(|| self.records.display().to_string())?;
        self.end_way_out(self.holder())?;
        // Last: by it the next one knows that there is something to remove.
        remove_if_there(fs::remove_file(self.lock_file())).context(|| self.lock_file().display().to_string())
    }

    /// The number of the process that holds the namespaces, or held them.
    fn holder(&self) -> Option<i32> {
        file::read_text(&self.lock_file()).ok()?.parse().ok()
    }

    /// Ends the program that is the way out, and any whose starter was killed before it could record it.
    /// Whether there was anything.
    fn end_way_out(&self, holder: Option<i32>) -> Result<bool> {
        if let Some(helper) = self.way_out() {
            helper.end().map_err(worded)?;
        }
        let ended = holder.map(|holder| end_unrecorded(holder, &self.folder)).transpose().map_err(worded)?;
        remove_if_there(fs::remove_file(self.folder.join(WAY_OUT))).context(|| WAY_OUT)?;
        Ok(ended.unwrap_or(false))
    }

    /// The program that was started last to be the way out.
    fn way_out(&self) -> Option<Helper> {
        Helper::parse(&file::read(&self.folder.join(WAY_OUT)).ok()?).ok()
    }

    /// Removes what exists of a network on which nobody is.
    ///
    /// # Errors
    /// A container is connected to it.
    pub fn take_down(&self, network: &str) -> Result<()> {
        let Some(namespaces) = self.find()? else { return Ok(()) };
        match namespaces.act(NetworkAct::TakeDown(network.to_string())) {
            // With who held it, who has just been killed.
            Err(_) if self.find()?.is_none() => Ok(()),
            done => done.map(drop),
        }
    }

    fn has_containers(&self) -> Result<bool> {
        let known = || match pillbox_network::Store::find(&self.records)? {
            Some(known) => pillbox_network::inspect::list(&known).map(|listing| listing.attachments),
            None => Ok(Vec::new()),
        };
        Ok(known().map_err(worded)?.iter().any(|(_, is_alive)| *is_alive))
    }
}

pub(super) fn remove_if_there(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What is to be said of containers that run on when the process that holds their networks was killed.
fn cut_off(store: &Store) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        let is_alive = || Status::of(store, &folder).is_ok_and(|status| status.is_alive());
        let has_interfaces = || super::ports::interfaces(store, &record.id).is_ok_and(|all| !all.is_empty());
        if !record.options.network.names().is_empty() && is_alive() && has_interfaces() {
            let name = &record.name;
            lines.push(format!(
                "container {name}: the process that held its networks was killed, and those who are started from now on do not reach it: box restart {name}"
            ));
        }
    }
    Ok(lines)
}

impl Namespaces {
    /// Ends the process that holds them. The result is its pidfd, and the cgroup of monitors that it was in.
    fn end(&self) -> Result<Option<(OwnedFd, Option<OwnCgroup>)>> {
        let pid = Pid::from_raw(self.entrance.pid).ok_or_else(|| Error::invalid("no process"))?;
        let named = || format!("end process {}", self.entrance.pid);
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            // It has just been killed.
            Err(Errno::SRCH) => return Ok(None),
            opened => opened.context(named)?,
        };
        let cgroup = OwnCgroup::of_process(self.entrance.pid);
        // Checked after opening: if it has ended, another process may have its number.
        if is_held(&self.entrance.lock)? {
            match pidfd_send_signal(&process, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                refused => refused.context(named)?,
            }
        }
        Ok(Some((process, cgroup)))
    }

    /// The path of the user namespace.
    pub fn user_path(&self) -> String {
        format!("/proc/{}/ns/user", self.entrance.pid)
    }

    /// Whether a process is in that user namespace: only then can it be connected to networks with names.
    ///
    /// # Errors
    /// One of the two has ended.
    pub fn have(&self, pid: i32) -> Result<bool> {
        are_one(&format!("/proc/{pid}/ns/user"), &self.user_path())
    }

    /// Whether its ids are mapped like that.
    fn have_ids(&self, maps: &IdMaps) -> Result<bool> {
        let are = |name: &str, ranges: &[Range]| {
            let path = format!("/proc/{}/{name}", self.entrance.pid);
            let text = fs::read_to_string(&path).context(|| path)?;
            let found = text.lines().map(|line| line.split_whitespace().map(str::to_string).collect());
            let line = |range: &Range| [range.inside, range.outside, range.count].map(|id| id.to_string());
            let wanted = ranges.iter().map(|range| line(range).to_vec());
            Ok::<_, Error>(found.collect::<BTreeSet<Vec<_>>>() == wanted.collect())
        };
        Ok(are("uid_map", &maps.users)? && are("gid_map", &maps.groups)?)
    }

    /// Does something to networks.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn act(&self, act: NetworkAct) -> Result<Vec<Interface>> {
        act_on_networks(&self.entrance, &self.rootless.records, act)
    }

    /// Has the networks reach what is outside, if they do not.
    ///
    /// # Errors
    /// Neither pasta nor slirp4netns is there, or it does not work.
    pub(super) fn open_way_out(&self) -> Result<()> {
        let folder = &self.rootless.folder;
        let _lock = self.rootless.lock()?;
        if self.rootless.way_out().is_some_and(|helper| helper.is_running().unwrap_or(false)) {
            return Ok(());
        }
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        let tools = Tools { search_path: OsStr::new(&search_path) };
        let options = UserMode { mtu: None, ipv6: true, name_server: None };
        let pid = Pid::from_raw(self.entrance.pid).ok_or_else(|| Error::invalid("no process"))?;
        let prepared = prepare(&tools, &[], &options).map_err(worded)?;
        let mut was_there = self.rootless.end_way_out(Some(self.entrance.pid))?;
        let mut started = prepared.start(pid, folder);
        // The one that was killed with its starter may be in its way until it has ended.
        while was_there && started.is_err() {
            was_there = self.rootless.end_way_out(Some(self.entrance.pid))?;
            started = prepared.start(pid, folder);
        }
        let helper = started.map_err(worded)?;
        let text = serde_json::to_vec(&helper).map_err(|error| Error::invalid(error.to_string()))?;
        let path = folder.join(WAY_OUT);
        fs::write(&path, text).context(|| path.display().to_string())
    }
}
