//! The several ways of one route. Source: linux/rtnetlink.h, `struct rtnexthop`.

use std::net::IpAddr;

use neli::consts::rtnl::Rta;

use super::address::read_ip;
use crate::attribute::{Attributes, unencodable};
use crate::error::{Error, Result};
use crate::reply::{self, u16_at, u32_at};

/// `RTNH_F_ONLINK`.
pub(super) const ONLINK: u8 = 4;

/// `sizeof(struct rtnexthop)`: length, flags, weight, index.
const NEXT_HOP: usize = 8;

/// One of several ways of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The link's index.
    pub index: u32,
    /// Its share, 1 to 256.
    pub weight: u16,
    /// The gateway is on the link, even if no route says so.
    pub onlink: bool,
}

pub(super) fn encode(hops: &[NextHop]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for &NextHop { gateway, index, weight, onlink } in hops {
        let mut attributes = Attributes::default();
        if let Some(gateway) = gateway {
            attributes.push_ip(Rta::Gateway, gateway);
        }
        let less_one = u8::try_from(weight.wrapping_sub(1))
            .map_err(|_| Error::invalid(format_args!("next hop: weight {weight} must be 1 to 256")))?;
        let length = u16::try_from(NEXT_HOP + attributes.0.len()).map_err(|_| unencodable("next hop"))?;
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&[if onlink { ONLINK } else { 0 }, less_one]);
        bytes.extend_from_slice(&index.to_ne_bytes());
        bytes.extend_from_slice(attributes.checked()?);
    }
    Ok(bytes)
}

pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<NextHop>> {
    let mut hops = Vec::new();
    while !bytes.is_empty() {
        let wrong = Error::malformed("a next hop's length exceeds its route");
        let Some(length) = u16_at(bytes, 0).map(usize::from) else { return Err(wrong) };
        let Some(&[_, _, flags, less_one, ..]) = bytes.get(..length) else { return Err(wrong) };
        let attributes = reply::Attributes::after(NEXT_HOP, &bytes[..length])?;
        let gateway = reply::find(attributes.0, Rta::Gateway)?.and_then(read_ip);
        hops.push(NextHop {
            gateway,
            index: u32_at(bytes, 4).unwrap_or(0),
            weight: u16::from(less_one) + 1,
            onlink: flags & ONLINK != 0,
        });
        bytes = bytes.get(reply::align(length)..).unwrap_or_default();
    }
    Ok(hops)
}
