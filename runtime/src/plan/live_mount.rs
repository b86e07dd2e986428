//! Plans that change the mounts of a running container, where hostile processes may change paths meanwhile.

use pillbox_init::plan::operation::{Await, Ready, Unmount, UnmountOnFailure};
use pillbox_init::plan::{ATTACHED_MAX, Turn};

use super::exec::compile_entering;
use super::{Builder, Host, Intent, Plan, c_string, mount, namespace};
use crate::error::{Error, Result};
use crate::oci::spec::Mount;
use crate::validate::ValidSpec;

/// Adds the mounts of `spec`, which is otherwise the container's. If one fails, the others are unmounted
/// again.
///
/// # Errors
/// As for [`super::compile`]; also for mounts that cannot be added to a running container, by their field.
pub fn compile_added_mounts(spec: &ValidSpec<'_>, host: &Host, intent: &Intent) -> Result<Plan> {
    if spec.mounts.len() > ATTACHED_MAX {
        return Err(Error::formatted(format_args!(
            "mounts: {} are too many to be added at once: {ATTACHED_MAX} at most",
            spec.mounts.len()
        )));
    }
    let mut builder = begin(spec, host, intent)?;
    builder.push(UnmountOnFailure);
    builder.clones_all_before();
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        check_destination(&field, &mount::normalize(&mount.destination))?;
        check_addition(&field, mount, host)?;
    }
    let namespaces = namespace::compile(spec)?;
    let later = mount::compile(&mut builder, spec, &namespaces, intent)?;
    if let Some(target) = later.first() {
        return Err(Error::formatted(format_args!(
            "mounts: {}: it is read-only, and another mount lies below it: leave \"ro\" out",
            target.to_string_lossy()
        )));
    }
    Ok(end(builder, intent))
}

/// Unmounts what is mounted at the destinations of `spec`'s mounts, the last one first. If one is missing,
/// nothing is unmounted.
///
/// # Errors
/// A destination from which nothing may be unmounted, by its field.
pub fn compile_removed_mounts(spec: &ValidSpec<'_>, host: &Host, intent: &Intent) -> Result<Plan> {
    let mut builder = begin(spec, host, intent)?;
    for rehearse in [true, false] {
        for (index, mount) in spec.mounts.iter().enumerate().rev() {
            let (field, destination) = (format!("mounts[{index}]"), mount::normalize(&mount.destination));
            check_destination(&field, &destination)?;
            let (folder, name) = destination.rsplit_once('/').unwrap_or_default();
            let folder = if folder.is_empty() { "/" } else { folder };
            let (folder, name) = (c_string(&field, folder)?, c_string(&field, name)?);
            builder.push(Unmount { folder: &folder, name: &name, rehearse });
        }
    }
    Ok(end(builder, intent))
}

fn begin<'h>(spec: &ValidSpec<'_>, host: &'h Host, intent: &Intent) -> Result<Builder<'h>> {
    let mut builder = Builder::of_container(host, spec);
    compile_entering(&mut builder, spec, intent)?;
    // An init that the runtime cannot follow is killed, and must not be killed in the middle of these: it
    // would undo nothing.
    builder.push(Await { turn: Turn::Pidfd });
    Ok(builder)
}

fn end(mut builder: Builder<'_>, intent: &Intent) -> Plan {
    builder.push(Ready);
    builder.finish(&ValidSpec::default(), intent)
}

/// Refuses changes over and under procfs: its masks must hold, and what the runtime writes there must arrive.
fn check_destination(field: &str, destination: &str) -> Result<()> {
    let why = if destination == "/" {
        "the container's processes stand in its root already"
    } else if destination.split('/').any(|component| component == "..") {
        "write it without \"..\""
    } else if destination == "/proc" || destination.starts_with("/proc/") {
        "nothing may change in /proc while the container runs"
    } else {
        return Ok(());
    };
    Err(Error::formatted(format_args!("{field}.destination: {destination:?}: {why}")))
}

fn check_addition(field: &str, mount: &Mount<'_>, host: &Host) -> Result<()> {
    let has = |word: &str| mount.options.iter().any(|option| &**option == word);
    if let Some(word) = ["remount", "copy-symlink"].into_iter().find(|word| has(word)) {
        return Err(Error::formatted(format_args!(
            "{field}.options: {word:?}: only new mounts can be added, which can be undone after a failure"
        )));
    }
    if mount::needs_host_paths(mount) {
        return Err(Error::formatted(format_args!(
            "{field}.type: {:?}: its source would be looked up inside the container: mount it on the host, and add a bind mount",
            mount.kind.as_deref().unwrap_or_default()
        )));
    }
    if mount::is_bind(mount) && !host.privileged {
        return Err(Error::formatted(format_args!(
            "{field}: a bind mount into a container that runs needs CAP_SYS_ADMIN on the host: run pillbox as root, or \
             have the mount in config.json"
        )));
    }
    match mount.options.iter().find(|option| option.len() > mount::PARAMETER_MAX) {
        Some(_) => Err(Error::formatted(format_args!(
            "{field}.options: one is longer than {} bytes, which cannot be added",
            mount::PARAMETER_MAX
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::json::{List, parse};

    type Compile = fn(&ValidSpec<'_>, &Host, &Intent) -> Result<Plan>;

    fn root() -> Host {
        Host { privileged: true, ..Host::default() }
    }

    fn plan(host: &Host, compile: Compile, mounts: &str) -> Result<Vec<String>> {
        let mounts: List<Mount<'_>> = parse(mounts.as_bytes()).expect("mounts");
        let (spec, intent) = (ValidSpec { mounts, ..ValidSpec::default() }, Intent::default());
        let plan = compile(&spec, host, &intent)?;
        let lines = plan.operations().map(|operation| crate::explain::describe(&operation, &plan));
        let lines: Vec<_> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let entered = lines.iter().position(|line| line == "EnterRoot").expect("EnterRoot");
        Ok(lines[entered + 1..].to_vec())
    }

    #[test]
    fn what_is_added_can_be_undone() {
        let mounts = r#"[{"destination": "/a", "type": "bind", "source": "/b", "options": ["ro"]},
                         {"destination": "a/c", "type": "tmpfs", "options": ["size=1k"]}]"#;
        let expected = [
            "Await until the runtime has init's pidfd",
            "UnmountOnFailure",
            "BindMount /b on /a (ro, rprivate)",
            "Mount tmpfs on /a/c (size=1k), with the mode of what it covers",
            "Ready",
        ];
        assert_eq!(plan(&root(), compile_added_mounts, mounts).expect("plan"), expected);
    }

    #[test]
    fn what_goes_is_looked_at_first_and_goes_from_the_last_to_the_first() {
        let mounts = r#"[{"destination": "/a"}, {"destination": "//a/c/"}]"#;
        let expected = [
            "Await until the runtime has init's pidfd",
            "Unmount /a/c, tried first",
            "Unmount /a, tried first",
            "Unmount /a/c",
            "Unmount /a",
            "Ready",
        ];
        assert_eq!(plan(&Host::default(), compile_removed_mounts, mounts).expect("plan"), expected);
    }

    #[test]
    fn what_cannot_be_added_is_named() {
        for (mount, part) in [
            (r#"{"destination": "/a", "type": "bind", "source": "/b"}"#, "needs CAP_SYS_ADMIN on the host"),
            (r#"{"destination": "/a", "type": "ext4", "source": "/dev/x"}"#, "mounts[0].type: \"ext4\""),
            (r#"{"destination": "/./proc/", "type": "proc"}"#, "nothing may change in /proc"),
            (
                r#"{"destination": "/a", "type": "tmpfs", "options": ["ro"]}, {"destination": "/a/b", "type": "tmpfs"}"#,
                "/a: it is read-only",
            ),
        ] {
            let error = plan(&Host::default(), compile_added_mounts, &format!("[{mount}]"))
                .expect_err(part)
                .to_string();
            assert!(error.contains(part), "{error}");
        }
        let long = "x".repeat(300);
        let mounts = format!(r#"[{{"destination": "/a", "type": "tmpfs", "options": ["{long}"]}}]"#);
        assert!(plan(&root(), compile_added_mounts, &mounts).is_err());
    }
}
