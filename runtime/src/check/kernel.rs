//! The kernel: its version, system calls, seccomp, device filters, memfd.

use linux_raw_sys::ptrace as uapi;
use rustix::io::Errno;

use super::Availability::{No, Partly};
use super::{Finding, User, read, word};
use crate::resources::compile_devices;
use crate::spawn::{InMemory, try_in_memory};
use crate::sys;

/// mount_setattr: the newest call without a substitute.
const OLDEST: (u32, u32) = (5, 12);
/// cgroup.kill: the newest feature that pillbox is made for.
const COMPLETE: (u32, u32) = (5, 14);

pub fn look(user: User, findings: &mut Vec<Finding>) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    findings.push(judge_release(&release));
    findings.push(system_calls());
    findings.push(seccomp());
    findings.push(device_filters(user));
    findings.push(executable_memory());
}

fn judge_release(release: &str) -> Finding {
    let finding = Finding::yes("kernel", format!("Linux {release}"));
    let upgrade = "Boot a newer kernel: Linux 5.14 has all that is required, 6.1 or later is recommended.";
    match parse_release(release) {
        Some(version) if version < OLDEST => {
            finding.missing(No, "System calls are missing without which no container can be made.", upgrade)
        }
        Some(version) if version < COMPLETE => {
            finding.missing(Partly, "Killing a container takes a signal to each of its processes.", upgrade)
        }
        _ => finding,
    }
}

/// Major and minor version of a release such as `6.12.5-amd64`.
pub(super) fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn system_calls() -> Finding {
    let mut missing = Vec::new();
    for (name, call, since) in sys::PROBEABLE {
        match sys::refusal(call) {
            Errno::NOSYS => missing.push(format!("{name} (Linux {since})")),
            // The mount calls check the caller's rights first, which the findings about mounts cover. No
            // other call has a reason to refuse.
            Errno::PERM if !matches!(name, "fsopen" | "move_mount" | "open_tree") => {
                missing.push(format!("{name} (forbidden)"));
            }
            _ => {}
        }
    }
    if missing.is_empty() {
        let names: Vec<_> = sys::PROBEABLE.iter().map(|(name, ..)| *name).collect();
        return Finding::yes("system calls", names.join(", ")).required();
    }
    Finding::yes("system calls", format!("missing: {}", missing.join(", ")))
        .missing(
            No,
            "Containers cannot be made without them.",
            "Boot a newer kernel, or let the sandbox around this shell (its seccomp profile) pass them on.",
        )
        .required()
}

const ACTIONS: [(&str, u32); 8] = [
    ("KILL_PROCESS", uapi::SECCOMP_RET_KILL_PROCESS),
    ("KILL_THREAD", uapi::SECCOMP_RET_KILL_THREAD),
    ("TRAP", uapi::SECCOMP_RET_TRAP),
    ("ERRNO", uapi::SECCOMP_RET_ERRNO),
    ("NOTIFY", uapi::SECCOMP_RET_USER_NOTIF),
    ("TRACE", uapi::SECCOMP_RET_TRACE),
    ("LOG", uapi::SECCOMP_RET_LOG),
    ("ALLOW", uapi::SECCOMP_RET_ALLOW),
];

fn seccomp() -> Finding {
    let (has, missing): (Vec<_>, Vec<_>) =
        ACTIONS.into_iter().partition(|(_, action)| sys::seccomp_action_available(*action).is_ok());
    let names = |list: &[(&str, u32)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return Finding::yes("seccomp", names(&has));
    }
    let finding = Finding::yes("seccomp", format!("missing: {}", names(&missing)));
    if has.is_empty() {
        return finding.missing(
            No,
            "A configuration with linux.seccomp cannot run.",
            "Use a kernel with CONFIG_SECCOMP_FILTER, or leave linux.seccomp out.",
        );
    }
    finding.missing(
        Partly,
        "A profile that uses these actions cannot run.",
        "Boot a newer kernel (Linux 5.0 has all).",
    )
}

fn device_filters(user: User) -> Finding {
    const WHAT: &str = "device filters";
    // An empty list denies everything, which takes a program like any other list.
    let loaded = match compile_devices(&[]) {
        Ok(Some(program)) => sys::load_device_program(program.instructions()),
        _ => Err(Errno::INVAL),
    };
    match loaded {
        Ok(_) => Finding::yes(WHAT, "eBPF programs of type cgroup_device load"),
        Err(errno) if !user.privileged => Finding::yes(WHAT, format!("bpf: {}", word(errno))).missing(
            No,
            "linux.resources.devices has no effect, which is safe: an ordinary user cannot make device nodes.",
            "Run as root if devices must be filtered.",
        ),
        Err(errno) => Finding::yes(WHAT, format!("bpf: {}", word(errno))).missing(
            No,
            "A container with a cgroup cannot have its devices filtered, and its creation fails.",
            "Use a kernel with CONFIG_CGROUP_BPF and grant CAP_BPF, or run with --cgroup-manager=disabled.",
        ),
    }
}

/// Init is executed like this: as a file in memory.
fn executable_memory() -> Finding {
    let policy = read("/proc/sys/vm/memfd_noexec");
    let policy =
        policy.map_or("no vm.memfd_noexec".to_string(), |policy| format!("vm.memfd_noexec is {policy}"));
    let finding = |detail| Finding::yes("executable memory", detail).required();
    match try_in_memory() {
        InMemory::Memfd => finding(format!("memfd: {policy}")),
        InMemory::Tmpfs(refused) => finding(format!(
            "a private tmpfs, since there is no such memfd ({}; {policy})",
            word(refused)
        )),
        InMemory::No(refused) => finding(format!("memfd: {} ({policy})", word(refused))).missing(
            No,
            "Init cannot be started: it is executed from memory.",
            "Set it to 0 or 1: sysctl vm.memfd_noexec=1; or let the sandbox around this shell pass memfd_create on, or user namespaces.",
        ),
    }
}
