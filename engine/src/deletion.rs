//! Deleting trees, also hostile ones: as deep as their maker liked, with folders that nobody may enter. Others may be deleting the
//! same tree: what is gone is gone.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::{Errno, Result};

/// How many folders are open at once. What lies deeper is moved up first.
const DEPTH_MAX: usize = 64;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Deletes everything in a folder.
///
/// # Errors
/// The kernel refused; some of it is left.
pub fn empty(folder: impl AsFd) -> Result<()> {
    let mut deletion = Deletion { top: folder.as_fd(), moved: 0 };
    // What has been moved up stands in the top folder afterwards.
    loop {
        let before = deletion.moved;
        deletion.empty(folder.as_fd(), 0)?;
        if deletion.moved == before {
            return Ok(());
        }
    }
}

/// Deletes a file or a folder with everything in it.
///
/// # Errors
/// As for [`empty`].
pub fn delete(folder: impl AsFd, name: &CStr) -> Result<()> {
    match unlink(folder.as_fd(), name)? {
        Gone::Yes => Ok(()),
        Gone::NotEmpty => loop {
            let Some(opened) = open(folder.as_fd(), name)? else { return Ok(()) };
            empty(opened)?;
            match rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
                // Somebody else who deletes it has moved something up.
                Err(Errno::NOTEMPTY) => {}
                Err(Errno::NOENT) => return Ok(()),
                done => return done,
            }
        },
    }
}

struct Deletion<'a> {
    top: rustix::fd::BorrowedFd<'a>,
    moved: u64,
}

enum Gone {
    Yes,
    NotEmpty,
}

impl Deletion<'_> {
    fn empty(&mut self, folder: rustix::fd::BorrowedFd<'_>, depth: usize) -> Result<()> {
        for entry in Dir::read_from(folder)? {
            let entry = match entry {
                // The folder itself has gone.
                Err(Errno::NOENT) => return Ok(()),
                entry => entry?,
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match unlink(folder, name)? {
                Gone::Yes => {}
                Gone::NotEmpty if depth == DEPTH_MAX => self.move_up(folder, name)?,
                Gone::NotEmpty => {
                    let Some(opened) = open(folder, name)? else { continue };
                    self.empty(opened.as_fd(), depth + 1)?;
                    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(errno) => return Err(errno),
                    }
                }
            }
        }
        Ok(())
    }

    fn move_up(&mut self, folder: rustix::fd::BorrowedFd<'_>, name: &CStr) -> Result<()> {
        loop {
            self.moved += 1;
            let free = CString::new(format!(".moved-up-{}", self.moved)).map_err(|_| Errno::INVAL)?;
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(folder, name, self.top, &free, flags) {
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(()),
                done => return done,
            }
        }
    }
}

fn unlink(folder: rustix::fd::BorrowedFd<'_>, name: &CStr) -> Result<Gone> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        // Both are what kernels say of a folder.
        Err(Errno::ISDIR | Errno::PERM) => match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => Ok(Gone::NotEmpty),
            Err(Errno::NOENT) => Ok(Gone::Yes),
            done => done.map(|()| Gone::Yes),
        },
        Err(Errno::NOENT) => Ok(Gone::Yes),
        done => done.map(|()| Gone::Yes),
    }
}

/// Opens a folder; one that its owner may not enter, as overlayfs makes in its work folder, is opened up. `None` if it has gone.
fn open(folder: rustix::fd::BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>> {
    let own = Mode::RWXU;
    let enter = || rustix::fs::openat(folder, name, FOLDER, Mode::empty());
    let open_up = |errno| match errno {
        Errno::ACCESS => rustix::fs::chmodat(folder, name, own, AtFlags::empty()).and_then(|()| enter()),
        errno => Err(errno),
    };
    let opened = match enter().or_else(open_up) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    // Of what may be read but not changed.
    if !rustix::process::geteuid().is_root() {
        rustix::fs::fchmod(&opened, own)?;
    }
    Ok(Some(opened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    #[test]
    fn several_delete_the_same_tree() {
        let path = std::env::temp_dir().join(format!("box-deletions-{}", std::process::id()));
        for _ in 0..20 {
            let deep = path.join("deep/".repeat(DEPTH_MAX + 20));
            for folder in ["", "a", "b", "a/c"].map(|name| path.join(name)).iter().chain([&deep]) {
                std::fs::create_dir_all(folder).unwrap();
                (0..20).for_each(|number| std::fs::write(folder.join(number.to_string()), "").unwrap());
            }
            let name = CString::new(path.to_str().unwrap()).unwrap();
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| delete(CWD, &name))).collect();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
            assert!(!path.exists());
        }
    }

    #[test]
    fn trees_of_any_depth_are_deleted() {
        let path = std::env::temp_dir().join(format!("box-deletion-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let top: OwnedFd = std::fs::File::open(&path).unwrap().into();
        let mut folder = top.try_clone().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&folder, c"deeper", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&folder, c"beside", Mode::empty()).unwrap();
            rustix::fs::symlinkat(c"/", &folder, c"link").unwrap();
            folder = rustix::fs::openat(&folder, c"deeper", FOLDER, Mode::empty()).unwrap();
        }
        let name = CString::new(path.to_str().unwrap()).unwrap();
        delete(CWD, &name).unwrap();
        assert!(!path.exists());
    }
}
