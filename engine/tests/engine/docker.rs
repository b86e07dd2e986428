//! The docker command line on boxd.

use std::process::{Command, Stdio};

use crate::boxd::Boxd;
use crate::harness::{Output, Room, finish, wait_for};
use crate::host;

/// docker, as its user calls it.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

struct Docker<'r> {
    room: &'r Room,
    boxd: Boxd,
}

impl<'r> Docker<'r> {
    /// `None` if it is not installed.
    fn new(room: &'r Room) -> Option<Docker<'r>> {
        let found = Command::new("docker")
            .env("PATH", PATH)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            host::skip("docker is not installed");
            return None;
        }
        let docker = Docker { room, boxd: Boxd::start(room, "docker") };
        let tar = room.tar("rootfs.tar").display().to_string();
        let id = docker.call(&["import", &tar, "test"]).ok();
        assert!(id.starts_with("sha256:"), "{id}");
        Some(docker)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-k", "1", "60", "docker"]).args(arguments);
        command.env_clear().env("PATH", PATH).env("HOME", self.room.folder.join("home"));
        command.env("DOCKER_HOST", format!("unix://{}", self.boxd.socket.display())).stdin(Stdio::null());
        command.current_dir(&self.room.folder);
        command
    }

    #[track_caller]
    fn call(&self, arguments: &[&str]) -> Output {
        finish(&mut self.command(arguments))
    }

    /// `run` without a network, in the tests' own cgroup.
    #[track_caller]
    fn run(&self, flags: &[&str], command: &[&str]) -> Output {
        let parent = format!("--cgroup-parent=test-{}-engine", host::run_name());
        self.call(&[&["run", "--network", "none", &parent], flags, &["test"], command].concat())
    }
}

#[test]
fn a_day_with_docker() {
    let Some(room) = Room::new() else { return };
    let Some(docker) = Docker::new(&room) else { return };
    assert_eq!(docker.run(&["--rm"], &["echo", "hi"]).ok(), "hi\n");
    let failed = docker.run(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 3"]).exits(3);
    assert_eq!((&*failed.stdout, &*failed.stderr), ("out\n", "err\n"));
    docker.run(&["--rm"], &["nosuchcmd"]).exits(127);
    docker.run(&["--rm"], &["/etc"]).exits(126);
    let id = docker.run(&["-d", "--name", "cc"], &["sh", "-c", "echo one; sleep 1000"]).ok();
    assert_eq!(docker.call(&["ps", "--no-trunc", "-q"]).ok(), id);
    wait_for("its output", || docker.call(&["logs", "cc"]).ok() == "one\n");
    assert_eq!(docker.call(&["exec", "cc", "sh", "-c", "exit 7"]).exits(7).stdout, "");
    let mut cat = docker.command(&["exec", "-i", "cc", "cat"]);
    let input = std::fs::File::open(room.rootfs().join("etc/passwd")).expect("passwd");
    let passwd = std::fs::read_to_string(room.rootfs().join("etc/passwd")).expect("passwd");
    assert_eq!(finish(cat.stdin(input)).ok(), passwd);
    std::fs::write(room.folder.join("file"), "content\n").expect("file");
    docker.call(&["cp", "file", "cc:/tmp/copied"]).exits(0);
    assert_eq!(docker.call(&["exec", "cc", "cat", "/tmp/copied"]).ok(), "content\n");
    docker.call(&["cp", "cc:/tmp/copied", "back"]).exits(0);
    assert_eq!(std::fs::read_to_string(room.folder.join("back")).expect("back"), "content\n");
    assert!(docker.call(&["diff", "cc"]).ok().contains("A /tmp/copied\n"));
    assert!(docker.call(&["top", "cc"]).ok().contains("sleep 1000"));
    assert!(docker.call(&["stats", "--no-stream", "cc"]).ok().contains(" cc "));
    assert_eq!(
        docker.call(&["inspect", "-f", "{{.State.Status}} {{.Config.Image}}", "cc"]).ok(),
        "running test\n"
    );
    assert_eq!(docker.call(&["stop", "-t", "0", "cc"]).ok(), "cc\n");
    assert_eq!(docker.call(&["wait", "cc"]).ok(), "137\n");
    // What docker makes is box's, and the other way round.
    assert_eq!(room.state("cc"), "exited");
    room.call(&["start", "cc"]).ok();
    assert_eq!(docker.call(&["ps", "--format", "{{.Names}} {{.State}}"]).ok(), "cc running\n");
    assert_eq!(docker.call(&["rm", "-f", "cc"]).ok(), "cc\n");
    docker.call(&["volume", "create", "data"]).ok();
    docker.run(&["--rm", "-v", "data:/data"], &["touch", "/data/x"]).ok();
    assert_eq!(docker.run(&["--rm", "-v", "data:/data:ro"], &["ls", "/data"]).ok(), "x\n");
    assert_eq!(docker.call(&["volume", "rm", "data"]).ok(), "data\n");
    assert!(docker.call(&["system", "df"]).ok().contains("Images"));
    assert!(docker.call(&["info"]).exits(0).stdout.contains("Default Runtime: pillbox"));
    assert!(docker.call(&["rmi", "test"]).ok().starts_with("Untagged: test:latest\n"));
    room.assert_gone();
}

/// The plugin that speaks BuildKit's protocol.
#[test]
fn builds_with_buildx() {
    let Some(room) = Room::new() else { return };
    let Some(docker) = Docker::new(&room) else { return };
    if finish(&mut docker.command(&["buildx", "version"])).status != 0 {
        // Debian 12 has none. The protocol is tested by a client of the tests' own.
        return host::lack("docker has no buildx");
    }
    let context = room.folder.join("context");
    std::fs::create_dir(&context).expect("folder");
    std::fs::write(context.join("file"), "content\n").expect("file");
    std::fs::write(context.join("Dockerfile"), "FROM test\nCOPY file /\n").expect("file");
    for number in ["1", "2"] {
        let built = docker.call(&["build", "--progress", "plain", "-t", "mine", "context"]).exits(0);
        assert_eq!(built.stderr.contains("CACHED"), number == "2", "{}", built.stderr);
    }
    docker.call(&["image", "inspect", "mine"]).exits(0);
    docker.call(&["build", "--progress", "plain", "-o", "out", "context"]).exits(0);
    assert_eq!(std::fs::read_to_string(room.folder.join("out/file")).expect("file"), "content\n");
    std::fs::write(context.join("Dockerfile"), "FROM test\nRUM x\n").expect("file");
    let failed = docker.call(&["build", "--progress", "plain", "context"]).exits(1);
    assert!(failed.stderr.contains("Dockerfile:2"), "{}", failed.stderr);
}
