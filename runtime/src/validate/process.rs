//! `process`, both in `config.json` and in the document that `exec --process` takes.

use std::fmt;

use super::number_list::parse_number_list;
use super::text::{check_absolute, check_name, check_names, check_optional, check_texts, reject};
use super::user::{ValidUser, validate_user};
use crate::error::{Result, Warning, WarningKind};
use crate::oci::capability::{self, CapabilitySets};
use crate::oci::rlimit;
use crate::oci::spec::Process;
use crate::oci::spec::json::{List, Text, latest_of_each, pick};
use crate::oci::spec::process::{Capabilities, ConsoleSize, CpuAffinity, IoPriority, Rlimit, Scheduler};

/// A process that keeps all rules of the specification.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)] // the fields are the specification's
pub struct ValidProcess<'a> {
    pub terminal: bool,
    /// Only with a terminal.
    pub console_size: Option<ConsoleSize>,
    pub user: ValidUser,
    /// At least one.
    pub args: List<Text<'a>>,
    /// Each name once, with the last of its values at the place of the first.
    pub env: List<Text<'a>>,
    pub cwd: Text<'a>,
    pub capabilities: Option<CapabilitySets>,
    pub rlimits: Vec<ValidRlimit>,
    pub no_new_privileges: bool,
    pub apparmor_profile: Option<Text<'a>>,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<Scheduler<'a>>,
    pub selinux_label: Option<Text<'a>>,
    pub io_priority: Option<IoPriority<'a>>,
    pub exec_cpu_affinity: Option<CpuAffinity<'a>>,
}

/// A resource limit: setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidRlimit {
    /// The kernel's number, `RLIMIT_*`.
    pub resource: u32,
    /// `u64::MAX` is unlimited.
    pub soft: u64,
    /// At least `soft`.
    pub hard: u64,
}

/// Checks a process; what is dubious but not wrong goes to `warnings`.
///
/// # Errors
/// The first broken rule; the text begins with the field.
pub fn validate_process<'a>(
    mut process: Process<'a>,
    warnings: &mut Vec<Warning>,
) -> Result<ValidProcess<'a>> {
    let Checked { user, capabilities, rlimits } = check_process(&mut process, warnings)?;
    let Process {
        terminal,
        console_size,
        user: _,
        args,
        command_line: _, // Windows
        env,
        cwd,
        capabilities: _,
        rlimits: _,
        no_new_privileges,
        apparmor_profile,
        oom_score_adj,
        scheduler,
        selinux_label,
        io_priority,
        exec_cpu_affinity,
    } = process;
    Ok(ValidProcess {
        terminal,
        console_size: console_size.filter(|_| terminal),
        user,
        args,
        env,
        cwd,
        capabilities,
        rlimits,
        no_new_privileges,
        apparmor_profile,
        oom_score_adj,
        scheduler,
        selinux_label,
        io_priority,
        exec_cpu_affinity,
    })
}

/// What a process has in another form once it is checked.
struct Checked {
    user: ValidUser,
    capabilities: Option<CapabilitySets>,
    rlimits: Vec<ValidRlimit>,
}

/// Checks in place. Empty strings become absent, and each environment variable remains once.
fn check_process(process: &mut Process<'_>, warnings: &mut Vec<Warning>) -> Result<Checked> {
    let Process {
        terminal: _,
        console_size: _,
        user,
        args,
        command_line: _,
        env,
        cwd,
        capabilities,
        rlimits,
        no_new_privileges: _,
        apparmor_profile,
        oom_score_adj,
        scheduler,
        selinux_label,
        io_priority,
        exec_cpu_affinity,
    } = process;
    let user = validate_user(user)?;
    check_texts(format_args!("process.args"), args)?;
    if args.is_empty() {
        reject!("process.args: missing: write at least the program to run");
    }
    validate_env(env)?;
    check_absolute(format_args!("process.cwd"), cwd)?;
    if let Some(adjustment) = oom_score_adj.filter(|adjustment| !(-1000..=1000).contains(adjustment)) {
        reject!("process.oomScoreAdj: {adjustment} is not a number from -1000 to 1000");
    }
    check_optional(format_args!("process.apparmorProfile"), apparmor_profile)?;
    check_optional(format_args!("process.selinuxLabel"), selinux_label)?;
    validate_scheduler(scheduler.as_ref(), warnings)?;
    validate_io_priority(io_priority.as_ref())?;
    validate_affinity(exec_cpu_affinity.as_mut())?;
    let rlimits = validate_rlimits(rlimits)?;
    let capabilities = capabilities.as_ref().map(|capabilities| capability_sets(capabilities, warnings));
    Ok(Checked { user, capabilities, rlimits })
}

/// For repeated names the last value counts, as in shells and in glibc's setenv(3).
fn validate_env(env: &mut List<Text<'_>>) -> Result<()> {
    check_texts(format_args!("process.env"), env)?;
    let mut names = Vec::with_capacity(env.len());
    for (index, entry) in env.iter().enumerate() {
        match entry.split_once('=') {
            Some((name, _)) if !name.is_empty() => names.push(name),
            _ => reject!("process.env[{index}]: {:?} is not of the form NAME=value", &**entry),
        }
    }
    if let Some(latest) = latest_of_each(&names) {
        env.0 = pick(std::mem::take(&mut env.0), &latest);
    }
    Ok(())
}

fn validate_rlimits(rlimits: &[Rlimit<'_>]) -> Result<Vec<ValidRlimit>> {
    let mut valid: Vec<ValidRlimit> = Vec::with_capacity(rlimits.len());
    for (index, &Rlimit { ref kind, soft, hard }) in rlimits.iter().enumerate() {
        let field = format_args!("process.rlimits[{index}]");
        let Some(resource) = rlimit::number(kind) else {
            reject!("{field}.type: {:?} is not a resource such as \"RLIMIT_NOFILE\"", &**kind);
        };
        if valid.iter().any(|earlier| earlier.resource == resource) {
            reject!("{field}.type: {:?} is there twice", &**kind);
        }
        if soft > hard {
            reject!("{field}.soft: {soft} is above the hard limit {hard}");
        }
        valid.push(ValidRlimit { resource, soft, hard });
    }
    Ok(valid)
}

/// Turns names into bits. Capabilities that the kernel would refuse to grant are left out with a warning,
/// because the specification demands that this does not fail.
fn capability_sets(capabilities: &Capabilities<'_>, warnings: &mut Vec<Warning>) -> CapabilitySets {
    let Capabilities { bounding, effective, inheritable, permitted, ambient } = capabilities;
    let mut set = |field: fmt::Arguments<'_>, names: &[Text<'_>], limit: u64, why: &str| {
        let mut set = 0;
        for (index, name) in names.iter().enumerate() {
            match capability::number(name) {
                Some(number) if limit >> number & 1 == 1 => set |= 1 << number,
                Some(_) => warnings.push(Warning::new(
                    WarningKind::RightsLeftOut,
                    format_args!(
                        "process.capabilities.{field}[{index}]: {name} is left out: it is not {why}"
                    ),
                )),
                None => warnings.push(Warning::new(
                    WarningKind::RightsLeftOut,
                    format_args!(
                        "process.capabilities.{field}[{index}]: {:?} is left out: it is not known",
                        &**name
                    ),
                )),
            }
        }
        set
    };
    // capabilities(7), "Programmatically adjusting capability sets".
    let bounding = set(format_args!("bounding"), bounding, u64::MAX, "");
    let permitted = set(format_args!("permitted"), permitted, u64::MAX, "");
    let inheritable = set(format_args!("inheritable"), inheritable, bounding, "in bounding");
    let effective = set(format_args!("effective"), effective, permitted, "in permitted");
    let ambient =
        set(format_args!("ambient"), ambient, permitted & inheritable, "in permitted and inheritable");
    CapabilitySets { bounding, effective, inheritable, permitted, ambient }
}

/// sched_setattr(2), sched(7).
fn validate_scheduler(scheduler: Option<&Scheduler<'_>>, warnings: &mut Vec<Warning>) -> Result<()> {
    let Some(Scheduler { policy, nice, priority, flags, runtime, deadline, period }) = scheduler else {
        return Ok(());
    };
    let field = "process.scheduler";
    let known = ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_IDLE", "SCHED_DEADLINE"];
    check_name(format_args!("{field}.policy"), policy, &known)?;
    let (nice, priority) = (nice.unwrap_or(0), priority.unwrap_or(0));
    match &**policy {
        "SCHED_OTHER" | "SCHED_BATCH" if !(-20..=19).contains(&nice) => {
            reject!("{field}.nice: {nice} is not a number from -20 to 19");
        }
        "SCHED_OTHER" | "SCHED_BATCH" => {}
        // The kernel ignores the value, and other runtimes accept it.
        _ if nice != 0 => warnings.push(Warning::new(
            WarningKind::Ignored,
            format_args!(
                "{field}.nice: {nice} has no effect: it is for SCHED_OTHER and SCHED_BATCH, not for {policy}"
            ),
        )),
        _ => {}
    }
    match &**policy {
        "SCHED_FIFO" | "SCHED_RR" if !(1..=99).contains(&priority) => {
            reject!("{field}.priority: {priority} is not a number from 1 to 99, as {policy} needs it");
        }
        "SCHED_FIFO" | "SCHED_RR" => {}
        _ if priority != 0 => reject!("{field}.priority: is for SCHED_FIFO and SCHED_RR, not for {policy}"),
        _ => {}
    }
    let times = [("runtime", runtime), ("deadline", deadline), ("period", period)];
    if &**policy != "SCHED_DEADLINE" {
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_some_and(|time| time != 0)) {
            reject!("{field}.{name}: is for SCHED_DEADLINE, not for {policy}");
        }
    } else {
        validate_deadline(times.map(|(_, time)| *time))?;
    }
    let known = [
        "SCHED_FLAG_RESET_ON_FORK",
        "SCHED_FLAG_RECLAIM",
        "SCHED_FLAG_DL_OVERRUN",
        "SCHED_FLAG_KEEP_POLICY",
        "SCHED_FLAG_KEEP_PARAMS",
        "SCHED_FLAG_UTIL_CLAMP_MIN",
        "SCHED_FLAG_UTIL_CLAMP_MAX",
    ];
    check_names(format_args!("{field}.flags"), flags, &known)
}

/// Explains what the kernel would refuse with a mere EINVAL: __checkparam_dl in kernel/sched/deadline.c.
fn validate_deadline(times: [Option<u64>; 3]) -> Result<()> {
    const POLICY: &str = "process.scheduler: sched_setattr: `SCHED_DEADLINE`";
    // The kernel counts in units of 1024 ns, and reserves the highest bit.
    const LEAST: u64 = 1 << 10;
    const MOST: u64 = i64::MAX as u64;
    let [runtime, deadline, period] = times;
    let Some(runtime) = runtime else { reject!("{POLICY} requires `runtime`, in nanoseconds") };
    let Some(deadline) = deadline else { reject!("{POLICY} requires `deadline`, in nanoseconds") };
    if runtime == 0 {
        reject!("{POLICY} runtime must be greater than 0");
    }
    if !(LEAST..=MOST).contains(&runtime) {
        reject!("{POLICY} runtime {runtime} must be between {LEAST} and {MOST} nanoseconds");
    }
    if runtime > deadline {
        reject!("{POLICY} runtime {runtime} must be <= deadline {deadline}");
    }
    match period {
        // A period of 0 means the deadline.
        Some(period @ 1..) if deadline > period => {
            reject!("{POLICY} deadline {deadline} must be <= period {period}");
        }
        _ => Ok(()),
    }
}

fn validate_io_priority(io_priority: Option<&IoPriority<'_>>) -> Result<()> {
    let Some(IoPriority { class, priority }) = io_priority else { return Ok(()) };
    let known = ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];
    check_name(format_args!("process.ioPriority.class"), class, &known)?;
    match priority {
        Some(0..=7) => Ok(()),
        Some(priority) => reject!("process.ioPriority.priority: {priority} is not a number from 0 to 7"),
        // This class has no levels (ioprio_set(2)), so callers leave the number out.
        None if &**class == "IOPRIO_CLASS_IDLE" => Ok(()),
        None => reject!("process.ioPriority.priority: missing"),
    }
}

fn validate_affinity(affinity: Option<&mut CpuAffinity<'_>>) -> Result<()> {
    let Some(CpuAffinity { initial, r#final }) = affinity else { return Ok(()) };
    for (name, list) in [("initial", initial), ("final", r#final)] {
        let field = format_args!("process.execCPUAffinity.{name}");
        check_optional(field, list)?;
        if let Some(list) = list.as_deref()
            && parse_number_list(list).is_none()
        {
            reject!("{field}: {list:?} is not a list of CPUs such as \"0-3,7\"");
        }
    }
    Ok(())
}
