//! The system calls that a container may make where nothing else is said: the same as Docker's, so that what runs there runs here.

use serde_json::{Value, json};

use super::configuration::json as text;
use crate::container::capability::Capabilities;

/// Those of everybody, as a list of JSON: it is most of a configuration, and no string of it is needed here.
const ALLOWED: &str = include_str!("seccomp_allowed.json");

/// Those of holders of a capability.
const OF_CAPABILITY: &[(&str, &[&str])] = &[
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    (
        "CAP_SYS_PTRACE",
        &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"],
    ),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
];

/// Flags of clone(2) that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;

/// `AF_VSOCK`: it would reach the hypervisor past every network namespace.
const VSOCK: u64 = 40;

/// Personalities that change nothing that matters: PER_LINUX, PER_LINUX32, each with UNAME26, and a question.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The profile for these capabilities on a machine (`std::env::consts::ARCH`), as JSON.
pub fn profile(capabilities: &Capabilities, machine: &str) -> String {
    let mut rules = vec![
        // Since Linux 4.8 a filter sees what a tracer makes of a call.
        allow(&["process_vm_readv", "process_vm_writev", "ptrace"]),
        with_argument("socket", VSOCK, "SCMP_CMP_NE"),
    ];
    rules.extend(PERSONALITIES.map(|value| with_argument("personality", value, "SCMP_CMP_EQ")));
    let of_machine: &[&[&str]] = match machine {
        "x86_64" => &[&["arch_prctl"], &["modify_ldt"]],
        "aarch64" => &[&[
            "arm_fadvise64_64",
            "arm_sync_file_range",
            "sync_file_range2",
            "breakpoint",
            "cacheflush",
            "set_tls",
        ]],
        "riscv64" => &[&["riscv_flush_icache"]],
        _ => &[],
    };
    rules.extend(of_machine.iter().map(|names| allow(names)));
    if !capabilities.has("CAP_SYS_ADMIN") {
        rules.push(with_argument("clone", NAMESPACES, "SCMP_CMP_MASKED_EQ"));
        // Its flags are in memory, which a filter does not see: libraries fall back to clone.
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    }
    let of_capability = OF_CAPABILITY.iter().filter(|(name, _)| capabilities.has(name));
    rules.extend(of_capability.map(|(_, names)| allow(names)));
    let (architectures, rules) = (text(&architectures(machine)), text(&rules));
    let rules = &rules[1..];
    format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":{architectures},"syscalls":[{{"names":{ALLOWED},"action":"SCMP_ACT_ALLOW"}},{rules}}}"#
    )
}

fn allow(names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW"})
}

fn with_argument(name: &str, value: u64, operator: &str) -> Value {
    json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": value, "op": operator}]})
}

fn architectures(machine: &str) -> &'static [&'static str] {
    match machine {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        _ => &[],
    }
}
