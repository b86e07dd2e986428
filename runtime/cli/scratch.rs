//! Throwaway containers over the host's own files: overlays that keep changes in memory.

use pillbox::error::Result;
use pillbox::text::json;
use rustix::process::{Gid, Uid};

/// The program that runs in the throwaway container.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its argv.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<String>,
    /// Its working folder; `/` if there is none.
    pub cwd: Option<String>,
    /// Whether it gets a terminal of its own.
    pub terminal: bool,
    /// The caller's ids: an ordinary user becomes root of a user namespace.
    pub user: (Uid, Gid),
}

/// The config.json for a [`Program`], to be run with [`pillbox::host::layers`] as `scratch_over`.
pub fn config(program: &Program) -> Result<String> {
    let Program { arguments, environment, cwd, terminal, user: (uid, gid) } = program;
    let text = |value: &str| json::to_string(&value);
    let mapping = |id: u32| format!(r#"[{{"containerID": 0, "hostID": {id}, "size": 1}}]"#);
    // In a user namespace, capabilities apply only to what it owns, so all are granted; root gets Docker's
    // selection.
    let (user_namespace, capabilities) = if uid.is_root() {
        (String::new(), CAPABILITIES)
    } else {
        let maps =
            format!(r#""uidMappings": {}, "gidMappings": {},"#, mapping(uid.as_raw()), mapping(gid.as_raw()));
        (maps, pillbox::oci::capability::NAMES.as_slice())
    };
    let namespace = if uid.is_root() { "" } else { r#", {"type": "user"}"# };
    let set = json::to_string(&capabilities)?;
    let values = [
        ("CAPABILITIES", &*set),
        ("MAPPINGS", &user_namespace),
        ("USER_NAMESPACE", namespace),
        ("TERMINAL", if *terminal { "true" } else { "false" }),
        ("CWD", &text(cwd.as_deref().unwrap_or("/"))?),
        ("ENV", &json::to_string(environment)?),
        ("ARGS", &json::to_string(arguments)?),
    ];
    // Every second part is a name.
    let mut config = String::new();
    for part in TEMPLATE.split('@') {
        config += values.iter().find(|(name, _)| *name == part).map_or(part, |(_, value)| value);
    }
    Ok(config)
}

/// Docker's default selection: enough to install packages, not enough to control the machine.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_valid() {
        for uid in [0, 1000] {
            let program = Program {
                arguments: vec!["sh".into(), "a \"quoted\" word".into()],
                environment: vec!["PATH=/bin".into()],
                cwd: None,
                terminal: uid == 0,
                user: (Uid::from_raw(uid), Gid::from_raw(uid)),
            };
            let text = config(&program).unwrap();
            let spec =
                pillbox::oci::spec::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
            let valid = pillbox::validate::validate(spec).unwrap();
            assert_eq!(&*valid.process.args[1], "a \"quoted\" word");
            assert_eq!(valid.uid_mappings.len(), usize::from(uid != 0));
        }
    }
}
