//! The mounts of a mount namespace as in /proc/self/mountinfo: proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::error::{Context, Result};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount<'t> {
    /// Its id.
    pub id: &'t str,
    /// The id of the mount that it is mounted on; its own id for the kernel's first root.
    pub parent: &'t str,
    /// The folder of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted, as seen from the process's root.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: &'t str,
}

/// Reads the mountinfo of the calling process.
///
/// # Errors
/// There is no procfs.
pub fn read() -> Result<Vec<u8>> {
    std::fs::read("/proc/self/mountinfo").context(|| "read /proc/self/mountinfo")
}

/// Parses a mountinfo; incomplete lines are skipped.
pub fn parse(text: &[u8]) -> impl DoubleEndedIterator<Item = Mount<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line)
}

fn parse_line(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field| std::str::from_utf8(field).ok();
    let (id, parent) = (text(fields.next()?)?, text(fields.next()?)?);
    let (root, point) = (fields.nth(1)?, fields.next()?);
    // A lone hyphen ends the optional fields (`shared:1`).
    fields.find(|field| *field == b"-")?;
    Some(Mount { id, parent, root: unescape(root), point: unescape(point), kind: text(fields.next()?)? })
}

/// Turns the kernel's `\040` and the like back into bytes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
41 31 0:38 /part /a\\040b\\011\\012\\134c rw shared:9 master:2 - cgroup2 c\\040d rw
50 22 0:39 / /m\xff rw - tmpfs none rw
";

    #[test]
    fn fields_are_told_apart_and_paths_are_bytes() {
        let mounts: Vec<_> = parse(TEXT).collect();
        assert_eq!(mounts.len(), 3);
        let second = Mount {
            id: "41",
            parent: "31",
            root: "/part".into(),
            point: "/a b\t\n\\c".into(),
            kind: "cgroup2",
        };
        assert_eq!(mounts[1], second);
        assert_eq!(mounts[2].point, PathBuf::from(OsString::from_vec(b"/m\xff".to_vec())));
    }

    #[test]
    fn truncated_lines_are_no_mounts() {
        for end in 0..TEXT.len() {
            let whole = TEXT[..end].iter().filter(|byte| **byte == b'\n').count();
            let count = parse(&TEXT[..end]).count();
            // A line counts if it has at least a part of its type.
            assert!(count == whole || count == whole + 1, "{end}");
        }
        assert_eq!(parse(b"22 1 8:1 / / rw,relatime -").count(), 0);
    }

    #[test]
    fn what_is_no_number_stays() {
        assert_eq!(unescape(b"\\04\\9990"), PathBuf::from("\\04\\9990"));
    }

    #[test]
    fn this_process_has_a_root() {
        let text = read().expect("mountinfo");
        assert!(parse(&text).any(|mount| mount.point.as_os_str() == "/"));
    }
}
