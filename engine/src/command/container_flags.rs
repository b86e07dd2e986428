//! The flags of `run` and `create`, and what they ask for.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::limit_flags::{bytes, devices, limits};
use super::log_flags::log_options;
use super::mount_flags::{check_place, check_source, parse_mount, parse_tmpfs, parse_volume};
use super::project::Project;
use super::{Arguments, Flag, say};
use crate::container::size::parse_time;
use crate::container::{
    Connection, ExposedPort, HealthOptions, IpcAccess, Lifetime, Mount, MountSource, Network, NetworkMode,
    Options, Own, Restart, Seccomp, Sharing, Source, Start, Streams, USUAL, create,
};
use crate::error::{Context, Error, Result};
use crate::order::Collect;
use crate::output::write_output;
use crate::store::{ImageRecord, Store};

const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { long, short, value: None, help }
}

const fn valued(long: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Flag {
    Flag { long, short, value: Some(value), help }
}

/// What both have.
pub const FLAGS: &[Flag] = &[
    switch("interactive", Some('i'), "keep stdin open: the program reads what box reads"),
    switch("tty", Some('t'), "give it a terminal"),
    valued("hostname", Some('h'), "NAME", "the host name that it sees"),
    valued("domainname", None, "NAME", "the domain of that"),
    valued("env", Some('e'), "NAME=VALUE", "a variable; NAME alone takes box's own"),
    valued("env-file", None, "FILE", "variables, one a line"),
    valued("workdir", Some('w'), "FOLDER", "its working folder"),
    valued("user", Some('u'), "USER[:GROUP]", "who it runs as, by names or numbers"),
    valued("group-add", None, "GROUP", "one more group"),
    valued("entrypoint", None, "PROGRAM", "instead of the image's"),
    valued("volume", Some('v'), "SOURCE:TARGET[:ro]", "a path of the host's or a volume by its name"),
    valued("mount", None, "type=…,source=…,target=…", "a mount, of the type bind, volume or tmpfs"),
    switch(
        "mkdir",
        None,
        "make sources of --volume and --mount that are missing, as folders of the caller's",
    ),
    valued("volumes-from", None, "CONTAINER[:ro]", "what another container has mounted"),
    valued("tmpfs", None, "TARGET[:OPTIONS]", "memory that is mounted"),
    switch("init", None, "a first process that passes signals on and collects orphans"),
    switch("read-only", None, "its root may not be changed"),
    valued("shm-size", None, "SIZE", "of /dev/shm"),
    valued("cap-add", None, "CAPABILITY", "a capability besides the usual ones"),
    valued("cap-drop", None, "CAPABILITY", "a capability that it does not get"),
    switch("privileged", None, "everything is allowed"),
    valued(
        "security-opt",
        None,
        "OPTION",
        "no-new-privileges, seccomp=…, apparmor=…, systempaths=unconfined",
    ),
    valued("device", None, "HOST[:TARGET[:rwm]]", "a device of the host's"),
    valued("device-cgroup-rule", None, "'TYPE MAJOR:MINOR ACCESS'", "devices that it may use: 'c 13:* rwm'"),
    valued("device-read-bps", None, "DEVICE:RATE", "the most bytes a second that are read from it"),
    valued("device-write-bps", None, "DEVICE:RATE", "the most bytes a second that are written to it"),
    valued("device-read-iops", None, "DEVICE:NUMBER", "the most reads a second"),
    valued("device-write-iops", None, "DEVICE:NUMBER", "the most writes a second"),
    valued("blkio-weight-device", None, "DEVICE:WEIGHT", "relative to others, of one device"),
    valued("ulimit", None, "NAME=SOFT[:HARD]", "a limit of each process"),
    valued("oom-score-adj", None, "NUMBER", "-1000 to 1000"),
    valued("sysctl", None, "NAME=VALUE", "a kernel parameter of its namespaces"),
    valued("network", None, "NETWORK", "bridge, none, host, container:NAME, or those with these names"),
    valued("network-alias", None, "NAME", "one more name on that network"),
    valued("ip", None, "ADDRESS", "its address on that network"),
    valued("ip6", None, "ADDRESS", "its IPv6 address on that network"),
    valued("mac-address", None, "ADDRESS", "its hardware address"),
    valued("net", None, "NETWORK", "the same as --network"),
    switch("disable-network", None, "the same as --network none"),
    valued("publish", Some('p'), "[HOST:]PORT[/PROTOCOL]", "a port of the host's that leads to it"),
    switch("publish-all", Some('P'), "every exposed port, at a port of the host's that is free"),
    valued("expose", None, "PORT[/PROTOCOL]", "a port that it listens at, besides the image's"),
    valued("add-host", None, "NAME:ADDRESS", "a name for /etc/hosts"),
    valued("dns", None, "ADDRESS", "a name server"),
    valued("dns-search", None, "DOMAIN", "where names are looked up"),
    valued("dns-option", None, "OPTION", "of resolv.conf; also --dns-opt"),
    valued("pid", None, "host|container:NAME", "somebody else's processes"),
    valued("ipc", None, "MODE", "shared memory: shareable (default), private, none, host or container:NAME"),
    valued("uts", None, "host", "the host's name"),
    valued("cgroupns", None, "private|host", "cgroups as it sees them"),
    valued("cgroup-parent", None, "PATH", "the cgroup above its own"),
    valued("label", Some('l'), "NAME=VALUE", "whatever you like"),
    valued("label-file", None, "FILE", "labels, one a line"),
    valued("annotation", None, "NAME=VALUE", "for the runtime"),
    valued("health-cmd", None, "SCRIPT", "whether it does what it should: a script's status"),
    valued("health-interval", None, "TIME", "between two looks: 30s"),
    valued("health-timeout", None, "TIME", "the longest that a look may take: 30s"),
    valued("health-start-period", None, "TIME", "while it starts, failures do not count: 0s"),
    valued("health-start-interval", None, "TIME", "between two looks meanwhile: 5s"),
    valued("health-retries", None, "NUMBER", "how many failures in a row make it unhealthy: 3"),
    switch("no-healthcheck", None, "its health is not looked at"),
    valued("log-driver", None, "DRIVER", "local (default), json-file, journald, syslog or none"),
    valued("log-opt", None, "NAME=VALUE", "max-size=10m, max-file=3, tag, labels, env, syslog-address, …"),
    valued("stop-signal", None, "SIGNAL", "how it is asked to end"),
    valued("stop-timeout", None, "SECONDS", "how long it has for that"),
];

/// How much it may use; this can be changed while it runs.
pub const LIMIT_FLAGS: &[Flag] = &[
    valued("memory", Some('m'), "SIZE", "the most memory"),
    valued("memory-swap", None, "SIZE", "the most memory and swap together; -1: any"),
    valued("memory-reservation", None, "SIZE", "memory that is not taken away"),
    valued("cpus", None, "NUMBER", "the most processors, as 1.5; also --cpu"),
    valued("cpu-period", None, "MICROSECONDS", "the period of --cpu-quota"),
    valued("cpu-quota", None, "MICROSECONDS", "the most time in a period"),
    valued("cpu-shares", Some('c'), "WEIGHT", "relative to others"),
    valued("cpuset-cpus", None, "LIST", "processors"),
    valued("cpuset-mems", None, "LIST", "memory nodes"),
    valued("pids-limit", None, "NUMBER", "the most processes; -1: any; also --max-pids"),
    valued("blkio-weight", None, "WEIGHT", "relative to others, 10 to 1000"),
];

/// What is done at its end; this can be changed while it runs.
pub const RESTART_FLAG: &[Flag] =
    &[valued("restart", None, "POLICY", "no, on-failure[:NUMBER], always or unless-stopped")];

/// What makes it findable.
pub const IDENTITY_FLAGS: &[Flag] = &[
    switch("rm", None, "remove it when it has ended"),
    valued("name", None, "NAME", "its name; otherwise one is made up"),
    valued("cidfile", None, "FILE", "write its id into a file that is not there yet"),
];

/// A container as it is asked for.
#[derive(Debug)]
pub struct Wanted {
    image: String,
    name: Option<String>,
    id_file: Option<PathBuf>,
    makes_sources: bool,
    pub options: Options,
}

impl Wanted {
    /// Reads all flags. The first operand is the image, those behind it the command.
    ///
    /// # Errors
    /// A value cannot be; the flag is named.
    pub fn parse(arguments: &Arguments) -> Result<Wanted> {
        Ok(Wanted {
            image: arguments.operand(0)?.unwrap_or_default().to_string(),
            name: arguments.text("name")?.map(str::to_string),
            id_file: arguments.value("cidfile").map(PathBuf::from),
            makes_sources: arguments.is_set("mkdir"),
            options: parse(arguments)?,
        })
    }

    /// The image that is meant, if the command line names none.
    pub fn take_project(&mut self, project: &Project) {
        self.image.clone_from(&project.image);
        project.fill(&mut self.options);
    }

    /// The image as it is named.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Finds the image.
    ///
    /// # Errors
    /// There is no such image.
    pub fn source(&self, store: &Store) -> Result<Source> {
        find_source(store, &self.image, None, &self.options)
    }

    /// Finds the image and makes the container. `found` is the image that its name has meant a moment ago.
    ///
    /// # Errors
    /// There is no such image; the name is taken.
    pub fn create(
        self,
        store: &Store,
        found: Option<ImageRecord>,
        lifetime: Lifetime,
        start: Start,
    ) -> Result<Own> {
        let Wanted { image, name, id_file, makes_sources, options } = self;
        if let Some(file) = id_file.as_ref().filter(|file| file.exists()) {
            let file = file.display();
            return Err(Error::conflict(format!("--cidfile {file}: it is there already: remove it first")));
        }
        let source = find_source(store, &image, found, &options)?;
        say_if_squashed(store);
        if makes_sources {
            make_sources(&options.mounts)?;
        }
        let own = create(store, source, name, options, lifetime, start)?;
        if let Some(file) = id_file {
            write_output("--cidfile ", &file, |out| Ok(out.write_all(own.record.id.as_bytes())?))?;
        }
        Ok(own)
    }
}

fn find_source(store: &Store, image: &str, found: Option<ImageRecord>, options: &Options) -> Result<Source> {
    for name in options.network.names() {
        store.networks().find(&name)?;
    }
    Source::find(store, image, found)
}

/// What is to be mounted and is missing is made a folder.
fn make_sources(mounts: &[Mount]) -> Result<()> {
    for mount in mounts {
        if let MountSource::Bind { path, .. } = &mount.source
            && !path.exists()
        {
            std::fs::create_dir_all(path).context(|| format!("--mkdir: {}", path.display()))?;
        }
    }
    Ok(())
}

fn say_if_squashed(store: &Store) {
    if store.maps().is_some_and(|maps| maps.is_squashed()) {
        say(
            "you have no ranges of ids (newuidmap, /etc/subuid, /etc/subgid): all files in containers belong to root there, and there is no other user",
        );
    }
}

/// A name that can stand in /etc/hosts.
fn host_name(arguments: &Arguments, flag: &str) -> Result<Option<String>> {
    let Some(name) = arguments.text(flag)? else { return Ok(None) };
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(is_right) && !name.starts_with(['-', '.']) {
        return Ok(Some(name.to_string()));
    }
    Err(Error::invalid(format!(
        "--{flag} {name:?}: must be 1 to 64 letters, digits, hyphens, dots and underscores, not beginning with a hyphen or a dot"
    )))
}

/// Reads them. The first operand is the image, those behind it the command.
///
/// # Errors
/// A value cannot be; the flag is named.
fn parse(arguments: &Arguments) -> Result<Options> {
    let text = |flag: &str| arguments.text(flag).map(|text| text.map(str::to_string));
    let mut options = Options {
        command: arguments.operands_from(1)?,
        entrypoint: text("entrypoint")?,
        environment: environment(arguments)?,
        workdir: text("workdir")?,
        user: text("user")?,
        groups: arguments.texts("group-add")?,
        streams: Streams { interactive: arguments.is_set("interactive"), terminal: arguments.is_set("tty") },
        hostname: host_name(arguments, "hostname")?,
        domainname: host_name(arguments, "domainname")?,
        init: arguments.is_set("init"),
        read_only: arguments.is_set("read-only"),
        shm_size: bytes(arguments, "shm-size")?,
        annotations: pairs(arguments, "annotation")?,
        labels: labels(arguments)?,
        sysctls: pairs(arguments, "sysctl")?,
        stop_signal: text("stop-signal")?,
        ..Options::default()
    };
    if let Some(signal) = &options.stop_signal {
        pillbox::signal::parse(signal).map_err(|error| Error::from(error).context("--stop-signal"))?;
    }
    options.stop_timeout = match arguments.text("stop-timeout")? {
        Some(text) => Some(parse_time("--stop-timeout", text)?.as_secs()),
        None => None,
    };
    options.restart = restart(arguments)?;
    options.health = health(arguments)?;
    options.log = log_options(arguments)?;
    let mut add = |flag: String, mount: Mount| -> Result<()> {
        // Docker: the same once more is no other one.
        if options.mounts.contains(&mount) {
            return Ok(());
        }
        check_place(&flag, &mount, &options.mounts)?;
        if !arguments.is_set("mkdir") {
            check_source(&flag, &mount)?;
        }
        options.mounts.push(mount);
        Ok(())
    };
    for volume in arguments.texts("volume")? {
        add(format!("--volume {volume}"), parse_volume(&volume)?)?;
    }
    for mount in arguments.texts("mount")? {
        add(format!("--mount {mount}"), parse_mount(&mount)?)?;
    }
    for tmpfs in arguments.texts("tmpfs")? {
        add(format!("--tmpfs {tmpfs}"), parse_tmpfs(&tmpfs)?)?;
    }
    options.volumes_from = arguments.texts("volumes-from")?;
    devices(arguments, &mut options)?;
    rights(arguments, &mut options)?;
    limits(arguments, &mut options)?;
    namespaces(arguments, &mut options)?;
    Ok(options)
}

fn health(arguments: &Arguments) -> Result<HealthOptions> {
    let time =
        |flag: &str| arguments.text(flag)?.map(|text| parse_time(&format!("--{flag}"), text)).transpose();
    Ok(HealthOptions {
        is_off: arguments.is_set("no-healthcheck"),
        command: arguments.text("health-cmd")?.map(str::to_string),
        interval: time("health-interval")?,
        timeout: time("health-timeout")?,
        start_period: time("health-start-period")?,
        start_interval: time("health-start-interval")?,
        retries: arguments.number("health-retries")?,
    })
}

/// When it is started again.
///
/// # Errors
/// The policy cannot be; it is named.
pub fn restart(arguments: &Arguments) -> Result<Restart> {
    let Some(text) = arguments.text("restart")? else { return Ok(Restart::No) };
    let wrong = || {
        Error::invalid(format!("--restart {text}: must be no, on-failure[:NUMBER], always or unless-stopped"))
    };
    let policy = match text.split_once(':').unwrap_or((text, "")) {
        ("no", "") => Restart::No,
        ("always", "") => Restart::Always,
        ("unless-stopped", "") => Restart::UnlessStopped,
        ("on-failure", "") => Restart::OnFailure(None),
        ("on-failure", number) => Restart::OnFailure(Some(number.parse().map_err(|_| wrong())?)),
        _ => return Err(wrong()),
    };
    if policy != Restart::No && arguments.is_set("rm") {
        return Err(Error::invalid(format!(
            "--restart {text}: with --rm it is gone when it has ended: leave one of them out"
        )));
    }
    Ok(policy)
}

/// Variables of files and of the command line.
///
/// # Errors
/// A file cannot be read.
pub fn environment(arguments: &Arguments) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for file in arguments.texts("env-file")? {
        let text = std::fs::read_to_string(&file).context(|| format!("--env-file {file}"))?;
        let lines =
            text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let name = line.split('=').next().unwrap_or_default();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(Error::invalid(format!(
                    "--env-file {file}: {line:?}: must be NAME=VALUE or NAME, and a name has no blanks"
                )));
            }
            variables.push(line.to_string());
        }
    }
    variables.extend(arguments.texts("env")?);
    // A name alone: box's own variable, or none.
    let own = |variable: String| match variable.contains('=') {
        _ if variable.is_empty() || variable.starts_with('=') => {
            Err(Error::invalid(format!("--env {variable}: must be NAME or NAME=VALUE")))
        }
        true => Ok(variable),
        false => Ok(std::env::var(&variable).map_or(variable.clone(), |value| format!("{variable}={value}"))),
    };
    variables.into_iter().map(own).collect()
}

fn rights(arguments: &Arguments, options: &mut Options) -> Result<()> {
    let rights = &mut options.rights;
    rights.privileged = arguments.is_set("privileged");
    rights.added = arguments.texts("cap-add")?;
    rights.dropped = arguments.texts("cap-drop")?;
    for option in arguments.texts("security-opt")? {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((&option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => rights.no_new_privileges = true,
            ("no-new-privileges", "false") => rights.no_new_privileges = false,
            ("seccomp", "unconfined") => rights.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin" | "default") => rights.seccomp = Seccomp::Default,
            ("seccomp", file) if !file.is_empty() => {
                let text =
                    std::fs::read_to_string(file).context(|| format!("--security-opt seccomp={file}"))?;
                rights.seccomp = Seccomp::Profile(text);
            }
            ("apparmor", profile) if !profile.is_empty() => rights.apparmor = Some(profile.to_string()),
            ("systempaths", "unconfined") => rights.unmasked = true,
            // No label is what it has.
            ("label", "disable") => {}
            _ => {
                return Err(Error::invalid(format!(
                    "--security-opt {option}: must be no-new-privileges, seccomp=FILE, seccomp=unconfined, apparmor=PROFILE or systempaths=unconfined"
                )));
            }
        }
    }
    Ok(())
}

fn namespaces(arguments: &Arguments, options: &mut Options) -> Result<()> {
    let namespaces = &mut options.namespaces;
    namespaces.pid_of = other(arguments, "pid")?;
    namespaces.ipc_of = other(arguments, "ipc")?;
    if namespaces.pid_of.is_none() {
        namespaces.pid = sharing(arguments, "pid")?;
    }
    if namespaces.ipc_of.is_none() {
        (namespaces.ipc, namespaces.ipc_access) = ipc(arguments)?;
    }
    namespaces.uts = sharing(arguments, "uts")?;
    namespaces.cgroup = sharing(arguments, "cgroupns")?;
    namespaces.cgroup_parent = arguments.text("cgroup-parent")?.map(str::to_string);
    let network = &mut options.network;
    connections(arguments, network)?;
    network.published = arguments.texts("publish")?;
    network.publish_all = arguments.is_set("publish-all");
    network.exposed = arguments.texts("expose")?;
    for text in &network.exposed {
        ExposedPort::parse("--expose", text)?;
    }
    network.hosts = arguments.texts("add-host")?;
    network.servers = arguments.texts("dns")?;
    network.search = arguments.texts("dns-search")?;
    network.resolver_options = arguments.texts("dns-option")?;
    Ok(())
}

/// The networks. What is said for the whole container is meant for the first one.
fn connections(arguments: &Arguments, network: &mut Network) -> Result<()> {
    let mut asked = [arguments.texts("network")?, arguments.texts("net")?].concat();
    if arguments.is_set("disable-network") {
        if let Some(name) = asked.iter().find(|name| *name != "none") {
            return Err(Error::invalid(format!(
                "--network {name}: --disable-network takes it away: leave one out"
            )));
        }
        asked = vec!["none".to_string()];
    }
    let mut connections = asked.iter().map(|text| parse_connection(text)).collect::<Result<Vec<_>>>()?;
    if connections.is_empty() {
        connections.push(Connection { network: USUAL.to_string(), ..Connection::default() });
    }
    let first = &mut connections[0];
    let mode = mode(&first.network);
    first.aliases.extend(arguments.texts("network-alias")?);
    first.addresses.extend(addresses(arguments)?);
    let mac = arguments.text("mac-address")?.map(str::to_string);
    first.mac = mac.or(first.mac.take());
    let alone = connections
        .iter()
        .find(|one| !matches!(self::mode(&one.network), NetworkMode::Default | NetworkMode::Named(_)));
    if let Some(alone) = alone.filter(|_| connections.len() > 1) {
        return Err(Error::invalid(format!(
            "--network {}: with it there is no other one: leave the others out",
            alone.network
        )));
    }
    network.set_connections(connections);
    network.mode = mode;
    Ok(())
}

/// `--ip` and `--ip6`.
///
/// # Errors
/// One is no address, or one of the other kind.
pub fn addresses(arguments: &Arguments) -> Result<Vec<String>> {
    let four = arguments.texts("ip")?.into_iter().map(|text| address("--ip", text));
    let six = arguments.texts("ip6")?.into_iter().map(|text| address("--ip6", text));
    four.chain(six).collect()
}

/// An address of the kind that its flag is for.
fn address(flag: &str, text: String) -> Result<String> {
    let (kind, is_right) = match flag {
        "--ip6" => ("IPv6", text.parse::<Ipv6Addr>().is_ok()),
        _ => ("IPv4", text.parse::<Ipv4Addr>().is_ok()),
    };
    match is_right {
        true => Ok(text),
        false => Err(Error::invalid(format!("{flag} {text}: must be an {kind} address"))),
    }
}

fn mode(network: &str) -> NetworkMode {
    match network {
        USUAL => NetworkMode::Default,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        name => match name.strip_prefix("container:") {
            Some(other) => NetworkMode::Container(other.to_string()),
            None => NetworkMode::Named(name.to_string()),
        },
    }
}

/// `NETWORK`, or `name=NETWORK,alias=NAME,ip=ADDRESS,ip6=ADDRESS,mac-address=ADDRESS`.
fn parse_connection(text: &str) -> Result<Connection> {
    let named = |name: &str| if name == "default" { USUAL.to_string() } else { name.to_string() };
    if !text.contains('=') {
        return Ok(Connection { network: named(text), ..Connection::default() });
    }
    let mut connection = Connection::default();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("name", name)) => connection.network = named(name),
            Some(("alias", alias)) => connection.aliases.push(alias.to_string()),
            Some(("ip" | "ip6", address)) => connection.addresses.push(address.to_string()),
            Some(("mac-address", mac)) => connection.mac = Some(mac.to_string()),
            _ => {
                return Err(Error::invalid(format!(
                    "--network {text}: {part}: must be name=, alias=, ip=, ip6= or mac-address="
                )));
            }
        }
    }
    match connection.network.is_empty() {
        true => Err(Error::invalid(format!("--network {text}: name= is missing"))),
        false => Ok(connection),
    }
}

/// Another container: `container:NAME`.
fn other(arguments: &Arguments, flag: &str) -> Result<Option<String>> {
    Ok(arguments.text(flag)?.and_then(|text| text.strip_prefix("container:")).map(str::to_string))
}

/// Shared memory: whose it is, and who else may have it.
fn ipc(arguments: &Arguments) -> Result<(Sharing, IpcAccess)> {
    match arguments.text("ipc")? {
        None | Some("" | "shareable") => Ok((Sharing::Own, IpcAccess::Shareable)),
        Some("private") => Ok((Sharing::Own, IpcAccess::Private)),
        Some("none") => Ok((Sharing::Own, IpcAccess::None)),
        Some("host") => Ok((Sharing::Host, IpcAccess::Shareable)),
        Some(other) => Err(Error::invalid(format!(
            "--ipc {other}: must be shareable, private, none, host or container:NAME"
        ))),
    }
}

fn sharing(arguments: &Arguments, flag: &str) -> Result<Sharing> {
    match arguments.text(flag)? {
        None | Some("private") => Ok(Sharing::Own),
        Some("host") => Ok(Sharing::Host),
        Some(other) => Err(Error::invalid(format!("--{flag} {other}: must be private or host"))),
    }
}

fn pairs(arguments: &Arguments, flag: &str) -> Result<std::collections::BTreeMap<String, String>> {
    let split = |text: String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err(Error::invalid(format!("--{flag} {text}: must be NAME=VALUE"))),
    };
    arguments.texts(flag)?.into_iter().map(split).try_collect_map()
}

/// A label may have no value.
///
/// # Errors
/// One has no name.
pub fn labels(arguments: &Arguments) -> Result<std::collections::BTreeMap<String, String>> {
    let split = |text: String| match text.split_once('=').unwrap_or((&text, "")) {
        ("", _) => Err(Error::invalid(format!("--label {text}: must be NAME or NAME=VALUE"))),
        (name, value) => Ok((name.to_string(), value.to_string())),
    };
    let mut texts = Vec::new();
    for file in arguments.texts("label-file")? {
        let text = std::fs::read_to_string(&file).context(|| format!("--label-file {file}"))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        texts.extend(lines.map(str::to_string));
    }
    texts.extend(arguments.texts("label")?);
    texts.into_iter().map(split).try_collect_map()
}
