//! Expressions: what rules are made of. Source: linux/netfilter/nf_tables.h, `enum nft_…_attributes`.

mod key;
mod read;

pub use key::{Comparison, ConnectionKey, Direction, FibResult, MetaKey, NatKind, PayloadBase, Register};

use super::element::VALUE;
use super::message::check_name;
use super::{Family, Value, Verdict};
use crate::attribute::Attributes;
use crate::error::{Error, Result};

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
const NAME: u16 = 1;
const DATA: u16 = 2;

/// `NFT_LOOKUP_F_INV`.
const INVERTED: u32 = 1;

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
    /// Goes on if the register's value is in a set, or is not. Of a map it loads the value, or decides by the verdict.
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

    /// The kernel's name for it.
    fn name(&self) -> &str {
        match self {
            Expression::Meta { .. } | Expression::SetMeta { .. } => "meta",
            Expression::Payload { .. } => "payload",
            Expression::Compare { .. } => "cmp",
            Expression::Range { .. } => "range",
            Expression::Bitwise { .. } => "bitwise",
            Expression::Immediate { .. } | Expression::Verdict(_) => "immediate",
            Expression::Lookup { .. } => "lookup",
            Expression::Nat { .. } => "nat",
            Expression::Masquerade { .. } => "masq",
            Expression::Redirect { .. } => "redir",
            Expression::Connection { .. } | Expression::SetConnection { .. } => "ct",
            Expression::Fib { .. } => "fib",
            Expression::Counter { .. } => "counter",
            Expression::Reject(_) => "reject",
            Expression::Other { name, .. } => name,
        }
    }

    /// As an item of a rule's list.
    pub(super) fn encode(&self) -> Result<Attributes> {
        let mut item = Attributes::default();
        item.push_text(NAME, check_name("expression", self.name())?)?;
        item.nest_flagged(DATA, &self.data()?)?;
        Ok(item)
    }

    fn data(&self) -> Result<Attributes> {
        let mut data = Attributes::default();
        match self {
            Expression::Meta { key, to } => numbers(&mut data, [(2, key.number()), (1, to.number())])?,
            Expression::SetMeta { key, from } => {
                numbers(&mut data, [(2, key.number()), (3, from.number())])?;
            }
            Expression::Payload { base, offset, length, to } => {
                numbers(&mut data, [(1, to.number()), (2, base.number()), (3, *offset), (4, *length)])?;
            }
            Expression::Compare { register, comparison, value } => {
                numbers(&mut data, [(1, register.number()), (2, comparison.number())])?;
                push_value(&mut data, 3, value)?;
            }
            Expression::Range { register, inverted, first, last } => {
                numbers(&mut data, [(1, register.number()), (2, u32::from(*inverted))])?;
                push_value(&mut data, 3, first)?;
                push_value(&mut data, 4, last)?;
            }
            Expression::Bitwise { from, to, mask, xor } => {
                let length = u32::try_from(mask.0.len()).unwrap_or(u32::MAX);
                if mask.0.len() != xor.0.len() {
                    return Err(Error::Invalid("bitwise: mask and xor must be of one length".to_string()));
                }
                numbers(&mut data, [(1, from.number()), (2, to.number()), (3, length)])?;
                push_value(&mut data, 4, mask)?;
                push_value(&mut data, 5, xor)?;
            }
            Expression::Immediate { value, to } => {
                numbers(&mut data, [(1, to.number())])?;
                push_value(&mut data, 2, value)?;
            }
            Expression::Verdict(verdict) => {
                numbers(&mut data, [(1, 0)])?;
                data.nest_flagged(2, &verdict.encode()?)?;
            }
            Expression::Lookup { set, id, key, result } => lookup(&mut data, set, *id, *key, *result)?,
            Expression::Nat { kind, family, address, last_address, port, last_port, flags } => {
                numbers(&mut data, [(1, kind.number()), (2, u32::from(*family as u8))])?;
                registers(&mut data, [(3, address), (4, last_address), (5, port), (6, last_port)])?;
                nat_flags(&mut data, 7, *flags)?;
            }
            Expression::Masquerade { port, last_port, flags } => {
                nat_flags(&mut data, 1, *flags)?;
                registers(&mut data, [(2, port), (3, last_port)])?;
            }
            Expression::Redirect { port, last_port, flags } => {
                registers(&mut data, [(1, port), (2, last_port)])?;
                nat_flags(&mut data, 3, *flags)?;
            }
            Expression::Connection { key, direction, to } => {
                numbers(&mut data, [(2, key.number()), (1, to.number())])?;
                if let Some(direction) = *direction {
                    data.push_u8(3u16, direction as u8)?;
                }
            }
            Expression::SetConnection { key, from } => {
                numbers(&mut data, [(2, key.number()), (4, from.number())])?;
            }
            Expression::Fib { result, flags, to } => {
                numbers(&mut data, [(3, *flags), (2, result.number()), (1, to.number())])?;
            }
            // It begins at 0 by itself.
            Expression::Counter { packets: 0, bytes: 0 } => {}
            Expression::Counter { packets, bytes } => {
                data.push_be64(1, *bytes)?;
                data.push_be64(2, *packets)?;
            }
            Expression::Reject(reject) => {
                let (kind, code) = match *reject {
                    Reject::Icmp(code) => (0, Some(code)),
                    Reject::TcpReset => (1, None),
                    Reject::IcmpAny(code) => (2, Some(code)),
                };
                numbers(&mut data, [(1, kind)])?;
                // The kernel wants a code with a reset, too, and ignores it.
                data.push_u8(2u16, code.unwrap_or(0))?;
            }
            Expression::Other { data: bytes, .. } => data.0.extend_from_slice(bytes),
        }
        Ok(data)
    }
}

fn lookup(data: &mut Attributes, set: &str, id: Option<u32>, key: Register, result: Lookup) -> Result<()> {
    data.push_text(1u16, check_name("set", set)?)?;
    numbers(data, [(2, key.number())])?;
    match result {
        Lookup::Present => {}
        Lookup::Absent => numbers(data, [(5, INVERTED)])?,
        Lookup::Load(register) => numbers(data, [(3, register.number())])?,
        Lookup::Decide => numbers(data, [(3, 0)])?,
    }
    match id {
        Some(id) => data.push_be32(4, id),
        None => Ok(()),
    }
}

fn numbers<const N: usize>(data: &mut Attributes, numbers: [(u16, u32); N]) -> Result<()> {
    numbers.into_iter().try_for_each(|(kind, number)| data.push_be32(kind, number))
}

fn registers<const N: usize>(data: &mut Attributes, registers: [(u16, &Option<Register>); N]) -> Result<()> {
    registers.into_iter().try_for_each(|(kind, register)| match register {
        Some(register) => data.push_be32(kind, register.number()),
        None => Ok(()),
    })
}

fn nat_flags(data: &mut Attributes, kind: u16, flags: u32) -> Result<()> {
    if flags == 0 { Ok(()) } else { data.push_be32(kind, flags) }
}

fn push_value(data: &mut Attributes, kind: u16, value: &Value) -> Result<()> {
    let mut nest = Attributes::default();
    nest.push(VALUE, &value.0)?;
    data.nest_flagged(kind, &nest)
}
