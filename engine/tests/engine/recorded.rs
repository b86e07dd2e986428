//! `explain` with Docker's flags, compared field by field with what Docker gave its runtime for them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::harness::Room;

/// A recording, the flags of `docker run`, and what is not compared, with the reason.
struct Case {
    name: &'static str,
    flags: &'static str,
    /// Paths as `linux.devices`.
    excused: &'static [(&'static str, &'static str)],
}

const fn case(name: &'static str, flags: &'static str) -> Case {
    Case { name, flags, excused: &[] }
}

const CASES: [Case; 9] = [
    case("plain", ""),
    case("detached-ports", "-d -p 8080:80"),
    case("terminal", "-t"),
    case("detached-limit", "-d -m 64m"),
    Case {
        name: "host-namespaces",
        flags: "--network host --pid host --ipc host",
        excused: &[
            ("hostname", "that of the recording's machine"),
            ("process.env", "has it as well"),
            ("mounts", "Docker leaves out the host's message queues"),
        ],
    },
    case(
        "limits",
        "-u 1000:1000 -w /tmp -e A=b --hostname hh --read-only --cap-drop ALL --cap-add NET_BIND_SERVICE \
         --security-opt no-new-privileges --tmpfs /scratch -m 64m --memory-reservation 32m --cpus 1.5 --cpu-shares 512 \
         --cpuset-cpus 0-1 --pids-limit 50 --blkio-weight 300 --ulimit nofile=1024:2048",
    ),
    case(
        "bind-mounts",
        "-v /tmp:/mnt/t:ro --shm-size 32m --oom-score-adj 500 --sysctl net.ipv4.ip_forward=1 --device /dev/fuse",
    ),
    case(
        "throttle-cgroupns-host",
        "--cgroupns host --security-opt seccomp=unconfined --device-read-bps /dev/vda:1mb",
    ),
    Case {
        name: "privileged",
        flags: "--privileged",
        excused: &[
            ("linux.devices", "those of the recording's machine"),
            ("linux.resources.devices", "the last rule makes those before it mean nothing"),
            ("process.capabilities", "the recording's Docker did not have all"),
        ],
    },
];

#[test]
fn configurations_are_dockers() {
    let Some(room) = Room::new() else { return };
    let recorded: BTreeSet<String> = fs::read_dir(fixtures())
        .expect("fixtures")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("docker-")?.strip_suffix(".config.json")?.to_string()))
        .collect();
    assert_eq!(recorded, CASES.iter().map(|case| case.name.to_string()).collect());
    for case in &CASES {
        // What a flag names must be there, and the same as where it was recorded.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let needs = |word: &str, is_there: bool| !case.flags.contains(word) || is_there;
        if !needs("0-1", processors > 1)
            || !needs("/dev/fuse", Path::new("/dev/fuse").exists())
            || !needs("/dev/vda", is_first_disk("/dev/vda"))
        {
            crate::host::skip(&format!("{}: a device or a processor of the recording is missing", case.name));
            continue;
        }
        compare(&room, case);
    }
    room.assert_gone();
}

fn fixtures() -> String {
    format!("{}/../tests/fixtures", env!("CARGO_MANIFEST_DIR"))
}

fn is_first_disk(path: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).is_ok_and(|found| {
        let device = found.rdev();
        (rustix::fs::major(device), rustix::fs::minor(device)) == (254, 0)
    })
}

fn compare(room: &Room, case: &Case) {
    let mut dockers = recording(case.name);
    let command: Vec<String> = serde_json::from_value(dockers["process"]["args"].clone()).expect("args");
    let mut line = vec!["explain", "--format", "json"];
    line.extend(case.flags.split_whitespace());
    line.push("./rootfs");
    line.extend(command.iter().map(String::as_str));
    let said = room.call(&line).ok();
    let document: Value = serde_json::from_str(&said).expect("JSON");
    let mut ours = document["config"].clone();
    for (path, _) in case.excused {
        for config in [&mut ours, &mut dockers] {
            remove(config, path);
        }
    }
    let mut wrong = String::new();
    differences(&ours, &dockers, "", &mut wrong);
    assert!(wrong.is_empty(), "{}:\n{wrong}", case.name);
}

/// What Docker wrote, without what is another engine's way of saying the same.
fn recording(name: &str) -> Value {
    let path = format!("{}/docker-{name}.config.json", fixtures());
    // The id of a container that is not made.
    let text = fs::read_to_string(&path).expect(&path).replace("a0a0a0a0a0a0", "000000000000");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    remove(&mut config, "linux.cgroupsPath");
    config["root"]["path"] = json!("rootfs");
    let resources = &mut config["linux"]["resources"];
    if resources["blockIO"] == json!({}) {
        resources.as_object_mut().expect("resources").remove("blockIO");
    }
    // Docker writes the usual rules twice.
    let mut rules: Vec<Value> = Vec::new();
    for rule in resources["devices"].as_array().expect("devices") {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    resources["devices"] = Value::Array(rules);
    // These files are the runtime's here.
    let files = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| !files.contains(&mount["destination"].as_str().expect("path")));
    config
}

fn remove(config: &mut Value, path: &str) {
    let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut found = config;
    for part in above.split('.').filter(|part| !part.is_empty()) {
        found = &mut found[part];
    }
    found.as_object_mut().and_then(|members| members.remove(name));
}

/// A line for each place where they are not the same.
fn differences(ours: &Value, dockers: &Value, path: &str, wrong: &mut String) {
    match (ours, dockers) {
        (Value::Object(one), Value::Object(other)) => {
            let names = |map: &Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
            for name in names(one).union(&names(other)) {
                differences(&ours[name], &dockers[name], &format!("{path}.{name}"), wrong);
            }
        }
        _ if ours == dockers => {}
        _ => *wrong += &format!("{path}: is {ours}, Docker's is {dockers}\n"),
    }
}
