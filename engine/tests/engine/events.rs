//! What happens is told as Docker tells it.

use std::fs;

use crate::harness::{Room, wait_for};

/// What has happened since the beginning, without the time.
fn told(room: &Room, filters: &[&str]) -> Vec<String> {
    let flags: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
    let fixed = ["events", "--since", "1h", "--until", "0s", "--format", "{{.Type}} {{.Action}}"];
    room.call(&[&fixed[..], &flags].concat()).ok().lines().map(str::to_string).collect()
}

#[test]
fn a_stop_is_told_before_the_end_that_it_brings() {
    let Some(room) = Room::new() else { return };
    let ends = || {
        let wanted =
            |line: &String| ["kill", "stop", "die"].iter().any(|word| *line == format!("container {word}"));
        told(&room, &["container=cc"]).into_iter().filter(wanted).collect::<Vec<_>>()
    };
    let script = "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done";
    room.start(&["--name", "cc"], &["sh", "-c", script]);
    wait_for("its trap", || room.call(&["exec", "cc", "ls", "/ready"]).status == 0);
    room.call(&["stop", "cc"]).ok();
    assert_eq!(ends(), ["container kill", "container stop", "container die"]);
    // One that is killed is not stopped, whatever was before.
    room.call(&["start", "cc"]).ok();
    room.call(&["kill", "cc"]).ok();
    wait_for("its end", || ends().len() == 5);
    assert_eq!(ends()[3..], ["container kill", "container die"]);
    room.call(&["rm", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn looks_at_a_container_are_told() {
    let Some(room) = Room::new() else { return };
    let flags = ["--name", "cc", "--health-cmd", "exit 0", "--health-interval", "100ms"];
    room.start(&flags, &["sleep", "1000"]);
    let exec = |line: &&String| line.starts_with("container exec_");
    wait_for("two looks", || told(&room, &["container=cc"]).iter().filter(exec).count() >= 6);
    let looks: Vec<String> =
        told(&room, &["container=cc"]).into_iter().filter(|line| exec(&line)).take(3).collect();
    let words = "/bin/sh -c exit 0";
    let wanted = [
        format!("container exec_create: {words}"),
        format!("container exec_start: {words}"),
        "container exec_die".to_string(),
    ];
    assert_eq!(looks, wanted);
    room.call(&["top", "cc"]).ok();
    assert!(told(&room, &["event=top"]).len() == 1);
    room.call(&["rm", "-f", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn images_that_are_made_and_what_is_pruned_are_told() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    let since = |before: usize| told(&room, &["type=image"])[before..].to_vec();
    room.call(&["import", "rootfs.tar", "base:1"]).ok();
    assert_eq!(since(0), ["image tag", "image import"]);
    room.call(&["create", "--name", "cc", "--network", "none", "base:1", "true"]).ok();
    room.call(&["commit", "cc", "made:1"]).ok();
    room.call(&["commit", "cc"]).ok();
    assert_eq!(since(2), ["image create", "image tag", "image create"]);
    fs::create_dir(room.folder.join("context")).expect("folder");
    fs::write(room.folder.join("context/Dockerfile"), "FROM base:1\nLABEL a=b\n").expect("file");
    room.call(&["build", "-q", "-t", "built:1", "context"]).ok();
    assert_eq!(since(5), ["image create", "image tag"]);
    room.call(&["image", "prune", "-f"]).ok();
    assert_eq!(since(7), ["image delete", "image prune"]);
    for kind in ["container", "network", "volume"] {
        room.call(&[kind, "prune", "-f"]).ok();
        assert_eq!(told(&room, &[&format!("type={kind}"), "event=prune"]).len(), 1, "{kind}");
    }
    room.assert_gone();
}
