//! The traced processes: a command's own and all its descendants.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, ExitStatus};

use crate::{Stop, attach, detach, follow, go_on, run_to, step, trace, wait_for_stop};

/// How a stopped process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To the next beginning or end of a system call; the signal is delivered first, unless it is 0.
    Call(i32),
    /// By one instruction; the signal is delivered first, unless it is 0.
    Step(i32),
    /// To the instruction at this address, where it stops with [`Stop::Step`]; then call
    /// [`crate::forget_address`].
    Address(i64),
    /// Without a tracer.
    Untraced,
    /// Not at all: it has been killed, and its end is reported next.
    Killed,
}

/// What to do when processes begin and stop.
pub trait Tracer {
    /// What the tracer knows of a process.
    type Tracee;

    /// A process begins. `maker` has cloned it; without one it is the command's own.
    fn begin(&mut self, pid: i32, maker: Option<&mut Self::Tracee>) -> Self::Tracee;

    /// A process has stopped; the result says how it goes on. ESRCH is not an error: it has been killed, and
    /// its end is reported next.
    fn stopped(&mut self, pid: i32, process: &mut Self::Tracee, stop: Stop) -> io::Result<Next>;
}

/// The traced processes by pid, with what the tracer knows of each.
#[derive(Debug)]
pub struct Tracees<T> {
    known: BTreeMap<i32, T>,
    /// Clones that stopped before their makers reported them.
    early: BTreeMap<i32, Stop>,
}

impl<T> Default for Tracees<T> {
    fn default() -> Self {
        Tracees { known: BTreeMap::new(), early: BTreeMap::new() }
    }
}

impl<T> Tracees<T> {
    /// Begins to trace a running process, which next stops for SIGSTOP.
    pub fn attach(&mut self, pid: i32, process: T) -> io::Result<()> {
        attach(pid)?;
        self.known.insert(pid, process);
        Ok(())
    }

    /// Runs a command to its end. Its descendants may go on after that, and are still traced.
    pub fn run(
        &mut self,
        command: &mut Command,
        tracer: &mut impl Tracer<Tracee = T>,
    ) -> io::Result<ExitStatus> {
        trace(command);
        let root = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
        loop {
            match wait_for_stop()? {
                (pid, Stop::End(status)) if pid == root => {
                    self.known.remove(&root);
                    return Ok(status);
                }
                (pid, Stop::Step) if pid == root && !self.known.contains_key(&root) => {
                    unless_killed(follow(root))?;
                    self.known.insert(root, tracer.begin(root, None));
                    unless_killed(go_on(root, 0))?;
                }
                (pid, stop) => self.handle(pid, stop, tracer)?,
            }
        }
    }

    /// Handles one stop or end.
    pub fn handle(&mut self, pid: i32, stop: Stop, tracer: &mut impl Tracer<Tracee = T>) -> io::Result<()> {
        let Some(process) = self.known.get_mut(&pid) else {
            // Ends are also reported for processes that are not traced.
            if !matches!(stop, Stop::End(_)) || self.early.contains_key(&pid) {
                self.early.insert(pid, stop);
            }
            return Ok(());
        };
        if let Stop::Clone(child) = stop {
            let begun = tracer.begin(child, Some(process));
            self.known.insert(child, begun);
            if let Some(first) = self.early.remove(&child) {
                self.handle(child, first, tracer)?;
            }
        }
        if matches!(stop, Stop::End(_)) {
            self.known.remove(&pid);
        } else if let Some(process) = self.known.get_mut(&pid) {
            let next = tracer.stopped(pid, process, stop);
            if matches!(next, Ok(Next::Untraced)) {
                self.known.remove(&pid);
            }
            return unless_killed(next.and_then(|next| go(pid, next)));
        }
        Ok(())
    }

    /// The pids of the traced processes.
    pub fn pids(&self) -> impl Iterator<Item = i32> {
        self.known.keys().copied()
    }

    /// Whether no process is traced.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

fn go(pid: i32, next: Next) -> io::Result<()> {
    match next {
        Next::Call(signal) => go_on(pid, signal),
        Next::Step(signal) => step(pid, signal),
        Next::Address(address) => run_to(pid, address),
        Next::Untraced => detach(pid),
        Next::Killed => Ok(()),
    }
}

/// A process killed meanwhile can't be told anything; its end is reported next.
fn unless_killed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        result => result,
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Records which processes begin and stop. A process's name is its maker's with one more letter.
    #[derive(Default)]
    struct Notes {
        begun: Vec<String>,
        stops: Vec<(i32, Stop)>,
        next: Option<Next>,
    }

    impl Tracer for Notes {
        type Tracee = String;

        fn begin(&mut self, _: i32, maker: Option<&mut String>) -> String {
            let name = maker.map_or_else(|| "a".to_string(), |maker| format!("{maker}b"));
            self.begun.push(name.clone());
            name
        }

        fn stopped(&mut self, pid: i32, _: &mut String, stop: Stop) -> io::Result<Next> {
            self.stops.push((pid, stop));
            Ok(self.next.unwrap_or(match stop {
                Stop::Signal(signal) if signal != libc::SIGSTOP => Next::Call(signal),
                _ => Next::Call(0),
            }))
        }
    }

    /// The kernel decides whether a clone stops before or after its maker: in this many rounds both happen.
    #[test]
    fn all_that_comes_of_a_command_is_traced_to_its_end() {
        for _ in 0..20 {
            let (mut tracees, mut notes) = (Tracees::default(), Notes::default());
            let mut command = Command::new("sh");
            command.args(["-c", "((exit 1); exit 2) & wait $!; exit $(($? + 1))"]);
            let status = tracees.run(&mut command, &mut notes).expect("ptrace is allowed");
            assert_eq!((status.code(), tracees.is_empty()), (Some(3), true));
            assert_eq!(notes.begun, ["a", "ab", "abb"]);
        }
    }

    #[test]
    fn a_clone_that_stops_early_waits_for_its_maker() {
        let mut tracees = Tracees { known: BTreeMap::from([(4, "a".to_string())]), ..Tracees::default() };
        let mut notes = Notes { next: Some(Next::Killed), ..Notes::default() };
        let stop = Stop::Signal(libc::SIGSTOP);
        tracees.handle(5, stop, &mut notes).expect("handled");
        assert_eq!((notes.stops.as_slice(), tracees.pids().collect::<Vec<_>>()), (&[][..], vec![4]));
        tracees.handle(4, Stop::Clone(5), &mut notes).expect("handled");
        assert_eq!(notes.stops, [(5, stop), (4, Stop::Clone(5))]);
        assert_eq!(tracees.pids().collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_clone_that_ends_before_its_maker_tells_of_it_is_traced_no_longer() {
        let end = Stop::End(ExitStatus::default());
        let mut tracees = Tracees { known: BTreeMap::from([(4, "a".to_string())]), ..Tracees::default() };
        let mut notes = Notes { next: Some(Next::Killed), ..Notes::default() };
        for (pid, stop) in [(6, end), (5, Stop::Signal(libc::SIGSTOP)), (5, end), (4, Stop::Clone(5))] {
            tracees.handle(pid, stop, &mut notes).expect("handled");
        }
        assert_eq!((tracees.pids().collect::<Vec<_>>(), tracees.early.len()), (vec![4], 0));
    }
}
