//! What is in a folder. The C library maps memory for each folder that is read, which takes longer than reading a small one.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, RawDir};

/// How many bytes of names are read at once: on the stack, and not cleared first.
const AT_ONCE: usize = 4096;

/// The names of everything in a folder, in no order.
///
/// # Errors
/// It cannot be read.
pub fn names(folder: &Path) -> std::io::Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); AT_ONCE];
    let mut folder = RawDir::new(rustix::fs::open(folder, flags, Mode::empty())?, &mut buffer);
    while let Some(entry) = folder.next() {
        let entry = entry?;
        let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_os_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_are_read() {
        let folder = std::env::temp_dir().join(format!("pillbox-folder-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(names(&folder).unwrap(), [""; 0]);
        // More than are read at once.
        let wanted: Vec<OsString> = (0..500).map(|number| format!("{number:0>200}").into()).collect();
        wanted.iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
        let mut found = names(&folder).unwrap();
        found.sort();
        assert_eq!(found, wanted);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names(&folder).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
