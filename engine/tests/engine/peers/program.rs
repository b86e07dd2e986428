//! box and its peers, each with a store of its own that has an image named `i`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Output, Room, finish, wait_for};
use crate::host;

/// Names the programs to compare with instead of podman: `docker`, or a path that ends in `docker` or `podman`. dockerd is
/// started for each test.
const PEERS: &str = "PILLBOX_TEST_PEERS";

/// `till` waits until a command of the shell succeeds; the line's time limit ends it. `away` removes containers at once: podman
/// gives each ten seconds.
const WORDS: &str = "till() { until eval \"$1\" >/dev/null 2>&1; do sleep 0.05; done; }
    away() { p kill \"$@\" >/dev/null 2>&1; p rm -f \"$@\" >/dev/null; }";

/// One of the programs in a room of its own.
pub struct Program {
    pub room: Room,
    /// `box`, `podman` or `docker`.
    pub name: String,
    /// Defines `p`, the program with what it needs to stay in the room.
    prelude: String,
    daemon: Option<Child>,
}

/// The programs that are to be compared with box.
pub fn peers() -> Vec<PathBuf> {
    if let Ok(named) = env::var(PEERS) {
        return named.split_whitespace().map(PathBuf::from).collect();
    }
    if !Path::new("/usr/bin/podman").exists() {
        host::skip("podman is not installed");
        return Vec::new();
    }
    vec!["podman".into()]
}

impl Program {
    /// box in a room.
    pub fn of_box(room: Room) -> Program {
        let words: Vec<String> = room
            .command::<&str>(&[])
            .get_args()
            .skip(4)
            .map(|word| format!("'{}'", word.display()))
            .collect();
        let prelude = format!(
            "p() {{ verb=$1; shift; case $verb in run|create) set -- --cgroup-parent=test-{}-engine \"$@\";; esac; \
             {} \"$verb\" \"$@\"; }}",
            host::run_name(),
            words.join(" ")
        );
        Program::with_image(Program { room, name: "box".to_string(), prelude, daemon: None })
    }

    /// A peer in a room.
    pub fn of_peer(room: Room, program: &Path) -> Program {
        keep_var_lib();
        let program_name = program.file_name().expect("name").to_string_lossy().into_owned();
        let folder = room.folder.display();
        let program = program.display();
        let (prelude, daemon) = if program_name == "docker" {
            let daemon = start_dockerd(&room);
            (format!("p() {{ command {program} -H unix://{folder}/docker.sock \"$@\"; }}"), Some(daemon))
        } else {
            let configuration = room.folder.join("containers.conf");
            // Without CAP_SYS_RESOURCE no limit can be raised, and older versions of crun load no filter of devices.
            let text = format!(
                "[containers]\ncgroups = \"disabled\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                 [network]\nnetwork_config_dir = \"{folder}/podman-networks\"\n"
            );
            fs::write(&configuration, text).expect("file");
            let prelude = format!(
                "export CONTAINERS_CONF={}\np() {{ command {program} --root {folder}/podman --runroot {folder}/podman-run \
                 --tmpdir {folder}/podman-tmp --storage-driver vfs --cgroup-manager cgroupfs --events-backend file \"$@\"; }}",
                configuration.display()
            );
            (prelude, None)
        };
        Program::with_image(Program { room, name: program_name, prelude, daemon })
    }

    fn with_image(program: Program) -> Program {
        program.room.tar("rootfs.tar");
        program.line("p import rootfs.tar i >/dev/null 2>&1").exits(0);
        program
    }

    /// Runs a line of the shell, in which `p` is the program.
    #[track_caller]
    pub fn line(&self, line: &str) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "30", "sh", "-c"]).arg(format!("{}\n{WORDS}\n{line}", self.prelude));
        command.current_dir(&self.room.folder).env_clear().stdin(Stdio::null());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
        command.env("HOME", self.room.folder.join("home"));
        command.env("XDG_RUNTIME_DIR", self.room.folder.join("runtime"));
        finish(&mut command)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // No container outlives its test. The image has nothing that a hostile one could have.
        self.line("away $(p ps -a -q) 2>/dev/null; p volume rm $(p volume ls -q) >/dev/null 2>&1");
        if let Some(daemon) = &mut self.daemon {
            let pid = Pid::from_child(daemon);
            let _ = kill_process(pid, Signal::TERM);
            let _ = daemon.wait();
        }
        let mut points: Vec<_> = host::mountpoints().into_iter().collect();
        points.retain(|point| Path::new(point).starts_with(&self.room.folder));
        for point in points.iter().rev() {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn start_dockerd(room: &Room) -> Child {
    let path = |name: &str| room.folder.join(name);
    let mut dockerd = Command::new("dockerd");
    dockerd.arg("-H").arg(format!("unix://{}", path("docker.sock").display()));
    dockerd.arg("--data-root").arg(path("docker")).arg("--exec-root").arg(path("docker-run"));
    dockerd.arg("--pidfile").arg(path("docker.pid"));
    dockerd.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
    dockerd.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
    dockerd.arg(format!("--cgroup-parent=/test-{}-engine", host::run_name()));
    let log = fs::File::create(path("docker.log")).expect("file");
    dockerd.stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
    let daemon = dockerd.spawn().expect("dockerd");
    wait_for("dockerd", || {
        std::thread::sleep(Duration::from_millis(100));
        std::os::unix::net::UnixStream::connect(path("docker.sock")).is_ok()
    });
    daemon
}

/// What podman keeps for all of its stores stays the tests' own.
fn keep_var_lib() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let script = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm
            mkdir $0/var-lib $0/var-lib/upper $0/var-lib/work
            mount -t overlay -o lowerdir=/var/lib,upperdir=$0/var-lib/upper,workdir=$0/var-lib/work overlay /var/lib";
        let status = Command::new("sh").args(["-ec", script, host::SCRATCH]).status().expect("sh");
        assert!(status.success());
    });
}
