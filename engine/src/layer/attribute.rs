//! What a file has beside its content: owner, extended attributes, mode, times.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::tar::{Entry, Time};
use super::tree::Place;
use super::whiteout::is_mark;
use crate::error::{Context, Error, Result};

/// A right that a program has from its file: it is never left out.
pub const CAPABILITY: &[u8] = b"security.capability";

/// A name and a value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What a file is to get.
pub struct Attributes<'a> {
    /// `None`: whoever makes it.
    owner: Option<(Uid, Gid)>,
    xattrs: Vec<(&'a [u8], &'a [u8])>,
    mode: Mode,
    times: Timestamps,
}

impl<'a> Attributes<'a> {
    /// As a tar says. What marks something for another overlay is left out: it would redirect names.
    pub fn of_entry(entry: &'a Entry) -> Attributes<'a> {
        let of = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
        let xattrs = entry.xattrs.iter().map(|(name, value)| (&name[..], &value[..]));
        Attributes {
            owner: Some((Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))),
            xattrs: xattrs.filter(|(name, _)| !is_mark(name)).collect(),
            mode: Mode::from_raw_mode(entry.mode),
            times: Timestamps {
                last_access: of(entry.atime.unwrap_or(entry.mtime)),
                last_modification: of(entry.mtime),
            },
        }
    }

    /// As another file has them.
    pub fn of_file(status: &Stat, xattrs: &'a [Xattr]) -> Attributes<'a> {
        let of = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
        let xattrs = xattrs.iter().map(|(name, value)| (&name[..], &value[..]));
        Attributes {
            owner: Some((Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid))),
            xattrs: xattrs.filter(|(name, _)| !is_mark(name)).collect(),
            mode: Mode::from_raw_mode(status.st_mode & 0o7777),
            times: Timestamps {
                last_access: of(status.st_atime, status.st_atime_nsec),
                last_modification: of(status.st_mtime, status.st_mtime_nsec),
            },
        }
    }

    /// The file is the caller's.
    pub fn without_owner(self) -> Attributes<'a> {
        Attributes { owner: None, ..self }
    }

    /// Of the extended attributes, it gets what users have noted.
    pub fn with_users_xattrs(mut self) -> Attributes<'a> {
        self.xattrs.retain(|(name, _)| name.starts_with(b"user."));
        self
    }

    /// Of its mode, it gets these bits.
    pub fn with_mode_of(self, bits: u32) -> Attributes<'a> {
        Attributes { mode: self.mode & Mode::from_raw_mode(bits), ..self }
    }

    /// Sets them. Each may undo what comes before it: a new owner takes file capabilities and setuid away. Attributes come before the
    /// mode, which may forbid to write them.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn apply(&self, file: impl AsFd) -> Result<()> {
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(&file, Some(uid), Some(gid)).map_err(|errno| owner_error(errno, uid, gid))?;
        }
        for (name, value) in &self.xattrs {
            judge(name, rustix::fs::fsetxattr(&file, *name, value, XattrFlags::empty()))?;
        }
        rustix::fs::fchmod(&file, self.mode)?;
        Ok(rustix::fs::futimens(&file, &self.times)?)
    }

    /// The same for a link, or for what cannot be opened without doing something, in a folder where nobody else writes.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn apply_at(&self, place: &Place<'_>, is_link: bool) -> Result<()> {
        let (folder, name) = (&*place.folder, place.name);
        self.own_at(folder, name)?;
        for (attribute, value) in &self.xattrs {
            let set = rustix::fs::lsetxattr(place.path(), *attribute, value, XattrFlags::empty());
            judge(attribute, set)?;
        }
        if !is_link {
            rustix::fs::chmodat(folder, name, self.mode, AtFlags::empty())?;
        }
        self.time_at(folder, name)
    }

    /// Its owner alone; a link is not followed.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn own_at(&self, folder: impl AsFd, name: impl Arg) -> Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        let owned = rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        owned.map_err(|errno| owner_error(errno, uid, gid))
    }

    /// Its times alone.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn time(&self, file: impl AsFd) -> Result<()> {
        Ok(rustix::fs::futimens(file, &self.times)?)
    }

    /// The same of what has a name in a folder; a link is not followed.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn time_at(&self, folder: impl AsFd, name: impl Arg) -> Result<()> {
        Ok(rustix::fs::utimensat(folder, name, &self.times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// The extended attributes of a file, which may be open without a right to read (`O_PATH`).
///
/// # Errors
/// They cannot be read.
pub fn xattrs(file: impl AsFd) -> Result<Vec<Xattr>> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let mut list = vec![0; 1 << 16];
    let length = match rustix::fs::listxattr(&path, &mut list[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length?,
    };
    let mut found = Vec::new();
    for name in list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        match rustix::fs::getxattr(&path, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.push((name.to_vec(), value));
            }
            // Gone meanwhile, or not for this user.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(found)
}

/// What a file system or a machine does not have is left out, as Docker does.
fn judge(name: &[u8], set: rustix::io::Result<()>) -> Result<()> {
    match set {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) if name != CAPABILITY => Ok(()),
        set => set.context(|| format!("the attribute {}", String::from_utf8_lossy(name))),
    }
}

fn owner_error(errno: Errno, uid: Uid, gid: Gid) -> Error {
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    match errno {
        Errno::INVAL => Error::invalid(format!(
            "its owner is {uid}:{gid}, and your ranges of ids (/etc/subuid, /etc/subgid) have no such: they need more"
        )),
        errno => Error::from(errno).context(format!("give it to {uid}:{gid}")),
    }
}
