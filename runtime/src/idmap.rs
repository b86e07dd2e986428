//! uid_map and gid_map of a new user namespace: user_namespaces(7).

use std::fmt::Write as _;

use rustix::fs::Access;
use rustix::process::Pid;

use crate::error::{Context, Error, Result};
use crate::hooks;
use crate::plan::{Mappings, Method};
use crate::spec::IdMapping;

/// Writes the maps for init, while it waits; those of a namespace that it has joined are compared instead.
///
/// # Errors
/// The map that the kernel or the helper refused, and what it needs.
pub fn write(pid: Pid, mappings: &Mappings) -> Result<()> {
    let pid = pid.as_raw_nonzero();
    match mappings.method {
        Method::Privileged => {
            write_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            write_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
        Method::Own => {
            // Only who gives up setgroups may map a group without rights over it.
            let path = format!("/proc/{pid}/setgroups");
            std::fs::write(&path, "deny").context(|| format!("write {path}"))?;
            write_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            write_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
        Method::Helpers => {
            run_helper("newuidmap", "/etc/subuid", pid.get(), &mappings.uid)?;
            run_helper("newgidmap", "/etc/subgid", pid.get(), &mappings.gid)
        }
        Method::Joined => {
            check_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            check_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
    }
}

/// The kernel takes a whole map in one write(2), of at most a page and 340 lines.
fn write_map(path: &str, field: &str, map: &[IdMapping]) -> Result<()> {
    let mut text = String::new();
    for IdMapping { container_id, host_id, size } in map {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{container_id} {host_id} {size}");
    }
    std::fs::write(path, &text).context(|| format!("{field}: write {path}"))
}

/// The kernel may have sorted the lines.
fn check_map(path: &str, field: &str, wanted: &[IdMapping]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).context(|| format!("{field}: read {path}"))?;
    let mut wanted: Vec<_> = wanted
        .iter()
        .map(|&IdMapping { container_id, host_id, size }| [container_id, host_id, size])
        .collect();
    wanted.sort_unstable();
    if parse_map(&text).is_some_and(|map| map == wanted) {
        return Ok(());
    }
    let lines: Vec<_> =
        text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
    Err(Error::new(format!(
        "{field}: the user namespace that is joined has other ones ({}): write these, or leave them out",
        lines.join(", ")
    )))
}

/// The lines of a map, sorted.
fn parse_map(text: &str) -> Option<Vec<[u32; 3]>> {
    let line = |line: &str| {
        let numbers: Vec<u32> =
            line.split_ascii_whitespace().map(|number| number.parse().ok()).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let mut map: Vec<[u32; 3]> = text.lines().map(line).collect::<Option<_>>()?;
    map.sort_unstable();
    Some(map)
}

fn run_helper(program: &str, granted_in: &str, pid: i32, map: &[IdMapping]) -> Result<()> {
    let path = find_program(program).ok_or_else(|| {
        Error::new(format!(
            "{program}: not found: mapping more than your own id needs it (Debian: package uidmap)"
        ))
    })?;
    let mut arguments = vec![pid.to_string()];
    for IdMapping { container_id, host_id, size } in map {
        arguments.extend([container_id, host_id, size].map(u32::to_string));
    }
    hooks::run_program(&path, &arguments)
        .map_err(|error| Error::new(format!("{program}: {error}: ranges are granted in {granted_in}")))
}

/// Where a program is, along PATH.
fn find_program(name: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_string());
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| rustix::fs::access(path.as_str(), Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_as_the_kernel_writes_them() {
        let text = "      1000     200000          1\n         0     100000       1000\n";
        assert_eq!(parse_map(text), Some(vec![[0, 100_000, 1000], [1000, 200_000, 1]]));
        assert_eq!(parse_map(""), Some(vec![]));
        assert_eq!(parse_map("0 1\n"), None);
    }
}
