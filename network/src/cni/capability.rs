//! Capability arguments: what a runtime asks of a plugin for one container, by name. A plugin gets those that
//! its configuration lists in `capabilities` (SPEC.md, "Deriving `runtimeConfig`"; names and values:
//! CONVENTIONS.md).

use std::fmt;

use pillbox_json::{List, Map, Raw, parse};

use super::writer::{Writer, list};
use crate::error::{Error, Result};
use crate::port::Port;

/// The names with a meaning that is agreed on, and the byte that their values begin with.
const KNOWN: [(&str, u8); 10] = [
    ("aliases", b'['),
    ("bandwidth", b'{'),
    ("cgroupPath", b'"'),
    ("deviceID", b'"'),
    ("dns", b'{'),
    ("infinibandGUID", b'"'),
    ("ipRanges", b'['),
    ("ips", b'['),
    ("mac", b'"'),
    ("portMappings", b'['),
];

/// Capability arguments by name; the values are JSON, and plugins get them as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<(String, String)>);

impl Capabilities {
    /// Adds one. `value` is JSON.
    ///
    /// # Errors
    /// The value is not JSON, or of a known name another type than is agreed on; the name is there already.
    pub fn add(&mut self, name: &str, value: &str) -> Result<()> {
        let wrong = |why: &str| Error::invalid(format_args!("capability argument {name:?}: {why}"));
        parse::<Raw<'_>>(value.as_bytes()).map_err(|error| wrong(&error.to_string()))?;
        let value = value.trim();
        if let Some((_, first)) = KNOWN.iter().find(|(known, _)| *known == name)
            && !value.as_bytes().starts_with(&[*first])
        {
            let expected = match first {
                b'[' => "a list",
                b'{' => "an object",
                _ => "a string",
            };
            return Err(wrong(&format!("{value} is not {expected}")));
        }
        if self.0.iter().any(|(other, _)| other == name) {
            return Err(wrong("is there twice"));
        }
        self.0.push((name.to_string(), value.to_string()));
        Ok(())
    }

    /// Adds published ports as `portMappings`; none of them adds nothing.
    ///
    /// # Errors
    /// A port of the host is left open: there is no way to learn which one a plugin chooses. Mappings are
    /// there already.
    pub fn add_ports(&mut self, ports: &[Port]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        if let Some(open) = ports.iter().find(|port| port.host_port == 0) {
            return Err(Error::invalid(format_args!(
                "port {}/{}: CNI plugins choose no port of the host: say which one",
                open.container_port,
                open.protocol.name()
            )));
        }
        let mappings = ports.iter().map(|port| {
            let mut writer = Writer::new();
            writer.number("hostPort", port.host_port.into());
            writer.number("containerPort", port.container_port.into());
            writer.text("protocol", port.protocol.name());
            if let Some(ip) = port.host_ip {
                writer.text("hostIP", &ip.to_string());
            }
            writer.finish()
        });
        self.add("portMappings", &list(&mappings.collect::<Vec<_>>()))
    }

    /// Names and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads what [`to_json`] has written.
    ///
    /// [`to_json`]: Capabilities::to_json
    ///
    /// # Errors
    /// As for [`Capabilities::add`]; the text is not a JSON object.
    pub fn from_json(text: &str) -> Result<Capabilities> {
        let members: Map<'_, Raw<'_>> = parse(text.as_bytes())
            .map_err(|error| Error::invalid(format_args!("capability arguments: {error}")))?;
        let mut capabilities = Capabilities::default();
        for (name, Raw(value)) in members.iter() {
            capabilities.add(name, value)?;
        }
        Ok(capabilities)
    }

    /// All of them as a JSON object.
    pub fn to_json(&self) -> String {
        let mut writer = Writer::new();
        for (name, value) in self.iter() {
            writer.json(name, value);
        }
        writer.finish()
    }
}

/// Reads `portMappings`.
///
/// # Errors
/// It is not a list of objects; a port or the protocol is missing or wrong, with its path.
pub fn parse_port_mappings(text: &str) -> Result<Vec<Port>> {
    let wrong =
        |path: &str, why: &dyn fmt::Display| Error::invalid(format_args!("portMappings{path}: {why}"));
    let list: List<Map<'_, Raw<'_>>> = parse(text.as_bytes()).map_err(|error| wrong("", &error))?;
    let mut ports = Vec::new();
    for (index, mapping) in list.iter().enumerate() {
        let mut port = Port::default();
        for (name, Raw(value)) in mapping.iter() {
            // Plugins in Go do not tell case apart, and containerd writes HostPort.
            let name = name.to_ascii_lowercase();
            let value = value.as_bytes();
            let read = match name.as_str() {
                "hostport" => parse(value).map(|host| port.host_port = host),
                "containerport" => parse(value).map(|inside| port.container_port = inside),
                "protocol" => parse(value).map(|protocol| port.protocol = protocol),
                // Written by callers that leave nothing out.
                "hostip" if value == b"\"\"" => Ok(()),
                "hostip" => parse(value).map(|ip| port.host_ip = Some(ip)),
                _ => Ok(()),
            };
            read.map_err(|error| wrong(&format!("[{index}].{name}"), &error))?;
        }
        if port.host_port == 0 || port.container_port == 0 {
            return Err(wrong(&format!("[{index}]"), &"hostPort and containerPort must be from 1 to 65535"));
        }
        ports.push(port);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_known_names_have_their_type() {
        let mut capabilities = Capabilities::default();
        for (name, value) in [
            ("mac", r#" "c2:11:22:33:44:55" "#),
            ("ips", r#"["192.168.0.1"]"#),
            ("bandwidth", r#"{"ingressRate":2048}"#),
            ("io.example.other", "7"),
        ] {
            capabilities.add(name, value).unwrap();
        }
        for (name, value, expected) in [
            ("deviceID", "7", "capability argument \"deviceID\": 7 is not a string"),
            ("dns", "[]", "capability argument \"dns\": [] is not an object"),
            ("aliases", "{}", "capability argument \"aliases\": {} is not a list"),
            ("mac", "\"\"", "capability argument \"mac\": is there twice"),
            ("x", "{", "capability argument \"x\": line 1, column 2: the document ends too early"),
        ] {
            let error = capabilities.add(name, value).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let text = capabilities.to_json();
        assert_eq!(
            text,
            r#"{"mac":"c2:11:22:33:44:55","ips":["192.168.0.1"],"bandwidth":{"ingressRate":2048},"io.example.other":7}"#
        );
        assert_eq!(Capabilities::from_json(&text).unwrap(), capabilities);
    }

    #[test]
    fn published_ports_are_port_mappings() {
        let mut capabilities = Capabilities::default();
        capabilities.add_ports(&[]).unwrap();
        assert_eq!(capabilities.to_json(), "{}");
        let mut ports = Port::parse("8080:80").unwrap();
        ports.extend(Port::parse("[::1]:5353:53/udp").unwrap());
        capabilities.add_ports(&ports).unwrap();
        let (name, value) = capabilities.iter().next().unwrap();
        assert_eq!(name, "portMappings");
        assert_eq!(
            value,
            r#"[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"hostPort":5353,"containerPort":53,"protocol":"udp","hostIP":"::1"}]"#
        );
        assert_eq!(parse_port_mappings(value).unwrap(), ports);
        let error = Capabilities::default().add_ports(&Port::parse("80").unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("port 80/tcp: "), "{error}");
    }

    #[test]
    fn port_mappings_of_other_runtimes_are_read() {
        let containerds = r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"TCP","HostIP":""}]"#;
        assert_eq!(parse_port_mappings(containerds).unwrap(), Port::parse("8080:80").unwrap());
        for (wrong, expected) in [
            (r#"[{"hostPort":8080}]"#, "portMappings[0]: hostPort and containerPort"),
            (r#"[{"hostPort":70000,"containerPort":80}]"#, "portMappings[0].hostport: 70000 is not"),
            (r#"[{"hostPort":1,"containerPort":1,"hostIP":"x"}]"#, "portMappings[0].hostip: \"x\" is not"),
            (r#"{}"#, "portMappings: {} is not a list"),
        ] {
            let error = parse_port_mappings(wrong).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
