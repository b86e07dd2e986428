//! A plugin's configuration, as it stands on stdin: the keys of the reference plugins `bridge`, `host-local`
//! and `static`.

use pillbox_json::{List, Map, Raw, Text, Value, object, parse};

use super::failure::{self, Result, failed};
use crate::cidr::Cidr;
use crate::cni::{Dns, ResultRoute, ValidAttachment};
use crate::ip::Ip;
use crate::request::Wanted;

object! {
    /// What of it says how to answer.
    Versioned<'a> {
        "cniVersion" => version: Text<'a>,
    }
}

object! {
    /// All of it.
    Configuration<'a> {
        "cniVersion" => version: Text<'a>,
        "name" => name: Text<'a>,
        "type" => kind: Text<'a>,
        "bridge" => bridge: Option<Text<'a>>,
        "isGateway" => is_gateway: bool,
        "isDefaultGateway" => is_default_gateway: bool,
        "forceAddress" => force_address: bool,
        "ipMasq" => masquerade: bool,
        "ipMasqBackend" => masquerade_backend: Option<Text<'a>>,
        "mtu" => mtu: u32,
        "hairpinMode" => hairpin: bool,
        "promiscMode" => promiscuous: bool,
        "vlan" => vlan: u32,
        "vlanTrunk" => vlan_trunk: List<Raw<'a>>,
        "preserveDefaultVlan" => preserve_default_vlan: bool,
        "macspoofchk" => check_mac: bool,
        "disableContainerInterface" => disabled: bool,
        "portIsolation" => port_isolation: bool,
        "enabledad" => enable_dad: bool,
        "isolated" => isolated: Option<bool>,
        "ipam" => ipam: Option<Raw<'a>>,
        "dns" => dns: Dns,
        "args" => args: Args,
        "runtimeConfig" => runtime_config: Map<'a, Raw<'a>>,
        "prevResult" => previous: Option<Raw<'a>>,
        "cni.dev/valid-attachments" => valid: Option<List<ValidAttachment>>,
        "cni.dev/attachments" => attachments: Option<List<ValidAttachment>>,
    }
}

object! {
    /// What callers may say beside the configuration; everything else in it is somebody else's.
    Args {
        "cni" => cni: CniArgs,
    }
}

object! {
    CniArgs {
        "ips" => ips: List<Wanted>,
        "mac" => mac: Option<String>,
    }
}

object! {
    /// The plugin that gives addresses.
    IpamKind<'a> {
        "type" => kind: Text<'a>,
    }
}

object! {
    /// `ipam` of host-local and static.
    Ipam<'a> {
        "type" => kind: Text<'a>,
        "subnet" => subnet: Option<Cidr>,
        "rangeStart" => first: Option<Ip>,
        "rangeEnd" => last: Option<Ip>,
        "gateway" => gateway: Option<Ip>,
        "ranges" => ranges: List<List<RangeDocument>>,
        "routes" => routes: List<ResultRoute>,
        "dataDir" => data_folder: Option<Text<'a>>,
        "resolvConf" => resolv_conf: Option<Text<'a>>,
        "addresses" => addresses: List<AddressDocument>,
        "dns" => dns: Dns,
    }
}

object! {
    /// A range of host-local's.
    #[derive(Copy)]
    RangeDocument {
        "subnet" required => subnet: Cidr,
        "rangeStart" => first: Option<Ip>,
        "rangeEnd" => last: Option<Ip>,
        "gateway" => gateway: Option<Ip>,
    }
}

object! {
    /// An address of static's.
    #[derive(Copy)]
    AddressDocument {
        "address" required => address: Cidr,
        "gateway" => gateway: Option<Ip>,
    }
}

object! {
    /// `runtimeConfig.dns`.
    RuntimeDns {
        "servers" => servers: List<String>,
        "searches" => searches: List<String>,
        "options" => options: List<String>,
    }
}

/// Keys of others' configurations that would be lost here without a word.
const OF_OTHERS: [&str; 10] = [
    "backend",
    "conditionsV4",
    "conditionsV6",
    "externalSetMarkChain",
    "firewalldZone",
    "ingressPolicy",
    "iptablesAdminChainName",
    "markMasqBit",
    "masqAll",
    "snat",
];

impl Configuration<'_> {
    /// Refuses keys that are there and not done.
    pub fn refuse_unsupported(&self, text: &str) -> Result<()> {
        let (vlan, enable_dad) = (self.vlan.to_string(), self.enable_dad.to_string());
        let trunk = self.vlan_trunk.first().map_or("", |Raw(first)| first);
        for (key, value, is_said) in [
            ("vlan", vlan.as_str(), self.vlan != 0),
            ("vlanTrunk", trunk, !self.vlan_trunk.is_empty()),
            ("enabledad", &enable_dad, self.enable_dad),
        ] {
            if is_said {
                return Err(unsupported(key, value, "the plugin bridge has it"));
            }
        }
        if let Some(backend) = self.masquerade_backend.as_deref()
            && !["nftables", "iptables"].contains(&backend)
        {
            return Err(unsupported("ipMasqBackend", backend, "it is nftables"));
        }
        let all: Map<'_, Raw<'_>> = read("network configuration", text)?;
        let (known, _) = pillbox_json::Object::members(self);
        for (key, Raw(value)) in all.iter() {
            if OF_OTHERS.contains(&&**key) {
                return Err(unsupported(
                    key,
                    value,
                    "it is for the plugins portmap and firewall, which may follow",
                ));
            }
            let alike = known.iter().find(|known| known.eq_ignore_ascii_case(key) && **known != &**key);
            if let Some(alike) = alike {
                return Err(unsupported(key, value, &format!("it is called {alike}")));
            }
        }
        Ok(())
    }

    /// `ipam.type`, empty without `ipam`.
    pub fn ipam_kind(&self) -> Result<String> {
        let Some(Raw(text)) = self.ipam else { return Ok(String::new()) };
        read::<IpamKind<'_>>("ipam", text).map(|ipam| ipam.kind.to_string())
    }

    /// What stands in `runtimeConfig` by that name.
    pub fn runtime<'s, T: Value<'s> + Default>(&'s self, name: &str) -> Result<Option<T>> {
        let found = self.runtime_config.iter().find(|(key, _)| **key == *name);
        found.map(|(_, Raw(value))| read(&format!("runtimeConfig.{name}"), value)).transpose()
    }
}

/// Reads a value that stands at `path`.
pub(super) fn read<'a, T: Value<'a> + Default>(path: &str, text: &'a str) -> Result<T> {
    parse(text.as_bytes()).map_err(|error| failed(failure::DECODE, format_args!("{path}: {error}")))
}

#[cold]
pub(super) fn unsupported(key: &str, value: &str, remedy: &str) -> failure::Failure {
    failed(failure::FIELD, format_args!("{key}: {value}: {} does not do that: {remedy}", super::NAME))
}
