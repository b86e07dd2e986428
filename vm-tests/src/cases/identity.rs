//! Identity of the process: ids, capabilities, limits, environment.

use serde_json::{Value, json};

use super::config::{CAPABILITIES, Config};
use super::expectation::{contains, equal};
use super::{Case, Guest};

pub const CASES: &[Case] = &[
    Case::new("user_and_groups", user_and_groups),
    Case::new("capabilities_of_root", capabilities_of_root),
    Case::new("capabilities_of_a_user", capabilities_of_a_user),
    Case::new("capabilities_none", capabilities_none),
    Case::new("rlimits_raised", rlimits_raised),
    Case::new("no_new_privileges", no_new_privileges),
    Case::new("oom_score_adj", oom_score_adj),
    Case::new("environment_and_folder", environment_and_folder),
];

/// Numbers from linux/capability.h.
const NUMBERS: [(&str, u32); 5] = [
    ("CAP_CHOWN", 0),
    ("CAP_KILL", 5),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_AUDIT_WRITE", 29),
];

fn user_and_groups(guest: &Guest) -> Result<(), String> {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 27], "umask": 0o27});
    let config =
        Config::shell("id -u; id -g; grep Groups /proc/self/status; umask").set("/process/user", user);
    let finished = guest.run(config)?.exits(0)?;
    equal("stdout", finished.stdout.replace(" \n", "\n").as_str(), "1000\n1001\nGroups:\t5 27\n0027\n")
}

/// Runs `config` and compares the five capability sets of its process with the expected ones.
fn check_sets(guest: &Guest, config: Config, sets: [(&str, &[&str]); 5]) -> Result<(), String> {
    let capabilities: Value = sets.iter().map(|(name, set)| (name.to_string(), json!(set))).collect();
    let config = config.set("/process/capabilities", capabilities);
    let finished = guest.run(config)?.exits(0)?;
    for (name, set) in sets {
        let bits = set
            .iter()
            .map(|name| NUMBERS.iter().find(|(known, _)| known == name).map_or(0, |(_, bit)| 1 << bit));
        let field = match name {
            "inheritable" => "CapInh",
            "permitted" => "CapPrm",
            "effective" => "CapEff",
            "bounding" => "CapBnd",
            _ => "CapAmb",
        };
        contains(name, &finished.stdout, &format!("{field}:\t{:016x}\n", bits.sum::<u64>()))?;
    }
    Ok(())
}

fn capabilities_of_root(guest: &Guest) -> Result<(), String> {
    let set: &[&str] = &["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"];
    let sets =
        [("bounding", set), ("permitted", set), ("effective", set), ("inheritable", &[]), ("ambient", &[])];
    check_sets(guest, Config::new(&["grep", "Cap", "/proc/self/status"]), sets)
}

/// Without uid 0 only the ambient set survives execve, and the other sets follow it.
fn capabilities_of_a_user(guest: &Guest) -> Result<(), String> {
    let set: &[&str] = &["CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let config = Config::new(&["grep", "Cap", "/proc/self/status"])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let sets = [
        ("bounding", CAPABILITIES.as_slice()),
        ("permitted", set),
        ("effective", set),
        ("inheritable", set),
        ("ambient", set),
    ];
    check_sets(guest, config, sets)
}

fn capabilities_none(guest: &Guest) -> Result<(), String> {
    let sets =
        ["bounding", "permitted", "effective", "inheritable", "ambient"].map(|name| (name, [].as_slice()));
    check_sets(guest, Config::new(&["grep", "Cap", "/proc/self/status"]), sets)
}

/// The caller's hard limit is 4096 files: raising it takes CAP_SYS_RESOURCE.
fn rlimits_raised(guest: &Guest) -> Result<(), String> {
    let rlimits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 8192, "hard": 1_048_576},
        {"type": "RLIMIT_MEMLOCK", "soft": 16_777_216u64, "hard": u64::MAX},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    ]);
    let config = Config::shell("tr -s ' ' </proc/self/limits").set("/process/rlimits", rlimits);
    let finished = guest.run(config)?.exits(0)?;
    contains("limits", &finished.stdout, "Max open files 8192 1048576 files")?;
    contains("limits", &finished.stdout, "Max locked memory 16777216 unlimited bytes")?;
    contains("limits", &finished.stdout, "Max core file size 0 0 bytes")
}

fn no_new_privileges(guest: &Guest) -> Result<(), String> {
    for (wanted, shown) in [(true, "NoNewPrivs:\t1\n"), (false, "NoNewPrivs:\t0\n")] {
        let config = Config::new(&["grep", "NoNewPrivs", "/proc/self/status"]);
        let finished = guest.run(config.set("/process/noNewPrivileges", json!(wanted)))?.exits(0)?;
        equal("stdout", finished.stdout.as_str(), shown)?;
    }
    Ok(())
}

/// Lower than the caller's own value, which also takes CAP_SYS_RESOURCE.
fn oom_score_adj(guest: &Guest) -> Result<(), String> {
    let config = Config::new(&["cat", "/proc/self/oom_score_adj"]).set("/process/oomScoreAdj", json!(-500));
    let finished = guest.run(config)?.exits(0)?;
    equal("stdout", finished.stdout.as_str(), "-500\n")
}

fn environment_and_folder(guest: &Guest) -> Result<(), String> {
    let config = Config::shell("pwd; echo $A; echo $HOME")
        .push("/process/env", json!("A=b c=d"))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", json!("/data"));
    let finished = guest.run(config)?.exits(0)?;
    equal("stdout", finished.stdout.as_str(), "/data\nb c=d\n/tmp\n")
}
