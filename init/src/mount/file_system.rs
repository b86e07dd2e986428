//! New file systems, and changes to one that is mounted.

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::{Operation, TargetRule, Tree};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use pillbox_init::wire::Strings;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::RawMode;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use super::target::{attach_noted, is_procfs, open_existing, open_target};
use super::{AS_IT_IS, NOTHING, TEXT_MAX};
use crate::execute::Init;
use crate::failure::{At, Failure};
use crate::path;

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
        Err(failure) if matches!(failure.errno(), Errno::PERM | Errno::BUSY) => {
            let tree = match init.tree(otherwise.unwrap_or(Tree::Descriptor(u32::MAX))) {
                // There is nothing to be bound instead.
                Err(Errno::BADF) => return Err(failure),
                tree => tree.at(Stage::Source)?,
            };
            init.mount.kernel_text.clear();
            sys::mount_setattr(&tree, attributes, NOTHING, propagation, true).at(Stage::Attributes)?;
            let attached = attach_noted(init, tree.as_fd(), &target);
            if attached.is_ok() && is_procfs(tree.as_fd())? {
                let mount = rustix::io::fcntl_dupfd_cloexec(&tree, 3)?;
                init.mount.keep_procfs(kind, attributes, parameters, mount);
            }
            return attached;
        }
        Err(failure) => return Err(failure),
    };
    if copy_up {
        crate::copy_up::copy(&target, &mount, &mut init.mount.kernel_text).at(Stage::Copy)?;
    }
    if propagation != AS_IT_IS || later != NOTHING {
        sys::mount_setattr(&mount, later, NOTHING, propagation, false).at(Stage::Attributes)?;
    }
    let attached = attach_noted(init, mount.as_fd(), &target);
    init.mount.keep_procfs(kind, attributes, parameters, mount);
    attached
}

/// A new file system that is mounted nowhere yet.
pub fn detached(
    init: &mut Init<'_>,
    kind: &CStr,
    flags: Strings<'_>,
    parameters: Strings<'_>,
) -> Result<OwnedFd, Failure> {
    new_file_system(init, kind, kind, flags, parameters, None, NOTHING)
}

pub(super) fn new_file_system(
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
            fsconfig_set_string(&context, c"mode", path::c_str(&text)?).at(Stage::Create)?;
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
pub fn remount(init: &mut Init<'_>, operation: Operation<'_>) -> Result<(), Failure> {
    use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fspick};
    let Operation::Remount { target, set, clear, reconfigure, flags, parameters, propagation } = operation
    else {
        return Err(Errno::INVAL.into());
    };
    let mount = path::open(init.root()?, target).at(Stage::Target)?;
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
    let mount = path::open(&target, c"..").at(Stage::Verify)?;
    sys::mount_setattr(mount, attributes, NOTHING, propagation, false).at(Stage::Attributes)
}
