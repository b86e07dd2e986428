//! Versions of the protocol.

use pillbox_json::{List, object};

use super::writer::{Writer, quote};

/// A version of the specification that is spoken here. 0.1.0 and 0.2.0 are not: their results have one
/// address of each family and no interfaces, and plugins cannot be chained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.0.
    V0_3_0,
    /// 0.3.1.
    V0_3_1,
    /// 0.4.0: CHECK, and DEL gets the result of ADD.
    V0_4_0,
    /// 1.0.0: addresses in results without their family.
    V1_0_0,
    /// 1.1.0: GC, STATUS, more of routes and interfaces in results.
    V1_1_0,
}

impl Version {
    /// All of them, the oldest first.
    pub const ALL: [Version; 5] =
        [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

    /// All of them, in errors.
    pub const NAMES: &'static str = "0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0";

    /// As `cniVersion` has it.
    pub fn name(self) -> &'static str {
        match self {
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// The version of that name.
    pub fn of_name(name: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|version| version.name() == name)
    }
}

object! {
    /// What a plugin answers to VERSION.
    #[derive(Eq)]
    Supported {
        "cniVersion" => cni_version: String,
        "supportedVersions" required => supported_versions: List<String>,
    }
}

impl Supported {
    /// Writes the answer of a plugin that speaks what is spoken here, to a caller that has asked in `asked`.
    pub fn write(asked: &str) -> String {
        let mut writer = Writer::new();
        writer.text("cniVersion", asked);
        writer.list("supportedVersions", &Version::ALL.map(|version| quote(version.name())));
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_names() {
        for version in Version::ALL {
            assert_eq!(Version::of_name(version.name()), Some(version));
            assert!(Version::NAMES.contains(version.name()));
        }
        assert_eq!(Version::of_name("0.2.0"), None);
    }

    #[test]
    fn answers_to_version_are_read_and_written() {
        // The specification's example.
        let text = r#"{"cniVersion": "1.0.0", "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"]}"#;
        let supported: Supported = pillbox_json::parse(text.as_bytes()).unwrap();
        assert_eq!((supported.cni_version.as_str(), supported.supported_versions.len()), ("1.0.0", 6));
        assert_eq!(
            Supported::write("1.0.0"),
            r#"{"cniVersion":"1.0.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#
        );
    }
}
