//! Device nodes, and the filter that guards them.

use serde_json::{Value, json};

use super::config::Config;
use super::expectation::{contains, equal};
use super::{Case, Guest, Need};

pub const CASES: &[Case] = &[
    Case::new("default_devices", default_devices),
    Case::new("device_denied", device_denied).needs(&[Need::Module("brd")]),
    Case::new("device_allowed", device_allowed).needs(&[Need::Module("brd")]),
    Case::new("device_made_inside", device_made_inside).needs(&[Need::Module("brd")]),
];

fn default_devices(guest: &Guest) -> Result<(), String> {
    let script = "cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty; readlink ptmx fd stdin; \
                  for link in ptmx fd stdin stdout stderr; do readlink $link; done; \
                  echo x >null && head -c 3 zero | wc -c && head -c 5 urandom | wc -c";
    let finished = guest.run(Config::shell(script).set("/process/user/umask", json!(0o22)))?.exits(0)?;
    for (name, numbers) in [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ] {
        contains("stat", &finished.stdout, &format!("{name} character special file {numbers} 666\n"))?;
    }
    let links = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n3\n5\n";
    contains("links and reads", &finished.stdout, links)?;
    contains("ptmx", &finished.stdout, "pts/ptmx\n")
}

/// The first RAM disk as a device of the container.
fn ram_disk() -> Value {
    json!([{"path": "/dev/disk", "type": "b", "major": 1, "minor": 0, "fileMode": 0o666, "uid": 0, "gid": 0}])
}

/// Reads and writes the disk, with one line of output each.
const USE: &str = "stat -c '%F %t:%T' /dev/disk; dd if=/dev/disk of=/dev/null bs=512 count=1 2>&1 | head -n 1; \
                   dd if=/dev/zero of=/dev/disk bs=512 count=1 conv=notrunc 2>&1 | head -n 1";
const DENIED: [&str; 2] = [
    "dd: can't open '/dev/disk': Operation not permitted",
    "dd: can't open '/dev/disk': Operation not permitted",
];

fn check(guest: &Guest, config: Config, results: [&str; 2]) -> Result<(), String> {
    let finished = guest.run(config)?.exits(0)?;
    let lines: Vec<_> = finished.stdout.lines().collect();
    equal("kind, read, write", lines, vec!["block special file 1:0", results[0], results[1]])
}

fn device_denied(guest: &Guest) -> Result<(), String> {
    check(guest, Config::shell(USE).set("/linux/devices", ram_disk()), DENIED)
}

/// A node grants nothing by itself: only the rules do, in their order.
fn device_allowed(guest: &Guest) -> Result<(), String> {
    let rule = |allow: bool, access: &str| json!({"allow": allow, "type": "b", "major": 1, "minor": 0, "access": access});
    let config = Config::shell(USE).set("/linux/devices", ram_disk());
    let read = config.clone().push("/linux/resources/devices", rule(true, "r"));
    check(guest, read.clone(), ["1+0 records in", DENIED[1]])?;
    check(
        guest,
        config.push("/linux/resources/devices", rule(true, "rwm")),
        ["1+0 records in", "1+0 records in"],
    )?;
    check(guest, read.push("/linux/resources/devices", rule(false, "rwm")), DENIED)
}

/// By default a container with the capability may make nodes, but not open them.
fn device_made_inside(guest: &Guest) -> Result<(), String> {
    let mut config = Config::shell(&format!("mknod -m 666 /dev/disk b 1 0 && {USE}"));
    for set in ["bounding", "permitted", "effective"] {
        config = config.push(&format!("/process/capabilities/{set}"), json!("CAP_MKNOD"));
    }
    check(guest, config, DENIED)
}
