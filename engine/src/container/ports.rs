//! The ports that a running container has on the host.

use std::fmt;

use pillbox::Root;
use pillbox::state::NetworkRecord as Interface;
use pillbox_network::netconf::DEFAULT_BRIDGE;
use pillbox_network::rootless::Program;

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
    /// On all addresses of the host's, of both families.
    pub is_everywhere: bool,
}

impl Published {
    /// From the runtime's words: `127.0.0.1:8080/tcp -> 80`.
    fn parse(text: &str) -> Option<Published> {
        let (host, port) = text.split_once(" -> ")?;
        let (host, protocol) = host.split_once('/').unwrap_or((host, "tcp"));
        // Without an address it is every one of the host's.
        let is_everywhere = !host.contains(':');
        let host = if is_everywhere { format!("0.0.0.0:{host}") } else { host.to_string() };
        Some(Published { host, port: port.to_string(), protocol: protocol.to_string(), is_everywhere })
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
    interfaces(store, folder.id.as_str()).map(|interfaces| published_by(&interfaces))
}

/// Whether an interface is on the network that the runtime knows by that name. An ordinary user's usual one is called by the program that
/// makes it.
pub fn is_on(interface: &Interface, network: &str) -> bool {
    let is_made_by = |program: Program| program.name() == interface.network;
    interface.network == network
        || network == DEFAULT_BRIDGE && [Program::Pasta, Program::Slirp4netns].into_iter().any(is_made_by)
}

/// Those of these interfaces.
pub fn published_by(interfaces: &[Interface]) -> Vec<Published> {
    let ports = interfaces.iter().flat_map(|interface| interface.ports.iter());
    ports.filter_map(|text| Published::parse(text)).collect()
}

/// What connects the container with that id to its networks; nothing if it does not run.
///
/// # Errors
/// The id is none of the runtime's.
pub fn interfaces(store: &Store, id: &str) -> Result<Vec<Interface>> {
    let id = pillbox::ContainerId::new(id)?;
    let state = Root::at(&store.place().runtime).find(&id).and_then(|state| state.load());
    Ok(state.map(|state| state.network.0).unwrap_or_default())
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
