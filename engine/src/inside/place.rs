//! The root of a container, where it can be reached: by a process that runs in it, or as an overlay that is made once more.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillbox::root::Layers;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::layer::{create_beneath, open_beneath};

/// `CLONE_NEWUSER`, `CLONE_NEWNS`.
pub(super) const NEW_USER: u32 = 0x1000_0000;
pub(super) const NEW_MOUNTS: u32 = 0x0002_0000;

/// In which user namespace the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// The caller is root.
    OfCaller,
    /// A new one, with the ids of the user's containers.
    OwnIds,
    /// That of the container's process.
    OfProcess,
}

/// Where a container's root is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Place {
    /// Where a process that runs in it sees it, with everything that is mounted there.
    Process {
        /// The process.
        pid: i32,
        /// By which the caller sees that it is the same one.
        #[serde(skip)]
        ended: Ended,
    },
    /// Nobody is in it: whoever asks holds the container's lock.
    Overlay {
        /// The topmost one first.
        lower: Vec<PathBuf>,
        /// Its changes.
        upper: PathBuf,
        /// overlayfs's own.
        work: PathBuf,
        /// Whether it is never synced.
        volatile: bool,
        /// What else is mounted.
        binds: Vec<Bind>,
    },
    /// Layers together, the topmost one first, which nobody changes.
    Layers(Vec<PathBuf>),
    /// A folder.
    Folder(PathBuf),
}

/// A file or folder of the host that is mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub destination: String,
    /// Whether it may not be changed.
    pub read_only: bool,
}

/// A pidfd of a container's process.
#[derive(Debug, Clone, Default)]
pub struct Ended(Option<Arc<OwnedFd>>);

impl Ended {
    /// From a pidfd.
    pub fn new(pidfd: OwnedFd) -> Ended {
        Ended(Some(Arc::new(pidfd)))
    }

    /// Whether the process has ended.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn has_ended(&self) -> Result<bool> {
        let Some(pidfd) = &self.0 else { return Ok(false) };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], Some(&now))? > 0)
    }
}

impl Standing {
    /// Enters a new user namespace, or that of the process whose root is wanted, and opens that root.
    pub fn enter(self, place: Option<&Place>) -> Result<Option<OwnedFd>> {
        if self == Standing::OwnIds {
            pillbox_init::sys::unshare_namespaces(NEW_USER).context(|| "make a user namespace")?;
        }
        let Some(Place::Process { pid, .. }) = place else { return Ok(None) };
        if self == Standing::OfProcess {
            let process = Pid::from_raw(*pid).ok_or_else(|| Error::invalid("no process"))?;
            let pidfd = pidfd_open(process, PidfdFlags::empty()).context(|| "the container's process")?;
            pillbox_init::sys::setns(&pidfd, NEW_USER).context(|| "enter the container's user namespace")?;
        }
        let path = format!("/proc/{pid}/root");
        rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .context(|| path)
            .map(Some)
    }
}

impl Place {
    /// Makes the overlay in a mount namespace of the calling process's own, with what else is mounted there.
    pub fn make(&self) -> Result<OwnedFd> {
        let (lower, upper, work, volatile, binds) = match self {
            Place::Overlay { lower, upper, work, volatile, binds } => (lower, upper, work, volatile, binds),
            Place::Process { .. } => return Err(Error::invalid("a process's root is there already")),
            Place::Folder(folder) => return open_folder(folder),
            // overlayfs wants two, or one that is written to.
            Place::Layers(layers) if layers.len() == 1 => return open_folder(&layers[0]),
            Place::Layers(layers) => {
                make_namespace()?;
                return Ok(Layers::new(layers.iter().map(PathBuf::as_path)).mount()?);
            }
        };
        make_namespace()?;
        let layers = Layers::new(lower.iter().map(PathBuf::as_path)).upper(&**upper, &**work);
        let overlay = if *volatile { layers.volatile() } else { layers }.mount()?;
        if binds.is_empty() {
            return Ok(overlay);
        }
        let clone =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let mut trees = Vec::new();
        for bind in binds {
            let named = || bind.source.display().to_string();
            let tree = open_tree(CWD, &bind.source, clone).context(named)?;
            if bind.read_only {
                make_read_only(&tree).context(named)?;
            }
            trees.push(tree);
        }
        // Mounts can only be attached to what is attached: its own work folder, which nobody sees any more, is as good as any.
        let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&overlay, "", CWD, &**work, empty).context(|| "attach the container's root")?;
        for (bind, tree) in binds.iter().zip(&trees) {
            attach(&overlay, bind, tree).context(|| bind.destination.clone())?;
        }
        Ok(overlay)
    }
}

/// One of the calling process's own.
fn make_namespace() -> Result<()> {
    pillbox_init::sys::unshare_namespaces(NEW_MOUNTS).context(|| "make a mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context(|| "make mounts private")
}

fn open_folder(folder: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).context(|| folder.display().to_string())
}

fn attach(root: &OwnedFd, bind: &Bind, tree: &OwnedFd) -> Result<()> {
    let is_folder = std::fs::metadata(&bind.source)?.is_dir();
    let target = mountpoint(root, &bind.destination, is_folder)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", &target, "", flags)?)
}

/// With everything that is mounted below, as in the container.
fn make_read_only(tree: &OwnedFd) -> rustix::io::Result<()> {
    let (set, clear) = (MountAttrFlags::MOUNT_ATTR_RDONLY, MountAttrFlags::empty());
    pillbox_init::sys::mount_setattr(tree, set, clear, MountPropagationFlags::empty(), true)
}

/// What is mounted on; made if it is missing, as when the container starts.
fn mountpoint(root: &OwnedFd, path: &str, is_folder: bool) -> Result<OwnedFd> {
    let in_root = |path: &str, flags: OFlags, mode: Mode| {
        create_beneath(root, path.as_bytes(), flags, mode, ResolveFlags::IN_ROOT)
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for length in 1..=parts.len() {
        let (above, here) = (parts[..length - 1].join("/"), parts[..length].join("/"));
        match in_root(&here, OFlags::PATH, Mode::empty()) {
            Err(Errno::NOENT) if length < parts.len() || is_folder => {
                let above = in_root(&above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
                rustix::fs::mkdirat(&above, parts[length - 1], Mode::from_raw_mode(0o755))?;
            }
            Err(Errno::NOENT) => {
                in_root(&here, OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644))?;
            }
            found => drop(found?),
        }
    }
    Ok(in_root(&parts.join("/"), OFlags::PATH, Mode::empty())?)
}

/// Opens something in a container's root; links lead to what they would there.
pub fn open_in(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open_beneath(root, path.as_os_str().as_bytes(), flags, ResolveFlags::IN_ROOT)
}
