//! An init that runs its plan, from the clone until its program runs.

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
use super::{Opened, Patience, opened};
use crate::console;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::{Agent, Plan};
use crate::spawn::seccomp_agent::{self, Handed};
use crate::spawn::{idmap, notify, oom_score};
use crate::sys::Spawned;
use crate::sys::process_end::{PATIENCE_MS, collect, wait_until_gone};

const BEFORE_PROGRAM: &str = "before it executed the program";

pub(super) const DURING_SET_UP: &str = "during the set-up";

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
    /// The processes that it has cloned itself from, the first one first; they have nothing more to do.
    pub(super) forerunners: Vec<OwnedFd>,
    /// What ends the wait for it.
    pub(super) patience: Patience,
    /// Watched once the wait takes long.
    interruption: Option<Interruption>,
    /// What it has said while the runtime waited for its number.
    pub(super) early: VecDeque<Message>,
    /// How many times it has asked for trees.
    trees_asked: u32,
    /// Whether it has been told to go on to the program.
    released: bool,
    /// See [`receive_if_any`].
    left_word: bool,
    /// Whether it had ended, and been collected by others, before there was a pidfd: `process` is one that it was cloned from.
    pub(super) lost: bool,
}

/// Where init stops on its way, until the runtime has done its part.
pub enum Stop {
    /// In its network namespace, of which this is a netlink socket. It does not wait.
    Network(OwnedFd),
    /// Before it leaves the old root, for hooks.
    Hooks,
    /// Before the program.
    Ready,
}

impl Stop {
    /// It stops where the plan has nothing to do.
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

    /// The runtime's part of the set-up, then init's, until init says that it is ready: for plans that wait for nothing else.
    ///
    /// # Errors
    /// What failed in init, in words; init is gone then.
    pub fn bring_up(&mut self, plan: &Plan) -> Result<()> {
        self.give_ids(plan)?;
        self.await_ready(plan, &Opened::default())
    }

    /// [`Self::bring_up`] of an init that nobody has to record before its program runs: it is told to go on before it asks,
    /// unless there is more to say or to fetch first. [`Self::release`] is called all the same.
    pub fn bring_up_unrecorded(&mut self, plan: &Plan) -> Result<()> {
        self.give_ids(plan)?;
        if plan.seccomp_agent.is_none() && !plan.terminal {
            self.released = self.say_unless_ended(Turn::Record)?;
        }
        self.await_ready(plan, &Opened::default())?;
        // It may have gone on already, and have failed, before the runtime heard of its number.
        match self.early.pop_front() {
            Some(Message::Report(report, _, text)) => Err(word_report(plan, report, &text)),
            _ => Ok(()),
        }
    }

    /// Lets init go on to the program; once.
    ///
    /// # Errors
    /// It has ended: without a word that is unread the end of its channel would pass for a program that runs.
    pub fn release(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.released, true) {
            return Ok(());
        }
        match self.say(Turn::Record) {
            Err(Errno::PIPE | Errno::CONNRESET) => Err(self.describe_death(BEFORE_PROGRAM)),
            said => said.context(|| "answer init"),
        }
    }

    /// Writes what only the runtime may: its oom score, and the maps of its user namespace, for which it waits.
    pub fn give_ids(&mut self, plan: &Plan) -> Result<()> {
        if let Some(value) = plan.oom_score_adj.filter(|_| !self.has_oom_score) {
            oom_score::write(self.pid, value)?;
        }
        if let Some(mappings) = &plan.mappings {
            idmap::write(self.pid, mappings)?;
            self.answer(Turn::Mappings)?;
        }
        Ok(())
    }

    /// Serves init on its way (trees, terminal, listener) until it says that it is ready.
    ///
    /// # Errors
    /// As for [`Self::next_stop`]; it stops before.
    pub fn await_ready(&mut self, plan: &Plan, opened: &Opened) -> Result<()> {
        match self.next_stop(plan, opened)? {
            Stop::Ready => Ok(()),
            stop => Err(stop.unexpected()),
        }
    }

    /// Serves init on its way (trees, terminal, listener) until it stops for the runtime.
    ///
    /// # Errors
    /// What failed in init, in words; init is gone then.
    pub fn next_stop(&mut self, plan: &Plan, opened: &Opened) -> Result<Stop> {
        // Init is on its way meanwhile.
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
                    // Without an answer that is one init says what the kernel said.
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

    /// The file system that it has made.
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
    pub fn await_exec(&mut self, plan: &Plan) -> Result<()> {
        while !self.hear_of_exec(plan)? {}
        Ok(())
    }

    /// The next step of [`Self::await_exec`], for who has other things to do until init says something; true with the
    /// last one.
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

    /// Lets init go on, which waits for that. What it has said before its end, where it has ended, comes out next.
    ///
    /// # Errors
    /// It has ended without a word: it was killed.
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

    /// Says a word, and whether init was there to hear it: what it has said before its end comes out next.
    pub fn say_unless_ended(&self, turn: Turn) -> Result<bool> {
        match self.say(turn) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(false),
            said => said.map(|()| true).context(|| "answer init"),
        }
    }

    fn say(&self, turn: Turn) -> std::result::Result<(), Errno> {
        rustix::net::send(&self.channel, &[turn as u8], SendFlags::NOSIGNAL).map(drop)
    }

    /// The next message, waited for.
    fn receive(&mut self) -> Result<Message> {
        match self.early.pop_front() {
            Some(message) => Ok(message),
            None => self.hear(),
        }
    }

    /// What comes next on the channel, or its end. Init's end is enough for that, after a moment: the thread that made the
    /// network may have a copy of the other end still.
    pub(super) fn hear(&mut self) -> Result<Message> {
        const MOMENT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
        loop {
            let interruption = self.interruption.as_ref().map(Interruption::descriptor);
            let watched =
                [self.channel.as_fd(), self.process.as_fd(), interruption.unwrap_or(self.process.as_fd())];
            let mut polled = watched.map(|watched| PollFd::from_borrowed_fd(watched, PollFlags::IN));
            let timeout =
                (self.patience == Patience::UntilSignal && interruption.is_none()).then_some(&MOMENT);
            match poll(&mut polled, timeout) {
                Err(Errno::INTR) => continue,
                Ok(0) => {
                    self.interruption = Some(Interruption::open()?);
                    continue;
                }
                ready => ready.context(|| "wait for init")?,
            };
            let [_, ended, interrupted] = polled.map(|polled| !polled.revents().is_empty());
            if interrupted && interruption.is_some() {
                // What was said before counts: nobody else knows of a clone, which may stand still in a frozen cgroup.
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
                    // Its end may be a signal to this program.
                    let mut channel = [PollFd::new(&self.channel, PollFlags::IN)];
                    while let Err(Errno::INTR) = poll(&mut channel, Some(&MOMENT)) {}
                    let last = receive_if_any(self.channel.as_fd(), &mut self.left_word)?;
                    return Ok(last.unwrap_or(Message::Reset));
                }
                None => {}
            }
        }
    }

    /// The socket, to poll for [`Self::receive`].
    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// It does not go within ten seconds: somebody traces it, or what it does in the kernel does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.begin_to_kill();
        self.reap().map(drop)
    }

    /// Kills it, and does not wait until it is gone.
    pub fn begin_to_kill(&self) {
        // Fails only when it is gone already.
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
    }

    /// [`Self::kill`] after an error, which is the one to report; what adds to it is put behind.
    pub fn kill_after(&mut self, error: Error) -> Error {
        match self.kill() {
            Ok(()) => error,
            left => error.besides(left),
        }
    }

    /// How it ended; it is about to.
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
            // Unless it is killed it says why.
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
