//! A container as a document: Docker's shape, with the members that there are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::compile::arguments;
use super::exposed::exposed_ports;
use super::health::Health;
use super::log::json_file;
use super::options::{
    Access, Limits, LogDriver, LogOptions, Mount, MountSource, NetworkMode, Options, Restart, Sharing,
};
use super::ports::{Published, published};
use super::record::{Base, ContainerRecord, Exit, Progress};
use super::status::Status;
use crate::error::Result;
use crate::image::Execution;
use crate::store::{ContainerFolder, Store};
use crate::time::rfc3339;

/// What Docker writes where nothing has happened yet.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Everything that is known of a container.
///
/// # Errors
/// A record cannot be read.
pub fn inspect(store: &Store, folder: &ContainerFolder) -> Result<Value> {
    let record = ContainerRecord::of(folder)?;
    let status = Status::of(store, folder)?;
    let progress = Progress::read(folder)?;
    let command = arguments(&record.execution, &record.options)?;
    let image = match &record.base {
        Base::Image { id, .. } => id.to_string(),
        Base::Folder(path) => path.display().to_string(),
    };
    let path = |name: &str| json!(folder.path().join(name));
    Ok(json!({
        "Id": record.id,
        "Name": format!("/{}", record.name),
        "Created": rfc3339(record.created),
        "Path": command.first(),
        "Args": command.get(1..),
        "State": state(&status, &progress, health(folder, &record)?),
        "Image": image,
        "RestartCount": progress.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "LogPath": log_path(folder, &record),
        "GraphDriver": {"Name": "overlay", "Data": {"UpperDir": path("upper"), "WorkDir": path("work")}},
        "HostConfig": host_config(&record),
        "Mounts": record.options.mounts.iter().map(|one| mount(store, one)).collect::<Value>(),
        "Config": config(&record),
        "NetworkSettings": network_settings(store, &record, published(store, folder)?),
    }))
}

/// Where box itself keeps what it writes.
fn log_path(folder: &ContainerFolder, record: &ContainerRecord) -> Value {
    match record.options.log.driver {
        LogDriver::Local => json!(folder.path().join("log")),
        LogDriver::JsonFile => json!(json_file(folder.path(), &record.id)),
        LogDriver::None | LogDriver::Journald | LogDriver::Syslog => json!(""),
    }
}

/// As `--log-driver` and `--log-opt` have it.
fn log_config(log: &LogOptions) -> Value {
    let LogOptions { driver, size, count, tag, labels, variables, waiting, syslog } = log;
    let list = |names: &[String]| Some(names.join(",")).filter(|names| !names.is_empty());
    let options = [
        ("max-size", size.map(|bytes| bytes.to_string())),
        ("max-file", count.map(|count| count.to_string())),
        ("tag", tag.clone()),
        ("labels", list(labels)),
        ("env", list(variables)),
        ("max-buffer-size", waiting.map(|bytes| bytes.to_string())),
        ("syslog-address", syslog.address.clone()),
        ("syslog-facility", syslog.facility.clone()),
        ("syslog-format", syslog.format.clone()),
    ];
    let options: Map<String, Value> =
        options.into_iter().filter_map(|(name, value)| Some((name.to_string(), json!(value?)))).collect();
    json!({"Type": driver.name(), "Config": options})
}

fn state(status: &Status, progress: &Progress, health: Option<Value>) -> Value {
    let (pid, is_paused) = match status {
        Status::Running { pid, .. } => (*pid, false),
        Status::Paused { pid, .. } => (*pid, true),
        _ => (0, false),
    };
    // It may have ended since.
    let exit: Option<&Exit> = progress.exit.as_ref().filter(|_| !status.is_alive());
    let mut state = json!({
        "Status": status.name(),
        "Running": status.is_alive(),
        "Paused": is_paused,
        "Restarting": matches!(status, Status::Restarting(_)),
        "OOMKilled": exit.is_some_and(|exit| exit.is_out_of_memory),
        "Dead": matches!(status, Status::Lost),
        "Pid": pid,
        "ExitCode": exit.map_or(0, |exit| exit.status),
        "Error": exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
        "StartedAt": progress.started.map_or(NEVER.to_string(), rfc3339),
        "FinishedAt": exit.map_or(NEVER.to_string(), |exit| rfc3339(exit.finished)),
    });
    if let Some(health) = health {
        state["Health"] = health;
    }
    state
}

fn health(folder: &ContainerFolder, record: &ContainerRecord) -> Result<Option<Value>> {
    let Some(Health { state, failing, looks }) = Health::of(folder, record)? else { return Ok(None) };
    let log: Value = looks
        .iter()
        .map(|look| {
            json!({
                "Start": rfc3339(look.started),
                "End": rfc3339(look.ended),
                "ExitCode": look.status.map_or(-1, i32::from),
                "Output": look.output,
            })
        })
        .collect();
    Ok(Some(json!({"Status": state.name(), "FailingStreak": failing, "Log": log})))
}

fn config(record: &ContainerRecord) -> Value {
    let ContainerRecord { execution, options, .. } = record;
    let hostname = options.hostname.clone().unwrap_or_else(|| record.id[..12].to_string());
    let Execution { volumes, .. } = execution;
    // An image may say what is none.
    let exposed = exposed_ports(execution, &options.network).unwrap_or_default();
    let exposed: Map<String, Value> = exposed.iter().map(|port| (port.to_string(), json!({}))).collect();
    let labels: BTreeMap<_, _> = execution.labels.iter().chain(&options.labels).collect();
    let (entrypoint, command) = match options.entrypoint.as_deref() {
        Some("") => (Vec::new(), &options.command),
        Some(program) => (vec![program.to_string()], &options.command),
        None if options.command.is_empty() => (execution.entrypoint.clone(), &execution.cmd),
        None => (execution.entrypoint.clone(), &options.command),
    };
    let environment = [execution.env.clone(), options.environment.clone()].concat();
    json!({
        "Hostname": hostname,
        "Domainname": options.domainname.clone().unwrap_or_default(),
        "User": options.user.as_ref().unwrap_or(&execution.user),
        "Tty": options.streams.terminal,
        "OpenStdin": options.streams.interactive,
        "Env": environment,
        "Cmd": command,
        "Entrypoint": entrypoint,
        "Image": record.image,
        "WorkingDir": options.workdir.as_ref().unwrap_or(&execution.working_dir),
        "ExposedPorts": exposed,
        "Volumes": volumes,
        "Labels": labels,
        "StopSignal": options.stop_signal.as_ref().or(execution.stop_signal.as_ref()),
        "StopTimeout": options.stop_timeout,
    })
}

fn host_config(record: &ContainerRecord) -> Value {
    let Options { limits, rights, network, namespaces, restart, .. } = &record.options;
    let Limits { memory, memory_swap, memory_reservation, cpu_quota, cpu_period, cpu_shares, .. } = limits;
    let (restart, most) = match restart {
        Restart::No => ("no", 0),
        Restart::OnFailure(most) => ("on-failure", most.unwrap_or(0)),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
    };
    let mode = |sharing: Sharing| if sharing == Sharing::Host { "host" } else { "private" };
    json!({
        "NetworkMode": network_name(&network.mode),
        "PortBindings": network.published,
        "PublishAllPorts": network.publish_all,
        "RestartPolicy": {"Name": restart, "MaximumRetryCount": most},
        "LogConfig": log_config(&record.options.log),
        "AutoRemove": record.auto_remove,
        "Init": record.options.init,
        "Privileged": rights.privileged,
        "CapAdd": rights.added,
        "CapDrop": rights.dropped,
        "ReadonlyRootfs": record.options.read_only,
        "Dns": network.servers,
        "DnsOptions": network.resolver_options,
        "DnsSearch": network.search,
        "ExtraHosts": network.hosts,
        "GroupAdd": record.options.groups,
        "PidMode": mode(namespaces.pid),
        "IpcMode": mode(namespaces.ipc),
        "UTSMode": mode(namespaces.uts),
        "CgroupnsMode": mode(namespaces.cgroup),
        "CgroupParent": namespaces.cgroup_parent.clone().unwrap_or_default(),
        "ShmSize": record.options.shm_size.unwrap_or(64 << 20),
        "Sysctls": record.options.sysctls,
        "Annotations": record.options.annotations,
        "Memory": memory.unwrap_or(0),
        "MemorySwap": memory_swap.unwrap_or(0),
        "MemoryReservation": memory_reservation.unwrap_or(0),
        "CpuQuota": cpu_quota.unwrap_or(0),
        "CpuPeriod": cpu_period.unwrap_or(0),
        "CpuShares": cpu_shares.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.clone().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.clone().unwrap_or_default(),
        "PidsLimit": limits.pids,
        "BlkioWeight": limits.blkio_weight.unwrap_or(0),
        "Ulimits": limits.ulimits,
        "OomScoreAdj": limits.oom_score_adj.unwrap_or(0),
    })
}

fn mount(store: &Store, mount: &Mount) -> Value {
    let Mount { source, destination, access } = mount;
    let is_writable = *access == Access::ReadWrite;
    match source {
        MountSource::Bind { path, propagation } => json!({
            "Type": "bind",
            "Source": path,
            "Destination": destination,
            "Mode": if is_writable { "" } else { "ro" },
            "RW": is_writable,
            "Propagation": propagation.as_deref().unwrap_or("rprivate"),
        }),
        MountSource::Volume { name, .. } => json!({
            "Type": "volume",
            "Name": name,
            "Source": store.volumes().path(name),
            "Destination": destination,
            "Driver": "local",
            "Mode": if is_writable { "" } else { "ro" },
            "RW": is_writable,
            "Propagation": "",
        }),
        MountSource::Tmpfs { options } => json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": destination,
            "Mode": options.join(","),
            "RW": is_writable,
            "Propagation": "",
        }),
    }
}

fn network_name(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Default => "bridge".to_string(),
        NetworkMode::None => "none".to_string(),
        NetworkMode::Host => "host".to_string(),
        NetworkMode::Named(name) => name.clone(),
        NetworkMode::Container(name) => format!("container:{name}"),
    }
}

fn network_settings(store: &Store, record: &ContainerRecord, published: Vec<Published>) -> Value {
    let root = pillbox::Root::at(&store.place().runtime);
    let state = pillbox::ContainerId::new(&record.id).and_then(|id| root.find(&id)?.load());
    // One that does not run is connected to nothing.
    let interfaces = state.map(|state| state.network.iter().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut ports: Map<String, Value> = Map::new();
    for Published { host, port, protocol } in published {
        let (address, host_port) = host.rsplit_once(':').unwrap_or(("0.0.0.0", &host));
        let binding = json!({"HostIp": address.trim_matches(['[', ']']), "HostPort": host_port});
        if let Value::Array(bindings) = ports.entry(format!("{port}/{protocol}")).or_insert_with(|| json!([]))
        {
            bindings.push(binding);
        }
    }
    let addresses = |wants_six: bool| {
        let all = interfaces.iter().flat_map(|interface| interface.addresses.iter());
        let found = all
            .filter(|address| address.contains(':') == wants_six)
            .find_map(|address| address.split_once('/'));
        found.map(|(address, prefix)| (address.to_string(), prefix.parse().unwrap_or(0))).unwrap_or_default()
    };
    let ((four, prefix), (six, six_prefix)): ((String, u8), (String, u8)) =
        (addresses(false), addresses(true));
    let mac = interfaces.iter().find_map(|interface| interface.mac.clone()).unwrap_or_default();
    let network = json!({
        "IPAddress": four,
        "IPPrefixLen": prefix,
        "GlobalIPv6Address": six,
        "GlobalIPv6PrefixLen": six_prefix,
        "MacAddress": mac,
        "Aliases": record.options.network.aliases,
    });
    json!({
        "Ports": ports,
        "IPAddress": four,
        "IPPrefixLen": prefix,
        "GlobalIPv6Address": six,
        "GlobalIPv6PrefixLen": six_prefix,
        "MacAddress": mac,
        "Networks": {network_name(&record.options.network.mode): network},
    })
}
