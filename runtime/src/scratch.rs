//! Throwaway containers over the host's own files: overlays whose changes go to memory.

use crate::error::{Context, Result};
use crate::json;

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

/// A config.json for [`Wish`], to be run with [`lowers`] as `scratch_over`.
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

/// File systems that overlayfs takes as a lower layer and that hold people's files.
const LAYERS: [&str; 11] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "erofs", "squashfs", "overlay", "virtiofs"];

/// Folders that are not the system's files but its state, sockets and devices.
const LEFT_OUT: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// More than this many mounts are not worth an overlay each.
const LAYERS_MAX: usize = 64;

/// The root and the other file systems that hold the system's files, each to be covered by an overlay.
///
/// # Errors
/// /proc/self/mountinfo cannot be read.
pub fn lowers() -> Result<Vec<String>> {
    const MOUNTINFO: &str = "/proc/self/mountinfo";
    let text = std::fs::read_to_string(MOUNTINFO).context(|| format!("read {MOUNTINFO}"))?;
    Ok(choose_lowers(&text, &|path| {
        std::fs::metadata(path).is_ok_and(|kind| kind.is_dir()) && std::fs::read_dir(path).is_ok()
    }))
}

fn choose_lowers(mountinfo: &str, is_open_folder: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut lowers = vec!["/".to_string()];
    for line in mountinfo.lines() {
        let Some((place, file_system)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (place.split(' ').nth(4), file_system.split(' ').next()) else { continue };
        let below = |folder: &str| point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // A name with an escape in it (a space) would have to be unescaped twice over: once here, once by overlayfs.
        let plain = !point.contains(['\\', ':', ',']);
        if plain
            && LAYERS.contains(&kind)
            && !LEFT_OUT.iter().any(|folder| below(folder))
            && !lowers.iter().any(|known| known == point)
            && lowers.len() < LAYERS_MAX
            && is_open_folder(point)
        {
            lowers.push(point.to_string());
        }
    }
    lowers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_files_are_covered() {
        let mountinfo = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:20 / /proc rw - proc proc rw
24 22 254:1 / /home rw shared:2 - xfs /dev/vdb rw
25 22 254:1 / /mnt/with\\040space rw - xfs /dev/vdb rw
26 22 254:2 /x /etc/hosts rw - ext4 /dev/vda rw
27 22 254:3 / /run/media rw - ext4 /dev/vdc rw
28 22 0:30 / /var/cache rw - tmpfs tmpfs rw
";
        assert_eq!(choose_lowers(mountinfo, &|path| path != "/etc/hosts"), ["/", "/home"]);
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
