//! The option `remount`, which changes an existing mount.

use std::ffi::CStr;

use pillbox_init::plan::operation::Remount;
use rustix::mount::MountAttrFlags;

use super::option::Options;
use crate::error::{Error, Result};
use crate::oci::spec::Mount;
use crate::plan::Builder;
use crate::plan::text::{string_bytes, strings};

/// `remount` changes what is mounted at the destination: with `bind` only the mount, otherwise its file
/// system as well.
pub(super) fn compile_remount(
    builder: &mut Builder<'_>,
    field: &str,
    mount: &Mount<'_>,
    target: &CStr,
    options: &Options<'_>,
) -> Result<()> {
    let all = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NODIRATIME
        | MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW;
    if !(mount.uid_mappings.is_empty() && options.idmap.is_none()) {
        return Err(Error::formatted(format_args!(
            "{field}.options: \"remount\": a mount that is there already cannot be id-mapped"
        )));
    }
    if let (true, Some(data)) = (options.bind, options.data.first()) {
        return Err(Error::formatted(format_args!("{field}.options: {data:?} is no option of a bind mount")));
    }
    let (parameters, flags): (Vec<&str>, Vec<&str>) =
        options.data.iter().partition(|data| data.contains('='));
    // As with mount(2), the file system becomes writable unless "ro" is given again.
    let read_only = if options.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) { "ro" } else { "rw" };
    let flags = string_bytes([read_only].into_iter().chain(options.flags.iter().copied()).chain(flags));
    let parameters =
        string_bytes(parameters.iter().filter_map(|pair| pair.split_once('=')).flat_map(<[&str; 2]>::from));
    builder.push(Remount {
        target,
        set: options.set,
        // All attributes are set anew, but access times only if they are named: mount(2), MS_REMOUNT.
        clear: (all - options.set) | options.clear,
        reconfigure: !options.bind,
        flags: strings(&flags)?,
        parameters: strings(&parameters)?,
        propagation: options.propagation,
    });
    Ok(())
}
