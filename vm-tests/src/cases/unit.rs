//! What systemd reports about a container's unit.

use std::fs;
use std::path::Path;

use super::container::{Container, wait_until};
use super::expectation::equal;
use super::{Guest, Manager};

/// Runs systemctl for the manager of this case's containers, and returns its output; it must succeed.
pub fn systemctl(guest: &Guest, arguments: &[&str]) -> Result<String, String> {
    let mut command = guest.command("/usr/bin/systemctl");
    if guest.manager == Manager::User {
        command.arg("--user");
    }
    println!("$ systemctl {}", arguments.join(" "));
    let output = command.args(arguments).output().map_err(|e| format!("systemctl: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("systemctl {}: {}", arguments.join(" "), output.status)),
    }
}

/// Compares properties in the output of `systemctl show`.
pub fn shows(guest: &Guest, unit: &str, expected: &[(&str, &str)]) -> Result<(), String> {
    let properties: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let text = systemctl(guest, &["show", "--property", &properties.join(","), unit])?;
    expected.iter().try_for_each(|(name, value)| {
        let shown = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        equal(&format!("{unit}: {name}"), shown, Some(*value))
    })
}

/// Compares files of the container's cgroup.
pub fn has_files(container: &Container<'_>, expected: &[(&str, &str)]) -> Result<(), String> {
    expected.iter().try_for_each(|(file, value)| equal(file, container.cgroup_file(file)?.as_str(), *value))
}

/// Waits a moment until systemd no longer knows the container's unit and its cgroup is gone.
pub fn is_gone(guest: &Guest, container: &Container<'_>) -> Result<(), String> {
    wait_until("its cgroup is gone", || Ok(!container.cgroup().exists()))?;
    let unit = container.unit();
    wait_until("its unit is gone", || {
        Ok(systemctl(guest, &["show", "--property", "LoadState,ActiveState", &unit])?
            == "LoadState=not-found\nActiveState=inactive\n")
    })
}

/// The cgroup of a process, as a path below the hierarchy's root.
pub fn cgroup_of(process: u64) -> Result<String, String> {
    let path = format!("/proc/{process}/cgroup");
    let text = fs::read_to_string(Path::new(&path)).map_err(|e| format!("{path}: {e}"))?;
    Ok(text.trim_end().trim_start_matches("0::").to_owned())
}
