//! Volumes that are no folders of box's: what `--opt type=…`, `device=…` and `o=…` say, as Docker's local driver has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// Where the data of such a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeDevice {
    /// In memory, as long as a container that has it runs.
    Tmpfs {
        /// Of the mount: `size=1m`, `uid=33`.
        options: Vec<String>,
    },
    /// In a folder of the host's.
    Bind {
        /// That folder.
        path: PathBuf,
        /// Of the mount, with `bind` or `rbind`.
        options: Vec<String>,
    },
}

impl VolumeDevice {
    /// Reads the options of a volume. `None`: it has none.
    ///
    /// # Errors
    /// One is unknown or missing, or has a value that box does not mount; it is named.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Option<VolumeDevice>> {
        if given.is_empty() {
            return Ok(None);
        }
        let wrong = |name: &str, why: &str| {
            let value = given.get(name).map_or(String::new(), |value| format!("={value}"));
            Err(Error::invalid(format!("--opt {name}{value}: {why}")))
        };
        if let Some(name) = given.keys().find(|name| !["type", "device", "o"].contains(&name.as_str())) {
            return wrong(name, "must be type, device or o");
        }
        for name in ["type", "device"] {
            if given.get(name).is_none_or(String::is_empty) {
                return Err(Error::invalid(format!("missing required option: {name:?}")));
            }
        }
        let words = given.get("o").map(String::as_str).unwrap_or_default().split(',');
        let options: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_string).collect();
        let is_bind = options.iter().any(|option| option == "bind" || option == "rbind");
        let device = &given["device"];
        match given["type"].as_str() {
            "tmpfs" if is_bind => wrong("o", "a tmpfs is not bound: leave bind out"),
            "tmpfs" => Ok(Some(VolumeDevice::Tmpfs { options })),
            "none" | "bind" if !is_bind => wrong("o", "must have bind"),
            "none" | "bind" if !device.starts_with('/') => wrong("device", "must be an absolute path"),
            "none" | "bind" => Ok(Some(VolumeDevice::Bind { path: device.into(), options })),
            _ => wrong(
                "type",
                "must be tmpfs, or none with o=bind: mount others on the host, and bind the folder",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<Option<VolumeDevice>> {
        VolumeDevice::parse(
            &options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        )
    }

    #[test]
    fn options_say_what_is_mounted() {
        assert_eq!(parse(&[]).unwrap(), None);
        let options = vec!["size=1m".to_string(), "uid=33".to_string()];
        let tmpfs = parse(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=33")]);
        assert_eq!(tmpfs.unwrap(), Some(VolumeDevice::Tmpfs { options }));
        let bind = parse(&[("type", "none"), ("device", "/srv"), ("o", "bind")]).unwrap();
        assert_eq!(bind, Some(VolumeDevice::Bind { path: "/srv".into(), options: vec!["bind".into()] }));
        for (options, words) in [
            (&[("type", "tmpfs")][..], "missing required option: \"device\""),
            (&[("size", "1g")], "--opt size=1g: must be type, device or o"),
            (&[("type", "nfs"), ("device", ":/x")], "--opt type=nfs: must be tmpfs, or none with o=bind"),
            (&[("type", "none"), ("device", "/x")], "--opt o: must have bind"),
            (&[("type", "none"), ("device", "x"), ("o", "bind")], "--opt device=x: must be an absolute path"),
        ] {
            let error = parse(options).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
