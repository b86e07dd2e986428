//! The files of a cgroup, opened by name relative to the cgroup's descriptor.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};
use rustix::path::Arg;

/// Enough for the whole content of most files.
const USUAL_SIZE: usize = 4096;

/// Opens a cgroup below another. Symbolic links and anything else that is not a directory are errors.
pub fn open_directory(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Opens a file of a cgroup.
pub fn open_file(cgroup: impl AsFd, name: impl Arg, access: OFlags) -> Result<OwnedFd, Errno> {
    openat(cgroup, name, access | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Reads a whole file.
pub fn read_file(cgroup: impl AsFd, name: impl Arg) -> Result<String, Errno> {
    let file = open_file(cgroup, name, OFlags::RDONLY)?;
    let mut content = Vec::with_capacity(USUAL_SIZE);
    while read(&file, rustix::buffer::spare_capacity(&mut content))? > 0 {
        content.reserve(USUAL_SIZE / 4);
    }
    String::from_utf8(content).map_err(|_| Errno::ILSEQ)
}

/// Writes a value in one write(2), as the kernel's handlers expect it.
pub fn write_file(cgroup: impl AsFd, name: impl Arg, value: &str) -> Result<(), Errno> {
    let file = open_file(cgroup, name, OFlags::WRONLY)?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}
