//! The services of OpenRC; those of systemd are started in guests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Output, Room, finish};

const BOOT: &str = include_str!("../../openrc/box-boot");
const BOXD: &str = include_str!("../../openrc/boxd");

/// What openrc-run gives to a service.
const OPENRC: &str =
    "need() { :; }; use() { :; }; after() { :; }; ebegin() { echo \"$@\"; }; eend() { return $1; }\n";

#[test]
fn what_is_to_run_is_started_by_openrc() {
    let Some(room) = Room::new() else { return };
    let programs = room.folder.join("programs");
    fs::create_dir(&programs).expect("folder");
    let words: Vec<String> =
        room.command::<&str>(&[]).get_args().skip(4).map(|word| format!("'{}'", word.display())).collect();
    for (name, verb) in [("box", ""), ("boxd", "daemon")] {
        let path = programs.join(name);
        fs::write(&path, format!("#!/bin/sh\nexec {} {verb} \"$@\"\n", words.join(" "))).expect("program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let with = |service: &str, action: &str| -> Output {
        let service = service.replace("@bindir@", &programs.display().to_string());
        finish(Command::new("sh").arg("-c").arg(format!("{OPENRC}{service}\ndepend; {action}")))
    };
    room.start(&["--name", "kept", "--restart", "always"], &["sleep", "1000"]);
    room.start(&["--name", "once"], &["sleep", "1000"]);
    room.call(&["kill", "once"]).ok();
    room.call(&["stop", "--timeout", "0", "kept"]).ok();
    with(BOOT, "start").exits(0);
    assert_eq!((room.state("kept"), room.state("once")), ("running".to_string(), "exited".to_string()));
    room.call(&["rm", "-f", "kept", "once"]).ok();
    // The flags of boxd's are some.
    let said = with(BOXD, "\"$command\" $command_args --help").ok();
    assert!(said.contains("--host"), "{said}");
    room.assert_gone();
}
