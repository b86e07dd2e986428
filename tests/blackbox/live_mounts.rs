//! `mounts add` and `mounts remove`: mounts of a running container.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Container, Output, decoy, each_runtime_but, mountpoints, pillbox_only, while_swapped};

const RUNC: (&str, &str) = ("runc", "has no such command");

/// `mounts VERB ID FILE`, with `list` in the file.
#[track_caller]
fn mounts(container: &Container, verb: &str, list: Value) -> Output {
    let file = container.folder.join("mounts.json");
    fs::write(&file, list.to_string()).expect("list");
    container.call(&["mounts", verb, &container.id, file.to_str().expect("path")])
}

#[track_caller]
fn exec(container: &Container, script: &str) -> String {
    container.call(&["exec", &container.id, "/bin/sh", "-c", script]).ok().stdout
}

/// The container's mount points below /data.
fn below_data(container: &Container) -> BTreeSet<String> {
    let mountinfo = exec(container, "cat /proc/self/mountinfo");
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| point.starts_with("/data")).map(String::from).collect()
}

/// The host's mounts that concern this container; other cases have their own.
fn on_the_host(container: &Container) -> Vec<String> {
    let folder = container.folder.to_str().expect("folder");
    mountpoints().into_iter().filter(|path| path.contains(folder)).collect()
}

/// A folder and a file on the host, as sources.
fn sources(container: &Container) -> (String, String) {
    let folder = container.folder.join("source");
    fs::create_dir_all(&folder).expect("folder");
    fs::write(folder.join("file"), "of the host\n").expect("file");
    let text = |path: &Path| path.to_str().expect("path").to_string();
    (text(&folder), text(&folder.join("file")))
}

fn add_and_remove(container: &Container) {
    let (folder, file) = sources(container);
    let list = json!([
        {"destination": "/data/folder", "type": "bind", "source": folder, "options": ["bind", "ro"]},
        {"destination": "/data/tmpfs", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/data/tmpfs/file", "type": "bind", "source": file, "options": ["bind"]},
    ]);
    container.create_and_start().wait_for("ready");
    let before = on_the_host(container);
    mounts(container, "add", list.clone()).ok();
    let script = "cat /data/folder/file /data/tmpfs/file; \
                  (: > /data/folder/new) 2>/dev/null || echo read-only; : > /data/tmpfs/new && echo writable";
    assert_eq!(exec(container, script), "of the host\nof the host\nread-only\nwritable\n");
    let points = ["/data/folder", "/data/tmpfs", "/data/tmpfs/file"].map(String::from);
    assert_eq!(below_data(container), BTreeSet::from(points));
    // crun removes from the first to the last, which also removes the mounts below.
    let mut reversed = list.as_array().expect("list").clone();
    if container.runtime.is("crun") {
        reversed.reverse();
    }
    mounts(container, "remove", Value::Array(reversed)).ok();
    assert_eq!(below_data(container), BTreeSet::new());
    assert_eq!(on_the_host(container), before);
}

#[test]
fn mounts_come_and_go() {
    each_runtime_but(&[RUNC], |runtime| add_and_remove(&Container::sleeping(runtime)));
}

#[test]
fn mounts_come_and_go_in_a_user_namespace() {
    each_runtime_but(&[RUNC], |runtime| {
        let mut container = Container::sleeping(runtime);
        container.with_namespace("user", None);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        container.spec["linux"]["uidMappings"] = map.clone();
        container.spec["linux"]["gidMappings"] = map;
        for path in [container.rootfs(), container.rootfs().join("tmp")] {
            chown(path, Some(100_000), Some(100_000)).expect("chown");
        }
        add_and_remove(&container);
    });
}

#[test]
fn a_list_without_options_or_content_and_a_created_container() {
    each_runtime_but(&[RUNC], |runtime| {
        let container = Container::sh(runtime, "ls /data/folder");
        let (folder, _) = sources(&container);
        let created = container.create().ok();
        mounts(&container, "add", json!([])).ok();
        let options = ["rbind", "rprivate"];
        mounts(
            &container,
            "add",
            json!([{"destination": "/data/folder", "type": "none", "source": folder, "options": options}]),
        )
        .ok();
        container.start().ok();
        created.wait_for("file");
    });
}

#[test]
fn mount_options_count_as_at_creation() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        let (folder, _) = sources(&container);
        fs::create_dir(container.rootfs().join("seed")).expect("folder");
        fs::write(container.rootfs().join("seed/image"), "of the image\n").expect("file");
        container.create_and_start().wait_for("ready");
        let list = json!([
            {"destination": "/seed", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro", "size=64k"]},
            {"destination": "/data/mapped", "type": "bind", "source": folder, "options": ["bind", "nosuid"],
             "uidMappings": [{"containerID": 0, "hostID": 7, "size": 10}],
             "gidMappings": [{"containerID": 0, "hostID": 8, "size": 10}]},
        ]);
        let file = container.folder.join("list");
        fs::write(&file, list.to_string()).expect("list");
        let mut add = container.command(&["mounts", "add", &container.id, "-"]);
        container.finish(add.stdin(fs::File::open(&file).expect("list"))).ok();
        let script =
            "cat /seed/image; stat -c %u:%g /data/mapped/file; grep -c 'size=64k' /proc/self/mountinfo";
        assert_eq!(exec(&container, script), "of the image\n7:8\n1\n");
    });
}

/// Also for a file, and for a mount that has another one of the list on it.
#[test]
fn a_failure_takes_back_what_was_mounted() {
    pillbox_only(|runtime| {
        for user_namespace in [false, true] {
            let mut container = Container::sleeping(runtime);
            if user_namespace {
                container.with_namespace("user", None);
                let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
                container.spec["linux"]["uidMappings"] = map.clone();
                container.spec["linux"]["gidMappings"] = map;
            }
            let (folder, file) = sources(&container);
            container.create_and_start().wait_for("ready");
            let before = exec(&container, "cat /proc/self/mountinfo");
            let list = json!([
                {"destination": "/data/folder", "type": "bind", "source": folder, "options": ["rbind", "rslave"]},
                {"destination": "/data/file", "type": "bind", "source": file, "options": ["bind"]},
                {"destination": "/data/tmpfs", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/data/tmpfs/deeper", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/data/wrong", "type": "tmpfs", "source": "tmpfs", "options": ["nonsense"]},
            ]);
            mounts(&container, "add", list).fails_with("mount tmpfs on /data/wrong: option \"nonsense\"");
            assert_eq!(exec(&container, "cat /proc/self/mountinfo"), before);
            // A missing mount is noticed before anything is removed.
            mounts(&container, "add", json!([{"destination": "/data/tmpfs", "type": "tmpfs"}])).ok();
            let list = json!([{"destination": "/data/file"}, {"destination": "/data/tmpfs"}]);
            mounts(&container, "remove", list)
                .fails_with("unmount /data/file: invalid argument: nothing is mounted");
            assert_eq!(below_data(&container), BTreeSet::from(["/data/tmpfs".to_string()]));
        }
    });
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        let (folder, file) = sources(&container);
        container.create_and_start().wait_for("ready");
        let before = exec(&container, "cat /proc/self/mountinfo");
        let bind = |destination: &str, options: &[&str]| json!([{"destination": destination, "type": "bind", "source": folder, "options": options}]);
        for (list, part) in [
            (json!({}), "mounts: {} is not a list"),
            (json!([{"type": "tmpfs"}]), "mounts[0].destination: missing"),
            (bind("/", &["bind"]), "mounts[0].destination: \"/\""),
            (bind("/proc", &["bind"]), "mounts[0].destination: \"/proc\": nothing may change in /proc"),
            (bind("/proc/sys", &["bind"]), "mounts[0].destination: \"/proc/sys\": nothing may change"),
            (bind("/x/../proc/sys", &["bind"]), "write it without \"..\""),
            (bind("/data", &["bind", "remount", "ro"]), "mounts[0].options: \"remount\""),
            (bind("/data", &["bind", "copy-symlink"]), "mounts[0].options: \"copy-symlink\""),
            (
                json!([{"destination": "/data", "type": "overlay", "source": "overlay"}]),
                "mounts[0].type: \"overlay\"",
            ),
            (
                json!([{"destination": "/data", "type": "bind", "source": "/not/there"}]),
                "mounts[0].source: /not/there",
            ),
            (Value::Array(vec![json!({"destination": "/data", "type": "tmpfs"}); 65]), "65 are too many"),
        ] {
            assert_eq!(mounts(&container, "add", list).fails_with(part).code, 1);
        }
        // A link in the image makes no difference.
        symlink("/proc", container.rootfs().join("link")).expect("symlink");
        let list =
            json!([{"destination": "/link/version", "type": "bind", "source": file, "options": ["bind"]}]);
        mounts(&container, "add", list).fails_with("the target lies in procfs");
        for (destination, part) in [
            ("/proc/kcore", "nothing may change in /proc"),
            ("/data/none", "unmount /data/none: no such file or folder"),
            ("/bin", "unmount /bin: invalid argument: nothing is mounted there"),
            ("/link/kcore", "a symbolic link is on the way"),
            ("/", "mounts[0].destination: \"/\""),
        ] {
            mounts(&container, "remove", json!([{"destination": destination}])).fails_with(part);
        }
        assert_eq!(exec(&container, "cat /proc/self/mountinfo"), before);
        container.call(&["mounts", "drop", &container.id, "x"]).fails_with("must be add or remove");
        container.call(&["mounts", "add", &container.id]).fails_with("is missing");
        container
            .call(&["mounts", "add", &container.id, "/not/there"])
            .fails_with("/not/there: no such file");
        container.call(&["pause", &container.id]).ok();
        mounts(&container, "add", bind("/data", &["bind"])).fails_with("it is paused: resume it first");
        container.call(&["resume", &container.id]).ok();
        container.kill("KILL").ok();
        container.wait_status("stopped");
        mounts(&container, "add", bind("/data", &["bind"])).fails_with("container not running");
        container.call(&["mounts", "add", "nobody", "/dev/null"]).fails_with("container does not exist");
    });
}

/// The image, or a program in the container, would otherwise get a mask removed that hides the host's
/// secrets.
#[test]
fn a_mask_behind_a_link_stays() {
    each_runtime_but(&[RUNC, ("crun", "unmounts through symbolic links")], |runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        symlink("/sys", container.rootfs().join("data")).expect("symlink");
        mounts(&container, "remove", json!([{"destination": "/data/firmware"}])).fails_with("/data/firmware");
        assert!(exec(&container, "cat /proc/self/mountinfo").contains(" /sys/firmware "));
    });
}

/// CVE-2019-19921, CVE-2021-30465 and CVE-2024-45310, for a running container.
#[test]
fn targets_are_resolved_inside() {
    each_runtime_but(&[RUNC], |runtime| {
        let mut container = Container::sleeping(runtime);
        let outside = decoy(&container.folder);
        let volume = container.folder.join("volume");
        fs::create_dir_all(volume.join("a")).expect("volume");
        symlink(&outside, volume.join("b")).expect("symlink");
        container.mount("none", &volume, "/volume", &["rbind"]);
        container.create_and_start().wait_for("ready");
        mounts(
            &container,
            "add",
            json!([{"destination": "/volume/first", "type": "tmpfs", "source": "tmpfs"}]),
        )
        .ok();
        let before = on_the_host(&container);
        let list = json!([
            {"destination": "/volume/b/new", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/volume/a/n", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/volume/a/file", "type": "bind", "source": outside.join("marker"), "options": ["bind"]},
        ]);
        while_swapped(&volume.join("a"), &volume.join("b"), || {
            for _ in 0..if runtime.is("pillbox") { 100 } else { 10 } {
                for verb in ["add", "remove"] {
                    // The race may end in success or an error, but never with a trace outside.
                    mounts(&container, verb, list.clone());
                }
            }
        });
        let names = fs::read_dir(&outside).expect("decoy").flatten().map(|entry| entry.file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["marker"]);
        assert_eq!(fs::read_to_string(outside.join("marker")).expect("marker"), "untouched");
        assert_eq!(on_the_host(&container), before);
    });
}
