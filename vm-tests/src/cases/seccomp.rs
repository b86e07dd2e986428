//! Seccomp filters, as seen from the filtered process.

use serde_json::{Value, json};

use super::config::Config;
use super::expectation::{contains, equal, holds};
use super::{Case, Guest};

pub const CASES: &[Case] = &[
    Case::new("seccomp_errno", seccomp_errno),
    Case::new("seccomp_arguments", seccomp_arguments),
    Case::new("seccomp_without_no_new_privileges", seccomp_without_no_new_privileges),
    Case::new("seccomp_kill", seccomp_kill),
];

fn filtered(script: &str, rule: Value) -> Config {
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    Config::shell(script).writable().set("/linux/seccomp", filter)
}

fn mkdir(action: Value) -> Value {
    let mut rule = action;
    rule["names"] = json!(["mkdir", "mkdirat", "no_such_call"]);
    rule
}

/// crun 1.28 uses its cached filter of the first case for the second one, which differs only in errnoRet.
fn seccomp_errno(guest: &Guest) -> Result<(), String> {
    let script = "grep -w Seccomp /proc/self/status; mkdir /tmp/made";
    for (action, message) in [
        (json!({"action": "SCMP_ACT_ERRNO"}), "Operation not permitted"),
        (json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 28}), "No space left on device"),
    ] {
        let finished = guest.run(filtered(script, mkdir(action)))?.fails()?;
        equal("stdout", finished.stdout.as_str(), "Seccomp:\t2\n")?;
        contains("stderr", &finished.stderr, message)?;
    }
    Ok(())
}

/// kill(2) is refused with signal 0, but not with another signal.
fn seccomp_arguments(guest: &Guest) -> Result<(), String> {
    let argument = json!({"index": 1, "value": 0, "op": "SCMP_CMP_EQ"});
    let rule = json!({"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": [argument]});
    let script = "sleep 100 & kill -0 $!; echo $?; kill -9 $!; echo $?";
    let finished = guest.run(filtered(script, rule))?.exits(0)?;
    equal("stdout", finished.stdout.as_str(), "1\n0\n")?;
    contains("stderr", &finished.stderr, "Permission denied")
}

/// The filter is installed while the capabilities for it are still there, and no later step may need a call
/// that it forbids.
fn seccomp_without_no_new_privileges(guest: &Guest) -> Result<(), String> {
    let rule = mkdir(json!({"action": "SCMP_ACT_ERRNO"}));
    let config = filtered("grep -w Seccomp /proc/self/status; mkdir /tmp/made 2>&1; id -u", rule);
    let config = config
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let finished = guest.run(config)?.exits(0)?;
    contains("stdout", &finished.stdout, "Seccomp:\t2\n")?;
    contains("stdout", &finished.stdout, "Operation not permitted")?;
    holds("the user is 1000", finished.stdout.ends_with("\n1000\n"))
}

fn seccomp_kill(guest: &Guest) -> Result<(), String> {
    let config = filtered("mkdir /tmp/made; echo $?", mkdir(json!({"action": "SCMP_ACT_KILL_PROCESS"})));
    // A shell shows SIGSYS, 31, as 128 + 31.
    equal("stdout", guest.run(config)?.exits(0)?.stdout.as_str(), "159\n")
}
