//! The ports that a container listens at, as its image and the command line say, and those of them that the host publishes.

use std::collections::BTreeSet;

use pillbox_network::{Port, Protocol};

use super::options::Network;
use crate::error::{Error, Result};
use crate::image::Execution;

/// A port of a container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPort {
    number: u16,
    protocol: Protocol,
}

impl ExposedPort {
    /// Reads `PORT[-PORT][/PROTOCOL]`.
    ///
    /// # Errors
    /// It is something else; `what` is named.
    pub fn parse(what: &str, text: &str) -> Result<Vec<ExposedPort>> {
        let wrong = || {
            Error::invalid(format!("{what} {text}: must be PORT, PORT/PROTOCOL or a range, as 8000-8009/udp"))
        };
        if text.contains(':') {
            return Err(wrong());
        }
        let ports = Port::parse(text).map_err(|_| wrong())?;
        let one = |port: &Port| ExposedPort { number: port.container_port, protocol: port.protocol };
        Ok(ports.iter().map(one).collect())
    }
}

/// As Docker writes it: `80/tcp`.
impl std::fmt::Display for ExposedPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.name())
    }
}

/// The ports of the image and of `--expose`.
///
/// # Errors
/// One of them is none.
pub fn exposed_ports(image: &Execution, network: &Network) -> Result<BTreeSet<ExposedPort>> {
    let mut ports = BTreeSet::new();
    for text in image.exposed_ports.keys() {
        ports.extend(ExposedPort::parse("ExposedPorts of the image:", text)?);
    }
    for text in &network.exposed {
        ports.extend(ExposedPort::parse("--expose", text)?);
    }
    Ok(ports)
}

/// What is published: the ports of the command line, and with `--publish-all` every exposed one that is not among them, at a port of
/// the host's that is free.
///
/// # Errors
/// One of them is none.
pub fn ports_to_publish(image: &Execution, network: &Network) -> Result<Vec<String>> {
    let mut chosen = match network.publish_all {
        true => exposed_ports(image, network)?,
        false => BTreeSet::new(),
    };
    let mut published = network.published.clone();
    for text in &published {
        let ports = Port::parse(text).map_err(|error| Error::invalid(format!("--publish: {error}")))?;
        for port in ports {
            chosen.remove(&ExposedPort { number: port.container_port, protocol: port.protocol });
        }
    }
    published.extend(chosen.iter().map(ExposedPort::to_string));
    Ok(published)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_exposed_and_not_published_yet() {
        let image = Execution {
            exposed_ports: ["80/tcp", "53/udp"].map(|port| (port.to_string(), Default::default())).into(),
            ..Execution::default()
        };
        let mut network = Network {
            published: vec!["8080:80".into()],
            exposed: vec!["7000-7001".into(), "53/UDP".into()],
            ..Network::default()
        };
        assert_eq!(ports_to_publish(&image, &network).unwrap(), ["8080:80"]);
        network.publish_all = true;
        let all = ["8080:80", "53/udp", "7000/tcp", "7001/tcp"];
        assert_eq!(ports_to_publish(&image, &network).unwrap(), all);
    }

    #[test]
    fn what_is_no_port_is_refused_by_name() {
        for wrong in ["", "80:80", "0", "70000", "80/icmp", "9-8"] {
            let error = ExposedPort::parse("--expose", wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--expose {wrong}: must be")), "{error}");
        }
    }
}
