//! build: what was done before is not done again, and is done again when it must be; builds that are killed, and several at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::build::{build, prepare, said, write};
use crate::harness::Room;

const COPY: &str = "FROM base:1\nCOPY . /src/\nRUN cat /src/file >/out; echo done\n";

/// What is said of the steps: how many were cached, and the reasons of the others.
#[track_caller]
fn steps(room: &Room, flags: &[&str], dockerfile: &str) -> (usize, Vec<String>) {
    let said = build(room, &[&["-t", "made"], flags].concat(), dockerfile).exits(0).stderr;
    let reasons = said.lines().filter_map(|line| line.split_once("not cached: "));
    (said.matches("CACHED").count(), reasons.map(|(_, reason)| reason.to_string()).collect())
}

#[test]
fn content_counts_and_times_do_not() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "one\n");
    write(&room, "left.o", "x\n");
    write(&room, ".dockerignore", "*.o\nDockerfile\n");
    let file = room.folder.join("context/file");
    assert_eq!(steps(&room, &[], COPY).0, 0);
    fs::File::open(&file).and_then(|file| file.set_modified(SystemTime::now())).expect("touch");
    assert_eq!(steps(&room, &[], COPY), (2, vec![]));
    write(&room, "left.o", "y\n");
    assert_eq!(steps(&room, &[], COPY), (2, vec![]));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    let behind = "a step before it was done anew".to_string();
    assert_eq!(steps(&room, &[], COPY), (0, vec!["file has changed".to_string(), behind.clone()]));
    write(&room, "more", "x");
    assert_eq!(steps(&room, &[], COPY), (0, vec!["more is new".to_string(), behind]));
    fs::remove_file(room.folder.join("context/more")).expect("remove");
    // That was so before.
    assert_eq!(steps(&room, &[], COPY), (2, vec![]));
    write(&room, "file", "two\n");
    assert_eq!(steps(&room, &[], COPY).0, 0);
    assert_eq!(said(&room, "made", "cat /out"), "two\n");
    assert_eq!(steps(&room, &["--no-cache"], COPY), (0, vec![]));
}

#[test]
fn arguments_and_variables_count() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let dockerfile = "FROM base:1\nARG A=1\nRUN echo $A >/out\n";
    assert_eq!(steps(&room, &[], dockerfile).0, 0);
    assert_eq!(steps(&room, &["--build-arg", "A=1"], dockerfile).0, 1);
    assert_eq!(steps(&room, &["--build-arg", "A=2"], dockerfile).0, 0);
    assert_eq!(said(&room, "made", "cat /out"), "2\n");
    // Labels and commands change no layer.
    assert_eq!(steps(&room, &[], "FROM base:1\nLABEL a=b\nARG A=1\nRUN echo $A >/out\nCMD x\n").0, 1);
    assert_eq!(steps(&room, &[], "FROM base:1\nENV B=2\nARG A=1\nRUN echo $A >/out\n").0, 0);
    assert_eq!(steps(&room, &[], "FROM base:1\nUSER web\nRUN true\n").0, 0);
    // What a program sees of its surroundings counts as well.
    let limit = "FROM base:1\nRUN ulimit -n >/out\n";
    for number in ["100", "200"] {
        let flag = format!("nofile={number}");
        assert_eq!(steps(&room, &["--ulimit", &flag], limit).0, 0, "{flag}");
        assert_eq!(said(&room, "made", "cat /out"), format!("{number}\n"));
        assert_eq!(steps(&room, &["--ulimit", &flag], limit).0, 1, "{flag}");
    }
    assert_eq!(steps(&room, &[], "FROM base:1\nRUN true\n").0, 0);
}

#[test]
fn files_of_stages_count_by_their_content() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let dockerfile = |noise: &str| {
        let made = format!("FROM base:1 AS made\nRUN echo {noise} >/noise; echo same >/same\n");
        made + "FROM base:1\nCOPY --from=made /same /same\nRUN cat /same\n"
    };
    assert_eq!(steps(&room, &[], &dockerfile("1")).0, 0);
    let (cached, reasons) = steps(&room, &[], &dockerfile("2"));
    assert_eq!((cached, reasons.len()), (2, 1));
    assert_eq!(steps(&room, &["--no-cache-filter", "made"], &dockerfile("2")).0, 2);
}

#[test]
fn a_cached_build_gives_the_same_image() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "x\n");
    let first = build(&room, &["-q", "-t", "made"], COPY).ok();
    assert_eq!(build(&room, &["-q", "-t", "made"], COPY).ok(), first);
    // Its layers outlive it, and go with the cache.
    room.call(&["rmi", "made"]).ok();
    room.call(&["image", "prune", "-a", "-f"]).exits(0);
    room.call(&["import", "base.tar", "base:1"]).ok();
    // A base that was imported anew has another history, and the same layers.
    build(&room, &["-q", "-t", "made"], COPY).ok();
    assert_eq!(said(&room, "made", "cat /out"), "x\n");
    room.call(&["save", "-o", "made.tar", "made"]).ok();
    let df = room.call(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]).ok();
    assert!(df.contains("Build Cache 2\n"), "{df}");
    room.call(&["rmi", "made", "base:1"]).ok();
    room.call(&["system", "prune", "-a", "-f"]).exits(0);
    for folder in ["layers", "build/steps", "build/instructions", "blobs/sha256"] {
        let left = fs::read_dir(room.data().join(folder)).expect("folder").count();
        assert_eq!(left, 0, "{folder}");
    }
}

#[test]
fn stages_run_side_by_side() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    // Each waits for the other, by a cache that both have.
    let wait = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,target=/c touch /c/{own}; until [ -e /c/{other} ]; do sleep 0.1; done; touch /{own}"
        )
    };
    let dockerfile = format!(
        "FROM base:1 AS a\n{}\nFROM base:1 AS b\n{}\nFROM base:1 AS unused\nRUN false\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n",
        wait("a", "b"),
        wait("b", "a")
    );
    build(&room, &["-q"], &dockerfile).ok();
    let failing = "FROM base:1 AS a\nRUN sleep 1000\nFROM base:1 AS b\nRUN false\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n";
    let said = build(&room, &[], failing).exits(1);
    assert!(said.stderr.contains("CANCELED") && said.stderr.contains("Dockerfile:4"), "{}", said.stderr);
    room.assert_gone();
}

#[test]
fn a_build_that_is_interrupted_ends_what_runs() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "Dockerfile", "FROM base:1\nRUN sleep 1000\n");
    let whole = room.command(&["build", "--network", "none", "context"]);
    let words: Vec<_> =
        whole.get_args().skip_while(|word| !word.to_string_lossy().ends_with("/box")).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(&room.folder).env_clear().env("PATH", "/usr/bin:/bin");
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("box");
    crate::harness::wait_for("the step", || !room.call(&["ps", "-q"]).stdout.is_empty());
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("kill");
    assert!(!child.wait().expect("box").success());
    room.assert_gone();
}

#[test]
fn a_build_that_is_killed_goes_on_where_it_was() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "x\n");
    let dockerfile =
        "FROM base:1\nRUN echo first\nCOPY file /\nRUN sleep 0.2; touch /y\nWORKDIR /w\nRUN touch z\n";
    write(&room, "Dockerfile", dockerfile);
    let arguments = ["build", "-q", "--network", "none", "-t", "made", "context"];
    let whole = room.command(&arguments);
    let words: Vec<_> =
        whole.get_args().skip_while(|word| !word.to_string_lossy().ends_with("/box")).collect();
    for number in 1..=20 {
        let delay = Duration::from_millis(600).mul_f64((f64::from(number) * 0.618_033_988_749).fract());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&room.folder).env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("box");
        std::thread::sleep(delay);
        child.kill().expect("kill");
        child.wait().expect("box");
        if number % 7 == 0 {
            room.call(&["builder", "prune", "-f"]).ok();
        }
    }
    room.call(&arguments).ok();
    assert_eq!(said(&room, "made", "cat /file; ls /y /w"), "x\n/y\n\n/w:\nz\n");
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
    room.call(&["system", "prune", "-a", "-f"]).exits(0);
    room.assert_gone();
    assert_eq!(fs::read_dir(room.data().join("layers")).expect("layers").count(), 0);
}

#[test]
fn builds_at_once() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "file", "x\n");
    let run = "RUN --mount=type=cache,target=/c,sharing=locked echo x >>/c/n; cat /file >/out\n";
    write(&room, "Dockerfile", &format!("FROM base:1\nCOPY file /\n{run}"));
    let start = |number: usize| {
        let name = format!("made-{number}");
        let mut command = room.command(&["build", "-q", "--network", "none", "-t", &name, "context"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("box")
    };
    for child in (0..6).map(start).collect::<Vec<_>>() {
        let output = child.wait_with_output().expect("box");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for number in 0..6 {
        assert_eq!(said(&room, &format!("made-{number}"), "cat /out"), "x\n");
    }
    assert_eq!(room.call(&["system", "check"]).ok(), "Everything is whole.\n");
}
