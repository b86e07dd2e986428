//! boxd on the network: clients with a certificate, and everybody else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::boxd::Boxd;
use crate::harness::{Room, wait_for};
use crate::registry::raise_loopback;

const FILES: [&str; 7] =
    ["--tlsverify", "--tlscacert", "ca.pem", "--tlscert", "server.pem", "--tlskey", "server-key.pem"];

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(folder).stdout(Stdio::null());
    let done = command.stderr(Stdio::null()).status().expect("openssl");
    assert!(done.success(), "openssl {arguments}");
}

/// An authority, boxd's certificate, and a client's.
fn make_certificates(folder: &Path) {
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {new} -days 2 -subj /CN=ca -keyout ca-key.pem -out ca.pem"));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("names");
    for name in ["server", "client"] {
        openssl(folder, &format!("req {new} -subj /CN={name} -keyout {name}-key.pem -out {name}.csr"));
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile names -out {name}.pem"
            ),
        );
    }
}

/// boxd with TLS, and its address.
fn start(room: &Room) -> (Boxd, String) {
    raise_loopback();
    make_certificates(&room.folder);
    // Nobody else takes a port of the tests' own.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let host = format!("tcp://{free}");
    (Boxd::with(room, "d", &[&["--host", &host][..], &FILES].concat()), free.to_string())
}

/// A client; the second value is its stdin.
fn client(room: &Room, address: &str, flags: &[&str]) -> (Child, ChildStdin) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", address, "-CAfile", "ca.pem"]).args(flags);
    command.current_dir(&room.folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl");
    let stdin = child.stdin.take().expect("its stdin");
    (child, stdin)
}

const CERTIFICATE: [&str; 4] = ["-cert", "client.pem", "-key", "client-key.pem"];

/// What a client is answered.
fn ask(room: &Room, address: &str, flags: &[&str]) -> String {
    let (mut child, mut stdin) = client(room, address, flags);
    // Whoever is refused is not listened to.
    let _ = stdin.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    let mut said = String::new();
    let _ = child.stdout.take().expect("its stdout").read_to_string(&mut said);
    child.wait().expect("openssl");
    said
}

fn threads(boxd: &Boxd) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", boxd.pid().as_raw_pid()));
    tasks.expect("its threads").count()
}

#[test]
fn whoever_has_no_certificate_costs_nothing() {
    let Some(room) = Room::new() else { return };
    let (boxd, address) = start(&room);
    assert!(ask(&room, &address, &CERTIFICATE).ends_with("OK"));
    assert_eq!(ask(&room, &address, &[]), "");
    let mut plain = TcpStream::connect(&address).expect("connect");
    plain.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").expect("send");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/1.1 200"), "{said:?}");
    // Looked whether somebody is there, and hung up in the middle of a handshake.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        for how in [Shutdown::Both, Shutdown::Write] {
            let mut stream = TcpStream::connect(&address).expect("connect");
            stream.write_all(sent).expect("send");
            let _ = stream.shutdown(how);
        }
    }
    wait_for("the end of all of them", || threads(&boxd) == 1);
}

#[test]
fn many_that_say_nothing_keep_nobody_out() {
    let Some(room) = Room::new() else { return };
    let (boxd, address) = start(&room);
    let strangers: Vec<TcpStream> =
        (0..400).map(|_| TcpStream::connect(&address).expect("connect")).collect();
    let began = Instant::now();
    assert!(ask(&room, &address, &CERTIFICATE).ends_with("OK"));
    assert_eq!(boxd.get("/_ping").status, 200);
    assert!(threads(&boxd) < 300, "each has a thread");
    drop(strangers);
    wait_for("the end of all of them", || threads(&boxd) == 1);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_client_that_leaves_is_not_served_any_more() {
    let Some(room) = Room::new() else { return };
    let (boxd, address) = start(&room);
    let (mut child, mut stdin) = client(&room, &address, &CERTIFICATE);
    stdin.write_all(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n").expect("send");
    let mut status = [0; 12];
    child.stdout.as_mut().expect("its stdout").read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    assert!(threads(&boxd) > 1);
    child.kill().and_then(|()| child.wait()).expect("kill");
    wait_for("the end of the stream", || threads(&boxd) == 1);
}

#[test]
fn what_is_wrong_with_the_files_is_named() {
    let Some(room) = Room::new() else { return };
    make_certificates(&room.folder);
    std::fs::write(room.folder.join("empty"), "").expect("file");
    let refused = |host: &str, place: usize, file: &str, words: &str| {
        let mut flags = FILES;
        flags[place] = file;
        let all = [&["daemon", "--host", host][..], &flags].concat();
        let said = room.call(&all);
        assert_ne!(said.status, 0);
        assert!(said.stderr.contains(words) && said.stderr.lines().count() == 1, "{}", said.stderr);
    };
    let host = "tcp://127.0.0.1:2376";
    refused(host, 2, "empty", "--tlscacert empty: it has no certificate");
    refused(host, 4, "empty", "--tlscert empty: it has no certificate");
    refused(host, 6, "empty", "--tlskey empty: it has no private key");
    refused(host, 2, "nosuch", "--tlscacert nosuch: ");
    refused(
        host,
        6,
        "client-key.pem",
        "--tlscert server.pem --tlskey client-key.pem: the key is not that of the certificate",
    );
    for host in ["tcp://127.0.0.1", "tcp://:2376", "tcp://", "tcp://127.0.0.1:99999"] {
        refused(host, 2, "ca.pem", &format!("--host {host}: must have an address and a port"));
    }
    let without = room.call(&["daemon", "--host", host]);
    without.fails(125, "on the network boxd serves clients with a certificate alone");
}
