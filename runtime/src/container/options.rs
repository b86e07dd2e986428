//! Options for a container, and for one more program in it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Gid, Uid};

use super::network::{Network, Receiver};
use super::networks::Networks;
use super::stdio::{Stdio, Streams};
use crate::cgroup::Driver;
use crate::plan::Layer;
use crate::root::RootSource;

/// Options for a container: the program's streams, what it inherits, how the container is made.
///
/// Whether the program gets a terminal is up to the configuration (`process.terminal`). The terminal is all
/// three streams then; [`Container::take_terminal`](super::Container::take_terminal) returns its other end.
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
#[non_exhaustive]
pub struct CreateOptions {
    pub(super) streams: Streams,
    #[doc(hidden)]
    pub preserve_fds: u32,
    #[doc(hidden)]
    pub no_pivot: bool,
    #[doc(hidden)]
    pub no_new_keyring: bool,
    #[doc(hidden)]
    pub stand_before: bool,
    #[doc(hidden)]
    pub driver: Driver,
    pub(super) root: RootSource,
    /// The container's root is made of these parts of the host; the bundle's root file system is not used.
    #[doc(hidden)]
    pub scratch_over: Vec<Layer>,
    pub(super) network: Receiver,
    #[doc(hidden)]
    pub networks: Option<Networks>,
    pub(super) observer: Observer,
    #[doc(hidden)]
    pub line: CommandLine,
}

/// Called after each step, with its name and the moment at which it began.
#[derive(Clone, Default)]
pub(super) struct Observer(Option<Arc<dyn Fn(&'static str, Instant) + Send + Sync>>);

impl Observer {
    /// Does a step. The clock is read, and the name looked for, for an observer alone.
    pub fn watch<T>(&self, name: impl FnOnce() -> &'static str, step: impl FnOnce() -> T) -> T {
        let Some(observer) = &self.0 else { return step() };
        let began = Instant::now();
        let done = step();
        observer(name(), began);
        done
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

/// Further options of the command line. Programs that embed the library use descriptors instead of these
/// sockets and files.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct CommandLine {
    /// Whether the runtime exits, so that it cannot hold the program's terminal.
    pub detach: bool,
    /// The socket to which the terminal's master is sent.
    pub console_socket: Option<PathBuf>,
    /// The file to which the process's pid is written, last of all.
    pub pid_file: Option<PathBuf>,
    /// The socket to which a pidfd of the process is sent, by SCM_RIGHTS.
    pub pidfd_socket: Option<PathBuf>,
    /// Descriptors after stdio that came by socket activation; they come before those to preserve.
    pub listen_fds: u32,
    /// The service manager's socket (`NOTIFY_SOCKET`): the container gets one of its own, in a folder at that
    /// path.
    pub notify: Option<String>,
}

impl CreateOptions {
    /// The caller's own streams, no other descriptors, a cgroup made through cgroupfs.
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

    /// Where it writes errors to.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stderr = stream.into();
        self
    }

    /// The program inherits this many descriptors of the caller's, from 3 on, with the same numbers. Those
    /// that are closed or close-on-exec are left out.
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

    /// Init stays the container's first process: it passes signals on to the program, collects processes
    /// whose parent has ended, and ends with the program's status.
    pub fn init(mut self, init: bool) -> Self {
        self.stand_before = init;
        self
    }

    /// How the cgroup is made.
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Calls `observe` after each of the runtime's steps with its name and the moment at which it began, to
    /// show how long they take.
    pub fn observe(mut self, observe: impl Fn(&'static str, Instant) + Send + Sync + 'static) -> Self {
        self.observer = Observer(Some(Arc::new(observe)));
        self
    }

    /// The source of its root file system, instead of `root.path`.
    pub fn root(mut self, root: impl Into<RootSource>) -> Self {
        self.root = root.into();
        self
    }

    /// Connects the container to networks, which pillbox makes where they are missing, before its program can
    /// run; deleting the container disconnects it. The container needs a network namespace.
    pub fn networks(mut self, networks: Networks) -> Self {
        self.networks = Some(networks);
        self
    }

    /// Calls `configure` with the container's network namespace, whether that is made or joined, before the
    /// program can run. Init continues with the container's set-up meanwhile. A container in the caller's own
    /// network namespace needs no such call, and gets none. If `configure` fails, the container is not
    /// created and nothing is left.
    ///
    /// ```
    /// use pillbox::netlink::link;
    /// use pillbox::{CreateOptions, Network};
    ///
    /// let options = CreateOptions::new().network(|mut network: Network| {
    ///     let names: Vec<_> = link::list(&mut network.socket)?.into_iter().map(|link| link.name).collect();
    ///     println!("{names:?} in the network namespace of process {}", network.pid);
    ///     Ok::<_, pillbox::netlink::Error>(())
    /// });
    /// # drop(options);
    /// ```
    pub fn network<E: fmt::Display>(
        mut self,
        configure: impl FnOnce(Network) -> Result<(), E> + Send + 'static,
    ) -> Self {
        self.network = Receiver::new(configure);
        self
    }
}

/// Options for one more program in a running container. What is not set is as for the container's own
/// program.
///
/// ```
/// use pillbox::{ExecOptions, Gid, Stdio, Uid};
///
/// let options = ExecOptions::new(["sh", "-c", "echo $GREETING"])
///     .environment(["GREETING=hello"])
///     .user(Uid::from_raw(1000), Some(Gid::from_raw(1000)))
///     .stdin(Stdio::Null);
/// # drop(options);
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ExecOptions {
    /// The text of a process.json; the program's own members below do not count then.
    #[doc(hidden)]
    pub process: Option<String>,
    #[doc(hidden)]
    pub arguments: Vec<String>,
    #[doc(hidden)]
    pub environment: Vec<String>,
    #[doc(hidden)]
    pub cwd: Option<String>,
    #[doc(hidden)]
    pub user: Option<(Uid, Option<Gid>)>,
    #[doc(hidden)]
    pub additional_gids: Vec<Gid>,
    #[doc(hidden)]
    pub capabilities: Vec<String>,
    #[doc(hidden)]
    pub no_new_privileges: bool,
    #[doc(hidden)]
    pub terminal: bool,
    pub(super) terminal_size: Option<(u16, u16)>,
    #[doc(hidden)]
    pub apparmor: Option<String>,
    #[doc(hidden)]
    pub process_label: Option<String>,
    #[doc(hidden)]
    pub cgroup: Option<String>,
    #[doc(hidden)]
    pub ignore_paused: bool,
    pub(super) streams: Streams,
    #[doc(hidden)]
    pub preserve_fds: u32,
    #[doc(hidden)]
    pub line: CommandLine,
}

impl ExecOptions {
    /// The program and its arguments.
    pub fn new<T: Into<String>>(arguments: impl IntoIterator<Item = T>) -> ExecOptions {
        ExecOptions { arguments: arguments.into_iter().map(Into::into).collect(), ..ExecOptions::default() }
    }

    /// The program that a `process` of config.json describes, given as the text of that member. Without
    /// capabilities or rlimits in it, it gets the container's.
    pub fn with_process(document: impl Into<String>) -> ExecOptions {
        ExecOptions { process: Some(document.into()), ..ExecOptions::default() }
    }

    /// More variables than the container's, as `NAME=VALUE`.
    pub fn environment<T: Into<String>>(mut self, variables: impl IntoIterator<Item = T>) -> Self {
        self.environment.extend(variables.into_iter().map(Into::into));
        self
    }

    /// The working folder, a path in the container.
    pub fn cwd(mut self, folder: impl Into<String>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Its user and group in the container; without a group, that of the container's program.
    pub fn user(mut self, uid: Uid, gid: Option<Gid>) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// More groups than the container's.
    pub fn additional_gids(mut self, gids: impl IntoIterator<Item = Gid>) -> Self {
        self.additional_gids.extend(gids);
        self
    }

    /// More capabilities than the container's, by name: `CAP_NET_ADMIN`.
    pub fn capabilities<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.capabilities.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets no_new_privs.
    pub fn no_new_privileges(mut self, no_new_privileges: bool) -> Self {
        self.no_new_privileges = no_new_privileges;
        self
    }

    /// Gives it a terminal as all three streams: see
    /// [`Process::take_terminal`](super::Process::take_terminal).
    pub fn terminal(mut self, terminal: bool) -> Self {
        self.terminal = terminal;
        self
    }

    /// Gives it a terminal with this size, in characters.
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

    /// A cgroup below the container's, by its path relative to that.
    pub fn cgroup(mut self, path: impl Into<String>) -> Self {
        self.cgroup = Some(path.into());
        self
    }

    /// Starts it in a paused container, too: the call returns when the container has been resumed.
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

    /// Where it writes errors to.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.streams.stderr = stream.into();
        self
    }

    /// As [`CreateOptions::preserve_fds`].
    pub fn preserve_fds(mut self, count: u32) -> Self {
        self.preserve_fds = count;
        self
    }
}
