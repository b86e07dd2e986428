//! Docker's commands on boxd and on dockerd, one beside the other: what they print, and with which status they end.
//!
//! `fixtures/docker-table.json` has what dockerd 28.5 makes of them. Where a dockerd can be started it is asked as well, and
//! `PILLBOX_BLESS=1` writes the file anew.

mod commands;
mod complete;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::boxd::Boxd;
use crate::distribution::Server;
use crate::harness::{Room, finish};
use crate::{host, networks};
use commands::{COMMANDS, DIFFERENT};

/// The status, and what was printed, with placeholders.
type Said = (i32, String);

#[test]
fn dockers_commands_on_both_daemons() {
    let Some((room, _alone)) = networks::room() else { return };
    let Some(version) = client_version(&room) else { return host::skip("docker is not installed") };
    if version < 28 {
        return host::lack("docker is older than 28: its words are others");
    }
    let Some(_registry) = Server::open(&room, 5976) else { return };
    prepare(&room);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/docker-table.json");
    let live = Dockerd::start(&room).map(|dockerd| run_all(&room, &dockerd.socket));
    if let (Some(live), true) = (&live, std::env::var_os("PILLBOX_BLESS").is_some()) {
        let lines: Vec<String> = COMMANDS
            .iter()
            .map(|command| format!("{}:{}", serde_json::json!(command), serde_json::json!(live[*command])))
            .collect();
        fs::write(&path, format!("{{\n{}\n}}\n", lines.join(",\n"))).expect("the file");
    }
    let text = fs::read_to_string(&path).expect("the file");
    let known: BTreeMap<String, Said> = serde_json::from_str(&text).expect("JSON");
    let boxd = Boxd::start(&room, "table");
    let own = run_all(&room, &boxd.socket);
    let mut wrong = Vec::new();
    println!("| command | dockerd | boxd | |\n|---|---|---|---|");
    for command in COMMANDS {
        let (docker, own) = (&known[*command], &own[*command]);
        let reason = DIFFERENT.iter().find(|(known, _)| known == command).map(|(_, reason)| *reason);
        let verdict = if docker == own { "same" } else { reason.unwrap_or("DIFFERS") };
        println!("| `{}` | {} | {} | {verdict} |", command.replace('|', "\\|"), docker.0, own.0);
        // Words may differ, and never whether it went well.
        if (docker == own) == reason.is_some() || docker.0 != own.0 {
            wrong.push(format!("{command}\n  dockerd {docker:?}\n  boxd    {own:?}"));
        }
        if let Some(live) = live.as_ref().map(|live| &live[*command]).filter(|live| *live != docker) {
            wrong.push(format!("{command}\n  dockerd {docker:?}\n  dockerd now {live:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A dockerd of the test's own.
pub struct Dockerd {
    child: Child,
    pub socket: PathBuf,
}

impl Dockerd {
    /// `None` where there is none, or none that starts.
    pub fn start(room: &Room) -> Option<Dockerd> {
        Dockerd::with(room, &[])
    }

    /// The same with more flags.
    pub fn with(room: &Room, flags: &[&str]) -> Option<Dockerd> {
        let socket = room.folder.join("dockerd.sock");
        let folder = room.folder.join("dockerd");
        let log = fs::File::create(room.folder.join("dockerd.log")).expect("log");
        let mut command = Command::new("dockerd");
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        command.arg("--data-root").arg(folder.join("data")).arg("--exec-root").arg(folder.join("exec"));
        command
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--exec-opt")
            .arg("native.cgroupdriver=cgroupfs");
        command.arg(format!("--cgroup-parent=/test-{}-dockerd", host::run_name())).args(flags);
        let started = command.stdout(Stdio::null()).stderr(log).spawn();
        let Ok(child) = started else {
            host::lack("dockerd is not installed: what it makes of the commands stands in a file");
            return None;
        };
        let mut dockerd = Dockerd { child, socket };
        let began = Instant::now();
        while docker(room, &dockerd.socket, "docker version").0 != 0 {
            let is_over = dockerd.child.try_wait().expect("wait").is_some();
            if is_over || began.elapsed() > Duration::from_secs(40) {
                host::lack("dockerd does not start here: what it makes of the commands stands in a file");
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let version =
            docker(room, &dockerd.socket, "docker version --format '{{.Server.Version}}' | cut -d. -f1").1;
        if version.trim().parse::<u32>().is_ok_and(|version| version >= 28) {
            return Some(dockerd);
        }
        host::lack("dockerd is older than 28: its words are others");
        None
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // It ends its containers, and its containerd.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn client_version(room: &Room) -> Option<u32> {
    let (status, said) =
        docker(room, Path::new("/nonexistent"), "docker --version | tr -dc '0-9.' | cut -d. -f1");
    said.trim().parse().ok().filter(|_| status == 0)
}

/// What the commands need.
fn prepare(room: &Room) {
    for applet in ["grep", "touch", "trap"] {
        let _ = symlink("busybox", room.rootfs().join("bin").join(applet));
    }
    room.tar("rootfs.tar");
    let write = |path: &str, text: &str| {
        let path = room.folder.join(path);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, text).expect("file");
    };
    write("bind/f", "bound\n");
    write("file", "content\n");
    write("context/Dockerfile", "FROM base:1\nCOPY f /f\nRUN echo more >>/f\nCMD [\"cat\", \"/f\"]\n");
    write("context/f", "first\n");
    write("stack.yaml", "services: {one: {image: 'base:1'}}\n");
    write("broken/Dockerfile", "FROM base:1\nRUN exit 3\n");
}

fn run_all(room: &Room, socket: &Path) -> BTreeMap<String, Said> {
    COMMANDS
        .iter()
        .map(|command| ((*command).to_string(), docker(room, socket, &format!("exec 2>&1; {command}"))))
        .collect()
}

pub fn docker(room: &Room, socket: &Path, line: &str) -> Said {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "-k", "1", "60", "sh", "-c", line]).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", room.folder.join("home"));
    command.env("DOCKER_HOST", format!("unix://{}", socket.display())).stdin(Stdio::null());
    let output = finish(command.current_dir(&room.folder));
    // A terminal of script's shows the end of its own input.
    (output.status, masked(&output.stdout.replace("^@", "")))
}

/// Without ids, times and sizes, and without the columns' blanks.
fn masked(text: &str) -> String {
    let is_id =
        |part: &str| matches!(part.len(), 12 | 64) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Ids stand within quotes and brackets as well.
    let without_ids = |word: &str| {
        let pieces = word.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
        let piece = |piece: &str| {
            let own = piece.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            if is_id(own) { format!("ID{}", &piece[own.len()..]) } else { piece.to_string() }
        };
        pieces.map(piece).collect::<String>().replace("sha256:ID", "ID")
    };
    let word = |word: &str| {
        let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = &word[number.len()..];
        match ["B", "kB", "MB", "GB"].contains(&unit) && number.parse::<f64>().is_ok() {
            true => "SIZE".to_string(),
            false => without_ids(word),
        }
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    ["Up", ")"].into_iter().fold(text, without_times)
}

/// `Up 3 seconds` is `Up TIME`, `Exited (0) 3 seconds ago` is `Exited (0) TIME ago`.
fn without_times(text: String, before: &str) -> String {
    const UNITS: [&str; 4] = ["second", "seconds", "minute", "minutes"];
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let unit = words.iter().position(|word| UNITS.contains(word));
        let first = unit.and_then(|unit| words[..unit].iter().rposition(|word| word.ends_with(before)));
        match (first, unit) {
            (Some(first), Some(unit)) => [&words[..=first], &["TIME"], &words[unit + 1..]].concat().join(" "),
            _ => line.to_string(),
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
