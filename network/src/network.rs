//! What a network is.

use std::net::IpAddr;

use pillbox_json::reader::{Failed, Reader};
use pillbox_json::{List, Value, object};
use serde::{Serialize, Serializer};

use crate::cidr::Cidr;
use crate::ip::{self, Ip};

/// How a container's interface is connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkKind {
    /// A pair of virtual Ethernet links, whose host end is a port of a bridge.
    #[default]
    Bridge,
    /// A pair of virtual Ethernet links.
    Pair,
    /// A link with a hardware address of its own over one of the host's.
    Macvlan,
    /// A link that shares the hardware address of one of the host's.
    Ipvlan,
}

impl NetworkKind {
    const ALL: [NetworkKind; 4] =
        [NetworkKind::Bridge, NetworkKind::Pair, NetworkKind::Macvlan, NetworkKind::Ipvlan];

    /// As records name it.
    pub fn name(self) -> &'static str {
        match self {
            NetworkKind::Bridge => "bridge",
            NetworkKind::Pair => "pair",
            NetworkKind::Macvlan => "macvlan",
            NetworkKind::Ipvlan => "ipvlan",
        }
    }

    /// Whether a host's end of the link exists, a port of a bridge or not.
    pub fn is_pair(self) -> bool {
        matches!(self, NetworkKind::Bridge | NetworkKind::Pair)
    }

    fn of_name(name: &str) -> Option<NetworkKind> {
        NetworkKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Serialize for NetworkKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Value<'_> for NetworkKind {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failed> {
        *self = ip::read(reader, "bridge, pair, macvlan or ipvlan", NetworkKind::of_name)?;
        Ok(())
    }
}

object! {
    /// A network: how its containers are connected, which addresses they get, what they may reach.
    #[derive(Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Network {
        /// Unique on the host; leases are kept by it.
        "name" required => name: String,
        "kind" => kind: NetworkKind,
        /// The bridge's name; of macvlan and ipvlan the name of the host's link below.
        "link" => link: String,
        /// Of macvlan: bridge, vepa, private, passthru; of ipvlan: l2, l3, l3s.
        "mode" => mode: Option<String>,
        /// Where addresses are from; a container gets one of each.
        "ranges" => ranges: List<Range>,
        /// Addresses of these that no container gets.
        "reserved" => reserved: List<Ip>,
        /// The largest packet in bytes.
        "mtu" => mtu: Option<u32>,
        /// What leaves it for the outside has the host's address.
        "masquerade" => masquerade: bool,
        /// Other isolated bridges and it do not reach each other.
        "isolated" => isolated: bool,
        /// It reaches nothing outside, and nothing outside reaches it.
        "internal" => internal: bool,
        /// Its bridge has none of the gateways' addresses: somebody else has.
        "bare" => bare: bool,
        /// Others may know its addresses, and reach its containers by a route.
        "open" => open: bool,
        /// Its bridge takes frames for other hardware addresses as well.
        "promiscuous" => promiscuous: bool,
        /// Its bridge was there before, and is somebody else's.
        "foreign" => foreign: bool,
        /// Packets of the loopback pass that bridge of somebody else's because of this network.
        "routesLoopback" => routes_loopback: bool,
        /// firewalld has its bridge in a zone because of this network.
        "trusted" => trusted: bool,
        /// Others filtered what is forwarded when that was looked at last: it is looked at for each
        /// container.
        "crowded" => crowded: bool,
        /// Which other programs with packet filters there were when it was set up.
        "witness" => witness: u64,
        /// Everything that it needs on the host has been set up.
        "ready" => ready: bool,
    }
}

object! {
    /// A subnet, and which of its addresses are given to containers.
    #[derive(Copy, Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Range {
        "subnet" required => subnet: Cidr,
        /// Of a bridge, its own address; never given to a container.
        "gateway" => gateway: Option<Ip>,
        /// The first address that is given; none: the subnet's first.
        "first" => first: Option<Ip>,
        /// The last address that is given; none: the subnet's last.
        "last" => last: Option<Ip>,
    }
}

impl Network {
    /// Whether it has addresses of IPv4, or of IPv6.
    pub(crate) fn has_family(&self, is_v4: bool) -> bool {
        self.ranges.iter().any(|range| range.subnet.ip.is_ipv4() == is_v4)
    }

    /// Gives each subnet a gateway that has none: its first address, as everybody expects.
    pub(crate) fn choose_gateways(&mut self) {
        for range in &mut self.ranges.0 {
            range.gateway.get_or_insert(Ip(range.subnet.hosts().0));
        }
    }

    /// The bridge's own addresses.
    pub fn gateways(&self) -> Vec<Cidr> {
        let ranges = self.ranges.iter().filter(|_| !self.bare);
        ranges.filter_map(|range| Some(Cidr { ip: range.gateway?.0, prefix: range.subnet.prefix })).collect()
    }

    /// Whether the host forwards its packets, and lets them pass the filters of others.
    pub fn is_served(&self) -> bool {
        !self.bare && (!self.foreign || self.open)
    }
}

impl Range {
    /// The first and the last address that containers can get.
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        let (first, last) = self.subnet.hosts();
        (self.first.map_or(first, |Ip(ip)| ip), self.last.map_or(last, |Ip(ip)| ip))
    }

    /// Whether a container may have the address when it asks for it: any of the subnet's that hosts can have,
    /// but the gateway's.
    pub fn may_give(&self, ip: IpAddr) -> bool {
        self.subnet.is_for_hosts(ip) && self.gateway != Some(Ip(ip))
    }
}
