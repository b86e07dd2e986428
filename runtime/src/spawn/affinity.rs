//! CPU affinity: `process.execCPUAffinity`, for processes that enter an existing container.

use pillbox_init::sys::{Processors, affinity, set_affinity, use_every_processor};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Context, Error, Result};
use crate::sys::{hold_here, lift_restriction, several_processors};
use crate::validate::number_list::parse_number_list;

/// Restricts the calling thread to a list of CPUs (`0-3,7`) until it is dropped. Children inherit the
/// restriction.
pub struct Held {
    before: Processors,
}

impl Held {
    /// Restricts the thread until the value is dropped.
    ///
    /// # Errors
    /// The list has a CPU number that no kernel supports, or no CPU that the thread may use.
    pub fn to(list: &str) -> Result<Held> {
        const FIELD: &str = "process.execCPUAffinity.initial";
        let set = parse(FIELD, list)?;
        let before = affinity(None).context(|| FIELD)?;
        restrict(FIELD, list, None, &set)?;
        Ok(Held { before })
    }
}

/// Holds a thread to the processor on which it runs, and its clones, until they lift the restriction. This is
/// for processes that take turns: waking one that sleeps on another processor takes longer than its turn.
///
/// Only a thread that may use every processor of its cgroup is held; afterwards it may use all of them again.
pub struct HeldHere(());

impl HeldHere {
    /// Holds the calling thread until the value is dropped; `None` if the thread is restricted already, or
    /// there is only one processor.
    pub fn begin() -> Option<HeldHere> {
        let allowed = several_processors()?;
        if !lift_restriction(&allowed) {
            let _ = set_affinity(None, &allowed);
            return None;
        }
        hold_here(None);
        Some(HeldHere(()))
    }
}

impl Drop for HeldHere {
    fn drop(&mut self) {
        let _ = use_every_processor();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // These CPUs were allowed a moment ago. If some have been taken away since, the kernel uses the rest.
        let _ = set_affinity(None, &self.before);
    }
}

/// Restricts a process that is in its cgroup already.
///
/// # Errors
/// As for [`Held::to`].
pub fn restrict_process(pid: Pid, list: &str) -> Result<()> {
    const FIELD: &str = "process.execCPUAffinity.final";
    restrict(FIELD, list, Some(pid), &parse(FIELD, list)?)
}

fn restrict(field: &str, list: &str, pid: Option<Pid>, set: &Processors) -> Result<()> {
    match set_affinity(pid, set) {
        Err(Errno::INVAL) => {
            Err(Error::formatted(format_args!("{field}: {list:?}: the process may use none of these CPUs")))
        }
        result => result.context(|| format!("{field}: {list:?}")),
    }
}

/// Validation has refused texts that are not a list or have a number that no kernel supports.
fn parse(field: &str, list: &str) -> Result<Processors> {
    let ranges = parse_number_list(list)
        .ok_or_else(|| Error::formatted(format_args!("{field}: {list:?} is not a list of CPUs")))?;
    let mut set = Processors::none();
    ranges.into_iter().flatten().for_each(|cpu| set.add(cpu as usize));
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_sets() {
        let set = parse("field", "0-1,5,8191").unwrap();
        let cpus: Vec<_> = (0..Processors::COUNT).filter(|cpu| set.has(*cpu)).collect();
        assert_eq!(cpus, [0, 1, 5, 8191]);
        assert!(parse("field", "8192").is_err());
    }

    #[test]
    fn a_thread_is_held_and_let_go() {
        let before = affinity(None).unwrap();
        let first = (0..Processors::COUNT).find(|cpu| before.has(*cpu)).unwrap();
        let held = Held::to(&first.to_string()).unwrap();
        assert_eq!(affinity(None).unwrap().count(), 1);
        drop(held);
        assert_eq!(affinity(None).unwrap().count(), before.count());
    }

    #[test]
    fn only_a_free_thread_is_held_here() {
        let before = affinity(None).unwrap();
        if before.count() == 1 {
            assert!(HeldHere::begin().is_none());
            return;
        }
        let here = HeldHere::begin().unwrap();
        assert_eq!(affinity(None).unwrap().count(), 1);
        drop(here);
        assert_eq!(affinity(None).unwrap(), before);

        let first = (0..Processors::COUNT).find(|cpu| before.has(*cpu)).unwrap();
        let held = Held::to(&first.to_string()).unwrap();
        assert!(HeldHere::begin().is_none());
        assert_eq!(affinity(None).unwrap().count(), 1);
        drop(held);
    }
}
