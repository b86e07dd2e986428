//! What `state` and `list` say about containers, whatever has happened to them and their records.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Container, pillbox_only};

/// What `list` says about each container; `state` has to say the same.
fn listed(container: &Container<'_>) -> Vec<Value> {
    let output = container.call(&["list", "--format", "json"]).ok();
    let entries: Vec<Value> = serde_json::from_str(&output.stdout).expect("an array");
    for entry in &entries {
        let state = container.call(&["state", entry["id"].as_str().expect("id")]).ok();
        assert_eq!(*entry, serde_json::from_str::<Value>(&state.stdout).expect("JSON"));
    }
    let table = container.call(&["list"]).ok().stdout;
    assert_eq!(table.lines().count(), entries.len() + 1, "{table}");
    entries
}

fn listed_status(container: &Container<'_>) -> String {
    let entries = listed(container);
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0]["status"].as_str().expect("status").to_string()
}

/// Changes the record.
fn edit(container: &Container<'_>, change: impl FnOnce(&mut Value)) {
    let path = container.state_folder().join(&container.id).join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).expect("state.json")).expect("JSON");
    // The configuration stays the last member.
    let config = state.as_object_mut().and_then(|state| state.remove("config")).expect("config");
    change(&mut state);
    let text = state.to_string();
    let text = format!("{},\"config\":{config}}}\n", text.strip_suffix('}').expect("an object"));
    fs::write(&path, text).expect("write state.json");
}

fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(20)?.parse().ok()).expect("a start time")
}

#[test]
fn list_says_what_state_says() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create().ok();
        assert_eq!(listed_status(&container), "created");
        container.call(&["pause", &container.id]).ok();
        assert_eq!(listed_status(&container), "paused");
        container.call(&["resume", &container.id]).ok();
        assert_eq!(listed_status(&container), "created");
        container.start().ok();
        assert_eq!(listed_status(&container), "running");
        // Frozen by another program.
        let freezer = container.cgroup().join("cgroup.freeze");
        fs::write(&freezer, "1").expect("freeze");
        crate::harness::wait_for("the freezer", || (container.status() == "paused").then_some(()));
        assert_eq!(listed_status(&container), "paused");
        fs::write(&freezer, "0").expect("thaw");
        crate::harness::wait_for("the freezer", || (container.status() == "running").then_some(()));
        assert_eq!(listed_status(&container), "running");
        container.kill("KILL").ok();
        container.wait_status("stopped");
        assert_eq!(listed_status(&container), "stopped");
        assert_eq!(listed(&container)[0]["pid"], 0);
        container.delete().ok();
        container.assert_gone();
    });
}

/// The gate is left behind by a `start` that was killed after the program was executed, and by a machine that
/// went down.
#[test]
fn a_gate_that_nobody_watches_is_no_created_container() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().ok();
        drop(
            std::os::unix::net::UnixListener::bind(container.state_folder().join(&container.id).join("gate"))
                .expect("gate"),
        );
        assert_eq!(listed_status(&container), "running");
        container.kill("KILL").ok();
        container.wait_status("stopped");
        assert_eq!(listed_status(&container), "stopped");
        container.delete_force().ok();
        container.assert_gone();
    });
}

#[test]
fn who_has_the_number_of_a_container_that_is_gone_is_not_that_container() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().ok();
        let pid = container.pid();
        // As recorded before Linux 6.9, and by older versions.
        edit(&container, |state| {
            state.as_object_mut().expect("object").remove("pidfdInode");
            state["startTime"] = json!(start_time(pid));
        });
        assert_eq!(listed_status(&container), "running");
        assert_eq!(container.call(&["exec", &container.id, "true"]).code, 0);
        edit(&container, |state| state["startTime"] = json!(start_time(pid) + 1));
        assert_eq!(listed_status(&container), "stopped");
        container.kill("KILL").fails_with("not running");
        edit(&container, |state| {
            state["startTime"] = json!(0);
            state["pidfdInode"] = json!(u64::MAX);
        });
        assert_eq!(listed_status(&container), "stopped");
        container.kill("KILL").fails_with("not running");
        edit(&container, |state| {
            state["startTime"] = json!(start_time(pid));
            state["pidfdInode"] = json!(0);
            state["bootId"] = json!("another");
        });
        assert_eq!(listed_status(&container), "stopped");
        container.kill("KILL").fails_with("not running");
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        kill_process(Pid::from_raw(pid as i32).expect("pid"), Signal::KILL).expect("kill");
        // In a cgroup from another boot nothing is killed: it is removed if it is empty.
        let events = container.cgroup().join("cgroup.events");
        crate::harness::wait_for("the end", || {
            fs::read_to_string(&events).ok()?.contains("populated 0").then_some(())
        });
        container.delete_force().ok();
        container.assert_gone();
    });
}

/// Containers that cannot be read are listed, with an error; what a killed `create` has left is not.
#[test]
fn a_long_list_is_whole_and_in_order() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["annotations"] = json!({"long": "x".repeat(3000), "quoted": "\"config\":{"});
        container.create().ok();
        let folder = container.state_folder().join(&container.id);
        let text = fs::read_to_string(folder.join("state.json")).expect("state.json");
        let name = |number: usize| format!("{}-{number:03}", container.id);
        // A container whose gate's path is too long for a socket address.
        let long = format!("{}-{}", container.id, "y".repeat(150));
        let copies: Vec<_> = (0..150).map(name).chain([long]).collect();
        for copy in &copies {
            let there = folder.with_file_name(copy);
            fs::create_dir(&there).expect("mkdir");
            let id = format!("\"id\":\"{}\"", container.id);
            fs::write(there.join("state.json"), text.replacen(&id, &format!("\"id\":\"{copy}\""), 1))
                .expect("state.json");
            fs::hard_link(folder.join("gate"), there.join("gate")).expect("the same gate");
        }
        // A `create` that was killed, and a damaged record.
        fs::remove_file(folder.with_file_name(&copies[40]).join("state.json")).expect("remove");
        fs::write(folder.with_file_name(&copies[41]).join("state.json"), "{\"id\":").expect("write");
        let mut expected = copies.clone();
        expected.remove(40);
        expected.insert(0, container.id.clone());
        expected.sort();

        let output = container.call(&["list", "--format", "json"]).fails_with(&copies[41]);
        assert_eq!((output.code, output.error_lines().len()), (1, 1));
        let entries: Vec<Value> = serde_json::from_str(&output.stdout).expect("an array");
        let ids: Vec<_> = entries.iter().map(|entry| entry["id"].as_str().expect("id")).collect();
        assert_eq!(ids, expected);
        let (unknown, known): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| entry["id"] == copies[41].as_str());
        assert_eq!((unknown.len(), unknown[0]["status"].as_str()), (1, Some("unknown")));
        for entry in known {
            assert_eq!(entry["status"], "created", "{}", entry["id"]);
            assert!(entry["annotations"] == container.spec["annotations"], "{}", entry["id"]);
        }
        let table = container.call(&["list"]).fails_with(&copies[41]).stdout;
        let ids: Vec<_> = table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(ids, expected);
        let quiet = container.call(&["list", "-q"]).fails_with(&copies[41]).stdout;
        assert_eq!(quiet.lines().collect::<Vec<_>>(), expected);
        for copy in &copies {
            fs::remove_dir_all(folder.with_file_name(copy)).expect("remove");
        }
        container.delete_force().ok();
        container.assert_gone();
    });
}
