//! Completion, in the shells: what is typed, on a terminal, and what a tab makes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::Room;
use crate::host;
use crate::terminal::Screen;

/// What is typed, and what it is then.
const LINES: [(&str, &str); 21] = [
    ("expl", "explain"),
    ("volume pr", "volume prune"),
    ("volume create --la", "volume create --label"),
    ("--data-root /x run --health-cm", "--data-root /x run --health-cmd"),
    ("--data-r", "--data-root"),
    ("inspect fir", "inspect first"),
    ("rm -f first sec", "rm -f first second"),
    ("container rm fir", "container rm first"),
    ("run --rm base:o", "run --rm base:one"),
    ("run --name x bas", "run --name x base:one"),
    ("rmi base:one base:o", "rmi base:one base:one"),
    ("network connect inn", "network connect inner"),
    ("network connect inner fir", "network connect inner first"),
    ("volume rm ke", "volume rm kept"),
    // Flags of another command with the same last word are none.
    ("volume create --net", "volume create --net"),
    ("create --networ", "create --network"),
    // Neither the value of a flag nor what stands behind an image is a name.
    ("run --env-file fil", "run --env-file file.txt"),
    ("run -v fil", "run -v file.txt"),
    ("run base:one fil", "run base:one file.txt"),
    ("import fil", "import file.txt"),
    ("run fil", "run file.txt"),
];

/// A folder with a file, a `box` that knows the room's store, and something of each kind there.
fn prepare(room: &Room) -> PathBuf {
    let tar = room.tar("base.tar");
    room.call(&["import", tar.to_str().expect("path"), "base:one"]).ok();
    for name in ["first", "second"] {
        room.call(&["create", "--network", "none", "--name", name, "base:one", "true"]).ok();
    }
    room.call(&["network", "create", "inner"]).ok();
    room.call(&["volume", "create", "kept"]).ok();
    for folder in ["bin", "here", "functions"] {
        fs::create_dir(room.folder.join(folder)).expect("folder");
    }
    fs::write(room.folder.join("here/file.txt"), "").expect("file");
    let whole = room.command::<&str>(&[]);
    let words = whole.get_args().skip_while(|word| !word.to_string_lossy().ends_with("/box"));
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let path = room.folder.join("bin/box");
    fs::write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).expect("file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    room.folder.join("here")
}

/// Types each line in a shell, a tab, and a key that the shell shows its line for, between angles.
fn check(room: &Room, shell: &[&str], lines: &[(&str, &str)]) {
    let screen = Screen::open();
    let path = format!("PATH={}:/usr/bin:/bin", room.folder.join("bin").display());
    let home = format!("HOME={}", room.folder.join("home").display());
    let folder = format!("ZDOTDIR={}", room.folder.display());
    let words = [&["env", "-i", &path, &home, &folder, "TERM=xterm", "LC_ALL=C.UTF-8"], shell].concat();
    let mut child = screen.start_program(words.iter(), &room.folder.join("here"));
    screen.wait_for("ready>");
    for (number, (typed, whole)) in lines.iter().enumerate() {
        screen.type_in(&format!("box {typed}\t"));
        screen.type_in("\x07");
        let seen = screen.wait_for_word(&format!("<{number}:"), ">");
        assert_eq!(seen.trim_end(), format!("box {whole}"), "{shell:?}: {typed}");
    }
    screen.type_in("exit\n");
    assert!(child.wait().expect("shell").success(), "{shell:?}");
}

fn end(room: &Room) {
    room.call(&["rm", "first", "second"]).ok();
    room.call(&["network", "rm", "inner"]).ok();
    room.call(&["volume", "rm", "kept"]).ok();
    room.assert_gone();
}

/// The room, if the shell is there.
fn room(shell: &str) -> Option<Room> {
    if !PathBuf::from("/usr/bin").join(shell).exists() && !PathBuf::from("/bin").join(shell).exists() {
        host::skip(&format!("{shell} is not installed"));
        return None;
    }
    let room = Room::new()?;
    prepare(&room);

    let script = room.call(&["completion", shell]).ok();
    fs::write(room.folder.join("script"), script).expect("file");
    Some(room)
}

#[test]
fn bash() {
    let Some(room) = room("bash") else { return };
    let script = room.folder.join("script").display().to_string();
    let beginning = format!(
        "source {script}; number=0
        show() {{ printf '<%s:%s>\\n' $((number++)) \"$READLINE_LINE\"; READLINE_LINE=; READLINE_POINT=0; }}
        bind -x '\"\\C-g\": show'; PS1='ready> '\n"
    );
    let file = room.folder.join("bashrc");
    fs::write(&file, beginning).expect("file");
    check(&room, &["bash", "--noprofile", "--rcfile", file.to_str().expect("path"), "-i"], &LINES);
    end(&room);
}

#[test]
fn zsh() {
    let Some(room) = room("zsh") else { return };
    let script = room.folder.join("script").display().to_string();
    let show = "number=0
        show() { zle -I; print -r -- \"<$((number++)):$BUFFER>\"; BUFFER=; }
        zle -N show; bindkey '^G' show; PS1='ready> '\n";
    let file = room.folder.join(".zshrc");
    fs::write(&file, format!("autoload -U compinit; compinit -u -D; source {script}\n{show}")).expect("file");
    check(&room, &["zsh", "-d", "-i"], &LINES);
    // As a function that is loaded when it is wanted.
    let functions = room.folder.join("functions");
    fs::rename(&script, functions.join("_box")).expect("rename");
    let functions = functions.display();
    let loaded = format!("fpath=({functions} $fpath); autoload -U compinit; compinit -u -D\n{show}");
    fs::write(&file, loaded).expect("file");
    check(&room, &["zsh", "-d", "-i"], &LINES[..4]);
    end(&room);
}

#[test]
fn fish() {
    let Some(room) = room("fish") else { return };
    let script = room.folder.join("script").display().to_string();
    let beginning = format!(
        "source {script}; set -g number 0; set -g fish_autosuggestion_enabled 0; set -g fish_greeting
        function show; printf '<%s:%s>\\n' $number (commandline); set -g number (math $number + 1); commandline ''; end
        bind \\cg show; function fish_prompt; echo -n 'ready> '; end"
    );
    check(&room, &["fish", "--no-config", "-i", "-C", &beginning], &LINES);
    end(&room);
}

#[test]
fn other_shells() {
    let Some(room) = Room::new() else { return };
    room.call(&["completion", "tcsh"])
        .fails(125, "completion tcsh: there are scripts for bash, zsh and fish");
    room.assert_gone();
}
