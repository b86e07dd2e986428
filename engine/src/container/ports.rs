//! The ports that a running container has on the host.

use std::fmt;

use pillbox::Root;

use crate::error::Result;
use crate::store::{ContainerFolder, Store};

/// A published port, as the runtime has it: chosen ones with their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// With the address: `127.0.0.1:8080`.
    pub host: String,
    /// The container's.
    pub port: String,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
}

impl Published {
    /// From the runtime's words: `127.0.0.1:8080/tcp -> 80`.
    fn parse(text: &str) -> Option<Published> {
        let (host, port) = text.split_once(" -> ")?;
        let (host, protocol) = host.split_once('/').unwrap_or((host, "tcp"));
        // Without an address it is every one of the host's.
        let host = if host.contains(':') { host.to_string() } else { format!("0.0.0.0:{host}") };
        Some(Published { host, port: port.to_string(), protocol: protocol.to_string() })
    }
}

/// As Docker shows it: `127.0.0.1:8080->80/tcp`.
impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}/{}", self.host, self.port, self.protocol)
    }
}

/// Those of a container; none if it does not run.
///
/// # Errors
/// The id is none of the runtime's.
pub fn published(store: &Store, folder: &ContainerFolder) -> Result<Vec<Published>> {
    let id = pillbox::ContainerId::new(folder.id.as_str())?;
    let root = Root::at(&store.place().runtime);
    let Ok(state) = root.find(&id).and_then(|state| state.load()) else { return Ok(Vec::new()) };
    let ports = state.network.iter().flat_map(|interface| interface.ports.iter());
    Ok(ports.filter_map(|text| Published::parse(text)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shown_as_docker_shows_them() {
        let shown = |text| Published::parse(text).map(|port| port.to_string());
        assert_eq!(shown("127.0.0.1:8080/tcp -> 80").as_deref(), Some("127.0.0.1:8080->80/tcp"));
        assert_eq!(shown("[::1]:53/udp -> 53").as_deref(), Some("[::1]:53->53/udp"));
        assert_eq!(shown("8080/tcp -> 80").as_deref(), Some("0.0.0.0:8080->80/tcp"));
        assert_eq!(shown("8080"), None);
    }
}
