//! What is wrong with the options of a container whatever the machine has, found before it is made, and named by its flag.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Component, Path};

use pillbox::validate::number_list::parse_ranges;
use pillbox_network::link::parse_mac;

use super::compile::compile_ulimit;
use super::network::{address_flag, named_address};
use super::options::{Limits, Mount, MountSource, Network, NetworkMode, Options, PERIOD};
use super::size::parse_processors;
use crate::error::{Error, Result};
use crate::order;
use crate::store::Store;

/// What can be mounted in /proc in place of what is there: files alone.
const PROC: &str = "/proc";

/// Which processors there are, and which nodes of memory.
const PROCESSORS: &str = "/sys/devices/system/cpu/online";
const NODES: &str = "/sys/devices/system/node/has_memory";

/// Checks options.
///
/// # Errors
/// One has a value that cannot be.
pub fn check_options(options: &Options) -> Result<()> {
    check_workdir(options)?;
    check_limits(&options.limits)?;
    check_amounts(&options.limits)?;
    check_network(&options.network)?;
    check_cgroup_parent(options.namespaces.cgroup_parent.as_deref())?;
    options.sysctls.keys().try_for_each(|name| check_sysctl(name))?;
    options.mounts.iter().try_for_each(check_mount)
}

/// Checks that the networks, or the container whose network it is, are there.
///
/// # Errors
/// One is not; it is named.
pub fn check_networks(store: &Store, network: &Network) -> Result<()> {
    match &network.mode {
        NetworkMode::Container(other) => store.containers().find(other).map(drop),
        NetworkMode::Named(name) => store.networks().find(name).map(drop),
        NetworkMode::Default | NetworkMode::None | NetworkMode::Host => Ok(()),
    }
    .map_err(|error| error.context("--network"))
}

fn check_workdir(options: &Options) -> Result<()> {
    match options.workdir.as_deref().filter(|path| !path.is_empty() && !path.starts_with('/')) {
        Some(path) => Err(Error::invalid(format!("--workdir {path}: must be an absolute path"))),
        None => Ok(()),
    }
}

/// Addresses of all kinds. Whether they can be had turns out when it is started.
fn check_network(network: &Network) -> Result<()> {
    if let Some(server) = network.servers.iter().find(|text| text.parse::<IpAddr>().is_err()) {
        return Err(Error::invalid(format!("--dns {server}: must be an IP address")));
    }
    // Which address is the host's is the network's to say.
    network.hosts.iter().try_for_each(|text| named_address(text, Some("0.0.0.0")).map(drop))?;
    let others = || network.others.iter();
    for mac in network.mac.iter().chain(others().filter_map(|other| other.mac.as_ref())) {
        parse_mac(mac).map_err(|error| Error::invalid(format!("--mac-address {mac}: {error}")))?;
    }
    let mut addresses = network.addresses.iter().chain(others().flat_map(|other| &other.addresses));
    match addresses.find(|text| text.parse::<IpAddr>().is_err()) {
        Some(text) => Err(Error::invalid(format!("--{} {text}: must be an IP address", address_flag(text)))),
        None => Ok(()),
    }
}

fn check_cgroup_parent(path: Option<&str>) -> Result<()> {
    match path.filter(|path| Path::new(path).components().any(|part| part == Component::ParentDir)) {
        Some(path) => Err(Error::invalid(format!(
            "--cgroup-parent {path}: must have no ..: write the path that is meant"
        ))),
        None => Ok(()),
    }
}

/// Checks limits each by itself, as a container gets them or is to have them from now on.
///
/// # Errors
/// One has a value that cannot be.
pub fn check_limits(limits: &Limits) -> Result<()> {
    let Limits { pids, blkio_weight, oom_score_adj, cpuset_cpus, cpuset_mems, ulimits, .. } = limits;
    ulimits.iter().try_for_each(|text| compile_ulimit(text).map(drop))?;
    check_times(limits)?;
    for (flag, set, available) in
        [("--cpuset-cpus", cpuset_cpus, PROCESSORS), ("--cpuset-mems", cpuset_mems, NODES)]
    {
        if let Some(set) = set.as_deref().filter(|set| !set.is_empty()) {
            check_set(flag, set, available)?;
        }
    }
    if let Some(score) = oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(Error::invalid(format!("--oom-score-adj {score}: must be from -1000 to 1000")));
    }
    if let Some(weight) = blkio_weight.filter(|weight| *weight != 0 && !(10..=1000).contains(weight)) {
        return Err(Error::invalid(format!("--blkio-weight {weight}: must be from 10 to 1000")));
    }
    match pids.filter(|count| *count < -1) {
        Some(count) => {
            Err(Error::invalid(format!("--pids-limit {count}: must be a number, or -1 for no limit")))
        }
        None => Ok(()),
    }
}

/// How many processors the machine has; `None` if it does not tell.
pub fn processors_of_machine() -> Option<u64> {
    let list = std::fs::read_to_string(PROCESSORS).ok()?;
    let count = |range: &RangeInclusive<u32>| u64::from(range.end() - range.start()) + 1;
    Some(parse_ranges(list.trim())?.iter().map(count).sum())
}

/// A number of processors, in microseconds of 100 milliseconds; `None` of 0, which is no limit, as with Docker.
///
/// # Errors
/// It is none, or more than the machine has.
pub fn processors(flag: &str, text: &str) -> Result<Option<u64>> {
    if text.parse() == Ok(0.0) {
        return Ok(None);
    }
    let quota = parse_processors(flag, text)?;
    match processors_of_machine().filter(|count| quota > count * PERIOD) {
        Some(count) => Err(Error::invalid(format!(
            "{flag} {text}: the machine has {count} processors: must be from 0.01 to {count}"
        ))),
        None => Ok(Some(quota)),
    }
}

/// Checks memory that goes with other memory; all that a container has is to be known.
///
/// # Errors
/// One has a value that cannot be with the others.
pub fn check_amounts(limits: &Limits) -> Result<()> {
    let Limits { memory, memory_swap, memory_reservation, .. } = *limits;
    if let (None, Some(swap)) = (memory, memory_swap.filter(|swap| *swap > 0)) {
        return Err(Error::invalid(format!(
            "--memory-swap {swap}: --memory is missing: both are counted together"
        )));
    }
    let memory = memory.unwrap_or(0);
    if let Some(swap) = memory_swap.filter(|swap| *swap > 0 && swap.cast_unsigned() < memory) {
        return Err(Error::invalid(format!(
            "--memory-swap {swap}: must be at least --memory, which is {memory}: both are counted together"
        )));
    }
    match memory_reservation.filter(|bytes| memory > 0 && *bytes > memory) {
        Some(bytes) => Err(Error::invalid(format!(
            "--memory-reservation {bytes}: must be at most --memory, which is {memory}"
        ))),
        None => Ok(()),
    }
}

/// Parts of the processors' time.
fn check_times(limits: &Limits) -> Result<()> {
    let Limits { cpu_quota, cpu_period, .. } = *limits;
    if let Some(period) = cpu_period.filter(|period| *period != 0 && !(1000..=1_000_000).contains(period)) {
        return Err(Error::invalid(format!(
            "--cpu-period {period}: must be from 1000 to 1000000 microseconds"
        )));
    }
    match cpu_quota.filter(|quota| (1..1000).contains(quota)) {
        Some(quota) => {
            Err(Error::invalid(format!("--cpu-quota {quota}: must be at least 1000 microseconds")))
        }
        None => Ok(()),
    }
}

/// Kernel parameters of namespaces that a container has of its own; the runtime knows each by its name.
fn check_sysctl(name: &str) -> Result<()> {
    const OWN: [&str; 8] = [
        "net.",
        "fs.mqueue.",
        "user.",
        "kernel.shm",
        "kernel.msg",
        "kernel.sem",
        "kernel.auto_msgmni",
        "kernel.domainname",
    ];
    let dotted = name.replace('/', ".");
    if OWN.iter().any(|start| dotted.starts_with(start)) && !dotted.ends_with('.') {
        return Ok(());
    }
    let remedy = if dotted == "kernel.hostname" { "; --hostname" } else { "" };
    Err(Error::invalid(format!(
        "--sysctl {name}: must be one of a container's own: net.*, fs.mqueue.*, kernel.shm*, kernel.msg*, kernel.sem*{remedy}"
    )))
}

/// `0-3,5`: numbers of processors or of nodes of memory, of those that the machine has.
fn check_set(flag: &str, text: &str, available: &str) -> Result<()> {
    let wrong = |what: &str| Error::invalid(format!("{flag} {text}: {what}"));
    let wanted = parse_ranges(text).ok_or_else(|| wrong("must be numbers and ranges such as 0-3,5"))?;
    // What cannot be read is the kernel's to refuse.
    let there = std::fs::read_to_string(available).ok();
    let there = there.as_deref().map(str::trim).and_then(|list| Some((list, parse_ranges(list)?)));
    match there {
        Some((list, there)) if !wanted.iter().all(|range| is_covered(range, &there)) => {
            Err(wrong(&format!("the machine has {list}")))
        }
        _ => Ok(()),
    }
}

fn is_covered(wanted: &RangeInclusive<u32>, there: &[RangeInclusive<u32>]) -> bool {
    let mut next = *wanted.start();
    let mut sorted = there.to_vec();
    order::sort_by_key(&mut sorted, |range| *range.start());
    for range in &sorted {
        if range.contains(&next) {
            match range.end().checked_add(1) {
                Some(behind) if range.end() < wanted.end() => next = behind,
                _ => return true,
            }
        }
    }
    false
}

fn check_mount(mount: &Mount) -> Result<()> {
    let target = mount.destination.trim_end_matches('/');
    let is_in_proc = target.strip_prefix(PROC).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (flag, from, is_file) = match &mount.source {
        MountSource::Bind { path, .. } => ("--volume", path.display().to_string(), !Path::new(path).is_dir()),
        MountSource::Volume { name, .. } => ("--volume", name.clone(), false),
        MountSource::Tmpfs { .. } => ("--tmpfs", String::new(), false),
    };
    // A procfs may be in the place of its own.
    let is_procfs = target == PROC && from == PROC;
    if !is_in_proc || is_procfs || (is_file && target != PROC) {
        return Ok(());
    }
    let separator = if from.is_empty() { "" } else { ":" };
    Err(Error::invalid(format!(
        "{flag} {from}{separator}{target}: nothing but single files can be mounted in {PROC}, such as {PROC}/cpuinfo"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::options::Access;

    #[test]
    fn options_are_named_by_their_flags() {
        let with = |change: &dyn Fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            check_options(&options).map_err(|error| error.to_string())
        };
        let refused = |change: &dyn Fn(&mut Options), words: &str| {
            let said = with(change).unwrap_err();
            assert!(said.starts_with(words), "{said}");
        };
        refused(&|options| options.workdir = Some("a/b".into()), "--workdir a/b: must be an absolute path");
        refused(&|options| options.limits.oom_score_adj = Some(2000), "--oom-score-adj 2000: must be from");
        refused(&|options| options.limits.blkio_weight = Some(5), "--blkio-weight 5: must be from 10");
        refused(&|options| options.limits.pids = Some(-5), "--pids-limit -5: must be a number");
        refused(&|options| options.limits.memory_swap = Some(5), "--memory-swap 5: --memory is missing");
        let with_memory = |limits: Limits| {
            move |options: &mut Options| options.limits = Limits { memory: Some(100), ..limits.clone() }
        };
        let (swap, reservation) = (Some(99), Some(101));
        let limits = Limits { memory_swap: swap, ..Limits::default() };
        refused(&with_memory(limits), "--memory-swap 99: must be at least --memory, which is 100");
        let limits = Limits { memory_reservation: reservation, ..Limits::default() };
        refused(&with_memory(limits), "--memory-reservation 101: must be at most --memory, which is 100");
        with(&with_memory(Limits { memory_swap: Some(-1), ..Limits::default() })).unwrap();
        with(&|options| options.limits.memory_swap = Some(-1)).unwrap();
        refused(&|options| options.limits.cpu_period = Some(10), "--cpu-period 10: must be from 1000");
        refused(&|options| options.limits.cpu_quota = Some(10), "--cpu-quota 10: must be at least 1000");
        let network = |change: &dyn Fn(&mut Network), words: &str| {
            refused(&|options| change(&mut options.network), words);
        };
        network(&|network| network.servers = vec!["x".into()], "--dns x: must be an IP address");
        network(&|network| network.hosts = vec!["db".into()], "--add-host db: must be NAME:ADDRESS");
        network(&|network| network.mac = Some("zz".into()), "--mac-address zz: hardware address");
        network(&|network| network.addresses = vec!["1.2".into()], "--ip 1.2: must be an IP address");
        network(&|network| network.addresses = vec!["fd:".into()], "--ip6 fd:: must be an IP address");
        with(&|options| options.network.hosts = vec!["host:host-gateway".into()]).unwrap();
        let parent = |options: &mut Options| options.namespaces.cgroup_parent = Some("a/../b".into());
        refused(&parent, "--cgroup-parent a/../b: must have no ..");
        for name in ["foo", "kernel.hostname", "net.", "vm.swappiness"] {
            let with = |options: &mut Options| drop(options.sysctls.insert(name.into(), "1".into()));
            refused(&with, &format!("--sysctl {name}: must be one of a container's own"));
        }
        for name in ["net.core.somaxconn", "fs/mqueue/msg_max", "kernel.shm_rmid_forced"] {
            with(&|options| drop(options.sysctls.insert(name.into(), "1".into()))).unwrap();
        }
        assert_eq!(processors("--cpus", "0").unwrap(), None);
        assert_eq!(processors("--cpus", "0.25").unwrap(), Some(25_000));
        let most = processors_of_machine().expect("processors");
        assert_eq!(processors("--cpus", &most.to_string()).unwrap(), Some(most * 100_000));
        let said = processors("--cpus", &format!("{most}.001")).unwrap_err().to_string();
        assert!(said.ends_with(&format!("processors: must be from 0.01 to {most}")), "{said}");
        for set in ["abc", "0-", "1-0", "-1", "0,,1", "+1"] {
            refused(
                &|options| options.limits.cpuset_cpus = Some(set.into()),
                &format!("--cpuset-cpus {set}: must be numbers and ranges such as 0-3,5"),
            );
        }
        let far = |options: &mut Options| options.limits.cpuset_cpus = Some("0,60000".into());
        refused(&far, "--cpuset-cpus 0,60000: the machine has ");
        with(&|options| options.limits.cpuset_cpus = Some("0".into())).unwrap();
        assert!(is_covered(&(0..=5), &[4..=9, 0..=3]) && !is_covered(&(0..=5), &[0..=3, 5..=9]));
        let mount = |from: &str, to: &str| {
            let source = MountSource::Bind { path: from.into(), propagation: None };
            Mount::new(source, to.to_string(), Access::ReadWrite)
        };
        refused(&|options| options.mounts = vec![mount("/etc", "/proc")], "--volume /etc:/proc: nothing but");
        refused(
            &|options| options.mounts = vec![mount("/etc", "/proc/sys/")],
            "--volume /etc:/proc/sys: nothing",
        );
        with(&|options| {
            options.mounts = vec![mount("/proc/cpuinfo", "/proc/cpuinfo"), mount("/etc", "/process")]
        })
        .unwrap();
    }
}
