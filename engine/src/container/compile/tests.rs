//! Compared field by field with what Docker wrote for the same flags.

use super::*;
use crate::container::account::Accounts;
use crate::container::facts::Device;
use crate::container::joined::Joined;
use crate::container::options::{
    Access, DeviceLimit, DeviceRequest, DeviceRule, DeviceUse, IpcAccess, Mount, MountSource, Rights,
};
use crate::container::size::{parse_bytes, parse_processors};

/// What a test's image is: busybox's.
const GROUPS: &str = "root:x:0:\n";

fn facts() -> Facts {
    Facts {
        id: "a0a0a0a0a0a0".repeat(5) + "a0a0",
        accounts: Accounts { passwd: "root:x:0:0:root:/root:/bin/sh\n".into(), group: GROUPS.into() },
        maps: None,
        machine: "x86_64",
        hostname: "x".to_string(),
        volumes: "/volumes".into(),
        volume_devices: std::collections::BTreeMap::new(),
        joined: Joined::default(),
        devices: Vec::new(),
        limited: Vec::new(),
        has_message_queues: true,
        cgroup_parent: None,
    }
}

fn options(command: &[&str]) -> Options {
    Options { command: command.iter().map(|word| word.to_string()).collect(), ..Options::default() }
}

/// What Docker wrote, without what is another engine's way of saying the same.
fn fixture(name: &str) -> Value {
    let path = format!("{}/../tests/fixtures/docker-{name}.config.json", env!("CARGO_MANIFEST_DIR"));
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect("JSON");
    let linux = config["linux"].as_object_mut().expect("linux");
    linux.remove("cgroupsPath");
    if linux["resources"]["blockIO"] == json!({}) {
        linux["resources"].as_object_mut().expect("resources").remove("blockIO");
    }
    // Docker writes the usual rules twice.
    let mut rules: Vec<Value> = Vec::new();
    for rule in linux["resources"]["devices"].as_array().expect("devices") {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    linux["resources"]["devices"] = Value::Array(rules);
    // The root has no path here, and these files are the runtime's.
    config["root"]["path"] = json!("rootfs");
    let files = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];
    config["mounts"]
        .as_array_mut()
        .expect("mounts")
        .retain(|mount| !files.contains(&mount["destination"].as_str().expect("path")));
    config
}

#[track_caller]
fn assert_same(ours: &Value, dockers: &Value, path: &str) {
    match (ours, dockers) {
        (Value::Object(one), Value::Object(other)) => {
            let names = |map: &Map<String, Value>| {
                let mut names: Vec<_> = map.keys().cloned().collect();
                names.sort();
                names
            };
            assert_eq!(names(one), names(other), "{path}");
            one.iter().for_each(|(name, value)| assert_same(value, &other[name], &format!("{path}.{name}")));
        }
        _ => assert_eq!(ours, dockers, "{path}"),
    }
}

#[track_caller]
fn compare(name: &str, options: &Options, facts: &Facts) {
    let ours =
        compile(&Execution::default(), options, facts).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_same(&ours.document(), &fixture(name), name);
}

#[test]
fn a_plain_container() {
    compare("plain", &options(&["/bin/echo", "plain"]), &facts());
    compare("detached-ports", &options(&["/bin/sleep", "100"]), &facts());
}

#[test]
fn a_terminal() {
    let mut options = options(&["/bin/sh", "-c", "exit 3"]);
    options.streams.terminal = true;
    compare("terminal", &options, &facts());
}

#[test]
fn a_limit() {
    let mut options = options(&["/bin/sleep", "100"]);
    options.limits.memory = Some(parse_bytes("--memory", "64m").unwrap());
    compare("detached-limit", &options, &facts());
}

#[test]
fn namespaces_of_the_host() {
    let mut options = options(&["/bin/echo", "hostns"]);
    options.network.mode = NetworkMode::Host;
    options.namespaces.pid = Sharing::Host;
    options.namespaces.ipc = Sharing::Host;
    let mut expected = fixture("host-namespaces");
    // Docker leaves it out with the host's ipc namespace; POSIX message queues are of that namespace as well.
    let mqueue = json!({"destination": "/dev/mqueue", "type": "bind", "source": "/dev/mqueue", "options": ["rbind", "rprivate"]});
    let mounts = expected["mounts"].as_array_mut().expect("mounts");
    mounts
        .iter_mut()
        .filter(|mount| mount["destination"] == "/dev/mqueue")
        .for_each(|mount| *mount = mqueue.clone());
    let ours = compile(&Execution::default(), &options, &facts()).unwrap();
    assert_same(&ours.document(), &expected, "host-namespaces");
    let mounts = expected["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["destination"] != "/dev/mqueue");
    let without = Facts { has_message_queues: false, ..facts() };
    let ours = compile(&Execution::default(), &options, &without).unwrap();
    assert_same(&ours.document(), &expected, "host-namespaces");
}

#[test]
fn many_limits() {
    let mut options = Options {
        user: Some("1000:1000".into()),
        workdir: Some("/tmp".into()),
        environment: vec!["A=b".into()],
        hostname: Some("hh".into()),
        read_only: true,
        rights: Rights {
            dropped: vec!["ALL".into()],
            added: vec!["NET_BIND_SERVICE".into()],
            no_new_privileges: true,
            ..Rights::default()
        },
        mounts: vec![Mount::new(
            MountSource::Tmpfs { options: Vec::new() },
            "/scratch".into(),
            Access::ReadWrite,
        )],
        ..options(&["/bin/id"])
    };
    options.limits.memory = Some(64 << 20);
    options.limits.memory_reservation = Some(32 << 20);
    options.limits.cpu_quota = Some(parse_processors("--cpus", "1.5").unwrap());
    options.limits.cpu_shares = Some(512);
    options.limits.cpuset_cpus = Some("0-1".into());
    options.limits.pids = Some(50);
    options.limits.blkio_weight = Some(300);
    options.limits.ulimits = vec!["nofile=1024:2048".into()];
    compare("limits", &options, &facts());
}

#[test]
fn binds_and_devices() {
    let mut options = options(&["/bin/mount"]);
    options.mounts = vec![Mount::new(
        MountSource::Bind { path: "/tmp".into(), propagation: None },
        "/mnt/t".into(),
        Access::ReadOnly,
    )];
    options.shm_size = Some(32 << 20);
    options.limits.oom_score_adj = Some(500);
    options.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    options.devices =
        vec![DeviceRequest { host: "/dev/fuse".into(), container: "/dev/fuse".into(), access: "rwm".into() }];
    let fuse = Device {
        path: "/dev/fuse".into(),
        is_block: false,
        major: 10,
        minor: 229,
        mode: 0o600,
        uid: 0,
        gid: 0,
        access: "rwm".into(),
    };
    compare("bind-mounts", &options, &Facts { devices: vec![fuse], ..facts() });
}

#[test]
fn devices_that_are_limited() {
    let mut options = options(&["/bin/echo", "blk"]);
    options.namespaces.cgroup = Sharing::Host;
    options.rights.seccomp = Seccomp::Unconfined;
    let limit = |what, value| (DeviceLimit { device: "/dev/vda".into(), what, value }, [254, 0]);
    let limited = vec![limit(DeviceUse::ReadBytes, 1 << 20)];
    compare("throttle-cgroupns-host", &options, &Facts { limited, ..facts() });
    options.limits.blkio_weight = Some(300);
    options.device_rules =
        vec![DeviceRule { kind: "c".into(), major: Some(13), minor: None, access: "rw".into() }];
    let uses =
        [DeviceUse::Weight, DeviceUse::WriteBytes, DeviceUse::ReadOperations, DeviceUse::WriteOperations];
    let limited = uses.map(|what| limit(what, 100)).into();
    let config = compile(&Execution::default(), &options, &Facts { limited, ..facts() }).unwrap().document();
    let resources = &config["linux"]["resources"];
    let rate = json!([{"major": 254, "minor": 0, "rate": 100}]);
    let expected = json!({
        "weight": 300,
        "weightDevice": [{"major": 254, "minor": 0, "weight": 100}],
        "throttleWriteBpsDevice": rate,
        "throttleReadIOPSDevice": rate,
        "throttleWriteIOPSDevice": rate,
    });
    assert_eq!(resources["blockIO"], expected);
    let rule = json!({"allow": true, "type": "c", "major": 13, "access": "rw"});
    assert_eq!(resources["devices"].as_array().and_then(|rules| rules.last()), Some(&rule));
}

#[test]
fn without_shared_memory() {
    let mut options = options(&["true"]);
    options.namespaces.ipc_access = IpcAccess::None;
    let config = compile(&Execution::default(), &options, &facts()).unwrap().document();
    let mut mounts = config["mounts"].as_array().expect("mounts").iter();
    assert!(mounts.all(|mount| mount["destination"] != "/dev/shm"));
}

#[test]
fn everything_for_the_privileged() {
    let mut options = options(&[]);
    options.rights.privileged = true;
    let mut expected = fixture("privileged");
    // The last rule makes those before it mean nothing.
    let rules = &mut expected["linux"]["resources"]["devices"];
    *rules = json!([rules.as_array().and_then(|rules| rules.last()).expect("rules")]);
    options.command = serde_json::from_value(expected["process"]["args"].clone()).expect("args");
    let device = |node: &Value| Device {
        path: node["path"].as_str().expect("path").to_string(),
        is_block: node["type"] == "b",
        major: node["major"].as_u64().expect("major") as u32,
        minor: node["minor"].as_u64().expect("minor") as u32,
        mode: node["fileMode"].as_u64().expect("mode") as u32,
        uid: node["uid"].as_u64().expect("uid") as u32,
        gid: node["gid"].as_u64().expect("gid") as u32,
        access: "rwm".to_string(),
    };
    let devices = expected["linux"]["devices"].as_array().expect("devices").iter().map(device).collect();
    let ours = compile(&Execution::default(), &options, &Facts { devices, ..facts() }).unwrap().document();
    let sorted = |config: &Value, set: &str| {
        let names = config["process"]["capabilities"][set].as_array().expect("set");
        let mut names: Vec<_> = names.iter().map(Value::to_string).collect();
        names.sort();
        names
    };
    for set in ["bounding", "effective", "permitted"] {
        assert!(sorted(&expected, set).iter().all(|name| sorted(&ours, set).contains(name)), "{set}");
    }
    let without_sets = |config: &Value| {
        let mut config = config.clone();
        config["process"].as_object_mut().expect("process").remove("capabilities");
        config
    };
    assert_same(&without_sets(&ours), &without_sets(&expected), "privileged");
}

fn exec_fixture(name: &str) -> Value {
    let path = format!("{}/../tests/fixtures/docker-{name}.process.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect("JSON")
}

#[test]
fn one_more_program() {
    let exec = |options: &Options| compile_exec(&Execution::default(), options, &facts()).unwrap();
    let of = |name: &str| {
        let expected = exec_fixture(name);
        let words: Vec<String> = serde_json::from_value(expected["args"].clone()).expect("args");
        (expected, Options { command: words, ..Options::default() })
    };
    let (expected, options) = of("exec-root");
    assert_same(&exec(&options), &expected, "exec-root");
    let (expected, mut options) = of("exec-user-env");
    let variables: Vec<String> = serde_json::from_value(expected["env"].clone()).expect("env");
    options.environment = variables[2..].to_vec();
    options.user = Some(format!("{}:{}", expected["user"]["uid"], expected["user"]["gid"]));
    options.workdir = expected["cwd"].as_str().map(str::to_string);
    assert_same(&exec(&options), &expected, "exec-user-env");
    let (mut expected, mut options) = of("exec-privileged");
    options.rights.privileged = true;
    let mut ours = exec(&options);
    // The recording's Docker did not have all capabilities.
    for set in ["bounding", "effective", "permitted"] {
        let (own, dockers) = (&ours["capabilities"][set], &expected["capabilities"][set]);
        let own = own.as_array().expect("set");
        assert!(dockers.as_array().expect("set").iter().all(|name| own.contains(name)), "{set}");
    }
    for process in [&mut ours, &mut expected] {
        process.as_object_mut().expect("process").remove("capabilities");
    }
    assert_same(&ours, &expected, "exec-privileged");
}

#[test]
fn namespaces_of_other_containers() {
    let mut options = options(&["true"]);
    options.network.mode = NetworkMode::Container("web".into());
    let joined = Joined {
        network: Some("/proc/7/ns/net".into()),
        hostname: Some("other".into()),
        names: Some("/run/web".into()),
        ..Joined::default()
    };
    let facts = Facts { joined, ..facts() };
    let config = compile(&Execution::default(), &options, &facts).unwrap().document();
    let namespaces = config["linux"]["namespaces"].as_array().expect("namespaces");
    assert!(namespaces.contains(&json!({"type": "network", "path": "/proc/7/ns/net"})), "{namespaces:?}");
    assert_eq!((&config["hostname"], config["linux"].get("sysctl")), (&json!("other"), None));
    let sources: Vec<_> =
        config["mounts"].as_array().expect("mounts").iter().map(|mount| &mount["source"]).collect();
    assert!(sources.contains(&&json!("/run/web/hosts")), "{sources:?}");
    options.hostname = Some("own".into());
    let error = compile(&Execution::default(), &options, &facts).unwrap_err().to_string();
    assert!(error.starts_with("--hostname own: "), "{error}");
}
