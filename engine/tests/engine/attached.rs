//! Clients of boxd that are attached to programs: what they see from when on, and web sockets.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{body, create, image, run};
use crate::boxd::{Boxd, read_head, streams};
use crate::harness::{Room, wait_for};

#[test]
fn a_log_is_shown_up_to_where_a_client_is_attached() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let attach =
        |id: &str| boxd.hijack(&format!("/containers/{id}/attach?logs=1&stream=1&stdout=1&stderr=1"), None).1;
    for name in ["c1", "c2", "c3"] {
        let id = create(&boxd, name, &body(&["sh", "-c", "echo out; echo err >&2"]));
        let mut attached = attach(&id);
        assert_eq!(boxd.post(&format!("/containers/{id}/start"), None).status, 204);
        assert_eq!(streams(&mut attached), ["out\n", "err\n"]);
    }
    // From the log, of one that has ended; with the next one's.
    boxd.json("POST", "/containers/c1/wait", None, 200);
    let mut attached = attach("c1");
    boxd.post("/containers/c1/start", None);
    assert_eq!(streams(&mut attached), ["out\nout\n", "err\nerr\n"]);
}

/// As Docker's SDK for Python does.
#[test]
fn a_client_that_loses_what_it_reads_with_the_head_reads_it_alone() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    run(&boxd, "c1", &["sleep", "1000"]);
    let exec = json!({"Cmd": ["echo", "out"], "AttachStdout": true});
    let id =
        boxd.json("POST", "/containers/c1/exec", Some(&exec), 201)["Id"].as_str().expect("an id").to_string();
    let mut stream = boxd.connect();
    let head = format!(
        "POST /v1.51/exec/{id}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).expect("ask");
    // It is busy with something else.
    std::thread::sleep(Duration::from_millis(500));
    let mut first = [0; 8192];
    let length = stream.read(&mut first).expect("the head");
    assert!(first[..length].ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&first[..length]));
    assert_eq!(streams(&mut stream), ["out\n", ""]);
}

#[test]
fn a_terminal_has_a_size_as_soon_as_the_client_is_told_of_it() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let id = run(&boxd, "cc", &["sleep", "1000"]);
    for _ in 0..5 {
        let wanted = json!({"Cmd": ["sh", "-c", "read x; stty size"], "Tty": true, "AttachStdin": true, "AttachStdout": true});
        let made = boxd.json("POST", &format!("/containers/{id}/exec"), Some(&wanted), 201);
        let exec = made["Id"].as_str().expect("an id");
        let (status, mut attached) = boxd.hijack(&format!("/exec/{exec}/start"), Some(&json!({"Tty": true})));
        assert_eq!(status, 101);
        assert_eq!(boxd.json("GET", &format!("/exec/{exec}/json"), None, 200)["Running"], true);
        assert_eq!(boxd.post(&format!("/exec/{exec}/resize?h=21&w=61"), None).status, 200);
        attached.get_mut().write_all(b"\n").expect("input");
        let mut text = String::new();
        attached.read_to_string(&mut text).expect("output");
        assert!(text.ends_with("21 61\r\n"), "{text:?}");
    }
    assert_eq!(boxd.call("DELETE", &format!("/containers/{id}?force=1"), None).status, 204);
}

/// A client that is attached by a web socket.
struct WebSocket(BufReader<UnixStream>);

impl WebSocket {
    fn open(boxd: &Boxd, path: &str) -> WebSocket {
        let mut stream = boxd.connect();
        let head = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://d\r\n";
        stream
            .write_all(format!("GET /v1.51{path} HTTP/1.1\r\nHost: d\r\n{head}\r\n").as_bytes())
            .expect("send");
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        let accepted = headers.iter().find(|(name, _)| name == "sec-websocket-accept").map(|(_, key)| &**key);
        assert_eq!((status, accepted), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
        WebSocket(reader)
    }

    fn send(&mut self, opcode: u8, content: &[u8]) {
        let mask = [9, 8, 7, 6];
        let mut bytes = vec![0x80 | opcode, 0x80 | u8::try_from(content.len()).expect("a short one")];
        bytes.extend(mask);
        bytes.extend(content.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
        self.0.get_mut().write_all(&bytes).expect("send");
    }

    /// The next frame: what it is, and what is in it.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a frame");
        let mut content = vec![0; usize::from(head[1])];
        assert!(content.len() < 126);
        self.0.read_exact(&mut content).expect("a frame");
        (head[0] & 0xf, content)
    }

    /// All data, until so much of it has come.
    fn text(&mut self, length: usize) -> String {
        let mut text = Vec::new();
        while text.len() < length {
            let (opcode, content) = self.next();
            assert_eq!(opcode, 2);
            text.extend(content);
        }
        String::from_utf8(text).expect("text")
    }

    fn has_ended(&mut self) -> bool {
        self.0.read(&mut [0]).is_ok_and(|length| length == 0)
    }
}

#[test]
fn clients_attach_by_web_sockets() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let mut wanted = body(&["sh", "-c", "echo up; read x; echo got $x; exec sleep 1000"]);
    (wanted["OpenStdin"], wanted["AttachStdin"]) = (json!(true), json!(true));
    let id = create(&boxd, "cc", &wanted);
    let plain = boxd.get(&format!("/containers/{id}/attach/ws"));
    assert_eq!((plain.status, plain.text()), (400, "not websocket protocol".to_string()));
    assert_eq!(boxd.refused("GET", "/containers/none/attach/ws", None, 404), "No such container: none");
    let path = format!("/containers/{id}/attach/ws?logs=1&stream=1&stdin=1&stdout=1&stderr=1");
    let mut client = WebSocket::open(&boxd, &path);
    boxd.post(&format!("/containers/{id}/start"), None);
    assert_eq!(client.text(3), "up\n");
    client.send(9, b"ping");
    assert_eq!(client.next(), (10, b"ping".to_vec()));
    client.send(1, b"word\n");
    assert_eq!(client.text(9), "got word\n");
    // Another one sees what was there before.
    let mut other = WebSocket::open(&boxd, &path);
    assert_eq!(other.text(12), "up\ngot word\n");
    client.send(8, &[3, 232]);
    assert_eq!(client.next(), (8, vec![3, 232]));
    assert!(client.has_ended());
    // Who only looks on is answered as well, and nothing that he says is for the program.
    let mut looking = WebSocket::open(&boxd, &path.replace("stdin=1&", ""));
    assert_eq!(looking.text(12), "up\ngot word\n");
    looking.send(9, b"still there?");
    assert_eq!(looking.next(), (10, b"still there?".to_vec()));
    looking.send(1, b"nothing\n");
    looking.send(8, &[3, 232]);
    assert_eq!(looking.next(), (8, vec![3, 232]));
    assert!(looking.has_ended());
    let state = |name: &str| -> Value {
        boxd.json("GET", &format!("/containers/{id}/json"), None, 200)["State"][name].clone()
    };
    assert_eq!(state("Running"), true);
    // It goes on until its end.
    boxd.post(&format!("/containers/{id}/kill"), None);
    assert_eq!(other.next(), (8, vec![3, 232]));
    assert!(other.has_ended());
    wait_for("its end", || state("Running") == false);
    assert_eq!(boxd.call("DELETE", &format!("/containers/{id}"), None).status, 204);
}

/// Before the start frames are answered, and what is for the program is kept for it.
#[test]
fn web_sockets_speak_before_the_start() {
    let Some(room) = Room::new() else { return };
    let boxd = Boxd::start(&room, "d");
    image(&room, &boxd);
    let mut wanted = body(&["sh", "-c", "read x; echo got $x; read x; echo got $x; wc -c"]);
    for member in ["OpenStdin", "AttachStdin", "StdinOnce"] {
        wanted[member] = json!(true);
    }
    let id = create(&boxd, "cc", &wanted);
    let path = format!("/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1");
    let mut client = WebSocket::open(&boxd, &path);
    let mut looking = WebSocket::open(&boxd, &path.replace("stdin=1&", ""));
    for ping in [b"one", b"two"] {
        client.send(9, ping);
        assert_eq!(client.next(), (10, ping.to_vec()));
        client.send(1, &[&ping[..], b"\n"].concat());
    }
    // Nothing that somebody who only looks on says is kept, however much that is.
    for _ in 0..2000 {
        looking.send(1, &[b'x'; 120]);
    }
    looking.send(9, b"still there?");
    assert_eq!(looking.next(), (10, b"still there?".to_vec()));
    // Whoever leaves is let go at once, whatever he has said.
    let mut leaving = WebSocket::open(&boxd, &path.replace("stdin=1&", ""));
    leaving.send(1, b"bye\n");
    leaving.send(8, &[3, 232]);
    assert_eq!(leaving.next(), (8, vec![3, 232]));
    assert!(leaving.has_ended());
    // More than is kept: the rest waits.
    let most = client.0.get_ref().try_clone().expect("a copy");
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for _ in 0..4000 {
                client.send(2, &[b'y'; 120]);
            }
            most.shutdown(std::net::Shutdown::Write).expect("an end");
            4000 * 120
        });
        std::thread::sleep(Duration::from_millis(500));
        assert!(!sender.is_finished(), "it keeps without end");
        boxd.post(&format!("/containers/{id}/start"), None);
        sender.join().expect("a sender")
    });
    let expected = format!("got one\ngot two\n{sent}\n");
    assert_eq!(client.text(expected.len()), expected);
    assert_eq!(looking.text(expected.len()), expected);
    assert_eq!(client.next(), (8, vec![3, 232]));
}
