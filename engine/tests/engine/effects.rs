//! Every flag of `run` does something: what it changes in the configuration and the network, as `explain` shows them, or the file whose
//! tests show what comes of it. A flag that is new has to be entered here.

use std::collections::BTreeSet;
use std::fs;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::Value;

use crate::harness::Room;

/// Flags, a place in the document, and what is there then. A place that ends in `/*` is a list that has it, one that ends in `/!` a list
/// that no longer has it. `DISK` is a block device, `~` a blank.
const EXPLAINED: [(&str, &str, &str); 55] = [
    ("--add-host db:10.0.0.7", "/network/hosts/db", r#""10.0.0.7""#),
    ("--annotation a=b", "/config/annotations/a", r#""b""#),
    ("--blkio-weight 300", "/config/linux/resources/blockIO/weight", "300"),
    ("--blkio-weight-device DISK:200", "/config/linux/resources/blockIO/weightDevice/0/weight", "200"),
    ("--cap-add NET_ADMIN", "/config/process/capabilities/bounding/*", r#""CAP_NET_ADMIN""#),
    ("--cap-drop CHOWN", "/config/process/capabilities/bounding/!", r#""CAP_CHOWN""#),
    (
        "--cgroup-parent above",
        "/config/linux/cgroupsPath",
        r#""/above/0000000000000000000000000000000000000000000000000000000000000000""#,
    ),
    ("--cgroupns host", "/config/linux/namespaces/!", r#"{"type": "cgroup"}"#),
    ("--cpu-period 50000", "/config/linux/resources/cpu/period", "50000"),
    ("--cpu-quota 20000", "/config/linux/resources/cpu/quota", "20000"),
    ("--cpu-shares 512", "/config/linux/resources/cpu/shares", "512"),
    ("--cpus 1.5", "/config/linux/resources/cpu/quota", "150000"),
    ("--cpuset-cpus 0", "/config/linux/resources/cpu/cpus", r#""0""#),
    ("--cpuset-mems 0", "/config/linux/resources/cpu/mems", r#""0""#),
    ("--device /dev/null:/dev/other", "/config/linux/devices/0/path", r#""/dev/other""#),
    (
        "--device-cgroup-rule c~13:*~rw",
        "/config/linux/resources/devices/*",
        r#"{"allow": true, "type": "c", "major": 13, "access": "rw"}"#,
    ),
    ("--device-read-bps DISK:1m", "/config/linux/resources/blockIO/throttleReadBpsDevice/0/rate", "1048576"),
    ("--device-read-iops DISK:7", "/config/linux/resources/blockIO/throttleReadIOPSDevice/0/rate", "7"),
    (
        "--device-write-bps DISK:1m",
        "/config/linux/resources/blockIO/throttleWriteBpsDevice/*",
        r#"{"major": 7, "minor": 99, "rate": 1048576}"#,
    ),
    ("--device-write-iops DISK:7", "/config/linux/resources/blockIO/throttleWriteIOPSDevice/0/rate", "7"),
    ("--disable-network", "/network/interfaces", "null"),
    ("--dns 9.9.9.9", "/network/dns/nameservers", r#"["9.9.9.9"]"#),
    ("--dns-option ndots:3", "/network/dns/options", r#"["ndots:3"]"#),
    ("--dns-search example.org", "/network/dns/search", r#"["example.org"]"#),
    ("--domainname inside", "/config/domainname", r#""inside""#),
    ("--entrypoint echo", "/config/process/args", r#"["echo", "true"]"#),
    ("--env A=b", "/config/process/env/*", r#""A=b""#),
    ("--expose 81 --publish-all", "/network/interfaces/0/ports", r#"["81/tcp"]"#),
    ("--group-add logs", "/config/process/user/additionalGids", "[0, 50]"),
    ("--hostname named", "/config/hostname", r#""named""#),
    ("--network own --ip 10.71.9.7", "/network/interfaces/0/peer_ips", r#"["10.71.9.7/24"]"#),
    ("--network own --ip6 fd00:71:9::7", "/network/interfaces/0/peer_ips", r#"["fd00:71:9::7/64"]"#),
    ("--ipc host", "/config/linux/namespaces/!", r#"{"type": "ipc"}"#),
    ("--mac-address 02:00:00:00:00:07", "/network/interfaces/0/mac", r#""02:00:00:00:00:07""#),
    ("--memory 64m", "/config/linux/resources/memory/limit", "67108864"),
    ("--memory 64m --memory-reservation 32m", "/config/linux/resources/memory/reservation", "33554432"),
    ("--memory 64m --memory-swap 65m", "/config/linux/resources/memory/swap", "68157440"),
    (
        "--mount type=bind,source=/etc,target=/there,readonly",
        "/config/mounts/*",
        r#"{"destination": "/there", "type": "bind", "source": "/etc", "options": ["rbind", "rro", "rprivate"]}"#,
    ),
    ("--net host", "/config/linux/namespaces/!", r#"{"type": "network"}"#),
    ("--network own", "/network/interfaces/0/model/subnets/0", r#""10.71.9.0/24""#),
    ("--oom-score-adj 300", "/config/process/oomScoreAdj", "300"),
    ("--pid host", "/config/linux/namespaces/!", r#"{"type": "pid"}"#),
    ("--pids-limit 50", "/config/linux/resources/pids/limit", "50"),
    ("--privileged", "/config/linux/resources/devices", r#"[{"allow": true, "access": "rwm"}]"#),
    ("--publish 8080:80", "/network/interfaces/0/ports", r#"["8080:80"]"#),
    ("--read-only", "/config/root/readonly", "true"),
    ("--security-opt no-new-privileges", "/config/process/noNewPrivileges", "true"),
    (
        "--shm-size 1m",
        "/config/mounts/*",
        r#"{"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=1048576"]}"#,
    ),
    ("--sysctl net.core.somaxconn=77", "/config/linux/sysctl/net.core.somaxconn", r#""77""#),
    (
        "--tmpfs /there:size=1m",
        "/config/mounts/*",
        r#"{"destination": "/there", "type": "tmpfs", "source": "tmpfs", "options": ["noexec", "nosuid", "nodev", "size=1m", "rprivate"]}"#,
    ),
    ("--tty", "/config/process/terminal", "true"),
    (
        "--ulimit nofile=10:20",
        "/config/process/rlimits",
        r#"[{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]"#,
    ),
    ("--user web", "/config/process/user/uid", "33"),
    ("--uts host", "/config/linux/namespaces/!", r#"{"type": "uts"}"#),
    ("--workdir /srv", "/config/process/cwd", r#""/srv""#),
];

/// Flags of which something else than the configuration tells, the file with that test, and how it writes them.
const TRIED: [(&str, &str, &str); 36] = [
    ("attach", "flags.rs", "\"-a\""),
    ("cidfile", "peers/process.rs", "--cidfile"),
    ("detach", "harness.rs", "\"-d\""),
    ("detach-keys", "terminal.rs", "--detach-keys"),
    ("env-file", "peers/process.rs", "--env-file"),
    ("health-cmd", "health.rs", "--health-cmd"),
    ("health-interval", "health.rs", "--health-interval"),
    ("health-retries", "health.rs", "--health-retries"),
    ("health-start-interval", "health.rs", "--health-start-interval"),
    ("health-start-period", "health.rs", "--health-start-period"),
    ("health-timeout", "health.rs", "--health-timeout"),
    ("help", "peers/refusals.rs", "--help"),
    ("init", "flags.rs", "--init"),
    ("interactive", "peers/process.rs", " -i "),
    ("label", "peers/lists.rs", "--label"),
    ("label-file", "flags.rs", "--label-file"),
    ("log-driver", "logs.rs", "--log-driver"),
    ("log-opt", "logs.rs", "--log-opt"),
    ("mkdir", "run.rs", "--mkdir"),
    ("name", "peers/life.rs", "--name"),
    ("network-alias", "names.rs", "--network-alias"),
    ("no-healthcheck", "detached.rs", "--no-healthcheck"),
    ("platform", "pull.rs", "--platform"),
    ("pull", "pull.rs", "--pull"),
    ("quiet", "pull.rs", "\"-q\""),
    ("restart", "detached.rs", "--restart"),
    ("rm", "run.rs", "\"--rm\""),
    ("sig-proxy", "run.rs", "--sig-proxy"),
    ("stop-signal", "peers/life.rs", "--stop-signal"),
    ("stop-timeout", "peers/life.rs", "--stop-timeout"),
    ("timeline", "run.rs", "--timeline"),
    ("tls-verify", "distribution.rs", "--tls-verify"),
    ("volume", "peers/files.rs", " -v "),
    ("volumes-from", "system.rs", "--volumes-from"),
    ("expose", "networks.rs", "--expose"),
    ("publish-all", "networks.rs", "--publish-all"),
];

#[test]
fn every_flag_does_something() {
    let Some(room) = Room::new() else { return };
    let disk = room.folder.join("disk");
    mknodat(CWD, &disk, FileType::BlockDevice, Mode::from_raw_mode(0o600), makedev(7, 99)).expect("mknod");
    let subnets = ["--subnet", "10.71.9.0/24", "--subnet", "fd00:71:9::/64"];
    room.call(&[&["network", "create"], &subnets[..], &["own"]].concat()).ok();
    let explain = |flags: &str| -> Value {
        let words: Vec<String> = flags
            .split_whitespace()
            .map(|word| word.replace("DISK", &disk.display().to_string()).replace('~', " "))
            .collect();
        let mut line = vec!["explain", "--format", "json"];
        line.extend(words.iter().map(String::as_str));
        line.extend(["./rootfs", "true"]);
        serde_json::from_str(&room.call(&line).ok()).expect("JSON")
    };
    let usual = explain("");
    for (flags, place, expected) in EXPLAINED {
        let expected: Value = serde_json::from_str(expected).expect(expected);
        let is_so = |document: &Value| match place.rsplit_once('/') {
            Some((list, "*")) => has(document, list, &expected),
            Some((list, "!")) => !has(document, list, &expected),
            _ => document.pointer(place).unwrap_or(&Value::Null) == &expected,
        };
        assert!(!is_so(&usual), "{flags}: {place} is so without it");
        let document = explain(flags);
        let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
        assert!(is_so(&document), "{flags}: {place}: {:?}", document.pointer(parent));
    }
    assert_eq!(flags_of_run(&room), entered());
    room.call(&["network", "rm", "own"]).ok();
    room.assert_gone();
}

fn has(document: &Value, list: &str, wanted: &Value) -> bool {
    document.pointer(list).and_then(Value::as_array).is_some_and(|list| list.contains(wanted))
}

/// Those that its help lists.
fn flags_of_run(room: &Room) -> BTreeSet<String> {
    let help = room.call(&["run", "--help"]).ok();
    let flags = help.lines().skip_while(|line| *line != "Flags:").skip(1);
    let name = |line: &str| line.split("--").nth(1)?.split([' ', '[']).next().map(str::to_string);
    flags.filter_map(name).collect()
}

/// Those that stand in one of the tables.
fn entered() -> BTreeSet<String> {
    let mut flags: BTreeSet<String> = BTreeSet::new();
    for (words, ..) in EXPLAINED {
        flags.extend(words.split_whitespace().filter_map(|word| word.strip_prefix("--")).map(str::to_string));
    }
    for (flag, file, words) in TRIED {
        let path = format!("{}/tests/engine/{file}", env!("CARGO_MANIFEST_DIR"));
        assert!(fs::read_to_string(&path).expect(&path).contains(words), "{file}: {words}");
        flags.insert(flag.to_string());
    }
    flags
}
