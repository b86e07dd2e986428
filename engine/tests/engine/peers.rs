//! The same command lines on box, Podman and Docker: what box does is what people know. Podman is root's, with a store of its
//! own; Docker takes part where its daemon can be started.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Room, finish, wait_for};
use crate::host;

/// The image of all cases.
const IMAGE: &str = "localhost/peers:1";

/// An engine with Docker's command line.
struct Peer<'r> {
    name: &'static str,
    room: &'r Room,
    /// The program with the flags that go before a command.
    program: Vec<String>,
    daemon: RefCell<Option<Child>>,
}

/// How a command ended. Its stderr is everybody's own.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: i32,
    stdout: String,
}

fn answer(status: i32, stdout: &str) -> Answer {
    Answer { status, stdout: stdout.into() }
}

/// Runs a case with every engine that is there.
fn each_engine(case: impl Fn(&Peer<'_>)) {
    let Some(room) = Room::new() else { return };
    fs::create_dir(room.rootfs().join("srv")).expect("folder");
    fs::write(room.rootfs().join("srv/file"), "the image's\n").expect("file");
    room.tar("rootfs.tar");
    room.call(&["import", "rootfs.tar", IMAGE]).ok();
    room.call(&["save", "-o", "image.tar", IMAGE]).ok();
    let own = Peer { name: "box", room: &room, program: Vec::new(), daemon: RefCell::new(None) };
    for peer in [Some(own), Peer::podman(&room), Peer::docker(&room)].into_iter().flatten() {
        if peer.name != "box" {
            assert_eq!(peer.call(&["load", "-q", "-i", "image.tar"]).status, 0, "{}: load", peer.name);
        }
        case(&peer);
        peer.clean_up();
    }
}

fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

impl<'r> Peer<'r> {
    fn podman(room: &'r Room) -> Option<Self> {
        if !is_on_path("podman") {
            host::skip("podman is not installed");
            return None;
        }
        // The machine may not have the controller that Podman's default needs.
        fs::write(room.folder.join("containers.conf"), "[containers]\npids_limit = 0\n").expect("file");
        let flags = ["--root", "--runroot", "--tmpdir"].into_iter().flat_map(|flag| {
            [flag.to_string(), room.folder.join(format!("podman{flag}")).display().to_string()]
        });
        let mut program = vec!["podman".to_string()];
        program.extend(flags);
        program.extend(
            ["--cgroup-manager=cgroupfs", "--events-backend=file", "--storage-driver=vfs"].map(String::from),
        );
        Some(Peer { name: "podman", room, program, daemon: RefCell::new(None) })
    }

    /// `None` without a daemon that can be started.
    fn docker(room: &'r Room) -> Option<Self> {
        if !is_on_path("docker") || !is_on_path("dockerd") {
            return None;
        }
        let at = |name: &str| room.folder.join(name).display().to_string();
        let socket = format!("unix://{}", at("docker.sock"));
        let log = File::create(room.folder.join("dockerd.log")).expect("log");
        let mut daemon = Command::new("dockerd");
        daemon.args(["--host", &socket, "--data-root", &at("docker"), "--exec-root", &at("docker-run")]);
        daemon.args(["--pidfile", &at("docker.pid"), "--exec-opt", "native.cgroupdriver=cgroupfs"]);
        daemon.args(["--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge", "none"]);
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = daemon.spawn().expect("dockerd");
        let program = vec!["docker".into(), "--host".into(), socket];
        let peer = Peer { name: "docker", room, program, daemon: RefCell::new(Some(daemon)) };
        wait_for("dockerd", || peer.call(&["version"]).status == 0);
        Some(peer)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let Some((program, flags)) = self.program.split_first() else {
            return self.room.command(arguments);
        };
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-k", "1", "60"]).arg(program).args(flags);
        let (verb, rest) = arguments.split_at(1.min(arguments.len()));
        command.args(verb);
        if let ["run"] = verb {
            // What is left of a test that is cut short is removed with this.
            command.arg(format!("--cgroup-parent=/test-{}-engine", host::run_name()));
        }
        command.args(rest);
        command.current_dir(&self.room.folder).env("HOME", self.room.folder.join("home"));
        command.env("CONTAINERS_CONF", self.room.folder.join("containers.conf")).stdin(Stdio::null());
        command
    }

    fn call(&self, arguments: &[&str]) -> Answer {
        let output = finish(&mut self.command(arguments));
        if output.status != 0 {
            // For whoever looks for the reason of a failure.
            println!("{} {arguments:?}: {}", self.name, output.stderr);
        }
        Answer { status: output.status, stdout: output.stdout }
    }

    /// The command ends like this.
    #[track_caller]
    fn gives(&self, arguments: &[&str], status: i32, stdout: &str) {
        assert_eq!(self.call(arguments), answer(status, stdout), "{} {arguments:?}", self.name);
    }

    /// The command goes well; what it prints does not matter.
    #[track_caller]
    fn does(&self, arguments: &[&str]) {
        assert_eq!(self.call(arguments).status, 0, "{} {arguments:?}", self.name);
    }

    /// `run --rm --network none` of a shell's script.
    #[track_caller]
    fn runs(&self, flags: &[&str], script: &str, status: i32, stdout: &str) {
        let fixed = ["run", "--rm", "--network", "none"];
        self.gives(&[&fixed, flags, &[IMAGE, "sh", "-c", script]].concat(), status, stdout);
    }

    /// The same with something on stdin.
    fn fed(&self, flags: &[&str], script: &str, input: &str) -> Answer {
        let fixed = ["run", "--rm", "--network", "none"];
        let mut command = self.command(&[&fixed, flags, &[IMAGE, "sh", "-c", script]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
        // It may not read it all.
        let _ = child.stdin.take().expect("stdin").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("wait");
        answer(output.status.code().unwrap_or(-1), &String::from_utf8_lossy(&output.stdout))
    }

    fn clean_up(&self) {
        let ids = self.call(&["ps", "-a", "-q"]).stdout;
        for id in ids.lines() {
            self.call(&["rm", "-f", id]);
        }
        // The folders that an engine has mounted are gone with the namespace; those of vfs are plain.
        if let Some(mut daemon) = self.daemon.take() {
            let pid = rustix::process::Pid::from_child(&daemon);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("stop dockerd");
            daemon.wait().expect("dockerd");
        }
        unmount_below(&self.room.folder);
    }
}

/// What an engine leaves mounted would keep the test's folder.
fn unmount_below(folder: &Path) {
    let own = folder.display().to_string();
    for point in host::mountpoints().into_iter().rev().filter(|point| point.starts_with(&own)) {
        // It may have gone with another one.
        let _ = rustix::mount::unmount(point.as_str(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn exit_statuses() {
    each_engine(|peer| {
        peer.runs(&[], "exit 7", 7, "");
        peer.gives(&["run", "--rm", "--network", "none", IMAGE, "/no/such"], 127, "");
        peer.gives(&["run", "--rm", "--network", "none", IMAGE, "no-such"], 127, "");
        peer.gives(&["run", "--rm", "--network", "none", IMAGE, "/etc"], 126, "");
        peer.gives(&["run", "--rm", "--network", "none", IMAGE, "/etc/passwd"], 126, "");
        peer.gives(&["run", "--no-such-flag", IMAGE, "true"], 125, "");
        peer.gives(&["run", "--pull", "never", "localhost/missing:1", "true"], 125, "");
    });
}

#[test]
fn the_process() {
    each_engine(|peer| {
        peer.runs(&["-e", "A=b c", "-e", "EMPTY="], "echo \"$A|${EMPTY-unset}\"", 0, "b c|\n");
        peer.runs(&["-w", "/tmp"], "pwd", 0, "/tmp\n");
        // Podman wants it to be there.
        if peer.name != "podman" {
            peer.runs(&["-w", "/made/here"], "pwd", 0, "/made/here\n");
        }
        peer.runs(&["-u", "web"], "id", 0, "uid=33(web) gid=34(web) groups=34(web),50(logs)\n");
        peer.runs(&["-u", "1234"], "id -u; id -g", 0, "1234\n0\n");
        peer.runs(&["-u", "33:50"], "id -u; id -g; id -G", 0, "33\n50\n50\n");
        peer.runs(&["--hostname", "named"], "hostname", 0, "named\n");
        peer.runs(&["--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn", 0, "100\n200\n");
        peer.runs(&["--cap-drop", "ALL"], "chown web /tmp 2>/dev/null || echo forbidden", 0, "forbidden\n");
        peer.runs(&["--read-only"], "echo x 2>/dev/null >/etc/new || echo read-only", 0, "read-only\n");
        let given = ["run", "--rm", "--network", "none", "--entrypoint", "echo", IMAGE, "a", "b"];
        peer.gives(&given, 0, "a b\n");
        peer.runs(&[], "echo one; echo two >&2; echo three", 0, "one\nthree\n");
    });
}

#[test]
fn stdin() {
    each_engine(|peer| {
        assert_eq!(peer.fed(&["-i"], "cat; echo end", "hello\n"), answer(0, "hello\nend\n"), "{}", peer.name);
        assert_eq!(peer.fed(&[], "cat; echo end", "hello\n"), answer(0, "end\n"), "{}", peer.name);
        let big = "line\n".repeat(40_000);
        assert_eq!(peer.fed(&["-i"], "wc -c", &big), answer(0, "200000\n"), "{}", peer.name);
        assert_eq!(peer.fed(&["-i"], "head -n 1; exit 3", &big), answer(3, "line\n"), "{}", peer.name);
    });
}

#[test]
fn a_detached_container() {
    each_engine(|peer| {
        let run = ["run", "-d", "--name", "one", "--network", "none", "--label", "a=b", IMAGE];
        peer.does(&[&run[..], &["sh", "-c", "echo out; echo err >&2; printf partial; exit 5"]].concat());
        peer.gives(&["wait", "one"], 0, "5\n");
        peer.gives(&["logs", "one"], 0, "out\npartial");
        peer.gives(&["logs", "--tail", "1", "one"], 0, "partial");
        let format =
            "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.OOMKilled}} {{.State.Pid}}";
        peer.gives(&["inspect", "--format", format, "one"], 0, "exited 5 false false 0\n");
        let format =
            "{{.Config.Labels.a}} {{json .Config.Cmd}} {{.HostConfig.NetworkMode}} {{.RestartCount}}";
        let told = "b [\"sh\",\"-c\",\"echo out; echo err >&2; printf partial; exit 5\"] none 0\n";
        peer.gives(&["inspect", "--format", format, "one"], 0, told);
        peer.gives(
            &["ps", "-a", "--filter", "label=a=b", "--format", "{{.Names}} {{.State}}"],
            0,
            "one exited\n",
        );
        peer.gives(&["ps", "--format", "{{.Names}}"], 0, "");
        assert_eq!(
            peer.call(&[&run[..], &["true"]].concat()).status,
            125,
            "{}: the name is taken",
            peer.name
        );
        peer.gives(&["start", "-a", "one"], 5, "out\npartial");
        peer.gives(&["rm", "one"], 0, "one\n");
        assert_ne!(peer.call(&["inspect", "one"]).status, 0, "{}", peer.name);
    });
}

#[test]
fn one_that_runs() {
    each_engine(|peer| {
        peer.does(&["run", "-d", "--name", "one", "--network", "none", IMAGE, "sleep", "1000"]);
        peer.gives(&["exec", "one", "sh", "-c", "echo in; exit 4"], 4, "in\n");
        peer.gives(
            &["exec", "-e", "A=b", "-w", "/tmp", "-u", "web", "one", "sh", "-c", "echo $A; pwd; id -un"],
            0,
            "b\n/tmp\nweb\n",
        );
        // Docker's daemon says why on stdout.
        assert_eq!(peer.call(&["exec", "one", "no-such"]).status, 127, "{}", peer.name);
        assert_eq!(peer.call(&["exec", "one", "/etc/passwd"]).status, 126, "{}", peer.name);
        assert_ne!(peer.call(&["rm", "one"]).status, 0, "{}: it runs", peer.name);
        peer.does(&["pause", "one"]);
        peer.gives(
            &["inspect", "--format", "{{.State.Status}} {{.State.Paused}}", "one"],
            0,
            "paused true\n",
        );
        peer.does(&["unpause", "one"]);
        peer.gives(&["kill", "-s", "KILL", "one"], 0, "one\n");
        peer.gives(&["wait", "one"], 0, "137\n");
        peer.gives(&["start", "one"], 0, "one\n");
        peer.gives(&["rename", "one", "two"], 0, "");
        peer.gives(&["stop", "-t", "0", "two"], 0, "two\n");
        peer.gives(&["rm", "-f", "two"], 0, "two\n");
    });
}

#[test]
fn files() {
    each_engine(|peer| {
        let script = "echo new >/new; rm /etc/group; echo x >>/etc/passwd; mkdir /srv/sub; ln -s /new /link";
        peer.does(&["run", "--name", "one", "--network", "none", IMAGE, "sh", "-c", script]);
        let mut lines: Vec<String> = peer.call(&["diff", "one"]).stdout.lines().map(String::from).collect();
        lines.sort();
        let expected =
            ["A /link", "A /new", "A /srv/sub", "C /etc", "C /etc/passwd", "C /srv", "D /etc/group"];
        assert_eq!(lines, expected, "{}", peer.name);
        let to = peer.room.folder.join(format!("from-{}", peer.name));
        peer.does(&["cp", "one:/new", &to.display().to_string()]);
        assert_eq!(fs::read_to_string(&to).expect("copied"), "new\n", "{}", peer.name);
        let folder = peer.room.folder.join(format!("folder-{}", peer.name));
        fs::create_dir(&folder).expect("folder");
        fs::write(folder.join("inner"), "inner\n").expect("file");
        let folder = folder.display().to_string();
        // A folder goes into one that is there, and its content to one that is not.
        peer.does(&["cp", &folder, "one:/srv"]);
        peer.does(&["cp", &format!("{folder}/."), "one:/fresh"]);
        peer.does(&["commit", "one", "localhost/committed:1"]);
        let name = Path::new(&folder).file_name().expect("name").to_string_lossy().into_owned();
        let script = format!("cat /srv/{name}/inner /fresh/inner /new; [ -e /etc/group ] || echo gone");
        let run = ["run", "--rm", "--network", "none", "localhost/committed:1", "sh", "-c", &script];
        peer.gives(&run, 0, "inner\ninner\nnew\ngone\n");
    });
}

#[test]
fn volumes() {
    each_engine(|peer| {
        peer.runs(&["-v", "data:/srv"], "cat /srv/file; echo changed >/srv/file", 0, "the image's\n");
        peer.runs(
            &["-v", "data:/srv:ro"],
            "cat /srv/file; echo x 2>/dev/null >/srv/file || echo no",
            0,
            "changed\nno\n",
        );
        peer.runs(&["--mount", "type=volume,src=data,dst=/elsewhere"], "cat /elsewhere/file", 0, "changed\n");
        peer.gives(&["volume", "ls", "-q", "--filter", "name=data"], 0, "data\n");
        let bound = peer.room.folder.join("srv-of-host");
        fs::create_dir_all(&bound).expect("folder");
        fs::write(bound.join("file"), "the host's\n").expect("file");
        let bind = format!("{}:/srv:ro", bound.display());
        peer.runs(
            &["-v", &bind],
            "cat /srv/file; echo x 2>/dev/null >/srv/file || echo no",
            0,
            "the host's\nno\n",
        );
        // Podman copies what the image has there.
        let flag = if peer.name == "podman" { "/srv:notmpcopyup" } else { "/srv" };
        peer.runs(&["--tmpfs", flag], "ls /srv; stat -f -c %T /srv", 0, "tmpfs\n");
        peer.gives(&["volume", "rm", "data"], 0, "data\n");
    });
}

#[test]
fn restarts() {
    each_engine(|peer| {
        let run = ["run", "-d", "--name", "one", "--network", "none", "--restart", "on-failure:2", IMAGE];
        peer.does(&[&run[..], &["sh", "-c", "echo run; exit 1"]].concat());
        wait_for("its last end", || {
            std::thread::sleep(Duration::from_millis(100));
            peer.call(&["inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "one"]).stdout
                == "exited 2\n"
        });
        peer.gives(&["logs", "one"], 0, "run\nrun\nrun\n");
    });
}
