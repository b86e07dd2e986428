//! One broken configuration for each rule, with the exact error text.

use serde_json::{Value, json};

use super::*;
use crate::oci::spec::json::parse;
use crate::oci::spec::tests::fixtures;

fn base() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [
            {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "ipc"}, {"type": "pid"}
        ]}
    })
}

/// The base with the values at JSON pointers added or replaced; `null` removes one.
pub(super) fn with(changes: &[(&str, Value)]) -> Value {
    let mut document = base();
    for (pointer, value) in changes {
        let mut place = &mut document;
        for key in pointer.split('/').skip(1) {
            place = match key.parse::<usize>() {
                Ok(index) if place.is_array() => &mut place[index],
                _ => &mut place[key],
            };
        }
        *place = value.clone();
    }
    document
}

/// Adds namespaces to the base's five.
pub(super) fn namespaces(more: &[Value]) -> (&'static str, Value) {
    let mut all = base()["linux"]["namespaces"].as_array().expect("is a list").clone();
    all.extend_from_slice(more);
    ("/linux/namespaces", json!(all))
}

fn outcome(document: &Value) -> std::result::Result<Vec<Warning>, String> {
    let document = document.to_string();
    let spec = crate::oci::spec::parse(document.as_bytes()).expect("is of the right types");
    validate(spec).map(|valid| valid.warnings).map_err(|error| error.to_string())
}

#[track_caller]
pub(super) fn assert_rejected(cases: &[(&[(&str, Value)], &str)]) {
    for (changes, message) in cases {
        assert_eq!(outcome(&with(changes)).expect_err(message), *message);
    }
}

#[track_caller]
pub(super) fn assert_accepted(cases: &[&[(&str, Value)]]) {
    for changes in cases {
        assert_eq!(outcome(&with(changes)), Ok(vec![]), "{changes:?}");
    }
}

#[test]
fn recorded_configurations_are_valid_without_a_warning() {
    let mut checked = 0;
    for (name, document) in fixtures(".config.json") {
        let spec = crate::oci::spec::parse(&document).expect(&name);
        let valid = validate(spec).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(valid.warnings, [""; 0], "{name}");
        assert!(valid.namespace(NamespaceKind::Mount).is_some());
        checked += 1;
    }
    for (name, document) in fixtures(".process.json") {
        let mut warnings = Vec::new();
        let process = parse(&document).expect(&name);
        validate_process(process, &mut warnings).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(warnings, [""; 0], "{name}");
        checked += 1;
    }
    assert_eq!(checked, 22);
}

#[test]
fn examples_of_the_specification() {
    for (name, document) in fixtures(".json") {
        let Some((_, name)) = name.rsplit_once("/good/") else { continue };
        let mut document: Value = serde_json::from_slice(&document).expect("is JSON");
        let expected = match name {
            "minimal-for-start.json" => Ok(vec![]),
            "spec-example.json" => {
                let error = "ociVersion: \"0.5.0-dev\" is not supported: this runtime follows 1.x";
                assert_eq!(outcome(&document), Err(error.into()));
                document["ociVersion"] = json!("1.0.0");
                Ok(vec![])
            }
            "freebsd-example.json" => {
                Err("hostname: \"slartibartfast\" needs a UTS namespace: add \"uts\" to linux.namespaces"
                    .into())
            }
            "zos-example.json" => continue,
            // An interface can only be moved into a network namespace of the container's own.
            "linux-netdevice.json" => {
                Err("linux.netDevices: needs a network namespace: add \"network\" to linux.namespaces".into())
            }
            _ => Ok(vec![]),
        };
        assert_eq!(outcome(&document), expected, "{name}");
    }
    let path =
        crate::oci::spec::tests::fixtures_folder().join("oci-spec/test/config/bad/linux-hugepage.json");
    let document = std::fs::read(path).expect("the example is there");
    let mut document: Value = serde_json::from_slice(&document).expect("is JSON");
    document["process"] = base()["process"].clone();
    let error = "linux.resources.hugepageLimits[0].pageSize: \"64kB\" is not a page size such as \"2MB\"";
    assert_eq!(outcome(&document), Err(error.into()));
}

#[test]
fn version_root_and_process() {
    let limit = json!({"type": "RLIMIT_CPU", "soft": 0, "hard": 0});
    assert_rejected(&[
        (&[("/ociVersion", json!(""))], "ociVersion: missing: write \"1.3.0\""),
        (&[("/ociVersion", json!("1.3"))], "ociVersion: \"1.3\" is not a version such as \"1.3.0\""),
        (&[("/ociVersion", json!("1.03.0"))], "ociVersion: \"1.03.0\" is not a version such as \"1.3.0\""),
        (
            &[("/ociVersion", json!("2.0.0"))],
            "ociVersion: \"2.0.0\" is not supported: this runtime follows 1.x",
        ),
        (&[("/root", json!(null))], "root: missing: a container needs a root file system"),
        (&[("/root/path", json!(""))], "root.path: missing: write a folder, such as \"rootfs\""),
        (&[("/root/path", json!("a\0"))], "root.path: \"a\\0\" contains a NUL character"),
        (&[("/process/args", json!([]))], "process.args: missing: write at least the program to run"),
        (&[("/process/args", json!(["a", "\0"]))], "process.args[1]: \"\\0\" contains a NUL character"),
        (&[("/process/cwd", json!("tmp"))], "process.cwd: \"tmp\" is not absolute: write \"/tmp\""),
        (&[("/process/cwd", json!(null))], "process.cwd: missing: write an absolute path"),
        (&[("/process/env", json!(["A=1", "B"]))], "process.env[1]: \"B\" is not of the form NAME=value"),
        (&[("/process/env", json!(["=1"]))], "process.env[0]: \"=1\" is not of the form NAME=value"),
        (&[("/process/env", json!(["A=\0"]))], "process.env[0]: \"A=\\0\" contains a NUL character"),
        (
            &[("/process/user/uid", json!(u32::MAX))],
            "process.user.uid: 4294967295 is no id: the kernel keeps it for \"none\"",
        ),
        (
            &[("/process/user/gid", json!(u32::MAX))],
            "process.user.gid: 4294967295 is no id: the kernel keeps it for \"none\"",
        ),
        (
            &[("/process/user/additionalGids", json!([1, u32::MAX]))],
            "process.user.additionalGids[1]: 4294967295 is no id: the kernel keeps it for \"none\"",
        ),
        (
            &[("/process/user/umask", json!(4096))],
            "process.user.umask: 4096 is not a mask: write at most 4095 (octal 7777)",
        ),
        (
            &[("/process/oomScoreAdj", json!(1001))],
            "process.oomScoreAdj: 1001 is not a number from -1000 to 1000",
        ),
        (
            &[("/process/rlimits", json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]))],
            "process.rlimits[0].type: \"RLIMIT_X\" is not a resource such as \"RLIMIT_NOFILE\"",
        ),
        (
            &[("/process/rlimits", json!([limit, limit]))],
            "process.rlimits[1].type: \"RLIMIT_CPU\" is there twice",
        ),
        (
            &[("/process/rlimits", json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]))],
            "process.rlimits[0].soft: 2 is above the hard limit 1",
        ),
        (
            &[("/process/apparmorProfile", json!("a\0"))],
            "process.apparmorProfile: \"a\\0\" contains a NUL character",
        ),
        (&[("/process/selinuxLabel", json!("\0"))], "process.selinuxLabel: \"\\0\" contains a NUL character"),
        (
            &[("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NONE", "priority": 0}))],
            "process.ioPriority.class: \"IOPRIO_CLASS_NONE\" is not one of \
             IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE",
        ),
        (
            &[("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 8}))],
            "process.ioPriority.priority: 8 is not a number from 0 to 7",
        ),
        (
            &[("/process/execCPUAffinity", json!({"initial": "0-"}))],
            "process.execCPUAffinity.initial: \"0-\" is not a list of CPUs such as \"0-3,7\"",
        ),
        (
            &[("/process/execCPUAffinity", json!({"final": "x"}))],
            "process.execCPUAffinity.final: \"x\" is not a list of CPUs such as \"0-3,7\"",
        ),
    ]);
    assert_accepted(&[
        &[("/ociVersion", json!("1.0.2-dev+x.1"))],
        &[("/process/apparmorProfile", json!("")), ("/process/selinuxLabel", json!(""))],
        &[("/process/execCPUAffinity", json!({"initial": "", "final": "0-3,7"}))],
    ]);
}

#[test]
fn scheduler() {
    let scheduler = |value: Value| [("/process/scheduler", value)];
    assert_rejected(&[
        (
            &scheduler(json!({"policy": "SCHED_ISO"})),
            "process.scheduler.policy: \"SCHED_ISO\" is not one of SCHED_OTHER, SCHED_FIFO, SCHED_RR, \
             SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE",
        ),
        (
            &scheduler(json!({"policy": "SCHED_OTHER", "nice": 20})),
            "process.scheduler.nice: 20 is not a number from -20 to 19",
        ),
        (
            &scheduler(json!({"policy": "SCHED_BATCH", "priority": 1})),
            "process.scheduler.priority: is for SCHED_FIFO and SCHED_RR, not for SCHED_BATCH",
        ),
        (
            &scheduler(json!({"policy": "SCHED_FIFO"})),
            "process.scheduler.priority: 0 is not a number from 1 to 99, as SCHED_FIFO needs it",
        ),
        (
            &scheduler(json!({"policy": "SCHED_RR", "priority": 1, "period": 1})),
            "process.scheduler.period: is for SCHED_DEADLINE, not for SCHED_RR",
        ),
        (
            &scheduler(json!({"policy": "SCHED_DEADLINE", "deadline": 2000})),
            "process.scheduler: sched_setattr: `SCHED_DEADLINE` requires `runtime`, in nanoseconds",
        ),
        (
            &scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 2000})),
            "process.scheduler: sched_setattr: `SCHED_DEADLINE` requires `deadline`, in nanoseconds",
        ),
        (
            &scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 0, "deadline": 2000})),
            "process.scheduler: sched_setattr: `SCHED_DEADLINE` runtime must be greater than 0",
        ),
        (
            &scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 1023, "deadline": 2000})),
            "process.scheduler: sched_setattr: `SCHED_DEADLINE` runtime 1023 must be between 1024 and \
             9223372036854775807 nanoseconds",
        ),
        (
            &scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 2000})),
            "process.scheduler: sched_setattr: `SCHED_DEADLINE` runtime 3000 must be <= deadline 2000",
        ),
        (
            &scheduler(
                json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 2500}),
            ),
            "process.scheduler: sched_setattr: `SCHED_DEADLINE` deadline 3000 must be <= period 2500",
        ),
        (
            &scheduler(json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]})),
            "process.scheduler.flags[0]: \"SCHED_FLAG_X\" is not one of SCHED_FLAG_RESET_ON_FORK, \
             SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS, \
             SCHED_FLAG_UTIL_CLAMP_MIN, SCHED_FLAG_UTIL_CLAMP_MAX",
        ),
    ]);
    assert_accepted(&[
        &scheduler(json!({"policy": "SCHED_OTHER", "nice": -20, "priority": 0, "runtime": 0})),
        &scheduler(json!({"policy": "SCHED_FIFO", "priority": 99, "nice": 0})),
        &scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2000, "period": 2000,
            "flags": ["SCHED_FLAG_RECLAIM"]})),
    ]);
    // Accepted with warnings, as other runtimes accept them.
    let warnings = outcome(&with(&scheduler(json!({"policy": "SCHED_IDLE", "nice": 25})))).unwrap();
    assert_eq!(
        warnings,
        [
            "process.scheduler.nice: 25 has no effect: it is for SCHED_OTHER and SCHED_BATCH, not for SCHED_IDLE"
        ]
    );
}

#[test]
fn mounts_and_hooks() {
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let mount = |value: Value| [("/mounts", json!([value]))];
    let hook = |value: Value| [("/hooks", json!({"prestart": [{"path": "/a"}], "poststop": [value]}))];
    assert_rejected(&[
        (&mount(json!({})), "mounts[0].destination: missing: write a path inside the container"),
        (&mount(json!({"destination": "/\0"})), "mounts[0].destination: \"/\\0\" contains a NUL character"),
        (
            &mount(json!({"destination": "/a", "type": "\0"})),
            "mounts[0].type: \"\\0\" contains a NUL character",
        ),
        (
            &mount(json!({"destination": "/a", "source": "\0"})),
            "mounts[0].source: \"\\0\" contains a NUL character",
        ),
        (
            &mount(json!({"destination": "/a", "options": ["ro", "\0"]})),
            "mounts[0].options[1]: \"\\0\" contains a NUL character",
        ),
        (
            &mount(json!({"destination": "/a", "uidMappings": map})),
            "mounts[0].gidMappings: missing: uidMappings needs it",
        ),
        (
            &mount(json!({"destination": "/a", "gidMappings": map})),
            "mounts[0].uidMappings: missing: gidMappings needs it",
        ),
        (
            &mount(
                json!({"destination": "/a", "uidMappings": [{"containerID": 0, "hostID": 0, "size": 0}], "gidMappings": map}),
            ),
            "mounts[0].uidMappings[0].size: 0 maps nothing: write at least 1",
        ),
        (
            &mount(json!({"destination": "/a", "options": ["rbind", "ridmap"]})),
            "mounts[0].options: \"ridmap\" needs uidMappings and gidMappings or a user namespace",
        ),
        (&hook(json!({})), "hooks.poststop[0].path: missing: write an absolute path"),
        (&hook(json!({"path": "a"})), "hooks.poststop[0].path: \"a\" is not absolute: write \"/a\""),
        (
            &hook(json!({"path": "/a", "args": ["\0"]})),
            "hooks.poststop[0].args[0]: \"\\0\" contains a NUL character",
        ),
        (
            &hook(json!({"path": "/a", "env": ["\0"]})),
            "hooks.poststop[0].env[0]: \"\\0\" contains a NUL character",
        ),
        (
            &hook(json!({"path": "/a", "timeout": 0})),
            "hooks.poststop[0].timeout: 0 is not a number of seconds above 0",
        ),
        (&[("/annotations", json!({"": "x"}))], "annotations: a key is empty"),
    ]);
    assert_accepted(&[
        &mount(json!({"destination": "/a", "options": ["idmap"], "uidMappings": map, "gidMappings": map})),
        &hook(json!({"path": "/a", "timeout": 1})),
        &[("/annotations", json!({"a": "\0"}))],
    ]);
    let relative = with(&mount(json!({"destination": "tmp/x"}))).to_string();
    let valid = validate(crate::oci::spec::parse(relative.as_bytes()).expect("parses")).expect("is valid");
    assert_eq!(&*valid.mounts[0].destination, "/tmp/x");
    assert_eq!(valid.warnings, ["mounts[0].destination: \"tmp/x\" is relative: taken as \"/tmp/x\""]);
}

#[test]
fn environment_without_repetitions() {
    let document = with(&[("/process/env", json!(["A=1", "B=2", "A=3=x", "C=", "B=4"]))]).to_string();
    let valid = validate(crate::oci::spec::parse(document.as_bytes()).expect("parses")).expect("is valid");
    let env: Vec<&str> = valid.process.env.iter().map(|entry| &**entry).collect();
    assert_eq!(env, ["A=3=x", "B=4", "C="]);
}

#[test]
fn process_values() {
    let document = with(&[
        ("/process/consoleSize", json!({"width": 80, "height": 25})),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}])),
        ("/linux/rootfsPropagation", json!("rshared")),
    ])
    .to_string();
    let valid = validate(crate::oci::spec::parse(document.as_bytes()).expect("parses")).expect("is valid");
    assert_eq!(valid.process.console_size, None);
    assert_eq!(valid.process.rlimits, [ValidRlimit { resource: 7, soft: 1, hard: u64::MAX }]);
    assert_eq!(valid.rootfs_propagation, RootfsPropagation::Shared);
    assert_eq!(valid.namespace(NamespaceKind::User), None);
    let flags = NamespaceKind::ALL.map(NamespaceKind::clone_flag).iter().fold(0, |all, flag| all | flag);
    assert_eq!(flags, 0x7e02_0080);
}

#[test]
fn capabilities_that_cannot_be_granted_are_left_out() {
    let document = with(&[(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_KILL", "cap_chown", "CAP_NONE"],
            "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL", "CAP_CHOWN"],
            "inheritable": ["CAP_CHOWN", "CAP_BPF"],
            "ambient": ["CAP_KILL"],
        }),
    )])
    .to_string();
    let valid = validate(crate::oci::spec::parse(document.as_bytes()).expect("parses")).expect("is valid");
    let sets = valid.process.capabilities.expect("are there");
    let (chown, kill) = (1, 1 << 5);
    assert_eq!((sets.bounding, sets.permitted, sets.effective), (chown | kill, kill, kill));
    assert_eq!((sets.inheritable, sets.ambient), (chown, 0));
    assert_eq!(
        valid.warnings,
        [
            "process.capabilities.bounding[2]: \"CAP_NONE\" is left out: it is not known",
            "process.capabilities.inheritable[1]: CAP_BPF is left out: it is not in bounding",
            "process.capabilities.effective[1]: CAP_CHOWN is left out: it is not in permitted",
            "process.capabilities.ambient[0]: CAP_KILL is left out: it is not in permitted and inheritable",
        ]
    );
}
