//! The kinds of containers.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Value, json};

/// The configuration with which the black-box tests begin, too.
const CONFIG: &str = include_str!("../config.json");

/// A kind of container, with a path of its own through the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundle {
    /// As `spec` writes it, without a terminal.
    Plain,
    /// With a hook of each kind.
    Hooks,
    /// In a user namespace of its own.
    User,
    /// With a terminal.
    Terminal,
    /// In namespaces that have other processes already.
    Joined,
    /// With a seccomp filter that has a listener.
    Listener,
    /// As an engine configures it: binds, a filter, an ordinary user, devices, sysctls, limits.
    Engine,
    /// The machine has no pinned seed namespace yet.
    Unseeded,
    /// In the host's mount namespace.
    HostMounts,
    /// On a bridge that is there, with published ports.
    Network,
    /// The same, on a machine that has no network yet.
    FirstNetwork,
    /// On a bridge that is there, by pillbox's own CNI plugin.
    Plugin,
}

impl Bundle {
    pub const ALL: [Bundle; 12] = [
        Bundle::Plain,
        Bundle::Hooks,
        Bundle::User,
        Bundle::Terminal,
        Bundle::Joined,
        Bundle::Listener,
        Bundle::Engine,
        Bundle::Unseeded,
        Bundle::HostMounts,
        Bundle::Network,
        Bundle::FirstNetwork,
        Bundle::Plugin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Bundle::Plain => "plain",
            Bundle::Hooks => "hooks",
            Bundle::User => "user",
            Bundle::Terminal => "terminal",
            Bundle::Joined => "joined",
            Bundle::Listener => "listener",
            Bundle::Engine => "engine",
            Bundle::Unseeded => "unseeded",
            Bundle::HostMounts => "hostmounts",
            Bundle::Network => "network",
            Bundle::FirstNetwork => "firstnetwork",
            Bundle::Plugin => "plugin",
        }
    }

    /// Whether its containers are on a network.
    pub fn is_connected(self) -> bool {
        matches!(self, Bundle::Network | Bundle::FirstNetwork | Bundle::Plugin)
    }

    /// Whether the runtime was built with what it needs.
    pub fn is_known(self) -> bool {
        cfg!(feature = "network") || !self.is_connected()
    }
}

impl FromStr for Bundle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Bundle::ALL.into_iter().find(|bundle| bundle.name() == text);
        found.ok_or_else(|| format!("{text}: no such bundle"))
    }
}

/// The netconf.json of those that are on a network.
pub const NETCONF: &str = r#"{
    "model": {"type": "bridge", "subnets": ["10.90.0.0/24", "fd00:90::/64"]},
    "interfaces": [{"ports": ["8080:80", "127.0.0.1:8081:81/udp"]}],
    "dns": {"nameservers": ["9.9.9.9"]}
}"#;

/// The CNI configuration of those that a plugin connects to the same network.
pub const CONFLIST: &str = r#"{
    "cniVersion": "1.1.0", "name": "pillbox0",
    "plugins": [{
        "type": "pillbox-net", "bridge": "pillbox0", "isGateway": true, "ipMasq": true,
        "capabilities": {"portMappings": true},
        "ipam": {
            "type": "host-local", "ranges": [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd00:90::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        }
    }]
}"#;

/// The places that a configuration names.
pub struct Paths<'p> {
    pub scratch: &'p Path,
    /// The cgroup's path from the hierarchy's root on.
    pub cgroup: &'p str,
    /// The process whose namespaces are joined.
    pub holder: i32,
}

/// The container's configuration, with `script` as its program.
pub fn config(bundle: Bundle, script: &str, paths: &Paths<'_>) -> Value {
    let mut config = base(script, paths.cgroup);
    match bundle {
        Bundle::Plain | Bundle::Unseeded | Bundle::Network | Bundle::FirstNetwork | Bundle::Plugin => {}
        Bundle::Hooks => {
            let hook = json!([{"path": "/bin/busybox", "args": ["true"], "timeout": 5}]);
            for name in
                ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
            {
                config["hooks"][name] = hook.clone();
            }
        }
        Bundle::User => {
            add_namespace(&mut config, json!({"type": "user"}));
            for field in ["uidMappings", "gidMappings"] {
                config["linux"][field] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            }
        }
        Bundle::Terminal => config["process"]["terminal"] = json!(true),
        Bundle::Joined => {
            for (kind, file) in
                [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid_for_children")]
            {
                let path = format!("/proc/{}/ns/{file}", paths.holder);
                add_namespace(&mut config, json!({"type": kind, "path": path}));
            }
            config.as_object_mut().expect("object").remove("hostname");
        }
        Bundle::Listener => {
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": paths.scratch.join("agent.sock"),
                "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_NOTIFY"}]
            });
        }
        Bundle::Engine => engine(&mut config, paths),
        Bundle::HostMounts => {
            remove_namespace(&mut config, "mount");
            config["mounts"] = json!([]);
            for list in ["maskedPaths", "readonlyPaths"] {
                config["linux"].as_object_mut().expect("object").remove(list);
            }
        }
    }
    config
}

fn engine(config: &mut Value, paths: &Paths<'_>) {
    let process = &mut config["process"];
    process["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [10, 20]});
    process["oomScoreAdj"] = json!(100);
    let binds = json!([
        {"type": "bind", "source": paths.scratch.join("volume"), "destination": "/volume", "options": ["rbind", "rw"]},
        {"type": "bind", "source": paths.scratch.join("volume/file"), "destination": "/etc/file", "options": ["bind", "ro", "rprivate"]},
        {"type": "tmpfs", "source": "tmpfs", "destination": "/scratch", "options": ["mode=1777", "tmpcopyup"]}
    ]);
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.extend(binds.as_array().expect("binds").iter().cloned());
    let linux = &mut config["linux"];
    linux["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "0"});
    linux["devices"] =
        json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438}]);
    linux["rootfsPropagation"] = json!("rslave");
    linux["resources"]["unified"] = json!({"cgroup.max.depth": "10"});
    linux["resources"]["devices"] = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
    ]);
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": engine_calls(), "action": "SCMP_ACT_ALLOW"}]
    });
}

/// The calls that the programs in these containers need, and init between filter and execve.
fn engine_calls() -> &'static [&'static str] {
    &[
        "read",
        "write",
        "writev",
        "open",
        "openat",
        "close",
        "fstat",
        "newfstatat",
        "stat",
        "lstat",
        "mmap",
        "munmap",
        "mprotect",
        "brk",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "nanosleep",
        "clock_nanosleep",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "getpid",
        "getppid",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "arch_prctl",
        "set_tid_address",
        "fcntl",
        "dup2",
        "fork",
        "vfork",
        "clone",
        "wait4",
        "ioctl",
        "prctl",
        "getcwd",
        "lseek",
    ]
}

fn add_namespace(config: &mut Value, namespace: Value) {
    let kind = namespace["type"].as_str().expect("type").to_string();
    remove_namespace(config, &kind);
    config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(namespace);
}

fn remove_namespace(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().expect("namespaces").retain(|one| one["type"] != kind);
}

/// Fewer mounts and a shorter PATH than in the black-box tests: more of the same kind would only add cases to
/// every unit.
fn base(script: &str, cgroup: &str) -> Value {
    let mut config: Value = serde_json::from_str(CONFIG).expect("config.json");
    config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    config["process"]["env"] = json!(["PATH=/bin"]);
    config["mounts"].as_array_mut().expect("mounts").retain(|mount| mount["destination"] != "/dev/shm");
    let linux = &mut config["linux"];
    linux["cgroupsPath"] = json!(cgroup);
    linux["maskedPaths"] = json!(["/proc/kcore", "/proc/keys"]);
    linux["readonlyPaths"] = json!(["/proc/bus", "/proc/sys"]);
    config
}
