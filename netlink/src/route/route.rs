//! Routes. Sources: rtnetlink(7), linux/rtnetlink.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{RtAddrFamily, RtScope, Rta, Rtm};

use super::address::{Address, check as check_prefix, family, read_ip};
use super::hop::{self, NextHop, ONLINK};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::field::{Inside, Name, Names};
use crate::message::Message;
use crate::reply::{self, Reply, u32_at};
use crate::socket::Socket;

/// `sizeof(struct rtmsg)`.
const RTMSG: usize = 12;

/// The main routing table: `RT_TABLE_MAIN`.
pub const MAIN_TABLE: u32 = 254;

/// The table of this machine's own addresses, which is asked first: `RT_TABLE_LOCAL`.
pub const LOCAL_TABLE: u32 = 255;

/// `RTAX_` (linux/rtnetlink.h): path MTU, window in bytes, largest TCP segment, default hop limit.
const METRICS: [u16; 4] = [2, 3, 8, 10];

/// What the attributes of a route message are called.
const NAMES: Names = &[
    Name(1, "destination", Inside::Value),
    Name(4, "link", Inside::Value),
    Name(5, "gateway", Inside::Value),
    Name(6, "priority", Inside::Value),
    Name(7, "source", Inside::Value),
    Name(8, "metrics", Inside::Nest(&[])),
    Name(9, "next hops", Inside::Value),
    Name(15, "table", Inside::Value),
];

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The network that it leads to; prefix 0 is the default route. Bits after the prefix must be 0.
    pub destination: Address,
    /// The next hop; without one the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The link's index; without one the kernel chooses the link that reaches the gateway.
    pub index: Option<u32>,
    /// The gateway is on the link, even if no route says so.
    pub onlink: bool,
    /// What becomes of packets.
    pub kind: RouteKind,
    /// The address that packets are sent from, where the sender has none yet.
    pub source: Option<IpAddr>,
    /// Among routes to one destination the lowest wins; without one: 0, with IPv6 1024.
    pub priority: Option<u32>,
    /// The routing table.
    pub table: u32,
    /// Its origin (`RTPROT_`, linux/rtnetlink.h): 2 the kernel, 3 at boot, 4 by hand, 16 DHCP.
    pub protocol: u8,
    /// How far away the destination is; without one it follows from kind and gateway.
    pub scope: Option<u8>,
    /// What is known of the way.
    pub metrics: Metrics,
    /// Several ways, instead of `gateway` and `index`.
    pub hops: Vec<NextHop>,
}

/// What becomes of packets on a route (`RTN_`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// They go there.
    Unicast,
    /// They are for this machine.
    Local,
    /// They are dropped; a local sender gets EINVAL.
    Blackhole,
    /// They are refused: host unreachable.
    Unreachable,
    /// They are refused: administratively prohibited.
    Prohibit,
    /// The lookup goes on in the next table that a rule names.
    Throw,
    /// Another kind: `broadcast` and others that the kernel makes by itself.
    Other(u8),
}

/// What is known of a way; `None`: the link's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
    /// Largest TCP window in bytes.
    pub window: Option<u32>,
    /// Largest TCP segment in bytes, as it is announced to the other side.
    pub segment: Option<u32>,
    /// The hop limit (TTL) of what is sent.
    pub hop_limit: Option<u32>,
}

impl Route {
    /// A unicast route of the main table, to which a gateway or a link is to be added.
    pub const fn to(destination: Address) -> Self {
        Route {
            destination,
            gateway: None,
            index: None,
            onlink: false,
            kind: RouteKind::Unicast,
            source: None,
            priority: None,
            table: MAIN_TABLE,
            protocol: 4,
            scope: None,
            metrics: Metrics { mtu: None, window: None, segment: None, hop_limit: None },
            hops: Vec::new(),
        }
    }

    /// The default route by way of `gateway`, of its family.
    pub fn default_via(gateway: IpAddr) -> Self {
        let ip = match gateway {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Route { gateway: Some(gateway), ..Route::to(Address { ip, prefix: 0 }) }
    }
}

/// Adds a route.
///
/// # Errors
/// The prefix is longer than the address, the families differ, or neither gateway nor link is given.
pub fn add(route: &Route) -> Result<Message<'static>> {
    message(Rtm::Newroute, NlmF::CREATE | NlmF::EXCL, "add", route)
}

/// Adds a route, or puts it in the place of that with the same destination, priority and table.
///
/// # Errors
/// As [`add`].
pub fn replace(route: &Route) -> Result<Message<'static>> {
    message(Rtm::Newroute, NlmF::CREATE | NlmF::REPLACE, "replace", route)
}

/// Deletes a route.
///
/// # Errors
/// As [`add`].
pub fn delete(route: &Route) -> Result<Message<'static>> {
    message(Rtm::Delroute, NlmF::empty(), "delete", route)
}

/// All routes of the socket's namespace, of all tables and both families, without the cloned ones (exceptions
/// that the kernel caches).
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket) -> Result<Vec<Route>> {
    let mut fixed = [0; RTMSG];
    fixed[0] = RtAddrFamily::Unspecified.into();
    let none = Attributes::default();
    let what = "list routes".to_string();
    let question = Message::new(Rtm::Getroute, NlmF::DUMP, what, &fixed, &none, NAMES)?;
    socket.ask(&question, read_route)
}

fn message(kind: Rtm, flags: NlmF, verb: &str, route: &Route) -> Result<Message<'static>> {
    check(route)?;
    let Route { destination: Address { ip, prefix }, gateway, index, source, priority, table, .. } = *route;
    let mut attributes = Attributes::default();
    if prefix > 0 {
        attributes.push_ip(Rta::Dst, ip);
    }
    if let Some(gateway) = gateway {
        attributes.push_ip(Rta::Gateway, gateway);
    }
    if let Some(index) = index {
        attributes.push_u32(Rta::Oif, index);
    }
    if let Some(source) = source {
        attributes.push_ip(Rta::Prefsrc, source);
    }
    if let Some(priority) = priority {
        attributes.push_u32(Rta::Priority, priority);
    }
    if table > u32::from(u8::MAX) {
        attributes.push_u32(Rta::Table, table);
    }
    push_metrics(&mut attributes, &route.metrics);
    if !route.hops.is_empty() {
        attributes.push(Rta::Multipath, &hop::encode(&route.hops)?);
    }
    let via = gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    let what = format!("{verb} route to {ip}/{prefix}{via}");
    Message::new(kind, flags, what, &fixed_part(route), &attributes, NAMES)
}

/// `struct rtmsg`; neli's knows no `RTNH_F_` flags.
fn fixed_part(route: &Route) -> [u8; RTMSG] {
    let Route { destination: Address { ip, prefix }, table, protocol, kind, .. } = *route;
    let scope = route.scope.unwrap_or_else(|| default_scope(route).into());
    // Higher numbers stand in an attribute.
    let table = u8::try_from(table).unwrap_or(0);
    let [a, b, c, d] = u32::from(if route.onlink { ONLINK } else { 0 }).to_ne_bytes();
    [family(ip).into(), prefix, 0, 0, table, protocol, scope, number(kind), a, b, c, d]
}

/// As ip(8) does it; IPv6 has no scopes.
fn default_scope(route: &Route) -> RtScope {
    let on_link = route.gateway.is_none() && route.hops.is_empty();
    match route.kind {
        RouteKind::Local if route.destination.ip.is_ipv4() => RtScope::Host,
        RouteKind::Unicast if on_link => RtScope::Link,
        _ => RtScope::Universe,
    }
}

fn push_metrics(attributes: &mut Attributes, metrics: &Metrics) {
    let Metrics { mtu, window, segment, hop_limit } = *metrics;
    let mut nest = Attributes::default();
    for (kind, value) in METRICS.into_iter().zip([mtu, window, segment, hop_limit]) {
        if let Some(value) = value {
            nest.push_u32(kind, value);
        }
    }
    if !nest.0.is_empty() {
        attributes.nest(Rta::Metrics, &nest);
    }
}

fn check(route: &Route) -> Result<()> {
    let Route { destination: Address { ip, prefix }, gateway, index, source, .. } = *route;
    check_prefix("route to", route.destination)?;
    let other_family = |other: IpAddr| other.is_ipv4() != ip.is_ipv4();
    let leads_nowhere = gateway.is_none() && index.is_none() && route.hops.is_empty();
    let wrong = if gateway.is_some_and(other_family)
        || route.hops.iter().any(|hop| hop.gateway.is_some_and(other_family))
    {
        "gateway and destination must be of one family"
    } else if source.is_some_and(other_family) {
        "source and destination must be of one family"
    } else if leads_nowhere && route.kind == RouteKind::Unicast {
        "it needs a gateway or a link"
    } else if !route.hops.is_empty() && (gateway.is_some() || index.is_some()) {
        "it has several next hops, and one beside them"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format_args!("route to {ip}/{prefix}: {wrong}")))
}

pub(crate) fn read_route(reply: &Reply<'_>) -> Result<Option<Route>> {
    const CLONED: u32 = 0x200;
    if reply.kind != u16::from(Rtm::Newroute) {
        return Ok(None);
    }
    let attributes = reply::Attributes::after(RTMSG, reply.body)?;
    let &[family, prefix, _, _, table, protocol, scope, kind, ..] = reply.body else {
        return Err(Error::malformed("a route message is shorter than its fixed part"));
    };
    let flags = u32_at(reply.body, 8).unwrap_or(0);
    let ip: IpAddr = match RtAddrFamily::from(family) {
        RtAddrFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        RtAddrFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Ok(None),
    };
    let mut route = Route {
        onlink: flags & u32::from(ONLINK) != 0,
        kind: kind_of(kind),
        table: table.into(),
        protocol,
        scope: Some(scope),
        ..Route::to(Address { ip, prefix })
    };
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match Rta::from(kind) {
            Rta::Dst => route.destination.ip = read_ip(payload).unwrap_or(ip),
            Rta::Gateway => route.gateway = read_ip(payload),
            Rta::Oif => route.index = u32_at(payload, 0),
            Rta::Prefsrc => route.source = read_ip(payload),
            Rta::Priority => route.priority = u32_at(payload, 0),
            Rta::Table => route.table = u32_at(payload, 0).unwrap_or(route.table),
            Rta::Metrics => route.metrics = read_metrics(payload)?,
            Rta::Multipath => route.hops = hop::read(payload)?,
            _ => {}
        }
    }
    Ok((flags & CLONED == 0).then_some(route))
}

fn read_metrics(payload: &[u8]) -> Result<Metrics> {
    let mut values = [None; METRICS.len()];
    for (value, kind) in values.iter_mut().zip(METRICS) {
        *value = reply::find(payload, kind)?.and_then(|payload| u32_at(payload, 0));
    }
    let [mtu, window, segment, hop_limit] = values;
    Ok(Metrics { mtu, window, segment, hop_limit })
}

const KINDS: [(RouteKind, u8); 6] = [
    (RouteKind::Unicast, 1),
    (RouteKind::Local, 2),
    (RouteKind::Blackhole, 6),
    (RouteKind::Unreachable, 7),
    (RouteKind::Prohibit, 8),
    (RouteKind::Throw, 9),
];

fn number(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Other(number) => number,
        named => KINDS.iter().find(|(known, _)| *known == named).map_or(1, |(_, number)| *number),
    }
}

fn kind_of(number: u8) -> RouteKind {
    KINDS.iter().find(|(_, known)| *known == number).map_or(RouteKind::Other(number), |(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    #[test]
    fn routes_that_cannot_be_are_refused() {
        let destination = Address { ip: "10.0.0.0".parse().unwrap(), prefix: 8 };
        let good = Route { index: Some(1), ..Route::to(destination) };
        assert!(add(&good).is_ok());
        let other_family = Some("fe80::1".parse().unwrap());
        let hop = NextHop { gateway: None, index: 1, weight: 0, onlink: false };
        let bad = [
            Route { gateway: other_family, ..good.clone() },
            Route { source: other_family, ..good.clone() },
            Route { index: None, ..good.clone() },
            Route { destination: Address { prefix: 33, ..destination }, ..good.clone() },
            Route { hops: vec![NextHop { weight: 1, ..hop }], ..good.clone() },
            Route { hops: vec![hop], index: None, ..good.clone() },
        ];
        for route in bad {
            assert!(
                matches!(add(&route), Err(error) if matches!(error.cause(), Cause::Invalid(_))),
                "{route:?}"
            );
        }
    }
}
