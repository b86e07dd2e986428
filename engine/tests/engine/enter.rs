//! A shell in a container that runs: its own, or that of another image.

use std::io::Write;
use std::process::Stdio;

use crate::harness::Room;

/// What a shell says that reads these lines.
fn enter(room: &Room, arguments: &[&str], lines: &str) -> (i32, String) {
    let mut command = room.command(&[&["enter"], arguments].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("box");
    child.stdin.take().expect("stdin").write_all(lines.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("box");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text.into_owned())
}

#[test]
fn a_shell_of_its_own() {
    let Some(room) = Room::new() else { return };
    room.start(&["--name", "web", "--hostname", "inside", "-e", "COLOUR=red"], &["sleep", "31416"]);
    let (status, said) = enter(&room, &["-e", "SIZE=7", "web"], "hostname; echo $COLOUR $SIZE; exit 3\n");
    assert_eq!((status, said.as_str()), (3, "inside\nred 7\n"));
    let (status, said) = enter(&room, &["-u", "web", "-w", "/tmp", "web", "sh", "-c", "id -u; pwd"], "");
    assert_eq!((status, said.as_str()), (0, "33\n/tmp\n"));
    room.call(&["enter", "nobody"]).fails(1, "No such container: nobody");
    room.call(&["stop", "-t", "0", "web"]).ok();
    room.call(&["enter", "web"]).fails(1, "it is not running");
    room.call(&["rm", "web"]).ok();
    room.assert_gone();
}

#[test]
fn the_tools_of_another_image() {
    let Some(room) = Room::new() else { return };
    room.tar("tools.tar");
    room.call(&["import", "tools.tar", "tools"]).ok();
    // One that has a program and nothing else.
    let bare = room.folder.join("bare/bin");
    std::fs::create_dir_all(&bare).expect("folder");
    std::fs::copy(room.rootfs().join("bin/busybox"), bare.join("sleep")).expect("copy");
    let start = ["run", "-d", "--network", "none", "--name", "bare", "--hostname", "bare-host", "./bare"];
    room.call(&[&start[..], &["sleep", "31417"]].concat()).exits(0);
    room.call(&["enter", "bare"]).fails(1, "box enter --with IMAGE bare");
    let script = "hostname; ls /container/bin; echo >/container/note; ps; kill -0 1 && echo alive\n";
    let (status, said) = enter(&room, &["--with", "tools", "bare"], script);
    assert_eq!(status, 0, "{said}");
    assert!(said.starts_with("bare-host\nsleep\n"), "{said}");
    assert!(said.contains("sleep 31417") && said.ends_with("alive\n"), "{said}");
    // What it did in the container stays, and of itself nothing.
    assert!(room.call(&["diff", "bare"]).ok().contains("A /note"));
    assert_eq!(room.call(&["ps", "-a", "--format", "{{.Names}}"]).ok(), "bare\n");
    assert_eq!(room.state("bare"), "running");
    room.call(&["enter", "--with", "nonesuch", "--pull", "never", "bare"]).fails(1, "nonesuch");
    room.call(&["rm", "-f", "bare"]).ok();
    room.assert_gone();
}
