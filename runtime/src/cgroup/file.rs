//! The files of a cgroup, by name below the cgroup's descriptor.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};
use rustix::path::Arg;

/// Room for all that most of the files ever have to say.
const USUAL_SIZE: usize = 4096;

/// Opens a cgroup below another; a symlink is an error, and so is anything else that is no directory.
pub fn open_directory(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Opens one of the files of a cgroup.
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
