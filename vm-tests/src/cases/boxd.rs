//! box's units under systemd: whatever becomes of boxd, or of the session that has started it, containers go on.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::config::Config;
use super::container::wait_until;
use super::engine::give_all;
use super::expectation::{contains, equal, holds};
use super::unit::{cgroup_of, shows, systemctl};
use super::{Case, ENGINE, Guest, Manager, Need};
use crate::systemd::USER;

pub const CASES: &[Case] = &[
    of_box("boxd_restarts", restarts),
    of_box("boxd_ends_when_idle", ends_when_idle),
    of_box("boxd_boot", boot),
    of_box("boxd_logout", logout),
    of_box("box_logout_of_a_user", logout_of_a_user),
];

const fn of_box(name: &'static str, run: fn(&Guest) -> Result<(), String>) -> Case {
    Case::new(name, run).manager(Manager::Systemd).needs(&[Need::Engine, Need::Module("overlay")]).limit(120)
}

const SOCKET: &str = "/run/boxd.sock";
/// A shorter time than that of the unit.
const IDLE: &str = "/run/systemd/system/boxd.service.d/idle.conf";

/// The root file system of the containers.
fn rootfs(guest: &Guest) -> Result<String, String> {
    let bundle = guest.container("box", Config::shell("true"))?.bundle;
    Ok(bundle.join("rootfs").display().to_string())
}

/// The output of a command of box's that succeeds, without the last line's end.
fn call(guest: &Guest, arguments: &[&str]) -> Result<String, String> {
    println!("$ box {}", arguments.join(" "));
    let output = guest.command(ENGINE).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{ENGINE}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("box {}: {}", arguments.join(" "), output.status)),
    }
}

/// The status of boxd's answer.
fn ask(request: &str) -> Result<String, String> {
    println!("$ {request}");
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "{request} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|e| format!("{request}: {e}"))?;
    println!("{answer}");
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// State, process and number of restarts of the container.
fn state(guest: &Guest) -> Result<String, String> {
    call(guest, &["inspect", "-f", "{{.State.Status}} {{.State.Pid}} {{.RestartCount}}", "one"])
}

fn pid(guest: &Guest) -> Result<u64, String> {
    let text = call(guest, &["inspect", "-f", "{{.State.Pid}}", "one"])?;
    text.parse().map_err(|_| format!("{text}: no process"))
}

/// A container that boxd has started.
fn start_by_boxd(guest: &Guest) -> Result<String, String> {
    let rootfs = rootfs(guest)?;
    systemctl(guest, &["start", "boxd.socket"])?;
    let fixed = ["create", "--name", "one", "--network", "none", "--restart", "always"];
    call(guest, &[&fixed[..], &[&rootfs, "sleep", "1000"]].concat())?;
    equal("start", ask("POST /v1.51/containers/one/start")?.as_str(), "204")?;
    let state = state(guest)?;
    holds("it runs", state.starts_with("running ") && state.ends_with(" 0"))?;
    let cgroup = cgroup_of(pid(guest)?)?;
    println!("its cgroup is {cgroup}");
    Ok(state)
}

fn end(guest: &Guest) -> Result<(), String> {
    call(guest, &["rm", "-f", "one"])?;
    systemctl(guest, &["stop", "boxd.socket", "boxd.service"])?;
    for folder in ["/var/lib/pillbox", "/run/pillbox"] {
        let _ = fs::remove_dir_all(folder);
    }
    Ok(())
}

fn restarts(guest: &Guest) -> Result<(), String> {
    let before = start_by_boxd(guest)?;
    systemctl(guest, &["restart", "boxd.service"])?;
    equal("ping", ask("GET /_ping")?.as_str(), "200")?;
    equal("after a restart", state(guest)?.as_str(), before.as_str())?;
    systemctl(guest, &["kill", "--kill-whom=main", "--signal=KILL", "boxd.service"])?;
    equal("ping", ask("GET /_ping")?.as_str(), "200")?;
    equal("after a kill", state(guest)?.as_str(), before.as_str())?;
    systemctl(guest, &["stop", "boxd.service"])?;
    shows(guest, "boxd.service", &[("ActiveState", "inactive")])?;
    equal("without boxd", state(guest)?.as_str(), before.as_str())?;
    // The socket starts it.
    equal("ping", ask("GET /_ping")?.as_str(), "200")?;
    shows(guest, "boxd.service", &[("ActiveState", "active")])?;
    equal("stop", ask("POST /v1.51/containers/one/stop?t=0")?.as_str(), "204")?;
    end(guest)
}

fn ends_when_idle(guest: &Guest) -> Result<(), String> {
    let folder = Path::new(IDLE).parent().ok_or("no folder")?;
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    let unit = "[Service]\nExecStart=\nExecStart=/usr/bin/boxd --host fd:// --idle 1s\n";
    fs::write(IDLE, unit).map_err(|e| format!("{IDLE}: {e}"))?;
    systemctl(guest, &["daemon-reload"])?;
    let before = start_by_boxd(guest)?;
    for _ in 0..2 {
        wait_until("it has ended", || {
            Ok(systemctl(guest, &["show", "--property", "ActiveState,Result", "boxd.service"])?
                == "Result=success\nActiveState=inactive\n")
        })?;
        equal("without boxd", state(guest)?.as_str(), before.as_str())?;
        equal("ping", ask("GET /_ping")?.as_str(), "200")?;
    }
    end(guest)?;
    fs::remove_dir_all(folder).map_err(|e| e.to_string())?;
    systemctl(guest, &["daemon-reload"]).map(drop)
}

/// What a machine that has lost its power finds: a container that has run, and nothing of it.
fn boot(guest: &Guest) -> Result<(), String> {
    let rootfs = rootfs(guest)?;
    for (name, policy) in [("one", "always"), ("two", "no")] {
        let fixed = ["run", "-d", "--network", "none", "--name", name, "--restart", policy];
        call(guest, &[&fixed[..], &[&rootfs, "sleep", "1000"]].concat())?;
    }
    let first = pid(guest)?;
    for name in ["one", "two"] {
        let program = call(guest, &["inspect", "-f", "{{.State.Pid}}", name])?;
        let status = fs::read_to_string(format!("/proc/{program}/status")).map_err(|e| e.to_string())?;
        let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim();
        for process in [monitor, &program] {
            let killed = guest.command("/bin/busybox").args(["kill", "-9", process]).status();
            holds("it is killed", killed.is_ok_and(|status| status.success()))?;
        }
    }
    systemctl(guest, &["start", "box-boot.service"])?;
    wait_until("it runs again", || Ok(state(guest)?.starts_with("running ")))?;
    holds("it is another process", pid(guest)? != first)?;
    let other = call(guest, &["inspect", "-f", "{{.State.Running}}", "two"])?;
    equal("one that is not to be started", other.as_str(), "false")?;
    let before = state(guest)?;
    systemctl(guest, &["stop", "box-boot.service"])?;
    equal("without the unit", state(guest)?.as_str(), before.as_str())?;
    call(guest, &["rm", "-f", "two"])?;
    end(guest)
}

/// Of an ordinary user what was started in a session ends with it, if logind kills; what the user's own manager has started goes on, as
/// the user lingers.
fn logout_of_a_user(guest: &Guest) -> Result<(), String> {
    let rootfs = rootfs(guest)?;
    let folder = "/tmp/box-of-user";
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    for path in [folder, &rootfs] {
        give_all(Path::new(path), USER).map_err(|e| format!("{path}: {e}"))?;
    }
    let own = format!("{ENGINE} --data-root {folder}/data --exec-root {folder}/run");
    let run = |name: &str| format!("{own} run -d --name {name} --network none {rootfs} sleep 1000");
    let script = format!("{} && systemd-run --user --scope --quiet {}", run("one"), run("two"));
    let mut command = guest.command("/usr/bin/systemd-run");
    command.args(["--wait", "--collect", "--quiet", "--pipe", "--property=PAMName=login", "--uid=1000"]);
    let session = command.args(["/bin/sh", "-c", &script]).stdin(Stdio::null()).output();
    let session = session.map_err(|e| e.to_string())?;
    println!("{}", String::from_utf8_lossy(&[session.stdout, session.stderr].concat()));
    holds("the session has ended well", session.status.success())?;
    let call = |arguments: &str| {
        let mut command = guest.command("/bin/sh");
        command.args(["-c", &format!("{own} {arguments}")]).uid(USER).gid(USER);
        let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
        println!(
            "$ box {arguments}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).trim_end().to_string())
    };
    let status = |name: &str| {
        call(&format!("inspect --format '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}' {name}"))
    };
    wait_until("the first one's end", || Ok(!status("one")?.starts_with("running")))?;
    // Its monitor is killed as well, and has seen the program's end before that or not.
    let first = status("one")?;
    holds(
        &format!("the first one's status: {first}"),
        matches!(first.as_str(), "exited 255" | "exited 137"),
    )?;
    equal("the second one", status("two")?.as_str(), "running 0")?;
    call("rm -f one two")?;
    // Whoever would remove it is started in the scope, which has ended.
    let manager = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    let monitors = format!("{manager}/app.slice/box-monitors");
    wait_until("the last monitor's end", || {
        Ok(fs::remove_dir(&monitors).is_ok() || !Path::new(&monitors).exists())
    })?;
    fs::remove_dir_all(folder).map_err(|e| e.to_string())
}

fn logout(guest: &Guest) -> Result<(), String> {
    let rootfs = rootfs(guest)?;
    let script = format!(
        "busybox cat /proc/self/cgroup >/run/session; {ENGINE} run -d --name one --network none {rootfs} sleep 1000"
    );
    let mut command = guest.command("/usr/bin/systemd-run");
    command.args(["--wait", "--collect", "--quiet", "--property=PAMName=login", "--uid=0"]);
    let status = command.args(["/bin/sh", "-c", &script]).stdin(Stdio::null()).status();
    holds("the session has ended well", status.is_ok_and(|status| status.success()))?;
    let session = fs::read_to_string("/run/session").map_err(|e| e.to_string())?;
    contains("its cgroup", &session, "/session-")?;
    wait_until("the session is over", || {
        let output = guest.command("/usr/bin/loginctl").args(["list-sessions", "--no-legend"]).output();
        let text = String::from_utf8_lossy(&output.map_err(|e| e.to_string())?.stdout).into_owned();
        println!("sessions: {text}");
        Ok(!text.contains("root"))
    })?;
    let state = state(guest)?;
    holds("it runs", state.starts_with("running ") && state.ends_with(" 0"))?;
    equal("its program", call(guest, &["exec", "one", "echo", "here"])?.as_str(), "here")?;
    let _ = fs::remove_file("/run/session");
    // The manager of root's sessions would stay a while.
    systemctl(guest, &["stop", "user@0.service", "user-0.slice"])?;
    end(guest)
}
