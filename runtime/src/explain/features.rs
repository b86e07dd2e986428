//! What this runtime supports, as the specification's features document (features.md, features-linux.md).
//!
//! The document cannot drift from the code: it has a name if the compiler for configurations accepts that
//! name. The kernel is only asked which seccomp flags it has.

use serde::Serialize;

use crate::oci::capability;
use crate::oci::spec;
use crate::plan::{self, Host, Intent};
use crate::seccomp;
use crate::validate::{NamespaceKind, validate};

/// Whether this build has the systemd cgroup manager.
const SYSTEMD: bool = cfg!(feature = "systemd");

/// The document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Vec<&'static str>,
    mount_options: Vec<&'static str>,
    linux: Linux,
    potentially_unsafe_config_annotations: [&'static str; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<&'static str>,
    capabilities: &'static [&'static str],
    cgroup: CgroupManagers,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    #[serde(skip_serializing_if = "MemoryPolicy::is_empty")]
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CgroupManagers {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Vec<&'static str>,
    operators: Vec<&'static str>,
    archs: &'static [&'static str],
    known_flags: Vec<&'static str>,
    supported_flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Debug, Serialize)]
struct MemoryPolicy {
    modes: Vec<&'static str>,
    flags: Vec<&'static str>,
}

impl MemoryPolicy {
    fn is_empty(&self) -> bool {
        self.modes.is_empty()
    }
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// The specification's options (config.md, "Linux mount options"), and crun's.
const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];

const MEMORY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// Finds out what is supported.
pub fn features() -> Features {
    let supported = |names: &[&'static str], probe: fn(&str) -> Probe| -> Vec<&'static str> {
        names.iter().copied().filter(|name| probe(name).compiles()).collect()
    };
    let namespaces: Vec<_> = NamespaceKind::ALL.iter().map(|kind| kind.name()).collect();
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: "1.3.0",
        hooks: supported(&HOOKS, hook),
        mount_options: MOUNT_OPTIONS
            .iter()
            .copied()
            .filter(|option| plan::knows_mount_option(option))
            .collect(),
        linux: Linux {
            namespaces: supported(&namespaces, namespace),
            capabilities: &capability::NAMES,
            cgroup: CgroupManagers {
                v1: false,
                v2: true,
                systemd: SYSTEMD,
                systemd_user: SYSTEMD,
                rdma: true,
            },
            seccomp: look_at_seccomp(),
            apparmor: Enabled { enabled: Probe::process(r#""apparmorProfile":"x""#).compiles() },
            selinux: Enabled { enabled: Probe::process(r#""selinuxLabel":"x""#).compiles() },
            intel_rdt: IntelRdt {
                enabled: Probe::linux(r#""intelRdt":{"l3CacheSchema":"L3:0=f"}"#).compiles(),
                schemata: Probe::linux(r#""intelRdt":{"schemata":["L3:0=f"]}"#).compiles(),
                monitoring: Probe::linux(r#""intelRdt":{"enableMonitoring":true}"#).compiles(),
            },
            memory_policy: MemoryPolicy {
                modes: supported(&MEMORY_MODES, memory_mode),
                flags: supported(&MEMORY_FLAGS, memory_flag),
            },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: id_mapped_mount().compiles() } },
            net_devices: Enabled { enabled: net_device().compiles() },
        },
        // Prefixes: any property of the unit, and any annotation of crun's.
        potentially_unsafe_config_annotations: ["org.systemd.property.", "run.oci."],
    }
}

fn look_at_seccomp() -> Seccomp {
    let actions: Vec<_> = seccomp::action_names().filter(|name| seccomp_action(name).compiles()).collect();
    let flags: Vec<_> = seccomp::FLAGS.iter().filter(|(name, _)| seccomp_flag(name).compiles()).collect();
    Seccomp {
        enabled: !actions.is_empty(),
        actions,
        operators: seccomp::OPERATORS
            .iter()
            .copied()
            .filter(|name| seccomp_operator(name).compiles())
            .collect(),
        archs: &seccomp::ARCHITECTURES,
        known_flags: flags.iter().map(|(name, _)| *name).collect(),
        supported_flags: flags
            .iter()
            .filter(|(_, bit)| seccomp::kernel_knows_flag(*bit))
            .map(|(name, _)| *name)
            .collect(),
    }
}

/// A configuration that asks for one thing.
struct Probe {
    top: String,
    process: String,
    linux: String,
    namespaces: &'static str,
}

impl Probe {
    fn new() -> Probe {
        Probe {
            top: String::new(),
            process: String::new(),
            linux: String::new(),
            namespaces: r#"{"type":"mount"}"#,
        }
    }

    /// With a member of the document's top level.
    fn top(member: impl Into<String>) -> Probe {
        Probe { top: member.into(), ..Probe::new() }
    }

    fn process(member: impl Into<String>) -> Probe {
        Probe { process: member.into(), ..Probe::new() }
    }

    fn linux(member: impl Into<String>) -> Probe {
        Probe { linux: member.into(), ..Probe::new() }
    }

    /// With these namespaces besides the mount namespace.
    fn in_namespaces(self, namespaces: &'static str) -> Probe {
        Probe { namespaces, ..self }
    }

    /// Whether it compiles for a host where everything is allowed; nothing is executed.
    fn compiles(&self) -> bool {
        let member = |text: &str| if text.is_empty() { String::new() } else { format!(",{text}") };
        let document = format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"rootfs"}},"process":{{"args":["x"],"cwd":"/"{}}},"linux":{{"namespaces":[{}]{}}}{}}}"#,
            member(&self.process),
            self.namespaces,
            member(&self.linux),
            member(&self.top),
        );
        let host = Host { privileged: true, capabilities: u64::MAX, ..Host::default() };
        let intent = Intent { id: "probe".to_string(), rootfs: "/rootfs".to_string(), ..Intent::default() };
        let Ok(spec) = spec::parse(document.as_bytes()) else { return false };
        validate(spec).and_then(|spec| plan::compile(&spec, &host, &intent)).is_ok()
    }
}

fn hook(name: &str) -> Probe {
    Probe::top(format!(r#""hooks":{{"{name}":[{{"path":"/x"}}]}}"#))
}

const ID_MAP: &str = r#"[{"containerID":0,"hostID":100000,"size":65536}]"#;

fn namespace(name: &str) -> Probe {
    match name {
        "mount" => Probe::new(),
        "user" => Probe::linux(format!(r#""uidMappings":{ID_MAP},"gidMappings":{ID_MAP}"#))
            .in_namespaces(r#"{"type":"mount"},{"type":"user"}"#),
        "time" => Probe::linux(r#""timeOffsets":{"monotonic":{"secs":1}}"#)
            .in_namespaces(r#"{"type":"mount"},{"type":"time"}"#),
        "network" => Probe::new().in_namespaces(r#"{"type":"mount"},{"type":"network"}"#),
        "uts" => Probe::new().in_namespaces(r#"{"type":"mount"},{"type":"uts"}"#),
        "ipc" => Probe::new().in_namespaces(r#"{"type":"mount"},{"type":"ipc"}"#),
        "pid" => Probe::new().in_namespaces(r#"{"type":"mount"},{"type":"pid"}"#),
        _ => Probe::new().in_namespaces(r#"{"type":"mount"},{"type":"cgroup"}"#),
    }
}

fn id_mapped_mount() -> Probe {
    Probe::top(format!(
        r#""mounts":[{{"type":"bind","source":"/x","destination":"/x","options":["rbind","idmap"],"uidMappings":{ID_MAP},"gidMappings":{ID_MAP}}}]"#
    ))
}

fn net_device() -> Probe {
    Probe::linux(r#""netDevices":{"eth0":{}}"#).in_namespaces(r#"{"type":"mount"},{"type":"network"}"#)
}

fn memory_mode(name: &str) -> Probe {
    let nodes = if matches!(name, "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
    Probe::linux(format!(r#""memoryPolicy":{{"mode":"{name}","nodes":"{nodes}"}}"#))
}

fn memory_flag(name: &str) -> Probe {
    Probe::linux(format!(r#""memoryPolicy":{{"mode":"MPOL_BIND","nodes":"0","flags":["{name}"]}}"#))
}

fn seccomp_action(name: &str) -> Probe {
    let listener = if name == "SCMP_ACT_NOTIFY" { r#""listenerPath":"/x","# } else { "" };
    Probe::linux(format!(
        r#""seccomp":{{"defaultAction":"SCMP_ACT_ALLOW",{listener}"syscalls":[{{"names":["getcwd"],"action":"{name}"}}]}}"#
    ))
}

fn seccomp_operator(name: &str) -> Probe {
    Probe::linux(format!(
        r#""seccomp":{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["getcwd"],"action":"SCMP_ACT_ERRNO","args":[{{"index":0,"value":1,"valueTwo":1,"op":"{name}"}}]}}]}}"#
    ))
}

fn seccomp_flag(name: &str) -> Probe {
    let notify = r#""listenerPath":"/x","syscalls":[{"names":["getcwd"],"action":"SCMP_ACT_NOTIFY"}],"#;
    let notify = if name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" { notify } else { "" };
    Probe::linux(format!(r#""seccomp":{{"defaultAction":"SCMP_ACT_ALLOW",{notify}"flags":["{name}"]}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_supported_for_sure() {
        let features = features();
        for option in ["rro", "bind", "nosuid", "rslave", "relatime", "sync"] {
            assert!(features.mount_options.contains(&option), "{option}: {features:?}");
        }
        for kind in ["mount", "pid", "network", "ipc", "uts", "user", "cgroup"] {
            assert!(features.linux.namespaces.contains(&kind), "{kind}: {features:?}");
        }
        let seccomp = &features.linux.seccomp;
        assert!(seccomp.actions.contains(&"SCMP_ACT_ERRNO"), "{seccomp:?}");
        assert!(seccomp.known_flags.contains(&"SECCOMP_FILTER_FLAG_LOG"), "{seccomp:?}");
        assert_eq!(seccomp.operators.len(), seccomp::OPERATORS.len());
    }

    #[test]
    fn what_nobody_knows_is_not_supported() {
        assert!(!plan::knows_mount_option("size=1m") && !plan::knows_mount_option("nonesuch"));
        for probe in [
            seccomp_action("SCMP_ACT_X"),
            seccomp_operator("SCMP_CMP_X"),
            seccomp_flag("X"),
            memory_mode("X"),
        ] {
            assert!(!probe.compiles());
        }
    }
}
