//! The files by which a container finds names. They are made in its state folder, or where its caller
//! wants them, and it sees them by bind mounts: so they
//! are written in place, because the container would not see another file under their names.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::error::{Context, Result};

/// In their folder, and in the container.
pub const FILES: [(&str, &str); 3] =
    [("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname")];

/// Writes one of them, or writes it anew.
pub fn write(folder: BorrowedFd<'_>, name: &str, text: &str) -> Result<()> {
    let step = || format!("write the container's {name}");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644)).context(step)?;
    // Whatever the umask is: the container's user may be anybody.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).context(step)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes()).context(step)
}

/// Removes them. Where that fails, removing the folder says so.
pub fn forget(folder: BorrowedFd<'_>) {
    for (name, _) in FILES {
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
}
