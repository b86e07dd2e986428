//! Docker's SDK for Python and testcontainers, as PyPI has them, on boxd and, where one can be started, on dockerd.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::boxd::Boxd;
use crate::distribution::Server;
use crate::harness::{Room, finish};
use crate::table::Dockerd;
use crate::{host, networks};

/// What runs the flows.
struct Python {
    /// Where `make sdks` has put the packages.
    packages: PathBuf,
}

impl Python {
    /// `None` if it is missing.
    fn new() -> Option<Python> {
        let works = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        let packages = std::env::var_os("PILLBOX_TEST_SDKS").map(PathBuf::from).unwrap_or_else(|| {
            // The tests' program is target/MACHINE/PROFILE/deps/engine-HASH.
            let program = std::env::current_exe().expect("the program");
            program.ancestors().nth(4).expect("the target's folder").join("sdks")
        });
        if !packages.join("testcontainers").is_dir() {
            host::skip("the packages of PyPI are missing: make sdks");
            return None;
        }
        let python = Python { packages };
        if !works(python.command().args(["-c", "import docker, testcontainers"])) {
            host::lack("no Python 3.10 or newer");
            return None;
        }
        Some(python)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-k", "1", "300", "python3", "-B", "-W", "ignore"]).env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("PYTHONPATH", &self.packages);
        command
    }

    /// What failed on this daemon.
    fn run(&self, room: &Room, flows: &str, registry: &Server, socket: &Path) -> Result<(), String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdks").join(flows);
        let mut command = self.command();
        command.arg(script).stdin(Stdio::null()).current_dir(&room.folder);
        command.env("HOME", room.folder.join("home"));
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        command.env("TEST_REGISTRY", &registry.host).env("TEST_ROOTFS", room.folder.join("rootfs.tar"));
        command.env("TEST_CGROUP", format!("/test-{}-sdks", host::run_name()));
        command.env("TESTCONTAINERS_RYUK_DISABLED", "true");
        let output = finish(&mut command);
        println!("{flows}:\n{}{}", output.stdout, output.stderr);
        (output.status == 0).then_some(()).ok_or_else(|| format!("{}{}", output.stdout, output.stderr))
    }
}

/// The same flows on both daemons.
fn check(flows: &str, port: u16) {
    let Some((room, _alone)) = networks::room() else { return };
    host::copy_program(&std::env::current_exe().expect("this program"), &room.rootfs().join("bin/reaper"));
    let Some(python) = Python::new() else { return };
    let Some(registry) = Server::open(&room, port) else { return };
    room.tar("rootfs.tar");
    let on_dockerd =
        Dockerd::start(&room).map(|dockerd| python.run(&room, flows, &registry, &dockerd.socket));
    let boxd = Boxd::start(&room, "sdks");
    let on_boxd = python.run(&room, flows, &registry, &boxd.socket);
    for (daemon, result) in [("dockerd", on_dockerd.unwrap_or(Ok(()))), ("boxd", on_boxd)] {
        if let Err(said) = result {
            panic!("{flows} on {daemon}:\n{said}");
        }
    }
    room.assert_gone();
}

#[test]
fn images_with_dockers_sdk() {
    check("images.py", 5461);
}

#[test]
fn containers_with_dockers_sdk() {
    check("containers.py", 5462);
}

#[test]
fn networks_with_dockers_sdk() {
    check("networks.py", 5463);
}

/// Set where this program is the reaper of testcontainers.
const REAPER: &str = "TEST_REAPER";

/// No test, but what this program does in a container: it speaks as testcontainers' reaper does. It gets labels, and when whoever said
/// them has gone it removes by Docker's API what has these.
#[test]
fn reaper() {
    if std::env::var_os(REAPER).is_none() {
        return;
    }
    let listener = TcpListener::bind("0.0.0.0:8080").expect("listen");
    println!("Started!");
    let (mut stream, _) = listener.accept().expect("a client");
    let mut labels = Vec::new();
    for line in BufReader::new(stream.try_clone().expect("the client")).lines().map_while(Result::ok) {
        labels.extend(line.trim().strip_prefix("label=").map(str::to_string));
        stream.write_all(b"ACK\n").expect("an answer");
    }
    for label in labels {
        let filters: String = serde_json::json!({"label": [label]})
            .to_string()
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let found = ask("GET", &format!("/containers/json?all=1&filters={filters}"));
        let found: serde_json::Value = serde_json::from_str(&found).expect("a list");
        for container in found.as_array().expect("a list") {
            let id = container["Id"].as_str().expect("an id");
            ask("DELETE", &format!("/containers/{id}?force=1&v=1"));
        }
    }
}

/// The body of an answer that ends with its connection.
fn ask(method: &str, path: &str) -> String {
    let mut stream = UnixStream::connect("/var/run/docker.sock").expect("the daemon's socket");
    stream.write_all(format!("{method} {path} HTTP/1.0\r\nHost: d\r\n\r\n").as_bytes()).expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default()
}

#[test]
fn testcontainers() {
    check("testing.py", 5464);
}
