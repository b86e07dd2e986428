//! Mount options that only container runtimes have (tmpcopyup, idmap, copy-symlink), and remounts.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;
use serde_json::{Value, json};

use crate::harness::{Container, decoy, each_runtime, each_runtime_but, pillbox_only};

const MOUNTINFO: &str = "cat /proc/self/mountinfo";

/// The per-mount options, and those of the file system, of the last mount at `point`.
#[track_caller]
fn options<'a>(mountinfo: &'a str, point: &str) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut lines = mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some(point));
    let line = lines.next_back().unwrap_or_else(|| panic!("nothing is mounted at {point}: {mountinfo}"));
    let of = |text: Option<&'a str>| text.expect("mountinfo").split(',').collect();
    (of(line.split(' ').nth(5)), of(line.rsplit(' ').next()))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "stat -c %a /has /says; stat -c %u /has");
        for name in ["has", "says"] {
            let folder = container.rootfs().join(name);
            fs::create_dir(&folder).expect("folder");
            chown(&folder, Some(5), Some(6)).expect("chown");
            chmod(&folder, 0o2711);
        }
        container.mount("tmpfs", "tmpfs", "/has", &[]).mount("tmpfs", "tmpfs", "/says", &["mode=700"]);
        assert_eq!(container.run_ok(), "2711\n700\n0\n");
    });
}

/// A folder in the image with one file of each type that can be copied.
fn seed(container: &Container) -> PathBuf {
    let seed = container.rootfs().join("seed");
    fs::create_dir_all(seed.join("sub/deeper")).expect("folder");
    fs::write(seed.join("sub/deeper/large"), vec![b'x'; 3 << 20]).expect("file");
    fs::write(seed.join("empty"), "").expect("file");
    fs::write(seed.join("setuid"), "program").expect("file");
    chown(seed.join("setuid"), Some(7), Some(8)).expect("chown");
    chmod(&seed.join("setuid"), 0o6755);
    chown(seed.join("sub"), Some(55), Some(56)).expect("chown");
    chmod(&seed.join("sub"), 0o3715);
    symlink("/etc/passwd", seed.join("link")).expect("symlink");
    std::os::unix::fs::lchown(seed.join("link"), Some(9), Some(9)).expect("lchown");
    seed
}

#[test]
fn tmpcopyup_keeps_modes_owners_and_links() {
    each_runtime(|runtime| {
        let script = "cd /seed; find . | sort | grep -v '^.$' | xargs stat -c '%n %a %u:%g'; \
                      wc -c < sub/deeper/large; readlink link; cat setuid";
        let mut container = Container::sh(runtime, script);
        seed(&container);
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup", "nosuid", "mode=755"]);
        let expected = "./empty 644 0:0\n./link 777 9:9\n./setuid 6755 7:8\n./sub 3715 55:56\n./sub/deeper 755 0:0\n\
                        ./sub/deeper/large 644 0:0\n3145728\n/etc/passwd\nprogram";
        assert_eq!(container.run_ok(), expected);
    });
}

#[test]
fn tmpcopyup_copies_pipes_sockets_and_attributes() {
    // runc fails on a pipe; neither peer keeps access times.
    each_runtime_but(&[("runc", "fails on pipes: lchown: no such file")], |runtime| {
        let mut container = Container::sh(runtime, "stat -c '%n %F' /seed/pipe /seed/socket; ls /seed");
        let seed = container.rootfs().join("seed");
        fs::create_dir(&seed).expect("folder");
        let kinds = [("pipe", rustix::fs::FileType::Fifo), ("socket", rustix::fs::FileType::Socket)];
        for (name, kind) in kinds {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, seed.join(name), kind, mode, 0).expect("mknod");
        }
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup"]);
        assert_eq!(container.run_ok(), "/seed/pipe fifo\n/seed/socket socket\npipe\nsocket\n");
    });
}

#[test]
fn tmpcopyup_of_a_read_only_tmpfs() {
    each_runtime(|runtime| {
        let script = "cat /seed/setuid; (: > /seed/new) 2>/dev/null || echo ' read-only'";
        let mut container = Container::sh(runtime, script);
        seed(&container);
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup", "ro"]);
        assert_eq!(container.run_ok(), "program read-only\n");
    });
}

#[test]
fn tmpcopyup_reads_nothing_through_links() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "ls -R /seed; readlink /seed/out");
        let outside = decoy(&container.folder);
        fs::create_dir(container.rootfs().join("real")).expect("folder");
        symlink(&outside, container.rootfs().join("real/out")).expect("symlink");
        // The destination itself is a link that must be followed inside the root.
        symlink("/real", container.rootfs().join("seed")).expect("symlink");
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup"]);
        let output = container.run_ok();
        assert!(!output.contains("marker") && output.contains(outside.to_str().expect("path")), "{output}");
    });
}

#[test]
fn tmpcopyup_ends_at_a_bounded_depth() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        let deep: PathBuf = std::iter::repeat_n("d", 200).collect();
        fs::create_dir_all(container.rootfs().join("seed").join(deep)).expect("folders");
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup"]);
        container.run().fails_with("tmpcopyup: folders are nested more than 64 deep");
        container.assert_gone();
    });
}

#[test]
fn tmpcopyup_names_what_does_not_fit() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        seed(&container);
        container.mount("tmpfs", "tmpfs", "/seed", &["tmpcopyup", "size=1m"]);
        let output = container.run().fails_with("space left");
        assert!(runtime.is("crun") || output.stderr.contains("large"), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn tmpcopyup_is_for_tmpfs_only() {
    each_runtime_but(&[("runc", "ignores it")], |runtime| {
        let mut container = Container::new(runtime);
        container.mount("ramfs", "ramfs", "/seed", &["tmpcopyup"]);
        container.run().fails_with("tmpcopyup");
        container.assert_gone();
    });
}

const NO_CRUN_OPTIONS: (&str, &str) = ("runc", "does not have this option of crun's");

#[test]
fn copy_symlink_makes_the_link_anew() {
    each_runtime_but(&[NO_CRUN_OPTIONS], |runtime| {
        let mut container = Container::sh(runtime, "readlink /new/link; cat /file");
        let link = container.folder.join("link");
        symlink("/some/where", &link).expect("symlink");
        fs::write(container.folder.join("file"), "bound\n").expect("file");
        let file = container.folder.join("file");
        container.mount("none", &link, "/new/link", &["bind", "copy-symlink"]);
        container.mount("none", &file, "/file", &["bind", "copy-symlink"]);
        assert_eq!(container.run_ok(), "/some/where\nbound\n");
        // The same link may exist already, but nothing else.
        container.run().ok();
        for text in [Some("/else/where"), None] {
            let there = container.rootfs().join("new/link");
            fs::remove_file(&there).expect("rm");
            match text {
                Some(text) => symlink(text, &there).expect("symlink"),
                None => fs::write(&there, "").expect("file"),
            }
            container.run().fails_with("link");
            container.assert_gone();
        }
    });
}

#[test]
fn symbolic_links_can_be_mounted_themselves() {
    each_runtime_but(&[NO_CRUN_OPTIONS], |runtime| {
        let mut container =
            Container::sh(runtime, "cat /etc/link /etc/target; readlink /etc/other || echo a file");
        let (file, link) = (container.folder.join("file"), container.folder.join("link"));
        fs::write(&file, "bound\n").expect("file");
        symlink("host-text", &link).expect("symlink");
        fs::write(container.rootfs().join("etc/target"), "image's\n").expect("file");
        for name in ["link", "other"] {
            symlink("target", container.rootfs().join("etc").join(name)).expect("symlink");
        }
        container.mount("none", &file, "/etc/link", &["bind", "dest-nofollow"]);
        container.mount("none", &link, "/etc/other", &["bind", "src-nofollow", "dest-nofollow"]);
        assert_eq!(container.run_ok(), "bound\nimage's\nhost-text\n");
    });
}

#[test]
fn remount_of_a_bind_changes_the_mount() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        let folder = container.folder.clone();
        fs::write(folder.join("file"), "").expect("file");
        container.mount("tmpfs", "tmpfs", "/m", &["nosuid", "noatime"]);
        container.mount("none", folder.join("file"), "/file", &["bind"]);
        for point in ["/m", "/file"] {
            container.mount("none", &folder, point, &["bind", "remount", "ro", "nodev"]);
        }
        let output = container.run_ok();
        let (flags, data) = options(&output, "/m");
        // A remount sets all flags anew, except the access times.
        assert!(["ro", "nodev", "noatime"].iter().all(|flag| flags.contains(flag)), "{output}");
        assert!(!flags.contains(&"nosuid") && data.contains(&"rw"), "{output}");
        assert!(options(&output, "/file").0.contains(&"ro"), "{output}");
    });
}

#[test]
fn remount_of_a_file_system_changes_its_options() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        container.mount("tmpfs", "tmpfs", "/m", &["nosuid", "noatime"]);
        container.mount("tmpfs", "tmpfs", "/m", &["remount", "size=64k", "noexec"]);
        container.mount("proc", "proc", "/proc", &["remount", "hidepid=2", "nosuid"]);
        let output = container.run_ok();
        let (flags, data) = options(&output, "/m");
        assert!(
            flags.contains(&"noexec") && flags.contains(&"noatime") && data.contains(&"size=64k"),
            "{output}"
        );
        assert!(!flags.contains(&"nosuid"), "{output}");
        let (flags, data) = options(&output, "/proc");
        assert!(flags.contains(&"nosuid") && data.contains(&"hidepid=invisible"), "{output}");
    });
}

#[test]
fn remount_where_nothing_is_mounted_fails() {
    each_runtime(|runtime| {
        for flags in [&["remount", "ro"][..], &["bind", "remount", "ro"]] {
            let mut container = Container::new(runtime);
            fs::create_dir(container.rootfs().join("plain")).expect("folder");
            let folder = container.folder.clone();
            container.mount("tmpfs", &folder, "/plain", flags);
            container.run().fails_with("plain");
            container.assert_gone();
        }
    });
}

#[test]
fn recursive_options_of_a_new_file_system_are_plain_ones() {
    each_runtime_but(
        &[("runc", "takes them and does nothing"), ("crun", "fails on the access times")],
        |runtime| {
            let mut container = Container::sh(runtime, MOUNTINFO);
            container.mount("tmpfs", "tmpfs", "/m", &["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime"]);
            let output = container.run_ok();
            let (flags, _) = options(&output, "/m");
            assert!(
                ["ro", "nosuid", "nodev", "noexec", "noatime"].iter().all(|flag| flags.contains(flag)),
                "{output}"
            );
        },
    );
}

#[test]
fn options_for_fstab_are_the_file_systems_to_refuse() {
    each_runtime(|runtime| {
        for option in ["noauto", "nofail", "user", "_netdev", "x-systemd.automount"] {
            let mut container = Container::new(runtime);
            container.mount("tmpfs", "tmpfs", "/m", &[option]);
            container.run().fails_with("m");
            container.assert_gone();
        }
    });
}

fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

/// A tmpfs on the host with files of several owners, and another one below it.
fn owned_files(container: &Container) -> PathBuf {
    let source = container.folder.join("source");
    fs::create_dir(&source).expect("folder");
    rustix::mount::mount("tmpfs", &source, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
    fs::create_dir(source.join("sub")).expect("folder");
    rustix::mount::mount("tmpfs", source.join("sub"), "tmpfs", MountFlags::empty(), None).expect("tmpfs");
    for (name, uid, gid) in [("root", 0, 0), ("user", 1000, 2000), ("sub/root", 0, 0)] {
        fs::write(source.join(name), "").expect("file");
        chown(source.join(name), Some(uid), Some(gid)).expect("chown");
    }
    fs::create_dir(container.rootfs().join("m")).expect("folder");
    source
}

const OWNERS: &str = "cd /m; stat -c %u:%g root user sub/root";

/// Binds `source` at /m with id mappings of its own.
fn mount_mapped(container: &mut Container, source: &Path, maps: Option<&Value>, options: &[&str]) {
    container.mount("none", source, "/m", options);
    let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
    if let (Some(mount), Some(maps)) = (mounts.last_mut(), maps) {
        mount["uidMappings"] = maps.clone();
        mount["gidMappings"] = maps.clone();
    }
}

#[test]
fn a_mount_with_maps_shows_other_owners() {
    each_runtime(|runtime| {
        let cases: [(&[&str], &str); 3] = [
            (&["rbind"], "5000:5000\n6000:7000\n0:0\n"),
            (&["rbind", "idmap"], "5000:5000\n6000:7000\n0:0\n"),
            (&["rbind", "ridmap"], "5000:5000\n6000:7000\n5000:5000\n"),
        ];
        for (options, expected) in cases {
            let mut container = Container::sh(runtime, OWNERS);
            let source = owned_files(&container);
            mount_mapped(&mut container, &source, Some(&map(0, 5000, 3000)), options);
            assert_eq!(container.run_ok(), expected, "{options:?}");
            assert_eq!(fs::metadata(source.join("root")).expect("file").uid(), 0);
        }
    });
}

#[test]
fn idmap_alone_takes_the_containers_maps() {
    each_runtime(|runtime| {
        for (option, below) in [("idmap", "65534:65534"), ("ridmap", "0:0")] {
            let mut container = Container::sh(runtime, &format!("{OWNERS}; echo > new"));
            let source = owned_files(&container);
            container.in_user_namespace();
            mount_mapped(&mut container, &source, None, &["rbind", option]);
            assert_eq!(container.run_ok(), format!("0:0\n1000:2000\n{below}\n"));
            // What the container's root makes belongs to root on disk.
            assert_eq!(fs::metadata(source.join("new")).expect("file").uid(), 0);
        }
    });
}

#[test]
fn idmap_with_maps_in_the_option() {
    each_runtime_but(&[NO_CRUN_OPTIONS], |runtime| {
        let cases = [
            ("idmap=uids=0-100007-10#1000-100100-1;gids=0-100001-10#2000-100200-1", "7:1\n100:200\n"),
            ("idmap=uids=@0-7-10#@1000-100-1;gids=@0-1-10#@2000-200-1", "7:1\n100:200\n"),
        ];
        for (option, expected) in cases {
            let mut container = Container::sh(runtime, "cd /m; stat -c %u:%g root user");
            let source = owned_files(&container);
            container.in_user_namespace();
            mount_mapped(&mut container, &source, None, &["rbind", option]);
            assert_eq!(container.run_ok(), expected, "{option}");
        }
    });
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    each_runtime_but(&[("crun", "maps new file systems too")], |runtime| {
        let mut container = Container::new(runtime);
        container.mount("tmpfs", "tmpfs", "/m", &[]);
        let mounts = container.spec["mounts"].as_array_mut().expect("mounts");
        if let Some(mount) = mounts.last_mut() {
            mount["uidMappings"] = map(0, 5000, 10);
            mount["gidMappings"] = map(0, 5000, 10);
        }
        container.run().fails_with("bind");
        container.assert_gone();
    });
    each_runtime_but(&[("crun", "leaves its cgroup behind then")], |runtime| {
        // procfs has no owners to map.
        let mut container = Container::new(runtime);
        mount_mapped(&mut container, Path::new("/proc/sys"), Some(&map(0, 5000, 10)), &["bind"]);
        container.run().fails_with("/proc/sys");
        container.assert_gone();
    });
}

/// Several options in one string; the peers pass all of it to mount(2) as one.
#[test]
fn commas_part_the_options_of_a_file_system() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, MOUNTINFO);
        container.mount("tmpfs", "tmpfs", "/mnt", &["nosuid", "size=64k,mode=700", "nr_inodes=7"]);
        let mountinfo = container.run_ok();
        let (own, file_system) = options(&mountinfo, "/mnt");
        assert!(own.contains(&"nosuid"), "{mountinfo}");
        for option in ["size=64k", "mode=700", "nr_inodes=7"] {
            assert!(file_system.contains(&option), "{option}: {mountinfo}");
        }
    });
}
