//! The source of a bind mount: where a relative one begins, and that a source inside the container's root
//! file system shows what earlier mounts have put there.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use crate::harness::{Container, Output, Runtime, decoy, each_runtime, each_runtime_but, pillbox_only};

/// A container with a file `data/file` in its bundle, and a different one with this name in the caller's
/// folder.
fn with_data<'r>(runtime: &'r Runtime, script: &str) -> Container<'r> {
    let container = Container::sh(runtime, script);
    for (folder, text) in [(container.bundle(), "bundle\n"), (container.folder.clone(), "caller\n")] {
        fs::create_dir(folder.join("data")).expect("folder");
        fs::write(folder.join("data/file"), text).expect("file");
        symlink(text.trim(), folder.join("link")).expect("link");
    }
    container
}

/// Runs the command where `data` is the caller's.
#[track_caller]
fn from_elsewhere(container: &Container, mut command: Command) -> Output {
    container.finish(command.current_dir(&container.folder))
}

#[test]
fn a_relative_source_begins_at_the_bundle() {
    each_runtime(|runtime| {
        let mut container = with_data(runtime, "cat /mnt/file /single /mnt/below/file");
        container.mount("bind", "data", "/mnt", &["rbind"]).mount(
            "bind",
            "./data/file",
            "/single",
            &["bind"],
        );
        container.mount("none", "../bundle/data", "/mnt/below", &["bind", "ro"]);
        fs::create_dir(container.bundle().join("data/below")).expect("folder");
        let run = container.bundle_command("run", &[]);
        let output = from_elsewhere(&container, run).ok();
        assert_eq!(output.stdout, "bundle\nbundle\nbundle\n");
    });
}

#[test]
fn a_relative_source_that_is_a_link_is_copied_from_the_bundle() {
    each_runtime_but(&[("runc", "does not know copy-symlink")], |runtime| {
        let mut container = with_data(runtime, "readlink /copied");
        container.mount("bind", "link", "/copied", &["bind", "copy-symlink"]);
        let run = container.bundle_command("run", &[]);
        assert_eq!(from_elsewhere(&container, run).ok().stdout, "bundle\n");
    });
}

#[test]
fn a_relative_source_that_is_added_begins_at_the_bundle() {
    pillbox_only(|runtime| {
        let container = with_data(runtime, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        container.create_and_start().wait_for("ready");
        let list = json!([{"destination": "/mnt", "type": "bind", "source": "data", "options": ["bind"]}]);
        let file = container.folder.join("mounts.json");
        fs::write(&file, list.to_string()).expect("list");
        let add = container.command(&["mounts", "add", &container.id, file.to_str().expect("path")]);
        from_elsewhere(&container, add).ok();
        assert_eq!(container.call(&["exec", &container.id, "/bin/cat", "/mnt/file"]).ok().stdout, "bundle\n");
    });
}

/// crun's annotations name files as well.
#[test]
fn a_relative_file_for_what_hooks_say_begins_at_the_bundle() {
    each_runtime_but(&[("runc", "does not know the annotation")], |runtime| {
        let mut container = with_data(runtime, "true");
        container.spec["annotations"] = json!({"run.oci.hooks.stdout": "said"});
        container.spec["hooks"] =
            json!({"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", "echo hook"]}]});
        let run = container.bundle_command("run", &[]);
        from_elsewhere(&container, run).ok();
        assert_eq!(fs::read_to_string(container.bundle().join("said")).expect("file"), "hook\n");
    });
}

/// The container's own tree of mounts below the root, from which sources are bound: a tmpfs on a new folder,
/// one on a folder of the image's, a folder of the host's, and a tmpfs in that.
fn with_mounts<'r>(runtime: &'r Runtime, script: &str) -> Container<'r> {
    let mut container = with_data(runtime, script);
    fs::create_dir(container.rootfs().join("has")).expect("folder");
    let data = container.bundle().join("data");
    container.mount("tmpfs", "tmpfs", "/new", &["mode=700"]);
    container.mount("tmpfs", "tmpfs", "/has", &["mode=711"]);
    container.mount("bind", data, "/has/data", &["bind"]);
    container.mount("tmpfs", "tmpfs", "/has/below/deep", &["mode=722"]);
    container
}

/// Binds what those mounts have made, and runs where relative paths lead elsewhere.
#[track_caller]
fn run_with_sources_made(container: &mut Container) {
    let script = "stat -c %a /a /b /e/below/deep; ls -A /c/below/deep; cat /d /e/data/file; \
                  echo seen > /b/shared; cat /has/shared";
    container.spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
    let rootfs = container.rootfs();
    container.mount("bind", rootfs.join("new"), "/a", &["bind"]);
    container.mount("bind", rootfs.join("has"), "/b", &["bind"]);
    container.mount("bind", rootfs.join("has"), "/c", &["bind", "ro"]);
    container.mount("bind", rootfs.join("has/data/file"), "/d", &["bind"]);
    container.mount("bind", "rootfs/has", "/e", &["rbind"]);
    let run = container.bundle_command("run", &[]);
    let expected = "700\n711\n722\nbundle\nbundle\nseen\n";
    assert_eq!(from_elsewhere(container, run).ok().stdout, expected);
}

#[test]
fn a_source_may_be_what_an_earlier_mount_made() {
    each_runtime(|runtime| run_with_sources_made(&mut with_mounts(runtime, "")));
}

#[test]
fn a_source_may_be_what_an_earlier_mount_made_in_a_user_namespace() {
    each_runtime_but(&[("crun", "opens sources before it makes mounts then")], |runtime| {
        run_with_sources_made(with_mounts(runtime, "").in_user_namespace());
    });
}

#[test]
fn the_root_itself_may_be_a_source() {
    each_runtime(|runtime| {
        let mut container = with_mounts(runtime, "stat -c %a /whole/has /whole/new; ls -A /single/new");
        let rootfs = container.rootfs();
        container.mount("bind", &rootfs, "/whole", &["rbind"]).mount("bind", &rootfs, "/single", &["bind"]);
        assert_eq!(container.run_ok(), "711\n700\n");
    });
}

/// Links in the image do not lead a source out of the root.
#[test]
fn a_source_below_the_root_stays_inside() {
    let why = "resolves the source on the host, and binds what the image's link leads to there";
    each_runtime_but(&[("crun", why), ("runc", why)], |runtime| {
        let mut container = Container::sh(runtime, "ls /mnt");
        let outside = decoy(&container.folder);
        let rootfs = container.rootfs();
        symlink(&outside, rootfs.join("out")).expect("link");
        container.mount("bind", rootfs.join("out"), "/mnt", &["bind"]);
        container.run().fails_with("the container's /out on /mnt: open the source: no such file");
        container.assert_gone();
        fs::create_dir_all(rootfs.join(outside.strip_prefix("/").expect("path")).join("inside"))
            .expect("folder");
        assert_eq!(container.run_ok(), "inside\n");
    });
}

#[test]
fn a_source_below_the_root_that_nothing_makes_is_an_error() {
    each_runtime(|runtime| {
        let mut container = Container::new(runtime);
        let missing = container.rootfs().join("missing");
        container.mount("bind", missing, "/mnt", &["bind"]);
        container.run().fails_with("/missing");
        container.delete_force();
        container.assert_gone();
    });
}
