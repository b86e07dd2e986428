//! What an image runs on, by Go's names for systems and machines.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What Go calls systems.
const SYSTEMS: [&str; 9] =
    ["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "android", "wasip1"];

/// What Go calls machines.
const MACHINES: [&str; 15] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "sparc64", "wasm",
];

/// A system and a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `riscv64` …
    pub architecture: String,
    /// `v7`, `v8`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn of_machine() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform { os: "linux".to_string(), architecture: architecture.to_string(), variant: None }
    }

    /// Reads `linux/arm64/v8`, `linux/arm64`, `arm64` or `linux`. As with Docker, one word alone must be known.
    pub fn parse(text: &str) -> Option<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let machine = Platform::of_machine();
        let (os, architecture, variant) = match parts[..] {
            [os] if SYSTEMS.contains(&os) => (os, machine.architecture.as_str(), None),
            [architecture] if MACHINES.contains(&architecture) => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_string())),
            _ => return None,
        };
        Some(Platform { os: os.to_string(), architecture: architecture.to_string(), variant })
    }

    /// Whether what is made for `other` is what is asked for here. A variant that is not asked for may be any.
    pub fn accepts(&self, other: &Platform) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_docker_takes_them() {
        let parse = |text| Platform::parse(text).map(|platform| platform.to_string());
        assert_eq!(parse("arm64").as_deref(), Some("linux/arm64"));
        assert_eq!(parse("linux/arm/v7").as_deref(), Some("linux/arm/v7"));
        assert_eq!(parse("linux"), Some(Platform::of_machine().to_string()));
        assert_eq!(parse("linux//v7"), None);
        assert_eq!((parse("x"), parse("amd46")), (None, None));
        assert_eq!(parse("a/b/c/d"), None);
        let asked = Platform::parse("linux/arm64").unwrap();
        assert!(asked.accepts(&Platform::parse("linux/arm64/v8").unwrap()));
        assert!(!Platform::parse("linux/arm64/v8").unwrap().accepts(&asked));
    }
}
