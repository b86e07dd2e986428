//! Routes of the main table. Source: rtnetlink(7).

use std::net::IpAddr;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{RtScope, RtTable, Rta, Rtm, Rtn, Rtprot};
use neli::rtnl::RtmsgBuilder;

use super::address::{Address, family, width};
use crate::error::{Error, Result};
use crate::message::{Attributes, Message, unencodable};

/// A unicast route to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network that it leads to; prefix 0 is the default route. Bits after the prefix must be 0.
    pub destination: Address,
    /// The next hop; without one the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The link's index; without one the kernel chooses the link that reaches the gateway.
    pub index: Option<u32>,
}

/// Adds a route to the main table.
///
/// # Errors
/// The prefix is longer than the address, the families differ, or neither gateway nor link is given.
pub fn add(route: Route) -> Result<Message<'static>> {
    let Route { destination: Address { ip, prefix }, gateway, index } = route;
    check(&route)?;
    let mut attributes = Attributes::default();
    if prefix > 0 {
        attributes.push_ip(Rta::Dst, ip)?;
    }
    if let Some(gateway) = gateway {
        attributes.push_ip(Rta::Gateway, gateway)?;
    }
    if let Some(index) = index {
        attributes.push_u32(Rta::Oif, index)?;
    }
    let fixed = RtmsgBuilder::default()
        .rtm_family(family(ip))
        .rtm_dst_len(prefix)
        .rtm_src_len(0)
        .rtm_tos(0)
        .rtm_table(RtTable::Main)
        .rtm_protocol(Rtprot::Static)
        .rtm_scope(if gateway.is_some() { RtScope::Universe } else { RtScope::Link })
        .rtm_type(Rtn::Unicast)
        .build()
        .map_err(|_| unencodable("route message"))?;
    let via = gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    let what = format!("add route to {ip}/{prefix}{via}");
    Message::new(Rtm::Newroute, NlmF::CREATE | NlmF::EXCL, what, &fixed, &attributes)
}

fn check(route: &Route) -> Result<()> {
    let Route { destination: Address { ip, prefix }, gateway, index } = *route;
    let width = width(ip);
    let wrong = if prefix > width {
        format!("the prefix must be at most {width}")
    } else if gateway.is_some_and(|gateway| gateway.is_ipv4() != ip.is_ipv4()) {
        "gateway and destination must be of one family".to_string()
    } else if gateway.is_none() && index.is_none() {
        "it needs a gateway or a link".to_string()
    } else {
        return Ok(());
    };
    Err(Error::Invalid(format!("route to {ip}/{prefix}: {wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_cannot_be_are_refused() {
        let destination = Address { ip: "10.0.0.0".parse().unwrap(), prefix: 8 };
        let good = Route { destination, gateway: None, index: Some(1) };
        assert!(add(good).is_ok());
        let other_family = Some("fe80::1".parse().unwrap());
        let bad = [
            Route { gateway: other_family, ..good },
            Route { index: None, ..good },
            Route { destination: Address { prefix: 33, ..destination }, ..good },
        ];
        for route in bad {
            assert!(matches!(add(route), Err(Error::Invalid(_))), "{route:?}");
        }
    }
}
