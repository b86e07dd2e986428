//! One container after another, with a network and without: what `create` and `delete` cost with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::host::Host;
use super::trips;
use crate::cases::{read_pid, reap};
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result};
use crate::figures::Samples;
use crate::runtime::{Cost, Runtime};

/// The cases of a container's life that a network changes.
pub const LIFE: [&str; 2] = ["create", "delete"];

/// How a container is connected, in the order of the table.
pub const CONNECTED: [&str; 4] = [WITHOUT, FILES, BRIDGED, PUBLISHED];
/// A network namespace of its own, and nothing else.
pub const WITHOUT: &str = "without a network";
/// The same with /etc/hosts, /etc/hostname and /etc/resolv.conf.
pub const FILES: &str = "with the files for names";
/// An interface on a bridge, with addresses of both families, and the files.
pub const BRIDGED: &str = "bridged";
/// The same with a published port.
pub const PUBLISHED: &str = "bridged, one port published";

/// How long the kernel gets to take down network namespaces before others are made.
pub const SETTLE: Duration = Duration::from_millis(50);

/// The port that is published.
const PORT: &str = "8080:80";

/// What is counted of one command.
pub struct Count {
    /// The command, and how the container is connected.
    pub case: String,
    /// What is sent over netlink.
    pub trips: usize,
    /// The system calls of the command's own process.
    pub calls: usize,
}

/// The name of a count.
pub fn count_case(command: &str, connected: &str) -> String {
    format!("{command}, {connected}")
}

/// netconf.json for a container on a bridge with that number, with these ports.
pub fn netconf(bridge: usize, ports: &[&str]) -> Value {
    let model = json!({ "type": "bridge", "bridge_name": format!("bench{bridge}") });
    json!({ "model": model, "interfaces": [{ "type": "veth", "peer_name": "eth0", "ports": ports }] })
}

/// Writes a netconf.json beside the bundles.
pub fn write_netconf(course: &Course<'_>, name: &str, netconf: &Value) -> Result<PathBuf> {
    let file = course.scratch.file(name);
    fs::write(&file, netconf.to_string()).context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// `create` of a container that waits; its pid is in the pid file.
pub fn create(course: &Course<'_>, runtime: &Runtime, netconf: Option<&Path>, id: &str) -> Result<Cost> {
    runtime.time(&create_arguments(course, netconf, id))
}

fn create_arguments(course: &Course<'_>, netconf: Option<&Path>, id: &str) -> Vec<std::ffi::OsString> {
    let mut arguments = vec!["create".into(), "--bundle".into(), course.scratch.bundle("pause").into()];
    arguments.extend(["--pid-file".into(), course.scratch.file("pid").into()]);
    if let Some(netconf) = netconf {
        arguments.extend(["--netconf".into(), netconf.into()]);
    }
    arguments.push(id.into());
    arguments
}

/// Kills the container of the pid file, and waits until its first process is gone.
fn end(course: &Course<'_>) -> Result<()> {
    let pid_file = course.scratch.file("pid");
    kill_process(read_pid(&pid_file)?, Signal::KILL).context(|| "kill the container")?;
    reap(&pid_file)
}

/// Takes one container through its life. `delete` follows its end at once.
pub fn live(course: &Course<'_>, runtime: &Runtime, netconf: Option<&Path>, samples: &mut [Samples]) {
    let id = course.id();
    let created = create(course, runtime, netconf, &id);
    let is_there = created.is_ok();
    samples[0].add(created);
    if is_there {
        let deleted = end(course).and_then(|()| runtime.time(&["delete", &id]));
        if deleted.is_err() {
            runtime.discard(&id);
        }
        samples[1].add(deleted);
    }
    std::thread::sleep(SETTLE);
}

/// Measures and counts lives with each kind of network.
pub fn measure(course: &Course<'_>, runtime: &Runtime) -> Result<(Vec<Line>, Vec<Count>)> {
    let _host = Host::new()?;
    eprintln!("bench: create and delete, by network …");
    let files = [
        None,
        Some(write_netconf(course, "files.json", &json!({}))?),
        Some(write_netconf(course, "bridged.json", &netconf(0, &[]))?),
        Some(write_netconf(course, "published.json", &netconf(0, &[PORT]))?),
    ];
    let subjects: Vec<(&str, Option<&Path>)> =
        CONNECTED.into_iter().zip(files.iter().map(Option::as_deref)).collect();
    let samples = interleave(course.runs, LIFE.len(), &subjects, &mut |(_, netconf), samples| {
        live(course, runtime, *netconf, samples);
    });
    let mut counts = Vec::new();
    for (connected, netconf) in subjects {
        counts.extend(count(course, runtime, connected, netconf)?);
    }
    Ok((lines(&LIFE, &CONNECTED, samples), counts))
}

/// Counts what one container's `create` and `delete` do.
fn count(
    course: &Course<'_>,
    runtime: &Runtime,
    connected: &str,
    netconf: Option<&Path>,
) -> Result<Vec<Count>> {
    let id = course.id();
    let mut counts = Vec::new();
    for (case, arguments) in [
        ("create", create_arguments(course, netconf, &id)),
        ("delete", vec!["delete".into(), id.clone().into()]),
    ] {
        if case == "delete" {
            end(course)?;
        }
        let mut command = runtime.command(&arguments);
        command.stdin(Stdio::null());
        match trips::count(&mut command, &course.scratch.file("stderr")) {
            Ok(Some((trips, calls))) => {
                counts.push(Count { case: count_case(case, connected), trips, calls });
            }
            // Another machine than x86-64.
            Ok(None) if case == "create" => {
                create(course, runtime, netconf, &id)?;
            }
            Ok(None) => runtime.discard(&id),
            Err(error) => {
                runtime.discard(&id);
                return Err(error);
            }
        }
    }
    Ok(counts)
}
