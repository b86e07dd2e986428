//! Docker's flags that box does not have, each with the reason. What says the same as box does anyway is taken.

use std::ffi::OsStr;

/// A flag of Docker's.
#[derive(Debug)]
pub struct Refused {
    /// Without the dashes.
    pub long: &'static str,
    /// Whether it stands without a value.
    pub is_switch: bool,
    /// The value that says what box does anyway.
    pub accepted: Option<&'static str>,
    /// Why there is none, and what to do instead.
    reason: &'static str,
}

const fn valued(long: &'static str, accepted: Option<&'static str>, reason: &'static str) -> Refused {
    Refused { long, is_switch: false, accepted, reason }
}

const fn switch(long: &'static str, accepted: &'static str, reason: &'static str) -> Refused {
    Refused { long, is_switch: true, accepted: Some(accepted), reason }
}

const WINDOWS: &str = "it is for containers of Windows";
const REAL_TIME: &str =
    "cgroup v2 has no limit for real-time processes: --ulimit rtprio=… lets processes be such";
const CHECKPOINTS: &str = "there are no checkpoints: box commit keeps the files of a container";

const OF_RUN: &[Refused] = &[
    valued("cpu-count", Some("0"), WINDOWS),
    valued("cpu-percent", Some("0"), WINDOWS),
    valued("cpu-rt-period", Some("0"), REAL_TIME),
    valued("cpu-rt-runtime", Some("0"), REAL_TIME),
    switch("disable-content-trust", "true", "signatures are not checked: name the image by its digest"),
    valued("gpus", None, "nothing is known of GPUs here: --device /dev/dri, or the devices of your driver"),
    valued("io-maxbandwidth", Some("0"), WINDOWS),
    valued("io-maxiops", Some("0"), WINDOWS),
    valued("isolation", Some("default"), "namespaces and cgroups are the only isolation"),
    valued("kernel-memory", Some("0"), "cgroup v2 counts the kernel's memory as the container's: --memory"),
    valued(
        "link",
        None,
        "containers find each other by their names on a network: --network NAME, with --network-alias",
    ),
    valued(
        "link-local-ip",
        None,
        "the kernel chooses these: --ip or --ip6 for an address on a network with a name",
    ),
    valued("memory-swappiness", Some("-1"), "cgroup v2 has no such setting: --memory-swap limits the swap"),
    switch(
        "oom-kill-disable",
        "false",
        "cgroup v2 has no such setting: --oom-score-adj -1000 spares its processes as long as there are others",
    ),
    valued("runtime", None, "box is its own runtime"),
    valued("storage-opt", None, "a container's root is as large as the disk below the data folder"),
    switch("use-api-socket", "false", "mount the socket yourself: --volume"),
    valued(
        "userns",
        Some("host"),
        "root's containers have no user namespace, and an ordinary user's have that of his ranges: host",
    ),
    valued("volume-driver", Some("local"), "volumes are folders of the host's: local"),
];

static OF_CREATE: Refused = valued(
    "attach",
    None,
    "nothing is attached before it is started: box start --attach, or box run --attach",
);

const OF_START: &[Refused] =
    &[valued("checkpoint", None, CHECKPOINTS), valued("checkpoint-dir", None, CHECKPOINTS)];

const OF_UPDATE: &[Refused] = &[
    valued("cpu-rt-period", Some("0"), REAL_TIME),
    valued("cpu-rt-runtime", Some("0"), REAL_TIME),
    valued("kernel-memory", Some("0"), "cgroup v2 counts the kernel's memory as the container's: --memory"),
];

const ONE_PLATFORM: &str =
    "what is kept of an image is for one platform: box pull --platform fetches another";
const SIGNATURES: &str = "signatures are not checked: name the image by its digest";
const SWARM: &str = "there are no clusters";

const OF_IMAGES: &[Refused] = &[switch("tree", "false", ONE_PLATFORM)];

const OF_ONE_IMAGE: &[Refused] = &[valued("platform", None, ONE_PLATFORM)];

const OF_PULL: &[Refused] =
    &[switch("disable-content-trust", "true", SIGNATURES), valued("platform", None, ONE_PLATFORM)];

const OF_PUSH: &[Refused] = &[
    switch("all-tags", "false", "one image is pushed at a time: name each tag"),
    switch("disable-content-trust", "true", SIGNATURES),
    valued("platform", None, ONE_PLATFORM),
];

const OF_LOGS: &[Refused] =
    &[switch("details", "false", "nothing is kept with a line but its time: --timestamps")];

const OF_RM: &[Refused] =
    &[switch("link", "false", "there are no links: containers find each other by their names on a network")];

const OF_VOLUMES: &[Refused] = &[switch("cluster", "false", SWARM)];

const OF_VOLUME: &[Refused] = &[
    valued("availability", None, SWARM),
    valued("group", None, SWARM),
    valued("limit-bytes", None, SWARM),
    valued("required-bytes", None, SWARM),
    valued("scope", None, SWARM),
    valued("secret", None, SWARM),
    valued("sharing", None, SWARM),
    valued("topology-preferred", None, SWARM),
    valued("topology-required", None, SWARM),
    valued("type", None, SWARM),
];

const ADDRESSES: &str =
    "addresses are given by box itself: --subnet, --ip-range, and --ip for a container's own";

const OF_NETWORK: &[Refused] = &[
    valued("ipam-driver", Some("default"), ADDRESSES),
    valued("ipam-opt", None, ADDRESSES),
    switch("ipv4", "true", "each network has an IPv4 subnet"),
    valued("scope", Some("local"), SWARM),
    valued("config-from", None, SWARM),
    switch("attachable", "false", SWARM),
    switch("config-only", "false", SWARM),
    switch("ingress", "false", SWARM),
];

const ATTESTATIONS: &str = "an image has no attestations: --iidfile keeps its id";
const CHECKS: &str = "there is no linter: --target, and --output type=cacheonly, build without an image";

const OF_BUILD: &[Refused] = &[
    valued("attest", None, ATTESTATIONS),
    valued("builder", Some("default"), "there are no builders: box builds itself"),
    valued("call", Some("build"), CHECKS),
    switch("check", "false", CHECKS),
    switch("disable-content-trust", "true", SIGNATURES),
    valued("isolation", Some("default"), "namespaces and cgroups are the only isolation"),
    valued("provenance", Some("false"), ATTESTATIONS),
    valued("sbom", Some("false"), ATTESTATIONS),
    valued(
        "security-opt",
        None,
        "RUN --security=insecure asks for it, and --allow security.insecure allows it",
    ),
    switch("squash", "false", "layers stay as they are: COPY --from of a last stage puts all files in one"),
];

/// Other names of flags: Docker's hidden ones, and foxbox's.
const ALIASES: &[(&str, &str)] =
    &[("cpu", "cpus"), ("dns-opt", "dns-option"), ("max-pids", "pids-limit"), ("net-alias", "network-alias")];

/// The flag that is meant by another name.
pub fn by_alias(long: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(alias, _)| *alias == long).map(|(_, long)| *long)
}

/// One of Docker's flags for a command that box has without it.
pub fn find(command: &str, long: &str) -> Option<&'static Refused> {
    let table = match command {
        "create" if long == OF_CREATE.long => return Some(&OF_CREATE),
        "run" | "create" | "explain" => OF_RUN,
        "build" => OF_BUILD,
        "start" => OF_START,
        "update" => OF_UPDATE,
        "images" => OF_IMAGES,
        "history" | "image inspect" | "rmi" | "save" => OF_ONE_IMAGE,
        "pull" => OF_PULL,
        "push" => OF_PUSH,
        "logs" => OF_LOGS,
        "rm" => OF_RM,
        "volume ls" => OF_VOLUMES,
        "volume create" => OF_VOLUME,
        "network create" => OF_NETWORK,
        _ => &[],
    };
    table.iter().find(|flag| flag.long == long)
}

impl Refused {
    /// Why it is refused with this value; `None` if it asks for what box does anyway.
    pub fn refusal(&self, value: &OsStr) -> Option<String> {
        // To docker an empty word is the usual one; a number cannot be empty.
        let is_usual = |usual: &str| value.is_empty() && !self.is_switch && usual.parse::<i64>().is_err();
        if self.accepted.is_some_and(|accepted| value == accepted || is_usual(accepted)) {
            return None;
        }
        let shown = if self.is_switch { String::new() } else { format!(" {}", value.display()) };
        Some(format!("--{}{shown}: {}", self.long, self.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{build, create, run};

    /// What `docker run --help` lists (28).
    const DOCKERS: [&str; 103] = [
        "add-host",
        "annotation",
        "attach",
        "blkio-weight",
        "blkio-weight-device",
        "cap-add",
        "cap-drop",
        "cgroup-parent",
        "cgroupns",
        "cidfile",
        "cpu-count",
        "cpu-percent",
        "cpu-period",
        "cpu-quota",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "cpu-shares",
        "cpus",
        "cpuset-cpus",
        "cpuset-mems",
        "detach",
        "detach-keys",
        "device",
        "device-cgroup-rule",
        "device-read-bps",
        "device-read-iops",
        "device-write-bps",
        "device-write-iops",
        "disable-content-trust",
        "dns",
        "dns-option",
        "dns-search",
        "domainname",
        "entrypoint",
        "env",
        "env-file",
        "expose",
        "gpus",
        "group-add",
        "health-cmd",
        "health-interval",
        "health-retries",
        "health-start-interval",
        "health-start-period",
        "health-timeout",
        "hostname",
        "init",
        "interactive",
        "io-maxbandwidth",
        "io-maxiops",
        "ip",
        "ip6",
        "ipc",
        "isolation",
        "kernel-memory",
        "label",
        "label-file",
        "link",
        "link-local-ip",
        "log-driver",
        "log-opt",
        "mac-address",
        "memory",
        "memory-reservation",
        "memory-swap",
        "memory-swappiness",
        "mount",
        "name",
        "network",
        "network-alias",
        "no-healthcheck",
        "oom-kill-disable",
        "oom-score-adj",
        "pid",
        "pids-limit",
        "platform",
        "privileged",
        "publish",
        "publish-all",
        "pull",
        "quiet",
        "read-only",
        "restart",
        "rm",
        "runtime",
        "security-opt",
        "shm-size",
        "sig-proxy",
        "stop-signal",
        "stop-timeout",
        "storage-opt",
        "sysctl",
        "tmpfs",
        "tty",
        "ulimit",
        "use-api-socket",
        "user",
        "userns",
        "uts",
        "volume",
        "volume-driver",
        "volumes-from",
        "workdir",
    ];

    /// What `docker build --help` lists, of buildx and without it.
    const DOCKERS_OF_BUILD: &str = "add-host allow annotation attest build-arg build-context builder cache-from cache-to call \
        cgroup-parent check compress cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems disable-content-trust file force-rm \
        iidfile isolation label load memory memory-swap metadata-file network no-cache no-cache-filter output platform progress \
        provenance pull push quiet rm sbom secret security-opt shm-size squash ssh tag target ulimit";

    #[test]
    fn every_flag_of_dockers_is_there_or_has_a_reason() {
        let is_there = |command: &crate::command::Command, long: &str| {
            command.flags.iter().copied().flatten().any(|flag| flag.long == long)
        };
        for long in DOCKERS {
            assert!(is_there(&run::COMMAND, long) != find("run", long).is_some(), "run --{long}");
            let of_run = ["detach", "detach-keys", "sig-proxy"].contains(&long);
            assert!(
                of_run || is_there(&create::COMMAND, long) != find("create", long).is_some(),
                "create --{long}"
            );
        }
        for long in DOCKERS_OF_BUILD.split_whitespace() {
            assert!(is_there(&build::COMMAND, long) != find("build", long).is_some(), "build --{long}");
        }
        for (alias, long) in ALIASES {
            assert!(is_there(&run::COMMAND, long) && !is_there(&run::COMMAND, alias), "--{alias}");
        }
    }
}
