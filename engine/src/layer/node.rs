//! The mode of a file in a folder in which a hostile process may be renaming.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::path::Arg;

use crate::error::{Error, Result};

/// Sets the mode of a FIFO, a socket or a device that has just been made. A link in its place is not followed.
///
/// # Errors
/// Something else stands there by now.
pub fn set_mode(folder: impl AsFd, name: impl Arg, kind: FileType, mode: Mode) -> Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&node)?.st_mode) != kind {
        return Err(Error::invalid("something else stands in its place by now"));
    }
    // It leads to what was opened, whatever the name leads to.
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), mode)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = std::env::temp_dir().join(format!("box-node-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let open = fs::File::open(&folder).expect("the folder");
        rustix::fs::mknodat(&open, "fifo", FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
        set_mode(&open, "fifo", FileType::Fifo, Mode::from_raw_mode(0o640)).expect("set");
        assert_eq!(fs::metadata(folder.join("fifo")).expect("there").permissions().mode() & 0o7777, 0o640);
        symlink("fifo", folder.join("link")).expect("a link");
        set_mode(&open, "link", FileType::Fifo, Mode::from_raw_mode(0o777)).expect_err("it is a link");
        assert_eq!(fs::metadata(folder.join("fifo")).expect("there").permissions().mode() & 0o7777, 0o640);
        fs::remove_dir_all(folder).expect("removed");
    }
}
