//! The container's root: attached, made of layers, entered.

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::TargetRule;
use pillbox_init::plan::operation::{AttachRoot, MountOverlay};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use pillbox_init::wire::Strings;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{Gid, Uid};

use super::file_system::NewFileSystem;
use super::state::{NOTHING, State};
use super::target::{attach, open_target};
use super::tree::{self, attach_tree};
use crate::channel::Channel;
use crate::descriptor::Descriptors;
use crate::failure::{At, Failure};
use crate::path::{self, Missing, Root, c_str};

/// The mode of the folders that init makes for itself.
const FOLDER: Mode = Mode::from_raw_mode(0o755);

/// The result is the root.
pub fn attach_root(
    descriptors: &Descriptors<'_>,
    channel: &mut Channel<'_>,
    step: &AttachRoot<'_>,
) -> Result<Root, Failure> {
    let AttachRoot { tree, at, propagation } = *step;
    // Nothing can come from inside the root yet.
    let no_root = Root::default();
    let opened = tree::open(&no_root, descriptors, tree).at(Stage::Source)?;
    let tree = attach_tree(channel, tree, opened, |tree| {
        sys::mount_setattr(tree, NOTHING, NOTHING, propagation, true).at(Stage::Attributes)?;
        // What the host mounts on the image later is no part of the container, whatever the propagation of
        // other mounts.
        sys::mount_setattr(tree, NOTHING, NOTHING, MountPropagationFlags::PRIVATE, false)
            .at(Stage::Attributes)?;
        rustix::mount::move_mount(tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .at(Stage::Attach)
    })?;
    Ok(open_root_of(&tree)?)
}

/// The root of the process, which setns(2) has made the root of the namespace.
pub fn open_root() -> Result<Root, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, c"/", flags, Mode::empty()).map(Root::from)
}

/// Enters what was mounted over the root.
pub fn enter_cover(root: &OwnedFd) -> Result<Root, Errno> {
    let cover = path::open(root, c"..")?;
    rustix::process::fchdir(&cover)?;
    Ok(cover.into())
}

/// Enters the root of a container that has no mount namespace of its own.
pub fn enter_chroot(root: BorrowedFd<'_>) -> Result<Root, Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(c".")?;
    open_root()
}

/// The result is the root.
pub fn attach_scratch_root(mounts: &mut State, at: &CStr) -> Result<Root, Failure> {
    let new = NewFileSystem { source: c"layers", ..NewFileSystem::of(c"tmpfs") };
    let layers = new.make(&mut mounts.kernel_text)?;
    rustix::mount::move_mount(&layers, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Stage::Attach)?;
    rustix::fs::mkdirat(&layers, c"root", FOLDER).at(Stage::Target)?;
    let place = path::open(&layers, c"root").at(Stage::Target)?;
    let parameters = Strings::new(b"mode\x00755\0").map_err(|_| Errno::INVAL)?;
    let new = NewFileSystem { source: c"root", parameters, ..NewFileSystem::of(c"tmpfs") };
    let tmpfs = new.make(&mut mounts.kernel_text)?;
    attach(tmpfs.as_fd(), &place)?;
    let root = open_root_of(&tmpfs)?;
    mounts.layers = Some(layers);
    Ok(root)
}

/// The layers for changes are named relative to the current folder, which nothing can redirect. A folder that
/// overlayfs cannot be put over (vfat; overlays of overlays) is bound, read-only.
pub fn mount_overlay(mounts: &mut State, root: &OwnedFd, step: &MountOverlay<'_>) -> Result<(), Failure> {
    let MountOverlay { lower, user_xattr } = *step;
    const OPTIONS_MAX: usize = 4096 + 64;
    let layer = make_layer(mounts, lower)?;
    rustix::process::fchdir(&layer)?;
    let mut parameters = Vec::<u8, OPTIONS_MAX>::new();
    for part in [b"lowerdir\0", lower.to_bytes_with_nul(), b"upperdir\0upper\0workdir\0work\0"] {
        parameters.extend_from_slice(part).map_err(|_| Errno::NAMETOOLONG)?;
    }
    let parameters = Strings::new(&parameters).map_err(|_| Errno::INVAL)?;
    let flags = Strings::new(if user_xattr { b"userxattr\0" } else { b"" }).map_err(|_| Errno::INVAL)?;
    let attributes = protection_of(lower).at(Stage::Source)?;
    let new = NewFileSystem { flags, parameters, attributes, ..NewFileSystem::of(c"overlay") };
    let overlay = new.make(&mut mounts.kernel_text);
    let refused = overlay
        .as_ref()
        .is_err_and(|failure| failure.errno() == Errno::INVAL && failure.stage() == Stage::Create);
    if refused {
        mounts.kernel_text.clear();
        let tree = tree::open_path(lower, OpenTreeFlags::AT_RECURSIVE).at(Stage::Source)?;
        let (read_only, private) = (MountAttrFlags::MOUNT_ATTR_RDONLY, MountPropagationFlags::PRIVATE);
        sys::mount_setattr(&tree, read_only, NOTHING, private, true).at(Stage::Attributes)?;
        let target = open_target(root, lower, TargetRule::Ordinary, Missing::Folder)?;
        return attach(tree.as_fd(), &target);
    }
    let overlay = overlay?;
    let target = open_target(root, lower, TargetRule::Ordinary, Missing::Folder)?;
    attach(overlay.as_fd(), &target)
}

/// Makes the folder where an overlay over `lower` keeps changes. An overlay's root has the owner and the mode
/// of its upper layer, so that layer gets those of `lower`.
fn make_layer(mounts: &mut State, lower: &CStr) -> Result<OwnedFd, Failure> {
    let number = mounts.overlays;
    mounts.overlays += 1;
    let digit = |index: u32| b"0123456789abcdef"[(number >> (4 * index) & 15) as usize];
    let name = [digit(7), digit(6), digit(5), digit(4), digit(3), digit(2), digit(1), digit(0), 0];
    let name = c_str(&name)?;
    let layers = mounts.layers.as_ref().ok_or(Errno::BADF)?;
    rustix::fs::mkdirat(layers, name, FOLDER).at(Stage::Target)?;
    let layer = path::open(layers, name).at(Stage::Target)?;
    let status = rustix::fs::stat(lower).at(Stage::Source)?;
    rustix::fs::mkdirat(&layer, c"upper", Mode::from_raw_mode(status.st_mode & 0o7777)).at(Stage::Target)?;
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    match rustix::fs::chownat(&layer, c"upper", Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // The owner is not mapped in this user namespace: its root will do.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(errno) => return Err(errno).at(Stage::Target),
    }
    rustix::fs::mkdirat(&layer, c"work", FOLDER).at(Stage::Target)?;
    Ok(layer)
}

/// The attributes with which the mount at a path forbids something; an overlay over it must forbid the same.
fn protection_of(path: &CStr) -> Result<MountAttrFlags, Errno> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let flags = rustix::fs::statvfs(path)?.f_flag;
    let mut attributes = NOTHING;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, flags.contains(Flags::NOSUID));
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, flags.contains(Flags::NODEV));
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, flags.contains(Flags::NOEXEC));
    Ok(attributes)
}

/// Opens the root of a tree, and enters it. The tree's own descriptor may only be borrowed.
fn open_root_of(tree: &impl AsFd) -> Result<Root, Errno> {
    let root =
        rustix::fs::openat(tree, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(&root)?;
    Ok(root.into())
}

/// Moves the old root onto the new one and unmounts it: after that no path leads to the host.
pub fn pivot_root(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).at(Stage::Call)?;
    enter_new_root()
}

/// Enters the new root, and checks that nothing is mounted over it. If the target of a mount was the root
/// itself, init would not see that mount, but a process that enters the namespace later would see nothing
/// else, and without masked paths. `..` of the root leads to what is mounted over it.
fn enter_new_root() -> Result<(), Failure> {
    rustix::process::chdir(c"/")?;
    let [root, top] = [rustix::fs::stat(c"/")?, rustix::fs::stat(c"/..")?];
    if (root.st_dev, root.st_ino) == (top.st_dev, top.st_ino) {
        Ok(())
    } else {
        Err(Errno::BUSY).at(Stage::Verify)
    }
}

/// A process that may chroot(2) again can leave a chroot, and a process that joins the namespace (`exec`)
/// would not be in it. With `cover` the new root is moved over the old one first, and every path upwards ends
/// there.
pub fn chroot(root: &OwnedFd, cover: bool) -> Result<(), Failure> {
    rustix::process::fchdir(root)?;
    if cover {
        rustix::mount::move_mount(root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .at(Stage::Attach)?;
    }
    rustix::process::chroot(c".")?;
    enter_new_root()
}
