//! The root: devices, links in /dev, masked and read-only paths, the read-only root.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use crate::harness::{Container, decoy, each_runtime, each_runtime_but, skip};

#[test]
fn default_devices_and_links() {
    each_runtime(|runtime| {
        let script =
            "for n in null zero full random urandom tty; do stat -c '%n %F %t:%T %a %u:%g' /dev/$n; done
            for n in fd stdin stdout stderr ptmx; do echo $n $(readlink /dev/$n); done";
        let expected = "\
/dev/null character special file 1:3 666 0:0
/dev/zero character special file 1:5 666 0:0
/dev/full character special file 1:7 666 0:0
/dev/random character special file 1:8 666 0:0
/dev/urandom character special file 1:9 666 0:0
/dev/tty character special file 5:0 666 0:0
fd /proc/self/fd
stdin /proc/self/fd/0
stdout /proc/self/fd/1
stderr /proc/self/fd/2
ptmx pts/ptmx
";
        // crun copies the host's mode and group of a device that it binds; devices made by mknod are as the
        // specification says.
        let output = Container::sh(runtime, script).run_ok();
        assert_eq!(output.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    });
}

#[test]
fn default_devices_work() {
    each_runtime(|runtime| {
        let script = "echo lost > /dev/null; head -c 3 /dev/zero | od -An -tx1; (echo > /dev/full) 2>/dev/null || echo full
            head -c 8 /dev/urandom | wc -c; head -c 8 /dev/random | wc -c; ls /dev/pts; ls /dev/shm";
        let output = Container::sh(runtime, script).run_ok();
        let words: Vec<_> = output.split_whitespace().collect();
        assert_eq!(words, ["00", "00", "00", "full", "8", "8", "ptmx"]);
    });
}

/// Whether the host has the device that two cases need: one that any user could open if the cgroup allowed
/// it.
fn has_fuse() -> bool {
    let has = fs::File::open("/dev/fuse").is_ok();
    if !has {
        skip("needs a /dev/fuse that opens");
    }
    has
}

#[test]
fn other_devices_are_denied() {
    if !has_fuse() {
        return;
    }
    each_runtime(|runtime| {
        // The node can be made, but the cgroup's device filter refuses to open it.
        let script = "mknod /tmp/fuse c 10 229 && (: < /tmp/fuse) 2>&1; mknod /tmp/null c 1 3 && : < /tmp/null && echo null";
        let mut container = Container::sh(runtime, script);
        let capabilities = json!(["CAP_MKNOD"]);
        container.spec["process"]["capabilities"] =
            json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
        let output = container.run_ok();
        assert!(output.contains("Operation not permitted") && output.ends_with("null\n"), "{output}");
    });
}

#[test]
fn listed_devices_are_made_and_allowed() {
    if !has_fuse() {
        return;
    }
    each_runtime(|runtime| {
        let script = "stat -c '%F %t:%T %a %u:%g' /dev/sub/fuse; exec 3</dev/sub/fuse && echo opened";
        let mut container = Container::sh(runtime, script);
        container.spec["linux"]["devices"] = json!([
            {"path": "/dev/sub/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8}
        ]);
        container.spec["process"]["user"] = json!({"uid": 7, "gid": 8});
        let device = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
        container.spec["linux"]["resources"]["devices"].as_array_mut().expect("devices").push(device);
        let output = container.run_ok();
        assert_eq!(output, "character special file a:e5 640 7:8\nopened\n");
    });
}

#[test]
fn masked_paths_show_nothing() {
    each_runtime(|runtime| {
        let script = "cat /secret/file /etc/secret; ls -A /secret; wc -c < /proc/keys; (: > /secret/new) 2>&1
            echo into > /etc/secret; cat /etc/secret";
        let mut container = Container::sh(runtime, script);
        fs::create_dir(container.rootfs().join("secret")).expect("folder");
        fs::write(container.rootfs().join("secret/file"), "secret\n").expect("file");
        fs::write(container.rootfs().join("etc/secret"), "secret\n").expect("file");
        container.spec["linux"]["maskedPaths"] = json!(["/secret", "/etc/secret", "/proc/keys", "/nonesuch"]);
        let output = container.run();
        assert_eq!(output.stderr, "cat: can't open '/secret/file': No such file or directory\n");
        assert!(output.stdout.starts_with("0\n") && output.stdout.contains("Read-only"), "{output:?}");
        assert!(!output.stdout.contains("into"), "{output:?}");
        assert_eq!(fs::read_to_string(container.rootfs().join("etc/secret")).expect("file"), "secret\n");
    });
}

#[test]
fn a_masked_path_through_a_symlink_is_masked() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "ls -A /secret");
        fs::create_dir(container.rootfs().join("secret")).expect("folder");
        fs::write(container.rootfs().join("secret/file"), "secret\n").expect("file");
        symlink("/secret", container.rootfs().join("link")).expect("symlink");
        container.spec["linux"]["maskedPaths"] = json!(["/link"]);
        let output = container.run();
        assert!(output.code != 0 || output.stdout.is_empty(), "{output:?}");
    });
}

#[test]
fn readonly_paths_keep_their_other_flags() {
    each_runtime(|runtime| {
        let script = "(: > /data/file) 2>&1; (: > /noexec/file) 2>&1; cat /data/kept; grep ' /noexec ' /proc/self/mountinfo";
        let mut container = Container::sh(runtime, script);
        fs::create_dir(container.rootfs().join("data")).expect("folder");
        fs::write(container.rootfs().join("data/kept"), "kept\n").expect("file");
        container.mount("tmpfs", "tmpfs", "/noexec", &["nosuid", "nodev", "noexec"]);
        container.spec["linux"]["readonlyPaths"] = json!(["/data", "/noexec", "/nonesuch"]);
        let output = container.run_ok();
        assert_eq!(output.matches("Read-only file system").count(), 2, "{output}");
        let flags = output.lines().last().expect("mountinfo").split(' ').nth(5).expect("flags");
        assert!(output.contains("kept\n") && flags.starts_with("ro,nosuid,nodev,noexec"), "{output}");
    });
}

#[test]
fn proc_sys_is_read_only() {
    each_runtime(|runtime| {
        let output = Container::sh(runtime, "(echo x > /proc/sys/kernel/hostname) 2>&1; hostname").run_ok();
        assert!(output.contains("Read-only file system") && output.ends_with("\nbox\n"), "{output}");
    });
}

#[test]
fn a_read_only_root() {
    each_runtime(|runtime| {
        let mut container = Container::sh(
            runtime,
            "(: > /file) 2>&1; : > /scratch/file && echo scratch; : > /dev/file && echo dev",
        );
        container.spec["root"]["readonly"] = json!(true);
        fs::create_dir(container.rootfs().join("scratch")).expect("folder");
        container.mount("tmpfs", "tmpfs", "/scratch", &[]);
        let output = container.run_ok();
        assert!(output.contains("Read-only file system") && output.ends_with("\nscratch\ndev\n"), "{output}");
        assert!(!container.rootfs().join("file").exists());
    });
}

#[test]
fn mount_points_are_made_in_a_root_that_becomes_read_only() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "echo here > /made/by/file && cat /made/by/file");
        container.spec["root"]["readonly"] = json!(true);
        container.mount("tmpfs", "tmpfs", "/made/by", &[]);
        assert_eq!(container.run_ok(), "here\n");
    });
}

#[test]
fn the_root_may_be_absolute() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        container.spec["root"]["path"] = json!(container.rootfs());
        assert_eq!(container.run_ok(), "ran\n");
    });
}

#[test]
fn the_root_may_be_a_symlink() {
    each_runtime_but(&[("runc", "refuses it")], |runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        symlink("rootfs", container.bundle().join("link")).expect("symlink");
        container.spec["root"]["path"] = json!("link");
        assert_eq!(container.run_ok(), "ran\n");
    });
}

/// The link means what was opened, whatever has been mounted over it since.
#[test]
fn the_root_may_be_a_magic_link() {
    let why = "takes its text for the root";
    each_runtime_but(&[("crun", why), ("runc", why)], |runtime| {
        for seeded in [true, false] {
            let mut container = Container::sh(runtime, "ls /of-the-image");
            fs::write(container.rootfs().join("of-the-image"), "").expect("file");
            let hidden = container.folder.join("hidden");
            fs::create_dir(&hidden).expect("folder");
            fs::rename(container.rootfs(), hidden.join("rootfs")).expect("rename");
            container.spec["root"]["path"] = json!("/proc/self/fd/7");
            if !seeded {
                container.with_namespace("pid", Some("/proc/self/ns/pid"));
            }
            let run = container.bundle_command("run", &[]);
            let script = "exec 7< \"$0/rootfs\"; mount -t tmpfs tmpfs \"$0\"; exec \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["-m", "--propagation", "private", "sh", "-ec", script]).arg(hidden);
            let output = container.finish(command.arg(run.get_program()).args(run.get_args()));
            assert_eq!(output.ok().stdout, "/of-the-image\n", "from the seed: {seeded}");
        }
    });
}

/// runc's CVE-2026-41579, crun's CVE-2026-47766.
#[test]
fn a_dev_of_the_image_that_points_outside_is_harmless() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "echo ran");
        let outside = decoy(&container.folder);
        fs::remove_dir(container.rootfs().join("dev")).expect("rmdir");
        symlink(&outside, container.rootfs().join("dev")).expect("symlink");
        for with_dev_mounts in [true, false] {
            if !with_dev_mounts {
                let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
                mounts
                    .retain(|mount| !mount["destination"].as_str().expect("destination").starts_with("/dev"));
            }
            let output = container.run();
            let names: Vec<_> =
                fs::read_dir(&outside).expect("decoy").flatten().map(|entry| entry.file_name()).collect();
            assert_eq!(names, ["marker"], "{output:?}");
            assert_eq!(fs::read_to_string(outside.join("marker")).expect("marker"), "untouched");
        }
    });
}

#[test]
fn the_old_root_is_gone() {
    each_runtime(|runtime| {
        let output =
            Container::sh(runtime, "ls -d /proc/1/root/run/pillbox-test 2>&1; cd ..; pwd; ls /").run();
        assert!(output.stdout.contains("No such file") && output.stdout.contains("\n/\n"), "{output:?}");
        assert!(output.stdout.contains("\nbin\n") && !output.stdout.contains("\nhost\n"), "{output:?}");
    });
}

#[test]
fn no_pivot_works_as_well() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "echo ran");
        let output = container.finish(&mut container.bundle_command("run", &["--no-pivot"]));
        assert_eq!(output.ok().stdout, "ran\n");
    });
}

#[test]
fn devices_do_not_follow_a_dev_of_the_image_that_is_a_link() {
    each_runtime_but(&[("crun", "follows it, inside the root"), ("runc", "so does it")], |runtime| {
        let mut container = Container::new(runtime);
        fs::remove_dir(container.rootfs().join("dev")).expect("rmdir");
        symlink("/tmp", container.rootfs().join("dev")).expect("symlink");
        let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().expect("destination").starts_with("/dev"));
        container.run().fails_with("/dev");
        assert_eq!(fs::read_dir(container.rootfs().join("tmp")).expect("tmp").count(), 0);
        container.assert_gone();
    });
}

#[test]
fn a_file_is_bound_where_a_link_of_the_image_leads() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /etc/link; readlink /etc/link; cat /not/there");
        fs::write(container.folder.join("file"), "bound\n").expect("file");
        symlink("../not/there", container.rootfs().join("etc/link")).expect("symlink");
        let source = container.folder.join("file");
        container.mount("bind", source, "/etc/link", &["bind", "ro"]);
        assert_eq!(container.run_ok(), "bound\n../not/there\nbound\n");
        container.assert_gone();
    });
}

/// `-v /dev:/dev`: a folder of the host's gets neither nodes nor links, and its content counts. Inside the
/// container they are made as usual.
#[test]
fn nothing_is_made_in_a_dev_that_is_bound() {
    each_runtime(|runtime| {
        for (kind, options) in
            [("bind", &["bind", "rw"][..]), ("none", &["rbind"]), ("bind", &["rbind", "ro"])]
        {
            let mut container = Container::sh(runtime, "ls -A /dev; stat -c %t:%T /dev/other");
            let dev = container.folder.join("dev");
            fs::create_dir(&dev).expect("folder");
            rustix::mount::mount("tmpfs", &dev, "tmpfs", rustix::mount::MountFlags::empty(), None)
                .expect("tmpfs");
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            for (name, minor) in [("null", 3), ("other", 8)] {
                let (character, number) =
                    (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, minor));
                rustix::fs::mknodat(rustix::fs::CWD, dev.join(name), character, mode, number).expect("mknod");
            }
            let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| !mount["destination"].as_str().expect("destination").starts_with("/dev"));
            container.mount(kind, &dev, "/dev/", options);
            container.spec["linux"]["devices"] = json!([
                {"path": "/dev/added", "type": "c", "major": 1, "minor": 5},
                {"path": "/dev/other", "type": "c", "major": 1, "minor": 5},
            ]);
            assert_eq!(container.run_ok(), "null\nother\n1:8\n", "{kind} {options:?}");
            let mut names: Vec<_> =
                fs::read_dir(&dev).expect("dev").flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            assert_eq!(names, ["null", "other"], "{kind} {options:?}");
        }
    });
}
