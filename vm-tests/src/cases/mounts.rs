//! The file system as the container sees it.

use std::fs;

use serde_json::json;

use super::config::Config;
use super::expectation::{contains, equal, holds};
use super::{Case, Guest, Need};

pub const CASES: &[Case] = &[
    Case::new("readonly_root", readonly_root),
    Case::new("writable_root", writable_root),
    Case::new("masked_paths", masked_paths),
    Case::new("readonly_paths", readonly_paths),
    Case::new("tmpfs_options", tmpfs_options),
    Case::new("bind_mounts", bind_mounts),
    Case::new("recursive_readonly", recursive_readonly),
    Case::new("pinned_namespaces", pinned_namespaces),
    Case::new("overlay_mount", overlay_mount).needs(&[Need::Module("overlay")]),
    Case::new("symlink_in_the_root", symlink_in_the_root),
];

fn readonly_root(guest: &Guest) -> Result<(), String> {
    let finished = guest.run(Config::new(&["touch", "/file"]))?.fails()?;
    contains("stderr", &finished.stderr, "Read-only file system")
}

fn writable_root(guest: &Guest) -> Result<(), String> {
    let container = guest.container("writable", Config::new(&["touch", "/file"]).writable())?;
    container.run()?.exits(0)?;
    holds("the file is in the bundle", container.bundle.join("rootfs/file").exists())
}

fn masked_paths(guest: &Guest) -> Result<(), String> {
    let script = "cat /proc/keys /proc/timer_list /data/secret | wc -c; ls -A /sys/firmware /data/folder | wc -l; \
                  touch /data/folder/file 2>&1; echo x >/data/secret; cat /data/secret | wc -c";
    let config = ["/data/secret", "/data/folder", "/no/such/path"]
        .iter()
        .fold(Config::shell(script).writable(), |config, path| {
            config.push("/linux/maskedPaths", json!(path))
        });
    let container = guest.container("masked", config)?;
    let data = container.bundle.join("rootfs/data");
    fs::create_dir(data.join("folder")).map_err(|e| e.to_string())?;
    fs::write(data.join("folder/hidden"), "x").map_err(|e| e.to_string())?;
    fs::write(data.join("secret"), "secret").map_err(|e| e.to_string())?;
    let finished = container.run()?.exits(0)?;
    let lines: Vec<_> = finished.stdout.lines().collect();
    equal("bytes of the masked files", lines.first().copied(), Some("0"))?;
    // The output of `ls` for two folders: a heading for each, and an empty line between them.
    equal("lines about the masked folders", lines.get(1).copied(), Some("3"))?;
    contains("touch in a masked folder", lines.get(2).unwrap_or(&""), "Read-only file system")?;
    equal("bytes after writing", lines.get(3).copied(), Some("0"))?;
    equal(
        "the file in the bundle",
        fs::read_to_string(data.join("secret")).unwrap_or_default().as_str(),
        "secret",
    )
}

fn readonly_paths(guest: &Guest) -> Result<(), String> {
    let script = "for path in /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /data/file; do \
                  (echo 1 >$path) 2>&1; done; cat /data/file";
    let config = Config::shell(script).writable().push("/linux/readonlyPaths", json!("/data"));
    let container = guest.container("readonly", config)?;
    fs::write(container.bundle.join("rootfs/data/file"), "old\n").map_err(|e| e.to_string())?;
    let finished = container.run()?.exits(0)?;
    equal("refusals", finished.stdout.matches("Read-only file system").count(), 3)?;
    holds("the file is as it was", finished.stdout.ends_with("old\n"))
}

fn tmpfs_options(guest: &Guest) -> Result<(), String> {
    let options = json!(["nosuid", "nodev", "noexec", "size=1m", "mode=750"]);
    let mount = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options});
    let script =
        "grep ' /data ' /proc/self/mounts; stat -c %a /data; dd if=/dev/zero of=/data/x bs=64k count=32 2>&1";
    let finished = guest.run(Config::shell(script).push("/mounts", mount))?.fails()?;
    for part in ["nosuid", "nodev", "noexec", "size=1024k", "\n750\n", "No space left on device"] {
        contains("stdout", &finished.stdout, part)?;
    }
    Ok(())
}

fn bind_mounts(guest: &Guest) -> Result<(), String> {
    let script =
        "cat /data/file; (echo x >/data/file) 2>&1; echo new >/tmp/file; cat /etc/passwd; ls /made/here";
    let container = guest.container("bind", Config::shell(script).writable())?;
    let (read, write) = (container.bundle.join("read"), container.bundle.join("write"));
    fs::create_dir(&read).and_then(|()| fs::create_dir(&write)).map_err(|e| e.to_string())?;
    fs::write(read.join("file"), "one\n").map_err(|e| e.to_string())?;
    let bind = |from: &std::path::Path, to: &str, option: &str| json!({"destination": to, "source": from, "options": [option, "bind"]});
    let config = Config::shell(script)
        .writable()
        .push("/mounts", bind(&read, "/data", "ro"))
        .push("/mounts", bind(&write, "/tmp", "rw"))
        .push("/mounts", bind(&read.join("file"), "/etc/passwd", "ro"))
        .push("/mounts", bind(&read, "/made/here", "ro"));
    fs::write(container.bundle.join("config.json"), config.text("/bind")).map_err(|e| e.to_string())?;
    let finished = container.run()?.exits(0)?;
    let lines: Vec<_> = finished.stdout.lines().collect();
    equal("number of lines", lines.len(), 4)?;
    equal("files that are mounted", (lines[0], lines[2], lines[3]), ("one", "one", "file"))?;
    contains("writing to a read-only mount", lines[1], "Read-only file system")?;
    equal("the file written", fs::read_to_string(write.join("file")).unwrap_or_default().as_str(), "new\n")
}

/// A pinned mount namespace cannot be mounted in a newer one; before Linux 6.18 this holds whatever the CPU.
fn pinned_namespaces(guest: &Guest) -> Result<(), String> {
    let tree = "/tmp/pinned";
    fs::create_dir_all(tree)
        .and_then(|()| fs::write("/tmp/pinned/pin", ""))
        .map_err(|e| format!("{tree}: {e}"))?;
    let pinned = guest
        .command("/bin/busybox")
        .args(["unshare", "--mount=/tmp/pinned/pin", "/bin/busybox", "true"])
        .status();
    holds("a namespace is pinned", pinned.map_err(|e| format!("unshare: {e}"))?.success())?;
    let bind =
        |to: &str, from: &str| json!({"destination": to, "source": from, "options": ["rbind", "rslave"]});
    let script = "ls /data; ls -A /run/pillbox; grep -c nsfs /proc/self/mountinfo";
    let config = Config::shell(script)
        .writable()
        .push("/mounts", bind("/data", tree))
        .push("/mounts", bind("/run", "/run"));
    let finished = guest.run(config)?;
    rustix::mount::unmount("/tmp/pinned/pin", rustix::mount::UnmountFlags::DETACH)
        .map_err(|e| e.to_string())?;
    contains("stdout", &finished.stdout, "pin\n")?;
    contains("stdout", &finished.stdout, ".seed\n")?;
    holds("no pin is in the container", finished.stdout.ends_with("\n0\n"))
}

/// `rro` also affects the mounts below a bind mount, unlike `ro`.
fn recursive_readonly(guest: &Guest) -> Result<(), String> {
    let script = "for n in 1 2; do (echo x >/mnt/$n/below/file) && echo $n written; done 2>&1; true";
    let tmpfs = |to: &str| json!({"destination": to, "type": "tmpfs", "source": "tmpfs"});
    let bind = |to: &str, option: &str| json!({"destination": to, "source": "/tmp/tree", "options": ["rbind", option]});
    let tree = "/tmp/tree/below";
    fs::create_dir_all(tree).map_err(|e| format!("{tree}: {e}"))?;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", tree, "tmpfs", flags, None).map_err(|e| format!("{tree}: {e}"))?;
    let config = Config::shell(script).writable().push("/mounts", tmpfs("/mnt"));
    let finished =
        guest.run(config.push("/mounts", bind("/mnt/1", "ro")).push("/mounts", bind("/mnt/2", "rro")));
    rustix::mount::unmount(tree, rustix::mount::UnmountFlags::empty()).map_err(|e| format!("{tree}: {e}"))?;
    let finished = finished?.exits(0)?;
    contains("stdout", &finished.stdout, "1 written")?;
    contains("stdout", &finished.stdout, "Read-only file system")?;
    holds("the second is read-only all through", !finished.stdout.contains("2 written"))
}

fn overlay_mount(guest: &Guest) -> Result<(), String> {
    let container = guest.container("overlay", Config::new(&["true"]))?;
    let folder = |name: &str| container.bundle.join(name).display().to_string();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(folder(name)).map_err(|e| format!("{name}: {e}"))?;
    }
    fs::write(container.bundle.join("lower/file"), "lower\n").map_err(|e| e.to_string())?;
    let options = ["lower", "upper", "work"].map(|name| format!("{name}dir={}", folder(name)));
    let mount = json!({"destination": "/data", "type": "overlay", "source": "overlay", "options": options});
    let config = Config::shell("cat /data/file; echo upper >/data/file").push("/mounts", mount);
    fs::write(container.bundle.join("config.json"), config.text("/overlay")).map_err(|e| e.to_string())?;
    let finished = container.run()?.exits(0)?;
    equal("stdout", finished.stdout.as_str(), "lower\n")?;
    equal("upper file", fs::read_to_string(folder("upper/file")).unwrap_or_default().as_str(), "upper\n")?;
    equal("lower file", fs::read_to_string(folder("lower/file")).unwrap_or_default().as_str(), "lower\n")
}

/// A link in the image that leads out of it makes no folder outside (CVE-2019-18837).
fn symlink_in_the_root(guest: &Guest) -> Result<(), String> {
    let tmpfs = json!({"destination": "/link/new", "type": "tmpfs", "source": "tmpfs"});
    let config = Config::shell("grep -c '/new tmpfs' /proc/self/mounts").writable().push("/mounts", tmpfs);
    let container = guest.container("link", config)?;
    let decoy = container.bundle.join("decoy");
    fs::create_dir(&decoy).map_err(|e| e.to_string())?;
    std::os::unix::fs::symlink(&decoy, container.bundle.join("rootfs/link")).map_err(|e| e.to_string())?;
    // Both are right: to mount inside the root, and to refuse.
    let finished = container.run()?;
    holds("mounted inside or refused", finished.code() != 0 || finished.stdout == "1\n")?;
    let entries = fs::read_dir(&decoy).map_err(|e| e.to_string())?.count();
    equal("files that were made outside", entries, 0)
}
