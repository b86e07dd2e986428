//! Users and groups: credentials(7).

use std::fmt;

use rustix::process::{Gid, Uid};

use super::text::reject;
use crate::error::Result;
use crate::oci::spec::process::User;

/// Ids as the container sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the specification's
pub struct ValidUser {
    pub uid: Uid,
    pub gid: Gid,
    pub umask: Option<u32>,
    pub additional_gids: Vec<Gid>,
}

impl Default for ValidUser {
    fn default() -> Self {
        ValidUser { uid: Uid::ROOT, gid: Gid::ROOT, umask: None, additional_gids: Vec::new() }
    }
}

pub(super) fn validate_user(user: &User<'_>) -> Result<ValidUser> {
    let User { uid, gid, umask, additional_gids, username: _ } = user;
    let uid = Uid::from_raw(check_id(format_args!("process.user.uid"), *uid)?);
    let gid = Gid::from_raw(check_id(format_args!("process.user.gid"), *gid)?);
    // NGROUPS_MAX, setgroups(2).
    const GROUPS: usize = 65_536;
    if additional_gids.len() > GROUPS {
        let count = additional_gids.len();
        reject!("process.user.additionalGids: has {count} groups, more than the kernel's limit of {GROUPS}");
    }
    let mut groups = Vec::with_capacity(additional_gids.len());
    for (index, gid) in additional_gids.iter().enumerate() {
        groups.push(Gid::from_raw(check_id(format_args!("process.user.additionalGids[{index}]"), *gid)?));
    }
    match *umask {
        Some(umask) if umask > 0o7777 => {
            reject!("process.user.umask: {umask} is not a mask: write at most 4095 (octal 7777)")
        }
        umask => Ok(ValidUser { uid, gid, umask, additional_gids: groups }),
    }
}

/// The id of a user or of a group, if it is one.
pub(super) fn check_id(field: fmt::Arguments<'_>, id: u32) -> Result<u32> {
    match id {
        u32::MAX => reject!("{field}: 4294967295 is no id: the kernel keeps it for \"none\""),
        id => Ok(id),
    }
}
