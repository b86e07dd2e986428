//! New file systems, and changes to mounted ones.

use core::ffi::CStr;

use pillbox_init::plan::operation::{Mount, MountWithData, Remount, SendFileSystem};
use pillbox_init::plan::{TargetRule, Tree};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use pillbox_init::wire::Strings;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::RawMode;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use super::state::{AS_IT_IS, KernelText, NOTHING, State, TEXT_MAX};
use super::target::{attach_noted, is_procfs, open_existing, open_target};
use super::tree;
use crate::descriptor::Descriptors;
use crate::failure::{At, Failure};
use crate::path::{self, Missing, Root, c_str};

pub fn mount(
    mounts: &mut State,
    root: &Root,
    descriptors: &Descriptors<'_>,
    step: &Mount<'_>,
) -> Result<(), Failure> {
    let Mount {
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
    } = *step;
    let container = root.get()?;
    // If the folder is only made now, its mode means nothing.
    let covered = if take_mode { open_existing(container, target)? } else { None };
    let target = open_target(container, target, rule, Missing::Folder)?;
    let mode = match covered {
        Some(covered) => Some(rustix::fs::fstat(&covered).at(Stage::Target)?.st_mode & 0o7777),
        None => None,
    };
    let later = if copy_up { attributes & MountAttrFlags::MOUNT_ATTR_RDONLY } else { NOTHING };
    let new = NewFileSystem { kind, source, flags, parameters, mode, attributes: attributes - later };
    let mount = match new.make(&mut mounts.kernel_text) {
        Ok(mount) => mount,
        Err(failure) if matches!(failure.errno(), Errno::PERM | Errno::BUSY) => {
            let tree = match tree::open(root, descriptors, otherwise.unwrap_or(Tree::Descriptor(u32::MAX))) {
                // There is nothing to bind instead.
                Err(Errno::BADF) => return Err(failure),
                tree => tree.at(Stage::Source)?,
            };
            mounts.kernel_text.clear();
            sys::mount_setattr(&tree, attributes, NOTHING, propagation, true).at(Stage::Attributes)?;
            let attached = attach_noted(&mut mounts.attached, tree.as_fd(), &target);
            if attached.is_ok() && is_procfs(tree.as_fd())? {
                let mount = rustix::io::fcntl_dupfd_cloexec(&tree, 3)?;
                mounts.keep_procfs(kind, attributes, parameters, mount);
            }
            return attached;
        }
        Err(failure) => return Err(failure),
    };
    if copy_up {
        crate::copy_up::copy(&target, &mount, &mut mounts.kernel_text).at(Stage::Copy)?;
    }
    if propagation != AS_IT_IS || later != NOTHING {
        sys::mount_setattr(&mount, later, NOTHING, propagation, false).at(Stage::Attributes)?;
    }
    let attached = attach_noted(&mut mounts.attached, mount.as_fd(), &target);
    mounts.keep_procfs(kind, attributes, parameters, mount);
    attached
}

/// A new file system that is mounted nowhere yet.
pub fn detached(mounts: &mut State, step: &SendFileSystem<'_>) -> Result<OwnedFd, Failure> {
    let SendFileSystem { kind, flags, parameters } = *step;
    NewFileSystem { flags, parameters, ..NewFileSystem::of(kind) }.make(&mut mounts.kernel_text)
}

/// A file system that is to be made.
#[derive(Clone, Copy)]
pub(super) struct NewFileSystem<'a> {
    pub kind: &'a CStr,
    pub source: &'a CStr,
    pub flags: Strings<'a>,
    pub parameters: Strings<'a>,
    /// The mode of its root, if it is not the file system's default.
    pub mode: Option<RawMode>,
    pub attributes: MountAttrFlags,
}

impl<'a> NewFileSystem<'a> {
    /// A file system without any options.
    pub fn of(kind: &'a CStr) -> Self {
        let none = Strings::default();
        NewFileSystem { kind, source: kind, flags: none, parameters: none, mode: None, attributes: NOTHING }
    }

    /// fsopen(2), fsconfig(2), fsmount(2). After a failure `kernel_text` has the kernel's message.
    pub fn make(&self, kernel_text: &mut KernelText) -> Result<OwnedFd, Failure> {
        use rustix::mount::fsopen;
        let context = fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC).at(Stage::Source)?;
        let made = self.create(&context);
        if made.is_err() {
            read_kernel_text(&context, kernel_text);
        }
        made
    }

    fn create(&self, context: &OwnedFd) -> Result<OwnedFd, Failure> {
        use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount};
        if !self.source.is_empty() {
            fsconfig_set_string(context, c"source", self.source).at(Stage::Source)?;
        }
        configure(context, self.flags, self.parameters)?;
        if let Some(mode) = self.mode {
            let digit = |shift: u32| b'0' + (mode >> shift & 7) as u8;
            let text = [digit(9), digit(6), digit(3), digit(0), 0];
            fsconfig_set_string(context, c"mode", c_str(&text)?).at(Stage::Create)?;
        }
        fsconfig_create(context).at(Stage::Create)?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes).at(Stage::Create)
    }
}

fn configure(context: &OwnedFd, flags: Strings<'_>, parameters: Strings<'_>) -> Result<(), Failure> {
    use rustix::mount::{fsconfig_set_flag, fsconfig_set_string};
    let option = |index: usize| move |errno| Failure::new(errno, Stage::Option, index as u32);
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
pub fn remount(mounts: &mut State, root: &OwnedFd, step: &Remount<'_>) -> Result<(), Failure> {
    use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fspick};
    let Remount { target, set, clear, reconfigure, flags, parameters, propagation } = *step;
    let mount = path::open(root, target).at(Stage::Target)?;
    if reconfigure {
        let by_descriptor = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let context = fspick(&mount, c"", by_descriptor).at(Stage::Source)?;
        let changed = configure(&context, flags, parameters)
            .and_then(|()| fsconfig_reconfigure(&context).at(Stage::Create));
        if changed.is_err() {
            read_kernel_text(&context, &mut mounts.kernel_text);
        }
        changed?;
    }
    sys::mount_setattr(&mount, set, clear, propagation, false).at(Stage::Attributes)
}

/// Reading a file system context after a failure gives one message at a time; errors begin with `e `.
fn read_kernel_text(context: &OwnedFd, text: &mut KernelText) {
    let mut line = [0u8; TEXT_MAX];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut line) {
        if let Some(complaint) = line[..length].strip_prefix(b"e ") {
            text.clear();
            let _ = text.extend_from_slice(complaint);
        }
    }
}

pub fn mount_with_data(root: &OwnedFd, step: &MountWithData<'_>) -> Result<(), Failure> {
    let MountWithData { kind, source, target, data, attributes, propagation } = *step;
    let target = open_target(root, target, TargetRule::Ordinary, Missing::Folder)?;
    // mount(2) takes a path, and the current folder is one that nothing can redirect.
    rustix::process::fchdir(&target).at(Stage::Target)?;
    let mounted = rustix::mount::mount(source, c".", kind, MountFlags::empty(), data).at(Stage::Create);
    rustix::process::fchdir(root)?;
    mounted?;
    // The path is not resolved again, because it may lead elsewhere by now. Instead the target serves as
    // root: `..` of a root is that root, with what is mounted on it.
    let mount = path::open(&target, c"..").at(Stage::Verify)?;
    sys::mount_setattr(mount, attributes, NOTHING, propagation, false).at(Stage::Attributes)
}
