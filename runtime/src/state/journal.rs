//! The journal: symbolic links whose texts say, before it is made, what is to be undone (cgroup, mount, resctrl groups). A link is there
//! whole or not at all, and its kind tells when it was made.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Dir};
use rustix::io::Errno;

use super::{CGROUP, Record, STATE, StateDirectory, boot_id};
use crate::cgroup::{Cgroup, CgroupPath};
use crate::error::{Context, Result};
use crate::oci::ContainerId;
use crate::state::resctrl::Group;

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Which mount of the host's namespace the container's root is.
    Mounted,
    /// Where the cgroup is: see [`StateDirectory::note_cgroup`].
    Cgroup,
    /// A class of service that was made for the container.
    ResctrlClass,
    /// A monitoring group that was made for it.
    ResctrlMonitor,
    /// The class of service that its processes are in.
    Resctrl,
}

impl Entry {
    /// In the order in which a container is made.
    pub const ALL: [Entry; 5] =
        [Entry::Mounted, Entry::Cgroup, Entry::ResctrlClass, Entry::ResctrlMonitor, Entry::Resctrl];

    /// The name of the link.
    fn name(self) -> &'static str {
        match self {
            Entry::Mounted => "mounted",
            Entry::Cgroup => CGROUP,
            Entry::ResctrlClass => "resctrl.class",
            Entry::ResctrlMonitor => "resctrl.monitor",
            Entry::Resctrl => "resctrl",
        }
    }
}

/// Before the path of a cgroup that systemd makes.
const OF_UNIT: &str = "systemd:";

/// Instead of a path: the container has no cgroup.
const WITHOUT: &str = "none";

/// What a container's folder says of its cgroup, whatever else of it can be read.
#[derive(Debug, PartialEq, Eq)]
pub enum NotedCgroup {
    /// `create` has not come so far, or what was in it has ended and another container has taken it over.
    Nothing,
    /// There is none: its processes are known by state.json alone.
    Without,
    /// There it is, if it is.
    At {
        /// Below the hierarchy's mount.
        path: CgroupPath,
        /// Whether systemd made it, for the unit with the name of its last part.
        of_unit: bool,
    },
}

impl StateDirectory {
    /// Notes where the cgroup will be, before it is made, and whether a unit of systemd's will: `delete` finds it even if
    /// nothing else gets written.
    pub fn note_cgroup(&self, path: &CgroupPath, of_unit: bool) -> Result<()> {
        let text = [if of_unit { OF_UNIT } else { "" }, path.as_str()].concat();
        rustix::fs::symlinkat(text, &self.directory, CGROUP)
            .context(|| format!("write {}/{CGROUP}", self.path.display()))
    }

    /// Notes that there is no cgroup, instead of where it would have been.
    pub fn note_no_cgroup(&self) -> Result<()> {
        let step = || format!("write {}/{CGROUP}", self.path.display());
        match rustix::fs::unlinkat(&self.directory, CGROUP, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).context(step),
        }
        rustix::fs::symlinkat(WITHOUT, &self.directory, CGROUP).context(step)
    }

    /// What was noted of the cgroup.
    ///
    /// # Errors
    /// It cannot be read: what is to be taken back is not known then.
    pub fn noted_cgroup(&self) -> Result<NotedCgroup> {
        let Some(text) = self.noted(Entry::Cgroup)? else { return Ok(NotedCgroup::Nothing) };
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

    /// The cgroup of a container whose init has ended: what is left in it is the container's as long as no other has taken
    /// the path over, and the machine has not been booted since.
    pub fn open_left_cgroup(&self, record: &Record) -> Result<Option<Cgroup>> {
        let Some(cgroup) = record.open_cgroup()? else { return Ok(None) };
        let noted = self.noted_cgroup()?;
        let is_own = matches!(noted, NotedCgroup::At { path, .. } if path == *cgroup.path());
        Ok(if is_own && boot_id()? == record.boot_id { Some(cgroup) } else { None })
    }

    /// Makes a cgroup that was there, with nobody in it, this container's alone: what has ended and was in it before must
    /// not take this one's processes for its own. Containers of other roots are not asked.
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
            // One that is being made keeps its note, and finds out when it clones into it.
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

    /// Where further processes of the container belong in resctrl.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn noted_resctrl(&self) -> Result<Option<Group>> {
        let Some(class) = self.noted(Entry::Resctrl)? else { return Ok(None) };
        Ok(Some(Group { class, monitor: self.noted(Entry::ResctrlMonitor)? }))
    }

    /// Notes what is about to be made; a note that says the same already will do.
    pub fn note(&self, entry: Entry, text: &Path) -> Result<()> {
        let name = entry.name();
        match rustix::fs::symlinkat(text, &self.directory, name) {
            Err(Errno::EXIST) if self.noted(entry)?.as_deref() == Some(text) => Ok(()),
            result => result.context(|| format!("write {}/{name}", self.path.display())),
        }
    }

    /// What is noted, in the order in which it was.
    ///
    /// # Errors
    /// It cannot be read: what is to be undone is not known then.
    pub fn journal(&self) -> Result<Vec<(Entry, PathBuf)>> {
        let mut journal = Vec::new();
        for entry in Entry::ALL {
            journal.extend(self.noted(entry)?.map(|text| (entry, text)));
        }
        Ok(journal)
    }

    /// Takes an entry out of the journal: what it names is undone.
    pub fn strike(&self, entry: Entry) -> Result<()> {
        let name = entry.name();
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).context(|| format!("remove {}/{name}", self.path.display())),
        }
    }

    /// The text of an entry; what cannot be read is not taken for one that was never made.
    fn noted(&self, entry: Entry) -> Result<Option<PathBuf>> {
        let name = entry.name();
        match rustix::fs::readlinkat(&self.directory, name, Vec::new()) {
            Ok(text) => Ok(Some(std::ffi::OsString::from_vec(text.into_bytes()).into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("read {}/{name}", self.path.display())),
        }
    }
}
