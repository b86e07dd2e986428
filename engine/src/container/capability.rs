//! Capabilities: Docker's default selection, and what the command line adds and takes away.

use crate::error::{Error, Result};

/// Enough to install packages and to serve, not enough to control the machine.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
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

/// A set of capabilities, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities(Vec<&'static str>);

impl Capabilities {
    /// All that there are.
    pub fn all() -> Capabilities {
        Capabilities(pillbox::oci::capability::NAMES.to_vec())
    }

    /// The default selection with `add` and without `drop`; a name may be without `CAP_`, in any case, or `ALL`.
    ///
    /// # Errors
    /// There is no such capability.
    pub fn choose(add: &[String], drop: &[String]) -> Result<Capabilities> {
        let added = add.iter().map(|name| parse("--cap-add", name)).collect::<Result<Vec<_>>>()?;
        let dropped = drop.iter().map(|name| parse("--cap-drop", name)).collect::<Result<Vec<_>>>()?;
        let everything = |names: &[Option<&str>]| names.contains(&None);
        // What is named counts more than `ALL`; what is both added and dropped is there.
        let base: Vec<&'static str> = match (everything(&added), everything(&dropped)) {
            (true, _) => pillbox::oci::capability::NAMES.to_vec(),
            (false, true) => Vec::new(),
            (false, false) => DEFAULT.to_vec(),
        };
        let mut names: Vec<_> = base.into_iter().filter(|name| !dropped.contains(&Some(*name))).collect();
        for name in added.into_iter().flatten() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(Capabilities(names))
    }

    /// Whether it is in the set.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// Their names.
    pub fn names(&self) -> &[&'static str] {
        &self.0
    }
}

/// The name as the specification has it; `None` for all.
fn parse(flag: &str, name: &str) -> Result<Option<&'static str>> {
    let name = name.to_ascii_uppercase();
    if name == "ALL" {
        return Ok(None);
    }
    let full = if name.starts_with("CAP_") { name.clone() } else { format!("CAP_{name}") };
    let found = pillbox::oci::capability::NAMES.into_iter().find(|known| *known == full);
    found.map(Some).ok_or_else(|| Error::invalid(format!("{flag} {name}: there is no such capability")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        Capabilities::choose(&owned(add), &owned(drop)).unwrap().0
    }

    #[test]
    fn what_is_named_counts_more_than_all() {
        assert_eq!(choose(&[], &[]), DEFAULT);
        assert_eq!(choose(&["net_bind_service"], &["ALL"]), ["CAP_NET_BIND_SERVICE"]);
        assert_eq!(choose(&["SYS_ADMIN"], &[]).len(), 15);
        assert_eq!(choose(&["CAP_CHOWN"], &[]).len(), 14);
        assert!(!choose(&["ALL"], &["SYS_ADMIN"]).contains(&"CAP_SYS_ADMIN"));
        assert!(!choose(&[], &["MKNOD"]).contains(&"CAP_MKNOD"));
        let error = Capabilities::choose(&["FLY".into()], &[]).unwrap_err().to_string();
        assert_eq!(error, "--cap-add FLY: there is no such capability");
    }
}
