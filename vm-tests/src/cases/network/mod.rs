//! Networks with real traffic, as in tests/networks, but on a machine's own network and on other kernels; and kernels that
//! lack something. Servers and clients are threads that stand in the namespaces of containers and of other machines.

mod forwarded;
mod host;
mod killed;
mod lacking;
mod links;
mod module;
mod plugin;
mod published;

// The servers, clients and machines of the black-box tests, which use more of them.
#[allow(dead_code)]
#[path = "../../../../tests/networks/machine.rs"]
mod machine;
#[path = "../../../../tests/networks/sctp.rs"]
mod sctp;
#[allow(dead_code)]
#[path = "../../../../tests/networks/standpoint.rs"]
mod standpoint;
#[allow(dead_code)]
#[path = "../../../../tests/networks/traffic.rs"]
mod traffic;

use super::{Case, Guest, Need};

/// What a bridge, NAT and published ports are made of, with SCTP's own sockets and the filter for bridged packets.
const MODULES: &[Need] = &[
    Need::Command("net"),
    Need::Module("bridge"),
    Need::Module("veth"),
    Need::Module("br_netfilter"),
    Need::Module("nf_tables"),
    Need::Module("nf_conntrack_netlink"),
    Need::Module("nft_chain_nat"),
    Need::Module("nft_ct"),
    Need::Module("nft_fib_inet"),
    Need::Module("nft_fwd_netdev"),
    Need::Module("nft_masq"),
    Need::Module("nft_nat"),
    Need::Module("sctp"),
];

pub const CASES: &[Case] = &[
    Case::new("network_to_the_outside", forwarded::to_the_outside).needs(MODULES),
    Case::new("network_forwarding_is_said", forwarded::forwarding_is_said).needs(MODULES),
    Case::new("network_on_one_bridge", forwarded::on_one_bridge).needs(MODULES),
    Case::new("network_between_bridges", forwarded::between_bridges).needs(MODULES),
    Case::new("network_internal", forwarded::internal).needs(MODULES),
    Case::new("network_port_from_outside", published::from_outside).needs(MODULES),
    Case::new("network_port_from_host", published::from_host).needs(MODULES),
    Case::new("network_port_from_containers", published::from_containers).needs(MODULES),
    Case::new("network_port_by_flag", published::by_flag).needs(MODULES),
    Case::new("network_pair", links::pair).needs(MODULES),
    Case::new("network_macvlan", links::macvlan).needs(links::MACVLAN),
    Case::new("network_ipvlan", links::ipvlan).needs(links::IPVLAN),
    Case::new("network_over_a_vlan", links::over_a_vlan).needs(links::VLAN),
    Case::new("network_over_a_dummy", links::over_a_dummy).needs(links::DUMMY),
    Case::new("network_killed", killed::killed).needs(MODULES).limit(90),
    Case::new("network_plugin", plugin::add_and_delete).needs(MODULES),
    Case::new("network_plugin_without_nf_tables", plugin::without_nf_tables).needs(MODULES),
    Case::new("network_without_links", lacking::links).needs(lacking::LINKS),
    Case::new("network_without_veth", lacking::veth).needs(MODULES),
    Case::new("network_without_nf_tables", lacking::nf_tables).needs(MODULES),
    Case::new("network_without_parts_of_nf_tables", lacking::parts_of_nf_tables).needs(MODULES),
    Case::new("network_without_conntrack_netlink", lacking::conntrack_netlink).needs(MODULES),
    Case::new("network_without_ipv6", lacking::ipv6).needs(MODULES).parameters("ipv6.disable=1"),
];
