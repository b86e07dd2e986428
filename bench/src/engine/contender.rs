//! The engines that are measured: programs with Docker's command line, each with folders of its own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::user::USER;
use crate::error::{Context, Result, error};
use crate::runtime::{Cost, find, time};

/// How long a daemon has to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine's name in the report.
pub const BOX: &str = "box";
pub const PODMAN: &str = "podman";
pub const DOCKER: &str = "docker";
/// Docker's client with box's daemon.
pub const BOXD: &str = "boxd";

/// Where an engine keeps what.
#[derive(Clone)]
pub struct Folders {
    /// On a disk.
    pub disk: PathBuf,
    /// In a tmpfs.
    pub memory: PathBuf,
    /// The parent of all cgroups; none for an ordinary user.
    pub cgroup: Option<String>,
}

impl Folders {
    /// Those of an ordinary user, below these.
    pub fn of_user(&self) -> Folders {
        Folders { disk: self.disk.join("user"), memory: self.memory.join("user"), cgroup: None }
    }
}

/// An engine.
pub struct Contender {
    pub name: &'static str,
    /// Its version in a line.
    pub version: String,
    program: PathBuf,
    flags: Vec<OsString>,
    folders: Folders,
    errors: PathBuf,
    daemon: Option<Daemon>,
}

impl Contender {
    pub fn r#box(program: PathBuf, folders: &Folders) -> Result<Self> {
        let flags =
            [("--data-root", folders.disk.join(BOX)), ("--exec-root", folders.memory.join("box/pillbox"))];
        Contender::new(BOX, program, flags_of(flags), None, folders)
    }

    /// podman, if it is on PATH.
    pub fn podman(folders: &Folders) -> Result<Self> {
        let program = find(PODMAN).ok_or_else(|| error("not on PATH"))?;
        let mut flags = flags_of([
            ("--root", folders.disk.join(PODMAN)),
            ("--runroot", folders.memory.join(PODMAN)),
            ("--tmpdir", folders.memory.join("podman-tmp")),
        ]);
        flags.extend(["--cgroup-manager=cgroupfs", "--events-backend=file"].map(OsString::from));
        Contender::new(PODMAN, program, flags, None, folders)
    }

    /// Docker with a daemon of its own, if both are on PATH.
    pub fn docker(folders: &Folders) -> Result<Self> {
        let program = find("dockerd").ok_or_else(|| error("dockerd is not on PATH"))?;
        let flags = flags_of([
            ("--data-root", folders.disk.join(DOCKER)),
            ("--exec-root", folders.memory.join(DOCKER)),
            ("--pidfile", folders.memory.join("docker.pid")),
        ]);
        let driver = ["--exec-opt", "native.cgroupdriver=cgroupfs"].map(OsString::from);
        Contender::served(DOCKER, program, [flags, driver.into()].concat(), folders)
    }

    /// Docker's client with boxd, which has the store of [`Contender::box`].
    pub fn boxd(program: &Path, folders: &Folders) -> Result<Self> {
        let flags = flags_of([
            ("--data-root", folders.disk.join(BOX)),
            ("--exec-root", folders.memory.join("box/pillbox")),
        ]);
        let flags = [vec!["daemon".into()], flags].concat();
        Contender::served(BOXD, program.to_path_buf(), flags, folders)
    }

    /// Docker's client, and the daemon that it speaks to.
    fn served(name: &'static str, program: PathBuf, flags: Vec<OsString>, folders: &Folders) -> Result<Self> {
        let client = find(DOCKER).ok_or_else(|| error("not on PATH"))?;
        let socket = folders.memory.join(format!("{name}.sock"));
        let log = folders.memory.join(format!("{name}.log"));
        let mut daemon = Daemon { program, flags, socket, log, process: None };
        let flags = vec!["--host".into(), daemon.host()];
        daemon.start()?;
        let contender = Contender::new(name, client, flags, Some(daemon), folders)?;
        let began = Instant::now();
        while let Err(error) = contender.time(&["info"]) {
            if began.elapsed() > PATIENCE {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(contender)
    }

    fn new(
        name: &'static str,
        program: PathBuf,
        flags: Vec<OsString>,
        daemon: Option<Daemon>,
        folders: &Folders,
    ) -> Result<Self> {
        let output = Command::new(&program).arg("--version").output();
        let output = output.context(|| format!("{} --version", program.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_string();
        let (folders, errors) = (folders.clone(), folders.memory.with_extension("stderr"));
        Ok(Contender { name, version, program, flags, folders, errors, daemon })
    }

    /// A command with these arguments.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = match self.folders.cgroup {
            Some(_) => Command::new(&self.program),
            None => self.by_user(),
        };
        command.args(&self.flags);
        let (verb, rest) = arguments.split_at(1.min(arguments.len()));
        command.args(verb);
        if let Some(cgroup) = &self.folders.cgroup
            && verb.iter().any(|verb| verb.as_ref() == "run" || verb.as_ref() == "create")
        {
            command.arg("--cgroup-parent").arg(cgroup);
            if self.name == PODMAN {
                // Its usual limit takes a controller that cgroup2 has not where version 1 has it; the others set none.
                command.arg("--pids-limit=0");
            }
        }
        command.args(rest);
        command
    }

    /// The program as an ordinary user calls it.
    fn by_user(&self) -> Command {
        let user = USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&self.program);
        command.env("HOME", &self.folders.disk).env("XDG_RUNTIME_DIR", &self.folders.memory);
        command.env("USER", "bench").current_dir("/");
        command
    }

    /// Times one command.
    pub fn time<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Cost> {
        time(&mut self.command(arguments), &self.errors)
    }

    /// The peak memory of one command in KiB.
    pub fn peak<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<u64> {
        crate::runtime::peak(&mut self.command(arguments), &self.errors)
    }

    /// What a command writes to stdout.
    pub fn output<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String> {
        let mut command = self.command(arguments);
        let output = command.stdin(Stdio::null()).output().context(|| format!("spawn {command:?}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_string()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(error(format!("{command:?} failed: {}", said.trim())))
            }
        }
    }

    /// Starts a container that waits; its name is `name`.
    pub fn start(&self, name: &str, flags: &[&str], program: &[&str]) -> Result<Cost> {
        let mut arguments = vec!["run", "-d", "--network", "none", "--name", name];
        arguments.extend(flags);
        arguments.push(super::image::FIVE);
        arguments.extend(program);
        self.time(&arguments)
    }

    /// The pid of a container's program.
    pub fn pid(&self, name: &str) -> Result<Pid> {
        let text = self.output(&["inspect", "--format", "{{.State.Pid}}", name])?;
        let pid = text.parse().ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| error(format!("inspect {name}: {text:?} is no pid")))
    }

    /// Removes a container, if it is there.
    pub fn discard(&self, name: &str) {
        let _ = self.time(&["rm", "-f", name]);
    }

    /// Removes all containers.
    pub fn discard_all(&self) {
        let Ok(ids) = self.output(&["ps", "-a", "-q"]) else { return };
        for ids in ids.lines().collect::<Vec<_>>().chunks(50) {
            let _ = self.time(&[&["rm", "-f"], ids].concat());
        }
    }

    /// Where its daemon listens.
    pub fn socket(&self) -> Option<PathBuf> {
        Some(self.daemon.as_ref()?.socket.clone())
    }

    /// The parent of the containers' cgroups.
    pub fn cgroup(&self) -> Option<&str> {
        self.folders.cgroup.as_deref()
    }

    /// Ends the daemon; containers go on.
    pub fn stop_daemon(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.stop();
        }
    }

    /// Starts the daemon again. It need not answer yet.
    pub fn start_daemon(&mut self) -> Result<()> {
        self.daemon.as_mut().map_or(Ok(()), Daemon::start)
    }

    /// The processes that keep a container, other than its parent.
    pub fn daemons(&self) -> Vec<i32> {
        let process = self.daemon.as_ref().and_then(|daemon| daemon.process.as_ref());
        let daemon = process.and_then(|process| i32::try_from(process.id()).ok());
        daemon.into_iter().flat_map(|pid| [vec![pid], children(pid)].concat()).collect()
    }
}

fn flags_of<const N: usize>(flags: [(&str, PathBuf); N]) -> Vec<OsString> {
    flags.into_iter().flat_map(|(name, value)| [name.into(), value.into()]).collect()
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A daemon: boxd, or dockerd, which starts a containerd.
struct Daemon {
    program: PathBuf,
    flags: Vec<OsString>,
    socket: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

impl Daemon {
    /// Where its clients reach it.
    fn host(&self) -> OsString {
        format!("unix://{}", self.socket.display()).into()
    }

    fn start(&mut self) -> Result<()> {
        let log = fs::File::create(&self.log).context(|| format!("create {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.flags).arg("--host").arg(self.host());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().context(|| format!("start {}", self.program.display()))?);
        Ok(())
    }

    fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The parent of a process.
pub fn parent(pid: Pid) -> Result<i32> {
    field(format!("/proc/{}/status", pid.as_raw_nonzero()), "PPid:")
}

/// A number in a file of /proc, in the line that begins like this.
pub fn field(path: impl AsRef<Path>, name: &str) -> Result<i32> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).context(|| format!("read {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| error(format!("{}: no {name}", path.display())))
}
