//! Values in registers, keys and maps, and what nft(8) calls their types (nftables, include/datatype.h). The
//! kernel only counts their bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::route::link::MacAddress;

/// Parts of a concatenation begin at multiples of a register's four bytes.
const ALIGNMENT: usize = 4;

/// How many bits of a concatenation's type belong to each part (nftables, `TYPE_BITS`).
const TYPE_BITS: u32 = 6;

/// The type of a key or of a map's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// An IPv4 address.
    Ipv4Address,
    /// An IPv6 address.
    Ipv6Address,
    /// A hardware address.
    MacAddress,
    /// A protocol over IP, one byte: 6 TCP, 17 UDP, 132 SCTP.
    Protocol,
    /// A port of TCP, UDP or SCTP.
    Port,
    /// A packet's mark.
    Mark,
    /// A link's index.
    LinkIndex,
    /// A link's name.
    LinkName,
    /// Another type.
    Other {
        /// Its number with nft(8); only listings show it.
        number: u32,
        /// Its length in bytes.
        length: usize,
    },
}

/// Type, number, length in bytes, and whether its bytes are the machine's numbers rather than in network
/// order.
const TYPES: [(DataType, u32, usize, bool); 8] = [
    (DataType::Ipv4Address, 7, 4, false),
    (DataType::Ipv6Address, 8, 16, false),
    (DataType::MacAddress, 9, 6, false),
    (DataType::Protocol, 12, 1, false),
    (DataType::Port, 13, 2, false),
    (DataType::Mark, 19, 4, true),
    (DataType::LinkIndex, 20, 4, true),
    (DataType::LinkName, 41, 16, true),
];

impl DataType {
    fn entry(self) -> (u32, usize, bool) {
        if let DataType::Other { number, length } = self {
            return (number, length, false);
        }
        let entry = TYPES.iter().find(|(known, ..)| *known == self);
        entry.map_or((0, 0, false), |&(_, number, length, host)| (number, length, host))
    }

    /// Its length in bytes.
    pub fn length(self) -> usize {
        self.entry().1
    }

    pub(super) fn is_host_order(self) -> bool {
        self.entry().2
    }
}

/// The number and the length in bytes of types in a row.
pub(super) fn describe(types: &[DataType]) -> (u32, usize) {
    match types {
        [single] => (single.entry().0, single.length()),
        several => several.iter().fold((0, 0), |(number, length), part| {
            (number << TYPE_BITS | part.entry().0, length + part.length().next_multiple_of(ALIGNMENT))
        }),
    }
}

/// The types that have that number, if they have that length too; else one type of just those.
pub(super) fn types_of(number: u32, length: usize) -> Vec<DataType> {
    let mut parts = Vec::new();
    let mut rest = number;
    while rest != 0 {
        let part = rest & ((1 << TYPE_BITS) - 1);
        let known = TYPES.iter().find(|(_, known, ..)| *known == part);
        parts.insert(0, known.map_or(DataType::Other { number: part, length: 0 }, |&(known, ..)| known));
        rest >>= TYPE_BITS;
    }
    if parts.iter().all(|part| part.length() > 0) && describe(&parts).1 == length && !parts.is_empty() {
        return parts;
    }
    vec![DataType::Other { number, length }]
}

/// A value, as it stands in a register.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub Vec<u8>);

impl Value {
    /// A port.
    pub fn port(port: u16) -> Self {
        Value(port.to_be_bytes().to_vec())
    }

    /// A protocol over IP: 6 TCP, 17 UDP, 132 SCTP.
    pub fn protocol(number: u8) -> Self {
        Value(vec![number])
    }

    /// A number as the machine has it: a mark, a link's index, the state of a connection.
    pub fn number(number: u32) -> Self {
        Value(number.to_ne_bytes().to_vec())
    }

    /// A link's name, filled up with NULs; bytes behind the fifteenth are left out, as no link has them.
    pub fn interface(name: &str) -> Self {
        let mut bytes = vec![0; 16];
        let length = name.len().min(15);
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Value(bytes)
    }

    /// Text with its NUL, and no more bytes: so iptables(8) compares links' names. Older ones (1.8.7) don't
    /// find a rule again that compares more.
    pub fn text(text: &str) -> Self {
        Value([text.as_bytes(), &[0]].concat())
    }

    /// A concatenation: this and behind it another one.
    pub fn and(mut self, next: impl Into<Value>) -> Self {
        self.fill_up();
        self.0.extend_from_slice(&next.into().0);
        self.fill_up();
        self
    }

    fn fill_up(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }

    /// The value that follows in network byte order, if there is one.
    pub(super) fn successor(&self) -> Option<Self> {
        let mut bytes = self.0.clone();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(Value(bytes));
            }
        }
        None
    }

    /// The value before it, for one that is not 0.
    pub(super) fn predecessor(&self) -> Self {
        let mut bytes = self.0.clone();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_sub(1);
            if *byte != u8::MAX {
                break;
            }
        }
        Value(bytes)
    }

    /// The first and the last address of a network.
    pub(super) fn network(ip: IpAddr, prefix: u8) -> (Self, Self) {
        let (mut first, mut last) = (Value::from(ip), Value::from(ip));
        for (index, (low, high)) in first.0.iter_mut().zip(&mut last.0).enumerate() {
            let mask = mask_byte(prefix, index);
            *low &= mask;
            *high |= !mask;
        }
        (first, last)
    }
}

/// The byte at `index` of a netmask.
pub(super) fn mask_byte(prefix: u8, index: usize) -> u8 {
    let bits = usize::from(prefix).saturating_sub(index * 8).min(8);
    !(0xff_u16 >> bits) as u8
}

impl From<Ipv4Addr> for Value {
    fn from(ip: Ipv4Addr) -> Self {
        Value(ip.octets().to_vec())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(ip: Ipv6Addr) -> Self {
        Value(ip.octets().to_vec())
    }
}

impl From<IpAddr> for Value {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
}

impl From<MacAddress> for Value {
    fn from(address: MacAddress) -> Self {
        Value(address.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_in_a_row_have_the_numbers_that_nft_gives_them() {
        let key = [DataType::Protocol, DataType::Port];
        assert_eq!(describe(&key), (0x30d, 8));
        assert_eq!(types_of(0x30d, 8), key);
        assert_eq!(describe(&[DataType::Port]), (13, 2));
        assert_eq!(types_of(13, 2), [DataType::Port]);
        assert_eq!(types_of(13, 4), [DataType::Other { number: 13, length: 4 }]);
        assert_eq!(types_of(0, 4), [DataType::Other { number: 0, length: 4 }]);
    }

    #[test]
    fn networks_have_a_first_and_a_last_address() {
        let ip: IpAddr = "10.88.3.7".parse().unwrap();
        for (prefix, first, last) in [
            (16, [10, 88, 0, 0], [10, 88, 255, 255]),
            (30, [10, 88, 3, 4], [10, 88, 3, 7]),
            (0, [0; 4], [255; 4]),
            (32, [10, 88, 3, 7], [10, 88, 3, 7]),
        ] {
            assert_eq!(Value::network(ip, prefix), (Value(first.to_vec()), Value(last.to_vec())), "{prefix}");
        }
        assert_eq!(Value(vec![1, 255]).successor(), Some(Value(vec![2, 0])));
        assert_eq!(Value(vec![2, 0]).predecessor(), Value(vec![1, 255]));
        assert_eq!(Value(vec![255, 255]).successor(), None);
    }
}
