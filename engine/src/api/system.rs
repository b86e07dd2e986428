//! The daemon itself: `_ping`, `version`, `info`.

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::exchange::{API_VERSION, API_VERSION_MIN, Exchange, Reply};
use super::fault::Outcome;
use crate::command::describe_system;
use crate::image::Platform;
use crate::time::{Moment, rfc3339};

/// Whether it is there, and which version it speaks.
pub fn ping(_: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    exchange.add_header("Builder-Version", "1");
    exchange.add_header("Swarm", "inactive");
    exchange.add_header("Cache-Control", "no-cache, no-store, must-revalidate");
    exchange.add_header("Pragma", "no-cache");
    Ok(Reply::Text(200, if exchange.head.method == "HEAD" { "" } else { "OK" }))
}

/// Versions of everything.
pub fn version(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy();
    let version = env!("CARGO_PKG_VERSION");
    let machine = Platform::of_machine();
    let built = rfc3339(Moment(0));
    let component = |name: &str| {
        json!({
            "Name": name,
            "Version": version,
            "Details": {
                "ApiVersion": API_VERSION,
                "MinAPIVersion": API_VERSION_MIN,
                "Arch": machine.architecture,
                "Os": machine.os,
                "KernelVersion": kernel,
                "BuildTime": built,
                "Experimental": "false",
                "GitCommit": "",
                "GoVersion": "",
            },
        })
    };
    Ok(Reply::Json(
        200,
        json!({
            "Platform": {"Name": "box"},
            "Components": [component("Engine"), component("pillbox")],
            "Version": version,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": API_VERSION_MIN,
            "GitCommit": "",
            "GoVersion": "",
            "Os": machine.os,
            "Arch": machine.architecture,
            "KernelVersion": kernel,
            "BuildTime": built,
        }),
    ))
}

/// The machine and what is there.
pub fn info(daemon: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    daemon.sweep();
    let own = describe_system(&daemon.store)?;
    let controllers = own["CgroupControllers"].as_array().cloned().unwrap_or_default();
    let has = |name: &str| controllers.iter().any(|known| known == name);
    let missing =
        [("memory", "memory limit"), ("cpu", "cpu shares"), ("cpuset", "cpuset"), ("pids", "pids limit")];
    let warnings: Vec<String> = missing
        .into_iter()
        .filter(|(controller, _)| !has(controller))
        .map(|(_, what)| format!("WARNING: No {what} support"))
        .collect();
    let mut security = vec!["name=seccomp,profile=builtin", "name=cgroupns"];
    if daemon.store.maps().is_some() {
        security.push("name=rootless");
    }
    let members = [
        "Containers",
        "ContainersRunning",
        "ContainersPaused",
        "ContainersStopped",
        "Images",
        "KernelVersion",
        "NCPU",
        "MemTotal",
    ];
    let mut info = json!({
        "ID": "box",
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "the data root's"], ["Supports d_type", "true"], ["Native Overlay Diff", "true"]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Authorization": null,
            "Log": ["local", "none"],
        },
        "MemoryLimit": has("memory"),
        "SwapLimit": has("memory"),
        "CpuCfsPeriod": has("cpu"),
        "CpuCfsQuota": has("cpu"),
        "CPUShares": has("cpu"),
        "CPUSet": has("cpuset"),
        "PidsLimit": has("pids"),
        "OomKillDisable": false,
        "IPv4Forwarding": reads("/proc/sys/net/ipv4/ip_forward", "1"),
        "Debug": false,
        "NFd": std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        "NGoroutines": std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count),
        "NEventsListener": 0,
        "SystemTime": rfc3339(Moment::now()),
        "LoggingDriver": "json-file",
    });
    let rest = json!({
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "OperatingSystem": operating_system(),
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "IndexConfigs": {"docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true}},
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "Mirrors": null,
        },
        "GenericResources": null,
        "DockerRootDir": own["DataRoot"],
        "HttpProxy": proxy("HTTP_PROXY"),
        "HttpsProxy": proxy("HTTPS_PROXY"),
        "NoProxy": proxy("NO_PROXY"),
        "Name": rustix::system::uname().nodename().to_string_lossy(),
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Runtimes": {"pillbox": {"path": "pillbox"}},
        "DefaultRuntime": "pillbox",
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "", "RemoteManagers": null},
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": env!("CARGO_PKG_VERSION")},
        "InitCommit": {"ID": ""},
        "SecurityOptions": security,
        "CDISpecDirs": [],
        "Warnings": warnings,
    });
    if let (Value::Object(info), Value::Object(rest)) = (&mut info, rest) {
        info.extend(rest);
    }
    for name in members {
        info[name] = own[name].clone();
    }
    Ok(Reply::Json(200, info))
}

fn reads(path: &str, wanted: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == wanted)
}

fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux".to_string(), |name| name.trim_matches('"').to_string())
}

/// A proxy may have a password in its address.
fn proxy(name: &str) -> Value {
    let text = std::env::var(name).or_else(|_| std::env::var(name.to_ascii_lowercase())).unwrap_or_default();
    let hidden = text.split_once("://").and_then(|(scheme, rest)| {
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://xxxxx:xxxxx@{host}"))
    });
    json!(hidden.unwrap_or(text))
}
