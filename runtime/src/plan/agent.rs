//! The agent that answers the notifications of a seccomp filter: `linux.seccomp.listenerPath`.

use std::path::{Path, PathBuf};

use crate::oci::Status;
use crate::text::json::Members;
use crate::validate::ValidSpec;

/// The agent that gets the listener, and what it is told about the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The socket (`linux.seccomp.listenerPath`); a relative path begins at the bundle.
    pub path: PathBuf,
    /// `linux.seccomp.listenerMetadata`, passed on as it is.
    pub metadata: String,
    /// From config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The container's status when the filter is installed.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// From config.json.
    pub annotations: Members,
}

impl Agent {
    /// The agent that a configuration names; `None` if it names none.
    pub fn of(spec: &ValidSpec<'_>, id: &str, bundle: &str, status: Status) -> Option<Agent> {
        let profile = spec.seccomp.as_ref()?;
        let annotations = spec.annotations.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        Some(Agent {
            path: Path::new(bundle).join(&**profile.listener_path.as_ref()?),
            metadata: profile
                .listener_metadata
                .as_ref()
                .map_or(String::new(), |metadata| metadata.to_string()),
            oci_version: spec.oci_version.to_string(),
            id: id.to_string(),
            status,
            bundle: bundle.to_string(),
            annotations: Members(annotations.collect()),
        })
    }
}
