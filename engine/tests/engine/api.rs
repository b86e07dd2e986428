//! Docker's API, as its clients use it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::boxd::{Boxd, read_chunk, read_head, streams};
use crate::harness::{Room, wait_for};

/// An image `test` of the room's root file system.
pub fn image(room: &Room, boxd: &Boxd) {
    let tar = fs::read(room.tar("rootfs.tar")).expect("tar");
    let said = boxd.send_tar("POST", "/images/create?fromSrc=-&repo=test&changes=ENV%20A%3Db", &tar);
    assert_eq!(said.status, 200, "{}", said.text());
    assert!(said.json()["status"].as_str().unwrap().starts_with("sha256:"));
}

/// What a client says about a container; nothing of it needs a network.
pub fn body(command: &[&str]) -> Value {
    json!({
        "Image": "test",
        "Cmd": command,
        "AttachStdout": true,
        "Labels": {"kind": "test"},
        "HostConfig": {
            "NetworkMode": "none",
            "CgroupParent": format!("test-{}-engine", crate::host::run_name()),
            "MemorySwappiness": -1,
            "ConsoleSize": [0, 0],
            "Binds": null,
        },
        "NetworkingConfig": {"EndpointsConfig": {}},
    })
}

pub fn create(boxd: &Boxd, name: &str, body: &Value) -> String {
    let made = boxd.json("POST", &format!("/containers/create?name={name}"), Some(body), 201);
    assert_eq!(made["Warnings"], json!([]));
    made["Id"].as_str().expect("an id").to_string()
}

pub fn run(boxd: &Boxd, name: &str, command: &[&str]) -> String {
    let id = create(boxd, name, &body(command));
    assert_eq!(boxd.post(&format!("/containers/{id}/start"), None).status, 204);
    id
}

#[test]
fn the_first_words() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    let ping = boxd.raw(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n");
    assert_eq!(
        (ping.status, ping.header("api-version"), ping.header("ostype")),
        (200, Some("1.51"), Some("linux"))
    );
    assert_eq!((ping.header("swarm"), ping.header("docker-experimental")), (Some("inactive"), Some("false")));
    assert_eq!(boxd.get("/_ping").text(), "OK");
    let version = boxd.json("GET", "/version", None, 200);
    assert_eq!((&version["ApiVersion"], &version["MinAPIVersion"]), (&json!("1.51"), &json!("1.24")));
    let info = boxd.json("GET", "/info", None, 200);
    assert_eq!((&info["Swarm"]["LocalNodeState"], &info["Containers"]), (&json!("inactive"), &json!(0)));
    let old = boxd.raw(b"GET /v1.20/version HTTP/1.1\r\n\r\n");
    assert_eq!((old.status, old.header("content-type")), (400, Some("text/plain; charset=utf-8")));
    assert!(old.text().starts_with("client version 1.20 is too old. Minimum supported API version is 1.24,"));
    // It is the only one that gets no document, whatever the words of others are.
    let words = "/containers/is%20too%20old.%20Minimum%20supported%20API%20version/json";
    assert!(boxd.refused("GET", words, None, 404).starts_with("No such container: is too old."));
    let new = boxd.raw(b"GET /v1.99/version HTTP/1.1\r\n\r\n").json();
    assert_eq!(new["message"], "client version 1.99 is too new. Maximum supported API version is 1.51");
    assert_eq!(boxd.refused("GET", "/nonsense", None, 404), "page not found");
    assert_eq!(boxd.refused("GET", "/containers/nosuch/json", None, 404), "No such container: nosuch");
    assert_eq!(boxd.refused("GET", "/images/nosuch:1/json", None, 404), "No such image: nosuch:1");
    assert_eq!(boxd.refused("GET", "/images/nosuch/json", None, 404), "No such image: nosuch:latest");
    assert_eq!(boxd.refused("GET", "/networks/nosuch", None, 404), "network nosuch not found");
    assert_eq!(boxd.refused("GET", "/volumes/nosuch", None, 404), "get nosuch: no such volume");
    assert_eq!(
        boxd.refused("GET", "/containers/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D", None, 400),
        "invalid filter 'nosuch'"
    );
    assert!(boxd.refused("GET", "/nodes", None, 503).starts_with("This node is not a swarm manager."));
    assert_eq!(boxd.get("/metrics").status, 404);
    // Whatever is on a connection behind a request is the next one.
    let mut stream = boxd.connect();
    stream.write_all(b"GET /_ping HTTP/1.1\r\n\r\nGET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
}

#[test]
fn bodies_that_are_wrong() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let post = |kind: &str, text: &str| {
        let head = format!(
            "POST /v1.51/containers/create HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        let answer = boxd.raw((head + text).as_bytes());
        (answer.status, answer.json()["message"].as_str().unwrap_or_default().to_string())
    };
    let (status, said) = post("application/json", "{bad");
    assert!(status == 400 && said.starts_with("invalid JSON: "), "{said}");
    let (status, said) = post("application/x-www-form-urlencoded", "{}");
    assert_eq!(
        (status, &*said),
        (
            400,
            "unsupported Content-Type header (application/x-www-form-urlencoded): must be 'application/json'"
        )
    );
    assert_eq!(post("application/json", "").0, 400);
    let (status, said) = post("application/json", r#"{"Image": "test", "Tty": "yes"}"#);
    assert!(status == 400 && said.contains("yes"), "{said}");
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut wanted = body(&["true"]);
        change(&mut wanted);
        let answer = boxd.post("/containers/create", Some(&wanted));
        (answer.status, answer.json()["message"].as_str().unwrap_or_default().to_string())
    };
    let missing = json!([{"Type": "bind", "Source": "/nonexistent", "Target": "/b"}]);
    let (status, said) = refused(&|wanted| wanted["HostConfig"]["Mounts"] = missing.clone());
    assert_eq!(
        (status, &*said),
        (400, "invalid mount config for type \"bind\": bind source path does not exist: /nonexistent")
    );
    let (status, said) = refused(&|wanted| wanted["Image"] = json!("nosuch:1"));
    assert_eq!((status, &*said), (404, "No such image: nosuch:1"));
    let (status, said) = refused(&|wanted| wanted["HostConfig"]["Links"] = json!(["a:b"]));
    assert!(status == 400 && said.contains("HostConfig.Links"), "{said}");
    let (status, said) = refused(&|wanted| {
        wanted["HostConfig"]["AutoRemove"] = json!(true);
        wanted["HostConfig"]["RestartPolicy"] = json!({"Name": "always"});
    });
    assert_eq!((status, &*said), (400, "can't create 'AutoRemove' container with restart policy"));
    assert_eq!(boxd.json("GET", "/containers/json?all=1", None, 200), json!([]));
}

/// As `docker run` does it: nothing of what the program writes is lost, and its status is told.
#[test]
fn a_client_that_runs_a_program() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let mut wanted = body(&["sh", "-c", "echo out; echo err >&2; cat; exit 7"]);
    wanted["OpenStdin"] = json!(true);
    wanted["StdinOnce"] = json!(true);
    wanted["HostConfig"]["AutoRemove"] = json!(true);
    let id = create(&boxd, "once", &wanted);
    let (status, mut attached) =
        boxd.hijack(&format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1"), None);
    assert_eq!(status, 101);
    let mut waiting = boxd.connect();
    let wait = format!("POST /v1.51/containers/{id}/wait?condition=removed HTTP/1.1\r\nHost: d\r\n\r\n");
    waiting.write_all(wait.as_bytes()).unwrap();
    let mut waiting = BufReader::new(waiting);
    // The head comes at once: the client starts the container only then.
    assert_eq!(read_head(&mut waiting).0, 200);
    assert_eq!(boxd.post(&format!("/containers/{id}/start"), None).status, 204);
    attached.get_mut().write_all(b"typed\n").unwrap();
    attached.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(streams(&mut attached), ["out\ntyped\n", "err\n"]);
    let said = read_chunk(&mut waiting).expect("a document");
    assert_eq!(serde_json::from_slice::<Value>(&said).unwrap(), json!({"StatusCode": 7}));
    assert_eq!(boxd.get(&format!("/containers/{id}/json")).status, 404);
    room.assert_gone();
}

#[test]
fn a_terminal() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let mut wanted = body(&["sh", "-c", "stty -echo; while read line; do stty size; echo got $line; done"]);
    (wanted["Tty"], wanted["OpenStdin"], wanted["StdinOnce"]) = (json!(true), json!(true), json!(true));
    let id = create(&boxd, "tty", &wanted);
    let (_, mut attached) =
        boxd.hijack(&format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1"), None);
    assert_eq!(
        boxd.refused("POST", &format!("/containers/{id}/resize?h=30&w=90"), None, 409),
        format!("container {id} is not running")
    );
    assert_eq!(boxd.post(&format!("/containers/{id}/start"), None).status, 204);
    // What is typed after the answer finds the new size, each time.
    for rows in 30..60 {
        assert_eq!(boxd.post(&format!("/containers/{id}/resize?h={rows}&w=90"), None).status, 200);
        attached.get_mut().write_all(b"hello\n").unwrap();
        let mut text = String::new();
        while !text.contains("got hello\r\n") {
            assert_ne!(attached.read_line(&mut text).unwrap(), 0, "{text:?}");
        }
        assert!(text.ends_with(&format!("{rows} 90\r\ngot hello\r\n")), "{text:?}");
    }
    // The end of a terminal's input is a character.
    attached.get_mut().write_all(b"\x04").unwrap();
    let mut text = String::new();
    attached.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
    // Whoever comes late reads it in the log.
    assert!(boxd.get(&format!("/containers/{id}/logs?stdout=1")).text().contains("got hello"));
}

#[test]
fn a_life_with_its_words() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let id = run(&boxd, "c2", &["sleep", "1000"]);
    let post = |path: &str| boxd.post(&format!("/containers/{path}"), None).status;
    assert_eq!(post("c2/start"), 304);
    let taken = format!(
        "Conflict. The container name \"/c2\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    );
    assert_eq!(boxd.refused("POST", "/containers/create?name=c2", Some(&body(&["true"])), 409), taken);
    let running = "cannot remove container \"c2\": container is running: stop the container before removing or force remove";
    assert_eq!(boxd.refused("DELETE", "/containers/c2", None, 409), running);
    assert_eq!(post("c2/pause"), 204);
    let exec = json!({"Cmd": ["true"]});
    let said = boxd.refused("POST", "/containers/c2/exec", Some(&exec), 409);
    assert_eq!(said, "Container c2 is paused, unpause the container before exec");
    assert_eq!(boxd.json("GET", "/containers/c2/json", None, 200)["State"]["Status"], "paused");
    assert_eq!(post("c2/unpause"), 204);
    assert_eq!(post("c2/kill?signal=HUP"), 204);
    let top = boxd.json("GET", "/containers/c2/top", None, 200);
    assert_eq!((&top["Titles"][7], &top["Processes"][0][7]), (&json!("CMD"), &json!("sleep 1000")));
    let stats = boxd.json("GET", "/containers/c2/stats?stream=0&one-shot=1", None, 200);
    assert_eq!((&stats["id"], &stats["name"]), (&json!(id), &json!("/c2")));
    run(&boxd, "c1", &["true"]);
    assert_eq!(
        boxd.refused("POST", "/containers/c1/rename?name=c2", None, 409),
        format!("Error when allocating new name: {taken}")
    );
    assert_eq!(post("c1/rename?name=c9"), 204);
    assert_eq!(post("c2/restart?t=0"), 204);
    assert_eq!((post("c2/stop?t=0"), post("c2/stop")), (204, 304));
    let gone = format!("cannot kill container: c2: container {id} is not running");
    assert_eq!(boxd.refused("POST", "/containers/c2/kill", None, 409), gone);
    assert_eq!(
        boxd.refused("GET", "/containers/c2/top", None, 409),
        format!("container {id} is not running")
    );
    assert_eq!(boxd.json("POST", "/containers/c2/wait", None, 200), json!({"StatusCode": 137}));
    let listed = boxd.json(
        "GET",
        "/containers/json?all=1&filters=%7B%22name%22%3A%7B%22c2%22%3Atrue%7D%7D",
        None,
        200,
    );
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["State"]), (1, &json!("exited")));
    for (filters, count) in [
        (r#"{"label":["kind=test"]}"#, 2),
        (r#"{"label":["kind=x"]}"#, 0),
        (r#"{"ancestor":["test"],"status":["exited"]}"#, 2),
    ] {
        let listed = boxd.json("GET", &format!("/containers/json?all=1&filters={filters}"), None, 200);
        assert_eq!(listed.as_array().unwrap().len(), count, "{filters}");
    }
    let updated = boxd.json(
        "POST",
        "/containers/c2/update",
        Some(&json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})),
        200,
    );
    assert_eq!(updated, json!({"Warnings": null}));
    let inspected = boxd.json("GET", "/containers/c2/json", None, 200);
    assert_eq!(
        inspected["HostConfig"]["RestartPolicy"],
        json!({"Name": "on-failure", "MaximumRetryCount": 2})
    );
    assert_eq!(boxd.call("DELETE", "/containers/c2", None).status, 204);
    let pruned = boxd.json("POST", "/containers/prune", None, 200);
    assert_eq!(pruned["ContainersDeleted"].as_array().unwrap().len(), 1);
    // Clients tell from these words what was wrong.
    let bad = create(&boxd, "bad", &body(&["nosuchcmd"]));
    assert!(
        boxd.refused("POST", &format!("/containers/{bad}/start"), None, 400)
            .contains("executable file not found")
    );
    let bad = create(&boxd, "folder", &body(&["/etc"]));
    assert!(
        boxd.refused("POST", &format!("/containers/{bad}/start"), None, 400).contains("permission denied")
    );
    // What the kernel does not find is told by the kernel's answer, not by what words a user has used.
    let missing = "no such file or folder";
    for (name, sysctl, value, status, end) in [
        ("nosuch", "net.nosuch", "1", 400, "/proc/sys/net/nosuch: no such file or directory"),
        ("words", "net.ipv4.ip_forward", missing, 500, "/proc/sys/net/ipv4/ip_forward: invalid argument"),
    ] {
        let mut wanted = body(&["true"]);
        wanted["HostConfig"]["Sysctls"] = json!({sysctl: value});
        create(&boxd, name, &wanted);
        let said = boxd.refused("POST", &format!("/containers/{name}/start"), None, status);
        assert!(said.ends_with(end), "{said}");
    }
}

#[test]
fn one_more_program() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    run(&boxd, "cc", &["sleep", "1000"]);
    let make = |body: &Value| {
        boxd.json("POST", "/containers/cc/exec", Some(body), 201)["Id"].as_str().expect("an id").to_string()
    };
    let wanted = |command: &[&str]| json!({"Cmd": command, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Env": ["B=c"], "WorkingDir": "/tmp", "User": "33"});
    let id = make(&wanted(&["sh", "-c", "cat; echo $A $B; pwd; id -u; echo e >&2; exit 7"]));
    let (status, mut stream) =
        boxd.hijack(&format!("/exec/{id}/start"), Some(&json!({"Detach": false, "Tty": false})));
    assert_eq!(status, 101);
    stream.get_mut().write_all(b"data\n").unwrap();
    stream.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(streams(&mut stream), ["data\nb c\n/tmp\n33\n", "e\n"]);
    // Its end is known when the stream ends.
    let known = boxd.json("GET", &format!("/exec/{id}/json"), None, 200);
    assert_eq!((&known["Running"], &known["ExitCode"]), (&json!(false), &json!(7)));
    assert!(
        boxd.refused("POST", &format!("/exec/{id}/start"), Some(&json!({})), 409).contains("has already run")
    );
    let id = make(&json!({"Cmd": ["nosuchcmd"], "AttachStdout": true}));
    let (_, mut stream) = boxd.hijack(&format!("/exec/{id}/start"), Some(&json!({})));
    let [seen, _] = streams(&mut stream);
    assert!(seen.contains("executable file not found"), "{seen:?}");
    assert_eq!(boxd.json("GET", &format!("/exec/{id}/json"), None, 200)["ExitCode"], 127);
    // As older clients do it: the stream ends with the connection.
    let id = make(&json!({"Cmd": ["echo", "x"], "AttachStdout": true}));
    let mut stream = boxd.connect();
    let head = format!(
        "POST /v1.51/exec/{id}/start HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(read_head(&mut stream).0, 200);
    assert_eq!(streams(&mut stream), ["x\n", ""]);
    let id = make(&json!({"Cmd": ["touch", "/tmp/there"]}));
    assert_eq!(boxd.post(&format!("/exec/{id}/start"), Some(&json!({"Detach": true}))).status, 200);
    wait_for("its end", || boxd.json("GET", &format!("/exec/{id}/json"), None, 200)["ExitCode"] == 0);
    let id = make(
        &json!({"Cmd": ["sh", "-c", "read x; stty size"], "AttachStdin": true, "AttachStdout": true, "Tty": true}),
    );
    let (_, mut stream) = boxd.hijack(&format!("/exec/{id}/start"), Some(&json!({"Tty": true})));
    wait_for("its terminal", || boxd.post(&format!("/exec/{id}/resize?h=20&w=70"), None).status == 200);
    stream.get_mut().write_all(b"\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("20 70\r\n"), "{text:?}");
    assert_eq!(boxd.refused("GET", "/exec/nosuch/json", None, 404), "No such exec instance: nosuch");
}

/// Whoever is killed owns nothing: another boxd goes on, and the programs have not noticed.
#[test]
fn a_program_that_does_not_read_everything_ends_well() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    run(&boxd, "cc", &["sleep", "100"]);
    let exec = json!({"Cmd": ["head", "-c", "3"], "AttachStdin": true, "AttachStdout": true});
    for _ in 0..5 {
        let made = boxd.json("POST", "/containers/cc/exec", Some(&exec), 201);
        let start = format!("/exec/{}/start", made["Id"].as_str().expect("an id"));
        let (_, mut stream) = boxd.hijack(&start, Some(&json!({})));
        let mut connection = stream.get_ref().try_clone().expect("a descriptor");
        let sender = std::thread::spawn(move || {
            // Until nobody takes more.
            while connection.write_all(&[b'x'; 1 << 16]).is_ok() {}
        });
        // Also the end of the connection is as it should be.
        assert_eq!(streams(&mut stream), ["xxx", ""]);
        stream.get_ref().shutdown(Shutdown::Both).expect("close");
        sender.join().expect("a thread");
    }
    // An error comes before all has been sent.
    let head = "PUT /v1.51/containers/nosuch/archive?path=/ HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n";
    let mut stream = boxd.connect();
    stream.write_all(head.as_bytes()).expect("send");
    while stream.write_all(&[0; 1 << 16]).is_ok() && !is_readable(&stream) {}
    let (status, _) = read_head(&mut BufReader::new(&stream));
    assert_eq!(status, 404);
}

#[test]
fn what_cannot_be_sent_is_an_error_and_no_answer_that_is_cut() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    assert_eq!(boxd.get("/images/test/get").status, 200);
    fs::remove_dir_all(room.data().join("blobs/sha256")).expect("remove");
    fs::create_dir(room.data().join("blobs/sha256")).expect("folder");
    let said = boxd.get("/images/test/get");
    assert!(said.status >= 400 && said.text().contains("blob"), "{}: {}", said.status, said.text());
}

fn is_readable(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let peeked = rustix::net::recv(stream, &mut [0u8; 1], rustix::net::RecvFlags::PEEK);
    stream.set_nonblocking(false).expect("a socket");
    peeked.is_ok()
}

/// As after a build that gives it to another one.
#[test]
fn an_image_that_has_lost_its_name_is_listed_by_its_id() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    create(&boxd, "cc", &body(&["true"]));
    let listed = || boxd.json("GET", "/containers/json?all=1", None, 200)[0].clone();
    assert_eq!(listed()["Image"], "test");
    // What rests is not written again.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((&listed()["Image"], &listed()["Image"]), (&json!("test"), &json!("test")));
    room.call(&["tag", "test", "kept"]).exits(0);
    room.call(&["rmi", "test"]).exits(0);
    assert_eq!(listed()["Image"], listed()["ImageID"]);
    room.call(&["tag", "kept", "test"]).exits(0);
    assert_eq!(listed()["Image"], "test");
}

#[test]
fn nobody_owns_the_state() {
    let Some(room) = Room::new() else { return };
    let (first, second) = (Boxd::start(&room, "one"), Boxd::start(&room, "two"));
    image(&room, &first);
    // One is attached to, the other one starts it.
    let id = create(&first, "cc", &body(&["sh", "-c", "echo first; read x </dev/zero & sleep 1000"]));
    let (_, mut attached) =
        first.hijack(&format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1"), None);
    assert_eq!(second.post(&format!("/containers/{id}/start"), None).status, 204);
    let mut frame = [0; 14];
    attached.read_exact(&mut frame).unwrap();
    assert_eq!(&frame[8..], b"first\n");
    let exec = json!({"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": true});
    let exec =
        first.json("POST", "/containers/cc/exec", Some(&exec), 201)["Id"].as_str().unwrap().to_string();
    let pid = second.json("GET", "/containers/cc/json", None, 200)["State"]["Pid"].clone();
    first.kill();
    assert_eq!(second.json("GET", "/containers/cc/json", None, 200)["State"]["Pid"], pid);
    // What the killed one was told is known to the next one.
    let (_, mut stream) = second.hijack(&format!("/exec/{exec}/start"), Some(&json!({})));
    streams(&mut stream);
    assert_eq!(second.json("GET", &format!("/exec/{exec}/json"), None, 200)["ExitCode"], 3);
    // One that waits for a container that its killed boxd had not started yet is nobody's burden.
    let id = create(&second, "late", &body(&["echo", "x"]));
    let third = Boxd::start(&room, "three");
    let (_, _attached) = third.hijack(&format!("/containers/{id}/attach?stream=1&stdout=1"), None);
    third.kill();
    assert_eq!(second.post(&format!("/containers/{id}/start"), None).status, 204);
    assert_eq!(second.json("POST", &format!("/containers/{id}/wait"), None, 200)["StatusCode"], 0);
    let waiting = fs::read_dir(room.folder.join("runtime/pillbox/.waiting")).unwrap().count();
    assert_eq!(waiting, 0);
    // A socket that a killed one has left is taken over; one that is served is not.
    let fourth = Boxd::start(&room, "one");
    assert_eq!(fourth.get("/_ping").status, 200);
    let host = format!("unix://{}", fourth.socket.display());
    room.call(&["daemon", "--host", &host]).fails(1, "another boxd serves it");
    room.call(&["rm", "-f", "cc", "late"]).ok();
    room.assert_gone();
}

#[test]
fn logs_and_events() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let id = run(&boxd, "lf", &["sh", "-c", "echo one; echo two >&2; sleep 1; echo three"]);
    let mut stream = boxd.connect();
    stream
        .write_all(format!("GET /v1.51/containers/{id}/logs?stdout=1&follow=1 HTTP/1.1\r\n\r\n").as_bytes())
        .unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(read_head(&mut stream).0, 200);
    let mut seen = Vec::new();
    while let Some(chunk) = read_chunk(&mut stream) {
        seen.extend(chunk);
    }
    assert_eq!(streams(&mut &seen[..]), ["one\nthree\n", ""]);
    let all = boxd.get("/containers/lf/logs?stdout=1&stderr=1&timestamps=1&tail=1");
    assert!(all.text().ends_with("Z three\n"), "{:?}", all.text());
    assert_eq!(
        boxd.refused("GET", "/containers/lf/logs", None, 400),
        "Bad parameters: you must choose at least one stream"
    );
    boxd.json("POST", "/containers/lf/wait", None, 200);
    let until = format!(
        "{}",
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1
    );
    let events =
        boxd.get(&format!("/events?since=0&until={until}&filters=%7B%22type%22%3A%5B%22container%22%5D%7D"));
    let actions: Vec<String> =
        events.documents().iter().map(|one| one["Action"].as_str().unwrap().to_string()).collect();
    assert_eq!(actions, ["create", "start", "die"]);
    let die = &events.documents()[2];
    assert_eq!(
        (&die["Actor"]["Attributes"]["exitCode"], &die["Actor"]["Attributes"]["kind"]),
        (&json!("0"), &json!("test"))
    );
    assert_eq!((&die["status"], &die["id"], &die["from"]), (&json!("die"), &json!(id), &json!("test")));
    let images =
        boxd.get(&format!("/events?since=0&until={until}&filters=%7B%22type%22%3A%5B%22image%22%5D%7D"));
    assert_eq!(
        (&images.documents()[1]["Action"], &images.documents()[1]["status"]),
        (&json!("import"), &json!("import"))
    );
    // Those that are still to come, to a client that then goes.
    let mut stream = boxd.connect();
    stream.write_all(b"GET /v1.51/events HTTP/1.1\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(read_head(&mut stream).0, 200);
    boxd.call("DELETE", "/containers/lf", None);
    let event: Value = serde_json::from_slice(&read_chunk(&mut stream).expect("an event")).unwrap();
    assert_eq!(event["Action"], "destroy");
}

#[test]
fn files() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    // Before it was ever started, and while somebody waits for that.
    let id = create(&boxd, "cc", &body(&["sleep", "1000"]));
    let (_, attached) = boxd.hijack(&format!("/containers/{id}/attach?stream=1&stdout=1"), None);
    let mut make = std::process::Command::new("tar");
    fs::write(room.folder.join("new"), "content\n").unwrap();
    let tar = make.arg("-C").arg(&room.folder).args(["-cf", "-", "new"]).output().unwrap().stdout;
    assert_eq!(
        boxd.send_tar("PUT", "/containers/cc/archive?path=/tmp&noOverwriteDirNonDir=true", &tar).status,
        200
    );
    for state in ["created", "running"] {
        assert_eq!(boxd.json("GET", "/containers/cc/json", None, 200)["State"]["Status"], state);
        let found = boxd.get("/containers/cc/archive?path=/tmp/new");
        assert_eq!((found.status, found.header("content-type")), (200, Some("application/x-tar")));
        assert!(found.text().contains("content\n"));
        let stat = found.header("x-docker-container-path-stat").unwrap().to_string();
        let decoded = base64(&stat);
        let stat: Value = serde_json::from_slice(&decoded).unwrap();
        assert_eq!((&stat["name"], &stat["size"], &stat["mode"]), (&json!("new"), &json!(8), &json!(0o644)));
        let head = boxd.raw(b"HEAD /v1.51/containers/cc/archive?path=/tmp HTTP/1.1\r\n\r\n");
        let stat: Value =
            serde_json::from_slice(&base64(head.header("x-docker-container-path-stat").unwrap())).unwrap();
        assert_eq!(
            (head.status, &stat["name"], stat["mode"].as_u64().unwrap() >> 31),
            (200, &json!("tmp"), 1)
        );
        assert_eq!(
            boxd.refused("GET", "/containers/cc/archive?path=/nosuch", None, 404),
            "Could not find the file /nosuch in container cc"
        );
        assert_eq!(boxd.raw(b"HEAD /v1.51/containers/cc/archive?path=/nosuch HTTP/1.1\r\n\r\n").status, 404);
        boxd.post("/containers/cc/start", None);
    }
    drop(attached);
    let changes = boxd.json("GET", "/containers/cc/changes", None, 200);
    assert!(changes.as_array().unwrap().contains(&json!({"Path": "/tmp/new", "Kind": 1})), "{changes}");
    let export = boxd.get("/containers/cc/export");
    assert!(export.status == 200 && export.text().contains("content\n"));
    let made = boxd.json("POST", "/commit?container=cc&repo=made&tag=1&changes=ENV%20C%3Dd", None, 201);
    let inspected = boxd.json("GET", "/images/made:1/json", None, 200);
    assert_eq!((&inspected["Id"], &inspected["Config"]["Env"]), (&made["Id"], &json!(["A=b", "C=d"])));
    boxd.call("DELETE", "/containers/cc?force=1", None);
}

fn base64(text: &str) -> Vec<u8> {
    let mut decode = std::process::Command::new("base64");
    let mut child = decode
        .arg("-d")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn images_volumes_and_networks() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    assert_eq!(boxd.post("/images/test/tag?repo=localhost:5000/other&tag=2", None).status, 201);
    let listed = boxd.json("GET", "/images/json", None, 200);
    assert_eq!(listed[0]["RepoTags"], json!(["test:latest", "localhost:5000/other:2"]));
    assert_eq!(boxd.json("GET", "/images/localhost:5000/other:2/json", None, 200)["Id"], listed[0]["Id"]);
    assert_eq!(boxd.json("GET", "/images/test/history", None, 200)[0]["Id"], listed[0]["Id"]);
    let saved = boxd.get("/images/get?names=test");
    let gone = boxd.json("DELETE", "/images/localhost:5000/other:2", None, 200);
    assert_eq!(gone, json!([{"Untagged": "localhost:5000/other:2"}]));
    create(&boxd, "user", &body(&["true"]));
    assert!(
        boxd.refused("DELETE", "/images/test", None, 409)
            .starts_with("conflict: unable to remove repository reference \"test\" (must force)")
    );
    boxd.call("DELETE", "/containers/user", None);
    assert_eq!(boxd.json("DELETE", "/images/test", None, 200)[0], json!({"Untagged": "test:latest"}));
    let loaded = boxd.send_tar("POST", "/images/load?quiet=1", &saved.body);
    assert_eq!(loaded.json(), json!({"stream": "Loaded image: test:latest\n"}));
    let made =
        boxd.json("POST", "/volumes/create", Some(&json!({"Name": "data", "Labels": {"a": "b"}})), 201);
    assert_eq!((&made["Name"], &made["Driver"]), (&json!("data"), &json!("local")));
    let mut wanted = body(&["true"]);
    wanted["HostConfig"]["Binds"] = json!(["data:/data:rw"]);
    let id = create(&boxd, "user", &wanted);
    assert_eq!(
        boxd.refused("DELETE", "/volumes/data", None, 409),
        format!("remove data: volume is in use - [{id}]")
    );
    boxd.call("DELETE", "/containers/user", None);
    assert_eq!(boxd.call("DELETE", "/volumes/data", None).status, 204);
    assert_eq!(boxd.json("GET", "/volumes", None, 200), json!({"Volumes": [], "Warnings": null}));
    // What it will have is shown before there is a container on it.
    let bridge = boxd.json("GET", "/networks/bridge", None, 200);
    let first = &bridge["IPAM"]["Config"][0];
    assert!(first["Subnet"].is_string() && first["Gateway"].is_string(), "{bridge}");
    let labels = json!({"Name": "n1", "Labels": {"com.docker.compose.project": "p"}, "IPAM": {"Config": [{"Subnet": "10.99.1.0/24"}]}});
    let made = boxd.json("POST", "/networks/create", Some(&labels), 201);
    assert_eq!(
        boxd.refused("POST", "/networks/create", Some(&json!({"Name": "n1"})), 409),
        "network with name n1 already exists"
    );
    let overlaps = json!({"Name": "n9", "IPAM": {"Config": [{"Subnet": "10.99.0.0/16"}]}});
    assert!(
        boxd.refused("POST", "/networks/create", Some(&overlaps), 403)
            .starts_with("invalid pool request: Pool overlaps")
    );
    let found = boxd.json("GET", "/networks/n1", None, 200);
    assert_eq!((&found["Id"], &found["IPAM"]["Config"][0]["Gateway"]), (&made["Id"], &json!("10.99.1.1")));
    let named = boxd.json("GET", "/networks?filters=%7B%22name%22%3A%5B%22%5En1%24%22%5D%7D", None, 200);
    assert_eq!(named.as_array().unwrap().len(), 1);
    assert_eq!(
        boxd.refused("DELETE", "/networks/bridge", None, 403),
        "bridge is a pre-defined network and cannot be removed"
    );
    assert_eq!(boxd.json("GET", "/networks/bridge", None, 200)["Driver"], "bridge");
    assert_eq!(boxd.json("POST", "/networks/prune", None, 200), json!({"NetworksDeleted": ["n1"]}));
    let disk = boxd.json("GET", "/system/df", None, 200);
    assert!(disk["LayersSize"].as_u64().unwrap() > 0 && disk["Images"].as_array().unwrap().len() == 1);
}

#[test]
fn several_networks() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    for name in ["front", "back", "third"] {
        boxd.json("POST", "/networks/create", Some(&json!({"Name": name})), 201);
    }
    let mut wanted = body(&["true"]);
    wanted["HostConfig"]["NetworkMode"] = json!("back");
    wanted["NetworkingConfig"]["EndpointsConfig"] =
        json!({"back": {"Aliases": ["db"]}, "front": {"Aliases": ["web"]}});
    create(&boxd, "cc", &wanted);
    let networks =
        || boxd.json("GET", "/containers/cc/json", None, 200)["NetworkSettings"]["Networks"].clone();
    assert_eq!(
        (&networks()["back"]["Aliases"], &networks()["front"]["Aliases"]),
        (&json!(["db"]), &json!(["web"]))
    );
    let connect = json!({"Container": "cc", "EndpointConfig": {"Aliases": ["x"]}});
    assert_eq!(boxd.post("/networks/third/connect", Some(&connect)).status, 200);
    assert_eq!(networks()["third"]["Aliases"], json!(["x"]));
    let again = boxd.refused("POST", "/networks/third/connect", Some(&connect), 403);
    assert_eq!(again, "endpoint with name cc already exists in network third");
    let disconnect = json!({"Container": "cc", "Force": true});
    assert_eq!(boxd.post("/networks/third/disconnect", Some(&disconnect)).status, 200);
    assert_eq!(networks()["third"], Value::Null);
    assert!(
        boxd.refused("POST", "/networks/third/disconnect", Some(&disconnect), 403)
            .contains("is not connected")
    );
    assert_eq!(
        boxd.refused("POST", "/networks/nosuch/connect", Some(&connect), 404),
        "network nosuch not found"
    );
    assert_eq!(boxd.call("DELETE", "/containers/cc", None).status, 204);
}

#[test]
fn clients_that_mean_harm() {
    let Some(room) = Room::new() else { return };
    // boxd's unit has more as well.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let more = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, more).expect("a limit");
    let mut boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let before = boxd.resident();
    let idle: Vec<_> = (0..1000).map(|_| boxd.connect()).collect();
    let slow = {
        let mut slow = boxd.connect();
        slow.write_all(b"GET /_ping HT").unwrap();
        slow
    };
    // Half a body, in the middle of which the client goes: nothing is made.
    let mut half = boxd.connect();
    half.write_all(b"POST /v1.51/containers/create HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"Image\": \"te").unwrap();
    // Nobody is held up meanwhile.
    let began = Instant::now();
    assert_eq!(boxd.get("/_ping").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
    // With the 6 MB that it may have without any they are 20.
    let grown = boxd.resident().saturating_sub(before);
    assert!(grown < 14_000, "{grown} kB for 1000 connections");
    drop((idle, half));
    for bomb in [
        vec![b'a'; 1 << 20],
        [&b"GET /_ping HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(5000)].concat(),
        [&b"GET /_ping HTTP/1.1\r\na: "[..], &vec![b'b'; 1 << 20]].concat(),
        b"POST /_ping HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /v1.51/auth HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nffffffffffffffff\r\n".to_vec(),
        [&b"POST /v1.51/auth HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n"[..], &vec![b'['; 200_000]].concat(),
    ] {
        let mut stream = boxd.connect();
        // It may be refused before it is all sent.
        let _ = stream.write_all(&bomb);
        let _ = stream.shutdown(Shutdown::Write);
        let mut line = String::new();
        let _ = BufReader::new(stream).read_line(&mut line);
        assert!(line.is_empty() || line.starts_with("HTTP/1.1 4"), "{line:?}");
    }
    // The head that does not come is given up.
    let mut line = String::new();
    BufReader::new(slow).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 408"), "{line:?}");
    assert_eq!(boxd.json("GET", "/containers/json?all=1", None, 200), json!([]));
    assert!(!boxd.has_ended());
}

/// Started by hand, with the few descriptors that are usual on a shell.
#[test]
fn descriptors_are_boxd_s_own_matter() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some(room) = Room::new() else { return };
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(300), ..files }).expect("a limit");
    let boxd = Boxd::start(&room, "d");
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).expect("a limit");
    image(&room, &boxd);
    let idle: Vec<_> = (0..400).map(|_| boxd.connect()).collect();
    assert_eq!(boxd.get("/_ping").status, 200);
    // Containers have what boxd was given, and so has whatever is started in them meanwhile.
    let ask = ["sh", "-c", "ulimit -Sn; ulimit -Hn; sleep 1000"];
    let expected =
        format!("300\n{}\n", files.maximum.map_or("unlimited".to_string(), |most| most.to_string()));
    let id = run(&boxd, "limits", &ask);
    let logs = format!("/containers/{id}/logs?stdout=1");
    let said = |path: &str| streams(&mut &boxd.get(path).body[..])[0].clone();
    wait_for("the limits", || said(&logs).lines().count() == 2);
    assert_eq!(said(&logs), expected);
    let wanted = json!({"AttachStdout": true, "Cmd": ["sh", "-c", "ulimit -Sn; ulimit -Hn"]});
    let exec = boxd.json("POST", &format!("/containers/{id}/exec"), Some(&wanted), 201);
    let start = format!("/exec/{}/start", exec["Id"].as_str().expect("an id"));
    let (status, mut stream) = boxd.hijack(&start, Some(&json!({})));
    assert_eq!((status, &streams(&mut stream)[0]), (101, &expected));
    let context = room.folder.join("limits");
    fs::create_dir(&context).expect("a folder");
    fs::write(context.join("Dockerfile"), "FROM test\nRUN echo limit=$(ulimit -Sn)\n").expect("a file");
    let tar = std::process::Command::new("tar")
        .arg("-C")
        .arg(&context)
        .args(["-c", "."])
        .output()
        .expect("tar")
        .stdout;
    let built = boxd.send_tar("POST", "/build?networkmode=none&nocache=1", &tar).text();
    assert!(built.contains("limit=300"), "{built}");
    drop(idle);
    room.call(&["rm", "-f", "limits"]).ok();
}

/// Threads of clients that have gone end.
#[test]
fn clients_that_go() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let id = run(&boxd, "cc", &["sleep", "1000"]);
    let threads = || fs::read_dir(format!("/proc/{}/task", boxd.pid().as_raw_pid())).unwrap().count();
    wait_for("the first threads", || threads() <= 1);
    let paths = [
        format!("GET /v1.51/containers/{id}/logs?stdout=1&follow=1"),
        format!("GET /v1.51/containers/{id}/stats"),
        "GET /v1.51/events".to_string(),
        format!("POST /v1.51/containers/{id}/wait"),
        format!("POST /v1.51/containers/{id}/attach?stream=1&stdout=1"),
    ];
    let streams: Vec<_> = paths
        .iter()
        .map(|path| {
            let mut stream = boxd.connect();
            stream.write_all(format!("{path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            let mut stream = BufReader::new(stream);
            assert_eq!(read_head(&mut stream).0, 200, "{path}");
            stream
        })
        .collect();
    assert!(threads() > paths.len());
    drop(streams);
    wait_for("the ends of all threads", || threads() <= 1);
    room.call(&["rm", "-f", "cc"]).ok();
}

#[test]
fn what_the_command_line_says() {
    let Some(room) = Room::new() else { return };
    room.call(&["daemon", "--host", "tcp://127.0.0.1:2376"]).fails(125, "clients with a certificate alone");
    room.call(&["daemon", "--host", "here"]).fails(125, "--host here: must be unix://");
    room.call(&["daemon", "--host", "fd://"]).fails(125, "nobody has passed a socket");
    let mut boxd = Boxd::with(&room, "d", &["--idle", "1s", "--metrics"]);
    let text = boxd.get("/metrics").text();
    assert!(text.contains("boxd_requests_total{result=\"ok\"}"), "{text}");
    let pid = fs::read_to_string(room.folder.join("d.pid")).unwrap();
    assert_eq!(fs::read_link(format!("/proc/{}/exe", pid.trim())).unwrap(), room.folder.join("box"));
    // What is refused is a line of JSON.
    boxd.get("/containers/nosuch/json");
    let log = fs::read_to_string(room.folder.join("d.log")).unwrap();
    let line: Value = serde_json::from_str(log.lines().last().expect("a line")).unwrap();
    assert_eq!(
        (&line["level"], &line["msg"]),
        (&json!("info"), &json!("GET /containers/nosuch/json: 404: No such container: nosuch"))
    );
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    wait_for("its end", || boxd.has_ended());
    assert!(!boxd.socket.exists() && !room.folder.join("d.pid").exists());
    // A signal ends it in good order.
    let mut boxd = Boxd::start(&room, "e");
    kill_process(boxd.pid(), Signal::TERM).unwrap();
    wait_for("its end", || boxd.has_ended());
    assert!(!boxd.socket.exists());
}
