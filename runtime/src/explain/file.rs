//! The details of operations that make files.

use std::fmt::Write as _;

use pillbox_init::plan::operation::{MakeNode, MakeSymlink, OpenConsole};
use pillbox_init::wire::Wire;

use super::name::{text, word};

pub(super) fn node(step: &MakeNode<'_>) -> String {
    let MakeNode { path, kind, major, minor, mode, uid, gid } = *step;
    let kind = word(kind.value());
    format!("{} {kind} {major}:{minor} mode {:04o} owner {uid}:{gid}", text(path), mode.bits())
}

pub(super) fn symlink(step: &MakeSymlink<'_>) -> String {
    let MakeSymlink { path, target, replace } = *step;
    format!("{} -> {}{}", text(path), text(target), if replace { ", whatever was there" } else { "" })
}

pub(super) fn console(step: &OpenConsole) -> String {
    let OpenConsole { rows, columns, uid, mount } = *step;
    let mut line = format!("owner {uid}");
    if rows != 0 && columns != 0 {
        let _ = write!(line, ", {rows} rows, {columns} columns");
    }
    line + if mount { ", also at /dev/console" } else { "" }
}
