//! The seed mount namespace: one empty read-only tmpfs, from which containers start.
//!
//! A new mount namespace is a copy of the one it starts from, which on a server with thousands of mounts is most
//! of a container's cost, only to be thrown away. The seed is made once, pinned below /run, and checked before
//! use. There is one for the machine, not one for each `--root`: it holds nothing of any container, and a folder
//! of state can then be removed without unmounting anything.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::general::CLONE_NEWNS;
use rustix::fs::{Access, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use crate::sys;

/// Where the container's root is attached in a copy of the seed: over all that is there. Copies share the tmpfs, and
/// who may unmount in a container reaches it: nothing in it may be needed.
pub const ROOT_IN_SEED: &CStr = c"/";

const FOLDER: &CStr = c"/run/pillbox";
const PIN: &CStr = c"/run/pillbox/.seed";

/// Whether the namespace is made on threads of its own: see [`make_apart`].
static APART: AtomicBool = AtomicBool::new(false);

/// The pinned namespace, made now if there is none. `None` where it cannot be had: the ordinary copy serves then.
pub fn open() -> Option<OwnedFd> {
    match open_pinned() {
        None if !APART.load(Ordering::Relaxed) => make().ok(),
        None => std::thread::scope(|scope| {
            std::thread::Builder::new().spawn_scoped(scope, make).ok()?.join().ok()?.ok()
        }),
        seed => seed,
    }
}

/// From now on [`open`] makes the namespace on a thread that ends then: whoever makes it parts with the other threads'
/// working folder and umask, which a program that has threads would notice.
pub fn make_apart() {
    APART.store(true, Ordering::Relaxed);
}

/// The pinned namespace, if there is one: a mount namespace with the one mount that [`empty_namespace`] leaves. Who
/// could put another one there is root where this process is.
pub fn open_pinned() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let seed = rustix::fs::openat(CWD, PIN, flags, Mode::empty()).ok()?;
    let is_seed = match sys::mount_count(seed.as_fd()) {
        // Before Linux 6.11 the kernel does not say.
        Err(Errno::NOTTY) => sys::namespace_type(seed.as_fd()) == Ok(CLONE_NEWNS),
        // With the kernel's first root below it there are two.
        count => matches!(count, Ok(1 | 2)),
    };
    is_seed.then_some(seed)
}

/// Whether [`open`] would get one, without making it: what it does is tried in a child.
pub fn can_be_made() -> bool {
    let folder = match rustix::fs::lstat(FOLDER) {
        Err(Errno::NOENT) => rustix::fs::access(c"/run", Access::WRITE_OK),
        status => status.and_then(|status| check_folder(&status)),
    };
    folder.is_ok() && sys::probe(CLONE_NEWNS, || empty_namespace(c"/run").map(drop)).is_ok()
}

/// Whoever may replace the pin could choose where containers start.
fn check_folder(folder: &Stat) -> Result<(), Errno> {
    let safe = folder.st_uid == 0
        && folder.st_mode & 0o022 == 0
        && FileType::from_raw_mode(folder.st_mode) == FileType::Directory;
    if safe { Ok(()) } else { Err(Errno::PERM) }
}

/// Makes and pins the namespace; the calling thread leaves its own for the time.
fn make() -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdir(FOLDER, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let folder = rustix::fs::openat(
        CWD,
        FOLDER,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    check_folder(&rustix::fs::fstat(&folder)?)?;
    let pin = rustix::fs::openat(
        &folder,
        c".seed",
        OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::from_raw_mode(0o600),
    )?;
    rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
    if let Some(seed) = open_pinned() {
        return Ok(seed);
    }
    match make_and_pin(&pin) {
        Err(Errno::LOOP) => make_on_another_cpu(&pin),
        made => made,
    }
}

/// The kernel lets a mount namespace be pinned only in one with a lower number, so that none pins itself. Since Linux
/// 6.18 each CPU gives out numbers of its own: where this one's are too low, another's may do.
fn make_on_another_cpu(pin: &OwnedFd) -> Result<OwnedFd, Errno> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let before = sched_getaffinity(None)?;
    let made = (0..CpuSet::MAX_CPU).find_map(|cpu| {
        let mut only = CpuSet::new();
        only.set(cpu);
        // Refused for a CPU that is not there, or not in the cpuset.
        sched_setaffinity(None, &only).and_then(|()| make_and_pin(pin)).ok()
    });
    sched_setaffinity(None, &before)?;
    made.ok_or(Errno::LOOP)
}

fn make_and_pin(pin: &OwnedFd) -> Result<OwnedFd, Errno> {
    let place = |path| rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let (here, root) = (place(c".")?, place(c"/")?);
    let home = open_own_namespace()?;
    pillbox_init::sys::unshare_namespaces(CLONE_NEWNS)?;
    let seed = empty_namespace(FOLDER);
    // From here on a failure would leave the caller in another namespace than it was: there is no going on.
    pillbox_init::sys::setns(&home, CLONE_NEWNS)?;
    // setns(2) leads to the namespace's root, which is not the runtime's where that stands in a chroot.
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(c".")?;
    rustix::process::fchdir(&here)?;
    let seed = seed?;
    pin_namespace(&seed, pin)?;
    Ok(seed)
}

/// Turns the copy that the thread stands in into one that holds an empty tmpfs and nothing else.
/// `at` is a folder there.
fn empty_namespace(at: &CStr) -> Result<OwnedFd, Errno> {
    let namespace = open_own_namespace()?;
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"source", c"pillbox")?;
    rustix::mount::fsconfig_set_string(&context, c"mode", c"755")?;
    // Its root.
    rustix::mount::fsconfig_set_string(&context, c"nr_inodes", c"1")?;
    rustix::mount::fsconfig_create(&context)?;
    let tmpfs = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let none = MountPropagationFlags::empty();
    pillbox_init::sys::mount_setattr(
        &tmpfs,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
        MountAttrFlags::empty(),
        none,
        false,
    )?;
    rustix::mount::move_mount(&tmpfs, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(&tmpfs)?;
    match rustix::process::pivot_root(c".", c".") {
        Err(Errno::INVAL) => cover_initial_root(&tmpfs)?,
        pivoted => {
            pivoted?;
            rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        }
    }
    Ok(namespace)
}

/// The kernel's first root cannot be left, but everything else can go, and the tmpfs lie over it: as switch_root(8) does.
fn cover_initial_root(tmpfs: &OwnedFd) -> Result<(), Errno> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").map_err(|_| Errno::INVAL)?;
    rustix::mount::move_mount(tmpfs, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for point in mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| *point != "/") {
        // What lies below another one is gone with it.
        let _ = rustix::mount::unmount(point, UnmountFlags::DETACH);
    }
    rustix::process::chroot(c".")
}

fn open_own_namespace() -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/thread-self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A namespace lives as long as something mounts its file.
fn pin_namespace(seed: &OwnedFd, pin: &OwnedFd) -> Result<(), Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(seed, c"", flags)?;
    let none = MountAttrFlags::empty();
    // Containers that get /run as a slave must not get, and keep, a mount of the seed.
    pillbox_init::sys::mount_setattr(&tree, none, none, MountPropagationFlags::PRIVATE, false)?;
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&tree, c"", pin, c"", by_descriptor)
}
