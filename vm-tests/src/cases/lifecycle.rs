//! The commands in their order: create, start, state, exec, pause, kill, delete.

use serde_json::json;

use super::config::Config;
use super::container::wait_until;
use super::expectation::{contains, equal, holds};
use super::{Case, Guest, Need};

pub const CASES: &[Case] = &[
    Case::new("run_output", run_output),
    Case::new("run_exit_code", run_exit_code),
    Case::new("run_killed_by_signal", run_killed_by_signal),
    Case::new("run_missing_executable", run_missing_executable),
    Case::new("lifecycle", lifecycle),
    Case::new("wrong_order", wrong_order),
    Case::new("pid_file", pid_file),
    Case::new("exec", exec),
    Case::new("pause_resume", pause_resume),
    Case::new("wait", wait).needs(&[Need::Command("wait")]),
    Case::new("hooks", hooks),
    Case::new("try_command", try_command).needs(&[Need::Command("try"), Need::Module("overlay")]),
];

/// Only the container's own output is to be seen.
pub fn run_output(guest: &Guest) -> Result<(), String> {
    let finished = guest.run(Config::new(&["echo", "hello"]))?.exits(0)?;
    equal("stdout", finished.stdout.as_str(), "hello\n")?;
    equal("stderr", finished.stderr.as_str(), "")
}

fn run_exit_code(guest: &Guest) -> Result<(), String> {
    guest.run(Config::shell("exit 37"))?.exits(37).map(drop)
}

fn run_killed_by_signal(guest: &Guest) -> Result<(), String> {
    let container = guest.container("victim", Config::shell("echo up; sleep 100"))?;
    let call = container.start_run()?;
    wait_until("the container runs", || Ok(call.stdout() == "up\n"))?;
    container.kill("KILL")?;
    guest.finish(call)?.exits(137).map(drop)
}

/// 127, as in shells. crun 1.28 and runc 1.3 exit with 1 here.
fn run_missing_executable(guest: &Guest) -> Result<(), String> {
    let finished = guest.run(Config::new(&["no-such-program"]))?.exits(127)?;
    contains("stderr", &finished.stderr, "no-such-program")
}

fn lifecycle(guest: &Guest) -> Result<(), String> {
    let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let container = guest.container("life", Config::shell(script).set("/annotations/a.b", json!("c")))?;
    let call = container.create()?;
    let state = container.state()?;
    equal("status", &state["status"], "created")?;
    equal("id", &state["id"], "life")?;
    equal("bundle", &state["bundle"], &json!(container.bundle))?;
    equal("annotation", &state["annotations"]["a.b"], "c")?;
    let pid = container.pid()?;
    equal("output before start", call.stdout(), "")?;
    container.call(&["start"])?.exits(0)?;
    equal("status", &container.state()?["status"], "running")?;
    equal("pid of the started container", container.pid()?, pid)?;
    wait_until("the container runs", || Ok(call.stdout() == "up\n"))?;
    container.kill("TERM")?;
    container.becomes("stopped")?;
    equal("output", call.stdout(), "up\nbye\n")?;
    container.call(&["delete"])?.exits(0)?;
    container.call(&["state"])?.fails()?;
    holds("its cgroup is gone", !container.cgroup().exists())
}

fn wrong_order(guest: &Guest) -> Result<(), String> {
    let container = guest.container("order", Config::new(&["sleep", "100"]))?;
    container.call(&["state"])?.fails()?;
    container.call(&["start"])?.fails()?;
    container.call(&["kill"])?.fails()?;
    container.call(&["delete"])?.fails()?;
    container.remove()?;
    container.launch()?;
    container.call(&["start"])?.fails()?;
    container.call(&["delete"])?.fails()?;
    guest.finish(container.start_create()?)?.fails()?;
    equal("status", &container.state()?["status"], "running")?;
    container.kill("9")?;
    container.becomes("stopped")?;
    container.kill("9").err().ok_or("a stopped container was killed")?;
    container.call(&["delete"])?.exits(0)?;
    container.remove()
}

fn pid_file(guest: &Guest) -> Result<(), String> {
    let container = guest.container("pidfile", Config::new(&["sleep", "100"]))?;
    let file = container.bundle.join("pid");
    let (bundle, path) = (container.bundle.to_string_lossy(), file.to_string_lossy());
    container.call(&["create", "--bundle", &bundle, "--pid-file", &path])?.exits(0)?;
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{path}: {e}"))?;
    equal("pid file", text, container.pid()?.to_string())?;
    container.remove()
}

fn exec(guest: &Guest) -> Result<(), String> {
    let container = guest.container("exec", Config::new(&["sleep", "100"]))?;
    container.launch()?;
    let finished =
        container.exec(&["/bin/sh", "-c", "hostname; readlink /proc/self/ns/pid; exit 9"])?.exits(9)?;
    let namespace =
        std::fs::read_link(format!("/proc/{}/ns/pid", container.pid()?)).map_err(|e| e.to_string())?;
    equal("stdout", finished.stdout, format!("container\n{}\n", namespace.display()))?;
    container
        .exec(&["cat", "/proc/self/cgroup"])?
        .exits(0)
        .and_then(|cat| equal("cgroup", cat.stdout, "0::/\n"))?;
    holds("a missing program is refused", container.exec(&["no-such-program"])?.fails()?.stdout.is_empty())?;
    container.remove()
}

fn pause_resume(guest: &Guest) -> Result<(), String> {
    let container = guest.container("pause", Config::new(&["sleep", "100"]))?;
    container.launch()?;
    container.call(&["pause"])?.exits(0)?;
    equal("status", &container.state()?["status"], "paused")?;
    equal("cgroup.freeze", container.cgroup_file("cgroup.freeze")?.as_str(), "1")?;
    container.call(&["resume"])?.exits(0)?;
    equal("status", &container.state()?["status"], "running")?;
    container.call(&["pause"])?.exits(0)?;
    // Frozen processes must die all the same.
    container.remove()
}

/// Before Linux 6.15 only the zombie has the status, and the guest's init leaves it for a moment.
fn wait(guest: &Guest) -> Result<(), String> {
    let container = guest.container("wait", Config::shell("sleep 2; exit 3"))?;
    container.launch()?;
    let finished = container.call(&["wait"])?;
    let known = finished.code() == 3 && finished.stdout == "3\n";
    holds("a status, or why there is none", known || finished.stderr.contains("only its parent"))?;
    container.becomes("stopped")?;
    container.remove()
}

fn hooks(guest: &Guest) -> Result<(), String> {
    let container = guest.container("hooks", Config::new(&["true"]))?;
    let log = container.bundle.join("log");
    let hook = |name: &str| {
        let script = format!("echo {name} $(/bin/busybox wc -c) >>{}", log.display());
        json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}])
    };
    let kinds = ["createRuntime", "poststart", "poststop"];
    let config = kinds
        .iter()
        .fold(Config::new(&["true"]), |config, kind| config.set(&format!("/hooks/{kind}"), hook(kind)));
    std::fs::write(container.bundle.join("config.json"), config.text("/hooks")).map_err(|e| e.to_string())?;
    container.run()?.exits(0)?;
    let text = std::fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    equal("hooks in order", lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), kinds.to_vec())?;
    holds(
        "each got the state",
        lines.iter().all(|(_, length)| length.parse().is_ok_and(|length: u32| length > 20)),
    )
}

fn try_command(guest: &Guest) -> Result<(), String> {
    let finished = guest.call(&["try", "/bin/sh", "-c", "echo hi; exit 3"])?.exits(3)?;
    equal("stdout", finished.stdout.as_str(), "hi\n")
}
