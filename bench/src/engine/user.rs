//! The same for an ordinary user, who has ranges of ids.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::contender::{Contender, Folders};
use super::image::{self, FIVE};
use super::life::names;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result};

/// The user's id, which is known in the benchmark's mount namespace alone.
pub const USER: u32 = 61_234;

/// What pasta makes a network interface by.
const TUN: &str = "/dev/net/tun";

/// The cases: without a network, and with one in user mode.
pub const NETWORKS: [&str; 2] =
    ["run --rm --network none, an ordinary user", "run --rm, an ordinary user, pasta"];

/// Makes the user known, and the user's folders.
pub fn prepare(course: &Course<'_>, folders: &Folders) -> Result<()> {
    let lines = [
        ("/etc/passwd", format!("bench:x:{USER}:{USER}::{}:/bin/sh\n", folders.memory.display())),
        ("/etc/group", format!("bench:x:{USER}:\n")),
        ("/etc/subuid", format!("bench:{}:65536\n", USER * 10)),
        ("/etc/subgid", format!("bench:{}:65536\n", USER * 10)),
    ];
    for (path, line) in lines {
        let text = fs::read_to_string(path).context(|| format!("read {path}"))? + &line;
        let own = course.scratch.file(path.rsplit('/').next().unwrap_or_default());
        fs::write(&own, text).context(|| format!("write {}", own.display()))?;
        mount_bind(&own, path).context(|| format!("bind {path}"))?;
    }
    open_tun(&course.scratch.file("tun")).context(|| TUN)?;
    for folder in [&folders.disk, &folders.memory] {
        fs::create_dir_all(folder).context(|| format!("mkdir {}", folder.display()))?;
        chown(folder, Some(USER), Some(USER)).context(|| format!("chown {}", folder.display()))?;
    }
    Ok(())
}

/// Lets the user open the device by which pasta connects containers, as nearly all machines do.
fn open_tun(folder: &Path) -> std::io::Result<()> {
    if !Path::new(TUN).exists() {
        return Ok(());
    }
    fs::create_dir(folder)?;
    mount("tmpfs", folder, "tmpfs", MountFlags::NOSUID, c"mode=755")?;
    let own = folder.join("tun");
    mknodat(CWD, &own, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(10, 200))?;
    // Whatever the umask is.
    fs::set_permissions(&own, fs::Permissions::from_mode(0o666))?;
    Ok(mount_bind(&own, TUN)?)
}

/// Measures it.
pub fn measure(course: &Course<'_>, contenders: &[Contender], disk: &Path) -> Result<Vec<Line>> {
    eprintln!("bench: {} …", NETWORKS.join(", "));
    let archive = disk.join("five.tar");
    image::write_five(&archive)?;
    for engine in contenders {
        engine.time(&["load".as_ref(), "-i".as_ref(), archive.as_os_str()])?;
    }
    let samples = interleave(course.runs.min(20), NETWORKS.len(), contenders, &mut |engine, samples| {
        samples[0].add(engine.time(&["run", "--rm", "--network", "none", FIVE, "/bin/true"]));
        samples[1].add(engine.time(&["run", "--rm", FIVE, "/bin/true"]));
    });
    Ok(lines(&NETWORKS, &names(contenders), samples))
}
