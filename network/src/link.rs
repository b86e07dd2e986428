//! Links, addresses and routes: what is asked of the kernel for a bridge, and for a container's interface at
//! both of its ends. Pure: messages are compiled here, and sent by [`crate::host`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use pillbox_netlink::link::{
    self, Bridge, BridgeOptions, IpvlanBetween, IpvlanMode, Kind, MacAddress, MacvlanMode, NewLink, Peer,
    Port, Veth,
};
use pillbox_netlink::route::{self as netlink_route, Metrics, Route, RouteKind};
use pillbox_netlink::{Message, address, neighbour};

use crate::attachment::{self, Interface, hash};
use crate::cidr::Cidr;
use crate::error::{Error, Result};
use crate::ip::Ip;
use crate::network::{Network, NetworkKind};

/// How many names are tried for a pair's host end.
pub const NAMES: u32 = 16;

/// How often another index is tried for a link when somebody has it.
pub const ATTEMPTS: u32 = 4;

/// The largest packet that the kernel takes for a link, and the smallest with which IPv4 works (RFC 791).
const MTUS: std::ops::RangeInclusive<u32> = 68..=65535;

/// A new bridge with the addresses that containers have as gateways.
///
/// # Errors
/// The name is not one that a link can have.
pub fn bridge(network: &Network, index: u32) -> Result<Vec<Message<'static>>> {
    let Network { link: name, mtu, promiscuous, .. } = network;
    // Without one of its own it would have the lowest of its ports', which change.
    let address = Some(mac_of_name(name));
    let options = BridgeOptions::default();
    let mut messages =
        vec![link::add_bridge(&Bridge { name, index: Some(index), address, mtu: *mtu, options })?];
    if *promiscuous {
        messages.push(link::set_promiscuous(index, true)?);
    }
    let gateways = network.gateways();
    for &gateway in &gateways {
        messages.push(address::add(index, gateway.into())?);
    }
    if gateways.iter().any(|gateway| gateway.ip.is_ipv6()) {
        messages.push(loopback_through(index)?);
    }
    Ok(messages)
}

/// Lets answers from a port that is published on `::1` come back over a bridge: the kernel routes what comes
/// in for `::1` strictly by the link. What a container sends there itself is dropped before it is routed.
///
/// # Errors
/// Only for lack of memory.
pub fn loopback_through(index: u32) -> Result<Message<'static>> {
    Ok(netlink_route::replace(&loopback_route(index))?)
}

/// Undoes [`loopback_through`].
///
/// # Errors
/// As for that.
pub fn no_loopback_through(index: u32) -> Result<Message<'static>> {
    Ok(netlink_route::delete(&loopback_route(index))?)
}

fn loopback_route(index: u32) -> Route {
    let loopback = Cidr::single(Ipv6Addr::LOCALHOST.into());
    // Behind the loopback's own, which has 0. A route of the same priority would replace that of another
    // bridge.
    let priority = Some(index);
    Route {
        index: Some(index),
        kind: RouteKind::Local,
        table: netlink_route::LOCAL_TABLE,
        priority,
        ..Route::to(loopback.into())
    }
}

/// The host's part of an interface: the link itself, which is born in the container's network namespace.
/// `below` is the index of its bridge, or of the link that it lies over.
///
/// # Errors
/// A name is not one that a link can have, or a mode is unknown.
pub fn host_end<'fd>(
    interface: &Interface,
    below: Option<u32>,
    namespace: BorrowedFd<'fd>,
) -> Result<Vec<Message<'fd>>> {
    let Interface { kind, name, index, host_name, host_index, host_mac, mtu, mac, .. } = interface;
    let address = mac.as_deref().map(parse_mac).transpose()?;
    let namespace = Some(namespace);
    if !kind.is_pair() {
        let kind = over(interface, below.unwrap_or(0))?;
        // Its routes would go when it is set up later with another state: it is set up inside, behind its
        // addresses.
        let up = false;
        let index = Some(*index);
        return Ok(vec![link::add(&NewLink {
            index,
            address,
            mtu: *mtu,
            namespace,
            up,
            ..NewLink::new(name, kind)
        })?]);
    }
    let peer = Peer { name, index: Some(*index), address, namespace };
    let host_address = host_mac.as_deref().map(parse_mac).transpose()?;
    let veth = Veth {
        index: Some(*host_index),
        address: host_address,
        mtu: *mtu,
        master: below,
        // A setting of a port that is up is told to all other ports of its bridge.
        up: false,
        queues: Some(1),
        ..Veth::new(host_name, peer)
    };
    let mut messages = vec![link::add_veth(&veth)?];
    messages.extend(port(interface, *host_index)?);
    messages.push(link::set_up(*host_index)?);
    for &host_address in &interface.host_addresses {
        messages.push(address::add(*host_index, host_address.into())?);
    }
    Ok(messages)
}

/// The settings of an interface's host end as the port of a bridge, if any are not the usual ones.
///
/// # Errors
/// The hardware address is none.
pub fn port(interface: &Interface, index: u32) -> Result<Vec<Message<'static>>> {
    let mut messages = Vec::new();
    if interface.kind != NetworkKind::Bridge {
        return Ok(messages);
    }
    let set = |on: bool| on.then_some(true);
    let settings = Port {
        // A container that reaches its own published port gets back what it has sent.
        hairpin: set(interface.hairpin || !interface.ports.is_empty()),
        isolated: set(interface.isolated),
        locked: set(interface.locked),
        learning: interface.locked.then_some(false),
        ..Port::default()
    };
    if settings != Port::default() {
        messages.push(link::set_port(index, &settings)?);
    }
    if let (true, Some(mac)) = (interface.locked, &interface.mac) {
        messages.push(neighbour::put_behind(index, parse_mac(mac)?)?);
    }
    Ok(messages)
}

/// The container's part: its addresses and routes.
///
/// # Errors
/// A route's destination and its gateway are of two families.
pub fn inside(interface: &Interface) -> Result<Vec<Message<'static>>> {
    let index = interface.index;
    let mut messages = Vec::new();
    for &address in &interface.addresses {
        messages.push(address::add(index, address.into())?);
    }
    if !interface.down {
        messages.push(link::set_up(index)?);
    }
    for route in &interface.routes {
        messages.push(self::route(interface, route)?);
    }
    Ok(messages)
}

/// One route of an interface's.
///
/// # Errors
/// As for [`inside`].
pub fn route(interface: &Interface, route: &attachment::Route) -> Result<Message<'static>> {
    let &attachment::Route { to, via, mtu, segment, priority, table, scope } = route;
    if via.is_some_and(|Ip(via)| via.is_ipv4() != to.ip.is_ipv4()) {
        let via = via.map(|via| via.to_string()).unwrap_or_default();
        return Err(Error::invalid(format_args!("route to {to} via {via}: these are of two families")));
    }
    let gateway = via.map(|Ip(ip)| ip);
    // A gateway outside the interface's own networks is on the link nevertheless.
    let is_known = |ip| interface.addresses.iter().any(|address| address.contains(ip));
    let onlink = gateway.is_some_and(|ip| !is_known(ip));
    Ok(netlink_route::add(&Route {
        index: Some(interface.index),
        gateway,
        onlink,
        priority,
        table: table.unwrap_or(netlink_route::MAIN_TABLE),
        scope: scope.and_then(|scope| u8::try_from(scope).ok()),
        metrics: Metrics { mtu, segment, ..Metrics::default() },
        ..Route::to(to.network().into())
    })?)
}

fn over(interface: &Interface, parent: u32) -> Result<Kind> {
    let mode = interface.mode.as_deref();
    let unknown = |modes: &str| {
        let (name, mode) = (&interface.name, mode.unwrap_or_default());
        Error::invalid(format_args!("interface {name}: mode {mode:?}: must be one of {modes}"))
    };
    Ok(match interface.kind {
        NetworkKind::Ipvlan => {
            let mode = match mode {
                None | Some("l2") => IpvlanMode::L2,
                Some("l3") => IpvlanMode::L3,
                Some("l3s") => IpvlanMode::L3s,
                Some(_) => return Err(unknown("l2, l3, l3s")),
            };
            Kind::Ipvlan { parent, mode, between: IpvlanBetween::default() }
        }
        _ => {
            let mode = match mode {
                None | Some("bridge") => MacvlanMode::Bridge,
                Some("vepa") => MacvlanMode::Vepa,
                Some("private") => MacvlanMode::Private,
                Some("passthru") => MacvlanMode::Passthru,
                Some(_) => return Err(unknown("bridge, vepa, private, passthru")),
            };
            Kind::Macvlan { parent, mode }
        }
    })
}

/// Checks a link's largest packet.
///
/// # Errors
/// It is none that a link can have; `field` is named.
pub fn check_mtu(field: &str, mtu: u32) -> Result<u32> {
    if MTUS.contains(&mtu) {
        return Ok(mtu);
    }
    let (least, most) = (MTUS.start(), MTUS.end());
    Err(Error::invalid(format_args!("{field}: {mtu} bytes: must be from {least} to {most}")))
}

/// Checks the name of a link: 1 to 15 bytes, none of them `/`, `:` or white space, and neither `.` nor `..`
/// (net/core/dev.c, `dev_valid_name`).
///
/// # Errors
/// It is none that a link can have; `field` is named.
pub fn check_name<'n>(field: &str, name: &'n str) -> Result<&'n str> {
    let is_wrong =
        |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace() || byte == 0 || byte == 11;
    let why = if !(1..=15).contains(&name.len()) {
        "must have 1 to 15 bytes"
    } else if matches!(name, "." | "..") || name.bytes().any(is_wrong) {
        "must have no slash, colon or white space, nor be . or .."
    } else if name.contains('%') {
        "must have no %, which the kernel takes for a number to choose"
    } else {
        return Ok(name);
    };
    Err(Error::invalid(format_args!("{field}: {name:?} cannot be a link's name: it {why}")))
}

/// Reads a hardware address: `02:00:0a:58:00:05`.
///
/// # Errors
/// It is none, or one of several receivers.
pub fn parse_mac(text: &str) -> Result<MacAddress> {
    let mut address = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut address {
        let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
        *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(|| wrong_mac(text))?;
    }
    if parts.next().is_some() || address[0] & 1 == 1 || address == [0; 6] {
        return Err(wrong_mac(text));
    }
    Ok(address)
}

fn wrong_mac(text: &str) -> Error {
    Error::invalid(format_args!(
        "hardware address {text:?}: must be six bytes like 02:00:0a:58:00:05, of which the first is even"
    ))
}

/// A hardware address as text.
pub fn mac_text(address: MacAddress) -> String {
    let bytes: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// The hardware address that belongs to a container's IP address: the next container with that IP address has
/// the same one, so that no neighbour remembers a wrong one.
pub fn mac_of_address(ip: IpAddr) -> MacAddress {
    let [a, b, c, d] = match ip {
        IpAddr::V4(ip) => Ipv4Addr::octets(&ip),
        IpAddr::V6(ip) => (hash(&ip.octets()) as u32).to_be_bytes(),
    };
    [0x02, 0x50, a, b, c, d]
}

/// The hardware address of a pair's host end. It is higher than all others: a bridge without one of its own
/// takes the lowest of its ports'.
pub fn mac_of_host_end(name: &str) -> MacAddress {
    let [a, b, c, d, ..] = hash(name.as_bytes()).to_be_bytes();
    [0xfe, 0x50, a, b, c, d]
}

/// The hardware address of a bridge of that name, if it is made here.
pub fn mac_of_name(name: &str) -> MacAddress {
    let [a, b, c, d, ..] = hash(name.as_bytes()).to_be_bytes();
    [0x02, 0x62, a, b, c, d]
}

/// The name of a pair's host end: 15 bytes from what is unique on the host, the attachment's key and the
/// interface's name. `attempt` leads to another one.
pub fn host_name(key: &str, interface: &str, attempt: u32) -> String {
    let hash = hash(format!("{key}:{interface}:{attempt}").as_bytes());
    format!("veth{:011x}", hash >> 20)
}

/// Whether a name is one of [`host_name`]'s.
pub fn is_host_name(name: &str) -> bool {
    has_digits(name, "veth", 11)
}

/// What the names of links begin with that were cut off, but are not deleted yet.
const REMAINS: &str = "gone-";

/// The new name of a pair that is cut off and whose host end had that name.
pub fn name_of_remains(host_name: &str) -> String {
    format!("{REMAINS}{:010x}", hash(host_name.as_bytes()) >> 24)
}

/// Whether it is such a name.
pub fn is_of_remains(name: &str) -> bool {
    has_digits(name, REMAINS, 10)
}

/// Whether a name is `prefix` and so many hexadecimal digits.
fn has_digits(name: &str, prefix: &str, count: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.strip_prefix(prefix).is_some_and(|digits| digits.len() == count && digits.bytes().all(is_digit))
}

/// An index for a link that nobody else has yet, most likely: those that the kernel gives out itself begin at
/// 1. `attempt` leads to another one.
pub fn choose_index(key: &str, interface: &str, attempt: u32) -> u32 {
    /// Far from what the kernel gives out, and below 2³¹.
    const FIRST: u32 = 1 << 24;
    let hash = hash(format!("{key}:{interface}:{attempt}").as_bytes());
    FIRST + (hash >> 32) as u32 % ((1 << 30) - FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_refuse_are_refused_with_the_field() {
        for good in ["eth0", "a", "x.y-z_0", "123456789012345"] {
            assert_eq!(check_name("name", good).unwrap(), good);
        }
        for wrong in ["", "1234567890123456", "a/b", "a b", "a:b", ".", "..", "eth%d", "a\n"] {
            let error = check_name("interfaces[0].name", wrong).expect_err(wrong).to_string();
            assert!(
                error.starts_with("interfaces[0].name: ") && error.contains(&format!("{wrong:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn hardware_addresses_are_read_and_written() {
        assert_eq!(parse_mac("02:00:0a:58:00:05").unwrap(), [2, 0, 10, 88, 0, 5]);
        assert_eq!(mac_text([2, 0, 10, 88, 0, 5]), "02:00:0a:58:00:05");
        for wrong in [
            "",
            "02:00:0a:58:00",
            "02:00:0a:58:00:05:06",
            "01:00:0a:58:00:05",
            "2:0:a:58:0:5",
            "00:00:00:00:00:00",
            "+2:00:0a:58:00:05",
        ] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
        assert_eq!(mac_of_address(Ipv4Addr::new(10, 88, 0, 5).into()), [2, 0x50, 10, 88, 0, 5]);
    }

    #[test]
    fn names_and_indices_are_their_owners_own() {
        let name = host_name("0123-web", "eth0", 0);
        assert_eq!(name.len(), 15);
        assert!(check_name("name", &name).is_ok() && is_host_name(&name));
        assert!(!["veth0", "eth1", "vethABCDEF01234", ""].into_iter().any(is_host_name));
        assert_ne!(name, host_name("0123-web", "eth1", 0));
        assert_ne!(name, host_name("0123-web", "eth0", 1));
        let index = choose_index("0123-web", "eth0", 0);
        assert!((1 << 24..1 << 30).contains(&index));
        assert_ne!(index, choose_index("0123-web", "eth0", 1));
    }
}
