//! The host's view: stats, update, events, prune, df, info, check. As root and as an ordinary user.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::{Room, wait_for};
use crate::rootless::{USER, WITHOUT_RANGES, room as room_of};

fn rooms() -> Vec<Room> {
    let rooms = [Room::new(), room_of(USER), room_of(WITHOUT_RANGES)];
    let rooms: Vec<Room> = rooms.into_iter().flatten().collect();
    rooms.iter().for_each(Room::give_rootfs);
    rooms
}

/// Whoever has no ranges of ids is told so each time.
fn start(room: &Room, flags: &[&str], command: &[&str]) -> String {
    let fixed: [&str; 4] = ["run", "-d", "--network", "none"];
    room.call(&[&fixed, flags, &["./rootfs"], command].concat()).exits(0).stdout.trim().to_string()
}

#[test]
fn what_containers_use() {
    for room in rooms() {
        let id = start(&room, &["--name", "idle"], &["sleep", "1000"]);
        start(&room, &["--name", "busy"], &["sh", "-c", "while :; do :; done"]);
        let shown = room.call(&["stats", "--no-stream"]).ok();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("CONTAINER ID   NAME   CPU %"), "{shown}");
        assert!(lines[1].contains("busy") && lines[2].starts_with(&id[..12]), "{shown}");
        let load = |name: &str| {
            let said = room.call(&["stats", "--no-stream", "--format", "{{.CPUPerc}} {{.PIDs}}", name]).ok();
            let mut words = said.split_whitespace().map(str::to_string);
            let load: f64 = words.next().expect("load").trim_end_matches('%').parse().expect("a number");
            (load, words.next().expect("processes"))
        };
        // Without a cgroup time is counted in whole seconds.
        let (idle, processes) = load("idle");
        assert!(idle < 5.0 && processes == "1", "{idle} {processes}");
        if room.user() == 0 {
            assert!(load("busy").0 > 10.0);
        }
        let memory = room.call(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "busy"]).ok();
        assert!(memory.contains("B / ") && !memory.starts_with("0B"), "{memory}");
        room.call(&["stats", "--no-stream", "nonesuch"]).fails(1, "No such container: nonesuch");
        // A reader who has enough is no error.
        let mut child = room.command(&["stats"]).stdout(Stdio::piped()).spawn().expect("box");
        let mut head = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut head).expect("line");
        assert!(head.starts_with("CONTAINER ID"), "{head}");
        assert!(child.wait().expect("box").success());
        room.call(&["rm", "-f", "idle", "busy"]).ok();
        room.assert_gone();
    }
}

/// What is said together with what was said before, not by the next start.
#[test]
fn changed_limits_go_with_those_that_stay() {
    let Some(room) = Room::new() else { return };
    let create = |name: &str, flags: &[&str]| {
        let line: [&[&str]; 3] =
            [&["create", "--network", "none", "--name", name], flags, &["./rootfs", "true"]];
        room.call(&line.concat()).ok()
    };
    let update = |flags: &[&str], name: &str| room.call(&[&["update"], flags, &[name]].concat());
    let field =
        |field: &str, name: &str| room.call(&["inspect", "-f", &format!("{{{{{field}}}}}"), name]).ok();
    create("swapped", &["-m", "64m", "--memory-swap", "64m"]);
    update(&["-m", "65m"], "swapped").fails(1, "--memory-swap 67108864: must be at least --memory, which is");
    update(&["-m", "65m", "--memory-swap", "65m"], "swapped").ok();
    update(&["--memory-swap", "64m"], "swapped")
        .fails(1, "--memory-swap 67108864: must be at least --memory");
    update(&["--memory-reservation", "66m"], "swapped")
        .fails(1, "--memory-reservation 69206016: must be at most");
    create("bare", &[]);
    update(&["--memory-swap", "64m"], "bare").fails(1, "--memory-swap 67108864: --memory is missing");
    assert_eq!(field(".HostConfig.MemorySwap", "bare"), "0\n");
    // Processors are parts of 100 milliseconds, whatever the period was.
    create("timed", &["--cpu-period", "50000", "--cpu-quota", "25000"]);
    update(&["--cpus", "0.5"], "timed").ok();
    assert_eq!(field(".HostConfig.CpuQuota", "timed"), "50000\n");
    assert_eq!(field(".HostConfig.CpuPeriod", "timed"), "100000\n");
    room.call(&["rm", "swapped", "bare", "timed"]).ok();
    room.assert_gone();
}

#[test]
fn limits_and_policies_are_changed() {
    let Some(room) = Room::new() else { return };
    room.call(&[
        "create",
        "--name",
        "cc",
        "--network",
        "none",
        "--memory",
        "64m",
        "./rootfs",
        "sleep",
        "1000",
    ])
    .ok();
    room.call(&["update", "--cpus", "0.5", "--restart", "on-failure:3", "cc"]).ok();
    let field = |field: &str| room.call(&["inspect", "-f", &format!("{{{{{field}}}}}"), "cc"]).ok();
    assert_eq!(field(".HostConfig.Memory"), format!("{}\n", 64 << 20));
    assert_eq!(field(".HostConfig.CpuQuota"), "50000\n");
    assert_eq!(
        field("json .HostConfig.RestartPolicy"),
        "{\"MaximumRetryCount\":3,\"Name\":\"on-failure\"}\n"
    );
    room.call(&["update", "cc"]).fails(125, "nothing to change");
    room.call(&["update", "--cpus", "100000", "cc"]).fails(125, "--cpus 100000: the machine has ");
    room.call(&["update", "--memory", "lots", "cc"]).fails(125, "--memory lots");
    room.call(&["update", "--restart", "no", "nonesuch"]).fails(1, "No such container");
    room.call(&["rm", "cc"]).ok();
    // The monitor goes by what is said while the program runs.
    start(
        &room,
        &["--name", "cc", "--restart", "always"],
        &["sh", "-c", "while test ! -e /end; do sleep 0.05; done"],
    );
    room.call(&["update", "--restart", "no", "cc"]).ok();
    room.call(&["exec", "cc", "touch", "/end"]).ok();
    wait_for("its end", || room.state("cc") == "exited");
    assert_eq!(field(".RestartCount"), "0\n");
    room.call(&["rm", "cc"]).ok();
    room.assert_gone();
}

#[test]
fn what_happens_is_told() {
    for room in rooms() {
        let mut follower = room
            .command(&["events", "--filter", "container=zz", "--format", "{{.Action}}"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("box");
        std::thread::sleep(std::time::Duration::from_millis(300));
        let id = start(&room, &["--name", "zz", "-l", "kind=test"], &["sleep", "1000"]);
        room.call(&["rename", "zz", "yy"]).ok();
        room.call(&["rename", "yy", "zz"]).ok();
        room.call(&["stop", "-t", "0", "zz"]).ok();
        room.call(&["rm", "zz"]).ok();
        room.call(&["volume", "create", "data"]).ok();
        room.call(&["volume", "rm", "data"]).ok();
        let told = room.call(&["events", "--since", "1m", "--until", "0s"]).ok();
        let actions: Vec<&str> = told.lines().map(|line| line.split(' ').nth(2).expect("action")).collect();
        assert_eq!(
            actions,
            [
                "create",
                "connect",
                "start",
                "rename",
                "rename",
                "kill",
                "kill",
                "disconnect",
                "stop",
                "die",
                "destroy",
                "create",
                "destroy"
            ],
            "{told}"
        );
        assert!(
            told.lines()
                .next()
                .expect("line")
                .contains(&format!(" container create {id} (image=./rootfs, kind=test, name=zz)")),
            "{told}"
        );
        let told = room
            .call(&["events", "--since", "1m", "--until", "0s", "-f", "event=die", "--format", "json"])
            .ok();
        assert!(told.lines().count() == 1 && told.contains("\"exitCode\":\"137\""), "{told}");
        let mut seen = Vec::new();
        for line in BufReader::new(follower.stdout.take().expect("stdout")).lines() {
            seen.push(line.expect("line"));
            if seen.last().is_some_and(|action| action == "destroy") {
                break;
            }
        }
        assert_eq!(seen, ["create", "start", "rename", "kill", "kill", "stop", "die", "destroy"]);
        // timeout(1), which ends it.
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(follower.id() as i32).expect("pid"),
            rustix::process::Signal::TERM,
        )
        .expect("kill");
        follower.wait().expect("box");
        room.call(&["events", "--since", "yesterday"]).fails(125, "--since yesterday: must be");
        room.assert_gone();
    }
}

#[test]
fn what_is_done_with_a_container_is_told() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["import", "rootfs.tar", "made:1"]).ok();
    let run = ["run", "-d", "--network", "none", "--name", "cc", "-v", "data:/data:ro", "-v", "/own"];
    room.call(&[&run[..], &["made:1", "sleep", "1000"]].concat()).ok();
    room.call(&["exec", "cc", "true"]).ok();
    room.call(&["exec", "cc", "sh", "-c", "exit 3"]).exits(3);
    room.call(&["exec", "cc", "nosuch"]).exits(127);
    room.call(&["exec", "-d", "cc", "sh", "-c", "exit 5"]).ok();
    wait_for("its end", || {
        room.call(&["events", "--since", "1m", "--until", "0s"]).ok().contains("exitCode=5")
    });
    room.call(&["exec", "-d", "cc", "nosuch"]).exits(127);
    room.call(&["cp", "cc:/etc/passwd", "passwd"]).ok();
    room.call(&["cp", "passwd", "cc:/tmp/"]).ok();
    room.call(&["export", "-o", "files.tar", "cc"]).ok();
    room.call(&["commit", "-m", "why", "cc", "made:2"]).ok();
    room.call(&["save", "-o", "image.tar", "made:2"]).ok();
    room.call(&["rm", "-f", "-v", "cc"]).ok();
    room.call(&["run", "--rm", "--network", "none", "made:1", "nosuch"]).exits(127);
    let told =
        |format: &str| room.call(&["events", "--since", "1m", "--until", "0s", "--format", format]).ok();
    let all = told("{{.Type}} {{.Action}}");
    let exec =
        |what: &str| ["create", "start"].map(|step| format!("container exec_{step}: {what}\n")).concat();
    let died = "container exec_die\n";
    let wanted = [
        "image tag\nimage import\nvolume create\nvolume create\ncontainer create\n",
        "volume mount\nvolume mount\nnetwork connect\ncontainer start\n",
        &(exec("true ")
            + died
            + &exec("sh -c exit 3")
            + died
            + &exec("nosuch ")
            + died
            + &exec("sh -c exit 5")
            + died
            + &exec("nosuch ")
            + died),
        "container archive-path\ncontainer extract-to-dir\ncontainer export\n",
        "container pause\nimage create\nimage tag\ncontainer commit\ncontainer unpause\nimage save\n",
        "container kill\nnetwork disconnect\nvolume unmount\nvolume unmount\ncontainer die\n",
        "volume destroy\ncontainer destroy\n",
        "container create\nnetwork connect\ncontainer start\nnetwork disconnect\ncontainer die\ncontainer destroy\n",
    ];
    assert_eq!(all, wanted.concat());
    let details = told("{{.Action}} {{json .Actor.Attributes}}");
    let has = |start: &str, words: &str| {
        let lines = details.lines().filter(|line| line.starts_with(start));
        assert!(lines.clone().any(|line| line.contains(words)), "{start} {words}: {details}");
    };
    has("mount", r#""destination":"/data""#);
    has("mount", r#""read/write":"false""#);
    has("connect", r#""name":"none","type":"null""#);
    for status in ["0", "3", "5", "127"] {
        has("exec_die", &format!(r#""exitCode":"{status}""#));
    }
    has("commit", r#""comment":"why""#);
    has("commit", r#""imageRef":"made:2""#);
    has("die", r#""exitCode":"137""#);
    has("die", r#""exitCode":"127""#);
    room.assert_gone();
}

#[test]
fn what_happens_to_images_and_networks_is_told() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    let id = room.call(&["import", "rootfs.tar", "made:1"]).ok();
    room.call(&["tag", "made:1", "other:1"]).ok();
    room.call(&["rmi", "made:1", "other:1"]).ok();
    room.call(&["network", "create", "net"]).ok();
    room.call(&["network", "rm", "net"]).ok();
    let told = |filter: &str| {
        let format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";
        room.call(&["events", "--since", "1m", "--until", "0s", "-f", filter, "--format", format]).ok()
    };
    let deleted = format!("image delete {id}");
    // As Docker has it: names are for tags alone.
    let own = |action: &str| format!("image {action} {id}");
    let images = ["image tag made:1\n", &own("import"), "image tag other:1\n", &own("untag"), &own("untag")];
    let images = images.concat() + &deleted;
    assert_eq!(told("type=image"), images);
    assert_eq!(told(&format!("image={}", id.trim())), images);
    assert_eq!(told("network=net"), "network create net\nnetwork destroy net\n");
    room.assert_gone();
}

#[test]
fn what_nobody_needs_goes() {
    for room in rooms() {
        room.tar("rootfs.tar");
        room.call(&[
            "run",
            "--network",
            "none",
            "--name",
            "ended",
            "-v",
            "/data",
            "-l",
            "kind=old",
            "rootfs.tar",
            "true",
        ])
        .exits(0);
        room.call(&["volume", "create", "named"]).ok();
        start(&room, &["--name", "runs"], &["sleep", "1000"]);
        let df = room.call(&["system", "df"]).ok();
        let line = |kind: &str| df.lines().find(|line| line.starts_with(kind)).expect("line").to_string();
        assert!(df.starts_with("TYPE            TOTAL   ACTIVE   SIZE"), "{df}");
        assert!(line("Containers").split_whitespace().nth(1) == Some("2"), "{df}");
        assert!(line("Local Volumes").split_whitespace().nth(2) == Some("2"), "{df}");
        room.call(&["container", "prune"]).fails(125, "--force");
        let said = room.call(&["container", "prune", "-f", "--filter", "label!=kind=old"]).ok();
        assert!(said.starts_with("Total reclaimed space: "), "{said}");
        let said = room.call(&["system", "prune", "-f", "--volumes", "-a"]).ok();
        assert!(said.contains("Deleted Containers:\n") && said.contains("Deleted Volumes:\n"), "{said}");
        assert_eq!((room.state("ended"), room.state("runs")), (String::new(), "running".into()));
        assert_eq!(room.call(&["volume", "ls", "-q"]).ok(), "named\n");
        assert_eq!(fs::read_dir(room.data().join("layers")).expect("layers").count(), 0);
        let info =
            room.call(&["info", "--format", "{{.Containers}} {{.ContainersRunning}} {{.Rootless}}"]).ok();
        assert_eq!(info, format!("1 1 {}\n", room.user() != 0));
        assert!(room.call(&["info"]).ok().contains("DataRoot: "));
        room.call(&["rm", "-f", "runs"]).ok();
        room.assert_gone();
    }
}

#[test]
fn what_is_broken_is_found() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["run", "--rm", "--network", "none", "rootfs.tar", "true"]).ok();
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    let blobs = room.data().join("blobs/sha256");
    let blob = fs::read_dir(&blobs).expect("blobs").next().expect("a blob").expect("entry").path();
    fs::write(&blob, "something else").expect("write");
    let said = room.call(&["system", "check"]).exits(1).stdout;
    assert!(said.contains("its content has another digest") && said.contains("image file:"), "{said}");
    let said = room.call(&["system", "check", "--repair"]).exits(0).stdout;
    assert!(said.contains("removed; pull it again"), "{said}");
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    room.call(&["run", "--rm", "--network", "none", "rootfs.tar", "true"]).ok();
    room.assert_gone();
}

#[test]
fn volumes_of_other_containers() {
    for room in rooms() {
        room.call(&["create", "--name", "one", "-v", "/data", "-v", "shared:/shared", "./rootfs", "true"])
            .exits(0);
        let flags = ["run", "--network", "none", "--name", "two", "--volumes-from", "one"];
        let script = "echo said >/data/file; echo said >/shared/file";
        room.call(&[&flags[..], &["./rootfs", "sh", "-c", script]].concat()).exits(0);
        let names = || room.call(&["volume", "ls", "-q"]).ok().lines().count();
        assert_eq!(names(), 2);
        let read_only = ["run", "--rm", "--network", "none", "--volumes-from", "two:ro", "./rootfs"];
        let said = room
            .call(&[&read_only[..], &["sh", "-c", "cat /data/file; touch /data/x 2>&1 | wc -l"]].concat());
        assert_eq!(said.stdout, "said\n1\n");
        room.call(&["rm", "-v", "one"]).ok();
        assert_eq!(names(), 2, "the other one has it");
        room.call(&["rm", "-v", "two"]).ok();
        assert_eq!(room.call(&["volume", "ls", "-q"]).ok(), "shared\n");
        // What is copied into a container that does not run is in its volume.
        room.call(&["create", "--name", "one", "-v", "shared:/shared", "./rootfs", "true"]).exits(0);
        room.call(&["cp", "./rootfs/etc/group", "one:/shared/copied"]).ok();
        let said = room.call(&[
            "run",
            "--rm",
            "--network",
            "none",
            "-v",
            "shared:/x",
            "./rootfs",
            "cat",
            "/x/copied",
        ]);
        assert!(said.stdout.starts_with("root:"), "{said:?}");
        room.call(&["create", "--volumes-from", "nonesuch", "./rootfs", "true"]).exits(1);
        room.call(&["rm", "one"]).ok();
        room.assert_gone();
    }
}

#[test]
fn things_are_found_by_what_they_are() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    start(&room, &["--name", "runs", "-l", "kind=test", "-v", "data:/data"], &["sleep", "1000"]);
    room.call(&["run", "--network", "none", "--name", "ended", "./rootfs", "sh", "-c", "exit 3"]).exits(3);
    room.call(&["create", "--name", "made", "--network", "host", "./rootfs", "true"]).ok();
    let names = |filters: &[&str]| {
        let flags: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        let said = room.call(&[&["ps", "-a", "--format", "{{.Names}}"][..], &flags].concat()).ok();
        said.lines().map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["made", "ended", "runs"]);
    assert_eq!(names(&["name=run"]), ["runs"]);
    assert_eq!(names(&["status=created", "status=exited"]), ["made", "ended"]);
    assert_eq!(names(&["exited=3"]), ["ended"]);
    assert_eq!(names(&["label=kind"]), ["runs"]);
    assert_eq!(names(&["volume=data"]), ["runs"]);
    assert_eq!(names(&["network=host"]), ["made"]);
    assert_eq!(names(&["ancestor=./rootfs", "status=running"]), ["runs"]);
    room.call(&["ps", "--filter", "colour=red"]).fails(125, "--filter colour=red: must be name=…");
    assert_eq!(room.call(&["ps", "--filter", "status=exited", "--format", "{{.Names}}"]).ok(), "ended\n");
    // As Docker has it, a status alone does not ask for those that do not run.
    assert_eq!(room.call(&["ps", "--filter", "exited=3", "--format", "{{.Names}}"]).ok(), "");
    room.call(&["exec", "runs", "sh", "-c", "yes | head -c 100000 >/large"]).ok();
    let sizes = room.call(&["ps", "-s", "--format", "{{.Size}}"]).ok();
    assert!(sizes.starts_with("10") && sizes.ends_with("kB\n"), "{sizes}");
    assert!(room.call(&["ps", "-s"]).ok().lines().next().expect("heads").ends_with("SIZE"));
    // Whatever has the name, or what is asked for.
    let kind = |flags: &[&str], format: &str| room.call(&[&["inspect", "-f", format], flags].concat());
    assert_eq!(kind(&["runs"], "{{.State.Status}}").ok(), "running\n");
    assert_eq!(kind(&["data"], "{{.Driver}}").ok(), "local\n");
    kind(&["--type", "container", "data"], "{{.Driver}}").exits(1);
    room.call(&["inspect", "--type", "dream", "data"]).fails(125, "--type dream: must be container");
    let missing = room.call(&["inspect", "nonesuch"]).exits(1);
    assert_eq!(
        (missing.stdout.as_str(), missing.stderr.contains("No such object: nonesuch")),
        ("[]\n", true)
    );
    let mounts = kind(&["runs"], "{{range .Mounts}}{{.Type}} {{.Destination}}{{end}}").ok();
    assert_eq!(mounts, "volume /data\n");
    room.call(&["rm", "-f", "runs", "ended", "made"]).ok();
    room.assert_gone();
}

/// A value that cannot be means nothing, and never everything.
#[test]
fn a_filter_that_cannot_be_removes_nothing() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    room.call(&["create", "--name", "kept", "--network", "none", "-v", "data:/data", "rootfs.tar", "true"])
        .ok();
    for value in ["BAD", "", "-1h", "101y", "999999999999h", "18446744073709551615", "1e300", "inf"] {
        let filter = format!("until={value}");
        let said = room.call(&["container", "prune", "-f", "--filter", &filter]);
        said.fails(125, &format!("--filter {filter}: must be"));
        for what in ["image", "network", "volume", "system"] {
            room.call(&[what, "prune", "-f", "--filter", &filter]).exits(125);
        }
    }
    assert_eq!(room.state("kept"), "created");
    for (what, filter) in [
        ("ps", "status=runing"),
        ("ps", "health=ill"),
        ("ps", "exited=none"),
        ("ps", "exited=256"),
        ("volume ls", "dangling=maybe"),
    ] {
        let words: Vec<&str> = what.split(' ').collect();
        room.call(&[&words[..], &["--filter", filter]].concat())
            .fails(125, &format!("--filter {filter}: must be"));
    }
    room.call(&["container", "prune", "-f", "--filter", "until=2006-01-02T15:04:05Z"]).ok();
    assert_eq!(room.state("kept"), "created");
    room.call(&["container", "prune", "-f", "--filter", "until=0s"]).ok();
    room.assert_gone();
}
