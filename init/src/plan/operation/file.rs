//! Files inside the root, the console and stdio.

use core::ffi::CStr;

use rustix::fs::Mode;
use rustix::process::{Gid, Uid};

use super::{Fields, operation};
use crate::plan::NodeKind;
use crate::wire::{Reader, Sink, Value, Wire};

operation! {
    /// symlink(2); an existing file must be a symbolic link with the same text.
    CopySymlink<'a> {
        /// Where, inside the root.
        path: &'a CStr,
        /// The link's text.
        target: &'a CStr,
    }
    /// mknod(2), chown(2); an existing node must be the same.
    MakeNode<'a> {
        /// Where, inside the root.
        path: &'a CStr,
        /// Which kind of node.
        kind: NodeKind,
        /// The device's major number.
        major: u32,
        /// Its minor number.
        minor: u32,
        /// The node's mode.
        mode: Mode,
        /// Its owner.
        uid: Uid,
        /// Its group.
        gid: Gid,
    }
    /// symlink(2); an existing file stays.
    MakeSymlink<'a> {
        /// Where, inside the root.
        path: &'a CStr,
        /// The link's text.
        target: &'a CStr,
        /// Whether an existing file is replaced instead.
        replace: bool,
    }
    /// mkdir(2) of a folder and its parents.
    MakeDirectory<'a> {
        /// Where, inside the root.
        path: &'a CStr,
        /// The mode of each folder that is made.
        mode: Mode,
    }
    /// Writes a file below /proc/sys, through a procfs of init's own.
    WriteSysctl<'a> {
        /// The path in procfs.
        path: &'a CStr,
        /// What is written.
        value: &'a CStr,
    }
    /// Opens a pty of the container, hands its master to the runtime, makes the slave stdio.
    OpenConsole {
        /// The terminal's size, unless one of the numbers is 0.
        rows: u16,
        /// See `rows`.
        columns: u16,
        /// The slave's owner.
        uid: Uid,
        /// Whether the slave is mounted on /dev/console as well.
        mount: bool,
    }
    /// fchown(2) of stdio, except where it is the null device; a refusal is no error.
    OwnStdio {
        /// The owner.
        uid: Uid,
        /// The group.
        gid: Gid,
    }
    /// dup2(2) of descriptors that the runtime opened onto stdio.
    ReplaceStdio {
        /// The index of stdin.
        input: u32,
        /// The index of stdout.
        output: u32,
        /// The index of stderr.
        error: u32,
    }
}
