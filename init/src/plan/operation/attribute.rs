//! Attributes of the process that execve(2) leaves alone.

use core::ffi::CStr;

use rustix::fs::Mode;

use super::{Fields, operation};
use crate::plan::{IoClass, SecurityModule};
use crate::wire::{Reader, Sink, Value, Wire};

operation! {
    /// sched_setaffinity(2): every processor of the cgroup. What the caller is held to means the caller.
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
        /// What is in force.
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
        /// SCHED_DEADLINE: how long it runs in each period.
        runtime: u64,
        /// By when.
        deadline: u64,
        /// The period.
        period: u64,
    }
    /// ioprio_set(2).
    SetIoPriority {
        /// Which class.
        class: IoClass,
        /// From 0, first, to 7.
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
        /// A bit set, of whole words of the kernel's.
        nodes: &'a [u8],
    }
    /// Writes the security module's exec attribute of init, which execve(2) heeds; read back and compared.
    SetExecLabel<'a> {
        /// Whose label it is.
        module: SecurityModule,
        /// The label.
        label: &'a CStr,
    }
}
