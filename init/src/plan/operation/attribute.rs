//! Attributes of the process that survive execve(2), or that it applies.

use core::ffi::CStr;

use rustix::fs::Mode;

use super::{Fields, operation};
use crate::plan::{IoClass, SecurityModule};
use crate::wire::{Reader, Sink, Value, Wire};

operation! {
    /// sched_setaffinity(2): every processor of the cgroup. The caller's affinity is not the container's.
    UseEveryProcessor {}
    /// umask(2).
    SetUmask {
        /// The mask.
        mask: Mode,
    }
    /// prlimit(2); `u64::MAX` is unlimited.
    SetRlimit {
        /// The kernel's RLIMIT_* number.
        resource: u32,
        /// The limit that is in force.
        soft: u64,
        /// What the soft limit may be raised to.
        hard: u64,
    }
    /// sched_setattr(2); times in nanoseconds.
    SetScheduler {
        /// The kernel's SCHED_* number.
        policy: u32,
        /// SCHED_FLAG_* bits.
        flags: u64,
        /// The nice value, of SCHED_OTHER and SCHED_BATCH.
        nice: i32,
        /// The static priority, of SCHED_FIFO and SCHED_RR.
        priority: u32,
        /// SCHED_DEADLINE: the running time in each period.
        runtime: u64,
        /// The time by which it is over, from the start of the period.
        deadline: u64,
        /// The period.
        period: u64,
    }
    /// ioprio_set(2).
    SetIoPriority {
        /// The class.
        class: IoClass,
        /// From 0 (first) to 7 (last).
        level: u32,
    }
    /// personality(2).
    SetPersonality {
        /// The kernel's PER_* number.
        domain: u32,
    }
    /// set_mempolicy(2).
    SetMemoryPolicy<'a> {
        /// The kernel's MPOL_* number and flags.
        mode: u32,
        /// A bit set of nodes, in whole `unsigned long`s of the kernel's.
        nodes: &'a [u8],
    }
    /// Writes init's exec attribute of a security module, which execve(2) applies; it is read back and
    /// compared.
    SetExecLabel<'a> {
        /// The module that the label is for.
        module: SecurityModule,
        /// The label.
        label: &'a CStr,
    }
}
