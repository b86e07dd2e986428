//! From a plan to a running init: open what it needs, clone, talk to it until it is ready.

use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general::{CLONE_NEWPID, CLONE_NEWUSER};
use pillbox_init::plan::{NEVER_OPEN, Turn};
use pillbox_init::report::{MESSAGE_MAX, Report};
use pillbox_init::wire::Reader;
use pillbox_netlink::Socket;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Result, describe_errno};
use crate::plan::{Descriptor, Entry, Plan};
use crate::process_end::{PATIENCE_MS, wait_until_gone};
use crate::seccomp_agent::{Agent, Handed};
use crate::state::StateDirectory;
use crate::sys::{self, Child, ChildStep};
use crate::validate::NamespaceKind;
use crate::{console, device_node, explain, idmap, net_device, network, notify, oom_score};

/// Init's binary, built for this target.
static INIT: &[u8] = include_bytes!(env!("PILLBOX_INIT"));

/// What the plan wants open, opened; nothing has changed by that.
pub struct Opened {
    descriptors: Vec<Option<OwnedFd>>,
    joined: Vec<(OwnedFd, u32)>,
    /// What init gets as stdin, stdout and stderr instead of the runtime's own, with those numbers.
    pub stdio: Vec<(OwnedFd, u32)>,
}

impl Opened {
    /// What a plan gets that runs inside a container: the descriptors it wants, and the namespaces to enter, by a
    /// pidfd of a process in them with the CLONE_NEW* bits of all.
    pub fn inside(descriptors: Vec<Option<OwnedFd>>, enter: Option<(OwnedFd, u32)>) -> Opened {
        let joined = enter.into_iter().filter(|(_, flags)| *flags != 0).collect();
        Opened { descriptors, joined, stdio: Vec::new() }
    }
}

impl Opened {
    /// The tree that becomes the container's root.
    pub fn root(&self, plan: &Plan) -> Option<&OwnedFd> {
        let is_root =
            |wanted: &Descriptor| matches!(wanted, Descriptor::Tree { field, .. } if field == "root.path");
        self.descriptors.get(plan.descriptors.iter().position(is_root)?)?.as_ref()
    }
}

/// Opens the trees and namespaces that the plan names.
///
/// # Errors
/// What is missing or of the wrong kind, named by its field.
pub fn open(plan: &Plan) -> Result<Opened> {
    let mut joined = Vec::new();
    // A time namespace is init's to join: it is among the descriptors.
    for (kind, path) in plan.namespaces.joined.iter().filter(|(kind, _)| *kind != NamespaceKind::Time) {
        joined.push((open_namespace(*kind, path)?, kind.clone_flag()));
    }
    let mut owners = idmap::OwnerNamespaces::default();
    let descriptors = plan
        .descriptors
        .iter()
        .map(|descriptor| open_descriptor(descriptor, &mut owners))
        .collect::<Result<_>>()?;
    Ok(Opened { descriptors, joined, stdio: Vec::new() })
}

impl Opened {
    /// Opens what was not there before state folder and cgroup were made: that cgroup, for a mount that is refused, and
    /// devices that the host does not have.
    ///
    /// Returns: how many devices.
    pub fn open_made(&mut self, plan: &Plan, directory: &StateDirectory) -> Result<u32> {
        // Only in user namespaces is it refused, and a tree that nobody attaches costs more than an attached one.
        let user = plan.namespaces.makes(NamespaceKind::User) || plan.namespaces.joins(NamespaceKind::User);
        let mut made = 0;
        for (descriptor, opened) in plan.descriptors.iter().zip(&mut self.descriptors) {
            match (descriptor, &opened) {
                (Descriptor::Tree { optional: true, field, .. }, None)
                    if user || field == notify::VARIABLE =>
                {
                    *opened = open_descriptor(descriptor, &mut idmap::OwnerNamespaces::default())?;
                }
                (Descriptor::Tree { node: Some(node), path, .. }, None) => {
                    let step = || format!("linux.devices: make {}", path.to_string_lossy());
                    *opened = Some(device_node::make(directory.folder(), made, node).context(step)?);
                    made += 1;
                }
                _ => {}
            }
        }
        Ok(made)
    }
}

pub(crate) fn open_namespace(kind: NamespaceKind, path: &str) -> Result<OwnedFd> {
    let step = || format!("linux.namespaces: {}: open {path}", kind.name());
    let file =
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context(step)?;
    match sys::namespace_type(file.as_fd()) {
        Ok(flag) if flag == kind.clone_flag() => Ok(file),
        Ok(_) => Err(Error::formatted(format_args!("{}: it is a namespace of another type", step()))),
        Err(_) => Err(Error::formatted(format_args!("{}: it is no namespace", step()))),
    }
}

fn open_descriptor(descriptor: &Descriptor, owners: &mut idmap::OwnerNamespaces) -> Result<Option<OwnedFd>> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    let (path, recursive, field, procfs, optional, nofollow, idmap, node) = match descriptor {
        Descriptor::Tree { path, recursive, field, procfs, optional, nofollow, idmap, node } => {
            (path, recursive, field, procfs, optional, nofollow, idmap, node)
        }
        Descriptor::Namespace(kind, path) => return open_namespace(*kind, path).map(Some),
        Descriptor::Listener | Descriptor::Given => return Ok(None),
    };
    let step = || format!("{field}: {}", path.to_string_lossy());
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, *recursive);
    flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, *nofollow);
    let tree = match rustix::mount::open_tree(CWD, path, flags) {
        Err(_) if *optional => return Ok(None),
        Err(Errno::NOENT) if node.is_some() => return Ok(None),
        tree => tree.context(step)?,
    };
    if let Some(node) = node
        && !device_node::is(&tree, node).context(step)?
    {
        return Ok(None);
    }
    if *procfs && rustix::fs::fstatfs(&tree).context(step)?.f_type as u64 != PROC_SUPER_MAGIC {
        return Err(Error::formatted(format_args!("{}: only procfs may be mounted on /proc", step())));
    }
    if let Some(idmap) = idmap {
        // Only as long as nothing else sees the mount may it get its maps.
        owners.map_mount(&tree, idmap).context(step)?;
    }
    Ok(Some(tree))
}

/// An init that runs its plan, and the socket to it.
pub struct Init {
    /// Its number in the runtime's pid namespace.
    pub pid: Pid,
    /// A pidfd.
    pub process: OwnedFd,
    channel: OwnedFd,
    /// Whether it has inherited its `process.oomScoreAdj`.
    has_oom_score: bool,
    /// The master of the container's terminal, once init has sent it.
    pub console: Option<OwnedFd>,
    /// Where the program says that it is ready.
    pub notify: Option<notify::Proxy>,
    /// Whether it has cloned itself, and waits before all else to be brought up.
    pub forked: bool,
    /// The network namespace that it waits for, unless it has it already.
    network: Option<OwnedFd>,
}

/// Why there is no init.
pub enum SpawnError {
    /// The seed namespace could not be entered: the ordinary copy may serve.
    Seed,
    /// The caller may not start processes in the cgroup from where it is itself: clone(2), `EACCES`.
    Cgroup(Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for SpawnError {
    fn from(error: Error) -> Self {
        SpawnError::Other(error)
    }
}

/// Clones init into its namespaces and its cgroup. It runs the plan up to the first answer that it waits for.
pub fn spawn(
    plan: &Plan,
    opened: &Opened,
    seed: Option<&OwnedFd>,
    listener: Option<&OwnedFd>,
    cgroup: Option<&Cgroup>,
) -> std::result::Result<Init, SpawnError> {
    let (channel, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context(|| "socketpair")?;
    let mut numbers = Vec::with_capacity(opened.descriptors.len());
    for (descriptor, fd) in plan.descriptors.iter().zip(&opened.descriptors) {
        let fd = if *descriptor == Descriptor::Listener { listener } else { fd.as_ref() };
        // An optional tree that is not there: init gets a number that is never open.
        numbers.push(fd.map_or(NEVER_OPEN, |fd| fd.as_raw_fd() as u32));
    }
    let init = memfd("pillbox-init", MemfdFlags::from_bits_retain(MFD_EXEC), INIT)?;
    let entry = entry_of(plan, opened);
    if !entry.enter.is_empty() && rustix::process::geteuid().is_root() {
        // Who executes what it may not read cannot be looked into, from the first instruction on and whatever it may
        // do in its user namespace: execve(2), "effect on dumpable".
        rustix::fs::fchmod(&init, Mode::XUSR | Mode::XGRP | Mode::XOTH)
            .context(|| "chmod of init's memfd")?;
    }
    let bytes = plan.encode(theirs.as_raw_fd() as u32, &numbers, &entry);
    let plan_file = memfd("pillbox-plan", MemfdFlags::from_bits_retain(MFD_NOEXEC_SEAL), &bytes)?;

    let mut keep: Vec<i32> = vec![theirs.as_raw_fd(), plan_file.as_raw_fd()];
    keep.extend(opened.descriptors.iter().flatten().map(AsRawFd::as_raw_fd));
    keep.extend(opened.joined.iter().map(|(fd, _)| fd.as_raw_fd()));
    keep.extend(listener.map(AsRawFd::as_raw_fd));
    let number = CString::new(plan_file.as_raw_fd().to_string()).unwrap_or_default();
    let arguments: [*const c_char; 3] = [c"pillbox-init".as_ptr(), number.as_ptr(), std::ptr::null()];
    let namespaces = if entry.fork.is_some() { 0 } else { plan.namespaces.made_by_clone() };
    let mut child = Child::new(init.as_fd(), &arguments, &keep);
    child.seed = if plan.from_seed { seed.map(AsFd::as_fd) } else { None };
    // What the child makes from the seed it must not make in the clone as well.
    child.namespaces =
        if child.seed.is_some() { namespaces & !linux_raw_sys::general::CLONE_NEWNS } else { namespaces };
    child.ambient = namespaces & CLONE_NEWUSER != 0;
    child.preserve = plan.preserve_fds;
    child.stdio = &opened.stdio;
    // On its way into a user namespace init is not dumpable, and only root may write to its files in /proc then.
    let joins_user = entry.enter.iter().any(|[_, flags]| flags & CLONE_NEWUSER != 0);
    let inherited = plan.oom_score_adj.filter(|_| joins_user && !rustix::process::geteuid().is_root());
    let held = inherited.map(oom_score::Held::at).transpose()?;
    let mut network = None;
    let mut make_network = || network = Some(network::make());
    let meanwhile: Option<&mut dyn FnMut()> =
        if plan.namespaces.network_meanwhile { Some(&mut make_network) } else { None };
    let spawned = sys::spawn(&child, cgroup.map(Cgroup::fd), meanwhile)
        .map_err(|(step, errno)| word_child_failure(step, errno, child.namespaces))?;
    drop(held);
    // Init's end must be init's alone: a message that never comes is then an end of file.
    drop(theirs);
    let (has_oom_score, pid, process) = (inherited.is_some(), spawned.pid, spawned.pidfd);
    let (console, notify, forked) = (None, None, false);
    let mut init = Init { pid, process, channel, has_oom_score, console, notify, forked, network: None };
    if entry.fork.is_some() {
        init.follow_fork(&entry)?;
    }
    let handed = network.transpose().and_then(|network| {
        init.network = network;
        // What has cloned itself waits for another word first.
        if init.forked { Ok(()) } else { init.hand_over_network() }
    });
    if let Err(error) = handed {
        // The first error is the one to report.
        let _ = init.kill();
        return Err(error.into());
    }
    Ok(init)
}

const MFD_EXEC: u32 = 0x10;
const MFD_NOEXEC_SEAL: u32 = 0x8;

/// What init enters. A privileged runtime may enter anything from outside; an ordinary user gets its rights over the
/// other namespaces by entering the user namespace first.
fn entry_of(plan: &Plan, opened: &Opened) -> Entry {
    let user_first = !rustix::process::geteuid().is_root();
    let joined = || opened.joined.iter().map(|(fd, flags)| [fd.as_raw_fd() as u32, *flags]);
    let is_first = |[_, flags]: &[u32; 2]| (*flags == CLONE_NEWUSER) == user_first;
    let enter: Vec<_> = joined().filter(is_first).chain(joined().filter(|entry| !is_first(entry))).collect();
    let joined = enter.iter().fold(0, |all, [_, flags]| all | flags);
    let namespaces = plan.namespaces.made_by_clone();
    let forks =
        joined & (CLONE_NEWUSER | CLONE_NEWPID) != 0 || (namespaces & CLONE_NEWUSER != 0 && joined != 0);
    Entry { enter, fork: forks.then_some(namespaces) }
}

/// A file in memory that nobody can change any more.
fn memfd(name: &str, executable: MemfdFlags, content: &[u8]) -> Result<OwnedFd> {
    let step = || format!("memfd {name}");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | executable) {
        // Before Linux 6.3 there was nothing to say about execution.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        file => file,
    }
    .context(step)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).context(step)?;
        rest = &rest[written..];
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).context(step)?;
    Ok(file)
}

fn word_child_failure(step: ChildStep, errno: Errno, namespaces: u32) -> SpawnError {
    let cause = describe_errno(errno);
    SpawnError::Other(Error::new(match step {
        ChildStep::Seed => return SpawnError::Seed,
        ChildStep::Clone if errno == Errno::ACCESS => {
            return SpawnError::Cgroup(Error::formatted(format_args!(
                "clone into the container's cgroup: {cause}: no cgroup above both it and this process's own may be written \
                 to by this user: start it in `systemd-run --user --scope`, or below the same delegated cgroup"
            )));
        }
        ChildStep::Clone => {
            let hint = match errno {
                Errno::NOSPC => {
                    ": a limit below /proc/sys/user is reached (max_user_namespaces and its like)"
                }
                Errno::PERM if namespaces & CLONE_NEWUSER != 0 => {
                    ": user namespaces may be disabled (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
                }
                Errno::NOSYS => ": the kernel needs clone3 (Linux 5.7), or an outer sandbox forbids it",
                Errno::AGAIN if namespaces & CLONE_NEWPID != 0 => {
                    ": too many processes (RLIMIT_NPROC, pids.max)"
                }
                _ => "",
            };
            format!("clone into new namespaces: {cause}{hint}")
        }
        ChildStep::Capabilities => format!("keep capabilities over the exec of init: {cause}"),
        ChildStep::Descriptors => format!("sort descriptors for init: {cause}"),
        ChildStep::Exec => format!("execute init from its memfd: {cause}"),
    }))
}

fn word_entry_failure(report: Report, namespaces: u32) -> Error {
    let Report::NotEntered { index: _, errno } = report else {
        return Error::new("init said something at the wrong time: runtime and init do not match");
    };
    let errno = Errno::from_raw_os_error(errno);
    let hint = if namespaces & CLONE_NEWUSER != 0 { " or make new ones" } else { "" };
    Error::formatted(format_args!("join namespaces{hint}: {}", describe_errno(errno)))
}

/// What init said.
pub enum Message {
    /// A report, with a descriptor where one belongs to it.
    Report(Report, Option<OwnedFd>, String),
    /// The channel is closed: init has executed the program, or is gone.
    Closed,
    /// Init is gone, and left a word unread that it would have taken before the program.
    Reset,
}

impl Init {
    /// Init's child takes its place; as a child of the runtime's its number stays its own until it is waited for.
    fn follow_fork(&mut self, entry: &Entry) -> Result<()> {
        let message = self.receive()?;
        let Message::Report(report, ..) = message else {
            return Err(self.describe_death("during the set-up"));
        };
        let _ = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        let pid = match report {
            Report::Forked { pid } => Pid::from_raw(pid),
            other => return Err(word_entry_failure(other, entry.fork.unwrap_or_default())),
        };
        self.pid = pid.ok_or_else(|| Error::new("init cloned itself into nothing"))?;
        self.process =
            rustix::process::pidfd_open(self.pid, PidfdFlags::empty()).context(|| "open init's pidfd")?;
        self.forked = true;
        Ok(())
    }

    /// Hands init the network namespace that the plan leaves to the runtime to make.
    fn hand_over_network(&mut self) -> Result<()> {
        let Some(namespace) = self.network.take() else { return Ok(()) };
        match console::send_with_descriptor(&self.channel, &[Turn::Network as u8], &namespace) {
            // It has ended, and what it said before comes out in `bring_up`.
            Err(Errno::PIPE) => Ok(()),
            sent => sent.context(|| "hand init its network namespace"),
        }
    }

    /// The runtime's part of the set-up, then init's, until init says that it is ready.
    ///
    /// # Errors
    /// What failed in init, in words; init is gone then.
    pub fn bring_up(&mut self, plan: &Plan, at_hooks: &mut dyn FnMut(&Init) -> Result<()>) -> Result<()> {
        if self.forked {
            self.answer(Turn::Fork)?;
            self.hand_over_network()?;
        }
        if let Some(value) = plan.oom_score_adj.filter(|_| !self.has_oom_score) {
            oom_score::write(self.pid, value)?;
        }
        if let Some(mappings) = &plan.mappings {
            idmap::write(self.pid, mappings)?;
            self.answer(Turn::Mappings)?;
        }
        loop {
            match self.receive()? {
                Message::Report(Report::Ready, ..) => return Ok(()),
                Message::Report(Report::NetlinkSocket, Some(socket), _) => {
                    move_devices(socket, plan, self.pid)?
                }
                Message::Report(Report::AtHooks, ..) => {
                    at_hooks(self)?;
                    self.answer(Turn::RuntimeHooks)?;
                }
                Message::Report(Report::Console, Some(master), _) => self.console = Some(master),
                Message::Report(Report::SeccompListener { descriptor }, ..) => {
                    self.hand_over_listener(plan.seccomp_agent.as_ref(), descriptor)?;
                }
                Message::Report(report, _, text) => return Err(word_report(plan, report, &text)),
                Message::Closed | Message::Reset => return Err(self.describe_death("during the set-up")),
            }
        }
    }

    /// Sends the listener of init's seccomp filter to the agent, and lets init go on.
    fn hand_over_listener(&self, agent: Option<&Agent>, descriptor: u32) -> Result<()> {
        let agent = agent.ok_or_else(|| Error::new("linux.seccomp.listenerPath: missing"))?;
        let pid = self.pid.as_raw_pid();
        match agent.hand_over(self.process.as_fd(), pid, self.channel(), descriptor)? {
            Handed::Over => self.answer(Turn::Listener),
            // Init says why next.
            Handed::NotInstalled => Ok(()),
        }
    }

    /// One more pidfd for it.
    pub fn duplicate(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.process, 3).context(|| "duplicate a pidfd")
    }

    /// Waits until the program has been executed, after its filter's listener has gone to the agent.
    ///
    /// # Errors
    /// It could not be.
    pub fn await_exec(&self, plan: &Plan) -> Result<()> {
        loop {
            match self.receive()? {
                Message::Closed => return Ok(()),
                Message::Reset => return Err(self.describe_death("before it executed the program")),
                Message::Report(Report::SeccompListener { descriptor }, ..) => {
                    self.hand_over_listener(plan.seccomp_agent.as_ref(), descriptor)?;
                }
                Message::Report(report, _, text) => return Err(word_report(plan, report, &text)),
            }
        }
    }

    /// Lets init go on.
    pub fn answer(&self, turn: Turn) -> Result<()> {
        rustix::net::send(&self.channel, &[turn as u8], SendFlags::NOSIGNAL)
            .map(drop)
            .context(|| "answer init")
    }

    /// The next message, waited for.
    pub fn receive(&self) -> Result<Message> {
        receive(&self.channel)
    }

    /// The socket, to poll for [`Self::receive`].
    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// It does not go within ten seconds: somebody traces it, or what it does in the kernel does not end.
    pub fn kill(&self) -> Result<()> {
        // Fails only when it is gone already.
        let _ = rustix::process::pidfd_send_signal(&self.process, rustix::process::Signal::KILL);
        self.reap().map(drop)
    }

    /// [`Self::kill`] after an error, which is the one to report; what adds to it is put behind.
    pub fn kill_after(&self, error: Error) -> Error {
        match self.kill() {
            Ok(()) => error,
            Err(left) => Error::formatted(format_args!("{error}; {left}")).with_status(error.status()),
        }
    }

    /// How it ended; it is about to.
    fn reap(&self) -> Result<Option<WaitIdStatus>> {
        if wait_until_gone(&self.process, PATIENCE_MS)? {
            // Fails only for who is not its parent.
            return Ok(rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED)
                .ok()
                .flatten());
        }
        let pid = self.pid;
        Err(Error::formatted(format_args!(
            "process {pid} does not die: it is left behind, and its cgroup with it"
        )))
    }

    fn describe_death(&self, when: &str) -> Error {
        let status = self.reap();
        let how = match status {
            Ok(Some(status)) => match (status.terminating_signal(), status.exit_status()) {
                (Some(signal), _) => format!("it was killed by signal {signal}"),
                (_, Some(code)) => format!("it exited with status {code}"),
                _ => "it is gone".to_string(),
            },
            _ => "it is gone".to_string(),
        };
        Error::formatted(format_args!("init ended {when}: {how}"))
    }
}

/// Reads a message of init's from its channel or its gate connection.
pub fn receive(channel: impl AsFd) -> Result<Message> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0u8; MESSAGE_MAX];
    let mut ended = Message::Closed;
    let received = loop {
        let mut parts = [rustix::io::IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(&channel, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // Said once; what init said before its end may still follow.
            Err(Errno::CONNRESET) => ended = Message::Reset,
            result => break result.context(|| "hear from init")?.bytes,
        }
    };
    if received == 0 {
        return Ok(ended);
    }
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptor = rights.last();
        }
    }
    let mut reader = Reader::new(&bytes[..received]);
    let report =
        Report::decode(&mut reader).map_err(|_| Error::new("init said what this runtime does not know"))?;
    let text = String::from_utf8_lossy(reader.rest()).trim_end().to_string();
    Ok(Message::Report(report, descriptor, text))
}

/// Puts a failure report into words, with the plan at hand.
pub fn word_report(plan: &Plan, report: Report, kernel_text: &str) -> Error {
    match report {
        Report::Failed { operation, errno, stage, detail } => {
            let errno = Errno::from_raw_os_error(errno);
            match plan.operations().nth(operation as usize) {
                Some(operation) => {
                    explain::describe_failure(&operation, plan, errno, stage, detail, kernel_text)
                }
                None => {
                    Error::formatted(format_args!("init: operation {operation}: {}", describe_errno(errno)))
                }
            }
        }
        Report::NotEntered { .. } => word_entry_failure(report, 0),
        Report::Malformed { operation } => Error::formatted(format_args!(
            "init cannot read operation {operation} of its plan: runtime and init do not match"
        )),
        Report::NetlinkSocket
        | Report::Console
        | Report::Ready
        | Report::AtHooks
        | Report::Forked { .. }
        | Report::SeccompListener { .. } => {
            Error::new("init said something at the wrong time: runtime and init do not match")
        }
    }
}

/// How `start` words the failure of what comes after the gate: it no longer has the plan, only these two.
pub fn word_late_report(arguments: &[String], report: Report) -> Error {
    match report {
        Report::Failed { errno, .. } => {
            let name = arguments.first().map_or("", String::as_str);
            explain::describe_exec_failure(name, Errno::from_raw_os_error(errno))
        }
        _ => Error::new("init could not go on after start"),
    }
}

fn move_devices(socket: OwnedFd, plan: &Plan, pid: Pid) -> Result<()> {
    let mut socket = Socket::from_fd(socket)
        .map_err(|error| Error::formatted(format_args!("linux.netDevices: {error}")))?;
    net_device::move_into(&plan.net_devices, pid, &mut socket)
}
