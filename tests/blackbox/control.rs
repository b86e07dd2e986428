//! Operations on an existing container: pause, resume, ps, update, events, wait, destroy, delete --regex.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Container, Running, each_runtime, each_runtime_but, pillbox_only, wait_for};

#[test]
fn a_created_container_can_be_paused_too() {
    each_runtime_but(&[("crun", "says that it is created all the same")], |runtime| {
        let container = Container::sh(runtime, "echo ran");
        let created = container.create().ok();
        container.call(&["pause", &container.id]).ok();
        assert_eq!(container.status(), "paused");
        container.start().fails_with("paused");
        container.call(&["resume", &container.id]).ok();
        assert_eq!(container.status(), "created");
        container.start().ok();
        container.wait_status("stopped");
        assert_eq!(created.stdout_now(), "ran\n");
    });
}

#[test]
fn pause_and_resume_want_the_right_state() {
    each_runtime_but(&[("crun", "resumes what is not paused")], |runtime| {
        let container = Container::sleeping(runtime);
        container.call(&["pause", &container.id]).fails_with("container does not exist");
        container.call(&["resume", &container.id]).fails_with("container does not exist");
        container.create_and_start().wait_for("ready");
        container.call(&["resume", &container.id]).fails_with("not paused");
        container.call(&["pause", &container.id]).ok();
        container.call(&["pause", &container.id]).fails_with(if runtime.is("runc") {
            "not running"
        } else {
            "paused"
        });
        container.call(&["resume", &container.id]).ok();
        container.kill("KILL").ok();
        container.wait_status("stopped");
        container.call(&["pause", &container.id]).fails_with("");
        container.call(&["resume", &container.id]).fails_with("");
    });
}

#[test]
fn pause_is_done_when_it_returns() {
    each_runtime_but(&[("crun", "does not wait")], |runtime| {
        let container = Container::sh(runtime, "while :; do :; done");
        container.create_and_start();
        for _ in 0..10 {
            container.call(&["pause", &container.id]).ok();
            let events = fs::read_to_string(container.cgroup().join("cgroup.events")).expect("cgroup.events");
            assert!(events.contains("frozen 1"), "{events}");
            container.call(&["resume", &container.id]).ok();
        }
    });
}

#[test]
fn without_a_cgroup_there_is_nothing_to_pause_by() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.write_spec();
        let bundle = container.bundle().to_str().expect("path").to_string();
        let explained =
            container.call(&["--cgroup-manager=disabled", "explain", "--bundle", &bundle]).ok().stdout;
        assert!(explained.contains("nothing is limited, no device is refused"), "{explained}");
        container.call(&["--cgroup-manager=disabled", "create", "--bundle", &bundle, &container.id]).ok();
        for command in ["pause", "resume", "ps", "update", "events"] {
            container.call(&[command, &container.id]).fails_with("no cgroup");
        }
        container.call(&["kill", "--all", &container.id, "KILL"]).ok();
        container.wait_status("stopped");
    });
}

#[test]
fn ps_knows_the_cgroups_that_the_container_made() {
    each_runtime(|runtime| {
        let container = Container::sh(runtime, "sleep 1000 & sleep 1000 & echo ready; wait");
        container.create_and_start().wait_for("ready");
        let processes = || fs::read_to_string(container.cgroup().join("cgroup.procs")).expect("cgroup.procs");
        let moved = processes().lines().last().expect("pid").to_string();
        let inner = container.cgroup().join("a/b");
        fs::create_dir_all(&inner).expect("cgroup");
        fs::write(inner.join("cgroup.procs"), &moved).expect("moved");
        let listed = container.call(&["ps", "--format=json", &container.id]).ok().stdout;
        let pids: Vec<u32> = serde_json::from_str(&listed).expect("an array of pids");
        assert!(pids.len() == 3 && pids.contains(&moved.parse().expect("pid")), "{pids:?}");
    });
}

#[test]
fn ps_shows_the_rows_of_the_containers_processes() {
    each_runtime_but(&[("crun", "prints pids only, whatever the format")], |runtime| {
        let container = Container::sh(runtime, "sleep 1000 & echo ready; wait");
        container.create_and_start().wait_for("ready");
        let table = container.call(&["ps", &container.id]).ok().stdout;
        assert!(table.lines().next().is_some_and(|head| head.contains("PID")), "{table}");
        assert!(table.lines().count() == 3 && table.contains("sleep 1000"), "{table}");
        // Everything after the id is passed to ps, whatever it looks like.
        let table = container.call(&["ps", &container.id, "-A", "-o", "pid,ppid"]).ok().stdout;
        let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["PID", "PPID"], "{table}");
        assert!(rows.len() == 3 && rows[1][0] == container.pid().to_string(), "{table}");
        container.call(&["ps", &container.id, "-A", "-o", "comm"]).fails_with("PID");
        container.call(&["ps", &container.id, "--nonesuch"]).fails_with("ps");
    });
}

#[test]
fn update_merges_and_stores() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        container.spec["linux"]["resources"]["unified"] = json!({"cgroup.max.depth": "7"});
        container.create_and_start();
        let file =
            |name: &str| fs::read_to_string(container.cgroup().join(name)).expect(name).trim().to_string();
        assert_eq!(file("cgroup.max.depth"), "7");
        let update = |resources: Value| {
            let mut update = container.command(&["update", "--resources", "-", &container.id]);
            let path = container.folder.join("resources.json");
            fs::write(&path, resources.to_string()).expect("resources");
            container.finish(update.stdin(Stdio::from(fs::File::open(path).expect("resources"))))
        };
        // update does not change devices.
        update(json!({"unified": {"cgroup.max.descendants": "9"}, "devices": [{"allow": true}]})).ok();
        assert_eq!((file("cgroup.max.depth"), file("cgroup.max.descendants")), ("7".into(), "9".into()));

        let stored = || {
            let state = container.state_folder().join(&container.id).join("state.json");
            let state: Value = serde_json::from_slice(&fs::read(state).expect("state.json")).expect("JSON");
            state["config"].clone()
        };
        let mut expected = container.spec.clone();
        expected["linux"]["resources"]["unified"] =
            json!({"cgroup.max.depth": "7", "cgroup.max.descendants": "9"});
        assert_eq!(stored(), expected);

        // An update that fails changes nothing: the first of these limits is in force when the second is
        // refused.
        let wrong = json!({"unified": {"cgroup.max.depth": "3", "cgroup.nonesuch": "1"}});
        update(wrong).fails_with("cgroup.nonesuch");
        assert_eq!((file("cgroup.max.depth"), stored()), ("7".into(), expected));
        for (resources, part) in [
            (json!({"pids": {"limit": "many"}}), "pids.limit"),
            (json!({"unified": {"a/b.c": "1"}}), "a/b.c"),
            (json!({"memory": {"swappiness": 3}}), "swappiness"),
            (json!({"cpu": {"realtimeRuntime": 900}}), "realtimeRuntime"),
        ] {
            update(resources).fails_with(part);
        }
        assert_eq!(container.status(), "running");
    });
}

#[test]
fn update_reads_its_flags() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        let update =
            |arguments: &[&str]| container.call(&[&["update"], arguments, &[&container.id]].concat());
        update(&[]).ok();
        update(&["--memory", "0", "--cpu-quota=0", "--cpu-share", "0"]).ok();
        update(&["--memory", "lots"]).fails_with("--memory: \"lots\"");
        update(&["--cpuset-cpus", "a"]).fails_with("--cpuset-cpus");
        update(&["--blkio-weight", "7"]).fails_with("blockIO.weight");
        update(&["--kernel-memory", "1m"]).fails_with("memory.kernel");
        update(&["--memory", "64m", "--memory-swap", "32m"]).fails_with("memory.swap: 33554432");
        update(&["--resources", "nonesuch.json"]).fails_with("nonesuch.json");
        container.kill("KILL").ok();
        container.wait_status("stopped");
        update(&["--pids-limit", "9"]).fails_with("container not running");
    });
}

/// The lines of `events`.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn events_has_the_numbers_once() {
    each_runtime_but(&[("crun", "has no events")], |runtime| {
        let container = Container::sh(
            runtime,
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 1000",
        );
        container.create_and_start().wait_for("ready");
        let events = lines(&container.call(&["events", "--stats", &container.id]).ok().stdout);
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(container.id)));
        let data = &event["data"];
        for member in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt"] {
            assert!(data[member].is_object(), "{member}: {event}");
        }
        let usage = &data["cpu"]["usage"];
        let number = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("{name}: {event}"));
        // In nanoseconds: the loop takes more than a millisecond and less than ten seconds.
        assert!((1_000_000..10_000_000_000).contains(&number("total")), "{event}");
        assert!(number("user") + number("kernel") <= number("total") + 10_000, "{event}");
    });
}

#[test]
fn events_go_on_until_the_container_ends() {
    each_runtime_but(&[("crun", "has no events"), ("runc", "ends with the cgroup only")], |runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        let watching =
            container.spawn(&mut container.command(&["events", "--interval", "50ms", &container.id]));
        wait_for("three lines", || (watching.stdout_now().lines().count() >= 3).then_some(()));
        container.kill("KILL").ok();
        let output = watching.finish().ok();
        assert!(lines(&output.stdout).iter().all(|line| line["type"] == "stats"), "{output:?}");
        container.call(&["events", "--stats", &container.id]).fails_with("not running");
        for interval in ["0s", "-1s", "soon", "5"] {
            let interval = format!("--interval={interval}");
            container.call(&["events", &interval, &container.id]).fails_with("interval");
        }
    });
}

#[test]
fn events_takes_no_more_memory_as_time_goes_by() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start().wait_for("ready");
        let watching =
            container.spawn(&mut container.command(&["events", "--interval", "1ms", &container.id]));
        let data_size = || {
            let status =
                fs::read_to_string(format!("/proc/{}/status", watching.pid().as_raw_pid())).expect("status");
            let line =
                status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS").to_string();
            line.trim().trim_end_matches(" kB").parse::<u32>().expect("size")
        };
        let count = || watching.stdout_now().lines().count();
        wait_for("a hundred lines", || (count() > 100).then_some(()));
        let before = data_size();
        wait_for("five hundred lines more", || (count() > 600).then_some(()));
        let after = data_size();
        assert!(after < before + 100, "{before} KB, then {after} KB");
        container.kill("KILL").ok();
        watching.finish().ok();
    });
}

/// Starts `wait`, and returns once it has opened the container's process.
fn waits(container: &Container) -> Running {
    let waiting = container.spawn(&mut container.command(&["wait", &container.id]));
    let folder = format!("/proc/{}/fd", waiting.pid().as_raw_nonzero());
    wait_for("wait", || {
        let links =
            fs::read_dir(&folder).ok()?.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        links.into_iter().any(|link| link.to_string_lossy().contains("pidfd")).then_some(())
    });
    waiting
}

#[test]
fn wait_tells_the_status() {
    pillbox_only(|runtime| {
        for status in [7, 0] {
            let script = format!("until [ -e /go ]; do sleep 0.02; done; exit {status}");
            let container = Container::sh(runtime, &script);
            container.create_and_start();
            let waiting = waits(&container);
            fs::write(container.rootfs().join("go"), "").expect("go");
            let waited = waiting.finish();
            assert_eq!((waited.code, waited.stdout), (status, format!("{status}\n")), "{}", waited.stderr);
            assert_eq!(container.status(), "stopped");
        }
        let container = Container::sleeping(runtime);
        container.call(&["wait", &container.id]).fails_with("container does not exist");
        container.create_and_start();
        let waiting = waits(&container);
        container.kill("KILL").ok();
        let waited = waiting.finish();
        assert_eq!((waited.code, waited.stdout.as_str()), (137, "137\n"), "{}", waited.stderr);
    });
}

#[test]
fn wait_knows_also_what_another_process_has_asked_for() {
    pillbox_only(|runtime| {
        // `run` is init's parent, and gets the status.
        let container = Container::sh(runtime, "echo up; read line; exit 9");
        let mut running = container.run_in_background();
        wait_for("the container", || (running.stdout_now() == "up\n").then_some(()));
        let waiting = waits(&container);
        drop(running.stdin());
        assert_eq!(running.finish().code, 9);
        let waited = waiting.finish();
        // Before Linux 6.15 the kernel may have told only the parent, and then `wait` says so.
        let known = (waited.code, waited.stdout.as_str()) == (9, "9\n");
        assert!(known || (waited.code == 1 && waited.stderr.contains("only its parent")), "{waited:?}");
    });
}

#[test]
fn destroy_is_delete_by_force() {
    pillbox_only(|runtime| {
        let container = Container::sleeping(runtime);
        container.create_and_start();
        container.call(&["destroy", &container.id]).ok();
        container.assert_gone();
        container.call(&["destroy", &container.id]).ok();
    });
}

#[test]
fn delete_and_kill_take_a_regular_expression() {
    each_runtime_but(&[("runc", "has no --regex")], |runtime| {
        let mut container = Container::new(runtime);
        container.create().ok();
        for suffix in ["-one", "-two", "-other"] {
            let id = format!("{}{suffix}", container.id);
            container.spec["linux"]["cgroupsPath"] = json!(format!("/{id}"));
            container.write_spec();
            container
                .finish(container.command(&["create", "--bundle"]).arg(container.bundle()).arg(&id))
                .ok();
        }
        let ids = || {
            let listed = container.call(&["list", "-q"]).ok().stdout;
            let mut ids: Vec<_> = listed.lines().map(|id| id.replace(&container.id, "")).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(), ["", "-one", "-other", "-two"]);
        container.call(&["kill", "--regex", "[-]one$", "KILL"]).ok();
        let status = |suffix: &str| {
            let state = container.call(&["state", &format!("{}{suffix}", container.id)]).ok().stdout;
            serde_json::from_str::<Value>(&state).expect("state")["status"].clone()
        };
        wait_for("the end", || (status("-one") == "stopped").then_some(()));
        assert_eq!(status("-two"), "created");
        // An expression that matches anywhere in the id.
        container.call(&["delete", "--force", "--regex", "(-one|-t[a-z]o)$"]).ok();
        assert_eq!(ids(), ["", "-other"]);
        if !runtime.is("crun") {
            // crun crashes.
            container.call(&["delete", "--regex", "("]).fails_with("regular expression");
        }
        container.call(&["delete", "--force", "--regex", "nonesuch"]).ok();
        assert_eq!(ids(), ["", "-other"]);
        container.call(&["delete", "--force", "--regex", &format!("^{}", container.id)]).ok();
        container.assert_gone();
    });
}

#[test]
fn kill_all_of_what_has_stopped_is_no_error() {
    each_runtime(|runtime| {
        let container = Container::new(runtime);
        container.create_and_start();
        container.wait_status("stopped");
        container.call(&["kill", "--all", &container.id, "KILL"]).ok();
        container.call(&["kill", "-a", &container.id, "15"]).ok();
        container.kill("KILL").fails_with("not running");
    });
}
