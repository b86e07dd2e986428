//! A container under test: its bundle, and the runtime's commands for it.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::config::Config;
use super::{Case, Manager};
use crate::systemd::{USER, USER_RUNTIME};

const BUSYBOX: &str = "/bin/busybox";
/// The applets that the cases' scripts use.
const APPLETS: [&str; 34] = [
    "cat", "chmod", "cut", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ln",
    "ls", "mkdir", "mknod", "mount", "ps", "pwd", "readlink", "rm", "sed", "seq", "sh", "sleep", "sort",
    "stat", "test", "touch", "tr", "true", "umount", "uname", "wc",
];
/// The mount points exist: in a read-only root a runtime could not make them.
const FOLDERS: [&str; 8] = ["proc", "sys", "dev", "tmp", "etc", "root", "data", "bin"];
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n";
/// How long to wait for a status; emulation is slow.
const PATIENCE: Duration = Duration::from_secs(10);

/// The folder of a case's bundles. It is on the guest's root, so that they can hard-link its busybox.
pub fn folder(case: &str) -> PathBuf {
    Path::new("/bundles").join(case)
}

/// What a case works with: the runtime under test and a folder.
pub struct Guest {
    runtime: PathBuf,
    /// What makes the containers' cgroups.
    pub manager: Manager,
    folder: PathBuf,
    calls: Cell<u32>,
}

impl Guest {
    /// The guest for `case`, with the runtime at `runtime`.
    pub fn new(case: &Case, runtime: PathBuf) -> Result<Guest, String> {
        let folder = folder(case.name);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Guest { runtime, manager: case.manager, folder, calls: Cell::new(0) })
    }

    /// Makes a bundle for a container called `id`.
    pub fn container(&self, id: &str, config: Config) -> Result<Container<'_>, String> {
        let container = Container { guest: self, id: id.to_owned(), bundle: self.folder.join(id) };
        container.write_bundle(config).map_err(|e| format!("{}: {e}", container.bundle.display()))?;
        Ok(container)
    }

    /// Makes a bundle for a container with an id of its own.
    pub fn next_container(&self, config: Config) -> Result<Container<'_>, String> {
        self.container(&format!("c{}", self.calls.get()), config)
    }

    /// Makes a bundle and runs its container in the foreground.
    pub fn run(&self, config: Config) -> Result<Finished, String> {
        self.next_container(config)?.run()
    }

    /// Runs the runtime to its end.
    pub fn call(&self, arguments: &[&str]) -> Result<Finished, String> {
        self.finish(self.start(arguments)?)
    }

    /// Starts the runtime. Its output goes to files: a pipe would only end with the last process of the
    /// container.
    pub fn start(&self, arguments: &[&str]) -> Result<Call, String> {
        self.start_with(arguments, None)
    }

    /// The same with a variable in its environment.
    pub fn start_with(&self, arguments: &[&str], variable: Option<(&str, &str)>) -> Result<Call, String> {
        let number = self.calls.replace(self.calls.get() + 1);
        println!("$ {} {}", self.runtime.display(), arguments.join(" "));
        let files = [self.folder.join(format!("{number}.out")), self.folder.join(format!("{number}.err"))];
        let [stdout, stderr] = files.each_ref().map(File::create);
        let mut command = self.command(&self.runtime);
        if self.manager != Manager::Cgroupfs {
            command.arg("--systemd-cgroup");
        }
        command.args(arguments).envs(variable).stdin(Stdio::null());
        command.stdout(stdout.map_err(|e| e.to_string())?).stderr(stderr.map_err(|e| e.to_string())?);
        let child = command.spawn().map_err(|e| format!("{}: {e}", self.runtime.display()))?;
        Ok(Call { child, files })
    }

    /// The runtime under test.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// A program, run by the user who calls the runtime in this case.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if self.manager == Manager::User {
            command.uid(USER).gid(USER).env("XDG_RUNTIME_DIR", USER_RUNTIME).env("HOME", "/home/user");
        }
        command
    }

    /// Waits for the end of a call.
    pub fn finish(&self, mut call: Call) -> Result<Finished, String> {
        let status = call.child.wait().map_err(|e| format!("wait: {e}"))?;
        let [stdout, stderr] = call.files.each_ref().map(|path| fs::read(path).unwrap_or_default());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let finished = Finished { status, stdout: text(stdout), stderr: text(stderr) };
        println!("{}{}=> {}", finished.stdout, finished.stderr, finished.code());
        Ok(finished)
    }
}

/// A process of the runtime that has not been waited for.
pub struct Call {
    /// The process.
    pub child: Child,
    files: [PathBuf; 2],
}

impl Call {
    /// What it and its container have written to stdout so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.files[0]).unwrap_or_default()
    }
}

/// How a call of the runtime ended.
pub struct Finished {
    status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// An error if a signal ended it; its status does not matter.
    pub fn not_killed(self) -> Result<Finished, String> {
        match self.status.signal() {
            None => Ok(self),
            Some(signal) => Err(format!("the runtime itself was killed by signal {signal}: {}", self.stderr)),
        }
    }

    /// The exit status; a signal counts as in shells.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// An error unless the status is `code`.
    pub fn exits(self, code: i32) -> Result<Finished, String> {
        match self.code() == code {
            true => Ok(self),
            false => {
                Err(format!("expected exit status {code}, it is {}: {}", self.code(), self.stderr.trim()))
            }
        }
    }

    /// An error if the status is 0: the call must be refused.
    pub fn fails(self) -> Result<Finished, String> {
        if self.status.success() { Err("expected a failure, the call succeeded".into()) } else { Ok(self) }
    }
}

/// A container that may or may not exist yet.
pub struct Container<'a> {
    guest: &'a Guest,
    /// Its id, and the name of its cgroup below the root.
    pub id: String,
    /// The folder of config.json.
    pub bundle: PathBuf,
}

impl Container<'_> {
    fn write_bundle(&self, config: Config) -> std::io::Result<()> {
        let root = self.bundle.join("rootfs");
        for name in FOLDERS {
            fs::create_dir_all(root.join(name))?;
        }
        fs::hard_link(BUSYBOX, root.join("bin/busybox"))?;
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        fs::write(root.join("etc/passwd"), PASSWD)?;
        let cgroup = match self.guest.manager {
            Manager::Cgroupfs => format!("/{}", self.id),
            Manager::Systemd | Manager::User => format!(":vm:{}", self.id),
        };
        fs::write(self.bundle.join("config.json"), config.text(&cgroup))
    }

    /// The container's cgroup in the guest's tree.
    pub fn cgroup(&self) -> PathBuf {
        let place = match self.guest.manager {
            Manager::Cgroupfs => return Path::new("/sys/fs/cgroup").join(&self.id),
            Manager::Systemd => "system.slice",
            Manager::User => "user.slice/user-1000.slice/user@1000.service/user.slice",
        };
        Path::new("/sys/fs/cgroup").join(place).join(self.unit())
    }

    /// The scope that systemd makes for it.
    pub fn unit(&self) -> String {
        format!("vm-{}.scope", self.id)
    }

    /// The value of a cgroup file, without the newline.
    pub fn cgroup_file(&self, name: &str) -> Result<String, String> {
        let path = self.cgroup().join(name);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(text.trim_end().to_owned())
    }

    /// `run` in the foreground, to its end.
    pub fn run(&self) -> Result<Finished, String> {
        self.guest.finish(self.start_run()?)
    }

    /// `run` in the foreground, left running.
    pub fn start_run(&self) -> Result<Call, String> {
        self.guest.start(&["run", "--bundle", &self.bundle.to_string_lossy(), &self.id])
    }

    /// `create`, which must succeed. Returns the call, whose output is the container's.
    pub fn create(&self) -> Result<Call, String> {
        let mut call = self.start_create()?;
        let status = call.child.wait().map_err(|e| format!("wait: {e}"))?;
        if !status.success() {
            return Err(format!(
                "create: {status}: {}",
                fs::read_to_string(&call.files[1]).unwrap_or_default()
            ));
        }
        Ok(call)
    }

    /// `create`, without waiting for it.
    pub fn start_create(&self) -> Result<Call, String> {
        self.start_create_with(None)
    }

    /// The same with a variable in its environment.
    pub fn start_create_with(&self, variable: Option<(&str, &str)>) -> Result<Call, String> {
        self.guest.start_with(&["create", "--bundle", &self.bundle.to_string_lossy(), &self.id], variable)
    }

    /// Any command that has the id as its last argument.
    pub fn call(&self, arguments: &[&str]) -> Result<Finished, String> {
        self.guest.call(&[arguments, &[self.id.as_str()]].concat())
    }

    /// A command that makes the container, with its bundle and its id behind the arguments.
    pub fn call_with_bundle(&self, arguments: &[&str]) -> Result<Finished, String> {
        let bundle = self.bundle.to_string_lossy();
        self.guest.call(&[arguments, &["--bundle", &bundle, &self.id]].concat())
    }

    /// `exec` in the foreground.
    pub fn exec(&self, arguments: &[&str]) -> Result<Finished, String> {
        self.guest.call(&[&["exec", self.id.as_str()], arguments].concat())
    }

    /// `kill` with a signal; it must succeed.
    pub fn kill(&self, signal: &str) -> Result<(), String> {
        self.guest.call(&["kill", &self.id, signal])?.exits(0).map(drop)
    }

    /// `create` and `start`; both must succeed.
    pub fn launch(&self) -> Result<Call, String> {
        let call = self.create()?;
        self.call(&["start"])?.exits(0)?;
        Ok(call)
    }

    /// `delete --force`; it must succeed.
    pub fn remove(&self) -> Result<(), String> {
        self.call(&["delete", "--force"])?.exits(0).map(drop)
    }

    /// The document that `state` prints.
    pub fn state(&self) -> Result<Value, String> {
        let finished = self.call(&["state"])?.exits(0)?;
        serde_json::from_str(&finished.stdout).map_err(|e| format!("state: {e}"))
    }

    /// The pid, in the guest, in the output of `state`.
    pub fn pid(&self) -> Result<u64, String> {
        self.state()?["pid"].as_u64().filter(|&pid| pid > 0).ok_or_else(|| "state: no pid".into())
    }

    /// Waits until `state` says `status`.
    pub fn becomes(&self, status: &str) -> Result<(), String> {
        wait_until(&format!("{} is {status}", self.id), || Ok(self.state()?["status"] == status))
    }
}

/// Waits until `condition` holds, for a limited time.
pub fn wait_until(what: &str, condition: impl Fn() -> Result<bool, String>) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() >= end {
            return Err(format!("not so after {} s: {what}", PATIENCE.as_secs()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
