//! Walks the cgroups that a container has made below its own.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, OFlags, unlinkat};
use rustix::io::Errno;

use super::file::{open_directory, open_file};

/// Walks a cgroup and all below it: `enter` is called for each, from the top down; `leave` for each but the
/// top, by parent and name, after everything below it.
///
/// One descriptor at a time and no recursion, because the container decides how deep the tree is.
fn walk(
    top: BorrowedFd<'_>,
    mut enter: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut here = open_directory(top, ".")?;
    enter(here.as_fd())?;
    let mut names: Vec<CString> = Vec::new();
    let mut waiting = vec![children(&here)?];
    while let Some(siblings) = waiting.last_mut() {
        if let Some(name) = siblings.pop() {
            here = match open_directory(&here, name.as_c_str()) {
                Ok(child) => child,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            };
            enter(here.as_fd())?;
            waiting.push(children(&here)?);
            names.push(name);
        } else {
            waiting.pop();
            if let Some(name) = names.pop() {
                here = open_directory(&here, "..")?;
                leave(here.as_fd(), &name)?;
            }
        }
    }
    Ok(())
}

fn children(cgroup: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    // The descriptor at hand is `O_PATH`, which can't be read.
    for entry in Dir::new(open_file(cgroup, ".", OFlags::RDONLY | OFlags::DIRECTORY)?)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Calls `visit` for a cgroup and every one below it.
pub fn for_each(
    top: BorrowedFd<'_>,
    visit: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    walk(top, visit, |_, _| Ok(()))
}

/// Removes all cgroups below `top`; those that still have processes stay, and those above them.
pub fn remove_below(top: BorrowedFd<'_>) -> Result<(), Errno> {
    walk(
        top,
        |_| Ok(()),
        |parent, name| match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::BUSY | Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        },
    )
}
