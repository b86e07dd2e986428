//! What ADD results in (SPEC.md, section 5, "ADD Success"), in all versions that are spoken here. Plugins get
//! it back as `prevResult`.

use pillbox_json::reader::{Failed, Reader};
use pillbox_json::{List, Value, object, parse};

use super::version::Version;
use super::writer::{Writer, quote};
use crate::cidr::Cidr;
use crate::error::{Error, Result};
use crate::ip::Ip;

object! {
    /// What ADD results in.
    #[derive(Eq)]
    AddResult {
        /// Empty counts as the version of the configuration that the plugin was given.
        "cniVersion" => cni_version: String,
        /// All that the attachment has made, those of the host as well.
        "interfaces" => interfaces: List<ResultInterface>,
        "ips" => ips: List<ResultAddress>,
        "routes" => routes: List<ResultRoute>,
        "dns" => dns: Dns,
        "ip4" => ip4: Refused,
        "ip6" => ip6: Refused,
    }
}

object! {
    /// An interface.
    #[derive(Eq)]
    ResultInterface {
        "name" required => name: String,
        "mac" => mac: Option<String>,
        /// From 1.1.0 on.
        "mtu" => mtu: Option<u32>,
        /// The namespace that it is in, as CNI_NETNS has it; none on the host.
        "sandbox" => sandbox: Option<String>,
        /// From 1.1.0 on.
        "socketPath" => socket_path: Option<String>,
        /// From 1.1.0 on.
        "pciID" => pci_id: Option<String>,
    }
}

object! {
    /// An address of an interface. Its family, which stands beside it before 1.0.0, is not read.
    #[derive(Eq)]
    ResultAddress {
        "address" required => address: Cidr,
        "gateway" => gateway: Option<Ip>,
        /// The place of its interface in `interfaces`.
        "interface" => interface: Option<u32>,
    }
}

object! {
    /// A route. What stands behind `gw` is there from 1.1.0 on.
    #[derive(Eq)]
    ResultRoute {
        "dst" required => dst: Cidr,
        /// None: the gateway of an address of that family.
        "gw" => gw: Option<Ip>,
        /// The largest packet on the way, in bytes.
        "mtu" => mtu: Option<u32>,
        /// The largest TCP segment to advertise, in bytes.
        "advmss" => advmss: Option<u32>,
        /// The lower one counts.
        "priority" => priority: Option<u32>,
        "table" => table: Option<u32>,
        /// RT_SCOPE_*: 0 global, 253 link, 254 host.
        "scope" => scope: Option<u32>,
    }
}

object! {
    /// What the network says of name resolution.
    #[derive(Eq)]
    Dns {
        /// Addresses, the first one asked first.
        "nameservers" => nameservers: List<String>,
        "domain" => domain: Option<String>,
        "search" => search: List<String>,
        "options" => options: List<String>,
    }
}

/// What only results before 0.3.0 have: reading it fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused;

impl Value<'_> for Refused {
    fn read(&mut self, reader: &mut Reader<'_>) -> std::result::Result<(), Failed> {
        Err(reader.mistyped("in a result of 0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0, which has ips"))
    }
}

impl Dns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        let Dns { nameservers, domain, search, options } = self;
        nameservers.is_empty() && domain.is_none() && search.is_empty() && options.is_empty()
    }
}

impl AddResult {
    /// Reads a result of any version that is spoken here. `expected` is the configuration's version: that of
    /// results that do not say theirs.
    ///
    /// # Errors
    /// It is no result, or one of another version; an address is for an interface that is not listed.
    pub fn parse(text: &str, expected: Version) -> Result<AddResult> {
        let mut result: AddResult =
            parse(text.as_bytes()).map_err(|error| Error::invalid(format_args!("{error}")))?;
        if result.cni_version.is_empty() {
            result.cni_version = expected.name().to_string();
        }
        if Version::of_name(&result.cni_version).is_none() {
            return Err(Error::invalid(format_args!(
                "cniVersion: {:?} is not {}",
                result.cni_version,
                Version::NAMES
            )));
        }
        for (place, address) in result.ips.iter().enumerate() {
            let count = result.interfaces.len();
            if address.interface.is_some_and(|index| index as usize >= count) {
                return Err(Error::invalid(format_args!(
                    "ips[{place}].interface: {} is not the place of one of the {count} interfaces",
                    address.interface.unwrap_or_default()
                )));
            }
        }
        Ok(result)
    }

    /// Writes it as that version has it: what only newer ones have is left out.
    pub fn write(&self, version: Version) -> String {
        let is_newest = version >= Version::V1_1_0;
        let mut writer = Writer::new();
        writer.text("cniVersion", version.name());
        let interfaces = self.interfaces.iter().map(|interface| interface.write(is_newest));
        writer.list("interfaces", &interfaces.collect::<Vec<_>>());
        let addresses = self.ips.iter().map(|address| address.write(version < Version::V1_0_0));
        writer.list("ips", &addresses.collect::<Vec<_>>());
        let routes = self.routes.iter().map(|route| route.write(is_newest));
        writer.list("routes", &routes.collect::<Vec<_>>());
        if !self.dns.is_empty() {
            writer.json("dns", &self.dns.write());
        }
        writer.finish()
    }

    /// The addresses of the interface of that name in the container.
    pub fn addresses_of(&self, interface: &str) -> impl Iterator<Item = &ResultAddress> {
        let is_it = move |found: &ResultInterface| {
            found.name == interface && found.sandbox.as_deref().is_some_and(|sandbox| !sandbox.is_empty())
        };
        let place = self.interfaces.iter().position(is_it).map(|place| place as u32);
        self.ips.iter().filter(move |address| place.is_some() && address.interface == place)
    }
}

impl ResultInterface {
    fn write(&self, is_newest: bool) -> String {
        let ResultInterface { name, mac, mtu, sandbox, socket_path, pci_id } = self;
        let mut writer = Writer::new();
        writer.text("name", name);
        writer.given_text("mac", mac.as_deref());
        writer.given_text("sandbox", sandbox.as_deref());
        if is_newest {
            writer.given_number("mtu", *mtu);
            writer.given_text("socketPath", socket_path.as_deref());
            writer.given_text("pciID", pci_id.as_deref());
        }
        writer.finish()
    }
}

impl ResultAddress {
    fn write(&self, has_family: bool) -> String {
        let ResultAddress { address, gateway, interface } = self;
        let mut writer = Writer::new();
        if has_family {
            writer.text("version", if address.ip.is_ipv4() { "4" } else { "6" });
        }
        writer.text("address", &address.to_string());
        if let Some(gateway) = gateway {
            writer.text("gateway", &gateway.to_string());
        }
        writer.given_number("interface", *interface);
        writer.finish()
    }
}

impl ResultRoute {
    fn write(&self, is_newest: bool) -> String {
        let ResultRoute { dst, gw, mtu, advmss, priority, table, scope } = self;
        let mut writer = Writer::new();
        writer.text("dst", &dst.to_string());
        if let Some(gw) = gw {
            writer.text("gw", &gw.to_string());
        }
        if is_newest {
            let numbers = [mtu, advmss, priority, table, scope];
            for (name, number) in ["mtu", "advmss", "priority", "table", "scope"].into_iter().zip(numbers) {
                writer.given_number(name, *number);
            }
        }
        writer.finish()
    }
}

impl Dns {
    fn write(&self) -> String {
        let Dns { nameservers, domain, search, options } = self;
        let mut writer = Writer::new();
        writer.given_text("domain", domain.as_deref());
        for (name, texts) in [("nameservers", nameservers), ("search", search), ("options", options)] {
            writer.list(name, &texts.iter().map(|text| quote(text)).collect::<Vec<_>>());
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's example after `tuning`.
    const EXAMPLE: &str = r#"{
        "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "interfaces": [
            {"name": "cni0", "mac": "00:11:22:33:44:55"},
            {"name": "veth3243", "mac": "55:44:33:22:11:11"},
            {"name": "eth0", "mac": "00:11:22:33:44:66", "sandbox": "/var/run/netns/blue"}
        ],
        "dns": {"nameservers": ["10.1.0.1"]}
    }"#;

    fn json(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_specifications_example_is_read_and_written_in_all_versions() {
        let result = AddResult::parse(EXAMPLE, Version::V1_0_0).unwrap();
        assert_eq!(result.cni_version, "1.0.0");
        let addresses: Vec<_> = result.addresses_of("eth0").collect();
        assert_eq!(addresses, [&result.ips[0]]);
        assert_eq!(addresses[0].gateway.unwrap().to_string(), "10.1.0.1");
        assert_eq!(result.addresses_of("cni0").count(), 0);
        for version in Version::ALL {
            let written = result.write(version);
            let mut expected = json(EXAMPLE);
            expected["cniVersion"] = version.name().into();
            for list in ["search", "options"] {
                expected["dns"][list] = serde_json::json!([]);
            }
            if version < Version::V1_0_0 {
                expected["ips"][0]["version"] = "4".into();
            }
            assert_eq!(json(&written), expected);
            let again = AddResult::parse(&written, Version::V1_1_0).unwrap();
            assert_eq!(again.write(Version::V1_1_0), result.write(Version::V1_1_0));
        }
    }

    #[test]
    fn what_only_newer_versions_have_is_left_out_of_older_ones() {
        let newest = r#"{"cniVersion":"1.1.0",
            "interfaces":[{"name":"eth0","mtu":1400,"sandbox":"/n","socketPath":"/s","pciID":"0000:04:00.5"}],
            "ips":[{"address":"fd00::5/64","interface":0}],
            "routes":[{"dst":"::/0","gw":"fd00::1","mtu":1300,"advmss":1200,"priority":7,"table":100,"scope":0}]}"#;
        let result = AddResult::parse(newest, Version::V0_3_0).unwrap();
        assert_eq!(json(&result.write(Version::V1_1_0)), json(newest));
        let mut expected = json(newest);
        expected["cniVersion"] = "0.4.0".into();
        expected["interfaces"] = serde_json::json!([{"name": "eth0", "sandbox": "/n"}]);
        expected["ips"][0]["version"] = "6".into();
        expected["routes"] = serde_json::json!([{"dst": "::/0", "gw": "fd00::1"}]);
        assert_eq!(json(&result.write(Version::V0_4_0)), expected);
    }

    #[test]
    fn other_versions_and_other_documents_are_refused() {
        for (wrong, expected) in [
            (
                r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.1/8"}}"#,
                "ip4: {\"ip\":\"10.0.0.1/8\"} is not in a result of 0.3.0",
            ),
            (r#"{"ip6":{"ip":"fd00::1/64"}}"#, "ip6: {\"ip\":\"fd00::1/64\"} is not in a result of 0.3.0"),
            (r#"{"cniVersion":"2.0.0"}"#, "cniVersion: \"2.0.0\" is not 0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0"),
            (r#"{"ips":[{"address":"10.0.0.1"}]}"#, "ips[0].address: \"10.0.0.1\" is not an IP address with"),
            (r#"{"ips":[{"gateway":"10.0.0.1"}]}"#, "ips[0].address: missing"),
            (
                r#"{"interfaces":[{"name":"a"}],"ips":[{"address":"10.0.0.1/8","interface":1}]}"#,
                "ips[0].interface: 1 is not the place of one of the 1 interfaces",
            ),
            (
                r#"{"ips":[{"address":"10.0.0.1/8","interface":-1}]}"#,
                "ips[0].interface: -1 is not a whole number",
            ),
            (r#"{"interfaces":[{"mac":"x"}]}"#, "interfaces[0].name: missing"),
            (r#"{"routes":[{"gw":"10.0.0.1"}]}"#, "routes[0].dst: missing"),
            ("[]", "[] is not an object"),
            ("null", "null is not an object"),
            ("", "is empty, not JSON"),
            ("{", "line 1, column 2"),
        ] {
            let error = AddResult::parse(wrong, Version::V1_1_0).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
