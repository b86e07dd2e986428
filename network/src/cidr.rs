//! Addresses with the length of their network's prefix (CIDR, RFC 4632).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pillbox_netlink::address::Address;

/// An address and the length of its network's prefix in bits. As a network its bits behind the prefix are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// The address.
    pub ip: IpAddr,
    /// At most 32 or 128.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `10.88.0.5/16`; none for anything else.
    pub fn parse(text: &str) -> Option<Cidr> {
        let (ip, prefix) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|&prefix| is_number && prefix <= bits(ip))?;
        Some(Cidr { ip, prefix })
    }

    /// The address alone: its network has no other.
    pub fn single(ip: IpAddr) -> Cidr {
        Cidr { ip, prefix: bits(ip) }
    }

    /// The network that the address is in.
    pub fn network(self) -> Cidr {
        Cidr { ip: from_number(self.ip, number(self.ip) & !self.host_mask()), prefix: self.prefix }
    }

    /// The network's last address, for IPv4 that of its broadcasts.
    pub fn last(self) -> IpAddr {
        from_number(self.ip, number(self.ip) | self.host_mask())
    }

    /// Whether an address is in the network.
    pub fn contains(self, ip: IpAddr) -> bool {
        self.ip.is_ipv4() == ip.is_ipv4() && (number(self.ip) ^ number(ip)) & !self.host_mask() == 0
    }

    /// Whether two networks have an address in common.
    pub fn overlaps(self, other: Cidr) -> bool {
        self.contains(other.ip) && self.prefix <= other.prefix
            || other.contains(self.ip) && other.prefix <= self.prefix
    }

    /// Whether a host can have the address: not the network's own, nor for IPv4 that of its broadcasts (RFC
    /// 3021: networks of two addresses or one have neither).
    pub fn is_for_hosts(self, ip: IpAddr) -> bool {
        let is_small = self.prefix + 1 >= bits(self.ip);
        let is_broadcast = ip.is_ipv4() && ip == self.last();
        self.contains(ip) && (is_small || ip != self.network().ip && !is_broadcast)
    }

    /// The first and the last address that hosts can have.
    pub fn hosts(self) -> (IpAddr, IpAddr) {
        let (first, last) = (self.network().ip, self.last());
        if self.prefix + 1 >= bits(self.ip) {
            return (first, last);
        }
        let last = if self.ip.is_ipv4() { from_number(last, number(last) - 1) } else { last };
        (from_number(first, number(first) + 1), last)
    }

    fn host_mask(self) -> u128 {
        let host_bits = u32::from(bits(self.ip) - self.prefix);
        1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1)
    }
}

/// The address that follows; the last one has none.
pub fn successor(ip: IpAddr) -> Option<IpAddr> {
    let most = if ip.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
    Some(number(ip)).filter(|&number| number < most).map(|number| from_number(ip, number + 1))
}

/// An address as a number, for comparing and counting within a family.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The address of `family`'s family with that number.
pub(crate) fn from_number(family: IpAddr, number: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl From<Address> for Cidr {
    fn from(address: Address) -> Cidr {
        Cidr { ip: address.ip, prefix: address.prefix }
    }
}

impl From<Cidr> for Address {
    fn from(cidr: Cidr) -> Address {
        Address { ip: cidr.ip, prefix: cidr.prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_an_address_and_a_prefix_is_read() {
        assert_eq!(cidr("10.88.0.5/16").to_string(), "10.88.0.5/16");
        assert_eq!(cidr("fd00::5/64").to_string(), "fd00::5/64");
        for wrong in
            ["10.88.0.5", "10.88.0.5/33", "fd00::/129", "10.88.0.5/+8", "10.88.0/16", "/16", "10.88.0.5/"]
        {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn networks_have_ends() {
        let network = cidr("10.88.3.7/16");
        assert_eq!(network.network(), cidr("10.88.0.0/16"));
        assert_eq!(network.hosts(), (ip("10.88.0.1"), ip("10.88.255.254")));
        assert_eq!(network.last(), ip("10.88.255.255"));
        assert_eq!(cidr("10.0.0.4/31").hosts(), (ip("10.0.0.4"), ip("10.0.0.5")));
        assert_eq!(cidr("10.0.0.4/32").hosts(), (ip("10.0.0.4"), ip("10.0.0.4")));
        assert_eq!(cidr("fd00::/64").hosts(), (ip("fd00::1"), ip("fd00::ffff:ffff:ffff:ffff")));
        assert_eq!(cidr("0.0.0.0/0").last(), ip("255.255.255.255"));
        assert_eq!(cidr("::/0").last(), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(successor(ip("10.88.0.255")), Some(ip("10.88.1.0")));
        assert_eq!(successor(ip("255.255.255.255")), None);
    }

    #[test]
    fn what_hosts_can_have() {
        let network = cidr("10.88.0.0/24");
        for (address, expected) in [
            ("10.88.0.0", false),
            ("10.88.0.1", true),
            ("10.88.0.255", false),
            ("10.88.1.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(network.is_for_hosts(ip(address)), expected, "{address}");
        }
        assert!(cidr("10.0.0.4/31").is_for_hosts(ip("10.0.0.4")));
        assert!(cidr("fd00::/64").is_for_hosts(ip("fd00::ffff:ffff:ffff:ffff")));
        assert!(!cidr("fd00::/64").is_for_hosts(ip("fd00::")));
    }

    #[test]
    fn networks_overlap_where_one_is_in_the_other() {
        for (one, other, expected) in [
            ("10.88.0.0/16", "10.88.3.0/24", true),
            ("10.88.0.0/24", "10.88.1.0/24", false),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("fd00::/64", "10.0.0.0/8", false),
            ("10.88.0.0/16", "10.88.0.0/16", true),
        ] {
            assert_eq!(cidr(one).overlaps(cidr(other)), expected, "{one} {other}");
            assert_eq!(cidr(other).overlaps(cidr(one)), expected, "{other} {one}");
        }
    }
}
