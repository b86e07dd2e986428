//! Outlines of rules: enough to tell whether a chain lets a link's packets pass, without reading all that rules can do.

use super::expression::{DATA, NAME};
use super::message::{Kind, attributes};
use super::rule::{CHAIN, EXPRESSIONS, question};
use super::{Socket, Table, Verdict};
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

/// What a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The names of links that it compares those with by which a packet comes in or goes out, with zeros behind them where
    /// the rule has them.
    pub links: Vec<Vec<u8>>,
    /// It drops or rejects every packet that it sees.
    pub refuses_all: bool,
}

/// The outlines of a chain's rules, in order.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket, table: &Table, chain: &str) -> Result<Vec<Outline>> {
    // Not every kernel leaves those of other chains out.
    socket.0.ask(&question(table, Some(chain))?, |reply| read(reply, chain))
}

pub(super) fn read(reply: &Reply<'_>, chain: &str) -> Result<Option<Outline>> {
    let Some(reply::Attributes(attributes)) = attributes(reply, Kind::NewRule)? else { return Ok(None) };
    if reply::text(reply::find(attributes, CHAIN)?.unwrap_or_default()) != chain.as_bytes() {
        return Ok(None);
    }
    let mut outline = Outline::default();
    let (mut is_name, mut has_condition, mut refuses) = (false, false, false);
    for item in reply::Attributes(reply::find(attributes, EXPRESSIONS)?.unwrap_or_default()) {
        let item = item?.1;
        let data = reply::find(item, DATA)?.unwrap_or_default();
        let mut compares_name = false;
        match reply::text(reply::find(item, NAME)?.unwrap_or_default()) {
            b"counter" | b"log" => {}
            b"reject" => refuses = true,
            b"immediate" => {
                let verdict = Verdict::read(reply::find(data, IMMEDIATE)?.unwrap_or_default())?;
                refuses |= verdict == Some(Verdict::Drop);
            }
            b"meta" => {
                let key = reply::find(data, META_KEY)?.and_then(|key| be32_at(key, 0));
                compares_name = key.is_some_and(|key| NAMES.contains(&key));
                has_condition = true;
            }
            b"cmp" if is_name => {
                let value = reply::find(data, COMPARED)?.unwrap_or_default();
                outline.links.extend(reply::find(value, VALUE)?.map(<[u8]>::to_vec));
            }
            _ => has_condition = true,
        }
        is_name = compares_name;
    }
    outline.refuses_all = refuses && !has_condition;
    Ok(Some(outline))
}
