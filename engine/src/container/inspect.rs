//! A container as a document: Docker's shape, with the members that there are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::compile::{MASKED, READ_ONLY, arguments};
use super::exec_record::ExecRecord;
use super::exposed::exposed_ports;
use super::health::Health;
use super::log::json_file;
use super::network_settings::{NetworkSettings, network_name};
use super::options::{
    Access, HealthOptions, Limits, LogDriver, LogOptions, Mount, MountSource, Options, Restart, Rights,
    Seccomp, Sharing,
};
use super::owners::Owners;
use super::ports::interfaces;
use super::record::{Base, ContainerRecord, Exit, Progress};
use super::status::Status;
use crate::error::Result;
use crate::image::{Execution, Healthcheck};
use crate::order::Collect;
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
    let names = |name: &str| json!(folder.names().join(name));
    let running = ExecRecord::running(store, &record.id)?;
    let interfaces = interfaces(store, &record.id)?;
    let named = |name: &str| store.networks().find(name).ok();
    Ok(json!({
        "Id": record.id,
        "Name": format!("/{}", record.name),
        "Created": rfc3339(record.created),
        "Path": command.first(),
        "Args": command.get(1..),
        "State": state(&status, &progress, health(folder, &record)?),
        "Image": image,
        "RestartCount": progress.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "LogPath": log_path(folder, &record),
        "ResolvConfPath": names("resolv.conf"),
        "HostnamePath": names("hostname"),
        "HostsPath": names("hosts"),
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": record.options.rights.apparmor.clone().unwrap_or_default(),
        "ExecIDs": if running.is_empty() { Value::Null } else { json!(running) },
        "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": path("upper"), "WorkDir": path("work")}},
        "HostConfig": host_config(&record),
        "Mounts": record.options.mounts.iter().map(|one| inspect_mount(store, one)).collect::<Value>(),
        "Config": config(&record),
        "NetworkSettings": NetworkSettings::of(&record, &interfaces, &named),
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
        ("max-size", size.map(size_text)),
        ("max-file", count.map(|count| count.to_string())),
        ("tag", tag.clone()),
        ("labels", list(labels)),
        ("env", list(variables)),
        ("max-buffer-size", waiting.map(|bytes| size_text(bytes as u64))),
        ("syslog-address", syslog.address.clone()),
        ("syslog-facility", syslog.facility.clone()),
        ("syslog-format", syslog.format.clone()),
    ];
    let options: Map<String, Value> =
        options.into_iter().filter_map(|(name, value)| Some((name.to_string(), json!(value?)))).collect_map();
    json!({"Type": driver.name(), "Config": options})
}

/// As people write it: `10m`.
fn size_text(bytes: u64) -> String {
    let units = [(30, "g"), (20, "m"), (10, "k")].map(|(bits, unit)| (1_u64 << bits, unit));
    match units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
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
    let exposed: Map<String, Value> = exposed.iter().map(|port| (port.to_string(), json!({}))).collect_map();
    let labels: BTreeMap<_, _> = execution.labels.iter().chain(&options.labels).collect_map();
    let (entrypoint, command) = match options.entrypoint.as_deref() {
        Some("") => (Vec::new(), &options.command),
        Some(program) => (vec![program.to_string()], &options.command),
        None if options.command.is_empty() => (execution.entrypoint.clone(), &execution.cmd),
        None => (execution.entrypoint.clone(), &options.command),
    };
    let environment = [execution.env.clone(), options.environment.clone()].concat();
    let or_null = |words: &[String]| if words.is_empty() { Value::Null } else { json!(words) };
    let mut config = json!({
        "Hostname": hostname,
        "Domainname": options.domainname.clone().unwrap_or_default(),
        "User": options.user.as_ref().unwrap_or(&execution.user),
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": options.streams.terminal,
        "OpenStdin": options.streams.interactive,
        "StdinOnce": options.streams.interactive && !options.keeps_stdin,
        "Env": or_null(&environment),
        "Cmd": or_null(command),
        "Entrypoint": or_null(&entrypoint),
        "OnBuild": null,
        "Image": record.image,
        "WorkingDir": options.workdir.as_ref().unwrap_or(&execution.working_dir),
        "Volumes": if volumes.is_empty() { Value::Null } else { json!(volumes) },
        "Labels": labels,
    });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config[name] = value;
        }
    };
    add("ExposedPorts", Some(Value::Object(exposed)).filter(|exposed| exposed != &json!({})));
    let signal = options.stop_signal.as_ref().or(execution.stop_signal.as_ref());
    add("StopSignal", signal.map(|signal| json!(signal)));
    add("StopTimeout", options.stop_timeout.map(|seconds| json!(seconds)));
    add("Healthcheck", healthcheck(execution, options));
    config
}

/// As it was asked for, in nanoseconds.
fn healthcheck(execution: &Execution, options: &Options) -> Option<Value> {
    if options.health.is_off {
        return Some(json!({"Test": ["NONE"]}));
    }
    let HealthOptions { command, interval, timeout, start_period, start_interval, retries, .. } =
        &options.health;
    let of_image = execution.healthcheck.clone();
    if command.is_none() && of_image.is_none() {
        return None;
    }
    let of_image: Healthcheck = of_image.unwrap_or_default();
    let time = |asked: &Option<Duration>, known: i64| {
        asked.map_or(known, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    };
    let test = match command {
        Some(script) => vec!["CMD-SHELL".to_string(), script.clone()],
        None => of_image.test,
    };
    let numbers = [
        ("Interval", time(interval, of_image.interval)),
        ("Timeout", time(timeout, of_image.timeout)),
        ("StartPeriod", time(start_period, of_image.start_period)),
        ("StartInterval", time(start_interval, of_image.start_interval)),
        ("Retries", retries.map_or(of_image.retries, i64::from)),
    ];
    let asked = numbers.into_iter().filter(|(_, number)| *number != 0);
    let mut members: Map<String, Value> =
        asked.map(|(name, number)| (name.to_string(), json!(number))).collect_map();
    members.insert("Test".into(), json!(test));
    Some(Value::Object(members))
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
    let mode = |sharing: Sharing, other: &Option<String>, own: &str| match (sharing, other) {
        (_, Some(name)) => format!("container:{name}"),
        (Sharing::Host, None) => "host".to_string(),
        (Sharing::Own, None) => own.to_string(),
    };
    let or_null = |words: &[String]| if words.is_empty() { Value::Null } else { json!(words) };
    let mut config = json!({
        "NetworkMode": network_name(&network.mode),
        "PortBindings": port_bindings(&network.published),
        "PublishAllPorts": network.publish_all,
        "RestartPolicy": {"Name": restart, "MaximumRetryCount": most},
        "LogConfig": log_config(&record.options.log),
        "AutoRemove": record.auto_remove,
        "Privileged": rights.privileged,
        "CapAdd": or_null(&rights.added),
        "CapDrop": or_null(&rights.dropped),
        "ReadonlyRootfs": record.options.read_only,
        "Dns": network.servers,
        "DnsOptions": network.resolver_options,
        "DnsSearch": network.search,
        "ExtraHosts": network.hosts,
        "GroupAdd": or_null(&record.options.groups),
        "PidMode": mode(namespaces.pid, &namespaces.pid_of, ""),
        "IpcMode": mode(namespaces.ipc, &namespaces.ipc_of, "private"),
        "UTSMode": mode(namespaces.uts, &None, ""),
        "CgroupnsMode": mode(namespaces.cgroup, &None, "private"),
        "CgroupParent": namespaces.cgroup_parent.clone().unwrap_or_default(),
        "ShmSize": record.options.shm_size.unwrap_or(64 << 20),
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
        "Ulimits": limits.ulimits.iter().filter_map(|text| ulimit(text)).collect::<Value>(),
        "OomScoreAdj": limits.oom_score_adj.unwrap_or(0),
    });
    let rest = json!({
        "Binds": binds(&record.options.mounts),
        "ContainerIDFile": "",
        "VolumeDriver": "",
        "VolumesFrom": or_null(&record.options.volumes_from),
        "ConsoleSize": record.options.console_size.unwrap_or_default(),
        "Cgroup": "",
        "Links": null,
        "SecurityOpt": security_options(rights),
        "UsernsMode": "",
        "Runtime": "pillbox",
        "Isolation": "",
        "NanoCpus": 0,
        "Devices": record.options.devices.iter().map(|device| json!({
            "PathOnHost": device.host,
            "PathInContainer": device.container,
            "CgroupPermissions": device.access,
        })).collect::<Value>(),
        "MaskedPaths": hidden(rights, &MASKED),
        "ReadonlyPaths": hidden(rights, &READ_ONLY),
        "MemorySwappiness": null,
        "OomKillDisable": null,
        "DeviceCgroupRules": null,
        "DeviceRequests": null,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    });
    if let (Value::Object(config), Value::Object(rest)) = (&mut config, rest) {
        config.extend(rest);
        config.extend(if_any(&record.options));
    }
    config
}

/// Members that Docker leaves out where there is nothing.
fn if_any(options: &Options) -> Map<String, Value> {
    let Options { init, sysctls, annotations, mounts, .. } = options;
    let members = [
        ("Init", Some(json!(true)).filter(|_| *init)),
        ("Sysctls", Some(json!(sysctls)).filter(|_| !sysctls.is_empty())),
        ("Annotations", Some(json!(annotations)).filter(|_| !annotations.is_empty())),
        ("Tmpfs", tmpfs(mounts)),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect_map()
}

fn hidden(rights: &Rights, paths: &[&str]) -> Value {
    if rights.unmasked || rights.privileged { json!([]) } else { json!(paths) }
}

/// What was mounted as `-v` takes it.
fn binds(mounts: &[Mount]) -> Value {
    let binds: Vec<String> = mounts
        .iter()
        .filter_map(|Mount { source, destination, access, owners }| {
            let from = match source {
                MountSource::Bind { path, .. } => path.display().to_string(),
                MountSource::Volume { name, is_anonymous: false, .. } => name.clone(),
                _ => return None,
            };
            let read_only = Some("ro".to_string()).filter(|_| *access == Access::ReadOnly);
            let flags: Vec<String> = read_only.into_iter().chain(idmap(owners.as_ref())).collect();
            let flags = if flags.is_empty() { String::new() } else { format!(":{}", flags.join(",")) };
            Some(format!("{from}:{destination}{flags}"))
        })
        .collect();
    if binds.is_empty() { Value::Null } else { json!(binds) }
}

fn idmap(owners: Option<&Owners>) -> Option<String> {
    owners.map(|owners| format!("idmap={}", owners.text()))
}

fn tmpfs(mounts: &[Mount]) -> Option<Value> {
    let found: Map<String, Value> = mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Tmpfs { options } => Some((mount.destination.clone(), json!(options.join(",")))),
            _ => None,
        })
        .collect_map();
    Some(Value::Object(found)).filter(|found| found != &json!({}))
}

fn security_options(rights: &Rights) -> Value {
    let mut options = Vec::new();
    if rights.no_new_privileges {
        options.push("no-new-privileges".to_string());
    }
    match &rights.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_string()),
        Seccomp::Profile(text) => options.push(format!("seccomp={text}")),
    }
    options.extend(rights.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    if options.is_empty() { Value::Null } else { json!(options) }
}

/// `nofile=1024:2048`.
fn ulimit(text: &str) -> Option<Value> {
    let (name, values) = text.split_once('=')?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| text.parse::<i64>().unwrap_or(-1);
    Some(json!({"Name": name, "Soft": number(soft), "Hard": number(hard)}))
}

/// `--publish` as Docker keeps it: `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`.
fn port_bindings(published: &[String]) -> Value {
    let mut bindings: Map<String, Value> = Map::new();
    for text in published {
        let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (rest, port) = rest.rsplit_once(':').unwrap_or(("", rest));
        // The address may have colons of its own.
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) if !rest.ends_with(']') => (address, host),
            _ if rest.ends_with(']') => (rest, ""),
            _ => ("", rest),
        };
        let binding = json!({"HostIp": address.trim_matches(['[', ']']), "HostPort": host});
        if let Value::Array(known) = bindings.entry(format!("{port}/{protocol}")).or_insert_with(|| json!([]))
        {
            known.push(binding);
        }
    }
    Value::Object(bindings)
}

/// A mount as Docker describes it.
pub fn inspect_mount(store: &Store, mount: &Mount) -> Value {
    let Mount { source, destination, access, owners } = mount;
    let is_writable = *access == Access::ReadWrite;
    let read_only = Some("ro".to_string()).filter(|_| !is_writable);
    let mode = read_only.into_iter().chain(idmap(owners.as_ref())).collect::<Vec<_>>().join(",");
    match source {
        MountSource::Bind { path, propagation } => json!({
            "Type": "bind",
            "Source": path,
            "Destination": destination,
            "Mode": mode,
            "RW": is_writable,
            "Propagation": propagation.as_deref().unwrap_or("rprivate"),
        }),
        MountSource::Volume { name, .. } => json!({
            "Type": "volume",
            "Name": name,
            "Source": store.volumes().path(name),
            "Destination": destination,
            "Driver": "local",
            "Mode": mode,
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
