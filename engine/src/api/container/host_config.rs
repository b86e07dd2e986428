//! What a client says about a new container, as the engine's options. Pure. What box cannot do is refused by its name.

use std::path::PathBuf;

use super::body::{
    CreateBody, EndpointBody, HostConfig, LogConfig, MountBody, PortBinding, Resources, RestartPolicy,
    ThrottleBody,
};
use crate::api::fault::{Fault, Outcome};
use crate::command::{
    Arguments, PROPAGATIONS, check_target, log_options, parse_device_rule, parse_tmpfs, parse_volume,
};
use crate::container::{
    Access, Connection, DeviceLimit, DeviceRequest, DeviceUse, IpcAccess, Limits, LogOptions, Mount,
    MountSource, NetworkMode, Options, Restart, Seccomp, Sharing, Streams, USUAL, VolumeWish,
    processors_of_machine,
};
use crate::image::{Execution, Healthcheck};

/// The options that a body asks for. What belongs to the image is changed in `execution`.
///
/// # Errors
/// Something cannot be; it is named.
pub fn options(body: &CreateBody, execution: &mut Execution) -> Outcome<Options> {
    let host = &body.host_config;
    refuse(host)?;
    check_execution(body)?;
    merge_execution(body, execution);
    let mut options = Options {
        command: body.cmd.clone().unwrap_or_default().0,
        environment: body.env.clone(),
        workdir: text(&body.working_dir),
        user: text(&body.user),
        groups: host.group_add.clone(),
        streams: Streams { interactive: body.open_stdin, terminal: body.tty },
        console_size: host.console_size.filter(|size| !size.contains(&0)),
        keeps_stdin: body.open_stdin && !body.stdin_once,
        hostname: text(&body.hostname),
        domainname: text(&body.domainname),
        volumes_from: host.volumes_from.clone(),
        init: host.init == Some(true),
        read_only: host.readonly_rootfs,
        shm_size: Some(host.shm_size).filter(|size| *size > 0),
        limits: limits(&host.resources)?,
        sysctls: host.sysctls.clone(),
        labels: body.labels.clone(),
        annotations: host.annotations.clone(),
        stop_signal: text(&body.stop_signal),
        stop_timeout: body.stop_timeout.map(|seconds| u64::try_from(seconds).unwrap_or(u64::from(u32::MAX))),
        restart: restart(&host.restart_policy)?,
        log: log(&host.log_config)?,
        ..Options::default()
    };
    if host.auto_remove && options.restart != Restart::No {
        return Err(Fault::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    options.limits.oom_score_adj = Some(host.oom_score_adj).filter(|score| *score != 0);
    mounts(host, &mut options)?;
    rights(host, &mut options)?;
    namespaces(host, &mut options)?;
    network(body, &mut options)?;
    Ok(options)
}

fn text(text: &str) -> Option<String> {
    Some(text.to_string()).filter(|text| !text.is_empty())
}

/// Whatever is asked for and not there.
fn refuse(host: &HostConfig) -> Outcome<()> {
    let Resources { memory_swappiness, oom_kill_disable, .. } = &host.resources;
    let wrong = [
        ("Links", !host.links.is_empty(), "links: connect both to a network with a name instead"),
        ("StorageOpt", !host.storage_opt.is_empty(), "--storage-opt: sizes of roots cannot be limited"),
        (
            "DeviceRequests",
            !host.device_requests.is_empty(),
            "--gpus: devices are asked for by their paths (--device)",
        ),
        ("Cgroup", !host.cgroup.is_empty(), "Cgroup"),
        (
            "VolumeDriver",
            !matches!(host.volume_driver.as_str(), "" | "local"),
            "--volume-driver: must be local",
        ),
        ("UsernsMode", !matches!(host.userns_mode.as_str(), "" | "host"), "--userns: must be host"),
        ("Isolation", !matches!(host.isolation.as_str(), "" | "default"), "--isolation: must be default"),
        ("Runtime", !matches!(host.runtime.as_str(), "" | "pillbox" | "runc"), "--runtime: must be pillbox"),
        ("MemorySwappiness", memory_swappiness.is_some_and(|value| value != -1), "--memory-swappiness"),
        ("OomKillDisable", *oom_kill_disable == Some(true), "--oom-kill-disable"),
    ];
    refuse_resources(&host.resources)?;
    match wrong.iter().find(|(_, is_wanted, _)| *is_wanted) {
        Some((name, _, what)) => Err(Fault::invalid(format!("HostConfig.{name}: box has no {what}"))),
        None => Ok(()),
    }
}

fn refuse_resources(resources: &Resources) -> Outcome<()> {
    let wrong = [
        ("CpuRealtimePeriod", resources.cpu_realtime_period != 0),
        ("CpuRealtimeRuntime", resources.cpu_realtime_runtime != 0),
        ("KernelMemory", resources.kernel_memory > 0),
        ("KernelMemoryTCP", resources.kernel_memory_tcp > 0),
    ];
    match wrong.iter().find(|(_, is_wanted)| *is_wanted) {
        Some((name, _)) => Err(Fault::invalid(format!("HostConfig.{name}: box has no such limit"))),
        None => Ok(()),
    }
}

/// What belongs to a program, and cannot be.
fn check_execution(body: &CreateBody) -> Outcome<()> {
    if pillbox::signal::parse(or_term(&body.stop_signal)).is_err() {
        return Err(Fault::invalid(format!("invalid signal: {}", body.stop_signal)));
    }
    if let Some(variable) = body.env.iter().find(|variable| variable.starts_with('=')) {
        return Err(Fault::invalid(format!("invalid environment variable: {variable}")));
    }
    for path in body.volumes.keys() {
        check_target(path).map_err(|what| Fault::invalid(format!("Volumes: {path:?}: {what}")))?;
    }
    body.healthcheck.as_ref().map_or(Ok(()), check_health)
}

fn or_term(signal: &str) -> &str {
    if signal.is_empty() { "TERM" } else { signal }
}

/// In Docker's words.
fn check_health(health: &Healthcheck) -> Outcome<()> {
    const LEAST: i64 = 1_000_000;
    let Healthcheck { test, interval, timeout, start_period, start_interval, retries } = health;
    let times = [
        ("Interval", interval),
        ("Timeout", timeout),
        ("StartPeriod", start_period),
        ("StartInterval", start_interval),
    ];
    if let Some((name, _)) = times.into_iter().find(|(_, time)| **time != 0 && **time < LEAST) {
        return Err(Fault::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
    }
    if *retries < 0 {
        return Err(Fault::invalid("Retries in Healthcheck cannot be negative"));
    }
    match test.first().map(String::as_str) {
        None | Some("" | "NONE" | "CMD" | "CMD-SHELL") => Ok(()),
        Some(kind) => {
            Err(Fault::invalid(format!("Test in Healthcheck: {kind:?}: must be CMD, CMD-SHELL or NONE")))
        }
    }
}

/// What belongs to the image, and is another way in this container.
fn merge_execution(body: &CreateBody, execution: &mut Execution) {
    if let Some(entrypoint) = &body.entrypoint {
        execution.entrypoint = match &entrypoint.0[..] {
            [only] if only.is_empty() => Vec::new(),
            words => words.to_vec(),
        };
        // An entry point takes the image's command with it; a list without words does not.
        if !entrypoint.0.is_empty() {
            execution.cmd = Vec::new();
        }
    }
    for port in body.host_config.port_bindings.keys() {
        let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        execution.exposed_ports.insert(port, Default::default());
    }
    for path in body.volumes.keys() {
        execution.volumes.insert(path.clone(), Default::default());
    }
    if let Some(asked) = &body.healthcheck {
        let mut health = execution.healthcheck.take().unwrap_or_default();
        if !asked.test.is_empty() {
            health.test.clone_from(&asked.test);
        }
        let pick = |asked: i64, known: i64| if asked == 0 { known } else { asked };
        health.interval = pick(asked.interval, health.interval);
        health.timeout = pick(asked.timeout, health.timeout);
        health.start_period = pick(asked.start_period, health.start_period);
        health.start_interval = pick(asked.start_interval, health.start_interval);
        health.retries = pick(asked.retries, health.retries);
        execution.healthcheck = Some(health);
    }
}

/// A processor, and the least part of one, in billionths.
const NANO_CPUS: u64 = 1_000_000_000;
const NANO_CPUS_LEAST: u64 = 10_000_000;

/// The limits of a body.
///
/// # Errors
/// One cannot be.
pub fn limits(resources: &Resources) -> Outcome<Limits> {
    refuse_resources(resources)?;
    let some = |number: u64| Some(number).filter(|number| *number > 0);
    if some(resources.memory).is_some_and(|bytes| bytes < 6 << 20) {
        return Err(Fault::invalid("Minimum memory limit allowed is 6MB"));
    }
    if some(resources.memory_reservation).is_some_and(|bytes| bytes < 6 << 20) {
        return Err(Fault::invalid("Minimum memory reservation allowed is 6MB"));
    }
    if let Some(count) = processors_of_machine().filter(|count| resources.nano_cpus > count * NANO_CPUS) {
        return Err(Fault::invalid(format!(
            "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        )));
    }
    if resources.nano_cpus > 0 && resources.nano_cpus < NANO_CPUS_LEAST {
        return Err(Fault::invalid(format!(
            "HostConfig.NanoCpus: {}: must be {NANO_CPUS_LEAST} (0.01 of a processor) or more",
            resources.nano_cpus
        )));
    }
    if resources.cpu_period > 0 && !(1_000..=1_000_000).contains(&resources.cpu_period) {
        return Err(Fault::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if (1..1_000).contains(&resources.cpu_quota) {
        return Err(Fault::invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    if resources.nano_cpus > 0 && (resources.cpu_quota > 0 || resources.cpu_period > 0) {
        return Err(Fault::invalid("Conflicting options: Nano CPUs and CPU Period/Quota cannot both be set"));
    }
    // Billionths of a processor, in microseconds of 100 milliseconds.
    let quota = some(resources.nano_cpus / 10_000).or(u64::try_from(resources.cpu_quota).ok().and_then(some));
    let limit = |limit: &super::body::UlimitBody| format!("{}={}:{}", limit.name, limit.soft, limit.hard);
    Ok(Limits {
        memory: some(resources.memory),
        memory_swap: Some(resources.memory_swap).filter(|bytes| *bytes != 0),
        memory_reservation: some(resources.memory_reservation),
        cpu_quota: quota,
        cpu_period: some(resources.cpu_period),
        cpu_shares: some(resources.cpu_shares),
        cpuset_cpus: text(&resources.cpuset_cpus),
        cpuset_mems: text(&resources.cpuset_mems),
        // Less than nothing is no limit.
        pids: resources.pids_limit.filter(|count| *count != 0).map(|count| count.max(-1)),
        blkio_weight: Some(resources.blkio_weight).filter(|weight| *weight > 0),
        ulimits: resources.ulimits.iter().map(limit).collect(),
        ..Limits::default()
    })
}

/// When it is started again.
///
/// # Errors
/// There is no such policy.
pub fn restart(policy: &RestartPolicy) -> Outcome<Restart> {
    let most = u32::try_from(policy.maximum_retry_count).map_err(|_| match policy.maximum_retry_count {
        ..0 => Fault::invalid("invalid restart policy: maximum retry count cannot be negative"),
        count => Fault::invalid(format!("invalid restart policy: maximum retry count {count} is too large")),
    })?;
    match (policy.name.as_str(), most) {
        ("" | "no", 0) => Ok(Restart::No),
        ("always", 0) => Ok(Restart::Always),
        ("unless-stopped", 0) => Ok(Restart::UnlessStopped),
        ("on-failure", 0) => Ok(Restart::OnFailure(None)),
        ("on-failure", most) => Ok(Restart::OnFailure(Some(most))),
        ("" | "no" | "always" | "unless-stopped", _) => Err(Fault::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        )),
        (name, _) => Err(Fault::invalid(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

/// As the flags of the command line have it.
fn log(config: &LogConfig) -> Outcome<LogOptions> {
    let driver = Some(config.kind.clone()).filter(|kind| !kind.is_empty());
    let driver = driver.into_iter().map(|kind| ("log-driver", kind));
    let options = config.config.iter().map(|(name, value)| ("log-opt", format!("{name}={value}")));
    Ok(log_options(&Arguments::of(driver.chain(options)))?)
}

fn mounts(host: &HostConfig, options: &mut Options) -> Outcome<()> {
    for bind in &host.binds {
        // What other systems need.
        let kept = match bind.rsplit_once(':') {
            Some((rest, flags)) if !flags.starts_with('/') => {
                let others = ["consistent", "cached", "delegated"];
                let flags: Vec<&str> = flags.split(',').filter(|flag| !others.contains(flag)).collect();
                if flags.is_empty() { rest.to_string() } else { format!("{rest}:{}", flags.join(",")) }
            }
            _ => bind.clone(),
        };
        if !kept.starts_with('/')
            && (kept.starts_with('.') || kept.split(':').next().unwrap_or_default().contains('/'))
        {
            return Err(Fault::invalid(format!("invalid volume specification: '{bind}'")));
        }
        options.mounts.push(parse_volume(&kept)?);
    }
    for mount in &host.mounts {
        options.mounts.push(mount_of(mount)?);
    }
    for (path, flags) in &host.tmpfs {
        options.mounts.push(parse_tmpfs(&format!("{path}:{flags}"))?);
    }
    options.devices = host
        .devices
        .iter()
        .map(|device| DeviceRequest {
            host: PathBuf::from(&device.path_on_host),
            container: text(&device.path_in_container).unwrap_or_else(|| device.path_on_host.clone()),
            access: text(&device.cgroup_permissions).unwrap_or_else(|| "rwm".to_string()),
        })
        .collect();
    for rule in &host.device_cgroup_rules {
        options.device_rules.push(parse_device_rule(rule)?);
    }
    options.device_limits = device_limits(&host.resources);
    Ok(())
}

fn device_limits(resources: &Resources) -> Vec<DeviceLimit> {
    let limit = |what: DeviceUse, limit: &ThrottleBody| {
        let ThrottleBody { path, rate, weight } = limit;
        DeviceLimit { device: PathBuf::from(path), what, value: (*rate).max(*weight) }
    };
    let kinds = [
        (DeviceUse::Weight, &resources.blkio_weight_device),
        (DeviceUse::ReadBytes, &resources.blkio_device_read_bps),
        (DeviceUse::WriteBytes, &resources.blkio_device_write_bps),
        (DeviceUse::ReadOperations, &resources.blkio_device_read_iops),
        (DeviceUse::WriteOperations, &resources.blkio_device_write_iops),
    ];
    kinds.into_iter().flat_map(|(what, limits)| limits.iter().map(move |one| limit(what, one))).collect()
}

fn mount_of(mount: &MountBody) -> Outcome<Mount> {
    let wrong =
        |what: &str| Fault::invalid(format!("invalid mount config for type \"{}\": {what}", mount.kind));
    if mount.target.is_empty() {
        return Err(wrong("field Target must not be empty"));
    }
    check_target(&mount.target).map_err(|what| wrong(&format!("Target {:?}: {what}", mount.target)))?;
    let source = match mount.kind.as_str() {
        "bind" => {
            let bind = &mount.bind_options;
            if bind.non_recursive || bind.read_only_non_recursive {
                return Err(wrong("box mounts what lies below as well: leave bind-recursive out"));
            }
            if !bind.propagation.is_empty() && !PROPAGATIONS.contains(&bind.propagation.as_str()) {
                return Err(wrong(&format!("invalid propagation mode: {}", bind.propagation)));
            }
            if mount.source.is_empty() {
                return Err(wrong("field Source must not be empty"));
            }
            let path = PathBuf::from(&mount.source);
            if !path.is_absolute() {
                return Err(wrong(&format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                )));
            }
            if bind.create_mountpoint {
                std::fs::create_dir_all(&path)?;
            }
            if !path.exists() {
                return Err(wrong(&format!("bind source path does not exist: {}", mount.source)));
            }
            MountSource::Bind { path, propagation: text(&bind.propagation) }
        }
        "volume" => {
            let volume = &mount.volume_options;
            if !volume.subpath.is_empty() {
                return Err(wrong("box has no volume-subpath"));
            }
            if !matches!(volume.driver_config.name.as_str(), "" | "local") {
                return Err(wrong(&format!("the driver {} must be local", volume.driver_config.name)));
            }
            if !mount.source.is_empty() {
                crate::container::check_volume_name(&mount.source)?;
            }
            MountSource::Volume {
                name: mount.source.clone(),
                is_anonymous: false,
                copies: !volume.no_copy,
                wish: VolumeWish {
                    labels: volume.labels.clone(),
                    options: volume.driver_config.options.clone(),
                },
            }
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(wrong("field Source must not be specified"));
            }
            let tmpfs = &mount.tmpfs_options;
            let size = (tmpfs.size_bytes > 0).then(|| format!("size={}", tmpfs.size_bytes));
            let mode = (tmpfs.mode > 0).then(|| format!("mode={:o}", tmpfs.mode));
            let others = tmpfs.options.iter().map(|words| words.join("="));
            MountSource::Tmpfs { options: size.into_iter().chain(mode).chain(others).collect() }
        }
        kind => return Err(Fault::invalid(format!("mount type {kind:?}: must be bind, volume or tmpfs"))),
    };
    let access = if mount.read_only { Access::ReadOnly } else { Access::ReadWrite };
    Ok(Mount::new(source, mount.target.clone(), access))
}

fn rights(host: &HostConfig, options: &mut Options) -> Outcome<()> {
    let rights = &mut options.rights;
    rights.privileged = host.privileged;
    rights.added.clone_from(&host.cap_add);
    rights.dropped.clone_from(&host.cap_drop);
    for option in &host.security_opt {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => rights.no_new_privileges = true,
            ("no-new-privileges", "false") => rights.no_new_privileges = false,
            ("seccomp", "unconfined") => rights.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin" | "default") => rights.seccomp = Seccomp::Default,
            // The client has read the file.
            ("seccomp", profile) if profile.starts_with('{') => {
                rights.seccomp = Seccomp::Profile(profile.to_string())
            }
            ("apparmor", "unconfined") => {}
            ("apparmor", profile) if !profile.is_empty() => rights.apparmor = Some(profile.to_string()),
            ("label", "disable") => {}
            _ => return Err(Fault::invalid(format!("invalid --security-opt 2: {option:?}"))),
        }
    }
    match (&host.masked_paths, &host.readonly_paths) {
        (None, None) => {}
        (masked, read_only) if masked.iter().chain(read_only).all(Vec::is_empty) => rights.unmasked = true,
        _ => {
            return Err(Fault::invalid(
                "HostConfig.MaskedPaths and ReadonlyPaths: must be null, or both empty",
            ));
        }
    }
    Ok(())
}

fn namespaces(host: &HostConfig, options: &mut Options) -> Outcome<()> {
    let namespaces = &mut options.namespaces;
    let other = |mode: &str| mode.strip_prefix("container:").map(str::to_string);
    let sharing = |name: &str, mode: &str| match mode {
        "" | "private" | "shareable" => Ok(Sharing::Own),
        "host" => Ok(Sharing::Host),
        mode if mode.starts_with("container:") => Ok(Sharing::Own),
        mode => Err(Fault::invalid(format!("invalid {name} mode: {mode}"))),
    };
    namespaces.pid_of = other(&host.pid_mode);
    namespaces.ipc_of = other(&host.ipc_mode);
    namespaces.pid = sharing("PID", &host.pid_mode)?;
    (namespaces.ipc, namespaces.ipc_access) = match host.ipc_mode.as_str() {
        "private" => (Sharing::Own, IpcAccess::Private),
        "none" => (Sharing::Own, IpcAccess::None),
        mode => (sharing("IPC", mode)?, IpcAccess::Shareable),
    };
    namespaces.uts = sharing("UTS", &host.uts_mode)?;
    namespaces.cgroup = sharing("cgroup namespace", &host.cgroupns_mode)?;
    namespaces.cgroup_parent = text(&host.resources.cgroup_parent);
    Ok(())
}

fn network(body: &CreateBody, options: &mut Options) -> Outcome<()> {
    let host = &body.host_config;
    let network = &mut options.network;
    network.mode = match host.network_mode.as_str() {
        _ if body.network_disabled => NetworkMode::None,
        "" | "default" | "bridge" => NetworkMode::Default,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        name => match name.strip_prefix("container:") {
            Some(other) => NetworkMode::Container(other.to_string()),
            None => NetworkMode::Named(name.to_string()),
        },
    };
    network.hosts.clone_from(&host.extra_hosts);
    network.servers.clone_from(&host.dns);
    network.search.clone_from(&host.dns_search);
    network.resolver_options.clone_from(&host.dns_options);
    network.published = published(body)?;
    network.publish_all = host.publish_all_ports;
    network.exposed = body.exposed_ports.keys().cloned().collect();
    network.mac = text(&body.mac_address);
    let endpoints = &body.networking_config.endpoints_config;
    let first = match host.network_mode.as_str() {
        "" | "default" => USUAL,
        name => name,
    };
    for (name, endpoint) in endpoints {
        let name = if name == "default" { USUAL } else { name };
        let Connection { network: _, aliases, addresses, mac } = connection(name, endpoint)?;
        if name == first {
            (network.aliases, network.addresses) = (aliases, addresses);
            network.mac = mac.or(network.mac.take());
        } else {
            network.others.push(Connection { network: name.to_string(), aliases, addresses, mac });
        }
    }
    Ok(())
}

/// How a container is to be connected to a network.
///
/// # Errors
/// Something is asked for that box does not have.
pub fn connection(network: &str, endpoint: &EndpointBody) -> Outcome<Connection> {
    let EndpointBody { ipam_config, links, aliases, mac_address, driver_opts } = endpoint;
    if !links.is_empty() || !driver_opts.is_empty() || !ipam_config.link_local.is_empty() {
        return Err(Fault::invalid("EndpointsConfig: Links, DriverOpts and LinkLocalIPs are not there"));
    }
    let addresses = [&ipam_config.four, &ipam_config.six].into_iter().filter_map(|address| text(address));
    Ok(Connection {
        network: network.to_string(),
        aliases: aliases.clone(),
        addresses: addresses.collect(),
        mac: text(mac_address),
    })
}

/// As `--publish` takes them.
fn published(body: &CreateBody) -> Outcome<Vec<String>> {
    let mut published = Vec::new();
    for (port, bindings) in &body.host_config.port_bindings {
        let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        let any = [PortBinding::default()];
        let bindings = if bindings.is_empty() { &any[..] } else { bindings };
        for PortBinding { host_ip, host_port } in bindings {
            let host_port = if host_port == "0" { "" } else { host_port };
            let address = if host_ip.contains(':') { format!("[{host_ip}]") } else { host_ip.clone() };
            published.push(match (address.as_str(), host_port) {
                ("", "") => port.clone(),
                ("", host_port) => format!("{host_port}:{port}"),
                (address, host_port) => format!("{address}:{host_port}:{port}"),
            });
        }
    }
    Ok(published)
}
