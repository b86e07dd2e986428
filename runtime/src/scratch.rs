//! Throwaway containers over the host's own files: overlays whose changes go to memory.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags};

use crate::error::{Context, Result};
use crate::json;
use crate::mountinfo::{self, Mount};
use crate::order;
use crate::plan::Layer;

/// What runs in the throwaway container.
#[derive(Debug, Clone)]
pub struct Wish {
    /// argv.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<String>,
    /// Where it starts; `/` without one.
    pub cwd: Option<String>,
    /// Whether it gets a terminal of its own.
    pub terminal: bool,
    /// The caller's ids: an ordinary user becomes root of a user namespace.
    pub user: (u32, u32),
}

/// A config.json for [`Wish`], to be run with [`layers`] as `scratch_over`.
pub fn config(wish: &Wish) -> Result<String> {
    let Wish { arguments, environment, cwd, terminal, user: (uid, gid) } = wish;
    let text = |value: &str| json::to_string(&value);
    let mapping = |id: &u32| format!(r#"[{{"containerID": 0, "hostID": {id}, "size": 1}}]"#);
    // All capabilities of a user namespace reach only what belongs to it; on the host itself Docker's selection.
    let (user_namespace, capabilities) = if *uid == 0 {
        (String::new(), CAPABILITIES)
    } else {
        let maps = format!(r#""uidMappings": {}, "gidMappings": {},"#, mapping(uid), mapping(gid));
        (maps, crate::capability::NAMES.as_slice())
    };
    let namespace = if *uid == 0 { "" } else { r#", {"type": "user"}"# };
    let set = json::to_string(&capabilities)?;
    Ok(TEMPLATE
        .replace("@CAPABILITIES@", &set)
        .replace("@MAPPINGS@", &user_namespace)
        .replace("@USER_NAMESPACE@", namespace)
        .replace("@TERMINAL@", if *terminal { "true" } else { "false" })
        .replace("@CWD@", &text(cwd.as_deref().unwrap_or("/"))?)
        .replace("@ENV@", &json::to_string(environment)?)
        .replace("@ARGS@", &json::to_string(arguments)?))
}

/// Docker's default selection: enough to install packages, not enough to reach the machine.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const TEMPLATE: &str = include_str!("scratch.json");

/// Folders that are not the system's files but its state, sockets and devices: the container gets its own.
const LEFT_OUT: [&str; 8] = ["/.", "/..", "/proc", "/sys", "/dev", "/run", "/tmp", "/lost+found"];

/// What of the host's root folder a throwaway container sees, and how: folders through overlays, those with mounts
/// below read-only (a user namespace may not look under what is mounted), links as they are.
///
/// # Errors
/// The root folder or /proc/self/mountinfo cannot be read.
pub fn layers() -> Result<Vec<Layer>> {
    let mountinfo = mountinfo::read()?;
    let mut layers = Vec::new();
    for entry in open_folder("/").and_then(Dir::new).context(|| "read /")? {
        let entry = entry.context(|| "read /")?;
        // Names that are no text, and what the user may not even look at, are left out.
        let Ok(path) = entry.file_name().to_str().map(|name| format!("/{name}")) else { continue };
        let path = path.as_str();
        if LEFT_OUT.contains(&path) {
            continue;
        }
        let Ok(kind) = std::fs::symlink_metadata(path) else { continue };
        if kind.is_symlink() {
            let target = std::fs::read_link(path).ok().and_then(|target| target.to_str().map(str::to_string));
            layers.extend(target.map(|target| Layer::Link(path.to_string(), target)));
        } else if kind.is_dir() && open_folder(path).is_ok() {
            layers.push(layer_of(path, &mountinfo));
        } else if kind.is_file() {
            layers.push(Layer::ReadOnly(path.to_string()));
        }
    }
    order::sort(&mut layers, |left, right| path_of(left) < path_of(right));
    Ok(layers)
}

fn open_folder(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn layer_of(path: &str, mountinfo: &[u8]) -> Layer {
    let below = |mount: Mount<'_>| mount.point.starts_with(path) && mount.point != Path::new(path);
    let covered = mountinfo::parse(mountinfo).any(below);
    // These stand for something else in overlayfs's options, where the path goes.
    if covered || path.contains([':', ',', '\\']) {
        Layer::ReadOnly(path.to_string())
    } else {
        Layer::Overlay(path.to_string())
    }
}

fn path_of(layer: &Layer) -> &str {
    match layer {
        Layer::Overlay(path) | Layer::ReadOnly(path) | Layer::Link(path, _) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_mounts_below_is_not_covered() {
        let mountinfo = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
24 22 254:1 / /home rw shared:2 - xfs /dev/vdb rw
28 22 0:30 / /var/cache rw - tmpfs tmpfs rw
";
        assert_eq!(layer_of("/home", mountinfo), Layer::Overlay("/home".into()));
        assert_eq!(layer_of("/var", mountinfo), Layer::ReadOnly("/var".into()));
        assert_eq!(layer_of("/va", mountinfo), Layer::Overlay("/va".into()));
        assert_eq!(layer_of("/odd:name", mountinfo), Layer::ReadOnly("/odd:name".into()));
    }

    #[test]
    fn configurations_are_valid() {
        for uid in [0, 1000] {
            let wish = Wish {
                arguments: vec!["sh".into(), "a \"quoted\" word".into()],
                environment: vec!["PATH=/bin".into()],
                cwd: None,
                terminal: uid == 0,
                user: (uid, uid),
            };
            let text = config(&wish).unwrap();
            let spec = crate::spec::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
            let valid = crate::validate::validate(spec).unwrap();
            assert_eq!(&*valid.process.args[1], "a \"quoted\" word");
            assert_eq!(valid.uid_mappings.len(), usize::from(uid != 0));
        }
    }
}
