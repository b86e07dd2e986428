//! What becomes of a packet. Source: linux/netfilter/nf_tables.h, `enum nft_verdicts`.

use super::message::check_name;
use crate::attribute::Attributes;
use crate::error::Result;
use crate::reply::{self, be32_at, read_string};

const CODE: u16 = 1;
const CHAIN: u16 = 2;
/// `NFTA_DATA_VERDICT`.
const VERDICT: u16 = 2;

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This hook lets it pass; other chains of the hook still see it.
    Accept,
    /// It is gone.
    Drop,
    /// The next rule sees it.
    Continue,
    /// As [`Verdict::Continue`], for what does not match.
    Break,
    /// The chain is over: it goes on behind the jump, in a base chain by the policy.
    Return,
    /// It goes through that chain and comes back.
    Jump(String),
    /// It goes through that chain and does not come back.
    Goto(String),
    /// Another one (`NF_QUEUE` with its queue).
    Other(i32),
}

const CODES: [(Verdict, i32); 5] = [
    (Verdict::Drop, 0),
    (Verdict::Accept, 1),
    (Verdict::Continue, -1),
    (Verdict::Break, -2),
    (Verdict::Return, -5),
];
const JUMP: i32 = -3;
const GOTO: i32 = -4;

impl Verdict {
    /// As data (`NFTA_DATA_VERDICT`).
    pub(super) fn encode(&self) -> Result<Attributes> {
        let mut verdict = Attributes::default();
        let (code, chain) = match self {
            Verdict::Jump(chain) => (JUMP, Some(chain)),
            Verdict::Goto(chain) => (GOTO, Some(chain)),
            Verdict::Other(code) => (*code, None),
            simple => (CODES.iter().find(|(known, _)| known == simple).map_or(0, |(_, code)| *code), None),
        };
        verdict.push_be32(CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            verdict.push_text(CHAIN, check_name("chain", chain)?);
        }
        let mut data = Attributes::default();
        data.nest_flagged(VERDICT, &verdict);
        Ok(data)
    }

    /// Of data that is a verdict.
    pub(super) fn read(data: &[u8]) -> Result<Option<Self>> {
        let Some(verdict) = reply::find(data, VERDICT)? else { return Ok(None) };
        let Some(code) = reply::find(verdict, CODE)?.and_then(|payload| be32_at(payload, 0)) else {
            return Ok(None);
        };
        let chain = reply::find(verdict, CHAIN)?.map(read_string).unwrap_or_default();
        Ok(Some(match code.cast_signed() {
            JUMP => Verdict::Jump(chain),
            GOTO => Verdict::Goto(chain),
            code => {
                let known = CODES.iter().find(|(_, known)| *known == code);
                known.map_or(Verdict::Other(code), |(verdict, _)| verdict.clone())
            }
        }))
    }
}
