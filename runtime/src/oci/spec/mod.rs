//! config.json as the OCI runtime specification 1.3 defines it, read as it stands; nothing is judged here.
//!
//! Sources: `config.md` and `config-linux.md` of opencontainers/runtime-spec. Ids are `u32`, sizes are bytes
//! (`i64`, -1 means unlimited), times are microseconds unless a field says otherwise.

pub mod default;
pub mod hooks;
pub mod linux;
pub mod mounts;
#[cfg(test)]
mod mutation_tests;
mod object;
pub mod process;
#[cfg(test)]
mod required_tests;
#[cfg(test)]
pub(crate) mod tests;

use json::{List, Map, Text};
use object::object;

pub use default::{default_spec, rootless_spec};
pub use hooks::{Hook, Hooks};
pub use linux::Linux;
pub use mounts::{IdMapping, Mount};
pub use pillbox_json as json;
pub use pillbox_json::{ParseError, merge, read_document, reader};
pub use process::Process;

object! {
    /// The whole document.
    Spec<'a> {
        "ociVersion" => oci_version: Text<'a>,
        "root" => root: Option<Root<'a>>,
        "process" => process: Option<Process<'a>>,
        "hostname" => hostname: Option<Text<'a>>,
        "domainname" => domainname: Option<Text<'a>>,
        "mounts" => mounts: List<Mount<'a>>,
        "hooks" => hooks: Option<Hooks<'a>>,
        "annotations" => annotations: Map<'a, Text<'a>>,
        "linux" => linux: Option<Linux<'a>>,
    }
}

object! {
    /// The container's root file system.
    Root<'a> {
        /// A folder, relative to the bundle.
        "path" => path: Text<'a>,
        "readonly" => readonly: bool,
    }
}

/// Reads a config.json.
///
/// # Errors
/// It is not JSON, with line and column; a value has the wrong type, with its path.
pub fn parse(document: &[u8]) -> Result<Spec<'_>, ParseError> {
    json::parse(document)
}
