//! What expressions can be told to look at, by its number (linux/netfilter/nf_tables.h).

/// An enum of numbers that the kernel knows more of.
macro_rules! numbered {
    ($(#[$attribute:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// Another one, by its number.
            Other(u32),
        }

        impl $name {
            pub(super) fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            pub(super) fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

numbered! {
    /// What is known of a packet beside its bytes (`NFT_META_`). Numbers of 32 bits are the machine's.
    MetaKey {
        /// Its length in bytes, 32 bits.
        Length = 0,
        /// The protocol of its frame, 16 bits in network byte order: 0x0800 IPv4.
        Protocol = 1,
        /// Its mark, 32 bits.
        Mark = 3,
        /// The index of the link that it came in by, 32 bits.
        IncomingIndex = 4,
        /// The index of the link that it goes out by, 32 bits.
        OutgoingIndex = 5,
        /// The name of the link that it came in by, 16 bytes.
        IncomingName = 6,
        /// The name of the link that it goes out by, 16 bytes.
        OutgoingName = 7,
        /// The type of the link that it came in by, 16 bits of the machine's (`ARPHRD_`): 1 Ethernet.
        IncomingType = 8,
        /// The user id of the socket that sends it, 32 bits.
        User = 10,
        /// The group id of the socket that sends it, 32 bits.
        Group = 11,
        /// One byte: 2 IPv4, 10 IPv6.
        Family = 15,
        /// The protocol over IP, one byte: 6 TCP, 17 UDP.
        TransportProtocol = 16,
        /// The receiver, one byte: 0 this machine, 1 everybody, 2 several, 3 another machine.
        PacketType = 19,
        /// The cgroup's number of the socket that sends it, 32 bits.
        Cgroup = 23,
    }
}

numbered! {
    /// What is known of a packet's connection (`NFT_CT_`). Numbers of 32 bits are the machine's.
    ConnectionKey {
        /// What the packet is to it, 32 bits: [`connection`](crate::nft::connection).
        State = 0,
        /// 0 from the side that began it, 1 back; one byte.
        Direction = 1,
        /// What has become of it, 32 bits: [`connection`](crate::nft::connection).
        Status = 2,
        /// Its mark, 32 bits.
        Mark = 3,
        /// The source's address, in one [`Direction`].
        Source = 8,
        /// The destination's address, in one [`Direction`].
        Destination = 9,
        /// The protocol over IP, one byte.
        Protocol = 10,
        /// The source's port, in one [`Direction`].
        SourcePort = 11,
        /// The destination's port, in one [`Direction`].
        DestinationPort = 12,
        /// Its zone, 16 bits.
        Zone = 17,
        /// The source's IPv4 address, in one [`Direction`].
        SourceIpv4 = 19,
        /// The destination's IPv4 address, in one [`Direction`].
        DestinationIpv4 = 20,
        /// The source's IPv6 address, in one [`Direction`].
        SourceIpv6 = 21,
        /// The destination's IPv6 address, in one [`Direction`].
        DestinationIpv6 = 22,
    }
}

numbered! {
    /// What the routing tables are asked for (`NFT_FIB_RESULT_`).
    FibResult {
        /// The index of the link, 32 bits of the machine's.
        LinkIndex = 1,
        /// The name of the link, 16 bytes.
        LinkName = 2,
        /// The kind of the address, 32 bits of the machine's (`RTN_`): 1 another machine's, 2 this one's.
        AddressKind = 3,
    }
}

numbered! {
    /// Where in a packet an offset begins (`NFT_PAYLOAD_`).
    PayloadBase {
        /// At its Ethernet header.
        Link = 0,
        /// At its IP header.
        Network = 1,
        /// At its TCP, UDP or SCTP header.
        Transport = 2,
        /// Behind that.
        Inner = 3,
    }
}

numbered! {
    /// How a register is compared (`NFT_CMP_`).
    Comparison {
        /// Equal.
        Equal = 0,
        /// Not equal.
        NotEqual = 1,
        /// Less, byte by byte.
        Less = 2,
        /// Less or equal, byte by byte.
        LessOrEqual = 3,
        /// Greater, byte by byte.
        Greater = 4,
        /// Greater or equal, byte by byte.
        GreaterOrEqual = 5,
    }
}

numbered! {
    /// Which address is translated (`NFT_NAT_`).
    NatKind {
        /// The source.
        Source = 0,
        /// The destination.
        Destination = 1,
    }
}

/// The direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// As it began.
    Original = 0,
    /// Back.
    Reply = 1,
}

/// A register: where values lie between expressions. There are sixteen of four bytes; longer values take
/// several in a row. (nft(8) counts them by sixteen bytes: its 1 to 4 are 0, 4, 8 and 12 here, its 9 is 1.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u8);

impl Register {
    /// The first.
    pub const FIRST: Register = Register(0);

    /// The one with that number, 0 to 15.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 16 { Some(Register(number)) } else { None }
    }

    /// The one `bytes` behind this one: where a concatenation goes on.
    pub const fn behind(self, bytes: usize) -> Option<Self> {
        let next = self.0 as usize + bytes.div_ceil(4);
        if next < 16 { Some(Register(next as u8)) } else { None }
    }

    /// `NFT_REG_1` to `NFT_REG_4` where it is one of them, else `NFT_REG32_00` and on, as the kernel lists
    /// them.
    pub(super) fn number(self) -> u32 {
        let index = u32::from(self.0);
        if index.is_multiple_of(4) { index / 4 + 1 } else { index + 8 }
    }

    pub(super) fn from_number(number: u32) -> Option<Self> {
        let index = match number {
            1..=4 => (number - 1) * 4,
            8..=23 => number - 8,
            _ => return None,
        };
        Register::new(u8::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_the_numbers_that_the_kernel_lists() {
        for number in 0..16 {
            let register = Register::new(number).unwrap();
            assert_eq!(Register::from_number(register.number()), Some(register));
        }
        assert_eq!(Register::FIRST.number(), 1);
        assert_eq!(Register::FIRST.behind(1).unwrap().number(), 9);
        assert_eq!(Register::FIRST.behind(16).unwrap().number(), 2);
        assert_eq!(Register::from_number(8), Some(Register::FIRST));
        assert_eq!(Register::FIRST.behind(64), None);
        assert_eq!((Register::from_number(0), Register::from_number(24)), (None, None));
    }
}
