//! Root of a user namespace made by the caller: Podman calls a runtime like this for an ordinary user.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{
    Container, Output, Runtime, copy_program, each_runtime, each_runtime_but, pillbox_only,
};

const USER: u32 = 65534;

/// A container whose bundle belongs to `user`, with what the root of a namespace with one id can have.
fn owned<'r>(runtime: &'r Runtime, user: u32, script: &str) -> Container<'r> {
    let mut container = Container::sh(runtime, script);
    let linux = container.spec["linux"].as_object_mut().expect("linux");
    linux.remove("resources");
    linux.remove("cgroupsPath");
    // Its gid=5 is not mapped in a namespace that has only one id, and a cgroup mount needs rights over its
    // hierarchy.
    let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["type"] != "devpts" && mount["type"] != "cgroup");
    container.spec["process"]["capabilities"] = json!({});
    for path in [&container.folder, &container.bundle(), &container.rootfs(), &container.state_folder()] {
        chown(path, Some(user), Some(user)).expect("chown");
    }
    // Other users may not be able to enter the folder of the build.
    copy_program(&runtime.path, &program(&container));
    container
}

fn program(container: &Container) -> std::path::PathBuf {
    container.folder.join("runtime")
}

/// Becomes `user` and then root of a user namespace, and runs the command that follows.
fn outer(user: u32) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_string()]);
    command.args(["unshare", "--user", "--map-root-user", "--mount"]);
    command.env_remove("XDG_RUNTIME_DIR").env_remove("USER").stdin(std::process::Stdio::null());
    command
}

/// Runs `script` as root of USER's namespace, with the runtime as `$R`, the bundle as `$B` and the id as
/// `$I`.
fn script(container: &Container, script: &str) -> Output {
    container.write_spec();
    container.finish(&mut script_command(container, script))
}

fn script_command(container: &Container, script: &str) -> Command {
    let mut command = outer(USER);
    command.args(["sh", "-ec", script]).env("XDG_RUNTIME_DIR", &container.folder);
    command.env("R", program(container)).env("B", container.bundle()).env("I", &container.id);
    command
}

/// `run` in the foreground, with the default state folder.
fn run(container: &Container) -> Output {
    script(container, "exec $R run --bundle $B $I")
}

/// `unshare -r` alone: the mounts are those of a namespace above.
#[test]
fn it_needs_no_mount_namespace_of_the_callers() {
    each_runtime(|runtime| {
        let mut container = owned(runtime, USER, "id -u; cat /source/file");
        let source = container.folder.join("source");
        fs::create_dir(&source).expect("source");
        fs::write(source.join("file"), "of the host\n").expect("file");
        container.mount("bind", &source, "/source", &["bind", "ro"]);
        container.write_spec();
        let outer = outer(USER);
        let words: Vec<_> =
            outer.get_args().filter(|word| *word != "--mount").map(|word| word.to_owned()).collect();
        let mut command = Command::new(outer.get_program());
        command.args(words).env("XDG_RUNTIME_DIR", &container.folder).stdin(std::process::Stdio::null());
        let output = container.finish(
            command
                .arg(program(&container))
                .args(["run", "--bundle"])
                .arg(container.bundle())
                .arg(&container.id),
        );
        assert_eq!((output.code, output.stdout.as_str()), (0, "0\nof the host\n"), "{output:?}");
    });
}

#[test]
fn it_is_enough() {
    each_runtime_but(&[("runc", "has no --cgroup-manager")], |runtime| {
        for user in [0, USER] {
            let container = owned(runtime, user, "id -u; echo lost > /dev/null; ls /proc/self/exe");
            let inner = container.bundle_command("run", &[]);
            let mut arguments: Vec<_> = inner.get_args().map(|word| word.to_owned()).collect();
            arguments.splice(0..0, ["--cgroup-manager".into(), "disabled".into()]);
            let mut outer = outer(user);
            let output = container.finish(outer.arg(program(&container)).args(arguments));
            assert_eq!((output.code, output.stdout.as_str()), (0, "0\n/proc/self/exe\n"), "{output:?}");
            assert!(!runtime.is("pillbox") || output.stderr.is_empty(), "{output:?}");
        }
    });
}

#[test]
fn its_containers_are_in_xdg_runtime_dir() {
    // /run is not the user's, as on every machine.
    each_runtime(|runtime| {
        let container = owned(runtime, USER, "exit 3");
        // Later commands, in other processes, find it there.
        let script = script(&container, "$R create --bundle $B $I; $R state $I; $R delete --force $I").ok();
        assert!(script.stdout.contains(&container.id), "{script:?}");
        assert!(container.folder.join(&runtime.name).is_dir());
        assert!(!runtime.is("pillbox") || !Path::new("/run/pillbox").join(&container.id).exists());
        container.assert_gone();
    });
}

#[test]
fn check_says_where_its_containers_are() {
    pillbox_only(|runtime| {
        let container = owned(runtime, USER, "true");
        let row = |line: &str| {
            let text = script(&container, line).stdout;
            let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let mut rows = rows.as_array().expect("rows").iter();
            rows.find(|row| row["what"] == "state folder").expect("row").clone()
        };
        let there = row("$R check --format json || :");
        assert_eq!(there["available"], "yes", "{there}");
        assert_eq!(there["detail"], format!("{}/pillbox", container.folder.display()));
        let nowhere = row("unset XDG_RUNTIME_DIR; $R check --format json || :");
        assert_eq!((&nowhere["available"], &nowhere["detail"]), (&json!("no"), &json!("/run/pillbox")));
        assert!(nowhere["remedy"].as_str().expect("remedy").contains("XDG_RUNTIME_DIR"), "{nowhere}");
    });
}

#[test]
fn the_machines_root_has_run_whatever_the_variable_says() {
    // So that containers are found by users who became root in another way.
    each_runtime_but(&[("crun", "follows the variable")], |runtime| {
        let mut container = Container::new(runtime);
        container.spec["process"]["args"] = json!(["sleep", "1000"]);
        let bundle = container.bundle();
        container.write_spec();
        let plain = |arguments: &[&str]| {
            let mut command = runtime.command();
            command.args(arguments).env("XDG_RUNTIME_DIR", &container.folder);
            container.finish(&mut command)
        };
        plain(&["create", "--bundle", bundle.to_str().expect("path"), &container.id]).ok();
        let found = Path::new("/run").join(&runtime.name).join(&container.id).is_dir();
        plain(&["delete", "--force", &container.id]).ok();
        assert!(found && !container.folder.join(&runtime.name).exists());
    });
}

/// What Podman does for `--pid=host`: no pid namespace, and the caller's /proc with the mounts below it.
fn with_the_callers_processes<'r>(runtime: &'r Runtime, script: &str) -> Container<'r> {
    let mut container = owned(runtime, USER, script);
    container.without_namespace("pid");
    let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["destination"] != "/proc");
    container.mount("bind", "/proc", "/proc", &["rbind", "nosuid", "noexec", "nodev"]);
    container.spec["linux"]["sysctl"] = json!({"net.ipv4.ping_group_range": "0 0"});
    container
}

#[test]
fn sysctls_with_the_callers_processes() {
    each_runtime(|runtime| {
        let container = with_the_callers_processes(runtime, "cat /proc/sys/net/ipv4/ping_group_range");
        // runc warns about such containers.
        let output = run(&container);
        assert_eq!((output.code, output.stdout.as_str()), (0, "0\t0\n"), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn a_sysctl_goes_to_no_other_file_with_the_callers_processes() {
    // A new procfs is refused there, and over the bound one there is a mount that keeps a sysctl from being
    // written.
    pillbox_only(|runtime| {
        let mut container = with_the_callers_processes(runtime, "true");
        container.spec["linux"]["sysctl"] = json!({"fs.mqueue.msg_max": "20"});
        let decoy = container.folder.join("decoy");
        let file = decoy.join("mqueue/msg_max");
        fs::create_dir_all(decoy.join("mqueue")).expect("decoy");
        fs::write(&file, "untouched").expect("file");
        chown(&file, Some(USER), Some(USER)).expect("chown");
        let line = format!("mount --bind {} /proc/sys/fs; exec $R run --bundle $B $I", decoy.display());
        script(&container, &line).fails_with("linux.sysctl");
        assert_eq!(fs::read_to_string(&file).expect("file"), "untouched");
        container.assert_gone();
    });
}

#[test]
fn the_callers_cgroups_are_bound_where_they_cannot_be_mounted() {
    each_runtime(|runtime| {
        let mut container = owned(runtime, USER, "ls /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/new");
        container.without_namespace("cgroup");
        container.mount(
            "cgroup",
            "cgroup",
            "/sys/fs/cgroup",
            &["rprivate", "nosuid", "noexec", "nodev", "ro"],
        );
        let output = run(&container);
        assert_eq!((output.code, output.stdout.as_str()), (1, "/sys/fs/cgroup/cgroup.procs\n"), "{output:?}");
        assert!(output.stderr.contains("Read-only file system"), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn without_a_path_the_cgroup_is_beside_the_callers_own() {
    each_runtime(|runtime| {
        let mut container = owned(runtime, USER, "grep ^0:: /proc/self/cgroup");
        container.without_namespace("cgroup");
        let delegated = container.cgroup().with_extension("user");
        let own = delegated.join("own");
        fs::create_dir_all(&own).expect("cgroups");
        for path in [&delegated, &delegated.join("cgroup.procs"), &delegated.join("cgroup.subtree_control")] {
            chown(path, Some(USER), Some(USER)).expect("chown");
        }
        container.write_spec();
        let inner = script_command(&container, "exec $R run --bundle $B $I");
        let mut command = Command::new("sh");
        command.args(["-ec", "echo $$ > $0/cgroup.procs; exec \"$@\""]).arg(&own).arg(inner.get_program());
        command.args(inner.get_args()).stdin(std::process::Stdio::null());
        for (name, value) in inner.get_envs() {
            value.map(|value| command.env(name, value));
        }
        let output = container.finish(&mut command).ok();
        let name = output.stdout.trim_end().strip_prefix(&format!("0::/{}.user/", container.id));
        assert!(name.is_some_and(|name| name.ends_with(&container.id)), "{output:?}");
        // The last process may take a moment to end.
        crate::harness::wait_for("the caller's cgroup to be empty", || fs::remove_dir(&own).ok());
        fs::remove_dir(&delegated).expect("nothing of the container's is left below");
        container.assert_gone();
    });
}

#[test]
fn a_cgroup_that_is_asked_for_and_cannot_be_made_is_an_error() {
    each_runtime(|runtime| {
        let mut container = owned(runtime, USER, "true");
        container.spec["linux"]["cgroupsPath"] = json!(format!("/{}", container.id));
        let output = run(&container);
        assert!(output.code != 0 && output.stderr.to_lowercase().contains("denied"), "{output:?}");
        assert!(!runtime.is("pillbox") || output.stderr.contains("create cgroup"), "{output:?}");
        container.assert_gone();
    });
}
