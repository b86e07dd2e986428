//! Device nodes, their symlinks, and the container's console.

use pillbox_init::plan::NodeKind;
use pillbox_init::plan::operation::{CopySymlink, MakeNode, MakeSymlink, OpenConsole};
use pillbox_init::report::Stage;
use pillbox_init::sys::Inherited;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::pty::OpenptFlags;

use crate::failure::{At, Failure};
use crate::mount;
use crate::path::{self, PATH_MAX, c_str};

pub fn make_node<'p>(
    container: &OwnedFd,
    folder: &mut path::Folder<'p>,
    step: &MakeNode<'p>,
) -> Result<(), Failure> {
    let MakeNode { path, kind, major, minor, mode, uid, gid } = *step;
    let kind = match kind {
        NodeKind::Character => FileType::CharacterDevice,
        NodeKind::Block => FileType::BlockDevice,
        NodeKind::Fifo => FileType::Fifo,
    };
    let (folder, name) = folder.of(container, path).at(Stage::Target)?;
    let name = c_str(&name)?;
    let device = rustix::fs::makedev(major, minor);
    match rustix::fs::mknodat(folder, name, kind, mode, device) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let status = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same_kind = FileType::from_raw_mode(status.st_mode) == kind;
            let same = same_kind && (kind == FileType::Fifo || status.st_rdev as u64 == device as u64);
            return if same { Ok(()) } else { Err(Errno::EXIST).at(Stage::Verify) };
        }
        Err(errno) => return Err(errno.into()),
    }
    if (uid, gid) != (Uid::ROOT, Gid::ROOT) {
        rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

pub fn make_symlink<'p>(
    container: &OwnedFd,
    folder: &mut path::Folder<'p>,
    step: &MakeSymlink<'p>,
) -> Result<(), Failure> {
    let MakeSymlink { path, target, replace } = *step;
    let (folder, name) = folder.of(container, path).at(Stage::Target)?;
    let name = c_str(&name)?;
    loop {
        match rustix::fs::symlinkat(target, folder, name) {
            // Another container with the same root file system may do the same at this moment.
            Err(Errno::EXIST) if replace => match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            },
            Err(Errno::EXIST) => return Ok(()),
            result => return Ok(result?),
        }
    }
}

pub fn copy_symlink(container: &OwnedFd, step: &CopySymlink<'_>) -> Result<(), Failure> {
    let CopySymlink { path, target } = *step;
    let (folder, name) = path::open_parent(container, path).at(Stage::Target)?;
    let name = c_str(&name)?;
    match rustix::fs::symlinkat(target, &folder, name) {
        Err(Errno::EXIST) => {
            let mut text = [0u8; PATH_MAX];
            // A file that is no symbolic link has no text (EINVAL).
            let length = rustix::fs::readlinkat_raw(&folder, name, &mut text[..]).unwrap_or(0);
            if text[..length] == *target.to_bytes() { Ok(()) } else { Err(Errno::EXIST).at(Stage::Verify) }
        }
        result => Ok(result?),
    }
}

/// Opens a pty of the container's own devpts and makes its slave the controlling terminal and stdio.
pub fn open_console(
    container: &OwnedFd,
    inherited: Inherited,
    step: &OpenConsole,
) -> Result<OwnedFd, Failure> {
    let OpenConsole { rows, columns, uid, mount: also_at_dev_console } = *step;
    const DEVPTS_SUPER_MAGIC: u32 = 0x1cd1;
    let master =
        path::open_with(container, c"/dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY, ResolveFlags::empty())
            .at(Stage::Source)?;
    if rustix::fs::fstatfs(&master)?.f_type as u32 != DEVPTS_SUPER_MAGIC {
        return Err(Errno::NODEV).at(Stage::Verify);
    }
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    if rows != 0 && columns != 0 {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size)?;
    }
    if !uid.is_root() {
        rustix::fs::fchown(&slave, Some(uid), None)?;
    }
    if also_at_dev_console {
        bind_console(container, &slave)?;
    }
    for number in 0..3 {
        inherited.replace(number, slave.as_fd())?;
    }
    rustix::process::ioctl_tiocsctty(&slave)?;
    Ok(master)
}

fn bind_console(container: &OwnedFd, slave: &OwnedFd) -> Result<(), Failure> {
    let (folder, name) = path::open_parent(container, c"/dev/console").at(Stage::Target)?;
    match rustix::fs::mknodat(&folder, c_str(&name)?, FileType::RegularFile, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).at(Stage::Target),
    }
    let target = rustix::fs::openat(
        &folder,
        c_str(&name)?,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(Stage::Target)?;
    let tree = mount::clone_tree(slave, false).at(Stage::Source)?;
    mount::attach(tree.as_fd(), &target)
}
