//! The container's root: attached, made of layers, entered.

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::{TargetRule, Tree};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use pillbox_init::wire::Strings;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::process::{Gid, Uid};

use super::NOTHING;
use super::file_system::new_file_system;
use super::target::{attach, attach_tree, open_target};
use crate::execute::Init;
use crate::failure::{At, Failure};
use crate::path;

/// What folders get that nobody asked a mode for.
const FOLDER: Mode = Mode::from_raw_mode(0o755);

pub fn attach_root(
    init: &mut Init<'_>,
    tree: Tree<'_>,
    at: &CStr,
    propagation: MountPropagationFlags,
) -> Result<(), Failure> {
    let opened = init.tree(tree).at(Stage::Source)?;
    let tree = attach_tree(init, tree, opened, |_, tree| {
        sys::mount_setattr(tree, NOTHING, NOTHING, propagation, true).at(Stage::Attributes)?;
        // What the host mounts where the image lies is no part of the container, whatever else it may hear of.
        sys::mount_setattr(tree, NOTHING, NOTHING, MountPropagationFlags::PRIVATE, false)
            .at(Stage::Attributes)?;
        rustix::mount::move_mount(tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .at(Stage::Attach)
    })?;
    init.root = Some(open_root_of(&tree)?);
    Ok(())
}

/// The root of the namespace and of the process, which setns(2) has made the same.
pub fn open_root() -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

pub fn attach_scratch_root(init: &mut Init<'_>, at: &CStr) -> Result<(), Failure> {
    let none = Strings::default();
    let layers = new_file_system(init, c"tmpfs", c"layers", none, none, None, NOTHING)?;
    rustix::mount::move_mount(&layers, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Stage::Attach)?;
    rustix::fs::mkdirat(&layers, c"root", FOLDER).at(Stage::Target)?;
    let place = path::open(&layers, c"root").at(Stage::Target)?;
    let parameters = Strings::new(b"mode\x00755\0").map_err(|_| Errno::INVAL)?;
    let tmpfs = new_file_system(init, c"tmpfs", c"root", none, parameters, None, NOTHING)?;
    attach(tmpfs.as_fd(), &place)?;
    init.root = Some(open_root_of(&tmpfs)?);
    init.mount.layers = Some(layers);
    Ok(())
}

/// The layers for changes are given by names relative to the current folder, which nothing can redirect. What overlayfs
/// cannot lie over (vfat; overlays of overlays) is bound, read-only.
pub fn mount_overlay(init: &mut Init<'_>, lower: &CStr, user_xattr: bool) -> Result<(), Failure> {
    const OPTIONS_MAX: usize = 4096 + 64;
    let layer = make_layer(init, lower)?;
    rustix::process::fchdir(&layer)?;
    let mut parameters = Vec::<u8, OPTIONS_MAX>::new();
    for part in [b"lowerdir\0", lower.to_bytes_with_nul(), b"upperdir\0upper\0workdir\0work\0"] {
        parameters.extend_from_slice(part).map_err(|_| Errno::NAMETOOLONG)?;
    }
    let parameters = Strings::new(&parameters).map_err(|_| Errno::INVAL)?;
    let flags = Strings::new(if user_xattr { b"userxattr\0" } else { b"" }).map_err(|_| Errno::INVAL)?;
    let attributes = protection_of(lower).at(Stage::Source)?;
    let overlay = new_file_system(init, c"overlay", c"overlay", flags, parameters, None, attributes);
    let refused = overlay
        .as_ref()
        .is_err_and(|failure| failure.errno() == Errno::INVAL && failure.stage() == Stage::Create);
    if refused {
        init.mount.kernel_text.clear();
        let tree =
            init.tree(Tree::Path { path: lower, recursive: true, nofollow: false }).at(Stage::Source)?;
        let (read_only, private) = (MountAttrFlags::MOUNT_ATTR_RDONLY, MountPropagationFlags::PRIVATE);
        sys::mount_setattr(&tree, read_only, NOTHING, private, true).at(Stage::Attributes)?;
        let target = open_target(init, lower, TargetRule::Ordinary, false)?;
        return attach(tree.as_fd(), &target);
    }
    let overlay = overlay?;
    let target = open_target(init, lower, TargetRule::Ordinary, false)?;
    attach(overlay.as_fd(), &target)
}

/// Where an overlay over `lower` keeps changes: an overlay's own root has the owner and the mode of its upper layer.
fn make_layer(init: &mut Init<'_>, lower: &CStr) -> Result<OwnedFd, Failure> {
    let number = init.mount.overlays;
    init.mount.overlays += 1;
    let digit = |index: u32| b"0123456789abcdef"[(number >> (4 * index) & 15) as usize];
    let name = [digit(7), digit(6), digit(5), digit(4), digit(3), digit(2), digit(1), digit(0), 0];
    let name = path::c_str(&name)?;
    let layers = init.mount.layers.as_ref().ok_or(Errno::BADF)?;
    rustix::fs::mkdirat(layers, name, FOLDER).at(Stage::Target)?;
    let layer = path::open(layers, name).at(Stage::Target)?;
    let status = rustix::fs::stat(lower).at(Stage::Source)?;
    rustix::fs::mkdirat(&layer, c"upper", Mode::from_raw_mode(status.st_mode & 0o7777)).at(Stage::Target)?;
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    match rustix::fs::chownat(&layer, c"upper", Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // Somebody who has no number in this user namespace: root of it will do.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(errno) => return Err(errno).at(Stage::Target),
    }
    rustix::fs::mkdirat(&layer, c"work", FOLDER).at(Stage::Target)?;
    Ok(layer)
}

/// What the mount at a path forbids stays forbidden on what is seen through an overlay.
fn protection_of(path: &CStr) -> Result<MountAttrFlags, Errno> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let flags = rustix::fs::statvfs(path)?.f_flag;
    let mut attributes = NOTHING;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, flags.contains(Flags::NOSUID));
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, flags.contains(Flags::NODEV));
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, flags.contains(Flags::NOEXEC));
    Ok(attributes)
}

/// A descriptor of the mount itself: what a tree's own descriptor stands for may be only lent.
fn open_root_of(tree: &impl AsFd) -> Result<OwnedFd, Errno> {
    let root =
        rustix::fs::openat(tree, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(&root)?;
    Ok(root)
}

/// The old root comes to lie on the new one, and goes: after that no path leads to the host.
pub fn pivot_root(init: &mut Init<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(init.root()?)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).at(Stage::Call)?;
    enter_new_root()
}

/// A mount whose target has led to the root lies over it: init does not see it, but whoever enters the namespace later
/// would see nothing else, without masks. `..` of the root leads to what lies over it.
fn enter_new_root() -> Result<(), Failure> {
    rustix::process::chdir(c"/")?;
    let [root, top] = [rustix::fs::stat(c"/")?, rustix::fs::stat(c"/..")?];
    if (root.st_dev, root.st_ino) == (top.st_dev, top.st_ino) {
        Ok(())
    } else {
        Err(Errno::BUSY).at(Stage::Verify)
    }
}

/// A chroot alone can be left by whoever may chroot(2) again, and exec(8) of another process would not know of it:
/// moved over the old root, the new one is where every way up ends.
pub fn chroot(init: &mut Init<'_>, cover: bool) -> Result<(), Failure> {
    let root = init.root()?;
    rustix::process::fchdir(root)?;
    if cover {
        rustix::mount::move_mount(root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .at(Stage::Attach)?;
    }
    rustix::process::chroot(c".")?;
    enter_new_root()
}
