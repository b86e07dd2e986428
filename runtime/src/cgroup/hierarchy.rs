//! The host's cgroup v2 hierarchy: where it is mounted, and where in it the runtime itself is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, fstatfs, openat};
use rustix::io::Errno;

use super::events::Events;
use crate::error::{Context, Error, Kind, Result};
use crate::text::mountinfo::{self, Mount};

/// From `include/uapi/linux/magic.h`.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// The mount point of the unified hierarchy, and the one that systemd uses beside v1.
const USUAL_MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A mounted cgroup v2 hierarchy.
#[derive(Debug)]
pub struct Hierarchy {
    root: OwnedFd,
    mount: PathBuf,
}

impl Hierarchy {
    /// Finds the cgroup2 mount: two system calls if it is in the usual place, otherwise through mountinfo.
    ///
    /// `None` on a host without one (cgroup v1 only, or no cgroups at all).
    pub fn find() -> Result<Option<Hierarchy>> {
        for mount in USUAL_MOUNTS {
            if let Some(hierarchy) = Hierarchy::at(Path::new(mount))? {
                return Ok(Some(hierarchy));
            }
        }
        for mount in cgroup2_mounts(&mountinfo::read()?) {
            // Another mount may hide it, so the file system at that path is checked as well.
            if let Some(hierarchy) = Hierarchy::at(&mount.point)? {
                return Ok(Some(hierarchy));
            }
        }
        Ok(None)
    }

    /// Finds the hierarchy that has a container's cgroup, `path`.
    ///
    /// # Errors
    /// No cgroup v2 is mounted.
    pub fn of_containers(path: &str) -> Result<Hierarchy> {
        Hierarchy::find()?.ok_or_else(|| {
            Error::formatted(format_args!(
                "cgroup {path}: it cannot be reached: cgroup v2 is not mounted here"
            ))
            .or_kind(Kind::Cgroup)
        })
    }

    /// The hierarchy mounted at `mount`; `None` if that is not cgroup2.
    fn at(mount: &Path) -> Result<Option<Hierarchy>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match openat(CWD, mount, flags, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(None),
            Err(errno) => return Err(errno).context(|| format!("open {}", mount.display())),
        };
        let file_system = fstatfs(&root).context(|| format!("statfs {}", mount.display()))?;
        let found = file_system.f_type as u64 == CGROUP2_SUPER_MAGIC;
        Ok(found.then(|| Hierarchy { root, mount: mount.to_path_buf() }))
    }

    /// The mount's root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Whether all processes of a cgroup are frozen; false if it is gone. `path` is that of a
    /// [`CgroupPath`](super::CgroupPath). A single openat(2) from the root, where
    /// [`Cgroup::open`](super::Cgroup::open) opens every cgroup on the way.
    pub fn is_frozen(&self, path: &str) -> Result<bool> {
        let events = [path.trim_start_matches('/'), "/cgroup.events"].concat();
        match Events::open_at(self.root(), &events).and_then(|events| events.state()) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            state => Ok(state.context(|| format!("read {events}"))?.frozen),
        }
    }

    /// The runtime's own cgroup, as a path below the mount (`0::` of /proc/self/cgroup, see cgroups(7)).
    ///
    /// # Errors
    /// The mount shows only a part of the hierarchy, and the runtime is outside that part.
    pub fn own_cgroup(&self) -> Result<String> {
        self.cgroup_of("self")
    }

    /// The same for any process, by its name in /proc.
    ///
    /// # Errors
    /// There is no such process, or its cgroup is outside the mounted part of the hierarchy.
    pub fn cgroup_of(&self, process: &str) -> Result<String> {
        let file = format!("/proc/{process}/cgroup");
        let lines = std::fs::read_to_string(&file).context(|| format!("read {file}"))?;
        let own = lines
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .ok_or_else(|| Error::formatted(format_args!("{file}: no line of cgroup v2 ('0::')")))?;
        let mountinfo = mountinfo::read()?;
        let mounts = cgroup2_mounts(&mountinfo);
        let root = mounts.iter().find(|mount| mount.point == self.mount).map(|mount| &mount.root);
        match root.and_then(|root| Path::new(own).strip_prefix(root).ok()) {
            Some(below) if !own.starts_with("/..") => Ok(format!("/{}", below.display())),
            _ => Err(Error::formatted(format_args!(
                "{file}: {own} is outside of what is mounted at {}",
                self.mount.display()
            ))),
        }
    }

    /// Whether the caller may make cgroups below the one at `path` and have processes there. The second needs
    /// write access to its `cgroup.procs`: the kernel checks it for `CLONE_INTO_CGROUP` as it does for moving
    /// a process.
    pub fn is_delegated(&self, path: &str) -> bool {
        ["", "/cgroup.procs"].iter().all(|file| {
            let path = [".", path, file].concat();
            accessat(self.root(), &path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
        })
    }
}

/// The cgroup2 mounts of a mountinfo: those of the whole hierarchy first, and among them the one in the
/// unified place.
fn cgroup2_mounts(mountinfo: &[u8]) -> Vec<Mount<'_>> {
    let mut mounts: Vec<_> = mountinfo::parse(mountinfo).filter(|mount| mount.kind == "cgroup2").collect();
    put_first(&mut mounts, |mount| mount.point == Path::new(USUAL_MOUNTS[0]));
    put_first(&mut mounts, |mount| mount.root == Path::new("/"));
    mounts
}

/// Moves the mounts that match to the front; the order is kept otherwise.
fn put_first(mounts: &mut Vec<Mount<'_>>, which: fn(&Mount<'_>) -> bool) {
    let mut place = 0;
    for index in 0..mounts.len() {
        if which(&mounts[index]) {
            let mount = mounts.remove(index);
            mounts.insert(place, mount);
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:2 - cgroup2 cgroup2 rw
";

    fn places(mountinfo: &[u8]) -> Vec<(PathBuf, PathBuf)> {
        cgroup2_mounts(mountinfo).into_iter().map(|mount| (mount.root, mount.point)).collect()
    }

    #[test]
    fn hybrid_host() {
        assert_eq!(places(HYBRID), [("/".into(), "/sys/fs/cgroup/unified".into())]);
    }

    #[test]
    fn whole_hierarchies_and_the_usual_place_come_first() {
        let text = b"\
1 0 0:1 /part /a rw - cgroup2 none rw
2 0 0:1 / /b\\040c\\134d rw - cgroup2 none rw
3 0 0:1 / /sys/fs/cgroup rw - cgroup2 none rw
4 0 0:1 / /e - f rw
";
        let expected = [("/", "/sys/fs/cgroup"), ("/", "/b c\\d"), ("/part", "/a")];
        assert_eq!(places(text), expected.map(|(root, point)| (root.into(), point.into())));
    }

    #[test]
    fn this_host() {
        let Some(hierarchy) = Hierarchy::find().unwrap() else {
            return crate::cgroup::tests::skip("this_host", "no cgroup v2 is mounted");
        };
        assert!(hierarchy.mount().join("cgroup.controllers").exists());
        assert!(hierarchy.own_cgroup().unwrap().starts_with('/'));
    }
}
