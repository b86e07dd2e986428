//! Expressions as they go over the wire.

use super::{DATA, Expression, INTERNET_CHECKSUM, INVERTED, Lookup, NAME, Register, Reject};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::nft::Value;
use crate::nft::element::VALUE;
use crate::nft::message::check_name;

impl Expression {
    /// The kernel's name for it.
    fn name(&self) -> &str {
        match self {
            Expression::Meta { .. } | Expression::SetMeta { .. } => "meta",
            Expression::Payload { .. } | Expression::SetPayload { .. } => "payload",
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
            Expression::Forward { .. } => "fwd",
            Expression::Counter { .. } => "counter",
            Expression::Reject(_) => "reject",
            Expression::Other { name, .. } => name,
        }
    }

    /// As an item of a rule's list.
    pub(in crate::nft) fn encode(&self) -> Result<Attributes> {
        let mut item = Attributes::default();
        item.push_text(NAME, check_name("expression", self.name())?);
        item.nest_flagged(DATA, &self.data()?);
        Ok(item)
    }

    fn data(&self) -> Result<Attributes> {
        let mut data = Attributes::default();
        match self {
            Expression::Meta { key, to } => numbers(&mut data, &[(2, key.number()), (1, to.number())]),
            Expression::SetMeta { key, from } => {
                numbers(&mut data, &[(2, key.number()), (3, from.number())]);
            }
            Expression::Payload { base, offset, length, to } => {
                numbers(&mut data, &[(1, to.number()), (2, base.number()), (3, *offset), (4, *length)]);
            }
            Expression::SetPayload { base, offset, length, from, checksum, pseudo_header } => {
                numbers(&mut data, &[(5, from.number()), (2, base.number()), (3, *offset), (4, *length)]);
                if let Some(checksum) = *checksum {
                    numbers(&mut data, &[(6, INTERNET_CHECKSUM), (7, checksum)]);
                }
                if *pseudo_header {
                    numbers(&mut data, &[(8, 1)]);
                }
            }
            Expression::Compare { register, comparison, value } => {
                numbers(&mut data, &[(1, register.number()), (2, comparison.number())]);
                push_value(&mut data, 3, value);
            }
            Expression::Range { register, inverted, first, last } => {
                numbers(&mut data, &[(1, register.number()), (2, u32::from(*inverted))]);
                push_value(&mut data, 3, first);
                push_value(&mut data, 4, last);
            }
            Expression::Bitwise { from, to, mask, xor } => {
                let length = u32::try_from(mask.0.len()).unwrap_or(u32::MAX);
                if mask.0.len() != xor.0.len() {
                    return Err(Error::invalid(format_args!("bitwise: mask and xor must be of one length")));
                }
                numbers(&mut data, &[(1, from.number()), (2, to.number()), (3, length)]);
                push_value(&mut data, 4, mask);
                push_value(&mut data, 5, xor);
            }
            Expression::Immediate { value, to } => {
                numbers(&mut data, &[(1, to.number())]);
                push_value(&mut data, 2, value);
            }
            Expression::Verdict(verdict) => {
                numbers(&mut data, &[(1, 0)]);
                data.nest_flagged(2, &verdict.encode()?);
            }
            Expression::Lookup { set, id, key, result } => lookup(&mut data, set, *id, *key, *result)?,
            Expression::Nat { kind, family, address, last_address, port, last_port, flags } => {
                numbers(&mut data, &[(1, kind.number()), (2, u32::from(*family as u8))]);
                registers(&mut data, &[(3, *address), (4, *last_address), (5, *port), (6, *last_port)]);
                nat_flags(&mut data, 7, *flags);
            }
            Expression::Masquerade { port, last_port, flags } => {
                nat_flags(&mut data, 1, *flags);
                registers(&mut data, &[(2, *port), (3, *last_port)]);
            }
            Expression::Redirect { port, last_port, flags } => {
                registers(&mut data, &[(1, *port), (2, *last_port)]);
                nat_flags(&mut data, 3, *flags);
            }
            Expression::Connection { key, direction, to } => {
                numbers(&mut data, &[(2, key.number()), (1, to.number())]);
                if let Some(direction) = *direction {
                    data.push_u8(3u16, direction as u8);
                }
            }
            Expression::SetConnection { key, from } => {
                numbers(&mut data, &[(2, key.number()), (4, from.number())]);
            }
            Expression::Fib { result, flags, to } => {
                numbers(&mut data, &[(3, *flags), (2, result.number()), (1, to.number())]);
            }
            Expression::Forward { to } => numbers(&mut data, &[(1, to.number())]),
            // It begins at 0 by itself.
            Expression::Counter { packets: 0, bytes: 0 } => {}
            Expression::Counter { packets, bytes } => {
                data.push_be64(1, *bytes);
                data.push_be64(2, *packets);
            }
            Expression::Reject(reject) => {
                let (kind, code) = match *reject {
                    Reject::Icmp(code) => (0, Some(code)),
                    Reject::TcpReset => (1, None),
                    Reject::IcmpAny(code) => (2, Some(code)),
                };
                numbers(&mut data, &[(1, kind)]);
                // The kernel wants a code with a reset, too, and ignores it.
                data.push_u8(2u16, code.unwrap_or(0));
            }
            Expression::Other { data: bytes, .. } => data.0.extend_from_slice(bytes),
        }
        Ok(data)
    }
}

fn lookup(data: &mut Attributes, set: &str, id: Option<u32>, key: Register, result: Lookup) -> Result<()> {
    data.push_text(1u16, check_name("set", set)?);
    numbers(data, &[(2, key.number())]);
    match result {
        Lookup::Present => {}
        Lookup::Absent => numbers(data, &[(5, INVERTED)]),
        Lookup::Load(register) => numbers(data, &[(3, register.number())]),
        Lookup::Decide => numbers(data, &[(3, 0)]),
    }
    if let Some(id) = id {
        data.push_be32(4, id);
    }
    Ok(())
}

fn numbers(data: &mut Attributes, numbers: &[(u16, u32)]) {
    numbers.iter().for_each(|&(kind, number)| data.push_be32(kind, number));
}

fn registers(data: &mut Attributes, registers: &[(u16, Option<Register>)]) {
    for &(kind, register) in registers {
        if let Some(register) = register {
            data.push_be32(kind, register.number());
        }
    }
}

fn nat_flags(data: &mut Attributes, kind: u16, flags: u32) {
    if flags != 0 {
        data.push_be32(kind, flags);
    }
}

fn push_value(data: &mut Attributes, kind: u16, value: &Value) {
    let mut nest = Attributes::default();
    nest.push(VALUE, &value.0);
    data.nest_flagged(kind, &nest);
}
