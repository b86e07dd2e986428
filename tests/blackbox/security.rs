//! Regressions of the runtimes' own security advisories, as far as no other module has them. Where each of
//! them is tested:
//!
//! | advisory | what went wrong | test |
//! |---|---|---|
//! | 2016-3697, crun 2026-30892 | a user's number taken for a name | `exec::strict_user_ids` |
//! | 2019-5736 | the runtime overwritten through /proc/PID/exe | here |
//! | 2019-16884 | a mount over /proc | `mounts::mounts_over_proc_are_refused` |
//! | 2019-19921, 2023-27561, 2023-28642 | /proc or /sys as a symlink | `mounts::proc_or_sys_as_a_symlink_is_refused` |
//! | 2019-18837, LXC 2015-1335 | a mount's target behind a symlink | `mounts::a_destination_through_a_symlink_stays_inside` |
//! | 2021-30465, 2024-45310 | a target swapped meanwhile | here |
//! | 2021-43784 | too many id mappings | here |
//! | 2022-29162, 2022-27650 | inheritable capabilities | `exec::an_added_capability_is_not_inheritable`, `process::root_has_its_bounding_set` |
//! | 2024-21626 | a leaked descriptor as working folder | here |
//! | 2025-31133 | a /dev/null that is none | here |
//! | runc 2026-41579, crun 2026-47766 | /dev as a symlink | `filesystem::a_dev_of_the_image_that_points_outside_is_harmless` |
//! | bubblewrap 2020-5291 | setuid | here |

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Container, decoy, each_runtime, pillbox_only, while_swapped};

/// The decoy has its marker unchanged, and nothing else.
#[track_caller]
fn assert_untouched(decoy: &Path) {
    let names: Vec<_> =
        fs::read_dir(decoy).expect("decoy").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["marker"]);
    assert_eq!(fs::read_to_string(decoy.join("marker")).expect("marker"), "untouched");
}

/// CVE-2019-5736: the program behind /proc/PID/exe of a created container is not the runtime's file, and not
/// writable.
#[test]
fn the_runtime_cannot_be_overwritten_through_proc_exe() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create().ok();
        let program = fs::File::open(format!("/proc/{}/exe", container.pid())).expect("exe");
        container.start().ok();
        container.wait_status("stopped");
        let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&program));
        // No process executes it any more, so it is not ETXTBSY that protects it.
        let again = fs::OpenOptions::new().write(true).open(again);
        let (seen, own) =
            (program.metadata().expect("metadata"), fs::metadata(&runtime.path).expect("runtime"));
        if (seen.dev(), seen.ino()) == (own.dev(), own.ino()) {
            // crun's own file on a read-only mount: opening it must fail.
            assert!(again.is_err());
            return;
        }
        let written = again.and_then(|mut file| std::io::Write::write_all(&mut file, b"overwritten"));
        assert!(written.is_err());
    });
}

/// CVE-2019-5736: the same with an image whose program is the runtime itself, while other programs of the
/// image wait to write.
#[test]
fn an_entrypoint_that_executes_the_runtime() {
    each_runtime(|runtime| {
        let before = fs::read(&runtime.path).expect("runtime");
        let writer =
            "echo ready; while :; do for exe in /proc/[0-9]*/exe; do (echo overwritten > $exe) 2>/dev/null
            (echo overwritten >> $exe) 2>/dev/null; done; done";
        let mut container = Container::sh(runtime, writer);
        let entry = container.rootfs().join("bin/entry");
        fs::write(&entry, "#!/proc/self/exe\n").expect("entry");
        fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("chmod");
        container.create_and_start().wait_for("ready");
        // How it ends does not matter.
        for _ in 0..20 {
            container.call(&["exec", &container.id, "/bin/entry"]);
        }
        container.call(&["exec", &container.id, "/proc/self/exe", "spec"]);
        container.delete_force().ok();
        container.spec["process"]["args"] = json!(["/bin/entry"]);
        container.run();
        container.delete_force().ok();
        assert!(before == fs::read(&runtime.path).expect("runtime"), "overwritten");
        container.spec["process"]["args"] = json!(["/bin/echo", "ran"]);
        assert_eq!(container.run_ok(), "ran\n");
    });
}

/// CVE-2024-21626: no descriptor that the caller or the runtime has open leads out.
#[test]
fn no_descriptor_is_a_working_folder() {
    each_runtime(|runtime| {
        let script =
            "cat run/pillbox-test/busybox ../run/pillbox-test/busybox ../../../etc/hostname | wc -c; pwd";
        let mut container = Container::sh(runtime, script);
        let running = Container::sleeping(runtime);
        running.create_and_start().wait_for("ready");
        let step = if runtime.is("pillbox") { 1 } else { 8 };
        for number in (3..100).step_by(step).chain([77]) {
            let folder = format!("/proc/self/fd/{number}");
            container.spec["process"]["cwd"] = json!(folder);
            let run = container.bundle_command("run", &[]);
            let exec = running.command(&["exec", "--cwd", &folder, &running.id, "/bin/sh", "-c", script]);
            for call in [run, exec] {
                let mut shell = Command::new("bash");
                shell.args(["-c", "exec \"$@\" 77</ 3</ 10</", "bash"]);
                let output = container.finish(shell.arg(call.get_program()).args(call.get_args()));
                let inside = output.stdout.is_empty() || output.stdout.starts_with("0\n/");
                assert!(inside && !output.stdout.contains("(unreachable)"), "{number}: {output:?}");
            }
            container.delete_force();
        }
    });
}

/// CVE-2021-30465, CVE-2024-45310: a folder of a shared volume is swapped with a symbolic link while it is
/// mounted on.
#[test]
fn a_target_swapped_for_a_symlink() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "true");
        let outside = decoy(&container.folder);
        let volume = container.folder.join("volume");
        fs::create_dir_all(volume.join("a")).expect("volume");
        // The link leads to the host's decoy, from the host as well as from the container's root.
        symlink(&outside, volume.join("b")).expect("symlink");
        container.mount("none", &volume, "/volume", &["rbind"]).mount("tmpfs", "tmpfs", "/volume/a/n", &[]);
        container.mount("none", outside.join("marker"), "/volume/a/file", &["bind"]);
        while_swapped(&volume.join("a"), &volume.join("b"), || {
            for _ in 0..if runtime.is("pillbox") { 150 } else { 15 } {
                // The race may end in success or an error, but never with a trace outside.
                container.run();
                assert_untouched(&outside);
                container.assert_gone();
            }
        });
    });
}

/// CVE-2025-31133: the image's own /dev/null, which is not the null device, as the source of masks.
#[test]
fn a_null_device_that_is_none_masks_nothing_wrongly() {
    each_runtime(|runtime| {
        for kind in ["symlink", "file", "missing"] {
            let mut container = Container::sh(runtime, "cat /etc/secret; echo written > /etc/secret");
            let outside = decoy(&container.folder);
            let null = container.rootfs().join("dev/null");
            match kind {
                "symlink" => symlink(outside.join("marker"), &null).expect("symlink"),
                "file" => fs::write(&null, "").expect("file"),
                _ => {}
            }
            fs::write(container.rootfs().join("etc/secret"), "secret\n").expect("file");
            let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| !mount["destination"].as_str().expect("destination").starts_with("/dev"));
            container.spec["linux"]["maskedPaths"] = json!(["/etc/secret"]);
            let output = container.run();
            assert!(!output.stdout.contains("secret"), "{kind}: {output:?}");
            assert_eq!(fs::read_to_string(container.rootfs().join("etc/secret")).expect("file"), "secret\n");
            assert_untouched(&outside);
            container.assert_gone();
        }
    });
}

/// CVE-2021-43784: more id mappings than fit into 64 KiB are an error or are written exactly, but never
/// others.
#[test]
fn more_mappings_than_the_kernel_takes() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "wc -l < /proc/self/uid_map");
        let lines = |count: u32| -> Vec<_> {
            (0..count).map(|n| json!({"containerID": n, "hostID": 100_000 + 2 * n, "size": 1})).collect()
        };
        container.with_namespace("user", None);
        container.spec["linux"]["uidMappings"] = json!(lines(9000));
        container.spec["linux"]["gidMappings"] = json!(lines(1));
        let output = container.run();
        assert!(output.code > 0 && !output.stderr.is_empty(), "{output:?}");
    });
}

/// The class of CVE-2020-5291: pillbox must not be installed setuid root, and if it is, it refuses to run.
#[test]
fn a_setuid_copy_refuses() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        let program = container.folder.join("setuid");
        fs::copy(&runtime.path, &program).expect("copy");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("chmod");
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        let output =
            container.finish(setpriv.args(["run", "--bundle"]).arg(container.bundle()).arg(&container.id));
        output.fails_with("setuid");
        container.assert_gone();
    });
}

/// The state folder decides what a privileged runtime does: one that others can write to is refused.
#[test]
fn a_state_folder_of_somebody_else_is_refused() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        let state = container.state_folder();
        let create = || container.finish(&mut container.bundle_command("create", &[]));
        std::os::unix::fs::chown(&state, Some(65534), None).expect("chown");
        create().fails_with(state.to_str().expect("path"));
        std::os::unix::fs::chown(&state, Some(0), None).expect("chown");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("chmod");
        create().fails_with(state.to_str().expect("path"));
        container.assert_gone();
    });
}

/// A process that may chroot can leave a chroot, and exec would know nothing of it: --no-pivot must not lead
/// to the host's root.
#[test]
fn no_pivot_does_not_lead_to_the_hosts_root() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        let outside = decoy(&container.folder);
        fs::set_permissions(&container.folder, fs::Permissions::from_mode(0o755)).expect("chmod");
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        container.with_namespace("user", None);
        container.spec["linux"]["uidMappings"] = map.clone();
        container.spec["linux"]["gidMappings"] = map;
        container.finish(&mut container.bundle_command("create", &["--no-pivot"])).ok();
        container.start().ok();
        let marker = outside.join("marker");
        let script = format!("cat {} 2>&1; cd /../../..; ls -d proc", marker.display());
        let output = container.call(&["exec", &container.id, "sh", "-c", &script]).ok().stdout;
        assert!(!output.contains("untouched") && output.ends_with("proc\n"), "{output}");
        container.delete_force().ok();
    });
}

/// An endless /etc/passwd in the image must neither block `create` nor decide anything.
#[test]
fn a_passwd_without_end_is_none() {
    pillbox_only(|runtime| {
        let mut container = Container::sh(runtime, "echo $HOME");
        container.spec["process"]["env"] = json!(["PATH=/bin"]);
        fs::create_dir_all(container.rootfs().join("etc")).expect("etc");
        let _ = fs::remove_file(container.rootfs().join("etc/passwd"));
        symlink("/dev/zero", container.rootfs().join("etc/passwd")).expect("symlink");
        assert_eq!(container.run_ok(), "/\n");
    });
}

/// If a container joins the pid namespace of another, the other's processes see its init before that has its
/// own root.
#[test]
fn who_joins_a_pid_namespace_does_not_bring_the_hosts_root_along() {
    pillbox_only(|runtime| {
        let host = Container::new(runtime);
        let mark = host.folder.join("mark");
        fs::write(&mark, "").expect("mark");
        let look = format!("for p in /proc/[0-9]*; do [ -e $p/root{} ] && echo $p; done", mark.display());
        let mut first = Container::sh(runtime, &format!("echo ready; while :; do {look}; done"));
        for set in ["bounding", "effective", "permitted"] {
            let capabilities = first.spec["process"]["capabilities"][set].as_array_mut().expect("array");
            capabilities.extend([json!("CAP_SYS_PTRACE"), json!("CAP_DAC_READ_SEARCH")]);
        }
        let seen = first.create_and_start();
        seen.wait_for("ready");
        let pid_namespace = format!("/proc/{}/ns/pid", first.pid());
        for _ in 0..60 {
            let mut second = Container::sh(runtime, "exit 0");
            second.without_namespace("pid").with_namespace("pid", Some(&pid_namespace));
            second.run_ok();
        }
        assert_eq!(seen.stdout_now(), "ready\n");
        first.delete_force().ok();
    });
}
