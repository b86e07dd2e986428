//! The cgroups of containers (cgroup v2): making, limiting, watching and removing them, by mkdir or through
//! systemd, on any v2 hierarchy, even one without controllers. What is written is decided in `resources`.
//! Source: the kernel's Documentation/admin-guide/cgroup-v2.rst.
//!
//! May use `host` and every room below it.

mod apply;
#[cfg(feature = "systemd")]
mod bus;
mod controllers;
mod delegate;
mod events;
mod file;
mod hierarchy;
mod path;
mod processes;
mod stats;
#[cfg(feature = "systemd")]
pub mod systemd;
#[cfg(not(feature = "systemd"))]
#[path = "systemd_absent.rs"]
pub mod systemd;
mod tree;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, Mode, mkdirat, unlinkat};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::resources::{DeviceProgram, FileWrite};
use crate::sys;
use events::{Events, State};
use file::open_directory;

pub use controllers::limit_nothing;
pub use delegate::delegate_of;
pub use events::MemoryEvents;
pub use hierarchy::Hierarchy;
pub use path::CgroupPath;
pub use stats::Statistics;

/// How long removing, freezing and thawing wait for the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long killed processes may take to end before they are killed again.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// What happens to the processes of a cgroup that is to be removed.
#[derive(Clone, Copy)]
enum Remaining {
    AwaitEnd,
    Kill,
}

/// What makes the cgroups of containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Driver {
    /// The runtime, by mkdir.
    #[default]
    Cgroupfs,
    /// Systemd, as scopes and slices.
    Systemd,
    /// Nothing: containers have no cgroup of their own.
    Disabled,
}

/// A cgroup of a container.
#[derive(Debug)]
pub struct Cgroup {
    path: CgroupPath,
    parent: OwnedFd,
    directory: OwnedFd,
    was_there: bool,
}

/// What to do if the kernel refuses bpf(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceControl {
    /// It is an error.
    Required,
    /// Go on without a filter: the caller is unprivileged, and so can't make device nodes anyway.
    WhereAllowed,
}

/// Directories made so far, as paths below the root; dropping it removes them.
struct Made<'a> {
    root: BorrowedFd<'a>,
    paths: Vec<&'a str>,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for path in self.paths.drain(..).rev() {
            // The error that led here is the one to report.
            let _ = unlinkat(self.root, path, AtFlags::REMOVEDIR);
        }
    }
}

impl Cgroup {
    /// Makes the cgroup and any missing ones above it, with the controllers that `limits` need.
    ///
    /// Four system calls for a cgroup with one parent and no limits. An existing cgroup without processes is
    /// reused, and thawed if it is frozen. On failure every cgroup made here is removed again; controllers
    /// that were turned on stay on.
    ///
    /// # Errors
    /// The cgroup has processes, or a controller that a limit needs is unavailable (the error names the
    /// field).
    pub fn create(hierarchy: &Hierarchy, path: &CgroupPath, limits: &[FileWrite<'_>]) -> Result<Cgroup> {
        let step = || format!("create cgroup {path}");
        let mut made = Made { root: hierarchy.root(), paths: Vec::new() };
        let mut parent = open_directory(hierarchy.root(), ".").context(step)?;
        let mut length = 0;
        for name in path.parents() {
            length += name.len();
            parent = match open_directory(&parent, name) {
                Err(Errno::NOENT) => {
                    if make(parent.as_fd(), name).context(step)? {
                        made.paths.push(&path.below_root()[..length]);
                    }
                    open_directory(&parent, name)
                }
                opened => opened,
            }
            .context(step)?;
            // For the slash before the next name.
            length += 1;
        }
        controllers::enable(hierarchy, path, parent.as_fd(), limits)?;
        let fresh = make(parent.as_fd(), path.name()).context(step)?;
        if fresh {
            made.paths.push(path.below_root());
        }
        let directory = open_directory(&parent, path.name()).context(step)?;
        let cgroup = Cgroup { path: path.clone(), parent, directory, was_there: !fresh };
        if !fresh {
            cgroup.take_over().context(step)?;
        }
        made.paths.clear();
        Ok(cgroup)
    }

    /// Checks that a new container can have this existing cgroup.
    fn take_over(&self) -> Result<()> {
        match self.state()? {
            State { populated: true, .. } => {
                Err(Error::new("it exists already and has processes").or_kind(Kind::Cgroup))
            }
            State { frozen: true, .. } => self.thaw(),
            State { .. } => Ok(()),
        }
    }

    /// Opens an existing cgroup; `None` if it, or one above it, does not exist.
    pub fn open(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Option<Cgroup>> {
        let open = || {
            let mut parent = open_directory(hierarchy.root(), ".")?;
            for name in path.parents() {
                parent = open_directory(&parent, name)?;
            }
            let directory = open_directory(&parent, path.name())?;
            Ok(Cgroup { path: path.clone(), parent, directory, was_there: true })
        };
        match open() {
            Err(Errno::NOENT) => Ok(None),
            opened => opened.map(Some).context(|| format!("open cgroup {path}")),
        }
    }

    /// The cgroup's directory (`O_PATH`), as `CLONE_INTO_CGROUP` takes it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The path below the hierarchy's mount.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Whether the cgroup existed before it was opened or created.
    pub fn was_there(&self) -> bool {
        self.was_there
    }

    /// The inode number. On 64-bit machines no other cgroup has had it since boot.
    pub fn inode(&self) -> Result<u64> {
        Ok(rustix::fs::fstat(&self.directory).context(|| format!("stat of cgroup {}", self.path))?.st_ino)
    }

    /// Turns on the controllers that `limits` need, for limits set after [`Cgroup::create`].
    ///
    /// # Errors
    /// As for [`Cgroup::create`].
    pub fn enable_controllers(&self, hierarchy: &Hierarchy, limits: &[FileWrite<'_>]) -> Result<()> {
        controllers::enable(hierarchy, &self.path, self.parent.as_fd(), limits)
    }

    /// Loads the device filter and attaches it. False if the kernel refused and `control` allows that.
    ///
    /// `None` is a filter that allows everything: there is nothing to do.
    pub fn attach_devices(&self, program: Option<&DeviceProgram>, control: DeviceControl) -> Result<bool> {
        let Some(program) = program else { return Ok(true) };
        let attached = sys::load_device_program(program.instructions())
            .and_then(|loaded| sys::attach_device_program(self.fd(), loaded.as_fd()));
        match attached {
            Ok(()) => Ok(true),
            Err(Errno::PERM) if control == DeviceControl::WhereAllowed => Ok(false),
            Err(errno) => {
                let hint = match errno {
                    Errno::PERM => " (it needs CAP_BPF or CAP_SYS_ADMIN and CAP_NET_ADMIN)",
                    Errno::NOSYS | Errno::INVAL => " (the kernel needs CONFIG_CGROUP_BPF)",
                    _ => "",
                };
                Err(errno)
                    .context(|| format!("linux.resources.devices: bpf(2) for cgroup {}{hint}", self.path))
            }
        }
    }

    /// Waits for at most `limit` until another program has removed the cgroup.
    pub fn await_removal(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline
            && rustix::fs::accessat(&self.parent, self.path.name(), Access::EXISTS, AtFlags::empty()).is_ok()
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Removes the cgroup and all below it; it is no error if the cgroup is gone already.
    ///
    /// One system call if it has no processes and nothing below. Otherwise it waits for the last process to
    /// end.
    ///
    /// # Errors
    /// There are still processes after 5 seconds; the error lists them.
    pub fn remove(&self) -> Result<()> {
        self.remove_within(PATIENCE, Remaining::AwaitEnd)
    }

    /// Kills all processes and removes the cgroup. Kills again if new processes come in meanwhile, such as
    /// those of a concurrent `exec`.
    pub fn end(&self) -> Result<()> {
        self.kill()?;
        self.remove_within(PATIENCE, Remaining::Kill)
    }

    fn remove_within(&self, patience: Duration, remaining: Remaining) -> Result<()> {
        if self.remove_if_empty()? {
            return Ok(());
        }
        let step = || format!("remove cgroup {}", self.path);
        let deadline = Instant::now() + patience;
        let events = match Events::open(self.fd()) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            events => events.context(step)?,
        };
        loop {
            let until = match remaining {
                Remaining::AwaitEnd => deadline,
                Remaining::Kill => deadline.min(Instant::now() + KILL_AGAIN),
            };
            if !events.wait(until, |state| !state.populated).context(step)? {
                if Instant::now() < deadline {
                    self.kill()?;
                    continue;
                }
                let pids: Vec<_> = self.pids()?.iter().map(|pid| pid.as_raw_pid().to_string()).collect();
                return Err(Error::formatted(format_args!(
                    "remove cgroup {}: it still has processes after {} s: {}",
                    self.path,
                    patience.as_secs(),
                    pids.join(", ")
                ))
                .or_kind(Kind::Timeout));
            }
            match tree::remove_below(self.fd()) {
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(errno).context(step),
            }
            if self.remove_if_empty()? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::formatted(format_args!("remove cgroup {}: it stays busy", self.path))
                    .or_kind(Kind::Timeout));
            }
            events.poll(Duration::from_millis(10)).context(step)?;
        }
    }

    /// One rmdir; false if there are processes in it, or cgroups below.
    pub fn remove_if_empty(&self) -> Result<bool> {
        match unlinkat(&self.parent, self.path.name(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno).context(|| format!("remove cgroup {}", self.path)),
        }
    }
}

/// mkdir; false if it exists already.
fn make(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<bool> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests;
