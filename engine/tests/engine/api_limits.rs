//! Docker's API: clients that want harm, and what cannot be asked for.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{body, create, image, run};
use crate::boxd::{Boxd, streams};
use crate::harness::Room;

/// The body with more of `HostConfig`.
fn with_host(more: Value) -> Value {
    let mut body = body(&["true"]);
    let host = body["HostConfig"].as_object_mut().expect("HostConfig");
    host.extend(more.as_object().expect("members").clone());
    body
}

/// The body with more members.
fn with(more: Value) -> Value {
    let mut body = body(&["true"]);
    body.as_object_mut().expect("body").extend(more.as_object().expect("members").clone());
    body
}

#[test]
fn what_cannot_be_is_refused_before_it_is_made() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let bind = |target: &str, options: Value| json!({"Mounts": [{"Type": "bind", "Source": "/etc", "Target": target, "BindOptions": options}]});
    for (more, words) in [
        (json!({"CapAdd": ["BOGUS"]}), "--cap-add BOGUS: there is no such capability"),
        (json!({"NanoCpus": 100_000_000_000_000_u64}), "range of CPUs is from 0.01 to "),
        (json!({"MemoryReservation": 5 << 20}), "Minimum memory reservation allowed is 6MB"),
        (json!({"NanoCpus": 1}), "NanoCpus: 1: must be 10000000 (0.01 of a processor) or more"),
        (json!({"CpuPeriod": 1}), "CPU cfs period can not be less than 1ms"),
        (json!({"CpuQuota": 1}), "CPU cfs quota can not be less than 1ms"),
        (
            json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1u64 << 40}}),
            "maximum retry count 1099511627776 is too large",
        ),
        (json!({"Memory": -1}), "HostConfig.Memory: invalid value: integer `-1`"),
        (bind("x", json!({})), "the target must be an absolute path"),
        (bind("/a/../b", json!({})), "the target must have no .."),
        (bind("/", json!({})), "nothing can be mounted over the container's root"),
        (bind("/x", json!({"Propagation": "bogus"})), "invalid propagation mode: bogus"),
    ] {
        let said = boxd.refused("POST", "/containers/create", Some(&with_host(more)), 400);
        assert!(said.contains(words), "{said}");
    }
    for (more, words) in [
        (json!({"Healthcheck": {"Test": ["BOGUS"]}}), "must be CMD, CMD-SHELL or NONE"),
        (json!({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}}), "Interval in Healthcheck"),
        (json!({"Healthcheck": {"Retries": -1}}), "Retries in Healthcheck cannot be negative"),
        (json!({"StopSignal": "BOGUS"}), "invalid signal: BOGUS"),
        (json!({"Env": ["=x"]}), "invalid environment variable: =x"),
        (json!({"Volumes": {"..": {}}}), "Volumes: \"..\": the target must be an absolute path"),
        (json!({"Hostname": "a\n1.2.3.4 b"}), "--hostname \"a\\n1.2.3.4 b\": must have no white space"),
        (json!({"Cmd": [1]}), "a list of words, or a text: invalid type: integer"),
    ] {
        let said = boxd.refused("POST", "/containers/create", Some(&with(more)), 400);
        assert!(said.contains(words), "{said}");
    }
    let said = boxd.refused("POST", "/containers/create", Some(&json!([])), 400);
    assert!(said.contains("it must be an object"), "{said}");
    boxd.refused("POST", "/containers/create", Some(&Value::Null), 400);
    assert_eq!(boxd.json("GET", "/containers/json?all=1", None, 200), json!([]));
    // A text that names something long is cut, and not taken for another monitor's.
    let id = create(&boxd, "long", &body(&[&"x".repeat(100_000)]));
    let said = boxd.refused("POST", &format!("/containers/{id}/start"), None, 400);
    assert!(said.starts_with("exec: \"xxx") && said.len() < 5000, "{said}");
    assert_eq!(boxd.call("DELETE", "/containers/long", None).status, 204);
}

#[test]
fn what_is_no_name_is_nowhere() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    let long = "x".repeat(5000);
    for name in ["a%00b", "..", ".", "%2e%2e%2fetc", &long] {
        for (method, path) in [
            ("GET", format!("/containers/{name}/json")),
            ("DELETE", format!("/containers/{name}")),
            ("GET", format!("/networks/{name}")),
            ("DELETE", format!("/networks/{name}")),
            ("GET", format!("/volumes/{name}")),
            ("DELETE", format!("/volumes/{name}")),
            ("GET", format!("/exec/{name}/json")),
        ] {
            assert_eq!(boxd.call(method, &path, None).status, 404, "{method} {path}");
        }
    }
    let name = "n".repeat(250);
    boxd.json("POST", "/networks/create", Some(&json!({"Name": name})), 201);
    assert_eq!(boxd.call("DELETE", &format!("/networks/{name}"), None).status, 204);
    let longer = json!({"Name": name + "n"});
    let said = boxd.refused("POST", "/networks/create", Some(&longer), 400);
    assert!(said.contains("must have at most 250 characters"), "{said}");
}

#[test]
fn programs_in_what_has_ended() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let id = run(&boxd, "web", &["sleep", "1000"]);
    let wanted = json!({"Cmd": ["echo", "here"], "AttachStdout": true});
    let exec = || {
        let made = boxd.json("POST", "/containers/web/exec", Some(&wanted), 201);
        made["Id"].as_str().expect("an id").to_string()
    };
    // As many lines as columns: their product is no number of 16 bits.
    for size in [[1000, 1000], [256, 256], [0, 5]] {
        let start = json!({"Detach": false, "ConsoleSize": size});
        let (status, mut stream) = boxd.hijack(&format!("/exec/{}/start", exec()), Some(&start));
        assert_eq!((status, streams(&mut stream)[0].as_str()), (101, "here\n"));
    }
    let late = exec();
    boxd.post("/containers/web/kill", None);
    boxd.post("/containers/web/wait", None);
    let said = boxd.refused("POST", &format!("/exec/{late}/start"), Some(&json!({})), 409);
    assert_eq!(said, format!("container {id} is not running"));
    assert_eq!(boxd.call("DELETE", "/containers/web", None).status, 204);
}

/// Whoever removes it does not wait until somebody's program, which has just begun, ends by itself.
#[test]
fn started_and_removed_at_once() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    for number in 0..8 {
        let id = create(&boxd, "", &body(&["sleep", "1000"]));
        let began = Instant::now();
        std::thread::scope(|scope| {
            let starter = scope.spawn(|| boxd.post(&format!("/containers/{id}/start"), None).status);
            std::thread::sleep(Duration::from_millis(number));
            assert_eq!(boxd.call("DELETE", &format!("/containers/{id}?force=1"), None).status, 204);
            assert!([204, 404, 409, 500].contains(&starter.join().expect("start")));
        });
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    drop(boxd);
    room.assert_gone();
}

/// What a build says waits for its client, and not in memory; a client that has gone ends it.
#[test]
fn a_client_that_does_not_read() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let context = room.folder.join("context");
    std::fs::create_dir(&context).expect("folder");
    std::fs::write(context.join("Dockerfile"), "FROM test\nRUN yes\n").expect("file");
    let tar =
        std::process::Command::new("tar").arg("-C").arg(&context).args(["-c", "."]).output().expect("tar");
    let mut client = boxd.connect();
    let group = format!("test-{}-engine", crate::host::run_name());
    let head = format!(
        "POST /v1.51/build?networkmode=none&cgroupparent={group} HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\r\n",
        tar.stdout.len()
    );
    client.write_all(&[head.as_bytes(), &tar.stdout].concat()).expect("send");
    client.read_exact(&mut [0; 1000]).expect("the beginning");
    std::thread::sleep(Duration::from_secs(2));
    let resident = boxd.resident();
    assert!(resident < 100 << 10, "{resident} kB");
    drop(client);
    crate::harness::wait_for("the end of the build", || {
        let runs = std::fs::read_dir(room.folder.join("runtime/pillbox")).expect("folder");
        runs.flatten().all(|entry| entry.file_name().to_string_lossy().starts_with('.'))
    });
}

#[test]
fn a_port_that_somebody_has_is_told_in_dockers_words() {
    crate::networks::as_root_and_as_a_user(|room| {
        let boxd = Boxd::start(room, "d");
        image(room, &boxd);
        let taken = std::net::TcpListener::bind("0.0.0.0:28093").expect("listen");
        let mut wanted = body(&["sleep", "1000"]);
        wanted["HostConfig"]["NetworkMode"] = json!("bridge");
        wanted["HostConfig"]["PortBindings"] = json!({"80/tcp": [{"HostPort": "28093"}]});
        if room.user() != 0 {
            wanted["HostConfig"].as_object_mut().expect("object").remove("CgroupParent");
        }
        let id = create(&boxd, "cc", &wanted);
        let said = boxd.refused("POST", &format!("/containers/{id}/start"), None, 500);
        assert!(
            said.starts_with("failed to set up container networking: ") && said.contains("28093"),
            "{said}"
        );
        assert!(said.ends_with("port is already allocated"), "{said}");
        drop(taken);
        assert_eq!(boxd.post(&format!("/containers/{id}/start"), None).status, 204);
        assert_eq!(boxd.call("DELETE", &format!("/containers/{id}?force=1"), None).status, 204);
    });
}

#[test]
fn what_cannot_be_is_told_when_a_container_is_made() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let refused = |member: &str, value: Value, words: &str| {
        let mut wanted = body(&["true"]);
        wanted["HostConfig"][member] = value;
        // Not 404: a client would pull the image.
        let said = boxd.refused("POST", "/containers/create", Some(&wanted), 400);
        assert!(said.contains(words), "{said}");
    };
    refused("OomScoreAdj", json!(2000), "--oom-score-adj 2000: must be from -1000 to 1000");
    refused("VolumesFrom", json!(["nosuch"]), "--volumes-from nosuch: ");
    refused("Binds", json!(["/etc:/proc"]), "--volume /etc:/proc: nothing but single files");
    refused("Tmpfs", json!({"/proc/x": ""}), "--tmpfs /proc/x: nothing but single files");
    let mut wanted = body(&["true"]);
    wanted["WorkingDir"] = json!("relative");
    let said = boxd.refused("POST", "/containers/create", Some(&wanted), 400);
    assert_eq!(said, "--workdir relative: must be an absolute path");
    wanted["WorkingDir"] = json!("");
    // As Docker takes it: no limit.
    wanted["HostConfig"]["PidsLimit"] = json!(-5);
    let id = create(&boxd, "cc", &wanted);
    assert_eq!(boxd.call("DELETE", &format!("/containers/{id}"), None).status, 204);
    room.assert_gone();
}

/// A client that reads no answer before it has sent everything, and takes its time.
#[test]
fn a_refusal_waits_for_who_still_sends() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    for (path, words) in
        [("/build?t=:", "invalid"), ("/build", "the context: no tar"), ("/nosuch", "page not found")]
    {
        let mut stream = boxd.connect();
        let (piece, count) = (vec![b'x'; 1 << 20], 30);
        let head = format!(
            "POST /v1.51{path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            piece.len() * count
        );
        stream.write_all(head.as_bytes()).expect("send");
        for number in 0..count {
            stream.write_all(&piece).unwrap_or_else(|error| panic!("{path}: {number}: {error}"));
            std::thread::sleep(Duration::from_millis(80));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains(words), "{path}: {answer}");
    }
}
