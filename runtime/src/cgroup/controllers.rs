//! Turns on the controllers that limits need, in every cgroup above a container's.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::file::{open_directory, read_file, write_file};
use super::{CgroupPath, Hierarchy};
use crate::error::{Context, Error, Kind, Result};
use crate::resources::{Exception, FileWrite};

/// A controller, and the first field of the configuration that needs it.
struct Need<'a> {
    controller: &'a str,
    field: &'a str,
}

/// Each controller once. A write that only restates a default needs none.
fn needs<'a>(writes: &'a [FileWrite<'_>]) -> Vec<Need<'a>> {
    let mut needs: Vec<Need> = Vec::new();
    for FileWrite { file: _, value: _, controller, field, exception } in writes {
        let Some(controller) = controller else { continue };
        if *exception != Exception::Default && needs.iter().all(|need| need.controller != controller) {
            needs.push(Need { controller, field });
        }
    }
    needs
}

/// Whether the writes limit nothing.
pub fn limit_nothing(writes: &[FileWrite<'_>]) -> bool {
    needs(writes).is_empty()
}

/// The controllers missing from a list as the kernel writes it (`cpu memory pids`).
fn missing<'n, 'a>(needs: &'n [Need<'a>], list: &str) -> Vec<&'n Need<'a>> {
    needs.iter().filter(|need| !list.split_whitespace().any(|has| has == need.controller)).collect()
}

/// Makes sure that children of `parent`, the cgroup above `path`, have all controllers that `writes` need.
///
/// Reads one file if they are on already, none if nothing is needed.
///
/// # Errors
/// The hierarchy does not have the controller (the error names it and the field), or a cgroup on the way has
/// processes or belongs to another user.
pub fn enable(
    hierarchy: &Hierarchy,
    path: &CgroupPath,
    parent: BorrowedFd<'_>,
    writes: &[FileWrite<'_>],
) -> Result<()> {
    let needs = needs(writes);
    if needs.is_empty() {
        return Ok(());
    }
    let subtree = read_file(parent, "cgroup.subtree_control");
    if missing(&needs, &subtree.context(|| format!("read cgroup.subtree_control above {path}"))?).is_empty() {
        return Ok(());
    }
    let available = read_file(hierarchy.root(), "cgroup.controllers")
        .context(|| format!("read {}/cgroup.controllers", hierarchy.mount().display()))?;
    if let Some(Need { controller, field }) = missing(&needs, &available).first() {
        return Err(Error::formatted(format_args!(
            "{field}: the cgroup controller `{controller}` is not available under {} (there are: {}); \
             it may be compiled out, disabled or in use by cgroup v1",
            hierarchy.mount().display(),
            if available.trim().is_empty() { "none" } else { available.trim() }
        ))
        .or_kind(Kind::Limit));
    }
    enable_in(hierarchy.root(), "/", &needs)?;
    let mut here = None;
    let mut name = String::new();
    for component in path.parents() {
        name = format!("{name}/{component}");
        let above = here.as_ref().map_or(hierarchy.root(), AsFd::as_fd);
        let cgroup = open_directory(above, component).context(|| format!("open cgroup {name}"))?;
        enable_in(cgroup.as_fd(), &name, &needs)?;
        here = Some(cgroup);
    }
    Ok(())
}

fn enable_in(cgroup: BorrowedFd<'_>, name: &str, needs: &[Need]) -> Result<()> {
    let file = || format!("cgroup.subtree_control of cgroup {name}");
    let enabled = read_file(cgroup, "cgroup.subtree_control").context(|| format!("read {}", file()))?;
    let missing = missing(needs, &enabled);
    let Some(first) = missing.first() else { return Ok(()) };
    let list: Vec<_> = missing.iter().map(|need| format!("+{}", need.controller)).collect();
    let list = list.join(" ");
    write_file(cgroup, "cgroup.subtree_control", &list).map_err(|errno| {
        let why: Cow<str> = match errno {
            Errno::BUSY => {
                "it has processes of its own, and such a cgroup can't have children with limits".into()
            }
            Errno::OPNOTSUPP => "it is threaded".into(),
            errno => crate::error::describe_errno(errno).into(),
        };
        Error::formatted(format_args!("{}: write '{list}' to {}: {why}", first.field, file()))
            .or_kind(Kind::Limit)
    })
}
