//! The owners of id-mapped mounts: mount_setattr(2).

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::idmap::write_map;
use super::namespace::open_namespace;
use crate::error::{Context, Error, Kind, Result};
use crate::oci::spec::IdMapping;
use crate::plan::{MountIdmap, MountOwners};
use crate::sys;
use crate::validate::NamespaceKind;

/// User namespaces that exist only for their maps; each is made once.
#[derive(Default)]
pub struct OwnerNamespaces {
    made: Vec<(MountOwners, OwnedFd)>,
}

impl OwnerNamespaces {
    /// Makes a detached mount id-mapped.
    ///
    /// # Errors
    /// The namespace cannot be made or opened, or a file system (of the mount or of one below) cannot be
    /// id-mapped.
    pub fn map_mount(&mut self, tree: &OwnedFd, idmap: &MountIdmap) -> Result<()> {
        let MountIdmap { owners, recursive } = idmap;
        let position = match self.made.iter().position(|(known, _)| known == owners) {
            Some(position) => position,
            None => {
                let namespace = match owners {
                    MountOwners::Maps { uid, gid } => make_namespace(uid, gid)?,
                    MountOwners::Namespace(path) => open_namespace(NamespaceKind::User, path)?,
                };
                self.made.push((owners.clone(), namespace));
                self.made.len() - 1
            }
        };
        pillbox_init::sys::map_mount_owners(tree, &self.made[position].1, *recursive).map_err(|errno| {
            let hint = match errno {
                Errno::INVAL => ": its file system cannot be id-mapped, or is already",
                Errno::PERM => ": it was mounted by another user namespace, which alone may map it, or the maps are the initial ones",
                _ => "",
            };
            Error::formatted(format_args!("map its owners: {}{hint}", crate::error::describe_errno(errno))).or_kind(Kind::Mount)
        })
    }
}

/// Makes a user namespace with these maps and no process: its only process has ended when the maps are
/// written.
fn make_namespace(uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd> {
    let process = sys::spawn_ended(linux_raw_sys::general::CLONE_NEWUSER)
        .context(|| "make a user namespace for its maps")?;
    let folder = format!("/proc/{}", process.pid.as_raw_nonzero());
    let made = write_map(&format!("{folder}/uid_map"), "uidMappings", uid)
        .and_then(|()| write_map(&format!("{folder}/gid_map"), "gidMappings", gid))
        .and_then(|()| {
            let path = format!("{folder}/ns/user");
            let opened = rustix::fs::openat(CWD, &*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            opened.context(|| format!("open {path}"))
        });
    // The paths above begin with its pid, which may pass to another process from here on.
    process.reap();
    made
}
