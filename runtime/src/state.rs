//! The state directory: what is known of a container when the runtime is gone, and what its status is.
//!
//! `ROOT/ID/` is made by mkdir, which is the lock on the id, and holds `state.json` (written by rename),
//! `cgroup` (a link whose text is the cgroup's path, made before the cgroup), `mounted` (likewise which mount of the
//! host's namespace is the root of a container without one of its own, and where) and `gate` (the socket that `start`
//! connects to, there until it did). Nothing in it says what the status is: that is asked of the kernel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;

use crate::cgroup::{Cgroup, CgroupPath, Hierarchy};
use crate::container_id::ContainerId;
use crate::error::{Context, Error, Kind, Result};
use crate::json::{self, Members};
use crate::resctrl::Group;
use crate::spec::json::{Map, Text, object};
use crate::{device_node, mount_note, notify, order};

const STATE: &str = "state.json";
/// What stands in it before the configuration.
const CONFIG: &[u8] = b",\"config\":{";
/// It is written under this name.
const NEW: &str = "state.json.new";
const CGROUP: &str = "cgroup";
/// Before the path of a cgroup that systemd makes.
const OF_UNIT: &str = "systemd:";
/// The class that the processes are in; the folders that were made for the container.
const RESCTRL: &str = "resctrl";
const RESCTRL_CLASS: &str = "resctrl.class";
const RESCTRL_MONITOR: &str = "resctrl.monitor";
const GATE: &str = "gate";
const MOUNTED: &str = "mounted";

/// How long a command waits for another one on the same container.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than any state.json has: a config.json may have 16 MiB.
const STATE_MAX: u64 = 17 << 20;

/// What `pillbox state` says (runtime.md, "State").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` has not finished.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The program runs, or waits for `start`, but its cgroup is frozen.
    Paused,
    /// There is no process any more.
    Stopped,
}

impl Status {
    /// The specification's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

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

/// The folder that holds a folder for each container (`--root`).
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// The folder at `path`, or by default `/run/pillbox` for root and `$XDG_RUNTIME_DIR/pillbox` for others.
    pub fn new(path: Option<PathBuf>) -> Root {
        let user = rustix::process::geteuid();
        let path = path.unwrap_or_else(|| match std::env::var_os("XDG_RUNTIME_DIR") {
            _ if user.is_root() => PathBuf::from("/run/pillbox"),
            Some(folder) if !folder.is_empty() => Path::new(&folder).join("pillbox"),
            _ => PathBuf::from(format!("/tmp/pillbox-{}", user.as_raw())),
        });
        Root { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder for a new container: exactly one caller gets it.
    ///
    /// # Errors
    /// The id is taken; the root folder is somebody else's.
    pub fn reserve(&self, id: &ContainerId) -> Result<StateDirectory> {
        let root = match self.open() {
            Err(_) if !self.path.exists() => {
                let mut builder = std::fs::DirBuilder::new();
                std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o711);
                builder
                    .create(&self.path)
                    .context(|| format!("make the state folder {}", self.path.display()))?;
                self.open()?
            }
            root => root?,
        };
        match rustix::fs::mkdirat(&root, id.as_str(), Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(Error::of(Kind::Exists, format!("container {id} exists already")));
            }
            Err(errno) => {
                return Err(errno).context(|| format!("make the state folder {}/{id}", self.path.display()));
            }
        }
        let directory = self.enter(root, id)?;
        // Who saw the folder first and locked it finds nothing there and lets go, or has removed it.
        directory.lock_patiently()?;
        Ok(directory)
    }

    /// The folder of a container that exists.
    ///
    /// # Errors
    /// `container does not exist`.
    pub fn find(&self, id: &ContainerId) -> Result<StateDirectory> {
        let root = self.open().map_err(|error| if self.path.exists() { error } else { missing(id) })?;
        self.enter(root, id)
    }

    fn enter(&self, root: OwnedFd, id: &ContainerId) -> Result<StateDirectory> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        match rustix::fs::openat(&root, id.as_str(), flags, Mode::empty()) {
            Ok(directory) => {
                Ok(StateDirectory { root, directory, id: id.clone(), path: self.path.join(id.as_str()) })
            }
            Err(Errno::NOENT) => Err(missing(id)),
            Err(errno) => {
                Err(errno).context(|| format!("open the state folder {}/{id}", self.path.display()))
            }
        }
    }

    /// Whoever may write here decides which processes get killed: only the user's own folder will do.
    fn open(&self) -> Result<OwnedFd> {
        let step = || format!("state folder {}", self.path.display());
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::openat(CWD, &self.path, flags, Mode::empty()).context(step)?;
        let status = rustix::fs::fstat(&root).context(step)?;
        if status.st_uid != rustix::process::geteuid().as_raw() && status.st_uid != 0 {
            return Err(Error::formatted(format_args!(
                "{}: belongs to user {}: choose another with --root",
                step(),
                status.st_uid
            )));
        }
        if status.st_mode & 0o022 != 0 {
            return Err(Error::formatted(format_args!(
                "{}: others may write to it: chmod go-w, or choose another with --root",
                step()
            )));
        }
        Ok(root)
    }

    /// The ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let root = self.open()?;
        let step = || format!("list {}", self.path.display());
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&root).context(step)? {
            let entry = entry.context(step)?;
            // The seed's pin and other strangers are no containers.
            if let Ok(id) = ContainerId::new(entry.file_name().to_string_lossy())
                && entry.file_type() != rustix::fs::FileType::RegularFile
            {
                ids.push(id);
            }
        }
        order::sort(&mut ids, |left, right| left.as_str() < right.as_str());
        Ok(ids)
    }
}

fn missing(id: &ContainerId) -> Error {
    Error::of(Kind::NotFound, format!("{id}: container does not exist"))
}

/// A container's folder, open.
#[derive(Debug)]
pub struct StateDirectory {
    root: OwnedFd,
    directory: OwnedFd,
    id: ContainerId,
    path: PathBuf,
}

impl StateDirectory {
    /// One command at a time: flock(2) on the folder, until it is dropped.
    ///
    /// # Errors
    /// Another command has had it for `patience`; the folder was removed meanwhile.
    pub fn lock(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&self.directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2))
                }
                Err(Errno::AGAIN) => {
                    let text = format!("container {}: another command is working on it", self.id);
                    return Err(Error::of(Kind::Busy, text));
                }
                Err(errno) => return Err(errno).context(|| format!("lock {}", self.path.display())),
            }
        }
        // Whoever had the lock before may have deleted the container.
        match rustix::fs::fstat(&self.directory) {
            Ok(status) if status.st_nlink > 0 => Ok(()),
            _ => Err(missing(&self.id)),
        }
    }

    /// [`Self::lock`], with the ordinary patience.
    pub fn lock_patiently(&self) -> Result<()> {
        self.lock(PATIENCE)
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The folder itself.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Notes where the cgroup will be, before it is made, and whether a unit of systemd's will: `delete` finds it even if
    /// nothing else gets written.
    pub fn note_cgroup(&self, path: &CgroupPath, of_unit: bool) -> Result<()> {
        let text = [if of_unit { OF_UNIT } else { "" }, path.as_str()].concat();
        rustix::fs::symlinkat(text, &self.directory, CGROUP)
            .context(|| format!("write {}/{CGROUP}", self.path.display()))
    }

    /// Notes which mount of the host's namespace the container's root is, when it has no namespace of its own.
    pub fn note_mount(&self, path: &str, root: &OwnedFd) -> Result<()> {
        let note = mount_note::of(root, path)?;
        rustix::fs::symlinkat(&*note, &self.directory, MOUNTED)
            .context(|| format!("write {}/{MOUNTED}", self.path.display()))
    }

    /// Unmounts what was noted, with everything below: no namespace takes it along when the container is gone.
    pub fn unmount_noted(&self) -> Result<()> {
        let note = self.noted(MOUNTED);
        note.as_deref().and_then(Path::to_str).map_or(Ok(()), mount_note::unmount)
    }

    /// The cgroup that was noted, and whether it is of a unit, which has the name of its last part.
    pub fn noted_cgroup(&self) -> Option<(CgroupPath, bool)> {
        let text = rustix::fs::readlinkat(&self.directory, CGROUP, Vec::new()).ok()?;
        let text = text.to_str().ok()?;
        let path = text.strip_prefix(OF_UNIT);
        Some((CgroupPath::parse(path.unwrap_or(text)).ok()?, path.is_some()))
    }

    /// Notes the class of service that the container's processes are in.
    pub fn note_resctrl(&self, class: &Path) -> Result<()> {
        self.note(RESCTRL, class)
    }

    /// Notes a class that was made for the container: [`Self::remove`] removes it.
    pub fn note_resctrl_class(&self, folder: &Path) -> Result<()> {
        self.note(RESCTRL_CLASS, folder)
    }

    /// Notes a monitoring group that was made for the container: [`Self::remove`] removes it.
    pub fn note_resctrl_monitor(&self, folder: &Path) -> Result<()> {
        self.note(RESCTRL_MONITOR, folder)
    }

    /// Where further processes of the container belong in resctrl.
    pub fn noted_resctrl(&self) -> Option<Group> {
        let class = self.noted(RESCTRL)?;
        Some(Group { class, monitor: self.noted(RESCTRL_MONITOR) })
    }

    /// A link whose text is the note; one that says the same already will do.
    fn note(&self, name: &str, folder: &Path) -> Result<()> {
        match rustix::fs::symlinkat(folder, &self.directory, name) {
            Err(Errno::EXIST) if self.noted(name).as_deref() == Some(folder) => Ok(()),
            result => result.context(|| format!("write {}/{name}", self.path.display())),
        }
    }

    fn noted(&self, name: &str) -> Option<PathBuf> {
        let text = rustix::fs::readlinkat(&self.directory, name, Vec::new()).ok()?;
        Some(std::ffi::OsString::from_vec(text.into_bytes()).into())
    }

    /// Removes what was made in resctrl for the container; its processes are gone.
    fn remove_resctrl(&self) -> Result<()> {
        // A class takes the monitoring groups in it along.
        for folder in [RESCTRL_MONITOR, RESCTRL_CLASS].into_iter().filter_map(|name| self.noted(name)) {
            match rustix::fs::rmdir(&folder) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {}", folder.display())),
            }
        }
        Ok(())
    }

    /// Writes what is to be state.json, with the container's configuration as the last member; [`Self::publish`] makes
    /// it so.
    pub fn store(&self, record: &Record, config: &str) -> Result<()> {
        let record = json::to_string(record)?;
        let Some(record) = record.strip_suffix('}') else {
            return Err(Error::new("state.json: not an object"));
        };
        self.write_document(&format!("{record},\"config\":{}}}\n", config.trim()))
    }

    /// Writes the text of state.json, in one step: whoever reads sees the former text or this.
    pub fn replace_document(&self, document: &str) -> Result<()> {
        self.write_document(document).and_then(|()| self.publish())
    }

    /// What was written is state.json from here on.
    pub fn publish(&self) -> Result<()> {
        rustix::fs::renameat(&self.directory, NEW, &self.directory, STATE)
            .context(|| format!("write {}/{STATE}", self.path.display()))
    }

    fn write_document(&self, document: &str) -> Result<()> {
        let step = || format!("write {}/{STATE}", self.path.display());
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::openat(&self.directory, NEW, flags, Mode::from_raw_mode(0o600)).context(step)?;
        write_all(&file, document.as_bytes()).context(step)
    }

    /// The text of state.json.
    ///
    /// # Errors
    /// It is not there (`create` was killed), or larger than any.
    pub fn read_document(&self) -> Result<Vec<u8>> {
        let step = || format!("read {}/{STATE}", self.path.display());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.directory, STATE, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                return Err(Error::of(
                    Kind::NotFound,
                    format!("{}: container does not exist: its creation was not finished", self.id),
                ));
            }
            Err(errno) => return Err(errno).context(step),
        };
        let size = rustix::fs::fstat(&file).context(step)?.st_size as u64;
        if size > STATE_MAX {
            return Err(Error::formatted(format_args!(
                "{}: {size} bytes are more than a state can have",
                step()
            )));
        }
        read_all(&file, size as usize).context(step)
    }

    /// What was recorded of the container.
    ///
    /// # Errors
    /// As for [`Self::read_document`]; it is not whole, or not this container's.
    pub fn load(&self) -> Result<Record> {
        let step = || format!("read {}/{STATE}", self.path.display());
        let mut document = self.read_document()?;
        // The configuration is most of it and comes last: what stands before it is all that is asked. An annotation
        // has no object as its value.
        if let Some(end) =
            document.windows(CONFIG.len()).position(|bytes| bytes[0] == CONFIG[0] && bytes == CONFIG)
        {
            document.truncate(end);
            document.push(b'}');
        }
        let stored: StoredRecord<'_> = crate::spec::json::parse(&document)
            .map_err(|error| Error::formatted(format_args!("{}: {error}", step())))?;
        if *stored.id != *self.id.as_str() || stored.pid <= 0 {
            return Err(Error::formatted(format_args!("{}: not the state of container {}", step(), self.id)));
        }
        Ok(stored.into())
    }

    /// A listening socket at `gate`, for init.
    pub fn open_gate(&self) -> Result<OwnedFd> {
        let step = || format!("listen on {}/{GATE}", self.path.display());
        let gate =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .context(step)?;
        let address = self.gate_address().context(step)?;
        rustix::net::bind(&gate, &address).context(step)?;
        rustix::net::listen(&gate, 8).context(step)?;
        Ok(gate)
    }

    /// Whether init waits at the gate. A socket of another type is refused by a gate that is watched, without a word to
    /// init, which need not wake for that.
    fn is_gate_watched(&self) -> Result<bool> {
        match self.connect(SocketType::DGRAM) {
            Err(Errno::PROTOTYPE) => Ok(true),
            connected => connected
                .map(|gate| gate.is_some())
                .context(|| format!("connect to {}/{GATE}", self.path.display())),
        }
    }

    /// Socket paths end at 107 bytes, and a container's folder alone may have more: the descriptor leads there.
    fn gate_address(&self) -> rustix::io::Result<SocketAddrUnix> {
        use std::os::fd::AsRawFd;
        SocketAddrUnix::new(format!("/proc/self/fd/{}/{GATE}", self.directory.as_raw_fd()))
    }

    /// Connects to init's gate; `None` when init does not wait there (any more).
    pub fn connect_gate(&self) -> Result<Option<OwnedFd>> {
        self.connect(SocketType::STREAM).context(|| format!("connect to {}/{GATE}", self.path.display()))
    }

    fn connect(&self, kind: SocketType) -> rustix::io::Result<Option<OwnedFd>> {
        match rustix::fs::statat(&self.directory, GATE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        match rustix::net::connect(&socket, &self.gate_address()?) {
            Ok(()) => Ok(Some(socket)),
            Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens the gate: the byte that init waits for.
    pub fn send_start(gate: &OwnedFd) -> rustix::io::Result<()> {
        rustix::net::send(gate, b"s", SendFlags::NOSIGNAL).map(drop)
    }

    /// The gate has served.
    pub fn remove_gate(&self) {
        // Left behind it costs a connect at the next look, nothing else.
        let _ = rustix::fs::unlinkat(&self.directory, GATE, AtFlags::empty());
    }

    /// Removes the folder with what pillbox puts there.
    pub fn remove(&self) -> Result<()> {
        self.unmount_noted()?;
        self.remove_resctrl()?;
        for name in [GATE, MOUNTED, CGROUP, RESCTRL, RESCTRL_MONITOR, RESCTRL_CLASS, NEW, STATE] {
            match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {}/{name}", self.path.display())),
            }
        }
        let mut removed = rustix::fs::unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR);
        if removed == Err(Errno::NOTEMPTY) {
            // From a `create` that was killed.
            device_node::forget(self.folder());
            notify::forget(self.folder());
            removed = rustix::fs::unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR);
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).context(|| format!("remove {}", self.path.display())),
        }
    }

    /// What the kernel says about the container.
    pub fn status(&self, record: &Record) -> Result<Status> {
        if !record.is_alive()? {
            return Ok(Status::Stopped);
        }
        let frozen = match record.open_cgroup()? {
            Some(cgroup) => cgroup.is_frozen()?,
            None => false,
        };
        // Before the gate is looked at: a created container can be paused, and its init answers nobody then.
        if frozen {
            return Ok(Status::Paused);
        }
        Ok(if self.is_gate_watched()? { Status::Created } else { Status::Running })
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
}

impl Record {
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

/// What /proc/PID/stat says.
pub struct Process {
    /// Clock ticks after boot.
    pub start_time: u64,
    /// A zombie, or nearly gone.
    pub ended: bool,
}

/// Reads fields 3 and 22 of /proc/PID/stat; `None` when there is no such process. See proc_pid_stat(5).
pub fn process_start(pid: i32) -> Result<Option<Process>> {
    let path = format!("/proc/{pid}/stat");
    let text = match read_small(&path) {
        Ok(text) => text,
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno).context(|| format!("read {path}")),
    };
    // The second field is the name, in parentheses, and may hold anything: the last one closes it.
    let parsed = text.iter().rposition(|&byte| byte == b')').and_then(|end| {
        let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        Some(Process { start_time, ended: matches!(state, "Z" | "X" | "x") })
    });
    parsed.map(Some).ok_or_else(|| Error::formatted(format_args!("{path}: not what proc_pid_stat(5) says")))
}

/// The exit code, as wait(2) encodes it, of a process that has ended and whose parent has not asked yet: field 52 of
/// /proc/PID/stat. `None` for any other, and where the kernel does not let this user see it.
pub fn exit_code_of_zombie(pid: i32, start_time: u64) -> Result<Option<i32>> {
    match process_start(pid)? {
        Some(Process { start_time: found, ended: true }) if found == start_time => {}
        _ => return Ok(None),
    }
    let Ok(text) = read_small(&format!("/proc/{pid}/stat")) else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let code = text.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(49)?.parse().ok());
    // Who may not look sees 0 here: that is an answer only for who may.
    Ok(code.filter(|code| *code != 0 || rustix::process::geteuid().is_root()))
}

/// /proc/sys/kernel/random/boot_id.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let id = read_small(PATH).context(|| format!("read {PATH}"))?;
    Ok(String::from_utf8_lossy(&id).trim_end().to_string())
}

/// A file of the kernel's that fits one read.
fn read_small(path: &str) -> rustix::io::Result<Vec<u8>> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(1024);
    rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))?;
    Ok(text)
}

/// Sends a signal through a pidfd.
pub fn send_signal(process: &OwnedFd, signal: Signal) -> Result<()> {
    match rustix::process::pidfd_send_signal(process.as_fd(), signal) {
        Err(Errno::SRCH) => Err(Error::of(Kind::Status, "process already finished".into())),
        result => result.context(|| format!("send signal {}", signal.as_raw())),
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(file, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Reads up to the end; `size` is a guess.
fn read_all(file: &OwnedFd, size: usize) -> rustix::io::Result<Vec<u8>> {
    let mut document = Vec::with_capacity(size + 1);
    while rustix::io::read(file, rustix::buffer::spare_capacity(&mut document))? > 0 {
        if document.len() == document.capacity() {
            document.reserve(document.len());
        }
    }
    Ok(document)
}
