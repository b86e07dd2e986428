//! Symbolic links whose text says, before it is made, what has to be taken back: cgroup, mount, resctrl groups.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Dir};
use rustix::io::Errno;

use super::{
    CGROUP, MOUNTED, RESCTRL, RESCTRL_CLASS, RESCTRL_MONITOR, Record, STATE, StateDirectory, boot_id,
};
use crate::cgroup::{Cgroup, CgroupPath};
use crate::error::{Context, Result};
use crate::oci::ContainerId;
use crate::state::mount_note;
use crate::state::resctrl::Group;

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

    /// Notes which mount of the host's namespace the container's root is, when it has no namespace of its own.
    pub fn note_mount(&self, path: &str, root: &OwnedFd) -> Result<()> {
        let note = mount_note::of(root, path)?;
        rustix::fs::symlinkat(&*note, &self.directory, MOUNTED)
            .context(|| format!("write {}/{MOUNTED}", self.path.display()))
    }

    /// Unmounts what was noted, with everything below: no namespace takes it along when the container is gone.
    pub fn unmount_noted(&self) -> Result<()> {
        let note = self.noted(MOUNTED)?;
        note.as_deref().and_then(Path::to_str).map_or(Ok(()), mount_note::unmount)
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
        let Some(text) = self.noted(CGROUP)? else { return Ok(NotedCgroup::Nothing) };
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
    ///
    /// # Errors
    /// It cannot be read.
    pub fn noted_resctrl(&self) -> Result<Option<Group>> {
        let Some(class) = self.noted(RESCTRL)? else { return Ok(None) };
        Ok(Some(Group { class, monitor: self.noted(RESCTRL_MONITOR)? }))
    }

    /// A link whose text is the note; one that says the same already will do.
    fn note(&self, name: &str, folder: &Path) -> Result<()> {
        match rustix::fs::symlinkat(folder, &self.directory, name) {
            Err(Errno::EXIST) if self.noted(name)?.as_deref() == Some(folder) => Ok(()),
            result => result.context(|| format!("write {}/{name}", self.path.display())),
        }
    }

    /// The text of a note; what cannot be read is not taken for one that was never made.
    fn noted(&self, name: &str) -> Result<Option<PathBuf>> {
        match rustix::fs::readlinkat(&self.directory, name, Vec::new()) {
            Ok(text) => Ok(Some(std::ffi::OsString::from_vec(text.into_bytes()).into())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("read {}/{name}", self.path.display())),
        }
    }

    /// Removes what was made in resctrl for the container; its processes are gone.
    pub(super) fn remove_resctrl(&self) -> Result<()> {
        // A class takes the monitoring groups in it along.
        for name in [RESCTRL_MONITOR, RESCTRL_CLASS] {
            let Some(folder) = self.noted(name)? else { continue };
            match rustix::fs::rmdir(&folder) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {}", folder.display())),
            }
        }
        Ok(())
    }
}
