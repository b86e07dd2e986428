//! Mounts: types, options, order, destinations, and that none of them leaves the container's root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::harness::{Container, decoy, each_runtime, each_runtime_but, mountpoints};

/// The line of `point` in the container's /proc/self/mountinfo.
#[track_caller]
fn line_of<'a>(mountinfo: &'a str, point: &str) -> &'a str {
    let mut lines = mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some(point));
    lines.next_back().unwrap_or_else(|| panic!("nothing is mounted at {point}: {mountinfo}"))
}

/// The per-mount options, and those of the file system.
fn options<'a>(mountinfo: &'a str, point: &str) -> (Vec<&'a str>, Vec<&'a str>) {
    let line = line_of(mountinfo, point);
    let of = |text: Option<&'a str>| text.expect("mountinfo").split(',').collect();
    (of(line.split(' ').nth(5)), of(line.rsplit(' ').next()))
}

const MOUNTINFO: &str = "cat /proc/self/mountinfo";

/// A folder on the host with a file, and below it a tmpfs with another one.
fn source(container: &Container) -> std::path::PathBuf {
    let folder = container.folder.join("source");
    fs::create_dir_all(folder.join("below")).expect("folder");
    fs::write(folder.join("file"), "from the host\n").expect("file");
    let below = folder.join("below");
    rustix::mount::mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("tmpfs");
    fs::write(below.join("deep"), "from below\n").expect("file");
    folder
}

#[test]
fn bind_takes_one_mount_and_rbind_the_tree() {
    each_runtime(|runtime| {
        let script = "cat /one/file /all/file /all/below/deep; ls /one/below; echo w > /one/written";
        let mut container = Container::sh(runtime, script);
        let source = source(&container);
        container.mount("none", &source, "/one", &["bind"]).mount("none", &source, "/all", &["rbind"]);
        assert_eq!(container.run_ok(), "from the host\nfrom the host\nfrom below\n");
        assert_eq!(fs::read_to_string(source.join("written")).expect("written"), "w\n");
    });
}

#[test]
fn a_type_of_bind_means_bind() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /one/file");
        let source = source(&container);
        container.mount("bind", &source, "/one", &["bind", "ro"]);
        assert_eq!(container.run_ok(), "from the host\n");
    });
}

#[test]
fn ro_is_for_the_top_and_rro_for_the_tree() {
    each_runtime(|runtime| {
        let script =
            "for f in /ro/f /ro/below/f /rro/f /rro/below/f; do (: > $f) 2>/dev/null && echo $f; done; true";
        let mut container = Container::sh(runtime, script);
        let source = source(&container);
        container.mount("none", &source, "/ro", &["rbind", "ro"]).mount(
            "none",
            &source,
            "/rro",
            &["rbind", "rro"],
        );
        assert_eq!(container.run_ok(), "/ro/below/f\n");
        fs::write(source.join("host"), "").expect("the host's own mount stays writable");
    });
}

#[test]
fn recursive_options_reach_the_tree() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        let source = source(&container);
        container.mount("none", &source, "/all", &["rbind", "rnosuid", "rnodev", "rnoexec"]);
        let output = container.run_ok();
        for point in ["/all", "/all/below"] {
            let (flags, _) = options(&output, point);
            for option in ["nosuid", "nodev", "noexec"] {
                assert!(flags.contains(&option), "{point} {option}: {output}");
            }
        }
    });
}

#[test]
fn recursive_access_times() {
    each_runtime_but(&[("crun", "does not clear the old mode: EINVAL")], |runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        let source = source(&container);
        container.mount("none", &source, "/all", &["rbind", "rnoatime"]);
        let output = container.run_ok();
        assert!(
            ["/all", "/all/below"].iter().all(|point| options(&output, point).0.contains(&"noatime")),
            "{output}"
        );
    });
}

#[test]
fn a_single_file_is_bound() {
    each_runtime(|runtime| {
        let script = "cat /etc/hosts /new/folders/file; (: > /etc/hosts) 2>/dev/null || echo read-only";
        let mut container = Container::sh(runtime, script);
        let file = source(&container).join("file");
        container.mount("none", &file, "/etc/hosts", &["bind", "ro"]);
        container.mount("none", &file, "/new/folders/file", &["rbind"]);
        assert_eq!(container.run_ok(), "from the host\nfrom the host\nread-only\n");
    });
}

#[test]
fn tmpfs_with_its_options() {
    each_runtime(|runtime| {
        let script = "cat /proc/self/mountinfo; stat -c %a:%u:%g /scratch";
        let mut container = Container::sh(runtime, script);
        let flags = [
            "nosuid",
            "nodev",
            "noexec",
            "noatime",
            "mode=1750",
            "uid=7",
            "gid=8",
            "size=1m",
            "nr_inodes=99",
        ];
        container.mount("tmpfs", "tmpfs", "/scratch", &flags);
        let output = container.run_ok();
        let (flags, data) = options(&output, "/scratch");
        for option in ["rw", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(flags.contains(&option), "{option}: {output}");
        }
        for option in ["size=1024k", "nr_inodes=99", "mode=1750", "uid=7", "gid=8"] {
            assert!(data.contains(&option), "{option}: {output}");
        }
        assert!(output.ends_with("1750:7:8\n"), "{output}");
    });
}

#[test]
fn options_are_cleared_by_their_opposites() {
    each_runtime_but(&[("crun", "collects flags, whatever their order")], |runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        container.mount(
            "tmpfs",
            "tmpfs",
            "/scratch",
            &["nosuid", "ro", "nodev", "rw", "suid", "noexec", "exec"],
        );
        let output = container.run_ok();
        let (flags, _) = options(&output, "/scratch");
        assert!(flags.contains(&"rw") && flags.contains(&"nodev"), "{output}");
        assert!(!flags.contains(&"nosuid") && !flags.contains(&"noexec"), "{output}");
    });
}

#[test]
fn a_read_only_tmpfs() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "(: > /scratch/file) 2>/dev/null || echo read-only");
        container.mount("tmpfs", "tmpfs", "/scratch", &["ro"]);
        assert_eq!(container.run_ok(), "read-only\n");
    });
}

#[test]
fn mounts_are_made_in_order() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /a/file; ls /a /b; cat /b/file");
        let source = source(&container);
        // A file is bound into the tmpfs on /a; /b is covered by the second mount there.
        container.mount("tmpfs", "tmpfs", "/a", &[]);
        container.mount("none", source.join("file"), "/a/file", &["bind"]);
        container.mount("none", source.join("below"), "/b", &["bind"]).mount(
            "none",
            &source,
            "/b",
            &["bind"],
        );
        assert_eq!(container.run_ok(), "from the host\n/a:\nfile\n\n/b:\nbelow\nfile\nfrom the host\n");
    });
}

#[test]
fn destinations_are_created() {
    each_runtime_but(&[("crun", "makes them with mode 1755")], |runtime| {
        let mut container = Container::sh(runtime, "stat -c %a:%u /deep /deep/er /deep/er/still");
        container.mount("tmpfs", "tmpfs", "/deep/er/still", &["mode=700"]);
        assert_eq!(container.run_ok(), "755:0\n755:0\n700:0\n");
        assert!(container.rootfs().join("deep/er/still").is_dir());
    });
}

#[test]
fn a_relative_destination_is_below_the_root() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        container.mount("tmpfs", "tmpfs", "relative/folder", &[]);
        let output = container.run();
        // The specification forbids it, but runtimes have accepted it for years, so we may as well, but only
        // inside.
        if output.code == 0 {
            line_of(&output.stdout, "/relative/folder");
        }
        assert!(!Path::new("/relative").exists());
    });
}

/// CVE-2019-18837, LXC's CVE-2015-1335.
#[test]
fn a_destination_through_a_symlink_stays_inside() {
    each_runtime(|runtime| {
        for up in ["", "../../../../../../.."] {
            let mut container = Container::sh(runtime, MOUNTINFO);
            let outside = decoy(&container.folder);
            symlink(format!("{up}{}", outside.display()), container.rootfs().join("a")).expect("symlink");
            container.mount("tmpfs", "tmpfs", "/a/new", &[]);
            container.mount("none", outside.join("marker"), "/a/file", &["bind"]);
            let output = container.run();
            let names: Vec<_> =
                fs::read_dir(&outside).expect("decoy").flatten().map(|entry| entry.file_name()).collect();
            assert_eq!(names, ["marker"], "{output:?}");
            // The link's target is resolved and made inside the root.
            if runtime.is("crun") {
                output.fails_with("/a/new"); // It does not create the target of a dangling link: harmless.
                continue;
            }
            assert_eq!(output.code, 0, "{output:?}");
            line_of(&output.stdout, &format!("{}/new", outside.display()));
        }
    });
}

#[test]
fn a_destination_that_is_a_symlink_is_followed_inside() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /run/resolv.conf /etc/resolv.conf");
        let file = source(&container).join("file");
        fs::create_dir(container.rootfs().join("run")).expect("folder");
        fs::write(container.rootfs().join("run/resolv.conf"), "image's\n").expect("file");
        symlink("/run/resolv.conf", container.rootfs().join("etc/resolv.conf")).expect("symlink");
        container.mount("none", &file, "/etc/resolv.conf", &["bind"]);
        assert_eq!(container.run_ok(), "from the host\nfrom the host\n");
    });
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: unless /proc and /sys are folders of the image, nothing is
/// mounted.
#[test]
fn proc_or_sys_as_a_symlink_is_refused() {
    each_runtime(|runtime| {
        for name in ["proc", "sys"] {
            for target in ["/etc", "etc", "../etc", "/nonesuch"] {
                let container = Container::new(runtime);
                let outside = decoy(&container.folder);
                fs::remove_dir(container.rootfs().join(name)).expect("rmdir");
                symlink(target, container.rootfs().join(name)).expect("symlink");
                container.run().fails_with(name);
                container.assert_gone();
                fs::remove_file(container.rootfs().join(name)).expect("symlink");
                symlink(&outside, container.rootfs().join(name)).expect("symlink");
                container.run().fails_with(name);
                assert_eq!(fs::read_dir(&outside).expect("decoy").count(), 1);
                container.assert_gone();
            }
        }
    });
}

/// CVE-2019-16884: a mount over procfs would swallow labels and sysctls.
#[test]
fn mounts_over_proc_are_refused() {
    let peers = [("crun", "allows them")];
    each_runtime_but(&peers, |runtime| {
        for kind in ["bind", "tmpfs"] {
            for point in ["/proc", "/proc/sys", "/proc/self/attr", "/proc/1", "/link", "/dev/../proc/sys"] {
                let mut container = Container::new(runtime);
                symlink("/proc/sys", container.rootfs().join("link")).expect("symlink");
                let outside = decoy(&container.folder);
                container.mount(kind, &outside, point, &[if kind == "bind" { "bind" } else { "rw" }]);
                container.run().fails_with("proc");
                container.assert_gone();
            }
        }
    });
}

#[test]
fn lxcfs_may_replace_its_files_of_proc() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /proc/meminfo /proc/uptime");
        let file = source(&container).join("file");
        container.mount("none", &file, "/proc/meminfo", &["bind"]).mount(
            "none",
            &file,
            "/proc/uptime",
            &["bind"],
        );
        assert_eq!(container.run_ok(), "from the host\nfrom the host\n");
    });
}

#[test]
fn a_missing_source_is_named() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let missing = container.folder.join("not-there");
        container.mount("none", &missing, "/here", &["bind"]);
        container.run().fails_with(missing.to_str().expect("path"));
        container.assert_gone();
    });
}

#[test]
fn an_unknown_file_system_is_an_error() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.mount("nonesuchfs", "none", "/here", &[]);
        container.run().fails_with("here");
        container.assert_gone();
    });
}

#[test]
fn an_option_that_the_file_system_refuses_is_an_error() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        container.mount("tmpfs", "tmpfs", "/here", &["nonesuch=1"]);
        container.run().fails_with("here");
        container.assert_gone();
    });
}

#[test]
fn tmpcopyup_seeds_the_tmpfs() {
    each_runtime(|runtime| {
        let script = "cat /seed/file /seed/sub/file; stat -c %a:%u /seed/sub /seed/file; readlink /seed/link; echo x > /seed/new";
        let mut container = Container::sh(runtime, script);
        let seed = container.rootfs().join("seed");
        fs::create_dir_all(seed.join("sub")).expect("folder");
        fs::write(seed.join("file"), "one\n").expect("file");
        fs::write(seed.join("sub/file"), "two\n").expect("file");
        symlink("file", seed.join("link")).expect("symlink");
        fs::set_permissions(seed.join("sub"), std::os::unix::fs::PermissionsExt::from_mode(0o710))
            .expect("chmod");
        std::os::unix::fs::chown(seed.join("sub"), Some(55), None).expect("chown");
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup"]);
        assert_eq!(container.run_ok(), "one\ntwo\n710:55\n644:0\nfile\n");
        assert!(!seed.join("new").exists());
    });
}

#[test]
fn propagation_options() {
    each_runtime_but(&[("crun", "makes everything private again afterwards")], |runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        for (option, point) in
            [("rshared", "/shared"), ("rprivate", "/private"), ("unbindable", "/unbindable")]
        {
            container.mount("tmpfs", "tmpfs", point, &[option]);
        }
        let output = container.run_ok();
        assert!(line_of(&output, "/shared").contains(" shared:"), "{output}");
        assert!(!line_of(&output, "/private").contains("shared:"), "{output}");
        assert!(line_of(&output, "/unbindable").contains(" unbindable "), "{output}");
    });
}

#[test]
fn the_hosts_mounts_are_neither_seen_nor_changed() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "mount -t tmpfs tmpfs /tmp && cat /proc/self/mountinfo");
        let caps = json!(["CAP_SYS_ADMIN"]);
        container.spec["process"]["capabilities"] =
            json!({"bounding": caps, "effective": caps, "permitted": caps});
        let before = mountpoints();
        let output = container.run_ok();
        assert!(line_of(&output, "/tmp").contains("tmpfs"));
        let here: Vec<_> =
            mountpoints().difference(&before).filter(|path| path.contains(&container.id)).cloned().collect();
        assert_eq!(here, Vec::<String>::new());
        assert!(
            !output.contains("pillbox-test-other") && !output.contains("/sys/fs/cgroup/unified"),
            "{output}"
        );
        // The root and what config.json lists: nothing else of the host stays attached.
        let expected = container.spec["mounts"].as_array().expect("mounts").len();
        let points = output.lines().filter(|line| !line.contains(" - nsfs ")).count();
        assert!(points >= expected && points < expected + 25, "{output}");
    });
}

#[test]
fn a_cgroup_mount_shows_the_own_cgroup_read_only() {
    each_runtime(|runtime| {
        let script =
            "cat /proc/self/cgroup | grep '^0:'; mkdir /sys/fs/cgroup/x 2>/dev/null || echo read-only
            grep -c . /sys/fs/cgroup/cgroup.procs";
        let output = Container::sh(runtime, script).run_ok();
        assert_eq!(output, "0::/\nread-only\n1\n");
    });
}

#[test]
fn idmapped_binds() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "stat -c %u:%g /mapped/file");
        let source = source(&container);
        std::os::unix::fs::chown(source.join("file"), Some(3), Some(4)).expect("chown");
        container.mount("none", &source, "/mapped", &["bind", "idmap"]);
        let map = |shift: u32| json!([{"containerID": 0, "hostID": shift, "size": 1000}]);
        let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
        let mount = mounts.last_mut().expect("mount");
        mount["uidMappings"] = map(5000);
        mount["gidMappings"] = map(6000);
        assert_eq!(container.run_ok(), "5003:6004\n");
    });
}

/// Since Linux 6.8 mountinfo is sorted by when mounts were made, not by when they were attached; its readers
/// take a later line for the upper mount.
#[test]
fn mountinfo_lists_mounts_in_their_order() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        let folder = source(&container);
        container.mount("tmpfs", Path::new("tmpfs"), "/data/a", &[]);
        container.mount("none", &folder, "/data/b", &["rbind", "rprivate"]);
        container.mount("none", folder.join("file"), "/data/c", &["bind"]);
        container.mount("tmpfs", Path::new("tmpfs"), "/data/d", &[]);
        container.mount("none", &folder, "/data/e", &["bind", "ro"]);
        let mountinfo = container.run_ok();
        let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
        let points: Vec<_> = points.filter(|point| point.starts_with("/data/")).collect();
        assert_eq!(points, ["/data/a", "/data/b", "/data/b/below", "/data/c", "/data/d", "/data/e"]);
    });
}

/// A message takes 253 descriptors; those of the next message come in their order as well.
#[test]
fn more_bind_mounts_than_fit_into_a_message() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /proc/self/mountinfo");
        let folder = container.folder.join("source");
        fs::create_dir_all(&folder).expect("folder");
        for number in 0..600 {
            container.mount("none", &folder, &format!("/data/{number}"), &["bind"]);
            if number == 300 {
                container.mount("tmpfs", "tmpfs", "/data/between", &[]);
            }
        }
        let mountinfo = container.run_ok();
        let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)?.strip_prefix("/data/"));
        let mut expected: Vec<_> = (0..600).map(|number: u32| number.to_string()).collect();
        expected.insert(301, "between".into());
        assert_eq!(points.collect::<Vec<_>>(), expected);
    });
}

/// Bind sources that are cloned late, and the network namespace on which sysfs depends, come to init through
/// the same channel.
#[test]
fn a_bind_between_new_file_systems() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "cat /data/b/file; ls /c/class/net");
        let folder = source(&container);
        fs::write(folder.join("file"), "bound\n").expect("file");
        container.mount("tmpfs", Path::new("tmpfs"), "/data/a", &[]);
        container.mount("none", &folder, "/data/b", &["bind"]);
        container.mount("sysfs", Path::new("sysfs"), "/c", &["nosuid", "noexec", "nodev", "ro"]);
        assert_eq!(container.run_ok(), "bound\nlo\n");
    });
}

/// Engines look for these words, and explain to their users that they gave a file for a folder.
#[test]
fn a_file_is_not_bound_on_a_folder_nor_a_folder_on_a_file() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let file = container.folder.join("file");
        fs::write(&file, "").expect("file");
        fs::create_dir(container.rootfs().join("folder")).expect("folder");
        fs::write(container.rootfs().join("file"), "").expect("file");
        let before = container.spec.clone();
        for (kind, source, destination) in [
            ("bind", file.clone(), "/folder"),
            ("bind", container.folder.clone(), "/file"),
            ("bind", file, "/file/below"),
            ("tmpfs", "tmpfs".into(), "/file"),
        ] {
            container.spec = before.clone();
            let options: &[&str] = if kind == "bind" { &["bind"] } else { &[] };
            container.mount(kind, source, destination, options);
            let output = container.run();
            let said = output.stderr.to_lowercase();
            assert!(output.code > 0 && said.contains("not a directory"), "{destination}: {output:?}");
            assert!(!said.contains("permission denied") && !said.contains(" is a directory"), "{output:?}");
            container.delete_force();
        }
    });
}
