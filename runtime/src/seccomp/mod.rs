//! The seccomp compiler: an OCI profile (config-linux.md, `seccomp`) becomes a classic BPF program
//! (seccomp(2)). Pure functions, except for asking the kernel which flags it knows.
//!
//! May use `validate` and every room below it.

mod bpf;
mod names;
mod rule;
mod table;
#[cfg(test)]
mod tests;

use linux_raw_sys::errno::{ENOSYS, EPERM};
use linux_raw_sys::ptrace as uapi;

use crate::error::{Context, Error, Result};
use crate::oci::spec::json::{List, Text};
use crate::oci::spec::linux::{Seccomp, Syscall};
use bpf::{Range, Verdict, assemble};
pub(crate) use names::ARCHITECTURES;
use names::{ABIS, Abi};
use rule::{Applies, Branch};
use table::{Tables, push};

/// A compiled profile, as seccomp(2) with `SECCOMP_SET_MODE_FILTER` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// An array of `struct sock_filter` in the machine's byte order; at most 4096 of 8 bytes each.
    pub instructions: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// The profile uses `SCMP_ACT_NOTIFY`: `flags` has `SECCOMP_FILTER_FLAG_NEW_LISTENER`, and the listener's
    /// descriptor has to go to `listenerPath`.
    pub listener: bool,
}

/// The flags of a filter that has a listener.
pub const LISTENER_FLAGS: u32 =
    uapi::SECCOMP_FILTER_FLAG_NEW_LISTENER | uapi::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// One element of `syscalls`: the action, and when it applies with 64-bit and with 32-bit arguments.
struct Entry {
    action: u32,
    wide: Applies,
    narrow: Applies,
}

/// The actions by their names in a profile. Those that take an `errnoRet` have it in their lower half.
const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_KILL", uapi::SECCOMP_RET_KILL_THREAD),
    ("SCMP_ACT_KILL_THREAD", uapi::SECCOMP_RET_KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", uapi::SECCOMP_RET_KILL_PROCESS),
    ("SCMP_ACT_TRAP", uapi::SECCOMP_RET_TRAP),
    ("SCMP_ACT_ERRNO", uapi::SECCOMP_RET_ERRNO),
    ("SCMP_ACT_TRACE", uapi::SECCOMP_RET_TRACE),
    ("SCMP_ACT_ALLOW", uapi::SECCOMP_RET_ALLOW),
    ("SCMP_ACT_LOG", uapi::SECCOMP_RET_LOG),
    ("SCMP_ACT_NOTIFY", uapi::SECCOMP_RET_USER_NOTIF),
];

/// The comparisons by their names in a profile.
pub(crate) const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// The flags by their names in a profile.
pub(crate) const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", uapi::SECCOMP_FILTER_FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_LOG", uapi::SECCOMP_FILTER_FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", uapi::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", uapi::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
];

/// The actions' names.
pub(crate) fn action_names() -> impl Iterator<Item = &'static str> {
    ACTIONS.into_iter().map(|(name, _)| name)
}

/// Whether the running kernel knows a flag.
pub(crate) fn kernel_knows_flag(flag: u32) -> bool {
    // This flag is refused without a listener.
    let wait = uapi::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    crate::sys::knows_seccomp_flags(if flag == wait {
        flag | uapi::SECCOMP_FILTER_FLAG_NEW_LISTENER
    } else {
        flag
    })
}

/// Whether this machine, or a 32-bit ABI that it can run, has a system call of this name.
pub fn knows(name: &str) -> bool {
    names::numbers(name).is_some()
}

/// Compiles a profile. System calls and architectures that this machine does not have are skipped.
///
/// A profile means here what runc and crun take it to mean, by way of libseccomp:
///
/// - **Architectures.** The machine's own is always included. A call from one that is not included kills the
///   process; so does an x32 call if only x86_64 is included.
/// - **Which rule decides.** Rules with the default action are skipped. If a rule has no conditions, the
///   first such rule decides alone, wherever it stands. Otherwise the first rule whose conditions are all met
///   decides, in libseccomp's order, which does not depend on the profile's order: the conditions of each
///   rule are sorted by argument, and the lists are compared element by element. The higher argument comes
///   first; for the same argument, equality (`EQ`, `NE`, `MASKED_EQ`) by descending value, then `LT` and `LE`
///   by ascending value, then `GT` and `GE` by descending value. A list that is the beginning of another
///   comes before it. The same conditions with two actions are an error.
/// - **Conditions** are ANDed, but if an argument occurs twice in a rule, each condition is an alternative.
///   In ABIs with 32-bit arguments (x86, x32, arm) only the lower halves of argument and value are compared.
/// - **Multiplexed calls** (socketcall and ipc on 32-bit x86) get the rules of the calls that they multiplex.
///   The arguments of those can't be seen: if they decide, the strictest of the possible actions is taken.
/// - **Calls newer than the profile.** If the default action denies (`ERRNO`, `TRAP`, `KILL…`), calls with
///   higher numbers than any that the profile names for the ABI get `ENOSYS`. The profile's author can't have
///   known them, and on `ENOSYS`, unlike `EPERM`, the C library falls back to older calls. runc does the
///   same. ABIs for which the profile names no call are left alone.
///
/// # Errors
/// The profile has something that the specification does not define, contradictory rules, or more rules than
/// fit into a program that the kernel accepts.
pub fn compile(profile: &Seccomp<'_>) -> Result<Program> {
    compile_profile(profile).context(|| "linux.seccomp")
}

// Not inlined: its tables would take stack even for containers without a profile.
#[inline(never)]
fn compile_profile(profile: &Seccomp<'_>) -> Result<Program> {
    let Seccomp {
        default_action,
        default_errno_ret,
        architectures,
        flags,
        listener_path,
        listener_metadata,
        syscalls,
    } = profile;
    let default = parse_action(default_action, *default_errno_ret, ["defaultAction", "defaultErrnoRet"])?;
    let included = parse_architectures(architectures)?;
    let mut entries = Vec::with_capacity(syscalls.len());
    for (index, syscall) in syscalls.iter().enumerate() {
        entries.push(parse_syscall(syscall).context(|| format!("syscalls[{index}]"))?);
    }
    let notifies = |action: u32| action == uapi::SECCOMP_RET_USER_NOTIF;
    let listener = notifies(default) || entries.iter().any(|entry| notifies(entry.action));
    check_listener(listener, listener_path, listener_metadata)?;
    let flags = parse_flags(flags, listener)?;

    let mut tables = Tables::new(&entries, default);
    for (index, Syscall { names, action: _, errno_ret: _, args: _ }) in syscalls.iter().enumerate() {
        names.iter().for_each(|name| tables.add(name, index));
    }
    tables.multiplex();
    let mut checks = Vec::new();
    let programs = ranges_by_architecture(&tables, included, default, &mut checks)?;
    let instructions = assemble(&programs, &checks, default, uapi::SECCOMP_RET_KILL_PROCESS)?;
    Ok(Program { instructions, flags, listener })
}

/// ABIs with the same `AUDIT_ARCH_*` share one range of numbers, one ABI above the other.
fn ranges_by_architecture(
    tables: &Tables<'_>,
    included: [bool; ABIS.len()],
    default: u32,
    checks: &mut Vec<Vec<Branch>>,
) -> Result<Vec<(u32, Vec<Range>)>> {
    let denies = !matches!(
        default & uapi::SECCOMP_RET_ACTION_FULL,
        uapi::SECCOMP_RET_ALLOW
            | uapi::SECCOMP_RET_LOG
            | uapi::SECCOMP_RET_TRACE
            | uapi::SECCOMP_RET_USER_NOTIF
    );
    let newer = if denies { uapi::SECCOMP_RET_ERRNO | ENOSYS } else { default };
    let mut architectures: Vec<(u32, Vec<Range>)> = Vec::with_capacity(ABIS.len());
    for (column, Abi { audit, first, .. }) in ABIS.iter().enumerate() {
        let known = architectures.iter().position(|(of, _)| of == audit);
        match (included[column], known) {
            (true, Some(index)) => tables.ranges(column, newer, checks, &mut architectures[index].1)?,
            (true, None) => {
                let mut ranges = Vec::with_capacity(256);
                tables.ranges(column, newer, checks, &mut ranges)?;
                architectures.push((*audit, ranges));
            }
            (false, Some(index)) => {
                let ranges = &mut architectures[index].1;
                push(ranges, *first, Verdict::Action(uapi::SECCOMP_RET_KILL_PROCESS));
                // A tracer skips a call by setting its number to -1, which is not a call of the other ABI.
                push(ranges, u32::MAX, Verdict::Action(default));
            }
            (false, None) => {}
        }
    }
    Ok(architectures)
}

fn parse_syscall(syscall: &Syscall<'_>) -> Result<Entry> {
    let Syscall { names, action: action_name, errno_ret, args } = syscall;
    let action = parse_action(action_name, *errno_ret, ["action", "errnoRet"])?;
    if names.iter().any(|name| name.is_empty()) {
        return Err(Error::new("names: a system call without a name"));
    }
    let wide = Applies::parse(args, u64::MAX)?;
    let narrow = Applies::parse(args, u64::from(u32::MAX))?;
    Ok(Entry { action, wide, narrow })
}

/// `fields` are the names of the two fields, for errors.
fn parse_action(name: &str, errno_ret: Option<u32>, fields: [&str; 2]) -> Result<u32> {
    let [action_field, errno_field] = fields;
    let Some((_, action)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
        let known = ACTIONS.map(|(known, _)| known).join(", ");
        return Err(Error::formatted(format_args!("{action_field}: {name:?}: must be one of {known}")));
    };
    let limit = match *action {
        // The kernel's MAX_ERRNO; it would reduce higher values to that.
        uapi::SECCOMP_RET_ERRNO => 4095,
        uapi::SECCOMP_RET_TRACE => uapi::SECCOMP_RET_DATA,
        _ if errno_ret.is_none() => return Ok(*action),
        _ => {
            return Err(Error::formatted(format_args!(
                "{errno_field}: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have one, not {name}"
            )));
        }
    };
    match errno_ret.unwrap_or(EPERM) {
        errno if errno <= limit => Ok(action | errno),
        errno => Err(Error::formatted(format_args!("{errno_field}: {errno}: {name} takes 0 to {limit}"))),
    }
}

/// Which of this machine's ABIs the profile includes.
fn parse_architectures(architectures: &List<Text<'_>>) -> Result<[bool; ABIS.len()]> {
    for (index, name) in architectures.iter().enumerate() {
        let name = &**name;
        if !ARCHITECTURES.contains(&name) {
            let own = ABIS[0].architecture;
            return Err(Error::formatted(format_args!(
                "architectures[{index}]: {name:?}: no architecture; this one's is {own}"
            )));
        }
    }
    let native = ABIS[0].architecture;
    Ok(ABIS.map(|abi| {
        abi.architecture == native || architectures.iter().any(|name| **name == *abi.architecture)
    }))
}

/// The specification demands a path for the listener. A path without `SCMP_ACT_NOTIFY` has no effect, as in
/// runc.
fn check_listener(listener: bool, path: &Option<Text<'_>>, metadata: &Option<Text<'_>>) -> Result<()> {
    let given = |text: &Option<Text<'_>>| text.as_ref().is_some_and(|text| !text.is_empty());
    match () {
        _ if listener && !given(path) => {
            Err(Error::new("listenerPath: missing: SCMP_ACT_NOTIFY needs a socket for the listener"))
        }
        _ if given(metadata) && !given(path) => Err(Error::new("listenerMetadata: needs a listenerPath")),
        _ => Ok(()),
    }
}

fn parse_flags(flags: &Option<List<Text<'_>>>, listener: bool) -> Result<u32> {
    let mut bits = if listener { uapi::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    let Some(flags) = flags else { return Ok(bits | uapi::SECCOMP_FILTER_FLAG_SPEC_ALLOW) };
    for (index, flag) in flags.iter().enumerate() {
        bits |= match &**flag {
            // Init has a single thread, and with a listener the kernel would refuse the flag.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => uapi::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => uapi::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" if !listener => {
                return Err(Error::formatted(format_args!(
                    "flags[{index}]: {flag}: only with SCMP_ACT_NOTIFY"
                )));
            }
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => uapi::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
            unknown => {
                return Err(Error::formatted(format_args!(
                    "flags[{index}]: {unknown:?}: must be SECCOMP_FILTER_FLAG_TSYNC, LOG, SPEC_ALLOW or \
                     WAIT_KILLABLE_RECV with that prefix"
                )));
            }
        };
    }
    Ok(bits)
}
