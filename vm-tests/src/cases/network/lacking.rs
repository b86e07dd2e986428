//! Kernels that lack something. One line says what, and what helps; nothing half-made stays; and what does not need it works.

use std::fs;

use serde_json::{Value, json};

use super::host::{Connected, Host, answers, bridged, on_a_host, one_line};
use super::machine::{HOST_4, Machine, OUTSIDE_4};
use super::module::{load, unload};
use super::standpoint::Standpoint;
use super::traffic::{Protocol, Tcp, Udp};
use super::{Guest, Need};
use crate::cases::container::Container;
use crate::cases::expectation::{contains, equal, holds};

/// The parts of nf_tables that rules for IPv4 and IPv6 have, in the order in which they are missed, with what builds them.
const PARTS_OF_NF_TABLES: [(&str, &str); 6] = [
    ("nft_chain_nat", "CONFIG_NFT_NAT"),
    ("nft_fib_inet", "CONFIG_NFT_FIB_INET"),
    ("nft_nat", "CONFIG_NFT_NAT"),
    ("nft_masq", "CONFIG_NFT_MASQ"),
    ("nft_ct", "CONFIG_NFT_CT"),
    ("nft_fwd_netdev", "CONFIG_NFT_FWD_NETDEV"),
];

/// What links are made of.
pub const LINKS: &[Need] = &[
    Need::Command("net"),
    Need::Module("bridge"),
    Need::Module("veth"),
    Need::Module("macvlan"),
    Need::Module("ipvlan"),
];

/// A netconf.json for a plain pair with those ports.
fn pair(ports: &[&str]) -> Value {
    let interface = json!({"ips": ["10.90.0.1/30"], "peer_ips": ["10.90.0.2/30"], "ports": ports});
    json!({"interfaces": [interface]})
}

/// How an error says that the kernel has no such module.
fn lacks(module: &str, option: &str) -> String {
    format!(
        "the kernel has no {module}: load the module (modprobe {module}), or use a kernel with {option}\n"
    )
}

/// `create` says in one line what it is about and how that ends, and leaves nothing.
fn is_refused(host: &Host<'_>, netconf: &Value, about: &str, end: &str) -> Result<(), String> {
    let before = host.left();
    let container = host.bundle("refused", netconf)?;
    let said = one_line(container.call_with_bundle(&["create"])?)?;
    contains("stderr", &said, about)?;
    holds(&format!("it ends with {end:?}"), said.ends_with(end))?;
    host.is_as_before_but(&before)?;
    container.remove()?;
    forget(&container)
}

/// Removes a bundle, so that there can be another one of that name.
fn forget(container: &Container<'_>) -> Result<(), String> {
    fs::remove_dir_all(&container.bundle).map_err(|e| format!("{}: {e}", container.bundle.display()))
}

/// Bridges, pairs, and links over others.
pub fn links(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        ["bridge", "veth", "macvlan", "ipvlan"].into_iter().try_for_each(unload)?;
        is_refused(host, &bridged(&[]), "network pillbox0: ", &lacks("bridge", "CONFIG_BRIDGE"))?;
        is_refused(host, &pair(&[]), "interface eth0: ", &lacks("veth", "CONFIG_VETH"))?;
        for (kind, option) in [("macvlan", "CONFIG_MACVLAN"), ("ipvlan", "CONFIG_IPVLAN")] {
            let interface = json!({"peer_ips": ["192.0.2.50/24"]});
            let netconf = json!({"model": {"type": kind, "parent": "lo"}, "interfaces": [interface]});
            is_refused(host, &netconf, "interface eth0: ", &lacks(kind, option))?;
        }
        Ok(())
    })
}

/// A bridge that was made for a container goes again if there can be no link to it.
pub fn veth(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        unload("veth")?;
        for netconf in [bridged(&[]), bridged(&["8080:80"])] {
            is_refused(host, &netconf, "network pillbox0: interface eth0: ", &lacks("veth", "CONFIG_VETH"))?;
        }
        Ok(())
    })
}

/// A pair without ports needs no packet filter.
pub fn nf_tables(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        unload("nf_tables")?;
        let end = lacks("nf_tables", "CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CONFIG_NF_TABLES_NETDEV");
        for netconf in [bridged(&[]), bridged(&["8080:80"])] {
            is_refused(host, &netconf, "netconf.json: network pillbox0: ", &end)?;
        }
        is_refused(host, &pair(&["8080:80"]), "netconf.json: interface eth0: port 8080/tcp: ", &end)?;
        let container = host.start("pair", &pair(&[]))?;
        let _server = container.at().serve("pair", Tcp, 80);
        answers(Standpoint::Host, Tcp, "10.90.0.2:80", "pair sees 10.90.0.1", "")?;
        container.remove()
    })
}

/// Each module of nf_tables is named as long as it is missing. The last one is needed for IPv6 alone.
pub fn parts_of_nf_tables(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        PARTS_OF_NF_TABLES.into_iter().try_for_each(|(module, _)| unload(module))?;
        for (module, option) in PARTS_OF_NF_TABLES {
            is_refused(host, &bridged(&[]), "network pillbox0: ", &lacks(module, option))?;
            if module == "nft_fwd_netdev" {
                let model = json!({"type": "bridge", "bridge_name": "br4", "subnets": ["10.90.0.0/24"]});
                host.start("ipv4", &json!({"model": model, "interfaces": [{}]}))?.remove()?;
            }
            load(module)?;
        }
        let container = host.start("bridged", &bridged(&["8080:80"]))?;
        container.remove()
    })
}

/// Only ports of UDP need it.
pub fn conntrack_netlink(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        unload("nf_conntrack_netlink")?;
        let end = lacks("nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK");
        let udp = bridged(&["8080:80", "8081:81/udp"]);
        is_refused(host, &udp, "network pillbox0: interface eth0: port 8081/udp: ", &end)?;
        let container = host.start("tcp", &bridged(&["8080:80"]))?;
        let _server = container.at().serve("tcp", Tcp, 80);
        let said = Standpoint::Host.ask(Tcp, "127.0.0.1:8080");
        contains("answer", &said, "tcp sees 10.88.0.1")?;
        // The network that is in use stays when another one is refused.
        is_refused(host, &udp, "port 8080/tcp: taken", "container tcp\n")?;
        is_refused(
            host,
            &bridged(&["8081:81/udp"]),
            "network pillbox0: interface eth0: port 8081/udp: ",
            &end,
        )?;
        answers(Standpoint::Host, Tcp, "127.0.0.1:8080", "tcp sees 10.88.0.1", "")?;
        container.remove()
    })
}

/// A kernel without IPv6 has networks of IPv4, unless IPv6 is asked for.
pub fn ipv6(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        let outside = Machine::new();
        outside.connect("out0", &[(HOST_4, OUTSIDE_4, 24)]);
        let end = "the kernel has no IPv6: leave it out, or use a kernel with CONFIG_IPV6, booted without ipv6.disable=1\n";
        let model = json!({"type": "bridge", "subnets": ["10.90.0.0/24", "fd00:90::/64"]});
        let bridge = json!({"model": model, "interfaces": [{}]});
        is_refused(host, &bridge, "network pillbox0: subnet fd00:90::/64: ", end)?;
        let pair = json!({"interfaces": [{"peer_ips": ["10.90.0.2/30", "fd00:90::2/64"]}]});
        is_refused(host, &pair, "interface eth0: address fd00:90::2: ", end)?;
        let container = host.start("web", &bridged(&["8080:80", "8080:80/udp"]))?;
        let addresses = &container.container.state()?["network"][0]["addresses"];
        equal("addresses", addresses, &json!(["10.88.0.2/16"]))?;
        for protocol in [Tcp, Udp] {
            serves_over_ipv4(&container, &outside, protocol)?;
        }
        is_refused(host, &bridged(&["[::1]:8081:80"]), "port [::1]:8081/tcp: ", "address for it\n")?;
        container.remove()
    })
}

fn serves_over_ipv4(container: &Connected<'_>, outside: &Machine, protocol: Protocol) -> Result<(), String> {
    let _inside = container.at().serve_at("web", protocol, "0.0.0.0:80");
    let _outside = outside.at().serve_at("outside", protocol, "0.0.0.0:81");
    answers(outside.at(), protocol, &format!("{HOST_4}:8080"), &format!("web sees {OUTSIDE_4}"), "")?;
    answers(Standpoint::Host, protocol, "127.0.0.1:8080", "web sees 10.88.0.1", "")?;
    answers(container.at(), protocol, &format!("{OUTSIDE_4}:81"), &format!("outside sees {HOST_4}"), "")
}
