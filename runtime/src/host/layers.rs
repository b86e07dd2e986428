//! Which of the host's files a throwaway container sees, and how.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{Dir, Mode, OFlags};

use crate::error::{Context, Result};
use crate::plan::{Layer, PARAMETER_MAX};
use crate::sys::user_namespace;
use crate::text::mountinfo;
use crate::text::order;

/// Folders that hold no system files but state, sockets and devices: the container gets its own.
const LEFT_OUT: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/lost+found"];

/// File systems that are interfaces of the kernel and hold no files. Inside, empty folders take their places.
const OF_THE_KERNEL: [&str; 21] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// What a throwaway container sees of the host's root folder. Folders, and folders mounted below them, are
/// seen through overlays, which throw changes away; single files are mounted read-only; links are copied.
/// Parents come before their children.
///
/// From a user namespace no folder may be seen without the mounts below it. There, a folder with mounts below
/// is made anew, and each of its entries is handled by itself.
///
/// # Errors
/// The root folder or /proc/self/mountinfo cannot be read.
pub fn layers() -> Result<Vec<Layer>> {
    let may_uncover = rustix::process::geteuid().is_root() && !user_namespace::is_own();
    let mut layers = Layers { mounts: Mounts::parse(&mountinfo::read()?), may_uncover, found: Vec::new() };
    layers.enter("/").context(|| "read /")?;
    Ok(layers.found)
}

/// All mount points in sorted order, and whether the topmost mount there is an interface of the kernel.
struct Mounts(Vec<(String, bool)>);

impl Mounts {
    /// Mount points that are not UTF-8 are left out, since a plan can't name them.
    fn parse(mountinfo: &[u8]) -> Mounts {
        let mounts = mountinfo::parse(mountinfo).enumerate().filter_map(|(number, mount)| {
            let point = mount.point.into_os_string().into_string().ok()?;
            Some((point, number, OF_THE_KERNEL.contains(&mount.kind)))
        });
        // Of several mounts at one place, the last one is on top.
        let mut mounts: Vec<_> = mounts.collect();
        order::sort(&mut mounts, |left, right| (&left.0, right.1) < (&right.0, left.1));
        mounts.dedup_by(|below, top| below.0 == top.0);
        let mounts = mounts.into_iter().map(|(point, _, of_the_kernel)| (point, of_the_kernel)).collect();
        Mounts(mounts)
    }

    /// The mount points from `path` on, in sorted order.
    fn from(&self, path: &str) -> &[(String, bool)] {
        &self.0[self.0.partition_point(|(point, _)| point.as_str() < path)..]
    }

    fn is_of_the_kernel(&self, path: &str) -> bool {
        self.from(path).first().is_some_and(|(point, of_the_kernel)| point == path && *of_the_kernel)
    }

    /// The mounts below a folder, parents first.
    fn below(&self, folder: &str) -> &[(String, bool)] {
        let prefix = [folder, "/"].concat();
        let from = self.from(&prefix);
        &from[..from.partition_point(|(point, _)| point.starts_with(&prefix))]
    }
}

/// Collects layers.
struct Layers {
    mounts: Mounts,
    /// Whether a folder may be seen without what is mounted below it.
    may_uncover: bool,
    found: Vec<Layer>,
}

impl Layers {
    /// Handles each entry of a folder.
    fn enter(&mut self, folder: &str) -> rustix::io::Result<()> {
        let mut paths = Vec::new();
        for entry in open_folder(folder).and_then(Dir::new)? {
            // Names that are not UTF-8 are left out.
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                paths.push([folder.trim_end_matches('/'), "/", name].concat());
            }
        }
        order::sort(&mut paths, |left, right| left < right);
        for path in paths.into_iter().filter(|path| !LEFT_OUT.contains(&path.as_str())) {
            self.take(path);
        }
        Ok(())
    }

    fn take(&mut self, path: String) {
        // An entry that the user may not even look at is left out.
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { return };
        if metadata.is_symlink() {
            let target =
                std::fs::read_link(&path).ok().and_then(|target| target.to_str().map(str::to_string));
            self.found.extend(target.map(|target| Layer::Link(path, target)));
        } else if metadata.is_file() {
            self.found.push(Layer::ReadOnly(path));
        } else if metadata.is_dir() && open_folder(&path).is_ok() {
            self.take_folder(path, metadata.permissions().mode() & 0o7777);
        }
    }

    fn take_folder(&mut self, path: String, mode: u32) {
        if self.mounts.is_of_the_kernel(&path) {
            return self.found.push(Layer::Folder(path, mode));
        }
        let below = self.mounts.below(&path).to_vec();
        if below.is_empty() {
            return self.found.push(overlay(path));
        }
        if !self.may_uncover {
            self.found.push(Layer::Folder(path.clone(), mode));
            // A folder that can be opened but not listed stays empty.
            let _ = self.enter(&path);
            return;
        }
        self.found.push(overlay(path));
        for (point, of_the_kernel) in below {
            // A mount that is hidden by another one is not needed.
            let Ok(metadata) = std::fs::symlink_metadata(&point) else { continue };
            if metadata.is_dir() && !of_the_kernel {
                self.found.push(overlay(point));
            } else if metadata.is_file() && !of_the_kernel {
                self.found.push(Layer::ReadOnly(point));
            }
        }
    }
}

/// A folder through an overlay. A path with characters that have a meaning in overlayfs's options, or too
/// long for them, becomes read-only instead.
fn overlay(path: String) -> Layer {
    if path.contains([':', ',', '\\']) || path.len() > PARAMETER_MAX {
        Layer::ReadOnly(path)
    } else {
        Layer::Overlay(path)
    }
}

fn open_folder(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
24 22 254:1 / /home rw shared:2 - xfs /dev/vdb rw
25 22 0:9 / /boot rw - autofs none rw
27 25 8:1 / /boot rw - vfat none rw
26 22 0:29 / /var/lib/pipes rw - rpc_pipefs none rw
28 22 0:30 / /var/lib rw - tmpfs tmpfs rw
29 28 0:31 / /var/lib/a\\040b rw - tmpfs tmpfs rw
30 22 0:32 / /var-other rw - tmpfs tmpfs rw
";

    #[test]
    fn mounts_below_a_folder_come_with_their_parents_first() {
        let mounts = Mounts::parse(MOUNTINFO);
        let below = |folder| mounts.below(folder);
        let inside = [("/var/lib/a b".to_string(), false), ("/var/lib/pipes".to_string(), true)];
        assert_eq!(below("/var/lib"), inside);
        assert_eq!(below("/var"), [&[("/var/lib".to_string(), false)][..], &inside].concat());
        assert_eq!(below("/home"), []);
        assert_eq!(below("/va"), []);
        assert!(mounts.is_of_the_kernel("/var/lib/pipes") && !mounts.is_of_the_kernel("/var"));
        assert!(!mounts.is_of_the_kernel("/boot"), "what lies on top counts");
    }

    #[test]
    fn what_overlayfs_cannot_name_is_read_only() {
        assert_eq!(overlay("/home".into()), Layer::Overlay("/home".into()));
        assert_eq!(overlay("/odd:name".into()), Layer::ReadOnly("/odd:name".into()));
        let long = format!("/{}", "x".repeat(PARAMETER_MAX));
        assert_eq!(overlay(long.clone()), Layer::ReadOnly(long));
    }

    #[test]
    fn whoever_may_not_uncover_has_each_entry_by_itself() {
        let folder = std::env::temp_dir().join(format!("pillbox-layers-{}", std::process::id()));
        let folder = folder.to_str().expect("path");
        std::fs::create_dir_all(format!("{folder}/var/mounted")).expect("folders");
        std::fs::create_dir_all(format!("{folder}/var/plain")).expect("folders");
        std::fs::write(format!("{folder}/var/file"), "").expect("file");
        let mountinfo = format!("28 22 0:30 / {folder}/var/mounted rw - tmpfs tmpfs rw\n");
        let layers = |may_uncover| {
            let mounts = Mounts::parse(mountinfo.as_bytes());
            let mut layers = Layers { mounts, may_uncover, found: Vec::new() };
            layers.enter(folder).expect("listed");
            layers.found
        };
        let at = |path: &str| format!("{folder}/{path}");
        let (uncovered, apart) = (layers(true), layers(false));
        std::fs::remove_dir_all(folder).expect("rm");
        assert_eq!(uncovered, [Layer::Overlay(at("var")), Layer::Overlay(at("var/mounted"))]);
        let [Layer::Folder(path, _), entries @ ..] = &apart[..] else { panic!("{apart:?}") };
        assert_eq!(path, &at("var"));
        let expected = [
            Layer::ReadOnly(at("var/file")),
            Layer::Overlay(at("var/mounted")),
            Layer::Overlay(at("var/plain")),
        ];
        assert_eq!(entries, expected);
    }
}
