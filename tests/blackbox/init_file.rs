//! Init's file if memfds may not be executed or do not exist: the tests of CVE-2019-5736 pass there too.

use std::process::Command;

use serde_json::json;

use crate::harness::{Container, Output, copy_program, pillbox_only, skip};

/// Runs `script` with the runtime as `$R`, the bundle as `$B` and the id as `$I`, in a pid namespace of its
/// own, which has its own setting.
fn without_executable_memfds(container: &Container, script: &str) -> Option<Output> {
    if !std::path::Path::new("/proc/sys/vm/memfd_noexec").exists() {
        skip("this kernel has no vm.memfd_noexec");
        return None;
    }
    container.write_spec();
    let program = container.folder.join("runtime");
    copy_program(&container.runtime.path, &program);
    let runtime = format!("{} --root {}", program.display(), container.state_folder().display());
    let script = format!("echo 2 > /proc/sys/vm/memfd_noexec; {script}");
    let mut command = Command::new("unshare");
    command.args([
        "--pid",
        "--fork",
        "--mount",
        "--mount-proc",
        "--propagation",
        "private",
        "sh",
        "-ec",
        &script,
    ]);
    command.env("R", runtime).env("B", container.bundle()).env("I", &container.id);
    Some(container.finish(command.stdin(std::process::Stdio::null())))
}

/// Like the test for a memfd in [`crate::security`]; against root the file is protected only by its mount.
const OVERWRITES: &str = r#"
    $R create --bundle $B $I
    pid=$($R state $I | tr -d ' ,' | sed -n 's/"pid"://p')
    exec 9< /proc/$pid/exe
    ! (echo overwritten >> /proc/$pid/exe) 2> /dev/null
    $R start $I
    until $R state $I | grep -q stopped; do sleep 0.02; done
    (echo overwritten >> /proc/self/fd/9) 2> /dev/null && echo overwritten
    chmod 777 /proc/self/fd/9 2> /dev/null && echo changed
    mount --bind /proc/self/fd/9 $B/config.json 2> /dev/null && echo bound
    mount -o remount,rw,bind /proc/self/fd/9 2> /dev/null && echo remounted
    readlink /proc/self/fd/9
    $R delete $I
"#;

#[test]
fn it_is_on_a_mount_that_nobody_can_write_to() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        let Some(output) = without_executable_memfds(&container, OVERWRITES) else { return };
        assert_eq!(output.ok().stdout, "/pillbox (deleted)\n");
        container.assert_gone();

        container.spec["process"]["args"] = json!(["/bin/sh", "-c", "echo first; sleep 1000"]);
        let script = r#"
            $R run --detach --bundle $B $I > /dev/null
            $R exec $I sh -c 'for exe in /proc/[0-9]*/exe; do (echo overwritten >> $exe) 2> /dev/null && readlink $exe; done; echo second'
            $R delete --force $I"#;
        let output = without_executable_memfds(&container, script).expect("as before").ok();
        assert_eq!(output.stdout, "second\n");
        container.assert_gone();
    });
}

#[test]
fn it_has_a_row_of_what_check_says() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        let Some(output) = without_executable_memfds(&container, "${R% --root*} check") else { return };
        let line = output.stdout.lines().find(|line| line.contains("executable memory")).expect("a row");
        assert!(line.starts_with("yes") && line.contains("a private tmpfs"), "{output:?}");
        assert_eq!(output.code, 0);
    });
}

/// The tmpfs belongs to a user namespace of its own.
#[test]
fn an_ordinary_user_has_one_as_well() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        container.with_namespace("user", None);
        for path in
            [container.folder.clone(), container.bundle(), container.rootfs(), container.state_folder()]
        {
            std::os::unix::fs::chown(path, Some(1000), Some(1000)).expect("chown");
        }
        // A user can't have device filters or the root of a cgroup namespace.
        container.without_namespace("cgroup").spec["linux"]["resources"] = json!({});
        container.spec["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|mount| mount["destination"] == "/proc" || mount["destination"] == "/dev");
        // Root looks at the file, because the user may not.
        let as_user = "setpriv --reuid=1000 --regid=1000 --clear-groups --bounding-set=-all";
        let script = OVERWRITES.replace("$R ", &format!("{as_user} $R --cgroup-manager disabled "));
        let Some(output) = without_executable_memfds(&container, &script) else { return };
        assert_eq!(output.ok().stdout, "/pillbox (deleted)\n");
        container.assert_gone();
        let check = without_executable_memfds(&container, &format!("exec {as_user} ${{R% --root*}} check"));
        let output = check.expect("as before");
        let line = output.stdout.lines().find(|line| line.contains("executable memory")).expect("a row");
        assert!(line.starts_with("yes") && line.contains("a private tmpfs"), "{output:?}");
    });
}

/// Neither mounts nor user namespaces are possible: the error names the setting.
#[test]
fn who_has_no_place_for_it_is_told_the_setting() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        // The limit belongs to a user namespace of this test.
        let script =
            "exec unshare --user --map-root-user --mount sh -ec 'echo 0 > /proc/sys/user/max_user_namespaces
            exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all ${R% --root*} check'";
        let Some(output) = without_executable_memfds(&container, script) else { return };
        let line = output.stdout.lines().find(|line| line.contains("executable memory")).expect("a row");
        assert!(line.starts_with("no") && output.stdout.contains("sysctl vm.memfd_noexec=1"), "{output:?}");
        assert_eq!(output.code, 1);
    });
}

/// The runtime runs in an outer container whose filter does not know memfd_create(2), or forbids it.
#[test]
fn an_outer_sandbox_may_forbid_memfds() {
    pillbox_only(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        container.write_spec();
        let inner = container.bundle_command("run", &[]);
        let words: Vec<_> = std::iter::once(inner.get_program()).chain(inner.get_args()).collect();
        let words: Vec<_> = words.into_iter().map(|word| word.to_str().expect("UTF-8")).collect();
        // ENOSYS, EPERM, EACCES.
        for errno in [38, 1, 13] {
            let mut outer = Container::new(runtime);
            outer.spec["mounts"].as_array_mut().expect("mounts").retain(|mount| mount["type"] != "cgroup");
            outer.mount("none", "/sys/fs/cgroup", "/sys/fs/cgroup", &["rbind"]);
            outer.mount("none", &runtime.path, runtime.path.to_str().expect("path"), &["bind"]);
            outer.mount("none", &container.folder, container.folder.to_str().expect("path"), &["bind"]);
            outer.without_namespace("cgroup").spec["process"]["args"] = json!(words);
            for set in ["bounding", "effective", "permitted"] {
                outer.spec["process"]["capabilities"][set] = json!([
                    "CAP_SYS_ADMIN",
                    "CAP_SYS_CHROOT",
                    "CAP_MKNOD",
                    "CAP_SETUID",
                    "CAP_SETGID",
                    "CAP_SETPCAP",
                    "CAP_DAC_OVERRIDE",
                    "CAP_CHOWN",
                    "CAP_FOWNER",
                    "CAP_NET_ADMIN",
                    "CAP_BPF",
                    "CAP_SYS_PTRACE",
                    "CAP_DAC_READ_SEARCH",
                    "CAP_KILL",
                    "CAP_AUDIT_WRITE",
                    "CAP_NET_BIND_SERVICE",
                    "CAP_PERFMON",
                    "CAP_SYS_RESOURCE"
                ]);
            }
            for field in ["maskedPaths", "readonlyPaths"] {
                outer.spec["linux"].as_object_mut().expect("linux").remove(field);
            }
            outer.spec["linux"]["resources"] = json!({});
            outer.spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["memfd_create"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]
            });
            assert_eq!(outer.run_ok(), "ran\n", "errno {errno}");
            outer.assert_gone();
            container.assert_gone();
        }
    });
}
