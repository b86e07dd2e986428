//! The programs of plugins: where they are, and how they are run.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;

use super::refusal::one_line;
use crate::error::{Error, Kind, Result};

/// Where distributions and Kubernetes put plugins.
pub const FOLDERS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/// How long a plugin may take, unless the caller says otherwise.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The most that a plugin may print, in bytes.
pub const OUTPUT_MAX: usize = 1 << 20;

/// How many bytes at the end of a plugin's stderr are worth keeping.
pub const STDERR_KEPT: usize = 1024;

/// Where plugins are found, and how they are run.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The folders, searched in this order; plugins get them as CNI_PATH.
    pub folders: Vec<String>,
    /// The environment of plugins, `NAME=VALUE`, to which the variables of the call are added. Others that
    /// begin with `CNI_` are left out. Most plugins execute others and need PATH.
    pub environment: Vec<String>,
    /// How long a plugin may take; then it is killed, with its children.
    pub limit: Duration,
    /// Runs a program: [`super::execute`], or what a caller has already.
    pub run: fn(&Execution<'_>) -> Result<Ended>,
}

/// A program to be run to its end, without arguments.
#[derive(Debug, Clone, Copy)]
pub struct Execution<'a> {
    /// Its file.
    pub path: &'a str,
    /// All of its environment, `NAME=VALUE`.
    pub environment: &'a [String],
    /// What it can read from stdin; it need not.
    pub input: &'a str,
    /// How long it may take; then it is killed with its children, which is an error.
    pub limit: Duration,
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// All of it; more than [`OUTPUT_MAX`] bytes are an error.
    pub stdout: Vec<u8>,
    /// Its end, [`STDERR_KEPT`] bytes.
    pub stderr: Vec<u8>,
}

/// The folders in a variable like CNI_PATH.
///
/// # Errors
/// One of them is not absolute, or none is left.
pub fn parse_path(path: &str) -> Result<Vec<String>> {
    let folders: Vec<String> =
        path.split(':').filter(|folder| !folder.is_empty()).map(str::to_string).collect();
    match folders.iter().find(|folder| !folder.starts_with('/')) {
        Some(folder) => Err(Error::invalid(format_args!("CNI_PATH: {folder} is not absolute"))),
        None if folders.is_empty() => Err(Error::invalid(format_args!("CNI_PATH: names no folder"))),
        None => Ok(folders),
    }
}

impl Programs {
    /// Plugins in [`FOLDERS`], with no environment of their own, and with [`LIMIT`].
    pub fn new(run: fn(&Execution<'_>) -> Result<Ended>) -> Programs {
        Programs { folders: FOLDERS.map(str::to_string).into(), environment: Vec::new(), limit: LIMIT, run }
    }

    /// Looks for the program of a plugin.
    ///
    /// # Errors
    /// No folder has it, or it cannot be executed; naming the folders and the remedy. A folder cannot be
    /// looked into now.
    pub fn find(&self, plugin: &str) -> Result<String> {
        let mut refused = String::new();
        for folder in &self.folders {
            let path = format!("{folder}/{plugin}");
            if !is_file(&path)? {
                continue;
            }
            match rustix::fs::access(path.as_str(), Access::EXEC_OK) {
                Ok(()) => return Ok(path),
                Err(errno) => {
                    refuse_passing(&path, errno)?;
                    refused = format!("; {path} is not executable");
                }
            }
        }
        Err(Error::of(
            Kind::Missing,
            format_args!(
                "no program {plugin} in {}{refused}: install it (Debian's package containernetworking-plugins has the \
                 usual ones), or name its folder in CNI_PATH",
                self.folders.join(", ")
            ),
        ))
    }

    /// Runs a plugin to its end. `variables` are those of the call beside CNI_COMMAND and CNI_PATH.
    ///
    /// # Errors
    /// It cannot be executed, takes longer than the limit, or prints too much.
    pub(super) fn run(
        &self,
        plugin: &str,
        operation: &str,
        variables: &[(&str, &str)],
        input: &str,
    ) -> Result<Ended> {
        let path = self.find(plugin)?;
        let mut environment = self.environment.clone();
        environment.retain(|variable| !variable.starts_with("CNI_"));
        let folders = self.folders.join(":");
        for (name, value) in [("CNI_COMMAND", operation), ("CNI_PATH", &folders)].iter().chain(variables) {
            environment.push(format!("{name}={value}"));
        }
        (self.run)(&Execution { path: &path, environment: &environment, input, limit: self.limit })
    }
}

fn is_file(path: &str) -> Result<bool> {
    match rustix::fs::stat(path) {
        Ok(found) => Ok(rustix::fs::FileType::from_raw_mode(found.st_mode).is_file()),
        Err(errno) => refuse_passing(path, errno).map(|()| false),
    }
}

/// An error if this says nothing about what is there.
fn refuse_passing(path: &str, errno: Errno) -> Result<()> {
    let error = Error::failed(format_args!("look up {path}"), errno);
    if error.is_passing() { Err(error) } else { Ok(()) }
}

/// How a program ended that did not succeed.
pub(super) fn word_end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    }
}

/// The end of what a program has written to stderr, as a part of an error.
pub fn quote_stderr(stderr: &[u8]) -> String {
    match one_line(&String::from_utf8_lossy(stderr)) {
        empty if empty.is_empty() => empty,
        line => format!("; stderr: {line}"),
    }
}
