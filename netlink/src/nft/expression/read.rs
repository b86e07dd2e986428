//! Expressions as the kernel lists them.

use super::{
    Comparison, ConnectionKey, Direction, Expression, FibResult, INTERNET_CHECKSUM, INVERTED, Lookup,
    MetaKey, NatKind, PayloadBase, Register, Reject,
};
use crate::error::Result;
use crate::nft::element::read_value;
use crate::nft::message::family_of;
use crate::nft::{Value, Verdict};
use crate::reply::{self, be32_at, be64_at, read_string};

/// `NF_NAT_RANGE_MAP_IPS` and `NF_NAT_RANGE_PROTO_SPECIFIED`, which the kernel sets where there are
/// registers.
const IMPLIED: u32 = 3;

impl Expression {
    /// An item of a rule's list; `None` if it has no name.
    pub(in crate::nft) fn read(item: &[u8]) -> Result<Option<Self>> {
        let Some(name) = reply::find(item, super::NAME)?.map(read_string) else { return Ok(None) };
        let data = reply::find(item, super::DATA)?.unwrap_or_default();
        let known = Data::read(data)?.expression(&name)?;
        // What is not known here, in name or in form, is kept as it is.
        Ok(Some(known.unwrap_or_else(|| Expression::Other { name, data: data.to_vec() })))
    }
}

/// The attributes of one expression, by number; none has one above 10.
struct Data<'a>([Option<&'a [u8]>; 11]);

impl<'a> Data<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut data = Data([None; 11]);
        for attribute in reply::Attributes(bytes) {
            let (kind, payload) = attribute?;
            if let Some(slot) = data.0.get_mut(usize::from(kind)) {
                *slot = Some(payload);
            }
        }
        Ok(data)
    }

    fn number(&self, kind: usize) -> Option<u32> {
        be32_at(self.0[kind]?, 0)
    }

    fn byte(&self, kind: usize) -> Option<u8> {
        self.0[kind]?.first().copied()
    }

    fn register(&self, kind: usize) -> Option<Register> {
        Register::from_number(self.number(kind)?)
    }

    fn value(&self, kind: usize) -> Result<Option<Value>> {
        self.0[kind].map_or(Ok(None), read_value)
    }

    /// The last of several, if it is another one than the first.
    fn last(&self, first: usize, last: usize) -> Option<Register> {
        self.register(last).filter(|&register| self.register(first) != Some(register))
    }

    fn flags(&self, kind: usize) -> u32 {
        self.number(kind).unwrap_or(0) & !IMPLIED
    }

    fn expression(&self, name: &str) -> Result<Option<Expression>> {
        Ok(match name {
            "cmp" => self.value(3)?.and_then(|value| self.compare(value)),
            "range" => self.value(3)?.zip(self.value(4)?).and_then(|(first, last)| self.range(first, last)),
            "bitwise" => self.value(4)?.zip(self.value(5)?).and_then(|(mask, xor)| self.bitwise(mask, xor)),
            "immediate" => self.immediate()?,
            _ => self.plain(name),
        })
    }

    /// Those that have no values in them.
    fn plain(&self, name: &str) -> Option<Expression> {
        Some(match name {
            "meta" => {
                let key = MetaKey::from_number(self.number(2)?);
                match self.register(3) {
                    Some(from) => Expression::SetMeta { key, from },
                    None => Expression::Meta { key, to: self.register(1)? },
                }
            }
            "payload" => self.payload()?,
            "lookup" => self.lookup()?,
            "nat" => Expression::Nat {
                kind: NatKind::from_number(self.number(1)?),
                family: family_of(self.number(2)?)?,
                address: self.register(3),
                last_address: self.last(3, 4),
                port: self.register(5),
                last_port: self.last(5, 6),
                flags: self.flags(7),
            },
            "masq" => Expression::Masquerade {
                port: self.register(2),
                last_port: self.last(2, 3),
                flags: self.flags(1),
            },
            "redir" => Expression::Redirect {
                port: self.register(1),
                last_port: self.last(1, 2),
                flags: self.flags(3),
            },
            "ct" => self.connection()?,
            "fib" => Expression::Fib {
                result: FibResult::from_number(self.number(2)?),
                flags: self.number(3)?,
                to: self.register(1)?,
            },
            // An address to send to, behind it, is another form.
            "fwd" if self.0[2].is_none() => Expression::Forward { to: self.register(1)? },
            "counter" => {
                Expression::Counter { packets: be64_at(self.0[2]?, 0)?, bytes: be64_at(self.0[1]?, 0)? }
            }
            "reject" => Expression::Reject(match self.number(1)? {
                0 => Reject::Icmp(self.byte(2)?),
                1 => Reject::TcpReset,
                2 => Reject::IcmpAny(self.byte(2)?),
                _ => return None,
            }),
            _ => return None,
        })
    }

    fn payload(&self) -> Option<Expression> {
        let base = PayloadBase::from_number(self.number(2)?);
        let (offset, length) = (self.number(3)?, self.number(4)?);
        let Some(from) = self.register(5) else {
            return Some(Expression::Payload { base, offset, length, to: self.register(1)? });
        };
        let checksum = match self.number(6).unwrap_or(0) {
            0 => None,
            INTERNET_CHECKSUM => Some(self.number(7)?),
            _ => return None,
        };
        let pseudo_header = self.number(8).unwrap_or(0) != 0;
        Some(Expression::SetPayload { base, offset, length, from, checksum, pseudo_header })
    }

    fn compare(&self, value: Value) -> Option<Expression> {
        let comparison = Comparison::from_number(self.number(2)?);
        Some(Expression::Compare { register: self.register(1)?, comparison, value })
    }

    fn range(&self, first: Value, last: Value) -> Option<Expression> {
        Some(Expression::Range { register: self.register(1)?, inverted: self.number(2)? != 0, first, last })
    }

    fn bitwise(&self, mask: Value, xor: Value) -> Option<Expression> {
        // `NFT_BITWISE_MASK_XOR`; shifts are others.
        let plain = self.number(6).unwrap_or(0) == 0;
        let (from, to) = (self.register(1)?, self.register(2)?);
        plain.then_some(Expression::Bitwise { from, to, mask, xor })
    }

    fn immediate(&self) -> Result<Option<Expression>> {
        let Some(data) = self.0[2] else { return Ok(None) };
        if let Some(verdict) = Verdict::read(data)? {
            return Ok(Some(Expression::Verdict(verdict)));
        }
        let value = read_value(data)?;
        Ok(value.zip(self.register(1)).map(|(value, to)| Expression::Immediate { value, to }))
    }

    fn lookup(&self) -> Option<Expression> {
        let result = match (self.number(3), self.number(5).unwrap_or(0) & INVERTED) {
            (None, 0) => Lookup::Present,
            (None, _) => Lookup::Absent,
            (Some(0), _) => Lookup::Decide,
            (Some(number), _) => Lookup::Load(Register::from_number(number)?),
        };
        Some(Expression::Lookup { set: read_string(self.0[1]?), id: None, key: self.register(2)?, result })
    }

    fn connection(&self) -> Option<Expression> {
        let key = ConnectionKey::from_number(self.number(2)?);
        if let Some(from) = self.register(4) {
            return Some(Expression::SetConnection { key, from });
        }
        let direction = match self.byte(3) {
            None => None,
            Some(0) => Some(Direction::Original),
            Some(1) => Some(Direction::Reply),
            Some(_) => return None,
        };
        Some(Expression::Connection { key, direction, to: self.register(1)? })
    }
}
