//! Files that have their names from the engine. A FIFO or a device in the place of one is an error: whoever opened it as a file would
//! wait for somebody at its other end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::Error;

/// Opens one to read it.
///
/// # Errors
/// It is not there, or is no file.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(File::options().read(true), path)
}

/// Makes one, if it is not there: to be locked, or for its name.
///
/// # Errors
/// It cannot be made, or what is there is no file.
pub fn make(path: &Path) -> io::Result<File> {
    open_with(File::options().append(true).create(true), path)
}

/// Opens one as the options say, which may have no flags of their own.
///
/// # Errors
/// The kernel refuses, or it is no file.
pub fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let opened = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        // What the kernel says of a FIFO that nobody reads.
        Some(number) if number == Errno::NXIO.raw_os_error() => no_file(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// All that is in one.
///
/// # Errors
/// It is not there, is no file, or cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// The same of text.
///
/// # Errors
/// The same; it is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// What is said of everything else.
pub fn no_file() -> io::Error {
    io::Error::other(Error::corrupt("it is no file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn what_is_no_file_is_told_at_once() {
        let folder = std::env::temp_dir().join(format!("pillbox-file-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let said = |opened: io::Result<File>| opened.map_err(Error::from).unwrap_err().to_string();
        for path in ["fifo", "endless", "socket", "."].map(at) {
            assert_eq!(said(open(&path)), "it is no file", "{}", path.display());
        }
        assert_eq!(said(make(&at("fifo"))), "it is no file");
        assert_eq!(said(open_with(File::options().read(true).write(true), &at("fifo"))), "it is no file");
        assert_eq!(open(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(at("file"), "text").unwrap();
        make(&at("file")).unwrap();
        assert_eq!(
            (read(&at("file")).unwrap(), read_text(&at("file")).unwrap()),
            (b"text".to_vec(), "text".into())
        );
        drop(socket);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
