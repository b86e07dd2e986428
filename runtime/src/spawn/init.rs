//! An init from its clone until its program runs.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pillbox_init::plan::Turn;
use pillbox_init::report::Report;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal};

use super::opened::Interruption;
use super::report::{Message, receive_if_any, word_report};
use super::{ContainerEnds, Opened, Patience, opened};
use crate::console;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::{Agent, Plan};
use crate::spawn::notify;
use crate::spawn::seccomp_agent::{self, Handed};
use crate::sys::Spawned;
use crate::sys::process_end::{PATIENCE_MS, collect, wait_until_gone};

const BEFORE_PROGRAM: &str = "before it executed the program";

pub(super) const DURING_SET_UP: &str = "during the set-up";

/// An init that runs its plan, and the socket to it.
pub struct Init {
    /// Its pid in the runtime's pid namespace.
    pub pid: Pid,
    /// A pidfd.
    pub process: OwnedFd,
    channel: OwnedFd,
    /// Whether it has inherited `process.oomScoreAdj` from the runtime.
    pub(super) has_oom_score: bool,
    /// The master of the container's terminal, once init has sent it.
    pub console: Option<OwnedFd>,
    /// The socket on which the program says that it is ready.
    pub notify: Option<notify::Proxy>,
    /// The processes from which it has cloned itself, the first one first; they have nothing more to do.
    pub(super) forerunners: Vec<OwnedFd>,
    /// What ends the wait for it.
    pub(super) patience: Patience,
    /// See [`Opened::container_ends`].
    pub(super) container_ends: Option<ContainerEnds>,
    /// The signals that end the wait; watched once the wait takes long.
    interruption: Option<Interruption>,
    /// Messages that came while the runtime waited for its pid.
    pub(super) early: VecDeque<Message>,
    /// How often it has asked for trees.
    trees_asked: u32,
    /// Whether it has been told to go on to the program.
    released: bool,
    /// See [`receive_if_any`].
    left_word: bool,
    /// Whether it had ended, and somebody else had collected it, before its pidfd could be opened. `process`
    /// is then a process from which it was cloned.
    pub(super) lost: bool,
}

/// Where init needs the runtime.
pub enum Stop {
    /// It is in its network namespace, and this is a netlink socket there. It does not wait.
    Network(OwnedFd),
    /// It is about to leave the old root, and waits until hooks have run.
    Hooks,
    /// It waits before the program.
    Ready,
}

impl Stop {
    /// The error if the plan has no such stop.
    pub fn unexpected(self) -> Error {
        Error::new("init said something at the wrong time: runtime and init do not match")
    }
}

impl Init {
    pub(super) fn new(spawned: Spawned, channel: OwnedFd, has_oom_score: bool) -> Init {
        let Spawned { pid, pidfd: process } = spawned;
        Init {
            pid,
            process,
            channel,
            has_oom_score,
            console: None,
            notify: None,
            forerunners: Vec::new(),
            patience: Patience::Endless,
            container_ends: None,
            interruption: None,
            early: VecDeque::new(),
            trees_asked: 0,
            released: false,
            left_word: false,
            lost: false,
        }
    }

    fn hand_over_trees(&self, trees: &[OwnedFd]) -> Result<()> {
        let trees: Vec<_> = trees.iter().map(AsFd::as_fd).collect();
        console::send_with_descriptors(&self.channel, &[0], &trees)
            .map(drop)
            .context(|| "hand init mount trees")
    }

    /// [`Self::await_ready`] of an init that nobody has to record before its program runs. It gets its last
    /// answer in advance, unless it has a listener or a terminal to hand over first. [`Self::release`] must
    /// be called nevertheless.
    pub(super) fn await_ready_unrecorded(&mut self, plan: &Plan) -> Result<()> {
        if plan.seccomp_agent.is_none() && !plan.terminal {
            self.released = self.say_unless_ended(Turn::Record)?;
        }
        self.await_ready(plan, &Opened::default())?;
        // It may have gone on, and failed, before the runtime got its pid.
        match self.early.pop_front() {
            Some(Message::Report(report, _, text)) => Err(word_report(plan, report, &text)),
            _ => Ok(()),
        }
    }

    /// Lets init go on to the program, if that has not been done before.
    ///
    /// # Errors
    /// It has ended. This is reported here because there is no unread byte then, without which the end of its
    /// channel looks like a program that runs.
    pub fn release(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.released, true) {
            return Ok(());
        }
        match self.say(Turn::Record) {
            Err(Errno::PIPE | Errno::CONNRESET) => Err(self.describe_death(BEFORE_PROGRAM)),
            said => said.context(|| "answer init"),
        }
    }

    /// Serves init (trees, terminal, listener) until it is ready.
    ///
    /// # Errors
    /// As for [`Self::next_stop`]; or it stops before that.
    pub fn await_ready(&mut self, plan: &Plan, opened: &Opened) -> Result<()> {
        match self.next_stop(plan, opened)? {
            Stop::Ready => Ok(()),
            stop => Err(stop.unexpected()),
        }
    }

    /// Serves init (trees, terminal, listener) until its next stop.
    ///
    /// # Errors
    /// Something failed in init, which is gone then.
    pub fn next_stop(&mut self, plan: &Plan, opened: &Opened) -> Result<Stop> {
        // Now, because init is busy and needs nothing yet.
        self.reap_forerunners();
        loop {
            match self.receive()? {
                Message::Report(Report::Ready, ..) => {
                    (self.patience, self.interruption) = (Patience::Endless, None);
                    return Ok(Stop::Ready);
                }
                Message::Report(Report::NetlinkSocket, Some(socket), _) => return Ok(Stop::Network(socket)),
                Message::Report(Report::AtHooks, ..) => return Ok(Stop::Hooks),
                Message::Report(Report::AtTrees, ..) => {
                    self.hand_over_trees(&opened.clone_late(plan, self.trees_asked, &self.process)?)?;
                    self.trees_asked += 1;
                }
                Message::Report(Report::TreeRefused { index }, ..) => {
                    // If the answer has no tree, init reports the kernel's error.
                    self.hand_over_trees(opened::open_attachable(plan, index).as_slice())?;
                }
                Message::Report(Report::Console, Some(master), _) => self.console = Some(master),
                Message::Report(Report::SeccompListener { descriptor }, ..) => {
                    self.hand_over_listener(plan.seccomp_agent.as_ref(), descriptor)?;
                }
                Message::Report(report, _, text) => return Err(word_report(plan, report, &text)),
                Message::Closed | Message::Reset => return Err(self.describe_death(DURING_SET_UP)),
            }
        }
    }

    /// Receives the file system that it has made.
    pub(super) fn take_file_system(&mut self) -> Result<OwnedFd> {
        match self.receive()? {
            Message::Report(Report::FileSystem, Some(mount), _) => Ok(mount),
            _ => Err(Error::new("init made no file system")),
        }
    }

    /// Sends the listener of init's seccomp filter to the agent, and lets init go on.
    fn hand_over_listener(&mut self, agent: Option<&Agent>, descriptor: u32) -> Result<()> {
        let agent = agent.ok_or_else(|| Error::new("linux.seccomp.listenerPath: missing"))?;
        let pid = self.pid.as_raw_pid();
        match seccomp_agent::hand_over(agent, self.process.as_fd(), pid, self.channel(), descriptor)? {
            Handed::Over => self.answer(Turn::Listener),
            // Init's next message says why.
            Handed::NotInstalled => Ok(()),
        }
    }

    /// A duplicate of its pidfd.
    pub fn duplicate(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.process, 3).context(|| "duplicate a pidfd")
    }

    /// Waits until the program has been executed, and sends the listener of its filter to the agent before
    /// that.
    ///
    /// # Errors
    /// It could not be executed.
    pub fn await_exec(&mut self, plan: &Plan) -> Result<()> {
        while !self.hear_of_exec(plan)? {}
        Ok(())
    }

    /// One message of [`Self::await_exec`], for callers that have other things to do between messages; true
    /// with the last one.
    ///
    /// # Errors
    /// As for that.
    pub fn hear_of_exec(&mut self, plan: &Plan) -> Result<bool> {
        match self.receive()? {
            Message::Closed => Ok(true),
            Message::Reset => Err(self.describe_death(BEFORE_PROGRAM)),
            Message::Report(Report::SeccompListener { descriptor }, ..) => {
                self.hand_over_listener(plan.seccomp_agent.as_ref(), descriptor).map(|()| false)
            }
            Message::Report(report, _, text) => Err(word_report(plan, report, &text)),
        }
    }

    /// Sends the answer for which init waits. If init has ended, its last message is received next.
    ///
    /// # Errors
    /// It has ended without a message: it was killed.
    pub fn answer(&mut self, turn: Turn) -> Result<()> {
        if self.say_unless_ended(turn)? {
            return Ok(());
        }
        match self.receive()? {
            Message::Closed | Message::Reset => Err(self.describe_death(DURING_SET_UP)),
            said => {
                self.early.push_front(said);
                Ok(())
            }
        }
    }

    /// Sends an answer; false if init has ended, and then its last message is received next.
    pub fn say_unless_ended(&self, turn: Turn) -> Result<bool> {
        match self.say(turn) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(false),
            said => said.map(|()| true).context(|| "answer init"),
        }
    }

    fn say(&self, turn: Turn) -> std::result::Result<(), Errno> {
        rustix::net::send(&self.channel, &[turn as u8], SendFlags::NOSIGNAL).map(drop)
    }

    /// Waits for the next message.
    fn receive(&mut self) -> Result<Message> {
        match self.early.pop_front() {
            Some(message) => Ok(message),
            None => self.hear(),
        }
    }

    /// Waits for the next message on the channel, or for its end. A moment after init has ended, that counts
    /// as the end of the channel: the thread that makes the network namespace may still have a copy of init's
    /// end.
    pub(super) fn hear(&mut self) -> Result<Message> {
        const MOMENT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
        loop {
            let interruption = self.interruption.as_ref().map(Interruption::descriptor);
            let watched =
                [self.channel.as_fd(), self.process.as_fd(), interruption.unwrap_or(self.process.as_fd())];
            let mut polled = watched.map(|watched| PollFd::from_borrowed_fd(watched, PollFlags::IN));
            let looks_again = self.container_ends.is_some()
                || self.patience == Patience::UntilSignal && interruption.is_none();
            let timeout = looks_again.then_some(&MOMENT);
            match poll(&mut polled, timeout) {
                Err(Errno::INTR) => continue,
                Ok(0) => {
                    self.look_again()?;
                    continue;
                }
                ready => ready.context(|| "wait for init")?,
            };
            let [_, ended, interrupted] = polled.map(|polled| !polled.revents().is_empty());
            if interrupted && interruption.is_some() {
                // A message that came before counts: it may be the only trace of a clone that stands still in
                // a frozen cgroup.
                if let Some(message) = receive_if_any(self.channel.as_fd(), &mut self.left_word)? {
                    return Ok(message);
                }
                return Err(Error::of(
                    Kind::Status,
                    "a signal ended it before the program ran: if the container is paused resume it first"
                        .into(),
                ));
            }
            match receive_if_any(self.channel.as_fd(), &mut self.left_word)? {
                Some(message) => return Ok(message),
                None if ended => {
                    // Init's end may interrupt this with a signal (SIGCHLD).
                    let mut channel = [PollFd::new(&self.channel, PollFlags::IN)];
                    while let Err(Errno::INTR) = poll(&mut channel, Some(&MOMENT)) {}
                    let last = receive_if_any(self.channel.as_fd(), &mut self.left_word)?;
                    return Ok(last.unwrap_or(Message::Reset));
                }
                None => {}
            }
        }
    }

    /// If the wait takes long, watches for what ends it.
    fn look_again(&mut self) -> Result<()> {
        if self.patience == Patience::UntilSignal && self.interruption.is_none() {
            self.interruption = Some(Interruption::open()?);
        }
        // An init that stands still in a frozen cgroup, before it is in the container's pid namespace, does
        // not end with the container, and may keep it from ending.
        if self.container_ends.as_ref().is_some_and(|ends| ends()) {
            self.begin_to_kill();
        }
        Ok(())
    }

    /// The socket, to poll for [`Self::receive`].
    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Kills it and waits until it has ended.
    ///
    /// # Errors
    /// It does not end within ten seconds: somebody traces it, or it hangs in the kernel.
    pub fn kill(&mut self) -> Result<()> {
        self.begin_to_kill();
        self.reap().map(drop)
    }

    /// Kills it, without waiting until it has ended.
    pub fn begin_to_kill(&self) {
        // Fails only if it has ended already.
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
    }

    /// [`Self::kill`] after an error, which is the one to report; if killing fails, that is added to it.
    pub fn kill_after(&mut self, error: Error) -> Error {
        match self.kill() {
            Ok(()) => error,
            left => error.besides(left),
        }
    }

    /// Waits until it has ended, which it is about to; the result says how it ended.
    fn reap(&mut self) -> Result<Option<i32>> {
        self.reap_forerunners();
        if wait_until_gone(&self.process, PATIENCE_MS)? {
            return Ok(collect(&self.process).ok());
        }
        let pid = self.pid;
        let text = format!("process {pid} does not die: it is left behind, and its cgroup with it");
        Err(Error::of(Kind::Timeout, text))
    }

    pub(super) fn describe_death(&mut self, when: &str) -> Error {
        let status = self.reap();
        let (kind, how) = match status {
            // If it had not been killed, it would have said why.
            _ if self.lost => (Kind::Killed, "it is gone".to_string()),
            Ok(Some(code)) => match (code & 0x7f, code >> 8) {
                (0, code) => (Kind::Host, format!("it exited with status {code}")),
                (signal, _) => (Kind::Killed, format!("it was killed by signal {signal}")),
            },
            _ => (Kind::Host, "it is gone".to_string()),
        };
        Error::of(kind, format!("init ended {when}: {how}"))
    }
}
