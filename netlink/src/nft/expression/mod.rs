//! Expressions: what rules are made of. Source: linux/netfilter/nf_tables.h, `enum nft_…_attributes`.

mod key;
mod read;
mod write;

pub use key::{Comparison, ConnectionKey, Direction, FibResult, MetaKey, NatKind, PayloadBase, Register};

use super::{Family, Value, Verdict};

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
pub(super) const NAME: u16 = 1;
pub(super) const DATA: u16 = 2;

/// `NFT_LOOKUP_F_INV`.
const INVERTED: u32 = 1;

/// `NFT_PAYLOAD_CSUM_INET`.
const INTERNET_CHECKSUM: u32 = 1;

/// Which addresses the routing tables are asked for, and what counts (`NFTA_FIB_F_`).
pub mod fib {
    /// The source.
    pub const SOURCE: u32 = 1;
    /// The destination.
    pub const DESTINATION: u32 = 2;
    /// The packet's mark counts.
    pub const MARK: u32 = 4;
    /// The link that it came in by counts.
    pub const INCOMING: u32 = 8;
    /// The link that it goes out by counts.
    pub const OUTGOING: u32 = 16;
}

/// How addresses and ports are chosen (`NF_NAT_RANGE_`).
pub mod nat {
    /// Ports at random, as far as needed.
    pub const RANDOM: u32 = 4;
    /// One client gets one address, always.
    pub const PERSISTENT: u32 = 8;
    /// Ports at random, all of them.
    pub const FULLY_RANDOM: u32 = 16;
}

/// How a packet is refused (`NFT_REJECT_`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// With an ICMP message of the packet's family: unreachable, with that code.
    Icmp(u8),
    /// With a TCP reset.
    TcpReset,
    /// With an ICMP message, in tables of both families: 0 no route, 1 port unreachable, 2 host unreachable,
    /// 3 administratively prohibited.
    IcmpAny(u8),
}

/// What one part of a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Loads what is known of the packet.
    Meta {
        /// What.
        key: MetaKey,
        /// Where to.
        to: Register,
    },
    /// Changes what is known of the packet: its mark.
    SetMeta {
        /// What.
        key: MetaKey,
        /// Where from.
        from: Register,
    },
    /// Loads bytes of the packet.
    Payload {
        /// Where the offset begins.
        base: PayloadBase,
        /// The offset in bytes.
        offset: u32,
        /// How many bytes.
        length: u32,
        /// Where to.
        to: Register,
    },
    /// Changes bytes of the packet.
    SetPayload {
        /// Where the offset begins.
        base: PayloadBase,
        /// The offset in bytes.
        offset: u32,
        /// How many bytes.
        length: u32,
        /// Where from.
        from: Register,
        /// The offset, from the same base, of the Internet checksum that counts these bytes.
        checksum: Option<u32>,
        /// TCP's and UDP's checksum counts them, too: they are an address.
        pseudo_header: bool,
    },
    /// Goes on if the register compares so.
    Compare {
        /// The register.
        register: Register,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Value,
    },
    /// Goes on if the register lies between two values, or does not.
    Range {
        /// The register.
        register: Register,
        /// It must lie outside.
        inverted: bool,
        /// The first value.
        first: Value,
        /// The last value.
        last: Value,
    },
    /// Computes `(from & mask) ^ xor`.
    Bitwise {
        /// Where from.
        from: Register,
        /// Where to.
        to: Register,
        /// Bits that stay.
        mask: Value,
        /// Bits that are turned over then, as long as the mask.
        xor: Value,
    },
    /// Loads a value.
    Immediate {
        /// The value.
        value: Value,
        /// Where to.
        to: Register,
    },
    /// Decides.
    Verdict(Verdict),
    /// Goes on if the register's value is in a set, or is not. Of a map it loads the value, or decides by the
    /// verdict.
    Lookup {
        /// The set's name.
        set: String,
        /// Its number in the batch, for an anonymous set.
        id: Option<u32>,
        /// The register.
        key: Register,
        /// What becomes of what a map leads to.
        result: Lookup,
    },
    /// Translates addresses and ports, which stand in registers.
    Nat {
        /// Which.
        kind: NatKind,
        /// [`Family::Ip`] or [`Family::Ip6`].
        family: Family,
        /// The address, or the first of several.
        address: Option<Register>,
        /// The last of several addresses.
        last_address: Option<Register>,
        /// The port, or the first of several.
        port: Option<Register>,
        /// The last of several ports.
        last_port: Option<Register>,
        /// [`nat`].
        flags: u32,
    },
    /// Translates the source to the address of the link that the packet goes out by.
    Masquerade {
        /// The port, or the first of several.
        port: Option<Register>,
        /// The last of several ports.
        last_port: Option<Register>,
        /// [`nat`].
        flags: u32,
    },
    /// Translates the destination to this machine's.
    Redirect {
        /// The port, or the first of several.
        port: Option<Register>,
        /// The last of several ports.
        last_port: Option<Register>,
        /// [`nat`].
        flags: u32,
    },
    /// Loads what is known of the packet's connection.
    Connection {
        /// What.
        key: ConnectionKey,
        /// In which direction, for addresses and ports.
        direction: Option<Direction>,
        /// Where to.
        to: Register,
    },
    /// Changes what is known of the packet's connection: its mark.
    SetConnection {
        /// What.
        key: ConnectionKey,
        /// Where from.
        from: Register,
    },
    /// Asks the routing tables.
    Fib {
        /// What for.
        result: FibResult,
        /// About what: [`fib`].
        flags: u32,
        /// Where to.
        to: Register,
    },
    /// Sends the packet out by another link, in tables of [`Family::Netdev`].
    Forward {
        /// Where the link's index stands.
        to: Register,
    },
    /// Counts packets.
    Counter {
        /// How many there were.
        packets: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Refuses the packet.
    Reject(Reject),
    /// Another one: its name, and its attributes as they go over the wire.
    Other {
        /// Its name with the kernel.
        name: String,
        /// `NFTA_EXPR_DATA`.
        data: Vec<u8>,
    },
}

/// What becomes of the result of a [`Expression::Lookup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It goes on if the key is there.
    Present,
    /// It goes on if the key is not there.
    Absent,
    /// The map's value is loaded.
    Load(Register),
    /// The map's verdict decides.
    Decide,
}

impl Expression {
    /// A counter that begins at 0.
    pub const COUNTER: Expression = Expression::Counter { packets: 0, bytes: 0 };
}
