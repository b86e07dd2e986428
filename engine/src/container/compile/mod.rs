//! From an image's configuration, what is asked for and the facts to config.json. Pure: `box explain` shows what comes out, and
//! the tests compare it with what Docker wrote for the same flags.

mod configuration;
mod mounts;
mod process;
mod resources;
mod seccomp;
#[cfg(test)]
mod tests;

pub use configuration::Configuration;
pub use process::{arguments, compile_ulimit};
pub use resources::limits;
use serde_json::{Map, Value, json};

use super::capability::Capabilities;
use super::facts::Facts;
use super::options::{NetworkMode, Options, Seccomp, Sharing};
use crate::error::{Error, Result};
use crate::ids::IdMaps;
use crate::image::Execution;

/// Parts of /proc and /sys that tell of the host.
pub const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Parts of /proc by which the host could be changed.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Compiles the configuration of a container.
///
/// # Errors
/// Something cannot be as it is asked for; the flag is named.
pub fn compile(image: &Execution, options: &Options, facts: &Facts) -> Result<Configuration> {
    let privileged = options.rights.privileged;
    let capabilities = capabilities(options)?;
    if let (Some(name), NetworkMode::Container(other)) = (&options.hostname, &options.network.mode) {
        return Err(Error::invalid(format!(
            "--hostname {name}: on the network of {other} it has that one's name"
        )));
    }
    let hostname = hostname(options, facts);
    let mut linux = Map::new();
    linux.insert("namespaces".into(), namespaces(options, facts));
    if let Some(maps) = &facts.maps {
        linux.insert("uidMappings".into(), IdMaps::as_json(&maps.users));
        linux.insert("gidMappings".into(), IdMaps::as_json(&maps.groups));
    }
    linux.extend(sysctls(options, facts)?.map(|sysctls| ("sysctl".into(), sysctls)));
    linux.insert("resources".into(), resources::compile(options, facts)?);
    if let Some(parent) = &facts.cgroup_parent {
        linux.insert("cgroupsPath".into(), json!(format!("{parent}/{}", facts.id)));
    }
    if !facts.devices.is_empty() {
        linux.insert("devices".into(), resources::device_nodes(&facts.devices));
    }
    let seccomp = match &options.rights.seccomp {
        _ if privileged => None,
        Seccomp::Unconfined => None,
        Seccomp::Default => Some(seccomp::profile(&capabilities, facts.machine)),
        Seccomp::Profile(text) => Some(configuration::json(&parse_profile(text)?)),
    };
    if !privileged && !options.rights.unmasked {
        linux.insert("maskedPaths".into(), json!(MASKED));
        linux.insert("readonlyPaths".into(), json!(READ_ONLY));
    }
    let mut members = Map::new();
    members.insert("ociVersion".into(), json!("1.2.1"));
    members.insert("process".into(), process::compile(image, options, facts, &hostname, &capabilities)?);
    members.insert("root".into(), root(options));
    members.insert("mounts".into(), Value::Array(mounts::compile(options, facts)?));
    if options.namespaces.uts == Sharing::Own {
        members.insert("hostname".into(), json!(hostname));
        if let Some(domain) = &options.domainname {
            members.insert("domainname".into(), json!(domain));
        }
    } else if options.hostname.is_some() || options.domainname.is_some() {
        return Err(Error::invalid(
            "--hostname: with --uts host it would be the host's: leave one of them out",
        ));
    }
    if !options.annotations.is_empty() {
        members.insert("annotations".into(), json!(options.annotations));
    }
    Ok(Configuration { members, linux, seccomp })
}

/// Compiles the `process` of one more program: the options are the container's, with what is asked for instead.
///
/// # Errors
/// As for [`compile`].
pub fn compile_exec(image: &Execution, options: &Options, facts: &Facts) -> Result<Value> {
    process::compile(image, options, facts, &hostname(options, facts), &capabilities(options)?)
}

fn capabilities(options: &Options) -> Result<Capabilities> {
    match options.rights.privileged {
        true => Ok(Capabilities::all()),
        false => Capabilities::choose(&options.rights.added, &options.rights.dropped),
    }
}

fn root(options: &Options) -> Value {
    match options.read_only {
        true => json!({"path": "rootfs", "readonly": true}),
        false => json!({"path": "rootfs"}),
    }
}

/// With the host's network, what others call this host; otherwise a name of its own.
fn hostname(options: &Options, facts: &Facts) -> String {
    match options.hostname.as_ref().or(facts.joined.hostname.as_ref()) {
        Some(name) => name.clone(),
        None if options.network.mode == NetworkMode::Host || options.namespaces.uts == Sharing::Host => {
            facts.hostname.clone()
        }
        None => facts.id[..facts.id.len().min(12)].to_string(),
    }
}

fn namespaces(options: &Options, facts: &Facts) -> Value {
    let namespaces = &options.namespaces;
    let joined = &facts.joined;
    let own = [
        ("mount", true, None),
        ("network", options.network.mode != NetworkMode::Host, joined.network.as_ref()),
        ("uts", namespaces.uts == Sharing::Own, None),
        ("pid", namespaces.pid == Sharing::Own, joined.pid.as_ref()),
        ("ipc", namespaces.ipc == Sharing::Own, joined.ipc.as_ref()),
        ("cgroup", namespaces.cgroup == Sharing::Own, None),
        ("user", facts.maps.is_some(), joined.user.as_ref()),
    ];
    let one = |(kind, _, path): (&str, bool, Option<&String>)| match path {
        Some(path) => json!({"type": kind, "path": path}),
        None => json!({"type": kind}),
    };
    own.into_iter().filter(|(_, is_own, _)| *is_own).map(one).collect()
}

/// What lets programs without rights listen at low ports and ping: it is the container's own network.
fn sysctls(options: &Options, facts: &Facts) -> Result<Option<Value>> {
    let mut sysctls = Map::new();
    let has_own = !matches!(options.network.mode, NetworkMode::Host | NetworkMode::Container(_));
    if has_own {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), json!("0"));
        // In a user namespace the range would have groups that are not mapped.
        if facts.maps.is_none() {
            sysctls.insert("net.ipv4.ping_group_range".into(), json!("0 2147483647"));
        }
    } else if let Some(name) = options.sysctls.keys().find(|name| name.starts_with("net.")) {
        return Err(Error::invalid(format!(
            "--sysctl {name}: with the network of somebody else it would be theirs"
        )));
    }
    sysctls.extend(options.sysctls.iter().map(|(name, value)| (name.clone(), json!(value))));
    Ok(Some(sysctls).filter(|sysctls| !sysctls.is_empty()).map(Value::Object))
}

/// A profile of the user's: as config.json has it.
fn parse_profile(text: &str) -> Result<Value> {
    let wrong = |what: &str| Error::invalid(format!("--security-opt seccomp: {what}"));
    let profile: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    if !profile.is_object() {
        return Err(wrong("must be an object of JSON, as linux.seccomp of config.json"));
    }
    // Docker's own form has conditions, which are for an engine to decide.
    if profile.get("archMap").is_some()
        || profile["syscalls"].as_array().is_some_and(|rules| {
            rules.iter().any(|rule| rule.get("includes").is_some() || rule.get("excludes").is_some())
        })
    {
        return Err(wrong(
            "archMap, includes and excludes are not decided here: write the profile as config.json has it",
        ));
    }
    Ok(profile)
}
