//! Existing mount trees: opened, cloned, and opened again if one cannot be attached.

use core::ffi::CStr;

use pillbox_init::plan::Tree;
use pillbox_init::report::Stage;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::channel::Channel;
use crate::descriptor::Descriptors;
use crate::failure::Failure;
use crate::path::{self, Root};

/// A tree that init opened, or one that it was given.
pub enum TreeFd<'p> {
    Owned(OwnedFd),
    Borrowed(BorrowedFd<'p>),
}

impl AsFd for TreeFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            TreeFd::Owned(fd) => fd.as_fd(),
            TreeFd::Borrowed(fd) => *fd,
        }
    }
}

/// A detached mount tree, which is opened now if the runtime has not opened it.
pub(super) fn open<'p>(
    root: &Root,
    descriptors: &Descriptors<'p>,
    tree: Tree<'_>,
) -> Result<TreeFd<'p>, Errno> {
    match tree {
        Tree::Descriptor(index) => descriptors.get(index).map(TreeFd::Borrowed),
        Tree::Path { path, recursive, nofollow } => {
            let mut flags = OpenTreeFlags::empty();
            flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
            flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, nofollow);
            open_path(path, flags).map(TreeFd::Owned)
        }
        Tree::Inside { path, recursive, nofollow } => {
            let mut flags = OFlags::PATH;
            flags.set(OFlags::NOFOLLOW, nofollow);
            let place = path::open_with(root.get()?, path, flags, ResolveFlags::empty())?;
            clone_tree(&place, recursive).map(TreeFd::Owned)
        }
    }
}

/// A clone of what is mounted at a path in the namespace where init started.
pub(super) fn open_path(path: &CStr, flags: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    open_tree(CWD, path, flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

pub fn clone_tree(of: impl AsFd, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(of, c"", flags)
}

/// Attaches a tree, and returns what was attached. If a mount namespace is pinned in the tree (snapd's at
/// /run/snapd/ns), the kernel refuses it in a namespace with a higher number: then the runtime opens the tree
/// again, in a way that leaves such pins out.
pub(super) fn attach_tree<'p>(
    channel: &mut Channel<'_>,
    of: Tree<'_>,
    tree: TreeFd<'p>,
    mut attach: impl FnMut(BorrowedFd<'_>) -> Result<(), Failure>,
) -> Result<TreeFd<'p>, Failure> {
    let refused = match (attach(tree.as_fd()), of) {
        (Err(failure), Tree::Descriptor(index))
            if failure.errno() == Errno::LOOP && failure.stage() == Stage::Attach =>
        {
            (failure, index)
        }
        (attached, _) => return attached.map(|()| tree),
    };
    match channel.take_attachable(refused.1)? {
        Some(tree) => {
            let tree = TreeFd::Owned(tree);
            attach(tree.as_fd()).map(|()| tree)
        }
        None => Err(refused.0),
    }
}
