//! What callers want of a container, or of one more program in it.

use std::path::PathBuf;

use super::stdio::{Stdio, Streams};
use crate::cgroup::Driver;
use crate::plan::Layer;
use crate::root::RootSource;

/// How a container is wanted: the program's streams, what it inherits, how the container is made.
///
/// Whether it gets a terminal says the configuration (`process.terminal`), not these: it is all three streams then, and its
/// other end is [`Container::take_terminal`](super::Container::take_terminal)'s.
///
/// ```
/// use pillbox::{CreateOptions, Driver, Stdio};
///
/// # fn main() -> std::io::Result<()> {
/// let (output, write_end) = std::io::pipe()?;
/// let options = CreateOptions::new()
///     .stdin(Stdio::Null)
///     .stdout(write_end)
///     .driver(Driver::Disabled);
/// # drop((output, options));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct CreateOptions {
    pub(super) streams: Streams,
    pub(super) preserve_fds: u32,
    pub(super) no_pivot: bool,
    pub(super) no_new_keyring: bool,
    pub(super) driver: Driver,
    pub(super) root: RootSource,
    pub(super) scratch_over: Vec<Layer>,
    pub(super) line: CommandLine,
}

/// What a command line wants besides. Programs that embed the library have descriptors in place of sockets and files.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct CommandLine {
    /// Nobody stays who could hold the program's terminal.
    pub detach: bool,
    /// Where the terminal's master is sent.
    pub console_socket: Option<PathBuf>,
    /// Gets the process's number, last of all.
    pub pid_file: Option<PathBuf>,
    /// Gets a pidfd of the process, by SCM_RIGHTS.
    pub pidfd_socket: Option<PathBuf>,
    /// Descriptors after stdio that came by socket activation; they come before those to preserve.
    pub listen_fds: u32,
    /// The service manager's socket (`NOTIFY_SOCKET`): the container gets one of its own, in a folder at that path.
    pub notify: Option<String>,
}

impl CreateOptions {
    /// The caller's own streams, nothing else of the caller's, a cgroup made by way of cgroupfs.
    pub fn new() -> CreateOptions {
        CreateOptions::default()
    }

    /// Where the program reads from.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stdin = stream.into();
        self
    }

    /// Where it writes to.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stdout = stream.into();
        self
    }

    /// Where it complains to.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stderr = stream.into();
        self
    }

    /// So many of the caller's descriptors, from 3 on, are the program's as well, with the same numbers. Those that are closed,
    /// or close-on-exec, are left out.
    pub fn preserve_fds(mut self, count: u32) -> Self {
        self.preserve_fds = count;
        self
    }

    /// Changes the root with chroot(2) instead of pivot_root(2).
    pub fn no_pivot(mut self, no_pivot: bool) -> Self {
        self.no_pivot = no_pivot;
        self
    }

    /// The program keeps the caller's session keyring: keyrings(7).
    pub fn no_new_keyring(mut self, no_new_keyring: bool) -> Self {
        self.no_new_keyring = no_new_keyring;
        self
    }

    /// How the cgroup is made.
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Where its root file system comes from, instead of `root.path`.
    pub fn root(mut self, root: impl Into<RootSource>) -> Self {
        self.root = root.into();
        self
    }

    /// The container sees these parts of the host; the bundle's root file system is not used.
    #[doc(hidden)]
    pub fn scratch_over(mut self, layers: Vec<Layer>) -> Self {
        self.scratch_over = layers;
        self
    }

    #[doc(hidden)]
    pub fn command_line(mut self, line: CommandLine) -> Self {
        self.line = line;
        self
    }
}

/// One more program for a container that runs. What is not said is as the container's own program has it.
///
/// ```
/// use pillbox::{ExecOptions, Stdio};
///
/// let options = ExecOptions::new(["sh", "-c", "echo $GREETING"])
///     .environment(["GREETING=hello"])
///     .user(1000, Some(1000))
///     .stdin(Stdio::Null);
/// # drop(options);
/// ```
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// The text of a process.json; the program's own members below do not count then.
    pub(super) process: Option<String>,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<String>,
    pub(super) cwd: Option<String>,
    pub(super) user: Option<(u32, Option<u32>)>,
    pub(super) additional_gids: Vec<u32>,
    pub(super) capabilities: Vec<String>,
    pub(super) no_new_privileges: bool,
    pub(super) terminal: bool,
    pub(super) terminal_size: Option<(u16, u16)>,
    pub(super) apparmor: Option<String>,
    pub(super) process_label: Option<String>,
    pub(super) cgroup: Option<String>,
    pub(super) ignore_paused: bool,
    pub(super) streams: Streams,
    pub(super) preserve_fds: u32,
    pub(super) line: CommandLine,
}

impl ExecOptions {
    /// The program and its arguments.
    pub fn new<T: Into<String>>(arguments: impl IntoIterator<Item = T>) -> ExecOptions {
        ExecOptions { arguments: arguments.into_iter().map(Into::into).collect(), ..ExecOptions::default() }
    }

    /// The program as a `process` of config.json says, given as that member's text: its capabilities and rlimits are the container's
    /// where it has none.
    pub fn with_process(document: impl Into<String>) -> ExecOptions {
        ExecOptions { process: Some(document.into()), ..ExecOptions::default() }
    }

    /// Variables besides the container's, as `NAME=VALUE`.
    pub fn environment<T: Into<String>>(mut self, variables: impl IntoIterator<Item = T>) -> Self {
        self.environment.extend(variables.into_iter().map(Into::into));
        self
    }

    /// The working folder, a path in the container.
    pub fn cwd(mut self, folder: impl Into<String>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// The ids in the container; without a group it is the one of the container's program.
    pub fn user(mut self, uid: u32, gid: Option<u32>) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Groups besides the container's.
    pub fn additional_gids(mut self, gids: impl IntoIterator<Item = u32>) -> Self {
        self.additional_gids.extend(gids);
        self
    }

    /// Capabilities besides the container's, by name: `CAP_NET_ADMIN`.
    pub fn capabilities<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.capabilities.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets no_new_privs.
    pub fn no_new_privileges(mut self, no_new_privileges: bool) -> Self {
        self.no_new_privileges = no_new_privileges;
        self
    }

    /// Gives it a terminal, which is all three streams then: see [`Process::take_terminal`](super::Process::take_terminal).
    pub fn terminal(mut self, terminal: bool) -> Self {
        self.terminal = terminal;
        self
    }

    /// Gives it a terminal of a size, in characters.
    pub fn terminal_size(mut self, rows: u16, columns: u16) -> Self {
        (self.terminal, self.terminal_size) = (true, Some((rows, columns)));
        self
    }

    /// The AppArmor profile.
    pub fn apparmor(mut self, profile: impl Into<String>) -> Self {
        self.apparmor = Some(profile.into());
        self
    }

    /// The SELinux label.
    pub fn process_label(mut self, label: impl Into<String>) -> Self {
        self.process_label = Some(label.into());
        self
    }

    /// A cgroup below the container's, by its path from there.
    pub fn cgroup(mut self, path: impl Into<String>) -> Self {
        self.cgroup = Some(path.into());
        self
    }

    /// Goes ahead in a paused container: the call returns when that has been resumed.
    pub fn ignore_paused(mut self, ignore_paused: bool) -> Self {
        self.ignore_paused = ignore_paused;
        self
    }

    /// Where the program reads from.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stdin = stream.into();
        self
    }

    /// Where it writes to.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stdout = stream.into();
        self
    }

    /// Where it complains to.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stderr = stream.into();
        self
    }

    /// As [`CreateOptions::preserve_fds`].
    pub fn preserve_fds(mut self, count: u32) -> Self {
        self.preserve_fds = count;
        self
    }

    #[doc(hidden)]
    pub fn command_line(mut self, line: CommandLine) -> Self {
        self.line = line;
        self
    }
}
