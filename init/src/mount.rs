//! Mounts: made or cloned detached, given their attributes, then attached to a target inside the root.

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::{Operation, TargetRule, Tree};
use pillbox_init::report::{MESSAGE_MAX, Stage};
use pillbox_init::sys;
use pillbox_init::wire::Strings;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawMode, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use rustix::process::{Gid, Uid};

use crate::execute::{At, Failure, Init};
use crate::root;

const NOTHING: MountAttrFlags = MountAttrFlags::empty();
const AS_IT_IS: MountPropagationFlags = MountPropagationFlags::empty();

/// What folders get that nobody asked a mode for.
const FOLDER: Mode = Mode::from_raw_mode(0o755);

/// The kernel's text is cut to what fits into a report beside the numbers.
pub const TEXT_MAX: usize = MESSAGE_MAX - 32;

/// What mounts share: each is opened once, when first needed.
#[derive(Default)]
pub struct State {
    /// The container's null device, verified.
    null: Option<OwnedFd>,
    /// A read-only tmpfs without content, where it was first needed: before Linux 6.15 only what is attached can be cloned.
    empty: Option<OwnedFd>,
    /// A procfs that nothing of the container can cover.
    procfs: Option<OwnedFd>,
    /// Where overlays keep changes, and how many there are.
    layers: Option<OwnedFd>,
    overlays: u8,
    /// What the kernel said about the mount that failed.
    pub kernel_text: Vec<u8, TEXT_MAX>,
}

pub fn attach_root(
    init: &mut Init<'_>,
    tree: Tree<'_>,
    at: &CStr,
    propagation: MountPropagationFlags,
) -> Result<(), Failure> {
    let tree = init.tree(tree).at(Stage::Source)?;
    sys::mount_setattr(&tree, NOTHING, NOTHING, propagation, true).at(Stage::Attributes)?;
    // What the host mounts where the image lies is no part of the container, whatever else it may hear of.
    sys::mount_setattr(&tree, NOTHING, NOTHING, MountPropagationFlags::PRIVATE, false)
        .at(Stage::Attributes)?;
    rustix::mount::move_mount(&tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Stage::Attach)?;
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
    let place = root::open(&layers, c"root").at(Stage::Target)?;
    let parameters = Strings::new(b"mode\x00755\0").map_err(|_| Errno::INVAL)?;
    let tmpfs = new_file_system(init, c"tmpfs", c"root", none, parameters, None, NOTHING)?;
    attach(&tmpfs, &place)?;
    init.root = Some(open_root_of(&tmpfs)?);
    init.mount.layers = Some(layers);
    Ok(())
}

/// The layers for changes are given by names relative to the current folder, which nothing can redirect.
pub fn mount_overlay(init: &mut Init<'_>, lower: &CStr, user_xattr: bool) -> Result<(), Failure> {
    const OPTIONS_MAX: usize = 4096 + 64;
    let number = init.mount.overlays;
    init.mount.overlays += 1;
    let name = [b'a' + (number / 26) % 26, b'a' + number % 26, 0];
    let name = crate::execute::c_str(&name)?;
    let layers = init.mount.layers.as_ref().ok_or(Errno::BADF)?;
    rustix::fs::mkdirat(layers, name, FOLDER).at(Stage::Target)?;
    let layer = root::open(layers, name).at(Stage::Target)?;
    // An overlay's own root has the owner and the mode of its upper layer.
    let status = rustix::fs::stat(lower).at(Stage::Source)?;
    rustix::fs::mkdirat(&layer, c"upper", Mode::from_raw_mode(status.st_mode & 0o7777)).at(Stage::Target)?;
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    match rustix::fs::chownat(&layer, c"upper", Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // Somebody who has no number in this user namespace: root of it will do.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(errno) => return Err(errno).at(Stage::Target),
    }
    rustix::fs::mkdirat(&layer, c"work", FOLDER).at(Stage::Target)?;
    rustix::process::fchdir(&layer)?;
    let mut parameters = Vec::<u8, OPTIONS_MAX>::new();
    for part in [b"lowerdir\0", lower.to_bytes_with_nul(), b"upperdir\0upper\0workdir\0work\0"] {
        parameters.extend_from_slice(part).map_err(|_| Errno::NAMETOOLONG)?;
    }
    let parameters = Strings::new(&parameters).map_err(|_| Errno::INVAL)?;
    let flags = Strings::new(if user_xattr { b"userxattr\0" } else { b"" }).map_err(|_| Errno::INVAL)?;
    let overlay = new_file_system(init, c"overlay", c"overlay", flags, parameters, None, NOTHING)?;
    let target = open_target(init, lower, TargetRule::Ordinary, false)?;
    attach(&overlay, &target)
}

/// A descriptor of the mount itself: what a tree's own descriptor stands for may be only lent.
fn open_root_of(tree: &impl AsFd) -> Result<OwnedFd, Errno> {
    let root =
        rustix::fs::openat(tree, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(&root)?;
    Ok(root)
}

pub fn mount(init: &mut Init<'_>, operation: Operation<'_>) -> Result<(), Failure> {
    let Operation::Mount {
        kind,
        source,
        target,
        rule,
        flags,
        parameters,
        attributes,
        propagation,
        take_mode,
        copy_up,
        otherwise,
    } = operation
    else {
        return Err(Errno::INVAL.into());
    };
    // A folder that is only made now has no mode that anybody chose.
    let covered = if take_mode { open_existing(init, target)? } else { None };
    let target = open_target(init, target, rule, false)?;
    let mode = match covered {
        Some(covered) => Some(rustix::fs::fstat(&covered).at(Stage::Target)?.st_mode & 0o7777),
        None => None,
    };
    let later = if copy_up { attributes & MountAttrFlags::MOUNT_ATTR_RDONLY } else { NOTHING };
    let mount = match new_file_system(init, kind, source, flags, parameters, mode, attributes - later) {
        Ok(mount) => mount,
        Err(Failure { errno: Errno::PERM | Errno::BUSY, .. }) if otherwise.is_some() => {
            init.mount.kernel_text.clear();
            let tree = init.tree(otherwise.unwrap_or(Tree::Descriptor(u32::MAX))).at(Stage::Source)?;
            sys::mount_setattr(&tree, attributes, NOTHING, propagation, true).at(Stage::Attributes)?;
            return attach(&tree, &target);
        }
        Err(failure) => return Err(failure),
    };
    if copy_up {
        crate::copy_up::copy(&target, &mount, &mut init.mount.kernel_text).at(Stage::Copy)?;
    }
    if propagation != AS_IT_IS || later != NOTHING {
        sys::mount_setattr(&mount, later, NOTHING, propagation, false).at(Stage::Attributes)?;
    }
    attach(&mount, &target)
}

fn new_file_system(
    init: &mut Init<'_>,
    kind: &CStr,
    source: &CStr,
    flags: Strings<'_>,
    parameters: Strings<'_>,
    mode: Option<RawMode>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at(Stage::Source)?;
    let made = (|| {
        if !source.is_empty() {
            fsconfig_set_string(&context, c"source", source).at(Stage::Source)?;
        }
        configure(&context, flags, parameters)?;
        if let Some(mode) = mode {
            let digit = |shift: u32| b'0' + (mode >> shift & 7) as u8;
            let text = [digit(9), digit(6), digit(3), digit(0), 0];
            fsconfig_set_string(&context, c"mode", crate::execute::c_str(&text)?).at(Stage::Create)?;
        }
        fsconfig_create(&context).at(Stage::Create)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(Stage::Create)
    })();
    if made.is_err() {
        read_kernel_text(&context, &mut init.mount.kernel_text);
    }
    made
}

fn configure(context: &OwnedFd, flags: Strings<'_>, parameters: Strings<'_>) -> Result<(), Failure> {
    use rustix::mount::{fsconfig_set_flag, fsconfig_set_string};
    let option = |index: usize| move |errno| Failure { errno, stage: Stage::Option, detail: index as u32 };
    for (index, flag) in flags.iter().enumerate() {
        fsconfig_set_flag(context, flag).map_err(option(index))?;
    }
    let mut rest = parameters.iter();
    let mut index = flags.len();
    while let (Some(key), Some(value)) = (rest.next(), rest.next()) {
        fsconfig_set_string(context, key, value).map_err(option(index))?;
        index += 1;
    }
    Ok(())
}

/// What mount(2) with MS_REMOUNT does, on a descriptor: the path is resolved once, inside the root.
pub fn remount(init: &mut Init<'_>, operation: Operation<'_>) -> Result<(), Failure> {
    use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fspick};
    let Operation::Remount { target, set, clear, reconfigure, flags, parameters, propagation } = operation
    else {
        return Err(Errno::INVAL.into());
    };
    let mount = root::open(init.root()?, target).at(Stage::Target)?;
    if reconfigure {
        let by_descriptor = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let context = fspick(&mount, c"", by_descriptor).at(Stage::Source)?;
        let changed = configure(&context, flags, parameters)
            .and_then(|()| fsconfig_reconfigure(&context).at(Stage::Create));
        if changed.is_err() {
            read_kernel_text(&context, &mut init.mount.kernel_text);
        }
        changed?;
    }
    sys::mount_setattr(&mount, set, clear, propagation, false).at(Stage::Attributes)
}

/// Reading a failed file system context gives one line for each complaint, `e ` before an error.
fn read_kernel_text(context: &OwnedFd, text: &mut Vec<u8, TEXT_MAX>) {
    let mut line = [0u8; TEXT_MAX];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        if let Some(complaint) = line[..length].strip_prefix(b"e ") {
            text.clear();
            let _ = text.extend_from_slice(complaint);
        }
    }
}

pub fn mount_with_data(init: &mut Init<'_>, operation: Operation<'_>) -> Result<(), Failure> {
    let Operation::MountWithData { kind, source, target, data, attributes, propagation } = operation else {
        return Err(Errno::INVAL.into());
    };
    let target = open_target(init, target, TargetRule::Ordinary, false)?;
    // mount(2) takes a path, and the current folder is one that nothing can redirect.
    rustix::process::fchdir(&target).at(Stage::Target)?;
    let mounted = rustix::mount::mount(source, c".", kind, MountFlags::empty(), data).at(Stage::Create);
    rustix::process::fchdir(init.root()?)?;
    mounted?;
    // The path is not resolved again, it may lead elsewhere by now: `..` of a root is that root, with what is mounted
    // on it.
    let mount = root::open(&target, c"..").at(Stage::Verify)?;
    sys::mount_setattr(mount, attributes, NOTHING, propagation, false).at(Stage::Attributes)
}

pub fn bind(init: &mut Init<'_>, operation: Operation<'_>) -> Result<(), Failure> {
    let Operation::BindMount {
        tree,
        target,
        rule,
        set,
        clear,
        recursive_set,
        recursive_clear,
        propagation,
        recursive_propagation,
    } = operation
    else {
        return Err(Errno::INVAL.into());
    };
    let tree = init.tree(tree).at(Stage::Source)?;
    let status = rustix::fs::fstat(&tree).at(Stage::Source)?;
    let file = FileType::from_raw_mode(status.st_mode) != FileType::Directory;
    if rule == TargetRule::Procfs && !is_procfs(&tree).at(Stage::Source)? {
        return Err(Errno::PERM).at(Stage::Source);
    }
    let target = open_target(init, target, rule, file)?;
    if propagation != AS_IT_IS {
        sys::mount_setattr(&tree, NOTHING, NOTHING, propagation, recursive_propagation)
            .at(Stage::Attributes)?;
    }
    if !(set | clear).is_empty() {
        sys::mount_setattr(&tree, set, clear, AS_IT_IS, false).at(Stage::Attributes)?;
    }
    if !(recursive_set | recursive_clear).is_empty() {
        sys::mount_setattr(&tree, recursive_set, recursive_clear, AS_IT_IS, true).at(Stage::Attributes)?;
    }
    attach(&tree, &target)
}

pub fn set_attributes(
    init: &Init<'_>,
    target: &CStr,
    set: MountAttrFlags,
    propagation: MountPropagationFlags,
    recursive: bool,
) -> Result<(), Failure> {
    let mount = root::open(init.root()?, target).at(Stage::Target)?;
    sys::mount_setattr(mount, set, NOTHING, propagation, recursive)?;
    Ok(())
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

pub fn make_path_readonly(init: &Init<'_>, path: &CStr) -> Result<(), Failure> {
    let Some(target) = open_existing(init, path)? else { return Ok(()) };
    let tree = clone_tree(&target, true).at(Stage::Source)?;
    sys::mount_setattr(
        &tree,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
        NOTHING,
        MountPropagationFlags::PRIVATE,
        false,
    )
    .at(Stage::Attributes)?;
    attach(&tree, &target)
}

pub fn mask_path(init: &mut Init<'_>, path: &CStr) -> Result<(), Failure> {
    let Some(target) = open_existing(init, path)? else { return Ok(()) };
    let folder = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
    if folder && init.mount.empty.is_none() {
        let none = Strings::default();
        let mount =
            new_file_system(init, c"tmpfs", c"tmpfs", none, none, None, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        attach(&mount, &target)?;
        init.mount.empty = Some(mount);
        return Ok(());
    }
    if !folder && init.mount.null.is_none() {
        init.mount.null = Some(open_null(init.root()?)?);
    }
    let mask = if folder { &init.mount.empty } else { &init.mount.null };
    let tree = clone_tree(mask.as_ref().ok_or(Errno::BADF)?, false)?;
    attach(&tree, &target)
}

/// The image may have anything at /dev/null: only the null device itself will do.
fn open_null(root: &OwnedFd) -> Result<OwnedFd, Failure> {
    let null = root::open(root, c"/dev/null").at(Stage::Source)?;
    let status = rustix::fs::fstat(&null)?;
    let device = (rustix::fs::major(status.st_rdev as _), rustix::fs::minor(status.st_rdev as _));
    if FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && device == (1, 3) {
        Ok(null)
    } else {
        Err(Errno::NODEV).at(Stage::Verify)
    }
}

/// A procfs of init's own, which nothing of the container can cover.
pub fn procfs<'i>(init: &'i mut Init<'_>) -> Result<&'i OwnedFd, Failure> {
    if init.mount.procfs.is_none() {
        let none = Strings::default();
        init.mount.procfs = Some(new_file_system(init, c"proc", c"proc", none, none, None, NOTHING)?);
    }
    Ok(init.mount.procfs.as_ref().ok_or(Errno::BADF)?)
}

pub fn write_sysctl(init: &mut Init<'_>, path: &CStr, value: &CStr) -> Result<(), Failure> {
    let procfs = procfs(init)?;
    let only_here = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let file = root::open_with(procfs, path, OFlags::WRONLY, only_here).at(Stage::Target)?;
    rustix::io::write(&file, value.to_bytes())?;
    Ok(())
}

/// Resolves a mount's target, made if missing, and makes sure that it is where mounts are allowed.
fn open_target(init: &Init<'_>, path: &CStr, rule: TargetRule, file: bool) -> Result<OwnedFd, Failure> {
    let resolve = match rule {
        TargetRule::NoSymlinks | TargetRule::Procfs => ResolveFlags::NO_SYMLINKS,
        TargetRule::Ordinary | TargetRule::InsideProc | TargetRule::NoFollow => ResolveFlags::empty(),
    };
    let root = init.root()?;
    let link = match rule {
        TargetRule::NoFollow => root::open_with(root, path, OFlags::PATH | OFlags::NOFOLLOW, resolve).ok(),
        _ => None,
    };
    let target = match link {
        Some(target) => target,
        None => root::open_or_make(root, path, file, resolve).at(Stage::Target)?,
    };
    if rule != TargetRule::InsideProc && is_procfs(&target).at(Stage::Target)? {
        return Err(Errno::PERM).at(Stage::Verify);
    }
    Ok(target)
}

fn is_procfs(file: impl AsFd) -> Result<bool, Errno> {
    const PROC_SUPER_MAGIC: u32 = 0x9fa0;
    Ok(rustix::fs::fstatfs(file)?.f_type as u32 == PROC_SUPER_MAGIC)
}

fn open_existing(init: &Init<'_>, path: &CStr) -> Result<Option<OwnedFd>, Failure> {
    match root::open(init.root()?, path) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).at(Stage::Target),
    }
}

pub fn clone_tree(of: impl AsFd, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(of, c"", flags)
}

pub fn attach(tree: &impl AsFd, target: &OwnedFd) -> Result<(), Failure> {
    let tree: BorrowedFd<'_> = tree.as_fd();
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", target, c"", by_descriptor).at(Stage::Attach)
}
