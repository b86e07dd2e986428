//! Symbolic links whose text says, before it is made, what has to be taken back: cgroup, mount, resctrl groups.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{CGROUP, MOUNTED, RESCTRL, RESCTRL_CLASS, RESCTRL_MONITOR, StateDirectory};
use crate::cgroup::CgroupPath;
use crate::error::{Context, Result};
use crate::mount_note;
use crate::resctrl::Group;

/// Before the path of a cgroup that systemd makes.
const OF_UNIT: &str = "systemd:";

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
    pub(super) fn remove_resctrl(&self) -> Result<()> {
        // A class takes the monitoring groups in it along.
        for folder in [RESCTRL_MONITOR, RESCTRL_CLASS].into_iter().filter_map(|name| self.noted(name)) {
            match rustix::fs::rmdir(&folder) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {}", folder.display())),
            }
        }
        Ok(())
    }
}
