//! What is asked for: one interface of a container, and the network that it is to be on.

use std::fmt;
use std::net::IpAddr;

use pillbox_json::Value;
use pillbox_json::reader::{Failed, Reader};

use crate::attachment::Route;
use crate::cidr::Cidr;
use crate::error::{Error, Kind};
use crate::ip::{self, Ip};
use crate::kernel;
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
    /// Where it gets one address from each, instead of `addresses`.
    pub pools: Vec<Pool>,
    /// Addresses of the pair's host end, if that is no port of a bridge.
    pub host_addresses: Vec<Cidr>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
    /// Its routes; `None`: a default route through each gateway of the network.
    pub routes: Option<Vec<Route>>,
    /// A route without a gateway leads through that of an address of its family.
    pub through_gateway: bool,
    /// Its published ports.
    pub ports: Vec<Port>,
    /// As the port of a bridge it gets back what it sends to itself.
    pub hairpin: bool,
    /// As the port of a bridge it exchanges nothing with other such ports.
    pub isolated: bool,
    /// As the port of a bridge it sends from its own hardware address only.
    pub locked: bool,
    /// It is not set up.
    pub down: bool,
}

/// Where an interface gets an address from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// One of them; the next one if all addresses of those before it are taken.
    pub ranges: Vec<Range>,
    /// The address; none: any that is free.
    pub wanted: Option<Wanted>,
}

/// An address that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The address.
    pub ip: IpAddr,
    /// The length of its network's prefix; none: as the network has it.
    pub prefix: Option<u8>,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted { ip: Ip::default().0, prefix: None }
    }
}

impl Wanted {
    /// Reads `10.88.0.5/16` or `10.88.0.5`; none for anything else.
    pub fn parse(text: &str) -> Option<Wanted> {
        match Cidr::parse(text) {
            Some(Cidr { ip, prefix }) => Some(Wanted { ip, prefix: Some(prefix) }),
            None => Some(Wanted { ip: text.parse().ok()?, prefix: None }),
        }
    }
}

impl Value<'_> for Wanted {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failed> {
        *self = ip::read(reader, "an IP address, with the length of its prefix or without", Wanted::parse)?;
        Ok(())
    }
}

/// The network of an interface. What is said must be so; what is not said is as the network has it, or for a
/// new one as is best.
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
    /// Addresses of its subnets that no container gets.
    pub reserved: Vec<IpAddr>,
    /// The subnets of a bridge that has to be made, if `ranges` says none.
    pub suggested: Vec<Range>,
    /// The same, if they are still free; otherwise others are.
    pub preferred: Vec<Range>,
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
    /// Whether what leaves it has the host's address.
    pub masquerade: Option<bool>,
    /// Whether it and other bridges do not reach each other.
    pub isolated: Option<bool>,
    /// Whether it has no way out.
    pub internal: Option<bool>,
    /// Whether the bridge has the gateways' addresses and the host routes; then it is so also with a bridge
    /// that is there, which may be that of several networks. `None`: it is so with a bridge that has to be
    /// made.
    pub gateway: Option<bool>,
    /// Addresses of the bridge that are in the gateways' way are removed.
    pub force: bool,
    /// Whether others may know its addresses.
    pub open: bool,
    /// Whether the bridge takes frames for other hardware addresses as well.
    pub promiscuous: Option<bool>,
}

impl Request {
    /// Makes sure that the kernel has the families of the addresses that are asked for.
    pub(crate) fn check_families(&self) -> Result<(), Error> {
        let Request { name, addresses, host_addresses, routes, .. } = self;
        let own = addresses.iter().map(|wanted| wanted.ip);
        let of_host = host_addresses.iter().map(|address| address.ip);
        let far = routes.iter().flatten().map(|route| route.to.ip);
        match own.chain(of_host).chain(far).find(IpAddr::is_ipv6) {
            Some(ip) if !kernel::has_ipv6() => {
                let why = kernel::WITHOUT_IPV6;
                Err(Error::of(Kind::Unsupported, format_args!("interface {name}: address {ip}: {why}")))
            }
            _ => Ok(()),
        }
    }
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
        for Route { to, via, .. } in routes.iter().flatten() {
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
