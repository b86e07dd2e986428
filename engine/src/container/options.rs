//! What is asked for: everything that a command line says about a container. It is kept with the container, to start it again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::owners::Owners;

/// Everything that is asked for. What is empty or `None` is as the image says, or as is usual. What is usual is not written:
/// `ps` reads hundreds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Options {
    /// What runs, behind the entry point.
    #[serde(skip_serializing_if = "is_usual")]
    pub command: Vec<String>,
    /// Instead of the image's; empty text: none.
    #[serde(skip_serializing_if = "is_usual")]
    pub entrypoint: Option<String>,
    /// `NAME=VALUE`.
    #[serde(skip_serializing_if = "is_usual")]
    pub environment: Vec<String>,
    /// The working folder.
    #[serde(skip_serializing_if = "is_usual")]
    pub workdir: Option<String>,
    /// User and group, by names or numbers.
    #[serde(skip_serializing_if = "is_usual")]
    pub user: Option<String>,
    /// More groups.
    #[serde(skip_serializing_if = "is_usual")]
    pub groups: Vec<String>,
    /// Its streams.
    #[serde(skip_serializing_if = "is_usual")]
    pub streams: Streams,
    /// Rows and columns with which its terminal begins.
    #[serde(skip_serializing_if = "is_usual")]
    pub console_size: Option<[u16; 2]>,
    /// Whether its stdin stays open when whoever was attached has no more to say.
    #[serde(skip_serializing_if = "is_usual")]
    pub keeps_stdin: bool,
    /// The name of the host that it sees.
    #[serde(skip_serializing_if = "is_usual")]
    pub hostname: Option<String>,
    /// The domain of that host.
    #[serde(skip_serializing_if = "is_usual")]
    pub domainname: Option<String>,
    /// What is mounted, in order.
    #[serde(skip_serializing_if = "is_usual")]
    pub mounts: Vec<Mount>,
    /// Containers whose volumes and binds it has as well: `CONTAINER[:ro]`.
    #[serde(skip_serializing_if = "is_usual")]
    pub volumes_from: Vec<String>,
    /// Whether a process of the runtime's stands before its program.
    #[serde(skip_serializing_if = "is_usual")]
    pub init: bool,
    /// Whether its root may not be changed.
    #[serde(skip_serializing_if = "is_usual")]
    pub read_only: bool,
    /// Size of /dev/shm in bytes.
    #[serde(skip_serializing_if = "is_usual")]
    pub shm_size: Option<u64>,
    /// What it may do.
    #[serde(skip_serializing_if = "is_usual")]
    pub rights: Rights,
    /// How much it may use.
    #[serde(skip_serializing_if = "is_usual")]
    pub limits: Limits,
    /// Which namespaces it has.
    #[serde(skip_serializing_if = "is_usual")]
    pub namespaces: Namespaces,
    /// What it is connected to.
    #[serde(skip_serializing_if = "is_usual")]
    pub network: Network,
    /// Devices of the host.
    #[serde(skip_serializing_if = "is_usual")]
    pub devices: Vec<DeviceRequest>,
    /// Devices that it may use, wherever they are.
    #[serde(skip_serializing_if = "is_usual")]
    pub device_rules: Vec<DeviceRule>,
    /// How much it may use of devices.
    #[serde(skip_serializing_if = "is_usual")]
    pub device_limits: Vec<DeviceLimit>,
    /// Kernel parameters of its namespaces.
    #[serde(skip_serializing_if = "is_usual")]
    pub sysctls: BTreeMap<String, String>,
    /// Whatever its user says.
    #[serde(skip_serializing_if = "is_usual")]
    pub labels: BTreeMap<String, String>,
    /// For the runtime.
    #[serde(skip_serializing_if = "is_usual")]
    pub annotations: BTreeMap<String, String>,
    /// How it is asked to end, by name or number.
    #[serde(skip_serializing_if = "is_usual")]
    pub stop_signal: Option<String>,
    /// How many seconds it has for that.
    #[serde(skip_serializing_if = "is_usual")]
    pub stop_timeout: Option<u64>,
    /// When it is started again.
    #[serde(skip_serializing_if = "is_usual")]
    pub restart: Restart,
    /// How it is seen whether it does what it should.
    #[serde(skip_serializing_if = "is_usual")]
    pub health: HealthOptions,
    /// What becomes of what it writes.
    #[serde(skip_serializing_if = "is_usual")]
    pub log: LogOptions,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How health is seen, where the image is not to be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthOptions {
    /// It is not looked at.
    pub is_off: bool,
    /// A script whose status tells.
    pub command: Option<String>,
    /// Between two looks.
    pub interval: Option<Duration>,
    /// The longest that a look may take.
    pub timeout: Option<Duration>,
    /// While it starts, failures do not count.
    pub start_period: Option<Duration>,
    /// Between two looks meanwhile.
    pub start_interval: Option<Duration>,
    /// How many failures in a row make it unhealthy.
    pub retries: Option<u32>,
}

/// The log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogOptions {
    /// Who keeps it.
    pub driver: LogDriver,
    /// Bytes of one file.
    pub size: Option<u64>,
    /// How many files.
    pub count: Option<u64>,
    /// What it calls the container.
    pub tag: Option<String>,
    /// Labels that stand with each line.
    pub labels: Vec<String>,
    /// Variables that stand with each line.
    pub variables: Vec<String>,
    /// How many bytes may wait for whoever keeps it.
    pub waiting: Option<usize>,
    /// Of syslog.
    pub syslog: SyslogOptions,
}

/// Who keeps what a container writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// box, in a form of its own.
    #[default]
    Local,
    /// Nobody.
    None,
    /// box, in Docker's form.
    JsonFile,
    /// systemd.
    Journald,
    /// A syslog server.
    Syslog,
}

impl LogDriver {
    /// All of them.
    pub const ALL: [LogDriver; 5] =
        [LogDriver::Local, LogDriver::JsonFile, LogDriver::Journald, LogDriver::Syslog, LogDriver::None];

    /// As `--log-driver` names it.
    pub fn name(self) -> &'static str {
        match self {
            LogDriver::Local => "local",
            LogDriver::None => "none",
            LogDriver::JsonFile => "json-file",
            LogDriver::Journald => "journald",
            LogDriver::Syslog => "syslog",
        }
    }

    /// Whether somebody else keeps it.
    pub fn is_elsewhere(self) -> bool {
        matches!(self, LogDriver::Journald | LogDriver::Syslog)
    }
}

/// Where syslog is, and what it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyslogOptions {
    /// `udp://host:514`; otherwise this machine's.
    pub address: Option<String>,
    /// By its name or number.
    pub facility: Option<String>,
    /// `rfc3164`, `rfc5424`, `rfc5424micro`.
    pub format: Option<String>,
}

/// When a program that has ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When it has failed; at most so many times, if that is said.
    OnFailure(Option<u32>),
    /// Always, and when the machine starts.
    Always,
    /// Always, and when the machine starts, unless its user had stopped it.
    UnlessStopped,
}

impl Restart {
    /// Whether one that has ended with this status, and was started again so often, is started again.
    pub fn wants(self, status: u8, restarts: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::OnFailure(most) => status != 0 && most.is_none_or(|most| restarts < most),
            Restart::Always | Restart::UnlessStopped => true,
        }
    }
}

/// The program's streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Streams {
    /// `-i`: its stdin is the caller's, not empty.
    pub interactive: bool,
    /// `-t`: it has a terminal.
    pub terminal: bool,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where the container sees it.
    pub destination: String,
    /// How it may be used.
    pub access: Access,
    /// Whose its files are there, if not whose they are on the disk.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owners: Option<Owners>,
}

impl Mount {
    /// One whose files belong to whom they belong to.
    pub fn new(source: MountSource, destination: String, access: Access) -> Mount {
        Mount { source, destination, access, owners: None }
    }

    /// A volume; one without a name gets one when the container is made.
    pub fn of_volume(name: String, destination: String) -> Mount {
        let source =
            MountSource::Volume { name, is_anonymous: false, copies: true, wish: VolumeWish::default() };
        Mount::new(source, destination, Access::ReadWrite)
    }
}

impl Options {
    /// All volumes, by their names.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(name.as_str()),
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        })
    }

    /// Whether a volume is one of them.
    pub fn has_volume(&self, name: &str) -> bool {
        self.volumes().any(|known| known == name)
    }

    /// The volumes that were made for this container alone.
    pub fn anonymous_volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, is_anonymous: true, .. } => Some(name.as_str()),
            _ => None,
        })
    }
}

/// Whether something may be changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// It may.
    #[default]
    ReadWrite,
    /// It may not, nor what is mounted below it.
    ReadOnly,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// A file or folder of the host.
    #[serde(rename_all = "camelCase")]
    Bind {
        /// Absolute.
        path: PathBuf,
        /// `shared`, `rslave` …
        propagation: Option<String>,
    },
    /// A folder that outlives the container.
    #[serde(rename_all = "camelCase")]
    Volume {
        /// Its name.
        name: String,
        /// Whether it was made for this container alone.
        is_anonymous: bool,
        /// Whether it begins with what the image has there.
        copies: bool,
        /// How it is made if there is none of that name.
        #[serde(default, skip_serializing_if = "VolumeWish::is_usual")]
        wish: VolumeWish,
    },
    /// Memory.
    Tmpfs {
        /// As tmpfs(5) has them: `size=64m`, `mode=1777`, `exec`.
        options: Vec<String>,
    },
}

/// How a volume is made that is not there yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeWish {
    /// Whatever its user says.
    pub labels: BTreeMap<String, String>,
    /// What its data is on: `type`, `device`, `o`.
    pub options: BTreeMap<String, String>,
}

impl VolumeWish {
    /// Whether nothing in particular is wanted.
    pub fn is_usual(&self) -> bool {
        self.labels.is_empty() && self.options.is_empty()
    }
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rights {
    /// `--privileged`: everything.
    pub privileged: bool,
    /// Capabilities besides the usual ones.
    pub added: Vec<String>,
    /// Capabilities that it does not get.
    pub dropped: Vec<String>,
    /// No program gets more rights than its caller.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// A profile of AppArmor's.
    pub apparmor: Option<String>,
    /// Whether parts of /proc and /sys are hidden.
    pub unmasked: bool,
}

/// The filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seccomp {
    /// The usual one.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// One of the user's, as config.json has it.
    Profile(String),
}

/// So many microseconds are what processors are counted in, if nothing else is asked for.
pub const PERIOD: u64 = 100_000;

/// Limits. Bytes, microseconds, weights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; -1: any.
    pub memory_swap: Option<i64>,
    /// Bytes that are not taken away.
    pub memory_reservation: Option<u64>,
    /// Microseconds of processors in 100 milliseconds.
    pub cpu_quota: Option<u64>,
    /// The period, in microseconds.
    pub cpu_period: Option<u64>,
    /// Relative to others; 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// Processors.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Processes; -1: any.
    pub pids: Option<i64>,
    /// Relative to others, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// `NAME=SOFT[:HARD]`.
    pub ulimits: Vec<String>,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// Which namespaces are the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespaces {
    /// Processes.
    pub pid: Sharing,
    /// System V and POSIX objects.
    pub ipc: Sharing,
    /// Host name.
    pub uts: Sharing,
    /// Who else may have the objects that are its own.
    pub ipc_access: IpcAccess,
    /// Those processes are another container's: its name or id.
    pub pid_of: Option<String>,
    /// Those objects are another container's.
    pub ipc_of: Option<String>,
    /// cgroups as it sees them.
    pub cgroup: Sharing,
    /// The cgroup above the container's.
    pub cgroup_parent: Option<String>,
}

/// Who may have a container's System V and POSIX objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IpcAccess {
    /// Whoever asks for it.
    #[default]
    Shareable,
    /// Nobody else.
    Private,
    /// Nobody else, and it has no /dev/shm.
    None,
}

/// A namespace of one's own, or the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sharing {
    /// One of its own.
    #[default]
    Own,
    /// The host's.
    Host,
}

/// What a container is connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// The network.
    pub mode: NetworkMode,
    /// More names by which others on the same network find it.
    pub aliases: Vec<String>,
    /// Its addresses there.
    pub addresses: Vec<String>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Networks besides that one, in order.
    pub others: Vec<Connection>,
    /// Whether it is on none because it was disconnected from all: it can be connected again. One that is to have none cannot.
    pub is_disconnected: bool,
    /// As Docker's `--publish` takes them.
    pub published: Vec<String>,
    /// What it listens at besides the image's: `PORT[-PORT][/PROTOCOL]`.
    pub exposed: Vec<String>,
    /// Whether all ports that it listens at are published, at ports that are free.
    pub publish_all: bool,
    /// More names, each with its address: `NAME:ADDRESS`.
    pub hosts: Vec<String>,
    /// Name servers.
    pub servers: Vec<String>,
    /// Domains in which names are looked up.
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    pub resolver_options: Vec<String>,
}

/// The name of the usual network.
pub const USUAL: &str = "bridge";

/// What a container is on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// The network's name.
    pub network: String,
    /// More names by which others on it find the container.
    pub aliases: Vec<String>,
    /// Its addresses there.
    pub addresses: Vec<String>,
    /// Its hardware address.
    pub mac: Option<String>,
}

impl Network {
    /// The networks that it is on, in order: the usual one and those with names.
    pub fn connections(&self) -> Vec<Connection> {
        let network = match &self.mode {
            NetworkMode::Default => USUAL.to_string(),
            NetworkMode::Named(name) => name.clone(),
            NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => return Vec::new(),
        };
        let Network { aliases, addresses, mac, .. } = self.clone();
        let first = Connection { network, aliases, addresses, mac };
        std::iter::once(first).chain(self.others.iter().cloned()).collect()
    }

    /// Puts it on other networks. On none it has a loopback alone.
    pub fn set_connections(&mut self, connections: Vec<Connection>) {
        let mut connections = connections.into_iter();
        let first = connections.next();
        self.mode = match &first {
            None => NetworkMode::None,
            Some(first) if first.network == USUAL => NetworkMode::Default,
            Some(first) => NetworkMode::Named(first.network.clone()),
        };
        let Connection { network: _, aliases, addresses, mac } = first.unwrap_or_default();
        (self.aliases, self.addresses, self.mac) = (aliases, addresses, mac);
        self.others = connections.collect();
        self.is_disconnected = self.mode == NetworkMode::None;
    }

    /// The names of those networks that have one.
    pub fn names(&self) -> Vec<String> {
        let names = self.connections().into_iter().map(|connection| connection.network);
        names.filter(|name| name != USUAL).collect()
    }
}

/// The kind of network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NetworkMode {
    /// The usual one: a bridge, or for an ordinary user a program in user mode.
    #[default]
    Default,
    /// A loopback alone.
    None,
    /// The host's.
    Host,
    /// One with a name.
    Named(String),
    /// That of another container, by its name or id.
    Container(String),
}

/// A device of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRequest {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path in the container.
    pub container: String,
    /// `r`, `w`, `m`.
    pub access: String,
}

/// Devices that a container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: String,
    /// Of their driver; `None`: any.
    pub major: Option<u32>,
    /// Among those of the driver; `None`: any.
    pub minor: Option<u32>,
    /// `r`, `w`, `m`.
    pub access: String,
}

/// How much a container may use of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLimit {
    /// Its path on the host.
    pub device: PathBuf,
    /// What is limited.
    pub what: DeviceUse,
    /// The limit.
    pub value: u64,
}

/// What is limited of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceUse {
    /// A weight relative to other containers.
    Weight,
    /// Bytes that are read in a second.
    ReadBytes,
    /// Bytes that are written in a second.
    WriteBytes,
    /// Reads in a second.
    ReadOperations,
    /// Writes in a second.
    WriteOperations,
}

impl DeviceUse {
    /// The flag that asks for it.
    pub fn flag(self) -> &'static str {
        match self {
            DeviceUse::Weight => "--blkio-weight-device",
            DeviceUse::ReadBytes => "--device-read-bps",
            DeviceUse::WriteBytes => "--device-write-bps",
            DeviceUse::ReadOperations => "--device-read-iops",
            DeviceUse::WriteOperations => "--device-write-iops",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_not_written_and_read_as_before() {
        assert_eq!(serde_json::to_string(&Options::default()).expect("JSON"), "{}");
        let options = Options { command: vec!["true".into()], stop_timeout: Some(3), ..Options::default() };
        let text = serde_json::to_string(&options).expect("JSON");
        assert_eq!(text, r#"{"command":["true"],"stopTimeout":3}"#);
        assert_eq!(serde_json::from_str::<Options>(&text).expect("options"), options);
        // As earlier versions have written it.
        let text = r#"{"command":["true"],"entrypoint":null,"mounts":[],"rights":{"privileged":false},"stopTimeout":3}"#;
        assert_eq!(serde_json::from_str::<Options>(text).expect("options"), options);
    }
}
