//! Files that a command writes for its caller: each has its name when it is complete. Whoever is killed before leaves nothing under it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Writes a file with what `write` gives it; errors begin with `flag`, if it has one, and the path. What is no plain file, as a pipe or /dev/null, is written to as it is.
///
/// # Errors
/// `write` failed, or the disk did not take it; a file that was there before is as it was.
pub fn write_output(flag: &str, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let named = || format!("{flag}{}", path.display());
    match std::fs::metadata(path) {
        Ok(status) if status.is_dir() => {
            Err(Error::invalid(format!("{}: it is a folder: name a file in it", named())))
        }
        Ok(status) if !status.is_file() => {
            let mut file = File::options().write(true).open(path).context(named)?;
            write(&mut file).context(named)
        }
        _ => {
            // A link leads to the new file as it did to the old one.
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
            let mut partial = Partial::make(&path).context(named)?;
            write(&mut partial.file).and_then(|()| partial.publish(&path)).context(named)
        }
    }
}

/// Checks that a file can be written there, before work is done that would be for nothing.
///
/// # Errors
/// It is a folder, or in none.
pub fn check_output(flag: &str, path: &Path) -> Result<()> {
    let named = || format!("{flag}{}", path.display());
    if path.is_dir() || path.file_name().is_none() {
        return Err(Error::invalid(format!("{}: it is a folder: name a file in it", named())));
    }
    match folder_of(path).is_dir() {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("{}: there is no folder {}", named(), folder_of(path).display())))
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file without a name, or, where the file system has no such files, with another one.
struct Partial {
    file: File,
    name: PathBuf,
    is_named: bool,
}

impl Partial {
    fn make(path: &Path) -> Result<Partial> {
        let Some(last) = path.file_name() else {
            return Err(Error::invalid("it is no file's name"));
        };
        let folder = folder_of(path);
        let mut hidden = OsString::from(".");
        hidden.push(last);
        hidden.push(format!(".{}", std::process::id()));
        let name = folder.join(hidden);
        let mode = Mode::from_raw_mode(0o666);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags | OFlags::TMPFILE, mode) {
            Ok(file) => Ok(Partial { file: file.into(), name, is_named: false }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let file = rustix::fs::open(&name, flags | OFlags::CREATE | OFlags::TRUNC, mode)?;
                Ok(Partial { file: file.into(), name, is_named: true })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives it its name; what had it is gone.
    fn publish(mut self, path: &Path) -> Result<()> {
        use std::os::fd::AsRawFd;
        self.file.flush()?;
        if !self.is_named {
            let descriptor = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            // One that a killed command with the same number has left.
            let _ = std::fs::remove_file(&self.name);
            rustix::fs::linkat(CWD, descriptor, CWD, &self.name, AtFlags::SYMLINK_FOLLOW)?;
            self.is_named = true;
        }
        std::fs::rename(&self.name, path)?;
        self.is_named = false;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_named {
            // Half a tar is of no use.
            let _ = std::fs::remove_file(&self.name);
        }
    }
}
