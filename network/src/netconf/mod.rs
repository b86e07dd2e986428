//! netconf.json: the networks of one container, as cprates/box has it, and more. Pure.
//!
//! ```json
//! {
//!   "loopback_name": "lo",
//!   "model": {"type": "bridge", "bridge_name": "pillbox0", "subnets": ["10.88.0.0/16"]},
//!   "interfaces": [{
//!     "type": "veth", "name": "veth7", "peer_name": "eth0", "peer_ip": "10.88.0.5/16",
//!     "routes": [{"subnet": "0.0.0.0/0", "gateway": "10.88.0.1"}],
//!     "ports": ["8080:80", "127.0.0.1:5353:53/udp"]
//!   }],
//!   "dns": {"nameservers": ["9.9.9.9"], "domain": "box", "search": ["box"]},
//!   "hosts": {"db": "10.88.0.6"}
//! }
//! ```
//!
//! A name of `hosts` with the address `0.0.0.0` is the host's, as the first interface's network has it.
//! Everything may be left out. An interface may have a model of its own. Without any it is a plain pair, of
//! which `ip` is the host's address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pillbox_json::{List, Map, Text, object, parse_strictly};

use crate::attachment::Route;
use crate::cidr::Cidr;
use crate::dns::Resolver;
use crate::error::{Error, Result};
use crate::ip::Ip;
use crate::link::{check_mtu, check_name, mac_text, parse_mac};
use crate::network::{NetworkKind, Range};
use crate::port::Port;
use crate::request::{NetworkRequest, Request, Wanted};

/// The bridge of containers that name none.
pub const DEFAULT_BRIDGE: &str = "pillbox0";

/// The type of networks in user mode: by pasta(1), or slirp4netns(1) where that is not there.
const USER_MODE: &str = "pasta";

/// The network under which addresses of plain pairs are leased: no two containers have the same.
const PAIRS: &str = "pairs";

object! {
    Document<'a> {
        "loopback_name" => loopback_name: Option<Text<'a>>,
        "model" => model: Option<Model<'a>>,
        "interfaces" => interfaces: List<InterfaceDocument<'a>>,
        "dns" => dns: Option<Dns<'a>>,
        "hosts" => hosts: Map<'a, Ip>,
    }
}

object! {
    Model<'a> {
        "type" required => kind: Text<'a>,
        "bridge_name" => bridge_name: Option<Text<'a>>,
        "parent" => parent: Option<Text<'a>>,
        "mode" => mode: Option<Text<'a>>,
        "subnets" => subnets: List<Cidr>,
        "preferred" => preferred: List<Cidr>,
        "gateways" => gateways: List<Ip>,
        "ranges" => ranges: List<Cidr>,
        "reserved" => reserved: List<Ip>,
        "mtu" => mtu: Option<u32>,
        "masquerade" => masquerade: Option<bool>,
        "isolated" => isolated: Option<bool>,
        "internal" => internal: Option<bool>,
    }
}

object! {
    InterfaceDocument<'a> {
        "model" => model: Option<Model<'a>>,
        "type" => kind: Option<Text<'a>>,
        "name" => name: Option<Text<'a>>,
        "peer_name" => peer_name: Option<Text<'a>>,
        "ip" => ip: Option<Cidr>,
        "ips" => ips: List<Cidr>,
        "peer_ip" => peer_ip: Option<Cidr>,
        "peer_ips" => peer_ips: List<Cidr>,
        "mac" => mac: Option<Text<'a>>,
        "mtu" => mtu: Option<u32>,
        "routes" => routes: Option<List<RouteDocument>>,
        "ports" => ports: List<Text<'a>>,
    }
}

object! {
    #[derive(Copy)]
    RouteDocument {
        "subnet" required => subnet: Cidr,
        "gateway" => gateway: Option<Ip>,
    }
}

object! {
    Dns<'a> {
        "nameservers" => nameservers: List<Text<'a>>,
        "domain" => domain: Option<Text<'a>>,
        "search" => search: List<Text<'a>>,
        "options" => options: List<Text<'a>>,
    }
}

/// A network by a program in user mode: see [`crate::rootless`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserMode {
    /// The published ports.
    pub ports: Vec<Port>,
    /// The largest packet in bytes.
    pub mtu: Option<u16>,
}

/// What a container is to be connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Netconf {
    /// Its interfaces.
    pub requests: Vec<Request>,
    /// A network in user mode, instead of interfaces that pillbox makes.
    pub user_mode: Option<UserMode>,
    /// How it resolves names; `None`: as the host does.
    pub resolver: Option<Resolver>,
    /// More names for its /etc/hosts; no address is the host's.
    pub hosts: Vec<(String, IpAddr)>,
}

impl Netconf {
    /// Adds an interface on the default bridge, with these ports.
    pub fn connect(&mut self, ports: Vec<Port>) {
        let link = DEFAULT_BRIDGE.to_string();
        let network = NetworkRequest { name: link.clone(), link, ..NetworkRequest::default() };
        self.requests.push(Request { network, name: "eth0".to_string(), ports, ..Request::default() });
    }

    /// Reads a netconf.json.
    ///
    /// # Errors
    /// It is not JSON, has an unknown member, or a value that cannot be; the field is named, the file is not.
    pub fn parse(document: &[u8]) -> Result<Netconf> {
        let document: Document<'_> =
            parse_strictly(document).map_err(|error| Error::invalid(format_args!("{error}")))?;
        let Document { loopback_name, model, interfaces, dns, hosts } = document;
        if let Some(name) = loopback_name.filter(|name| !matches!(&**name, "" | "lo")) {
            return Err(Error::invalid(format_args!("loopback_name: {:?}: the kernel calls it lo", &*name)));
        }
        let mut netconf = Netconf::default();
        match model.as_ref().filter(|model| &*model.kind == USER_MODE) {
            Some(model) => netconf.user_mode = Some(user_mode(model, &interfaces)?),
            None => {
                let network = network(model.as_ref())?;
                for (index, interface) in interfaces.iter().enumerate() {
                    let field = format!("interfaces[{index}]");
                    let own = interface.model.as_ref().map(|model| self::network(Some(model)));
                    let own = own.transpose().map_err(|error| error.after(&field))?;
                    let network = own.as_ref().unwrap_or(&network);
                    netconf.requests.push(request(&field, index, interface, network)?);
                }
            }
        }
        check_routes(&netconf.requests)?;
        netconf.resolver = dns.map(resolver);
        netconf.resolver.as_ref().map_or(Ok(String::new()), |resolver| resolver.text("dns"))?;
        let hosts: Vec<_> = hosts.iter().map(|(name, Ip(ip))| (name.to_string(), *ip)).collect();
        check_hosts(&hosts)?;
        Ok(Netconf { hosts, ..netconf })
    }
}

/// Of user mode there is one interface, of which little can be said: the program takes the rest from the
/// host.
fn user_mode(model: &Model<'_>, interfaces: &[InterfaceDocument<'_>]) -> Result<UserMode> {
    let Model {
        kind: _,
        bridge_name,
        parent,
        mode,
        subnets,
        preferred,
        gateways,
        ranges,
        reserved,
        mtu,
        masquerade,
        isolated,
        internal,
    } = model;
    let others = [
        ("bridge_name", bridge_name.is_some()),
        ("parent", parent.is_some()),
        ("mode", mode.is_some()),
        ("subnets", !subnets.is_empty()),
        ("preferred", !preferred.is_empty()),
        ("gateways", !gateways.is_empty()),
        ("ranges", !ranges.is_empty()),
        ("reserved", !reserved.is_empty()),
        ("masquerade", masquerade.is_some()),
        ("isolated", isolated.is_some()),
        ("internal", internal.is_some()),
    ];
    if let Some((field, _)) = others.into_iter().find(|(_, is_said)| *is_said) {
        return Err(Error::invalid(format_args!("model.{field}: not with the type {USER_MODE}")));
    }
    let mut ports = Vec::new();
    let interface = match interfaces {
        [] => &InterfaceDocument::default(),
        [one] => one,
        _ => {
            return Err(Error::invalid(format_args!(
                "interfaces[1]: with the type {USER_MODE} there is one, eth0"
            )));
        }
    };
    let InterfaceDocument {
        model: own_model,
        kind,
        name,
        peer_name,
        ip,
        ips,
        peer_ip,
        peer_ips,
        mac,
        mtu: own_mtu,
        routes,
        ports: texts,
    } = interface;
    let others = [
        ("model", own_model.is_some()),
        ("type", kind.is_some()),
        ("name", name.is_some()),
        ("peer_name", peer_name.as_ref().is_some_and(|name| &**name != "eth0")),
        ("ip", ip.is_some() || !ips.is_empty()),
        ("peer_ip", peer_ip.is_some() || !peer_ips.is_empty()),
        ("mac", mac.is_some()),
        ("routes", routes.is_some()),
    ];
    if let Some((field, _)) = others.into_iter().find(|(_, is_said)| *is_said) {
        return Err(Error::invalid(format_args!("interfaces[0].{field}: not with the type {USER_MODE}")));
    }
    for (place, text) in texts.iter().enumerate() {
        ports.extend(
            Port::parse(text).map_err(|error| error.after(&format!("interfaces[0].ports[{place}]")))?,
        );
    }
    let mtu = own_mtu.or(*mtu).map(|mtu| check_mtu("model.mtu", mtu)).transpose()?;
    Ok(UserMode { ports, mtu: mtu.map(|mtu| mtu as u16) })
}

/// Checks what the kernel would refuse when all else is done.
fn check_routes(requests: &[Request]) -> Result<()> {
    let mut known = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        for (place, Route { to, via, .. }) in request.routes.iter().flatten().enumerate() {
            let why = if via.is_some_and(|Ip(via)| via.is_ipv4() != to.ip.is_ipv4()) {
                "its gateway is of another family"
            } else if known.contains(&to.network()) {
                "there is another route to it"
            } else {
                known.push(to.network());
                continue;
            };
            return Err(Error::invalid(format_args!("interfaces[{index}].routes[{place}]: {to}: {why}")));
        }
    }
    Ok(())
}

fn check_hosts(hosts: &[(String, IpAddr)]) -> Result<()> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    match hosts.iter().find(|(name, _)| !is_name(name)) {
        Some((name, _)) => Err(Error::invalid(format_args!("hosts: {name:?} is not the name of a host"))),
        None => Ok(()),
    }
}

fn resolver(dns: Dns<'_>) -> Resolver {
    let Dns { nameservers, domain, search, options } = dns;
    let strings = |list: List<Text<'_>>| list.iter().map(|text| text.to_string()).collect();
    Resolver {
        servers: strings(nameservers),
        domain: domain.filter(|domain| !domain.is_empty()).map(|domain| domain.to_string()),
        search: strings(search),
        options: strings(options),
    }
}

fn network(model: Option<&Model<'_>>) -> Result<NetworkRequest> {
    let pairs =
        || NetworkRequest { name: PAIRS.into(), kind: NetworkKind::Pair, ..NetworkRequest::default() };
    let Some(model) = model else { return Ok(pairs()) };
    let Model {
        kind,
        bridge_name,
        parent,
        mode,
        subnets,
        preferred,
        gateways,
        ranges,
        reserved,
        mtu,
        masquerade,
        isolated,
        internal,
    } = model;
    let kind = match &**kind {
        "bridge" => NetworkKind::Bridge,
        "macvlan" => NetworkKind::Macvlan,
        "ipvlan" => NetworkKind::Ipvlan,
        other => {
            return Err(Error::invalid(format_args!(
                "model.type: {other:?}: must be bridge, macvlan, ipvlan or pasta; plain pairs have no model"
            )));
        }
    };
    let is_bridge = kind == NetworkKind::Bridge;
    let foreign = [
        ("bridge_name", !is_bridge && bridge_name.is_some()),
        ("parent", is_bridge && parent.is_some()),
        ("mode", is_bridge && mode.is_some()),
        ("masquerade", !is_bridge && masquerade.is_some()),
        ("isolated", !is_bridge && isolated.is_some()),
        ("internal", !is_bridge && internal.is_some()),
        ("preferred", !is_bridge && !preferred.is_empty()),
    ];
    if let Some((field, _)) = foreign.into_iter().find(|(_, is_wrong)| *is_wrong) {
        return Err(Error::invalid(format_args!("model.{field}: not with the type {}", kind.name())));
    }
    let link = match (is_bridge, bridge_name, parent) {
        (true, None, _) => DEFAULT_BRIDGE.to_string(),
        (true, Some(name), _) => check_name("model.bridge_name", name)?.to_string(),
        (false, _, Some(parent)) => check_name("model.parent", parent)?.to_string(),
        (false, _, None) => {
            return Err(Error::invalid(format_args!(
                "model.parent: missing: the name of the host's link that the {} lies over",
                kind.name()
            )));
        }
    };
    if *internal == Some(true) && *masquerade == Some(true) {
        return Err(Error::invalid(format_args!("model.masquerade: an internal network has no way out")));
    }
    Ok(NetworkRequest {
        name: if is_bridge { link.clone() } else { format!("{}-{link}", kind.name()) },
        kind,
        link,
        mode: mode.as_ref().map(|mode| mode.to_string()),
        ranges: parts(with_gateways(whole(subnets, "subnets")?, gateways)?, ranges, reserved)?,
        preferred: whole(preferred, "preferred")?,
        reserved: reserved.iter().map(|Ip(ip)| *ip).collect(),
        mtu: mtu.map(|mtu| check_mtu("model.mtu", mtu)).transpose()?,
        masquerade: *masquerade,
        isolated: *isolated,
        internal: *internal,
        ..NetworkRequest::default()
    })
}

/// Addresses that are no container's (RFC 6890).
const RESERVED: [(Cidr, &str); 8] = [
    (v4([0, 0, 0, 0], 8), "of no host"),
    (v4([127, 0, 0, 0], 8), "of the loopback"),
    (v4([169, 254, 0, 0], 16), "of single links"),
    (v4([224, 0, 0, 0], 4), "of groups"),
    (v4([240, 0, 0, 0], 4), "that are reserved"),
    (v6(0, 127), "of no host, and the loopback's"),
    (v6(0xfe80, 10), "of single links"),
    (v6(0xff00, 8), "of groups"),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Cidr {
    Cidr { ip: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

/// Of an address of which only the first 16 bits are set.
const fn v6(first: u16, prefix: u8) -> Cidr {
    Cidr { ip: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), prefix }
}

/// Subnets all of whose addresses are given.
fn whole(subnets: &[Cidr], member: &str) -> Result<Vec<Range>> {
    let one = |(index, subnet): (usize, &Cidr)| range(&format!("model.{member}[{index}]"), *subnet);
    subnets.iter().enumerate().map(one).collect()
}

/// The same, with the gateways that are chosen for them.
fn with_gateways(mut subnets: Vec<Range>, gateways: &[Ip]) -> Result<Vec<Range>> {
    for (index, gateway) in gateways.iter().enumerate() {
        let field = format_args!("model.gateways[{index}]: {}", gateway.0);
        let Some(found) = subnets.iter_mut().find(|known| known.subnet.is_for_hosts(gateway.0)) else {
            return Err(Error::invalid(format_args!(
                "{field} is no address for hosts in any of model.subnets"
            )));
        };
        if found.gateway.replace(*gateway).is_some() {
            return Err(Error::invalid(format_args!("{field}: {} has a gateway already", found.subnet)));
        }
    }
    Ok(subnets)
}

/// The same, of which addresses are given in these parts alone, and some not at all.
fn parts(mut subnets: Vec<Range>, parts: &[Cidr], reserved: &[Ip]) -> Result<Vec<Range>> {
    for (index, part) in parts.iter().enumerate() {
        let field = format_args!("model.ranges[{index}]: {part}");
        if *part != part.network() {
            return Err(Error::invalid(format_args!("{field} is an address in {}", part.network())));
        }
        let within =
            |known: &&mut Range| known.subnet.prefix <= part.prefix && known.subnet.contains(part.ip);
        let Some(found) = subnets.iter_mut().find(within) else {
            return Err(Error::invalid(format_args!("{field} is in none of model.subnets")));
        };
        if found.first.is_some() {
            return Err(Error::invalid(format_args!("{field}: {} has a range already", found.subnet)));
        }
        let (first, last) = found.subnet.hosts();
        found.first = Some(Ip(part.ip.max(first)));
        found.last = Some(Ip(part.last().min(last)));
    }
    match reserved.iter().enumerate().find(|(_, ip)| !subnets.iter().any(|known| known.may_give(ip.0))) {
        Some((index, Ip(ip))) => Err(Error::invalid(format_args!(
            "model.reserved[{index}]: {ip} is no address for hosts in any of model.subnets"
        ))),
        None => Ok(subnets),
    }
}

fn range(field: &str, subnet: Cidr) -> Result<Range> {
    if subnet != subnet.network() {
        let right = subnet.network();
        return Err(Error::invalid(format_args!("{field}: {subnet} is an address in {right}")));
    }
    if let Some((reserved, whose)) = RESERVED.iter().find(|(reserved, _)| reserved.overlaps(subnet)) {
        return Err(Error::invalid(format_args!(
            "{field}: {subnet} has addresses {whose} ({reserved}): choose a private one, such as \
             10.88.0.0/16 or fd00:88::/64"
        )));
    }
    let (first, last) = subnet.hosts();
    if first == last {
        return Err(Error::invalid(format_args!(
            "{field}: {subnet} has no room for a gateway and containers"
        )));
    }
    Ok(Range { subnet, gateway: None, first: None, last: None })
}

fn request(
    field: &str,
    index: usize,
    document: &InterfaceDocument<'_>,
    network: &NetworkRequest,
) -> Result<Request> {
    let InterfaceDocument {
        model: _,
        kind,
        name,
        peer_name,
        ip,
        ips,
        peer_ip,
        peer_ips,
        mac,
        mtu,
        routes,
        ports,
    } = document;
    let is_pair = network.kind.is_pair();
    let expected = if is_pair { "veth" } else { network.kind.name() };
    if let Some(kind) = kind.as_ref().filter(|kind| &***kind != expected) {
        return Err(Error::invalid(format_args!("{field}.type: {:?}: must be {expected}", &**kind)));
    }
    if !is_pair && name.is_some() {
        return Err(Error::invalid(format_args!(
            "{field}.name: interfaces of type {expected} have no end on the host: say peer_name"
        )));
    }
    // There, `0.0.0.0/0` says that there is no address.
    let is_said = |cidr: &&Cidr| !cidr.ip.is_unspecified();
    let host_addresses: Vec<Cidr> = ip.iter().chain(&**ips).filter(is_said).copied().collect();
    if let Some(address) = host_addresses.first().filter(|_| network.kind != NetworkKind::Pair) {
        return Err(Error::invalid(format_args!(
            "{field}.ip: {address}: the host's address is its bridge's: leave it out, or say 0.0.0.0/0"
        )));
    }
    let addresses: Vec<Cidr> = peer_ip.iter().chain(&**peer_ips).filter(is_said).copied().collect();
    let routes: Option<Vec<Route>> = routes
        .as_ref()
        .map(|routes| routes.iter().map(|route| Route::new(route.subnet, route.gateway)).collect());
    let name_of = |text: &Option<Text<'_>>, member: &str| -> Result<Option<String>> {
        let name =
            text.as_ref().map(|name| check_name(&format!("{field}.{member}"), name).map(str::to_string));
        name.transpose()
    };
    let mut network = network.clone();
    if network.kind == NetworkKind::Bridge {
        network.suggested = suggest(&addresses, routes.as_deref().unwrap_or_default());
    }
    let mut published = Vec::new();
    for (place, text) in ports.iter().enumerate() {
        published.extend(Port::parse(text).map_err(|error| error.after(&format!("{field}.ports[{place}]")))?);
    }
    Ok(Request {
        network,
        name: name_of(peer_name, "peer_name")?.unwrap_or_else(|| format!("eth{index}")),
        host_name: name_of(name, "name")?,
        addresses: addresses.iter().map(|cidr| Wanted { ip: cidr.ip, prefix: Some(cidr.prefix) }).collect(),
        host_addresses,
        mac: mac.as_ref().map(|mac| mac_of(&format!("{field}.mac"), mac)).transpose()?,
        mtu: mtu.map(|mtu| check_mtu(&format!("{field}.mtu"), mtu)).transpose()?,
        routes,
        ports: published,
        ..Request::default()
    })
}

fn mac_of(field: &str, text: &str) -> Result<String> {
    parse_mac(text).map(mac_text).map_err(|error| error.after(field))
}

/// The subnets that a bridge must have for these addresses, with the gateways that routes name.
fn suggest(addresses: &[Cidr], routes: &[Route]) -> Vec<Range> {
    let range = |address: &Cidr| {
        let gateways = routes.iter().filter_map(|route| route.via);
        let mut within = gateways.filter(|Ip(via)| address.contains(*via));
        Range { subnet: address.network(), gateway: within.next(), first: None, last: None }
    };
    addresses.iter().map(range).collect()
}

#[cfg(test)]
mod tests;
