//! The journal: what has to be undone, noted before it is made (network, cgroup, mount, resctrl groups). Each
//! entry is a symbolic link whose text says what it is, because a link is made atomically. The kind of an
//! entry tells when it was made.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Dir, RawDir, SeekFrom};
use rustix::io::Errno;

use super::{CGROUP, ProcessId, Record, STATE, StateDirectory, boot_id};
use crate::cgroup::{Cgroup, CgroupPath};
use crate::error::{Context, Error, Result};
use crate::oci::ContainerId;

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The key of what connects it to pillbox's own networks.
    Network,
    /// The file about the program that is its network in user mode, in the state folder.
    Helper,
    /// Where its network namespace is pinned, in the state folder.
    Namespace,
    /// The file about what CNI plugins have done for it, in the state folder.
    Cni,
    /// Which mount of the host's namespace is the container's root.
    Mounted,
    /// Where the cgroup is: see [`StateDirectory::note_cgroup`].
    Cgroup,
    /// A class of service that was made for the container.
    ResctrlClass,
    /// A monitoring group that was made for the container.
    ResctrlMonitor,
    /// The class of service of the container's processes.
    Resctrl,
    /// Which process init is, where no cgroup could tell: see [`StateDirectory::note_process`].
    Process,
}

impl Entry {
    /// In the order in which they are made.
    pub const ALL: [Entry; 10] = [
        Entry::Network,
        Entry::Helper,
        Entry::Namespace,
        Entry::Cni,
        Entry::Mounted,
        Entry::Cgroup,
        Entry::ResctrlClass,
        Entry::ResctrlMonitor,
        Entry::Resctrl,
        Entry::Process,
    ];

    /// The name of the link.
    fn name(self) -> &'static str {
        match self {
            Entry::Network => "network",
            Entry::Helper => "helper",
            Entry::Namespace => "namespace",
            Entry::Cni => "cni",
            Entry::Mounted => "mounted",
            Entry::Cgroup => CGROUP,
            Entry::ResctrlClass => "resctrl.class",
            Entry::ResctrlMonitor => "resctrl.monitor",
            Entry::Resctrl => "resctrl",
            Entry::Process => "process",
        }
    }
}

/// The prefix of a cgroup's path if systemd makes the cgroup.
const OF_UNIT: &str = "systemd:";

/// Stands instead of a path if the container has no cgroup.
const WITHOUT: &str = "none";

/// What the note in a container's folder says about its cgroup, even if nothing else there can be read.
#[derive(Debug, PartialEq, Eq)]
pub enum NotedCgroup {
    /// There is no note: `create` did not get that far, or another container has taken the cgroup over since
    /// this one ended.
    Nothing,
    /// There is no cgroup: only state.json and the entry for init lead to its processes.
    Without,
    /// The cgroup's place; it may be gone, or not made yet.
    At {
        /// Below the hierarchy's mount.
        path: CgroupPath,
        /// Whether systemd makes it, for a unit named like the last part of the path.
        of_unit: bool,
    },
}

impl StateDirectory {
    /// Notes, before it is made, where the cgroup will be and whether systemd makes it: `delete` then finds
    /// it even if nothing else gets written.
    pub fn note_cgroup(&self, path: &CgroupPath, of_unit: bool) -> Result<()> {
        let text = [if of_unit { OF_UNIT } else { "" }, path.as_str()].concat();
        rustix::fs::symlinkat(text, &self.directory, CGROUP)
            .context(|| format!("write {}/{CGROUP}", self.path.display()))
    }

    /// Replaces the note by one that says that there is no cgroup.
    pub fn note_no_cgroup(&self) -> Result<()> {
        let step = || format!("write {}/{CGROUP}", self.path.display());
        match rustix::fs::unlinkat(&self.directory, CGROUP, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).context(step),
        }
        rustix::fs::symlinkat(WITHOUT, &self.directory, CGROUP).context(step)
    }

    /// What is noted about the cgroup.
    ///
    /// # Errors
    /// The note cannot be read, and so what must be undone is unknown.
    pub fn noted_cgroup(&self) -> Result<NotedCgroup> {
        self.noted(Entry::Cgroup)?.map_or(Ok(NotedCgroup::Nothing), |text| self.parse_cgroup(&text))
    }

    /// What the text of the entry for the cgroup says.
    ///
    /// # Errors
    /// It is no path of a cgroup.
    pub fn parse_cgroup(&self, text: &Path) -> Result<NotedCgroup> {
        let text = text.to_string_lossy();
        if text == WITHOUT {
            return Ok(NotedCgroup::Without);
        }
        let path = text.strip_prefix(OF_UNIT);
        let parsed = CgroupPath::parse(path.unwrap_or(&text));
        let of_unit = path.is_some();
        parsed
            .map(|path| NotedCgroup::At { path, of_unit })
            .context(|| format!("{}/{CGROUP}", self.path.display()))
    }

    /// Notes which process init is, for `delete`: `PID INODE TIME BOOT`, as state.json has them.
    pub fn note_process(&self, record: &Record) -> Result<()> {
        let ProcessId { pid, pidfd_inode, start_time } = record.init();
        let text = format!("{pid} {pidfd_inode} {start_time} {}", record.boot_id);
        self.note(Entry::Process, text.as_ref())
    }

    /// Opens the process that the text of that entry means, with its pid; `None` if it has ended. It is never a later one with the
    /// same pid.
    ///
    /// # Errors
    /// The text is not as it was written.
    pub fn open_noted_process(&self, text: &Path) -> Result<Option<(i32, OwnedFd)>> {
        let text = text.to_string_lossy();
        let parse = || {
            let mut words = text.split(' ');
            let pid = words.next()?.parse().ok().filter(|pid: &i32| *pid > 0)?;
            let (pidfd_inode, start_time) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((ProcessId { pid, pidfd_inode, start_time }, words.next()?))
        };
        let (init, boot) = parse().ok_or_else(|| {
            Error::formatted(format_args!("{}/process: {text:?} is no process", self.path.display()))
        })?;
        let process = init.open()?;
        Ok(process.filter(|_| boot_id().is_ok_and(|now| now == boot)).map(|process| (init.pid, process)))
    }

    /// The cgroup of a container whose init has ended. Processes left in it are the container's, unless
    /// another container has taken the cgroup over or the machine has been booted since.
    pub fn open_left_cgroup(&self, record: &Record) -> Result<Option<Cgroup>> {
        let Some(cgroup) = record.open_cgroup()? else { return Ok(None) };
        let noted = self.noted_cgroup()?;
        let is_own = matches!(noted, NotedCgroup::At { path, .. } if path == *cgroup.path());
        Ok(if is_own && boot_id()? == record.boot_id { Some(cgroup) } else { None })
    }

    /// Makes an existing cgroup without processes this container's alone. Stopped containers that were in it
    /// lose their notes, so that they do not take this one's processes for their own. Only containers of the
    /// same root are checked.
    pub fn take_cgroup_over(&self, path: &CgroupPath) -> Result<()> {
        let step = || format!("take over cgroup {path}");
        for entry in Dir::read_from(&self.root).context(step)? {
            let entry = entry.context(step)?;
            let Ok(id) = ContainerId::new(entry.file_name().to_string_lossy()) else { continue };
            let note = format!("{id}/{CGROUP}");
            let text = rustix::fs::readlinkat(&self.root, &*note, Vec::new());
            if id == self.id || !text.is_ok_and(|text| text.as_bytes() == path.as_str().as_bytes()) {
                continue;
            }
            // A container that is being created keeps its note; it notices when it clones into the cgroup.
            if rustix::fs::accessat(&self.root, format!("{id}/{STATE}"), Access::EXISTS, AtFlags::empty())
                .is_ok()
            {
                match rustix::fs::unlinkat(&self.root, &*note, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno).context(step),
                }
            }
        }
        Ok(())
    }

    /// Notes what is about to be made; an entry with the same text may exist already.
    pub fn note(&self, entry: Entry, text: &Path) -> Result<()> {
        let name = entry.name();
        match rustix::fs::symlinkat(text, &self.directory, name) {
            Err(Errno::EXIST) if self.noted(entry)?.as_deref() == Some(text) => Ok(()),
            result => result.context(|| format!("write {}/{name}", self.path.display())),
        }
    }

    /// All entries, in the order in which they were made.
    ///
    /// # Errors
    /// The journal cannot be read, and so what must be undone is unknown.
    pub fn journal(&self) -> Result<Vec<(Entry, PathBuf)>> {
        let step = || format!("read {}", self.path.display());
        let mut is_there = [false; Entry::ALL.len()];
        let mut buffer = [MaybeUninit::uninit(); 512];
        // By the descriptor that is open: there may be no other one left.
        rustix::fs::seek(&self.directory, SeekFrom::Start(0)).context(step)?;
        let mut names = RawDir::new(&self.directory, &mut buffer);
        while let Some(name) = names.next() {
            let name = name.context(step)?;
            let of_name = |entry: &Entry| entry.name().as_bytes() == name.file_name().to_bytes();
            Entry::ALL.iter().position(of_name).into_iter().for_each(|position| is_there[position] = true);
        }
        let mut journal = Vec::new();
        for (entry, _) in Entry::ALL.into_iter().zip(is_there).filter(|(_, is_there)| *is_there) {
            journal.extend(self.noted(entry)?.map(|text| (entry, text)));
        }
        Ok(journal)
    }

    /// Removes an entry whose subject has been undone.
    pub fn strike(&self, entry: Entry) -> Result<()> {
        let name = entry.name();
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).context(|| format!("remove {}/{name}", self.path.display())),
        }
    }

    /// The text of an entry; `None` only if it was never made.
    pub fn noted(&self, entry: Entry) -> Result<Option<PathBuf>> {
        let name = entry.name();
        match rustix::fs::readlinkat(&self.directory, name, Vec::new()) {
            Ok(text) => Ok(Some(std::ffi::OsString::from_vec(text.into_bytes()).into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("read {}/{name}", self.path.display())),
        }
    }
}
