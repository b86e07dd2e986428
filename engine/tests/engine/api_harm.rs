//! boxd that is killed in the middle of requests, clients that leave in the middle of theirs, and requests that make no sense.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{body, create, image, run};
use crate::boxd::Boxd;
use crate::harness::{Room, wait_for};
use crate::killed::{clean_up, delays};
use crate::numbers::Numbers;

/// What was answered; `None` if nobody has answered in full.
fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(request(method, path, body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_string()))
}

fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} /v1.51{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A life of a container with everything around it, as far as somebody answers.
fn live(socket: &Path, name: &str) -> Option<()> {
    let post = |path: &str, body: &Value| ask(socket, "POST", path, &body.to_string());
    post("/volumes/create", &json!({"Name": name}))?;
    post("/networks/create", &json!({"Name": name}))?;
    let mut wanted = body(&["sh", "-c", "echo here >/data/x; sleep 1000"]);
    wanted["HostConfig"]["Binds"] = json!([format!("{name}:/data")]);
    post(&format!("/containers/create?name={name}"), &wanted)?;
    post(&format!("/containers/{name}/start"), &json!({}))?;
    let (_, exec) =
        post(&format!("/containers/{name}/exec"), &json!({"Cmd": ["true"], "AttachStdout": true}))?;
    let exec: Value = serde_json::from_str(&exec).ok()?;
    post(&format!("/exec/{}/start", exec["Id"].as_str()?), &json!({}))?;
    post(&format!("/containers/{name}/rename?name={name}-new"), &json!({}))?;
    let name = format!("{name}-new");
    post(&format!("/commit?container={name}&repo={name}"), &json!({}))?;
    post(&format!("/containers/{name}/restart?t=0"), &json!({}))?;
    post(&format!("/containers/{name}/update"), &json!({"RestartPolicy": {"Name": "always"}}))?;
    post(&format!("/containers/{name}/stop?t=0"), &json!({}))?;
    ask(socket, "DELETE", &format!("/containers/{name}?v=1"), "")?;
    ask(socket, "DELETE", &format!("/images/{name}"), "")?;
    Some(())
}

/// Whatever it was doing: the next one finds a legal state, and programs that run go on.
#[test]
fn a_boxd_that_is_killed_in_the_middle_of_requests() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    run(&boxd, "witness", &["sleep", "1000"]);
    let pid = |boxd: &Boxd| boxd.json("GET", "/containers/witness/json", None, 200)["State"]["Pid"].clone();
    let before = pid(&boxd);
    drop(boxd);
    let mut interrupted = 0;
    for (number, delay) in delays(40, Duration::from_millis(300)).enumerate() {
        let boxd = Boxd::start(&room, "d");
        let clients: Vec<_> = (0..2)
            .map(|client| {
                let (socket, name) = (boxd.socket.clone(), format!("c{number}-{client}"));
                std::thread::spawn(move || live(&socket, &name))
            })
            .collect();
        std::thread::sleep(delay);
        boxd.kill();
        let lives = clients.into_iter().map(|client| client.join().expect("a client"));
        interrupted += lives.filter(Option::is_none).count();
    }
    assert!(interrupted > 10, "{interrupted} of 80");
    let boxd = Boxd::start(&room, "d");
    assert_eq!(pid(&boxd), before);
    let listed = boxd.json("GET", "/containers/json?all=1", None, 200);
    for container in listed.as_array().expect("a list") {
        let id = container["Id"].as_str().expect("an id");
        let known = boxd.json("GET", &format!("/containers/{id}/json"), None, 200);
        assert_eq!(known["State"]["Status"], container["State"], "{known}");
        assert_eq!(
            boxd.call("DELETE", &format!("/containers/{id}?force=1&v=1"), None).status,
            204,
            "{known}"
        );
    }
    drop(boxd);
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    room.call(&["system", "prune", "-a", "-f", "--volumes"]).exits(0);
    clean_up(&room);
}

/// Whoever leaves before he has said everything has asked for nothing.
#[test]
fn clients_that_leave_in_the_middle() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    create(&boxd, "cc", &body(&["true"]));
    let saved = boxd.get("/images/get?names=test").body;
    let rootfs = std::fs::read(room.tar("rootfs.tar")).expect("tar");
    // Not how many containers they have: some are made.
    let images = || {
        let images = boxd.json("GET", "/images/json", None, 200);
        let images = images.as_array().expect("a list").iter();
        images.map(|image| (image["Id"].clone(), image["RepoTags"].clone())).collect::<Vec<_>>()
    };
    let before = images();
    let text = body(&["true"]).to_string().into_bytes();
    for (method, path, kind, whole) in [
        ("POST", "/containers/create?name=half", "json", &text),
        ("POST", "/images/load", "x-tar", &saved),
        ("POST", "/images/create?fromSrc=-&repo=half", "x-tar", &rootfs),
        ("POST", "/build?t=half", "x-tar", &rootfs),
        ("PUT", "/containers/cc/archive?path=/tmp", "x-tar", &rootfs),
    ] {
        for part in [0, 1, whole.len() / 2, whole.len() - 1] {
            let mut stream = boxd.connect();
            let head = format!(
                "{method} /v1.51{path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/{kind}\r\nContent-Length: {}\r\n\r\n",
                whole.len()
            );
            // It may be refused before it is all sent.
            let _ = stream.write_all(&[head.as_bytes(), &whole[..part]].concat());
        }
    }
    // Whoever has asked and does not wait gets all of it or nothing.
    for number in 0..20 {
        let mut stream = boxd.connect();
        let whole =
            request("POST", &format!("/containers/create?name=w{number}"), &body(&["true"]).to_string());
        stream.write_all(whole.as_bytes()).expect("send");
    }
    let threads =
        || std::fs::read_dir(format!("/proc/{}/task", boxd.pid().as_raw_pid())).expect("threads").count();
    wait_for("the ends of all threads", || threads() <= 1);
    assert_eq!(images(), before);
    let listed = boxd.json("GET", "/containers/json?all=1", None, 200);
    for container in listed.as_array().expect("a list") {
        let name = container["Names"][0].as_str().expect("a name");
        assert_ne!(name, "/half");
        let id = container["Id"].as_str().expect("an id");
        assert_eq!(boxd.post(&format!("/containers/{id}/start"), None).status, 204, "{name}");
        assert_eq!(
            boxd.json("POST", &format!("/containers/{id}/wait"), None, 200)["StatusCode"],
            0,
            "{name}"
        );
    }
    drop(boxd);
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    room.call(&["system", "prune", "-a", "-f", "--volumes"]).exits(0);
    clean_up(&room);
}

/// Requests of all kinds, but for those that ask others on the network or run something.
fn requests() -> Vec<String> {
    let filters = "%7B%22label%22%3A%7B%22a%3Db%22%3Atrue%7D%2C%22name%22%3A%5B%22x%22%5D%7D";
    let mut container = body(&["sh", "-c", "true"]);
    container["Healthcheck"] = json!({"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Retries": 3});
    container["ExposedPorts"] = json!({"80/tcp": {}});
    container["HostConfig"]["PortBindings"] =
        json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "28199"}]});
    container["HostConfig"]["Tmpfs"] = json!({"/t": "size=1m,mode=1777"});
    container["HostConfig"]["Ulimits"] = json!([{"Name": "nofile", "Soft": 10, "Hard": 20}]);
    container["HostConfig"]["LogConfig"] = json!({"Type": "json-file", "Config": {"max-size": "1m"}});
    let documents = [
        ("POST", "/containers/create?name=fuzz", container),
        (
            "POST",
            "/containers/cc/exec",
            json!({"Cmd": ["true"], "Env": ["A=b"], "Tty": false, "DetachKeys": "ctrl-p"}),
        ),
        (
            "POST",
            "/containers/cc/update",
            json!({"Memory": 0, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}),
        ),
        (
            "POST",
            "/networks/create",
            json!({"Name": "fuzz", "IPAM": {"Config": [{"Subnet": "10.97.0.0/24", "Gateway": "10.97.0.1"}]}, "Labels": {"a": "b"}}),
        ),
        (
            "POST",
            "/networks/fuzz/connect",
            json!({"Container": "cc", "EndpointConfig": {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "10.97.0.9"}}}),
        ),
        ("POST", "/networks/fuzz/disconnect", json!({"Container": "cc", "Force": true})),
        ("POST", "/volumes/create", json!({"Name": "fuzz", "DriverOpts": {}, "Labels": {"a": "b"}})),
        ("POST", "/commit?container=cc&repo=fuzz&tag=1&changes=ENV%20A%3Db", json!({})),
    ];
    let mut requests: Vec<String> =
        documents.iter().map(|(method, path, body)| request(method, path, &body.to_string())).collect();
    for path in [
        format!("/containers/json?all=1&limit=3&size=1&filters={filters}"),
        format!("/images/json?all=1&shared-size=1&filters={filters}"),
        format!("/networks?filters={filters}"),
        format!("/volumes?filters={filters}"),
        format!("/events?since=1&until=1700000000.5&filters={filters}"),
        "/containers/cc/json?size=1".to_string(),
        "/containers/cc/logs?stdout=1&stderr=1&timestamps=1&tail=10&since=1.5&until=2m".to_string(),
        "/containers/cc/archive?path=%2Fetc%2Fpasswd".to_string(),
        "/containers/cc/stats?stream=0&one-shot=1".to_string(),
        "/containers/cc/top?ps_args=-ef".to_string(),
        "/containers/cc/changes".to_string(),
        "/images/test:latest/json".to_string(),
        "/images/test/history".to_string(),
        "/system/df?type=volume".to_string(),
        "/version".to_string(),
        "/info".to_string(),
    ] {
        requests.push(request("GET", &path, ""));
    }
    let chunked = "Host: d\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n";
    requests.push(format!(
        "POST /v1.51/volumes/create HTTP/1.1\r\n{chunked}8\r\n{{\"Name\":\r\na\r\n\"chunked\"}}\r\n0\r\n\r\n"
    ));
    let upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\nHost: d\r\n\r\n";
    requests.push(format!(
        "POST /grpc HTTP/1.1\r\n{upgrade}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"
    ));
    requests
}

/// Changes some bytes: at random, to what means something, or a piece to another place.
fn change(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    const TELLING: &[&[u8]] = &[
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"%",
        b"%00",
        b"%zz",
        b"\r\n",
        b"\0",
        b"\\u0000",
        b"\\ud800",
        b"\xff\xfe",
        b"..",
        b"/",
        b"?",
        b"&",
        b"=",
        b"true",
        b"\xc3\xa9",
    ];
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes[at] = numbers.below(256) as u8,
            1 => drop(bytes.remove(at)),
            2 => drop(bytes.splice(at..at, TELLING[numbers.below(TELLING.len())].iter().copied())),
            3 => {
                let end = (at + numbers.below(20)).min(bytes.len());
                drop(bytes.splice(at..end, TELLING[numbers.below(TELLING.len())].iter().copied()));
            }
            _ => {
                let end = (at + numbers.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
        }
    }
}

/// Whatever comes, there is an answer of HTTP or none, boxd stays, and nothing panics, which [`Boxd`] looks at when it ends.
#[test]
fn changed_requests_do_no_harm() {
    let Some(room) = Room::new() else { return };
    let mut boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    create(&boxd, "cc", &body(&["true"]));
    let requests = requests();
    for request in &requests {
        let status = answered(&boxd, request.as_bytes());
        assert!(matches!(status, Some(100..=499)), "{status:?}: {request}");
    }
    let mut numbers = Numbers(14);
    for number in 0..4000 {
        let mut bytes = requests[number % requests.len()].clone().into_bytes();
        change(&mut bytes, &mut numbers);
        // Where the body says another length now, the rest of it never comes.
        let status = answered(&boxd, &bytes);
        assert!(
            status.is_none_or(|status| (100..600).contains(&status)),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
        if number % 500 == 0 {
            assert_eq!(boxd.get("/_ping").status, 200);
        }
    }
    assert!(!boxd.has_ended());
    drop(boxd);
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
}

/// The status of an answer, to a client that says nothing more.
fn answered(boxd: &Boxd, bytes: &[u8]) -> Option<u16> {
    let mut stream = boxd.connect();
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    let text = std::str::from_utf8(&head).expect("a status");
    assert!(text.starts_with("HTTP/1.1 "), "{text:?}");
    Some(text[9..].parse().expect("a number"))
}
