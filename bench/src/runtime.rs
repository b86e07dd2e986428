//! A runtime to measure: finds it, asks for its version, times one command at a time.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bundle::Scratch;
use crate::error::{Context, Result, error};
use crate::sys;

/// An OCI runtime with runc's command line.
pub struct Runtime {
    /// Its name in the report.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// The first line of `--version`.
    pub version: String,
    /// The program's size in bytes, without the shared libraries that it loads.
    pub size: u64,
    state: PathBuf,
    errors: PathBuf,
}

/// What one command cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From before it was spawned until it was reaped.
    pub time: Duration,
}

impl Runtime {
    /// The runtime with this program, if it answers `--version`.
    pub fn new(name: &str, program: PathBuf, scratch: &Scratch) -> Result<Self> {
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .context(|| format!("{} --version", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().filter(|_| output.status.success());
        let version =
            version.ok_or_else(|| error(format!("{} --version failed", program.display())))?.to_string();
        let size = fs::metadata(&program).context(|| format!("stat {}", program.display()))?.len();
        // The last folder of --root is for the runtime to make.
        fs::create_dir_all(scratch.state("")).context(|| "make the state folder")?;
        let (state, errors) = (scratch.state(name), scratch.file("stderr"));
        Ok(Runtime { name: name.to_string(), program, version, size, state, errors })
    }

    /// A command with the runtime's own `--root` and these arguments.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.state).args(arguments);
        command
    }

    /// Runs the runtime with its own `--root` and these arguments; an error has what it wrote to stderr.
    pub fn time<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Cost> {
        time(&mut self.command(arguments), &self.errors)
    }

    /// The peak memory of one command in KiB.
    pub fn peak(&self, arguments: &[&OsStr]) -> Result<u64> {
        peak(&mut self.command(arguments), &self.errors)
    }

    /// Creates a container of a bundle.
    pub fn create(&self, bundle: &Path, pid_file: &Path, id: &str) -> Result<Cost> {
        self.time(&[
            "create".as_ref(),
            "--bundle".as_ref(),
            bundle.as_os_str(),
            "--pid-file".as_ref(),
            pid_file.as_os_str(),
            id.as_ref(),
        ])
    }

    /// Starts `create` without waiting for it.
    pub fn spawn_create(&self, bundle: &Path, id: &str) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.state).args(["create", "--bundle"]).arg(bundle).arg(id);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context(|| format!("spawn {command:?}"))
    }

    /// Runs a container of a bundle; returns what its program wrote to stdout.
    pub fn output_of(&self, bundle: &Path, id: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.state).args(["run", "--bundle"]).arg(bundle).arg(id);
        let output = command.stdin(Stdio::null()).output().context(|| format!("spawn {command:?}"))?;
        if !output.status.success() {
            self.discard(id);
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(error(format!("{command:?} failed: {}", said.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Deletes what is left of a container, if anything is.
    pub fn discard(&self, id: &str) {
        let _ = self.time(&["delete", "--force", id]);
    }

    /// Deletes what is left of all containers.
    pub fn discard_all(&self) {
        for entry in fs::read_dir(&self.state).into_iter().flatten().flatten() {
            self.discard(&entry.file_name().to_string_lossy());
        }
    }
}

/// Times one command, from spawning to reaping it. Its stdout is discarded, its stderr goes to the file
/// `errors`.
pub fn time(command: &mut Command, errors: &Path) -> Result<Cost> {
    let begin = Instant::now();
    run(command, errors)?;
    Ok(Cost { time: begin.elapsed() })
}

/// The peak memory of one command in KiB: see [`sys::Ended::peak_kib`].
pub fn peak(command: &mut Command, errors: &Path) -> Result<u64> {
    sys::fork_for(command);
    Ok(run(command, errors)?.peak_kib)
}

fn run(command: &mut Command, errors: &Path) -> Result<sys::Ended> {
    let stderr = File::create(errors).context(|| format!("create {}", errors.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let child = command.spawn().context(|| format!("spawn {command:?}"))?;
    let pid = i32::try_from(child.id()).context(|| "pid")?;
    let ended = sys::wait(pid).context(|| "wait4")?;
    if ended.success {
        return Ok(ended);
    }
    let said = fs::read_to_string(errors).unwrap_or_default();
    Err(error(format!("{command:?} failed: {}", said.trim())))
}

/// Finds a program on PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| is_executable(program))
}

/// Whether this is an executable file.
pub fn is_executable(program: &Path) -> bool {
    fs::metadata(program).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
