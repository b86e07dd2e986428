//! What is mounted: the file systems of the kernel, then what is asked for.

use std::path::Path;

use serde_json::{Value, json};

use crate::container::facts::Facts;
use crate::container::options::{Access, IpcAccess, Mount, MountSource, NetworkMode, Options, Sharing};
use crate::error::{Error, Result};
use crate::order;
use crate::store::{VolumeDevice, Volumes};

/// Of /dev/shm, in bytes.
const SHM_SIZE: u64 = 64 << 20;

pub fn compile(options: &Options, facts: &Facts) -> Result<Vec<Value>> {
    let mut mounts = of_kernel(options, facts);
    if let Some(names) = &facts.joined.names {
        for name in ["hosts", "resolv.conf", "hostname"] {
            mounts.push(bind(&names.join(name), &format!("/etc/{name}"), Access::ReadWrite, None)?);
        }
    }
    let mut own = options.mounts.iter().collect::<Vec<_>>();
    // Outer ones first, whatever order they are named in.
    order::sort_by_key(&mut own, |mount| {
        mount.destination.split('/').filter(|part| !part.is_empty()).count()
    });
    for (index, mount) in own.iter().enumerate() {
        if own[..index].iter().any(|before| same(&before.destination, &mount.destination)) {
            return Err(Error::invalid(format!("{}: it is mounted twice", mount.destination)));
        }
        // Theirs instead of ours.
        mounts
            .retain(|ours| !ours["destination"].as_str().is_some_and(|path| same(path, &mount.destination)));
        mounts.push(entry(mount, facts)?);
    }
    Ok(mounts)
}

fn same(one: &str, other: &str) -> bool {
    let parts =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect::<Vec<_>>();
    parts(one) == parts(other)
}

fn of_kernel(options: &Options, facts: &Facts) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, flags: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": flags});
    let privileged = options.rights.privileged;
    let bind = |path: &str| mount(path, "bind", path, &["rbind", "rprivate"]);
    let mut devpts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // The group tty, where there is one.
    if facts.maps.as_ref().is_none_or(|maps| maps.has_group(5)) {
        devpts.push("gid=5");
    }
    let read_only: &[&str] = if privileged { &[] } else { &["ro"] };
    let sysfs = [&["nosuid", "noexec", "nodev"], read_only].concat();
    let cgroup = [read_only, &["nosuid", "noexec", "nodev"]].concat();
    let shm_size = format!("size={}", options.shm_size.unwrap_or(SHM_SIZE));
    let is_users = facts.maps.is_some();
    let mut mounts = vec![
        match options.namespaces.pid {
            // A procfs of a pid namespace that is not the user's cannot be mounted.
            Sharing::Host if is_users => bind("/proc"),
            _ => mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        },
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &devpts),
        match options.network.mode {
            // Nor a sysfs of a network namespace.
            NetworkMode::Host if is_users => {
                mount("/sys", "bind", "/sys", &[&["rbind", "rprivate"], &sysfs[..]].concat())
            }
            _ => mount("/sys", "sysfs", "sysfs", &sysfs),
        },
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup),
        match options.namespaces.ipc {
            Sharing::Host => bind("/dev/mqueue"),
            Sharing::Own => mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        },
        match options.namespaces.ipc {
            Sharing::Host => bind("/dev/shm"),
            Sharing::Own => {
                mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm_size])
            }
        },
    ];
    if options.namespaces.ipc == Sharing::Host && !facts.has_message_queues {
        mounts.retain(|mount| mount["destination"] != "/dev/mqueue");
    }
    if options.namespaces.ipc_access == IpcAccess::None {
        mounts.retain(|mount| mount["destination"] != "/dev/shm");
    }
    mounts
}

fn entry(mount: &Mount, facts: &Facts) -> Result<Value> {
    let Mount { source, destination, access, owners } = mount;
    if !destination.starts_with('/') {
        return Err(Error::invalid(format!("{destination}: must be an absolute path in the container")));
    }
    if destination.split('/').all(|part| matches!(part, "" | ".")) {
        return Err(Error::invalid(format!(
            "{destination}: nothing can be mounted over the container's root"
        )));
    }
    let mut entry = match source {
        MountSource::Bind { path, propagation } => bind(path, destination, *access, propagation.as_deref())?,
        MountSource::Volume { name, copies, .. } => match facts.volume_devices.get(name) {
            Some(device) => of_device(device, destination, *access, *copies)?,
            None => bind(&facts.volumes.join(Volumes::data(name)), destination, *access, None)?,
        },
        MountSource::Tmpfs { options } => {
            let mut flags = vec!["noexec", "nosuid", "nodev"];
            for option in options {
                let opposite = match option.as_str() {
                    "exec" => "noexec",
                    "suid" => "nosuid",
                    "dev" => "nodev",
                    _ => "",
                };
                flags.retain(|flag| *flag != opposite && flag != option);
                flags.push(option);
            }
            if *access == Access::ReadOnly {
                flags.push("ro");
            }
            flags.push("rprivate");
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": flags})
        }
    };
    match owners {
        Some(_) if facts.maps.is_some() => {
            return Err(Error::invalid(format!(
                "the mount at {destination}: idmap: the kernel lets root alone give a file system's files other owners"
            )));
        }
        Some(owners) => owners.apply(&mut entry),
        None => {}
    }
    Ok(entry)
}

/// A volume that is no folder of box's, with the options of its own.
fn of_device(device: &VolumeDevice, destination: &str, access: Access, copies: bool) -> Result<Value> {
    match device {
        VolumeDevice::Tmpfs { options } => {
            let mut flags: Vec<&str> = options.iter().map(String::as_str).collect();
            flags.extend(copies.then_some("tmpcopyup"));
            flags.extend((access == Access::ReadOnly).then_some("ro"));
            flags.push("rprivate");
            Ok(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": flags}))
        }
        VolumeDevice::Bind { path, options } => {
            let mut entry = bind(path, destination, access, None)?;
            let others = options.iter().filter(|option| !matches!(option.as_str(), "bind" | "rbind"));
            if let Some(flags) = entry["options"].as_array_mut() {
                flags.extend(others.map(|option| json!(option)));
            }
            Ok(entry)
        }
    }
}

fn bind(path: &Path, destination: &str, access: Access, propagation: Option<&str>) -> Result<Value> {
    let source = path.to_str().ok_or_else(|| Error::invalid(format!("{}: not UTF-8", path.display())))?;
    let mut flags = vec!["rbind"];
    if access == Access::ReadOnly {
        flags.push("rro");
    }
    flags.push(propagation.unwrap_or("rprivate"));
    Ok(json!({"destination": destination, "type": "bind", "source": source, "options": flags}))
}
