//! Many ports, many containers: the 500th published port and the 1,000th container of a bridge beside the first.

use std::path::Path;
use std::time::Duration;

use super::container::{create, live, netconf, write_netconf};
use super::host::Host;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Result, error};
use crate::figures::Samples;
use crate::runtime::Runtime;

/// A container with one port.
pub const PORTS: [&str; 2] = ["create, one port published", "delete, one port published"];
/// Where no other port is published.
pub const NO_PORTS: &str = "beside no other port";
/// Where many others are.
pub const MANY_PORTS: &str = "beside 499 other ports";

/// A bridged container.
pub const CROWD: [&str; 2] = ["create, bridged", "delete, bridged"];
/// Of a bridge without ports, on an empty machine.
pub const FIRST: &str = "the first of its bridge";
/// Of a bridge with all the others.
pub const LAST: &str = "the last of its bridge";
/// Of a bridge without ports, beside the others on another host's.
pub const FIRST_BESIDE: &str = "the first of its bridge, the others on another one";
/// A container without a network beside all the others.
pub const NONE_BESIDE: &str = "without a network, beside the others";

/// How long what many new containers send of their own accord goes on: routers are asked for three times, 4 s apart
/// (net.ipv6.conf.default.router_solicitations), and each packet goes to every port of the bridge.
const SETTLE: Duration = Duration::from_secs(15);

/// A container with one port on two hosts: on one of them another container has 499.
pub fn ports(course: &Course<'_>, runtime: &Runtime) -> Result<Vec<Line>> {
    eprintln!("bench: the 500th published port …");
    let one = write_netconf(course, "one-port.json", &netconf(0, &["8080:80"]))?;
    let many = write_netconf(course, "many-ports.json", &netconf(0, &["10000-10498:10000-10498"]))?;
    let hosts = [Host::new()?, Host::new()?];
    // The last host is the one on which this process is.
    let other = course.id();
    create(course, runtime, Some(&many), &other)?;
    let samples = interleave(course.runs, PORTS.len(), &hosts, &mut |host, samples| {
        live_on(course, runtime, host, Some(&one), samples);
    });
    hosts[1].enter()?;
    runtime.discard(&other);
    Ok(lines(&PORTS, &[NO_PORTS, MANY_PORTS], samples))
}

fn live_on(
    course: &Course<'_>,
    runtime: &Runtime,
    host: &Host,
    netconf: Option<&Path>,
    samples: &mut [Samples],
) {
    match host.enter() {
        Ok(()) => live(course, runtime, netconf, samples),
        Err(error) => samples[0].add(Err(error)),
    }
}

/// The first container of a bridge, then many, then the last one beside the first one of another bridge.
pub fn containers(course: &Course<'_>, runtime: &Runtime) -> Result<Vec<Line>> {
    eprintln!("bench: {} containers on one bridge …", course.live);
    let bridged = write_netconf(course, "crowd.json", &netconf(0, &[]))?;
    let (empty, full) = (Host::new()?, Host::new()?);
    let alone = [&full];
    let first = interleave(course.runs, CROWD.len(), &alone, &mut |host, samples| {
        live_on(course, runtime, host, Some(&bridged), samples);
    });
    let others: Vec<String> = (1..course.live).map(|_| course.id()).collect();
    let filled = others.iter().enumerate().try_for_each(|(number, id)| {
        let made = create(course, runtime, Some(&bridged), id);
        made.map(drop).map_err(|cause| error(format!("container {} of one bridge: {cause}", number + 1)))
    });
    std::thread::sleep(SETTLE);
    let mut measured = lines(&CROWD, &[FIRST], first);
    if filled.is_ok() {
        let subjects = [(&full, Some(&*bridged)), (&empty, Some(&*bridged)), (&empty, None)];
        let samples = interleave(course.runs, CROWD.len(), &subjects, &mut |(host, netconf), samples| {
            live_on(course, runtime, host, *netconf, samples);
        });
        measured.extend(lines(&CROWD, &[LAST, FIRST_BESIDE, NONE_BESIDE], samples));
    }
    full.enter()?;
    others.iter().for_each(|id| runtime.discard(id));
    filled.map(|()| measured)
}
