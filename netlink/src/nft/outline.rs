//! Outlines of rules: enough to tell whether a chain lets a link's packets pass, and where to put a rule of
//! one's own, without reading all that rules can do.

use super::expression::{DATA, NAME};
use super::message::{Kind, attributes};
use super::rule::{CHAIN, EXPRESSIONS, Likeness, comment_of, handle_of, match_comment, question};
use super::{Rule, Socket, Table, Verdict};
use crate::error::Result;
use crate::reply::{self, Reply, be32_at};

/// `NFTA_META_KEY`; `NFT_META_IIFNAME`, `NFT_META_OIFNAME`.
const META_KEY: u16 = 2;
const NAMES: [u32; 2] = [6, 7];
/// `NFTA_CMP_DATA`, `NFTA_DATA_VALUE`.
const COMPARED: u16 = 3;
const VALUE: u16 = 1;
/// `NFTA_IMMEDIATE_DATA`.
const IMMEDIATE: u16 = 2;
/// `NFTA_TARGET_NAME`.
const TARGET_NAME: u16 = 1;

/// What a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The kernel's number for it.
    pub handle: u64,
    /// The names of links that it compares those with by which a packet comes in or goes out, with zeros
    /// behind them where the rule has them.
    pub links: Vec<Vec<u8>>,
    /// Its comment, wherever that is kept.
    pub comment: Option<String>,
    /// What becomes of every packet that it sees, where a rejected one is dropped; none where that depends on
    /// the packet, or the next rule sees it nevertheless.
    pub always: Option<Verdict>,
    /// The place of the rule that it is like, in the list that was compared with.
    pub like: Option<usize>,
}

impl Outline {
    /// Whether it drops or rejects every packet that it sees.
    pub fn refuses_all(&self) -> bool {
        self.always == Some(Verdict::Drop)
    }
}

/// The outlines of a chain's rules, in order; none where there is no such chain. They are compared with
/// `rules` of that chain ([`Rule::is_like`]).
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket, table: &Table, chain: &str, rules: &[Rule]) -> Result<Vec<Outline>> {
    let wanted = rules.iter().map(|rule| Likeness::new(table, rule)).collect::<Result<Vec<_>>>()?;
    // Not every kernel leaves those of other chains out.
    socket.0.ask(&question(table, Some(chain))?, |reply| read(reply, chain, &wanted))
}

pub(super) fn read(reply: &Reply<'_>, chain: &str, wanted: &[Likeness<'_>]) -> Result<Option<Outline>> {
    let Some(reply::Attributes(attributes)) = attributes(reply, Kind::NewRule)? else { return Ok(None) };
    if reply::text(reply::find(attributes, CHAIN)?.unwrap_or_default()) != chain.as_bytes() {
        return Ok(None);
    }
    let mut outline =
        Outline { handle: handle_of(attributes)?, comment: comment_of(attributes)?, ..Outline::default() };
    for (place, wanted) in wanted.iter().enumerate() {
        if outline.like.is_none() && wanted.is_met(attributes)? {
            outline.like = Some(place);
        }
    }
    let (mut is_name, mut has_condition, mut verdict) = (false, false, None);
    for item in reply::Attributes(reply::find(attributes, EXPRESSIONS)?.unwrap_or_default()) {
        let item = item?.1;
        let data = reply::find(item, DATA)?.unwrap_or_default();
        let name = reply::text(reply::find(item, NAME)?.unwrap_or_default());
        let mut compares_name = false;
        match name {
            b"counter" | b"log" => {}
            b"reject" => verdict = Some(Verdict::Drop),
            b"target" if reply::text(reply::find(data, TARGET_NAME)?.unwrap_or_default()) == b"REJECT" => {
                verdict = Some(Verdict::Drop);
            }
            // Those of iptables that decide nothing.
            b"target" => {}
            b"immediate" => verdict = Verdict::read(reply::find(data, IMMEDIATE)?.unwrap_or_default())?,
            b"meta" => {
                let key = reply::find(data, META_KEY)?.and_then(|key| be32_at(key, 0));
                compares_name = key.is_some_and(|key| NAMES.contains(&key));
                has_condition = true;
            }
            b"cmp" if is_name => {
                let value = reply::find(data, COMPARED)?.unwrap_or_default();
                outline.links.extend(reply::find(value, VALUE)?.map(<[u8]>::to_vec));
            }
            _ => has_condition |= match_comment(name, data).is_none(),
        }
        is_name = compares_name;
    }
    outline.always = verdict.filter(|_| !has_condition);
    Ok(Some(outline))
}
