//! The guest's side: it looks at the store that the last cut has left, and then works on it until it is killed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::mount::{MountFlags, mount};

use super::CHECKED;
use crate::cases::ENGINE;
use crate::report::{Event, Outcome};

/// Where the disk is.
const DISK: &str = "/disk";
/// An image as a tar, and the tar of its root file system.
const SAVED: &str = "/tmp/saved.tar";
const ROOTFS: &str = "/tmp/rootfs.tar";
/// A container that goes on after each boot, and what says on the disk that there is one.
const STAYS: &str = "stays";
const MARK: &str = "/disk/stays";

/// Everything, after the kernel's file systems have been mounted. `tell` reports to the host.
pub fn main(mut tell: impl FnMut(Event) -> Result<(), String>) -> Result<(), String> {
    let began = Instant::now();
    fs::create_dir_all(DISK).map_err(|e| format!("{DISK}: {e}"))?;
    mount("/dev/vda", DISK, "ext4", MountFlags::empty(), None).map_err(|e| format!("mount /dev/vda: {e}"))?;
    let found = check().and_then(|()| prepare());
    let outcome = found.map_or_else(Outcome::Failed, |()| Outcome::Passed);
    let is_wrong = matches!(outcome, Outcome::Failed(_));
    tell(Event::End { case: CHECKED.into(), outcome, seconds: began.elapsed().as_secs_f64() })?;
    if is_wrong {
        return Ok(());
    }
    loop {
        // What a command meets may be in the way of the next; what counts is what is on the disk.
        work();
    }
}

/// The store is legal: every image that is listed runs, and what is not whole is mended and said.
fn check() -> Result<(), String> {
    let containers = must(&["ps", "-a", "--format", "{{.Names}} {{.State}}"])?;
    let checked = call(&["system", "check"])?;
    if checked != (0, "Everything is whole.\n".into()) {
        return Err(format!("system check: {}", checked.1));
    }
    for name in must(&["images", "--format", "{{.ID}}"])?.lines() {
        let said =
            must(&["run", "--rm", "--network", "none", name, "sh", "-c", "cat /etc/passwd; ls /bin/sh"])?;
        if !said.ends_with("root:x:0:0:root:/root:/bin/sh\n/bin/sh\n") {
            return Err(format!("image {name}: {said:?}"));
        }
    }
    // Containers were running: nobody may take them for alive now.
    let rows = || containers.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
    if let Some((name, state)) = rows().find(|(_, state)| ["running", "paused", "restarting"].contains(state))
    {
        return Err(format!("container {name} {state}, after a boot"));
    }
    if Path::new(MARK).exists() {
        go_on()?;
    }
    for (name, _) in rows() {
        must(&["rm", "-f", name])?;
    }
    match must(&["ps", "-a", "--format", "{{.ID}} {{.Names}}, {{.Command}}: {{.Status}}"])?.as_str() {
        "" => Ok(()),
        left => Err(format!("containers that were not there before:\n{left}instead of\n{containers}")),
    }
}

/// The one with a restart policy is started by `box boot`, and no other.
fn go_on() -> Result<(), String> {
    let said = must(&["boot"])?;
    let running = must(&["ps", "--format", "{{.Names}}"])?;
    if (said.as_str(), running.as_str()) != ("stays\n", "stays\n") {
        return Err(format!("boot: {said:?}; what runs then: {running:?}"));
    }
    must(&["exec", STAYS, "ls", "/bin/sh"]).map(drop)
}

/// Has the tars from which images are made; these are in memory.
fn prepare() -> Result<(), String> {
    let root = Path::new("/tmp/rootfs");
    let told = |e: std::io::Error| format!("{}: {e}", root.display());
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "many"] {
        fs::create_dir_all(root.join(name)).map_err(told)?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).map_err(told)?;
    for applet in ["sh", "cat", "ls", "sleep"] {
        symlink("busybox", root.join("bin").join(applet)).map_err(told)?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").map_err(told)?;
    for number in 0..100 {
        fs::write(root.join(format!("many/{number}")), "x".repeat(number * 100)).map_err(told)?;
    }
    let mut tar = Command::new("/bin/busybox");
    let status = tar.args(["tar", "-cf", ROOTFS, "-C"]).arg(root).arg(".").status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(format!("busybox tar: {ROOTFS} cannot be made"));
    }
    must(&["import", ROOTFS, "base:1"])?;
    must(&["save", "-o", SAVED, "base:1"])?;
    let fixed = ["run", "-d", "--restart", "always", "--network", "none", "--name", STAYS];
    must(&[&fixed[..], &["base:1", "sleep", "1000"]].concat())?;
    rustix::fs::sync();
    fs::write(MARK, "").map_err(|e| format!("{MARK}: {e}"))?;
    rustix::fs::sync();
    Ok(())
}

/// One round of everything that changes a store.
fn work() {
    let rounds: [&[&str]; 14] = [
        &["load", "-i", SAVED],
        &[
            "run",
            "-d",
            "--name",
            "one",
            "--network",
            "none",
            "-v",
            "data:/data",
            "base:1",
            "sh",
            "-c",
            "echo x >/data/x; sleep 1000",
        ],
        &["run", "--rm", "--network", "none", "base:1", "sh", "-c", "echo x >/new"],
        &["run", "--name", "two", "--network", "none", "base:1", "sh", "-c", "cat /many/* >/all; rm /many/9"],
        &["commit", "two", "mine:1"],
        &["tag", "mine:1", "mine:2"],
        &["run", "--rm", "--network", "none", "mine:1", "ls", "/all"],
        &["commit", "two", "mine:1"],
        &["rm", "two"],
        &["import", ROOTFS, "other:1"],
        &["rmi", "mine:2"],
        &["rm", "-f", "one"],
        &["rmi", "other:1", "mine:1"],
        &["system", "prune", "-f", "-a", "--volumes"],
    ];
    for arguments in rounds {
        if let Err(error) = must(arguments) {
            println!("{error}");
        }
    }
}

fn must(arguments: &[&str]) -> Result<String, String> {
    match call(arguments)? {
        (0, said) => Ok(said),
        (status, said) => Err(format!("box {}: status {status}: {said}", arguments.join(" "))),
    }
}

/// The status, and what was written; a container that stays has no part of it.
fn call(arguments: &[&str]) -> Result<(i32, String), String> {
    let mut command = Command::new(ENGINE);
    command.args(["--data-root", "/disk/box"]).args(arguments).stdin(Stdio::null());
    let output = command.env("PATH", "/bin").output().map_err(|e| format!("{ENGINE}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), said.into_owned()))
}
