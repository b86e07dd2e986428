//! Attributes of the process that survive execve(2), or that it applies: scheduling, execution domain, memory
//! policy, labels.

use pillbox_init::plan::operation::{
    SetExecLabel, SetIoPriority, SetMemoryPolicy, SetPersonality, SetScheduler,
};
use pillbox_init::plan::{IoClass, SecurityModule};

use super::{Builder, c_string};
use crate::error::{Error, Result, Warning, WarningKind};
use crate::oci::spec::json::Text;
use crate::oci::spec::linux::{MemoryPolicy, Personality, TimeOffset};
use crate::oci::spec::process::{IoPriority, Scheduler};
use crate::validate::ValidSpec;
use crate::validate::number_list::parse_number_list;

/// The scheduling policies of linux/sched.h.
pub const POLICIES: [(&str, u32); 6] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// The bits of `sched_attr.sched_flags`, sched_setattr(2).
const SCHEDULER_FLAGS: [(&str, u32); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

const IO_CLASSES: [(&str, IoClass); 3] = [
    ("IOPRIO_CLASS_RT", IoClass::Realtime),
    ("IOPRIO_CLASS_BE", IoClass::BestEffort),
    ("IOPRIO_CLASS_IDLE", IoClass::Idle),
];

/// The modes of linux/mempolicy.h.
pub const MEMORY_MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Flags that set_mempolicy(2) takes together with the mode.
pub const MEMORY_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// Execution domains, personality(2).
pub const DOMAINS: [(&str, u32); 2] = [("LINUX", 0), ("LINUX32", 8)];

/// The value of a name; validation has refused unknown names.
fn value<T: Copy>(field: &str, name: &str, known: &[(&str, T)]) -> Result<T> {
    let found = known.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| Error::formatted(format_args!("{field}: {name:?} is not known")))
}

fn bits(field: &str, names: &[Text<'_>], known: &[(&str, u32)]) -> Result<u32> {
    names.iter().try_fold(0, |bits, name| Ok(bits | value(field, name, known)?))
}

/// Appends what comes between no_new_privs and the seccomp filter.
pub(super) fn compile(builder: &mut Builder<'_>, spec: &ValidSpec<'_>) -> Result<()> {
    if let Some(scheduler) = &spec.process.scheduler {
        compile_scheduler(builder, scheduler)?;
    }
    if let Some(IoPriority { class, priority }) = &spec.process.io_priority {
        let class = value("process.ioPriority.class", class, &IO_CLASSES)?;
        builder.push(SetIoPriority { class, level: priority.unwrap_or_default().unsigned_abs() });
    }
    if let Some(Personality { domain, flags: _ }) = &spec.personality {
        let domain = value("linux.personality.domain", domain, &DOMAINS)?;
        builder.push(SetPersonality { domain });
    }
    if let Some(policy) = &spec.memory_policy {
        compile_memory_policy(builder, policy)?;
    }
    compile_label(
        builder,
        SecurityModule::SeLinux,
        "process.selinuxLabel",
        spec.process.selinux_label.as_deref(),
    )
}

/// Appends AppArmor's profile, which has to come while /proc is still writable.
pub(super) fn compile_apparmor(builder: &mut Builder<'_>, spec: &ValidSpec<'_>) -> Result<()> {
    let profile = spec.process.apparmor_profile.as_deref();
    compile_label(builder, SecurityModule::AppArmor, "process.apparmorProfile", profile)
}

fn compile_label(
    builder: &mut Builder<'_>,
    module: SecurityModule,
    field: &str,
    label: Option<&str>,
) -> Result<()> {
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(()) };
    match module {
        // Without the module everything is unconfined.
        SecurityModule::AppArmor if builder.host.apparmor_missing && label == "unconfined" => {}
        SecurityModule::AppArmor if builder.host.apparmor_missing => {
            without_module(builder, field, label, "AppArmor: the container runs without the profile");
        }
        SecurityModule::SeLinux if builder.host.selinux_missing => {
            without_module(builder, field, label, "SELinux: the container runs without the label");
        }
        _ => builder.push(SetExecLabel { module, label: &c_string(field, label)? }),
    }
    Ok(())
}

/// Warns that a label has no effect because the kernel does not have the module.
pub(super) fn without_module(builder: &mut Builder<'_>, field: &str, label: &str, consequence: &str) {
    let text = format_args!("{field}: {label:?}: this kernel has no {consequence}");
    builder.warnings.push(Warning::new(WarningKind::LessConfined, text));
}

fn compile_scheduler(builder: &mut Builder<'_>, scheduler: &Scheduler<'_>) -> Result<()> {
    let Scheduler { policy, nice, priority, flags, runtime, deadline, period } = scheduler;
    builder.push(SetScheduler {
        policy: value("process.scheduler.policy", policy, &POLICIES)?,
        flags: u64::from(bits("process.scheduler.flags", flags, &SCHEDULER_FLAGS)?),
        nice: nice.unwrap_or(0),
        priority: priority.unwrap_or(0).unsigned_abs(),
        runtime: runtime.unwrap_or(0),
        deadline: deadline.unwrap_or(0),
        period: period.unwrap_or(0),
    });
    Ok(())
}

fn compile_memory_policy(builder: &mut Builder<'_>, policy: &MemoryPolicy<'_>) -> Result<()> {
    let MemoryPolicy { mode, nodes, flags } = policy;
    let flags = bits("linux.memoryPolicy.flags", flags, &MEMORY_FLAGS)?;
    let mode = value("linux.memoryPolicy.mode", mode, &MEMORY_MODES)? | flags;
    builder.push(SetMemoryPolicy { mode, nodes: &node_mask(nodes) });
    Ok(())
}

/// A list of nodes as the kernel's bit set, in units of eight bytes.
fn node_mask(list: &str) -> Vec<u8> {
    let mut words: Vec<u64> = Vec::new();
    for node in parse_number_list(list).unwrap_or_default().into_iter().flatten() {
        let word = node as usize / 64;
        words.resize(words.len().max(word + 1), 0);
        words[word] |= 1 << (node % 64);
    }
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The nodes of a bit set, for `explain`.
pub fn nodes_of(mask: &[u8]) -> Vec<usize> {
    let words = mask.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
    let nodes = |(index, word): (usize, u64)| {
        (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit)
    };
    words.enumerate().flat_map(nodes).collect()
}

/// The lines for /proc/PID/timens_offsets: time_namespaces(7).
pub(super) fn time_offsets(spec: &ValidSpec<'_>) -> String {
    let line = |(clock, TimeOffset { secs, nanosecs }): (&Text<'_>, &TimeOffset)| {
        format!("{} {secs} {nanosecs}\n", &**clock)
    };
    spec.time_offsets.iter().map(|(clock, offset)| line((clock, offset))).collect()
}

#[cfg(test)]
mod tests {
    use pillbox_init::plan::Operation;
    use pillbox_init::plan::operation::{
        self, Chroot, EnterTimeNamespace, JoinNamespace, SetNoNewPrivileges, Unshare, WriteSysctl,
        WriteTimeOffsets,
    };

    use super::super::tests::{intent, privileged_host, valid};
    use super::*;
    use crate::validate::NamespaceKind;

    const ALL: &str = r#"{
        "ociVersion": "1.3.0", "root": {"path": "rootfs"},
        "process": {
            "args": ["true"], "cwd": "/", "noNewPrivileges": true,
            "scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
            "apparmorProfile": "profile", "selinuxLabel": "u:r:t:s0"
        },
        "mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/a", "type": "tmpfs"},
            {"destination": "/b", "type": "tmpfs", "options": ["context=\"own\""]}
        ],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "time"}, {"type": "cgroup"}],
            "timeOffsets": {"monotonic": {"secs": -7, "nanosecs": 5}, "boottime": {"secs": 9}},
            "personality": {"domain": "LINUX32"}, "sysctl": {"net.ipv4.ip_forward": "1"},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1", "flags": ["MPOL_F_STATIC_NODES"]},
            "mountLabel": "u:r:t:s0:c1,c2",
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent", "listenerMetadata": "m",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
            }
        }
    }"#;

    #[test]
    fn everything_has_its_operation_in_the_order_that_callers_rely_on() {
        let plan = super::super::compile(&valid(ALL), &privileged_host(), &intent()).unwrap();
        let operations: Vec<_> = plan.operations().collect();
        let mut place = 0;
        for wanted in [
            Operation::Unshare(Unshare { flags: NamespaceKind::Time.clone_flag() }),
            Operation::WriteTimeOffsets(WriteTimeOffsets { offsets: c"monotonic -7 5\nboottime 9 0\n" }),
            Operation::EnterTimeNamespace(EnterTimeNamespace),
            Operation::Chroot(Chroot { cover: false }),
            Operation::SetExecLabel(SetExecLabel { module: SecurityModule::AppArmor, label: c"profile" }),
            Operation::WriteSysctl(WriteSysctl { path: c"sys/net/ipv4/ip_forward", value: c"1" }),
            Operation::SetNoNewPrivileges(SetNoNewPrivileges),
            Operation::SetScheduler(SetScheduler {
                policy: 3,
                flags: 1,
                nice: 5,
                priority: 0,
                runtime: 0,
                deadline: 0,
                period: 0,
            }),
            Operation::SetIoPriority(SetIoPriority { class: IoClass::Idle, level: 0 }),
            Operation::SetPersonality(SetPersonality { domain: 8 }),
            Operation::SetMemoryPolicy(SetMemoryPolicy { mode: 2 | 1 << 15, nodes: &2u64.to_ne_bytes() }),
            Operation::SetExecLabel(SetExecLabel { module: SecurityModule::SeLinux, label: c"u:r:t:s0" }),
        ] {
            let found = operations[place..].iter().position(|operation| *operation == wanted);
            place += found.unwrap_or_else(|| panic!("{wanted:?} is missing, or too early"));
        }
        assert_eq!(plan.seccomp_agent.unwrap().metadata, "m");
    }

    #[test]
    fn new_file_systems_get_the_mount_label() {
        let plan = super::super::compile(&valid(ALL), &privileged_host(), &intent()).unwrap();
        let labels: Vec<_> = plan
            .operations()
            .filter_map(|operation| match operation {
                Operation::Mount(operation::Mount { target, parameters, .. }) => {
                    let all: Vec<_> =
                        parameters.iter().map(|text| text.to_str().unwrap().to_string()).collect();
                    Some((target.to_str().unwrap().to_string(), all.join("=")))
                }
                _ => None,
            })
            .collect();
        let expected = [("/proc", ""), ("/a", "context=u:r:t:s0:c1,c2"), ("/b", "context=own")];
        assert_eq!(labels, expected.map(|(target, label)| (target.to_string(), label.to_string())));
    }

    #[test]
    fn labels_of_missing_modules_are_warnings() {
        let host = super::super::Host { apparmor_missing: true, selinux_missing: true, ..privileged_host() };
        let plan = super::super::compile(&valid(ALL), &host, &intent()).unwrap();
        let without: Vec<_> =
            plan.warnings.iter().map(Warning::text).filter(|text| text.contains("kernel has no")).collect();
        assert_eq!(
            without,
            [
                "linux.mountLabel: \"u:r:t:s0:c1,c2\": this kernel has no SELinux: the files of the container's mounts have no label",
                "process.apparmorProfile: \"profile\": this kernel has no AppArmor: the container runs without the profile",
                "process.selinuxLabel: \"u:r:t:s0\": this kernel has no SELinux: the container runs without the label",
            ]
        );
        for operation in plan.operations() {
            match operation {
                Operation::SetExecLabel(_) => panic!("{operation:?}"),
                // A label among the mount's own options stays.
                Operation::Mount(operation::Mount { target, parameters, .. }) => {
                    assert_eq!(parameters.iter().count() > 0, target == c"/b", "{target:?}");
                }
                _ => {}
            }
        }
        let unconfined = ALL.replace("\"profile\"", "\"unconfined\"");
        let plan = super::super::compile(&valid(&unconfined), &host, &intent()).unwrap();
        assert!(!plan.warnings.iter().any(|warning| warning.text().contains("AppArmor")));
    }

    #[test]
    fn a_joined_time_namespace_is_inits_to_enter() {
        let config = r#"{
            "ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"args": ["true"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "time", "path": "/run/time"}]}
        }"#;
        let plan = super::super::compile(&valid(config), &privileged_host(), &intent()).unwrap();
        let time = NamespaceKind::Time;
        let index = plan
            .operations()
            .find_map(|operation| match operation {
                Operation::JoinNamespace(JoinNamespace { namespace, flag }) if flag == time.clone_flag() => {
                    Some(namespace)
                }
                _ => None,
            })
            .unwrap();
        assert_eq!(
            plan.descriptors[index as usize],
            super::super::Descriptor::Namespace(time, "/run/time".into())
        );
    }

    #[test]
    fn node_masks() {
        assert_eq!(node_mask(""), Vec::<u8>::new());
        assert_eq!(node_mask("0-1,3"), 0b1011u64.to_ne_bytes());
        let mask = node_mask("64,2");
        assert_eq!(mask.len(), 16);
        assert_eq!(nodes_of(&mask), [2, 64]);
    }

    #[test]
    fn names_have_the_kernels_numbers() {
        assert_eq!(value("f", "SCHED_IDLE", &POLICIES).unwrap(), 5);
        assert_eq!(
            bits("f", &["MPOL_F_STATIC_NODES".into(), "MPOL_F_RELATIVE_NODES".into()], &MEMORY_FLAGS)
                .unwrap(),
            0xc000
        );
        assert!(value("f", "SCHED_NONE", &POLICIES).is_err());
    }
}
