//! The files by which a container finds names. They are made in its state folder, or where its caller
//! wants them, and it sees them by bind mounts: so they
//! are written in place, because the container would not see another file under their names.

use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::error::{Context, Result};

/// In their folder, and in the container.
pub const FILES: [(&str, &str); 3] =
    [("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname")];

/// Writes one of them, or writes it anew.
pub fn write(folder: BorrowedFd<'_>, name: &str, text: &str) -> Result<()> {
    let step = || format!("write the container's {name}");
    // A FIFO in its place is refused at once, and not waited for.
    let flags = OFlags::CREATE
        | OFlags::TRUNC
        | OFlags::WRONLY
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644)).context(step)?;
    // Whatever the umask is: the container's user may be anybody.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).context(step)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes()).context(step)
}

/// Reads one of them; `None` if it is not there, or its container has made something else of it than a text
/// of a reasonable size.
pub fn read(folder: BorrowedFd<'_>, name: &str) -> Option<String> {
    const MAX: u64 = 1 << 20;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = std::fs::File::from(rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?);
    let mut text = Vec::new();
    file.take(MAX + 1).read_to_end(&mut text).ok()?;
    let is_reasonable = text.len() as u64 <= MAX;
    String::from_utf8(text).ok().filter(|_| is_reasonable)
}

/// Removes them. Where that fails, removing the folder says so.
pub fn forget(folder: BorrowedFd<'_>) {
    for (name, _) in FILES {
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
}
