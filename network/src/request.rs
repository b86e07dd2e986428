//! What is asked for: one interface of a container, and the network that it is to be on.

use std::fmt;
use std::net::IpAddr;

use crate::attachment::Route;
use crate::cidr::Cidr;
use crate::network::{NetworkKind, Range};
use crate::port::Port;

/// One interface. What is empty or `None` is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The network that it is on.
    pub network: NetworkRequest,
    /// The interface's name in the container.
    pub name: String,
    /// The name of the pair's host end.
    pub host_name: Option<String>,
    /// Its addresses.
    pub addresses: Vec<Wanted>,
    /// Addresses of the pair's host end, if that is no port of a bridge.
    pub host_addresses: Vec<Cidr>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
    /// Its routes; `None`: a default route through each gateway of the network.
    pub routes: Option<Vec<Route>>,
    /// Its published ports.
    pub ports: Vec<Port>,
}

/// An address that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The address.
    pub ip: IpAddr,
    /// The length of its network's prefix; none: as the network has it.
    pub prefix: Option<u8>,
}

/// The network of an interface. What is said must be so; what is not said is as the network has it, or for a new one as
/// is best.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Unique on the host.
    pub name: String,
    /// How interfaces are connected.
    pub kind: NetworkKind,
    /// The bridge, or the link that interfaces lie over.
    pub link: String,
    /// Of macvlan and ipvlan.
    pub mode: Option<String>,
    /// Its subnets.
    pub ranges: Vec<Range>,
    /// The subnets of a bridge that has to be made, if `ranges` says none.
    pub suggested: Vec<Range>,
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
    /// Whether what leaves it has the host's address.
    pub masquerade: Option<bool>,
    /// Whether it and other bridges do not reach each other.
    pub isolated: Option<bool>,
    /// Whether it has no way out.
    pub internal: Option<bool>,
}

/// In a line: `eth0 by bridge pillbox0, address 10.88.0.5/16`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { network, name, addresses, host_addresses, mac, routes, .. } = self;
        match network.kind {
            NetworkKind::Pair => write!(f, "{name} by a pair of links")?,
            kind => write!(f, "{name} by {} {}", kind.name(), network.link)?,
        }
        for address in host_addresses {
            write!(f, ", the host's end {address}")?;
        }
        match addresses.as_slice() {
            [] if network.kind == NetworkKind::Bridge => {
                write!(f, ", addresses of its subnets that are free")?
            }
            addresses => addresses.iter().try_for_each(|address| write!(f, ", address {address}"))?,
        }
        if let Some(mac) = mac {
            write!(f, ", hardware address {mac}")?;
        }
        for Route { to, via } in routes.iter().flatten() {
            write!(f, ", route to {to}")?;
            via.map_or(Ok(()), |via| write!(f, " via {via}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wanted { ip, prefix } = self;
        match prefix {
            Some(prefix) => write!(f, "{ip}/{prefix}"),
            None => write!(f, "{ip}"),
        }
    }
}
