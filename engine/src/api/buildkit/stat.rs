//! Files as clients name them, which is as Go does, and as tars do.

use super::message::Stat;
use super::status::Status;
use crate::layer::tar::{Device, Entry, EntryKind, Time};

/// Bits of Go's `FileMode`.
pub mod mode {
    /// A folder.
    pub const FOLDER: u32 = 1 << 31;
    /// A symbolic link.
    pub const LINK: u32 = 1 << 27;
    /// A device.
    pub const DEVICE: u32 = 1 << 26;
    /// A named pipe.
    pub const FIFO: u32 = 1 << 25;
    /// A socket.
    pub const SOCKET: u32 = 1 << 24;
    /// setuid.
    pub const SETUID: u32 = 1 << 23;
    /// setgid.
    pub const SETGID: u32 = 1 << 22;
    /// Of a device: one of characters.
    pub const CHARACTERS: u32 = 1 << 21;
    /// sticky.
    pub const STICKY: u32 = 1 << 20;
    /// None of those that are known.
    pub const IRREGULAR: u32 = 1 << 19;
    /// Whatever is no file.
    pub const KIND: u32 = FOLDER | LINK | DEVICE | FIFO | SOCKET | CHARACTERS | IRREGULAR;
}

/// An entry of a tar; `None` for what no tar has.
///
/// # Errors
/// It is none of a folder.
pub fn entry(stat: Stat) -> Result<Option<Entry>, Status> {
    let Stat { path, mode, uid: _, gid: _, size, modified, link, major, minor, attributes } = stat;
    let named = String::from_utf8_lossy(&path).into_owned();
    if path.is_empty() || path.contains(&0) || link.contains(&0) {
        return Err(Status::invalid(format!("the name of a file: {named:?}")));
    }
    let number = |number: i64| {
        u32::try_from(number).map_err(|_| Status::invalid(format!("{named}: the device {number}")))
    };
    let device = || Ok::<_, Status>(Device { major: number(major)?, minor: number(minor)? });
    let kind = match mode & mode::KIND {
        0 if link.is_empty() => EntryKind::File,
        0 => EntryKind::HardLink(link),
        mode::FOLDER => EntryKind::Folder,
        mode::LINK => EntryKind::SymbolicLink(link),
        mode::FIFO => EntryKind::Fifo,
        mode::DEVICE => EntryKind::Block(device()?),
        kind if kind == mode::DEVICE | mode::CHARACTERS => EntryKind::Character(device()?),
        mode::SOCKET => return Ok(None),
        _ => return Err(Status::invalid(format!("{named}: a file of the kind {mode:#o}"))),
    };
    let size = match kind {
        EntryKind::File => {
            u64::try_from(size).map_err(|_| Status::invalid(format!("{named}: {size} bytes")))?
        }
        _ => 0,
    };
    const SECOND: i64 = 1_000_000_000;
    // What is left is less than a second.
    let nanoseconds = u32::try_from(modified.rem_euclid(SECOND)).unwrap_or(0);
    let special = [(mode::SETUID, 0o4000), (mode::SETGID, 0o2000), (mode::STICKY, 0o1000)];
    let special: u32 = special.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, bit)| bit).sum();
    Ok(Some(Entry {
        path,
        kind,
        mode: (mode & 0o777) | special,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: modified.div_euclid(SECOND), nanoseconds },
        atime: None,
        size,
        xattrs: attributes.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        segments: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_kinds_are_entries() {
        let stat = |bits: u32, link: &str| Stat {
            path: b"a".to_vec(),
            mode: bits | 0o755,
            link: link.as_bytes().to_vec(),
            modified: -1,
            ..Stat::default()
        };
        let found = entry(stat(mode::SETUID, "")).unwrap().unwrap();
        assert_eq!((found.mode, found.kind), (0o4755, EntryKind::File));
        assert_eq!(found.mtime, Time { seconds: -1, nanoseconds: 999_999_999 });
        assert_eq!(entry(stat(0, "b")).unwrap().unwrap().kind, EntryKind::HardLink(b"b".to_vec()));
        assert_eq!(entry(stat(mode::SOCKET, "")).unwrap(), None);
        for wrong in [
            Stat { path: b"a\0".to_vec(), ..stat(0, "") },
            Stat { size: -1, ..stat(0, "") },
            stat(mode::IRREGULAR, ""),
        ] {
            assert!(entry(wrong).is_err());
        }
    }
}
