//! A call of a runtime, with a time limit. Its output goes to files, so that a container that keeps them open
//! can't block the test.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::{LIMIT, wait_for};

/// The result of a finished call.
#[derive(Debug)]
pub struct Output {
    /// The exit status; −signal if a signal ended the runtime itself.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    stdout_file: PathBuf,
    stderr_file: PathBuf,
}

impl Output {
    /// Asserts success, including an empty stderr: callers parse both streams together.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "should have succeeded silently: {self:?}");
        self
    }

    /// Asserts an error (a status other than 0 and a message on stderr) whose text contains `part`.
    #[track_caller]
    pub fn fails_with(self, part: &str) -> Self {
        assert!(self.code > 0, "should have failed: {self:?}");
        assert!(self.stderr.contains(part), "stderr lacks {part:?}: {self:?}");
        self
    }

    /// stdout as it is now: a created container continues to write to it.
    pub fn stdout_now(&self) -> String {
        fs::read_to_string(&self.stdout_file).expect("stdout file")
    }

    /// stderr as it is now.
    pub fn stderr_now(&self) -> String {
        fs::read_to_string(&self.stderr_file).expect("stderr file")
    }

    /// Waits until stdout contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_for(text, || self.stdout_now().contains(text).then_some(()));
    }

    /// The lines on stderr.
    pub fn error_lines(&self) -> Vec<&str> {
        self.stderr.lines().collect()
    }
}

/// A running call; killed when dropped.
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
    what: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// Starts `command` with stdout and stderr in new files in `folder`.
pub fn start_limited(command: &mut Command, folder: &Path) -> Running {
    start(command, None, folder)
}

/// The same with `stdout` in place of a file; the [`Output`] does not contain it.
pub fn start_writing_to(command: &mut Command, stdout: impl Into<Stdio>, folder: &Path) -> Running {
    start(command, Some(stdout.into()), folder)
}

fn start(command: &mut Command, to: Option<Stdio>, folder: &Path) -> Running {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let (stdout, stderr) = (folder.join(format!("stdout.{call}")), folder.join(format!("stderr.{call}")));
    let file = File::create(&stdout).expect("stdout file");
    command.stdout(to.unwrap_or(file.into())).stderr(File::create(&stderr).expect("stderr file"));
    let what = format!("{command:?}");
    let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
    Running { child, pidfd, what, stdout, stderr }
}

impl Running {
    /// The runtime's own process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("kill");
    }

    /// Takes the write end of the runtime's stdin, if that is a pipe.
    pub fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("stdin is a pipe")
    }

    /// stdout as it is now.
    pub fn stdout_now(&self) -> String {
        fs::read_to_string(&self.stdout).expect("stdout file")
    }

    /// Waits for the end, at most [`LIMIT`].
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let status = self.wait(LIMIT).unwrap_or_else(|| {
            let said = fs::read_to_string(&self.stderr).unwrap_or_default();
            panic!("hangs: {} (stderr: {said:?})", self.what)
        });
        let text = |file: &Path| String::from_utf8_lossy(&fs::read(file).expect("output file")).into_owned();
        Output {
            code: status.code().or(status.signal().map(|signal| -signal)).expect("ended"),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            stdout_file: self.stdout.clone(),
            stderr_file: self.stderr.clone(),
        }
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let limit = Timespec::try_from(limit).expect("limit");
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match poll(&mut ended, Some(&limit)) {
            Ok(0) => None,
            _ => Some(self.child.wait().expect("wait")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
