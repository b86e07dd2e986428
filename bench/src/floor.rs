//! The floor: what the kernel alone needs for the default container. No configuration is read, nothing is
//! decided, no state is kept; it makes only the system calls that any runtime must make for this container.

use std::ffi::CStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use linux_raw_sys::general::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, symlinkat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use crate::error::{Context, Result, error};
use crate::sys::{self, Side};

/// The container's namespaces.
const NAMESPACES: u32 =
    CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWCGROUP;

/// The container's device nodes: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

const MASKED: [&str; 10] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/sched_debug",
    "sys/firmware",
    "proc/scsi",
];

const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// One container, from making its cgroup to removing it: enters it, executes `/bin/true` and reaps it.
pub fn run(rootfs: &Path, cgroup: &Path) -> Result<()> {
    fs::create_dir(cgroup).context(|| format!("mkdir {}", cgroup.display()))?;
    let outcome = run_in(rootfs, cgroup);
    fs::remove_dir(cgroup).context(|| format!("rmdir {}", cgroup.display()))?;
    outcome
}

fn run_in(rootfs: &Path, cgroup: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(cgroup, flags, Mode::empty()).context(|| "open the cgroup")?;
    match sys::clone_into(folder.as_fd(), NAMESPACES).context(|| "clone3")? {
        Side::Child => {
            let failure = become_container(rootfs);
            eprintln!("floor: {}", failure.err().unwrap_or_else(|| error("execve returned")));
            std::process::exit(1)
        }
        Side::Parent(pid) => match sys::wait(pid).context(|| "wait4")?.success {
            true => Ok(()),
            false => Err(error("the floor's container failed")),
        },
    }
}

/// Does not return if all goes well.
fn become_container(rootfs: &Path) -> Result<()> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private).context(|| "make / private")?;
    mount_bind_recursive(rootfs, rootfs).context(|| "bind the rootfs")?;
    chdir(rootfs).context(|| "chdir to the rootfs")?;
    mount_file_systems()?;
    make_devices()?;
    pivot_root(".", ".").context(|| "pivot_root")?;
    unmount(".", UnmountFlags::DETACH).context(|| "detach the old root")?;
    chdir("/").context(|| "chdir /")?;
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c"").context(|| "make / read-only")?;
    rustix::system::sethostname(b"bench").context(|| "sethostname")?;
    READ_ONLY.iter().try_for_each(|path| make_read_only(path))?;
    MASKED.iter().try_for_each(|path| mask(path))?;
    Err(Command::new("/bin/true").env_clear().exec()).context(|| "execve /bin/true")
}

fn mount_file_systems() -> Result<()> {
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
    let closed = plain | MountFlags::NODEV;
    let device = MountFlags::NOSUID | MountFlags::STRICTATIME;
    let mounts: [(&str, &str, MountFlags, &CStr); 7] = [
        ("proc", "proc", MountFlags::empty(), c""),
        ("tmpfs", "dev", device, c"mode=755,size=65536k"),
        ("devpts", "dev/pts", plain, c"newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("tmpfs", "dev/shm", closed, c"mode=1777,size=65536k"),
        ("mqueue", "dev/mqueue", closed, c""),
        ("sysfs", "sys", closed | MountFlags::RDONLY, c""),
        ("cgroup2", "sys/fs/cgroup", closed | MountFlags::RELATIME | MountFlags::RDONLY, c""),
    ];
    for (kind, target, flags, data) in mounts {
        if target.starts_with("dev/") {
            mkdirat(CWD, target, Mode::from_raw_mode(0o755)).context(|| format!("mkdir {target}"))?;
        }
        mount(kind, target, kind, flags, data).context(|| format!("mount {target}"))?;
    }
    Ok(())
}

fn make_devices() -> Result<()> {
    for (name, major, minor) in DEVICES {
        let path = format!("dev/{name}");
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))
            .context(|| format!("mknod {path}"))?;
    }
    for (target, name) in LINKS {
        symlinkat(target, CWD, format!("dev/{name}")).context(|| format!("symlink /dev/{name}"))?;
    }
    Ok(())
}

/// Skips a path that this kernel does not have, as the specification demands.
fn make_read_only(path: &str) -> Result<()> {
    if !Path::new(path).exists() {
        return Ok(());
    }
    mount_bind(path, path).context(|| format!("bind {path}"))?;
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount(path, flags, c"").context(|| format!("make {path} read-only"))
}

fn mask(path: &str) -> Result<()> {
    match fs::metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if found.is_dir() => {
            mount("tmpfs", path, "tmpfs", MountFlags::RDONLY, c"").context(|| format!("mask {path}"))
        }
        Ok(_) => mount_bind("dev/null", path).context(|| format!("mask {path}")),
    }
}
