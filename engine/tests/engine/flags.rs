//! Flags of run and create that change a little each, and those that are refused.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{Output, Room, finish, wait_for};
use crate::rootless::{USER, room as room_of};

#[test]
fn a_first_process_of_its_own() {
    for room in [Room::new(), room_of(USER)].into_iter().flatten() {
        // The program is its child, and its status is the container's.
        let script = "echo $$ $(cat /proc/1/comm); exit 7";
        let said = room.run(&["--init", "--read-only"], &["sh", "-c", script]).exits(7);
        let words: Vec<&str> = said.stdout.split_whitespace().collect();
        assert_eq!(words[1], "docker-init", "{said:?}");
        assert_ne!(words[0], "1", "{said:?}");
        room.run(&["--init"], &["sh", "-c", "kill -TERM $$"]).exits(143);
        room.run(&["--init"], &["nonesuch"]).fails(127, "nonesuch");
        room.run(&["--init", "-u", "web"], &["id", "-u"]).ok();
        // It has nothing of the runtime's, and what it writes to is there for others.
        let script = "ls /proc/1/fd; echo by another way >/proc/1/fd/1";
        assert_eq!(room.run(&["--init"], &["sh", "-c", script]).ok(), "1\n2\nby another way\n");
        // Whoever has lost its parent is collected; signals reach the program.
        let script =
            "trap 'echo heard; exit 3' TERM; (sleep 0.1 & ); echo ready; while :; do sleep 0.05; done";
        room.start(&["--init", "--name", "kept"], &["sh", "-c", script]);
        wait_for("the script", || room.call(&["logs", "kept"]).stdout.contains("ready"));
        let zombies = "for f in /proc/[0-9]*/stat; do read -r a b state c <$f; echo $state; done | sort";
        wait_for("no zombie", || {
            let states = room.call(&["exec", "kept", "sh", "-c", zombies]);
            states.status == 0 && !states.stdout.contains('Z')
        });
        let began = Instant::now();
        room.call(&["stop", "kept"]).ok();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(room.call(&["wait", "kept"]).ok(), "3\n");
        assert!(room.call(&["logs", "kept"]).stdout.ends_with("heard\n"));
        let init = room.call(&["inspect", "-f", "{{.HostConfig.Init}}", "kept"]).ok();
        assert_eq!(init, "true\n");
        room.call(&["rm", "kept"]).ok();
        room.assert_gone();
    }
}

#[test]
fn labels_from_a_file() {
    let Some(room) = Room::new() else { return };
    fs::write(room.folder.join("labels"), "# some\na=1\n\nb\n").expect("file");
    let flags = ["create", "--name", "labelled", "--label-file", "labels", "-l", "a=2", "./rootfs", "true"];
    room.call(&flags).exits(0);
    let said = room.call(&["inspect", "-f", "{{json .Config.Labels}}", "labelled"]).ok();
    assert_eq!(said, "{\"a\":\"2\",\"b\":\"\"}\n");
    room.call(&["create", "--label-file", "nonesuch", "./rootfs"]).fails(1, "--label-file nonesuch");
    room.call(&["rm", "labelled"]).ok();
    room.assert_gone();
}

#[test]
fn shared_memory() {
    let Some(room) = Room::new() else { return };
    room.run(&["--ipc", "none"], &["sh", "-c", "test ! -e /dev/shm && ls /proc/sys/kernel/shmmax"]).ok();
    room.start(&["--name", "alone", "--ipc", "private"], &["sleep", "1000"]);
    room.start(&["--name", "open", "--ipc", "shareable"], &["sleep", "1000"]);
    room.run(&["--ipc", "container:alone"], &["true"]).fails(125, "--ipc container:alone: that one's");
    room.run(&["--ipc", "container:open"], &["true"]).ok();
    room.run(&["--ipc", "public"], &["true"]).fails(125, "--ipc public: must be shareable");
    room.call(&["rm", "-f", "alone", "open"]).ok();
    room.assert_gone();
}

#[test]
fn devices_by_their_numbers() {
    let Some(room) = Room::new() else { return };
    let script = "mknod /tmp/fuse c 10 229 && : </tmp/fuse";
    let open = |flags: &[&str]| room.run(flags, &["busybox", "sh", "-c", script]);
    assert!(open(&[]).stderr.contains("not permitted"));
    open(&["--device-cgroup-rule", "c 10:229 rwm"]).ok();
    open(&["--device-cgroup-rule", "c 10 rwm"]).fails(125, "--device-cgroup-rule \"c 10 rwm\": must be");
    open(&["--device-read-bps", "/dev/null:1m"])
        .fails(125, "--device-read-bps /dev/null: must be a block device");
    open(&["--device-write-iops", "/dev/nonesuch:1"]).fails(125, "--device-write-iops /dev/nonesuch");
    open(&["--device-write-bps", "/dev/null"])
        .fails(125, "--device-write-bps /dev/null: must be DEVICE:NUMBER");
    room.assert_gone();
}

#[test]
fn foxboxs_flags() {
    let Some(room) = Room::new() else { return };
    let run = |flags: &[&str], script: &str| {
        room.call(&[&["run", "--rm"], flags, &["./rootfs", "sh", "-c", script]].concat())
    };
    assert_eq!(run(&["--disable-network"], "ls /sys/class/net").ok(), "lo\n");
    run(&["--disable-network", "--network", "host"], "true").fails(125, "--network host: --disable-network");
    let explain = ["explain", "--disable-network", "--cpu", "0.5", "--max-pids", "20"];
    let rest = ["--memory", "128 kilobytes", "--dns-opt", "ndots:2", "--format", "json", "./rootfs", "true"];
    let said = room.call(&[&explain[..], &rest].concat()).ok();
    let document: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let resources = &document["config"]["linux"]["resources"];
    assert_eq!(resources["cpu"]["quota"], 50_000);
    assert_eq!(resources["pids"]["limit"], 20);
    assert_eq!(resources["memory"]["limit"], 128 << 10);
    assert_eq!(document["network"]["dns"]["options"], serde_json::json!(["ndots:2"]));
    room.assert_gone();
}

#[test]
fn no_memory_is_no_limit() {
    let Some(room) = Room::new() else { return };
    let flags = ["run", "--rm", "-m", "0", "--memory-swap", "0", "--memory-reservation", "0"];
    room.call(&[&flags[..], &["--network", "none", "./rootfs", "true"]].concat()).ok();
    room.assert_gone();
}

#[test]
fn what_is_refused_says_why() {
    let Some(room) = Room::new() else { return };
    let refused = |flags: &[&str], words: &str| {
        room.call(&[&["run", "--rm"], flags, &["./rootfs", "true"]].concat()).fails(125, words);
    };
    refused(&["--link", "db:database"], "run: --link db:database: containers find each other by their names");
    refused(&["--userns", "keep-id"], "run: --userns keep-id: ");
    refused(&["--oom-kill-disable"], "run: --oom-kill-disable: cgroup v2 has no such setting");
    refused(&["--kernel-memory", "1g"], "run: --kernel-memory 1g: cgroup v2 counts");
    refused(&["--storage-opt", "size=1g"], "run: --storage-opt size=1g: ");
    refused(&["--runtime", "crun"], "run: --runtime crun: box is its own runtime");
    refused(&["--disable-content-trust=false"], "run: --disable-content-trust: signatures are not checked");
    refused(&["--attach", "stdfoo"], "--attach stdfoo: must be stdin, stdout or stderr");
    refused(&["-d", "-a", "stdout"], "--attach stdout: --detach attaches nothing");
    refused(&["--detach-keys", "ctrl-1"], "\"ctrl-1\" is no key");
    refused(&["--memory-swappiness="], "run: --memory-swappiness : ");
    for taken in [
        "--userns=host",
        "--userns=",
        "--isolation=default",
        "--memory-swappiness=-1",
        "--volume-driver=local",
    ] {
        room.run(&[taken], &["true"]).ok();
    }
    room.assert_gone();
}

/// What cannot be is told by every command that reads it, not by the start.
#[test]
fn what_cannot_be_is_told_at_once() {
    let Some(room) = Room::new() else { return };
    let cases: [(&[&str], &str); 15] = [
        (&["--dns", "nonsense"], "--dns nonsense: must be an IP address"),
        (&["--add-host", "db"], "--add-host db: must be NAME:ADDRESS"),
        (&["--mac-address", "zz"], "--mac-address zz: hardware address \"zz\": must be six bytes"),
        (&["--ip", "fd00::5"], "--ip fd00::5: must be an IPv4 address"),
        (&["--ip6", "10.0.0.5"], "--ip6 10.0.0.5: must be an IPv6 address"),
        (&["--cgroup-parent", "../x"], "--cgroup-parent ../x: must have no .."),
        (&["--memory-swap", "64m"], "--memory-swap 67108864: --memory is missing"),
        (&["-m", "64m", "--memory-swap", "32m"], "--memory-swap 33554432: must be at least --memory"),
        (&["-m", "64m", "--memory-reservation", "65m"], "--memory-reservation 68157440: must be at most"),
        (&["--cpu-period", "10"], "--cpu-period 10: must be from 1000 to 1000000"),
        (&["--cpu-quota", "10"], "--cpu-quota 10: must be at least 1000"),
        (&["--cpuset-cpus", "0-"], "--cpuset-cpus 0-: must be numbers"),
        (&["--cpus", "100000"], "--cpus 100000: the machine has "),
        (&["--cpu", "1000.5"], "1000.5: the machine has "),
        (&["--sysctl", "vm.swappiness=1"], "--sysctl vm.swappiness: must be one of"),
    ];
    for verb in ["run", "create", "explain"] {
        for (flags, words) in cases {
            let line = [&[verb, "--network", "none"], flags, &["./rootfs", "true"]].concat();
            room.call(&line).fails(125, words);
        }
    }
    room.assert_gone();
}

#[test]
fn some_of_the_streams() {
    let Some(room) = Room::new() else { return };
    let script = "echo out; echo err >&2; cat";
    let run = |flags: &[&str]| -> Output {
        let fixed: [&str; 3] = ["run", "--network", "none"];
        let mut command = room.command(&[&fixed, flags, &["./rootfs", "sh", "-c", script]].concat());
        finish(command.stdin(Stdio::from(fs::File::open(room.rootfs().join("etc/group")).expect("file"))))
    };
    let group = fs::read_to_string(room.rootfs().join("etc/group")).expect("file");
    assert_eq!(run(&["--rm", "-a", "stdout"]).ok(), "out\n");
    let said = run(&["--rm", "-a", "STDERR"]).exits(0);
    assert_eq!((&*said.stdout, &*said.stderr), ("", "err\n"));
    assert_eq!(run(&["--rm", "-a", "stdin", "-a", "stdout"]).ok(), format!("out\n{group}"));
    // Without its output the id is what is seen.
    let id = run(&["-a", "stdin"]).ok();
    assert_eq!(id.trim().len(), 64);
    assert_eq!(room.call(&["logs", id.trim()]).stdout, format!("out\n{group}"));
    room.call(&["rm", id.trim()]).ok();
    room.assert_gone();
}
