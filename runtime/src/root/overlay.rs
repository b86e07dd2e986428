//! Overlays that are attached nowhere.
//!
//! The kernel takes layers only from the mount namespace that the caller stands in. Since Linux 6.7 it takes
//! them one by one. Before, all of them stand in one string, too long for fsconfig(2), and mount(2) attaches
//! what it makes: so that is done in a copy of the namespace, where each layer gets a short name.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};
use rustix::process::{Gid, Uid};

use super::layers::{Layer, Layers, name};
use crate::error::{Context, Error, Kind, Result, describe_errno};
use crate::sys::{self, user_namespace};

/// Since when layers are taken one by one, as far as this can be told: it tells no kernel before 6.5 from the
/// others.
const ONE_BY_ONE: &CStr = c"lowerdir+";

/// What a volatile overlay leaves in its work folder until somebody takes it away: a folder with a file.
const VOLATILE: [&str; 2] = ["work/incompat/volatile/dirty", "work/incompat/volatile"];

/// The longest value of fsconfig(2).
const VALUE_MAX: usize = 255;

/// Where a thread stands that makes an overlay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// In the mount namespace that descriptors of layers come from.
    WhereTheyAreOpen,
    /// In another one, which has the same paths.
    Elsewhere,
}

/// Why there is no overlay.
struct Refusal {
    /// `ENOSYS` where the kernel knows only the other way.
    errno: Errno,
    error: Error,
}

impl Layers {
    /// Makes the overlay, attached nowhere: the descriptor is a mount for move_mount(2) or
    /// [`RootSource::mount`](super::RootSource::mount), and files below it can be opened. It is gone when all its descriptors are
    /// closed.
    ///
    /// It takes root's rights, or those of root in a user namespace (Linux 5.11) that the calling thread
    /// stands in.
    ///
    /// # Errors
    /// A layer that is missing or no folder, by its place in the list; what overlayfs refuses, with the
    /// kernel's words where it has any (the rest is in its log).
    pub fn mount(&self) -> Result<OwnedFd> {
        self.check()?;
        self.mount_from(Standing::WhereTheyAreOpen)
    }

    /// The same in the user and mount namespaces of `process`, with these ids there.
    pub(super) fn mount_inside(&self, process: BorrowedFd<'_>, ids: (Uid, Gid)) -> Result<OwnedFd> {
        self.check()?;
        let mut made = None;
        sys::in_namespaces_of(process, ids, &mut || {
            made = Some(self.mount_from(Standing::Elsewhere));
            Ok(())
        })
        .context(|| "layers: enter the container's namespaces")?;
        made.unwrap_or_else(|| Err(Errno::CANCELED).context(|| "layers"))
    }

    fn mount_from(&self, standing: Standing) -> Result<OwnedFd> {
        self.settle_volatile(standing)?;
        if let Some(only) = self.only() {
            let field = || format!("layers.lower[0]: {only}");
            return open_layer(only, standing).and_then(|folder| bind_read_only(&folder)).context(field);
        }
        let refused = match self.mount_one_by_one(standing) {
            Ok(mount) => return Ok(mount),
            Err(refusal) if matches!(refusal.errno, Errno::NOSYS | Errno::INVAL) => refusal,
            Err(refusal) => return Err(refusal.error),
        };
        let mut made = None;
        sys::in_mount_copy(&mut || {
            made = Some(self.mount_by_names());
            Ok(())
        })
        .context(|| "layers: copy the mount namespace")?;
        match made {
            Some(Err(error)) if refused.errno == Errno::NOSYS => Err(error),
            Some(Ok(mount)) => Ok(mount),
            // The first one has the kernel's words.
            _ => Err(refused.error),
        }
    }

    /// The mark of a volatile overlay before: taken away for another one, an error otherwise.
    fn settle_volatile(&self, standing: Standing) -> Result<()> {
        let Some(changes) = &self.changes else { return Ok(()) };
        let field = || format!("layers.work: {}", changes.work);
        let work = open_layer(&changes.work, standing).context(field)?;
        if self.volatile {
            // What does not go keeps the kernel from mounting, and it says so.
            let _ = rustix::fs::unlinkat(&work, VOLATILE[0], AtFlags::empty());
            let _ = rustix::fs::unlinkat(&work, VOLATILE[1], AtFlags::REMOVEDIR);
        } else if rustix::fs::statat(&work, VOLATILE[1], AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(Error::of(
                Kind::Invalid,
                format!(
                    "{}: the overlay before was volatile, and what is in the upper layer may be broken: begin with empty folders, or \
                     let this one be volatile too",
                    field()
                ),
            ));
        }
        Ok(())
    }

    fn mount_one_by_one(&self, standing: Standing) -> std::result::Result<OwnedFd, Refusal> {
        let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
            let hint = match errno {
                Errno::NODEV => ": the kernel has no overlayfs",
                Errno::PERM => ": it takes root's rights, or a user namespace of one's own",
                _ => "",
            };
            let text = format!("layers: overlayfs: {}{hint}", describe_errno(errno));
            Refusal { errno, error: Error::of(Kind::Host, text) }
        })?;
        let refused = |step: &str| {
            let (step, context) = (step.to_string(), context.as_fd());
            move |errno| Refusal { errno, error: word_refusal(&step, context, errno) }
        };
        // As a flag it is refused by whatever reads options as they come, which kernels before 6.5 do not.
        if fsconfig_set_flag(&context, ONE_BY_ONE).is_ok() {
            return Err(refused("layers")(Errno::NOSYS));
        }
        let _ = kernel_text(context.as_fd());
        for (option, field, layer) in self.each() {
            let unopened = |errno| Refusal {
                errno,
                error: Error::of(Kind::Invalid, format!("{field}: {}", describe_errno(errno))),
            };
            let folder = open_layer(layer, standing).map_err(unopened)?;
            set_layer(&context, option, layer, &folder).map_err(refused(&field))?;
        }
        for (option, value) in self.options(user_namespace::is_own()) {
            match value {
                "" => fsconfig_set_flag(&context, option),
                value => fsconfig_set_string(&context, option, value),
            }
            .map_err(refused(&format!("layers.{option}")))?;
        }
        fsconfig_set_string(&context, c"source", c"overlay")
            .and_then(|()| fsconfig_create(&context))
            .and_then(|()| fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()))
            .map_err(refused("layers: overlayfs"))
    }

    /// In a copy of the mount namespace, which goes when this is done.
    pub(super) fn mount_by_names(&self) -> Result<OwnedFd> {
        const MOUNT: &CStr = c"overlay";
        let step = || "layers: a folder for their names";
        // Nobody else is to hear of it.
        let alone = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", alone).context(step)?;
        let names = attach_folder_of_names().context(step)?;
        rustix::process::fchdir(&names).context(step)?;
        for (index, (_, field, layer)) in self.each().enumerate() {
            place_name(&names, &name(index), layer).context(|| field)?;
        }
        rustix::fs::mkdirat(&names, MOUNT, Mode::RWXU).context(step)?;
        let options = self.one_string(user_namespace::is_own());
        let made = rustix::mount::mount(c"overlay", MOUNT, c"overlay", MountFlags::empty(), &*options);
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        made.and_then(|()| open_tree(CWD, MOUNT, flags))
            .map_err(|errno| word("layers: overlayfs", &options.to_string_lossy(), errno))
    }
}

/// An empty tmpfs over the root: absolute paths are looked up below it.
fn attach_folder_of_names() -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // In a folder to which everybody may write the kernel does not follow others' links: protected_symlinks.
    fsconfig_set_string(&context, c"mode", c"755")?;
    fsconfig_create(&context)?;
    let names = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    rustix::mount::move_mount(&names, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(names)
}

/// Makes `name` lead to the layer: a link where a path leads there; a detached mount is attached.
fn place_name(names: &OwnedFd, name: &str, layer: &Layer) -> rustix::io::Result<()> {
    if let Some(path) = path_of(layer) {
        open_folder(CWD, path.as_os_str())?;
        return rustix::fs::symlinkat(&path, names, name);
    }
    let mount = layer.folder.as_ref().ok_or(Errno::NOENT)?;
    rustix::fs::mkdirat(names, name, Mode::RWXU)?;
    rustix::mount::move_mount(&**mount, c"", names, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// The path that leads to a layer from where the thread stands.
fn path_of(layer: &Layer) -> Option<PathBuf> {
    let Some(folder) = &layer.folder else { return Some(layer.path.clone()) };
    let link = rustix::fs::readlink(descriptor_path(folder), Vec::new()).ok()?;
    let path = PathBuf::from(OsStr::from_bytes(link.as_bytes()));
    let identity = |status: rustix::fs::Stat| (status.st_dev, status.st_ino);
    let (given, found) = (rustix::fs::fstat(folder).ok()?, rustix::fs::stat(&path).ok()?);
    (path.is_absolute() && identity(given) == identity(found)).then_some(path)
}

fn descriptor_path(folder: &OwnedFd) -> String {
    format!("/proc/thread-self/fd/{}", folder.as_raw_fd())
}

fn open_layer(layer: &Layer, standing: Standing) -> rustix::io::Result<OwnedFd> {
    match &layer.folder {
        Some(folder) if standing == Standing::WhereTheyAreOpen => open_folder(&**folder, OsStr::new(".")),
        _ => open_folder(CWD, path_of(layer).ok_or(Errno::NOENT)?.as_os_str()),
    }
}

fn open_folder(from: impl AsFd, path: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(from, path, flags, Mode::empty())
}

/// Adds a layer, by its descriptor since Linux 6.13, by a name of it before. In some names overlayfs takes a
/// backslash for more than that.
fn set_layer(context: &OwnedFd, option: &CStr, layer: &Layer, folder: &OwnedFd) -> rustix::io::Result<()> {
    match fsconfig_set_fd(context, option, folder) {
        // The latter for one that is only a place (O_PATH).
        Err(Errno::INVAL | Errno::BADF) => {}
        set => return set,
    }
    let path = layer.path.as_os_str().as_bytes();
    let is_plain = !path.is_empty() && path.len() <= VALUE_MAX && !path.contains(&b'\\');
    if is_plain {
        fsconfig_set_string(context, option, path)
    } else {
        fsconfig_set_string(context, option, descriptor_path(folder))
    }
}

/// A tree of the folder alone, which nobody can write to.
fn bind_read_only(folder: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(folder, c"", flags)?;
    let (read_only, nothing) = (MountAttrFlags::MOUNT_ATTR_RDONLY, MountAttrFlags::empty());
    pillbox_init::sys::mount_setattr(&tree, read_only, nothing, MountPropagationFlags::PRIVATE, false)?;
    Ok(tree)
}

fn word_refusal(step: &str, context: BorrowedFd<'_>, errno: Errno) -> Error {
    word(step, &kernel_text(context), errno)
}

fn word(step: &str, more: &str, errno: Errno) -> Error {
    let hint = match errno {
        Errno::INVAL if more.is_empty() => ": the kernel's log (dmesg) says why",
        Errno::STALE => ": the upper layer belongs to other lower ones (overlayfs's index)",
        Errno::BUSY => ": another overlay has the upper layer or the work folder",
        _ => "",
    };
    let more = if more.is_empty() { String::new() } else { format!(" ({more})") };
    Error::of(Kind::Host, format!("{step}: {}{more}{hint}", describe_errno(errno)))
}

/// The last thing that the kernel has to say about a file system context.
fn kernel_text(context: BorrowedFd<'_>) -> String {
    let mut line = [0u8; 512];
    let mut text = String::new();
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        let said = String::from_utf8_lossy(&line[..length]);
        text = said.trim_end().trim_start_matches(['e', 'w', 'i']).trim_start().to_string();
    }
    text
}
