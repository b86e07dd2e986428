//! Mount events between container and host: every propagation of the root with every one of a bind mount.

use std::fs;
use std::path::PathBuf;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, wait_for};

/// The options of the binds, in the order of the tables below; "" means none.
const OPTIONS: [&str; 9] =
    ["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

/// A tmpfs on the host with another one below it, both shared or both private.
fn source(container: &Container, propagation: MountPropagationFlags) -> PathBuf {
    let source = container.folder.join("source");
    fs::create_dir(&source).expect("folder");
    mount("tmpfs", &source, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
    fs::create_dir(source.join("sub")).expect("folder");
    mount("tmpfs", source.join("sub"), "tmpfs", MountFlags::empty(), None).expect("tmpfs");
    mount_change(&source, propagation | MountPropagationFlags::REC).expect("propagation");
    source
}

/// The propagation of the last mount at `point`: s for shared, m for having a master, u for unbindable.
fn letters(mountinfo: &str, point: &str) -> String {
    let mut lines = mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some(point));
    let line = lines.next_back().unwrap_or_else(|| panic!("nothing is mounted at {point}: {mountinfo}"));
    let fields = line.split(' ').skip(6).take_while(|field| *field != "-");
    let letters: String = fields.filter_map(|field| field.chars().next()).collect();
    if letters.is_empty() { "-".into() } else { letters }
}

/// For each option the letters of the bind and, after a slash, those of the mount below; before them those of
/// the root.
fn table(container: &mut Container, root: &str, source: &PathBuf) -> String {
    if !root.is_empty() {
        container.spec["linux"]["rootfsPropagation"] = json!(root);
    }
    for option in OPTIONS {
        let options: Vec<&str> = ["rbind", option].into_iter().filter(|option| !option.is_empty()).collect();
        container.mount("none", source, &format!("/m{option}"), &options);
    }
    let output = container.run_ok();
    let of = |option: &str| {
        let point = format!("/m{option}");
        format!("{}/{}", letters(&output, &point), letters(&output, &format!("{point}/sub")))
    };
    format!("{}: {}", letters(&output, "/"), OPTIONS.map(of).join(" "))
}

/// crun takes every option as recursive, and without `rootfsPropagation` makes everything private in the end.
const CRUN: (&str, &str) = ("crun", "takes all options as recursive, ends by making mounts private");

#[track_caller]
fn check(peers: &[(&str, &str)], host: MountPropagationFlags, rows: &[(&str, &str)]) {
    each_runtime_but(peers, |runtime| {
        for (root, expected) in rows {
            let mut container = Container::sh(runtime, "cat /proc/self/mountinfo");
            let source = source(&container, host);
            assert_eq!(table(&mut container, root, &source), *expected, "root {root:?}");
        }
    });
}

#[test]
fn binds_of_private_mounts() {
    let rows = [
        ("", "-: -/- -/- -/- -/- -/- s/- s/s u/- u/u"),
        ("private", "-: -/- -/- -/- -/- -/- s/- s/s u/- u/u"),
        ("rprivate", "-: -/- -/- -/- -/- -/- s/- s/s u/- u/u"),
        ("slave", "-: -/- -/- -/- -/- -/- s/- s/s u/- u/u"),
        ("shared", "s: -/- -/- -/- -/- -/- s/- s/s u/- u/u"),
        ("unbindable", "u: -/- -/- -/- -/- -/- s/- s/s u/- u/u"),
    ];
    check(&[CRUN], MountPropagationFlags::PRIVATE, &rows);
    // runc turns shared mounts into slaves; with rshared it makes the container's mounts peers and slaves of
    // copies outside, which no process can reach.
    let rows = [
        ("rslave", "-: -/- -/- -/- -/- -/- s/- s/s u/- u/u"),
        ("rshared", "s: s/s s/s s/s s/s s/s s/s s/s s/s s/s"),
    ];
    check(&[CRUN, ("runc", "see above")], MountPropagationFlags::PRIVATE, &rows);
}

#[test]
fn binds_of_shared_mounts_with_a_shared_root() {
    let rows = [
        ("shared", "s: s/s -/s -/- m/s m/m s/s s/s u/s u/u"),
        ("rshared", "s: s/s s/s s/s sm/s sm/sm s/s s/s s/s s/s"),
    ];
    check(&[CRUN], MountPropagationFlags::SHARED, &rows);
}

#[test]
fn binds_of_shared_mounts_with_any_other_root() {
    // With a non-recursive root propagation, the mounts below (runc), or all without an option (crun), stay
    // peers of the host's: mounts made by the container show on the host. Without any, runc makes binds
    // without an option slaves, and crun makes all binds private. With rslave both undo `shared`.
    let rows = [
        ("", "-: -/- -/m -/- m/m m/m sm/m sm/sm u/m u/u"),
        ("private", "-: -/- -/m -/- m/m m/m sm/m sm/sm u/m u/u"),
        ("slave", "-: m/m -/m -/- m/m m/m sm/m sm/sm u/m u/u"),
        ("rslave", "-: m/m -/m -/- m/m m/m sm/m sm/sm u/m u/u"),
        ("unbindable", "u: -/- -/m -/- m/m m/m sm/m sm/sm u/m u/u"),
    ];
    check(&[CRUN, ("runc", "see above")], MountPropagationFlags::SHARED, &rows);
    check(&[CRUN], MountPropagationFlags::SHARED, &[("rprivate", "-: -/- -/- -/- -/- -/- s/- s/s u/- u/u")]);
}

#[test]
fn an_unbindable_root_in_all_its_parts() {
    // Both peers make the root unbindable before they bind it, and fail.
    each_runtime_but(&[("crun", "EINVAL"), ("runc", "EINVAL")], |runtime| {
        let mut container = Container::sh(runtime, "cat /proc/self/mountinfo");
        container.spec["linux"]["rootfsPropagation"] = json!("runbindable");
        let output = container.run_ok();
        assert_eq!(
            ["/", "/proc", "/dev/shm"].map(|point| letters(&output, point)),
            ["u", "u", "u"],
            "{output}"
        );
    });
}

/// The mount points of the container's first process.
fn points_inside(container: &Container) -> String {
    fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).expect("mountinfo")
}

#[test]
fn a_slave_hears_of_the_hosts_mounts() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        let source = source(&container, MountPropagationFlags::SHARED);
        container.spec["linux"]["rootfsPropagation"] = json!("rslave");
        container.mount("none", &source, "/heard", &["rbind", "rslave"]);
        container.mount("none", &source, "/deaf", &["rbind", "rprivate"]);
        container.create_and_start().wait_for("ready");
        fs::create_dir(source.join("later")).expect("folder");
        mount("tmpfs", source.join("later"), "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        let inside = wait_for("the mount", || {
            Some(points_inside(&container)).filter(|text| text.contains("/heard/later"))
        });
        assert!(!inside.contains("/deaf/later"), "{inside}");
    });
}

#[test]
fn a_shared_bind_tells_the_host_only_with_a_shared_root() {
    each_runtime_but(
        &[("crun", "tells the host with a slave root too"), ("runc", "tells the host with a slave root too")],
        |runtime| {
            for (root, heard) in [("shared", true), ("rshared", true), ("slave", false), ("private", false)] {
                let mut container = Container::sh(runtime, "mount -t tmpfs tmpfs /m/new");
                let caps = json!(["CAP_SYS_ADMIN"]);
                container.spec["process"]["capabilities"] =
                    json!({"bounding": caps, "effective": caps, "permitted": caps});
                let source = source(&container, MountPropagationFlags::SHARED);
                fs::create_dir(source.join("new")).expect("folder");
                container.spec["linux"]["rootfsPropagation"] = json!(root);
                container.mount("none", &source, "/m", &["rbind", "rshared"]);
                container.run_ok();
                let here = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
                assert_eq!(here.contains("source/new "), heard, "root {root}");
            }
        },
    );
}
