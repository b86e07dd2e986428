//! Images from addresses and paths: import of a URL, registry.json, and what a path can be.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use crate::harness::Room;
use crate::networks::room;

/// Serves a file at any address, as often as is asked; behind `/half` comes half of it. The address of the server.
fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("client");
            let mut lines = BufReader::new(stream.try_clone().expect("clone")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            if first.contains("/missing") {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                continue;
            }
            let length = content.len();
            let sent = if first.contains("/half") { length / 2 } else { length };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content[..sent]));
        }
    });
    format!("http://{address}")
}

fn sha256(room: &Room, name: &str) -> String {
    let output = Command::new("sha256sum").arg(room.folder.join(name)).output().expect("sha256sum");
    String::from_utf8_lossy(&output.stdout).split(' ').next().expect("digest").to_string()
}

/// A tar of the root file system at an address, and its digest.
fn served(room: &Room) -> (String, String) {
    let path = room.tar("rootfs.tar.gz");
    (serve(fs::read(path).expect("tar")), sha256(room, "rootfs.tar.gz"))
}

fn images(room: &Room) -> String {
    let said = room.call(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    let mut names: Vec<&str> = said.lines().collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn a_root_file_system_at_an_address() {
    let Some((room, _alone)) = room() else { return };
    let (server, digest) = served(&room);
    let url = format!("{server}/rootfs.tar.gz");
    room.call(&["import", "--sha256", &digest, &url, "checked"]).ok();
    room.call(&["import", &url, "trusted"]).ok();
    let said = room.call(&["run", "--rm", "--network", "none", "checked", "echo", "here"]).ok();
    assert_eq!(said, "here\n");
    // What is not as it should be leaves nothing.
    let other = "0".repeat(64);
    room.call(&["import", "--sha256", &other, &url, "wrong"]).fails(1, &format!("and not sha256:{other}"));
    room.call(&["import", &format!("{server}/half"), "wrong"]).fails(1, "/half: Peer disconnected");
    room.call(&["import", &format!("{server}/missing"), "wrong"]).fails(1, "the server has no such file");
    room.call(&["import", "--sha256", "12", &url, "wrong"]).fails(125, "--sha256 12: must have 64");
    room.call(&["import", "ftp://127.0.0.1/x", "wrong"]).fails(125, "must begin with https:// or http://");
    room.call(&["import", "http://192.0.2.1/x", "wrong"]).fails(125, "--sha256 HEX");
    assert_eq!(images(&room), "checked:latest trusted:latest");
    assert_eq!(room.call(&["system", "check"]).ok().lines().count(), 1);
    // A file is checked as well.
    room.call(&["import", "--sha256", &other, "rootfs.tar.gz"]).fails(1, "its digest is sha256:");
    room.call(&["import", "--sha256", &digest, "rootfs.tar.gz", "file"]).ok();
    // What no layer has is unpacked; the digest is the file's.
    for name in ["rootfs.tar.xz", "rootfs.tar.bz2"] {
        room.tar(name);
        room.call(&["import", "--sha256", &other, name, "wrong"]).fails(1, "its digest is sha256:");
        room.call(&["import", "--sha256", &sha256(&room, name), name, "foreign"]).ok();
        assert_eq!(
            room.call(&["run", "--rm", "--network", "none", "foreign", "echo", name]).ok(),
            format!("{name}\n")
        );
        let whole = fs::read(room.folder.join(name)).expect("file");
        fs::write(room.folder.join("cut"), &whole[..whole.len() / 2]).expect("file");
        room.call(&["import", "cut", "wrong"]).fails(1, "it is cut, its end is missing");
        room.call(&["rmi", "foreign"]).exits(0);
    }
    room.assert_gone();
}

#[test]
fn names_of_ones_own() {
    let Some((room, _alone)) = room() else { return };
    let (server, digest) = served(&room);
    let entry = |sha256: &str| serde_json::json!({"url": format!("{server}/tools.tar.gz"), "sha256": sha256});
    let config = room.folder.join("home/.config/pillbox");
    fs::create_dir_all(&config).expect("folder");
    let write = |text: String| fs::write(config.join("registry.json"), text).expect("registry.json");
    write(serde_json::json!({"tools": entry(&digest), "broken": entry(&"0".repeat(64))}).to_string());
    let run = |name: &str| room.call(&["run", "--rm", "--network", "none", name, "echo", "here"]);
    let said = run("tools").exits(0);
    assert!(said.stdout == "here\n" && said.stderr.contains("fetching http://"), "{}", said.stderr);
    // It is there now.
    assert_eq!(run("tools").exits(0).stderr, "");
    assert_eq!(images(&room), "tools:latest");
    room.call(&["rmi", "tools"]).ok();
    room.call(&["pull", "tools:latest"]).ok();
    let broken = run("broken").exits(125);
    assert!(broken.stderr.contains("its digest is sha256:"), "{}", broken.stderr);
    assert_eq!(images(&room), "tools:latest");
    // The data folder's file counts first, and what is wrong with a file is said.
    fs::write(
        room.data().join("registry.json"),
        r#"{"tools": {"url": "http://127.0.0.1:1/x", "sha256": "12"}}"#,
    )
    .expect("registry.json");
    room.call(&["pull", "tools"]).fails(125, "tools: sha256: \"12\": must have 64 hexadecimal digits");
    fs::write(room.data().join("registry.json"), r#"{"tools": {"uri": "http://127.0.0.1:1/x"}}"#)
        .expect("registry.json");
    room.call(&["pull", "tools"]).fails(125, "unknown field `uri`");
    room.assert_gone();
}

#[test]
fn what_has_a_path_alone_is_made_an_image_first() {
    let Some(room) = Room::new() else { return };
    room.tar("rootfs.tar");
    for (verb, more) in [("tag", &["name"][..]), ("push", &[]), ("save", &[])] {
        let of = |path: &'static str| [&[verb, path][..], more].concat();
        room.call(&of("./rootfs.tar")).fails(125, "box import ./rootfs.tar NAME");
        room.call(&of("./rootfs")).fails(125, "tar -C ./rootfs -c . | box import - NAME");
    }
    // What is made of a tar is committed, and what comes of it says what helps where it lacks something.
    let create = ["create", "--name", "made", "--network", "none", "./rootfs.tar", "true"];
    room.call(&create).ok();
    room.call(&["commit", "made", "committed"]).ok();
    assert_eq!(room.call(&["run", "--rm", "--network", "none", "committed", "echo", "here"]).ok(), "here\n");
    room.call(&["tag", "committed", "again"]).ok();
    room.call(&["save", "-o", "out.tar", "again"]).fails(125, "box import FILE NAME, of a layout");
    assert!(!room.folder.join("out.tar").exists());
    room.call(&["rm", "made"]).ok();
    // A folder's is exported.
    room.call(&["create", "--name", "made", "--network", "none", "./rootfs", "true"]).ok();
    room.call(&["commit", "made", "other"]).fails(125, "box export made | box import - NAME");
    room.call(&["rm", "made"]).ok();
    // A layout's blobs stay in it.
    room.call(&["import", "rootfs.tar", "base"]).ok();
    room.call(&["save", "-o", "layout.tar", "base"]).ok();
    fs::create_dir(room.folder.join("layout")).expect("folder");
    let unpack =
        Command::new("tar").current_dir(&room.folder).args(["-xf", "layout.tar", "-C", "layout"]).status();
    assert!(unpack.expect("tar").success());
    room.call(&["rmi", "base"]).ok();
    room.call(&["save", "./layout"]).fails(125, "tar -C ./layout -c . | box load");
    room.call(&["create", "--name", "made", "--network", "none", "./layout", "true"]).ok();
    room.call(&["commit", "made", "above"]).ok();
    room.call(&["save", "-o", "out.tar", "above"]).fails(125, "tar -C FOLDER -c . | box load");
    room.call(&["rm", "made"]).ok();
    room.assert_gone();
}
