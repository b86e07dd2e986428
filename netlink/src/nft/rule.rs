//! Rules: lists of expressions.
//!
//! A rule in a chain that iptables(8) has made, as it would write it itself, is found again by what it does:
//!
//! ```no_run
//! use pillbox_netlink::nft::{Batch, Family, MetaKey, Place, Rule, Socket, Table, Value, rule};
//!
//! let mut socket = Socket::open()?;
//! let table = Table::new(Family::Ip, "filter");
//! let incoming = Rule::new("FORWARD").meta_is(MetaKey::IncomingName, Value::text("br0"));
//! let ours = incoming.counted().accept().commented("example");
//! socket.commit(Batch::new().place_rule(&table, &ours, Place::First)?)?;
//! for handle in rule::find_like(&mut socket, &table, &ours)? {
//!     socket.commit(Batch::new().delete_rule(&table, "FORWARD", handle)?)?;
//! }
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

use neli::consts::nl::NlmF;

use super::expression::{DATA, NAME};
use super::message::{Kind, attributes, check_name, message};
use super::{Batch, Expression, Listed, Socket, Table, Userdata};
use crate::attribute::Attributes;
use crate::error::Result;
use crate::message::Message;
use crate::reply::{self, Reply, be64_at, read_string};

const TABLE: u16 = 1;
pub(super) const CHAIN: u16 = 2;
const HANDLE: u16 = 3;
pub(super) const EXPRESSIONS: u16 = 4;
const POSITION: u16 = 6;
const USERDATA: u16 = 7;
/// `NFTA_LIST_ELEM`.
const ITEM: u16 = 1;

/// A rule. Expression after expression works on the registers, until one ends it: a comparison that fails, or
/// a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name of the chain that it stands in.
    pub chain: String,
    /// What it does.
    pub expressions: Vec<Expression>,
    /// Data of its maker's, a comment for example.
    pub userdata: Userdata,
}

/// Where a rule is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In front of all others.
    First,
    /// Behind all others.
    Last,
    /// In front of the one with that handle.
    Before(u64),
    /// Behind the one with that handle.
    After(u64),
}

impl Rule {
    /// A rule that does nothing yet.
    pub fn new(chain: impl Into<String>) -> Self {
        Rule { chain: chain.into(), expressions: Vec::new(), userdata: Userdata::default() }
    }

    /// Adds an expression.
    pub fn then(mut self, expression: Expression) -> Self {
        self.expressions.push(expression);
        self
    }

    /// Adds a comment, as nft(8) shows it.
    pub fn commented(mut self, text: &str) -> Self {
        self.userdata = Userdata::comment(text);
        self
    }

    /// Its comment: as nft(8) keeps it, or as iptables(8) does, by an expression. iptables shows both as its
    /// own, and makes one of the other when it saves and restores rules.
    pub fn comment(&self) -> Option<String> {
        let by_expression = || self.expressions.iter().find_map(xtables_comment);
        self.userdata.as_comment().or_else(by_expression)
    }

    /// Whether another rule stands in a chain of the same name, does the same and has the same comment,
    /// whichever program wrote it: what was counted does not matter, nor where the comment is kept.
    pub fn is_like(&self, other: &Rule) -> bool {
        let (ours, others) = (self.expressions.iter(), other.expressions.iter());
        let decisive = |expression: &&Expression| is_decisive(expression);
        self.chain == other.chain
            && self.comment() == other.comment()
            && ours.filter(decisive).eq(others.filter(decisive))
    }
}

/// Whether an expression counts when rules are compared.
fn is_decisive(expression: &Expression) -> bool {
    !matches!(expression, Expression::Counter { .. }) && xtables_comment(expression).is_none()
}

/// The text of iptables' match `comment` (`NFTA_MATCH_NAME`, `NFTA_MATCH_INFO`;
/// linux/netfilter/xt_comment.h).
fn xtables_comment(expression: &Expression) -> Option<String> {
    let Expression::Other { name, data } = expression else { return None };
    match_comment(name.as_bytes(), data)
}

/// The text of that match, in attributes.
pub(super) fn match_comment(name: &[u8], data: &[u8]) -> Option<String> {
    let is_comment = name == b"match" && reply::text(reply::find(data, 1u16).ok()??) == b"comment";
    if is_comment { reply::find(data, 3u16).ok()?.map(read_string) } else { None }
}

impl Batch {
    /// Adds a rule behind all others of its chain.
    ///
    /// # Errors
    /// A name or the userdata is too long, or the expressions are.
    pub fn add_rule(&mut self, table: &Table, rule: &Rule) -> Result<&mut Self> {
        self.place_rule(table, rule, Place::Last)
    }

    /// Adds a rule at a place of its chain.
    ///
    /// # Errors
    /// As [`Batch::add_rule`].
    pub fn place_rule(&mut self, table: &Table, rule: &Rule, place: Place) -> Result<&mut Self> {
        let (flags, position) = match place {
            Place::First => (NlmF::CREATE, None),
            Place::Last => (NlmF::CREATE | NlmF::APPEND, None),
            Place::Before(handle) => (NlmF::CREATE, Some((POSITION, handle))),
            Place::After(handle) => (NlmF::CREATE | NlmF::APPEND, Some((POSITION, handle))),
        };
        Ok(self.push(new(flags, "add", table, rule, position)?))
    }

    /// Puts a rule in the place of the one with that handle.
    ///
    /// # Errors
    /// As [`Batch::add_rule`].
    pub fn replace_rule(&mut self, table: &Table, handle: u64, rule: &Rule) -> Result<&mut Self> {
        Ok(self.push(new(NlmF::REPLACE, "replace", table, rule, Some((HANDLE, handle)))?))
    }

    /// Deletes the rule with that handle.
    ///
    /// # Errors
    /// A name is too long.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) -> Result<&mut Self> {
        let what = format!("delete rule {handle} of chain {} {chain}", table.label());
        Ok(self.push(delete(table, Some(chain), Some(handle), what)?))
    }

    /// Deletes all rules of a chain.
    ///
    /// # Errors
    /// A name is too long.
    pub fn flush_chain(&mut self, table: &Table, chain: &str) -> Result<&mut Self> {
        let what = format!("delete the rules of chain {} {chain}", table.label());
        Ok(self.push(delete(table, Some(chain), None, what)?))
    }

    /// Deletes all rules of a table.
    ///
    /// # Errors
    /// A name is too long.
    pub fn flush_table(&mut self, table: &Table) -> Result<&mut Self> {
        let what = format!("delete the rules of table {}", table.label());
        Ok(self.push(delete(table, None, None, what)?))
    }
}

/// All rules of a table, or of one of its chains, in order.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket, table: &Table, chain: Option<&str>) -> Result<Vec<Listed<Rule>>> {
    let question = question(table, chain)?;
    let wanted = |name: &str, listed: &Listed<Rule>| {
        name == table.name && chain.is_none_or(|chain| listed.value.chain == chain)
    };
    let answers = socket.0.ask(&question, read)?.into_iter();
    Ok(answers.filter(|(name, listed)| wanted(name, listed)).map(|(_, listed)| listed).collect())
}

/// The handles of the rules that are like this one ([`Rule::is_like`]). Others are not read, only compared.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn find_like(socket: &mut Socket, table: &Table, rule: &Rule) -> Result<Vec<u64>> {
    let question = question(table, Some(&rule.chain))?;
    let wanted = Likeness::new(table, rule)?;
    socket.0.ask(&question, |reply| {
        let Some(reply::Attributes(attributes)) = attributes(reply, Kind::NewRule)? else { return Ok(None) };
        Ok(if wanted.is_met(attributes)? { Some(handle_of(attributes)?) } else { None })
    })
}

/// What the attributes of a rule must be for it to be like another one.
pub(super) struct Likeness<'a> {
    table: &'a Table,
    rule: &'a Rule,
    /// Those that count.
    expressions: Vec<Attributes>,
}

impl<'a> Likeness<'a> {
    pub(super) fn new(table: &'a Table, rule: &'a Rule) -> Result<Self> {
        let expressions = rule.expressions.iter().filter(|expression| is_decisive(expression));
        let expressions = expressions.map(Expression::encode).collect::<Result<Vec<_>>>()?;
        Ok(Likeness { table, rule, expressions })
    }

    pub(super) fn is_met(&self, attributes: &[u8]) -> Result<bool> {
        let part = |kind: u16| reply::find(attributes, kind).map(Option::unwrap_or_default);
        if reply::text(part(TABLE)?) != self.table.name.as_bytes()
            || reply::text(part(CHAIN)?) != self.rule.chain.as_bytes()
        {
            return Ok(false);
        }
        let mut wanted = self.expressions.iter();
        for item in reply::Attributes(part(EXPRESSIONS)?) {
            let item = item?.1;
            let name = reply::text(reply::find(item, NAME)?.unwrap_or_default());
            let counts = name != b"counter"
                && match_comment(name, reply::find(item, DATA)?.unwrap_or_default()).is_none();
            if counts && !wanted.next().is_some_and(|ours| reply::is_same(&ours.0, item)) {
                return Ok(false);
            }
        }
        Ok(wanted.next().is_none() && comment_of(attributes)? == self.rule.comment())
    }
}

/// The kernel's number for the rule with these attributes.
pub(super) fn handle_of(attributes: &[u8]) -> Result<u64> {
    Ok(reply::find(attributes, HANDLE)?.and_then(|handle| be64_at(handle, 0)).unwrap_or(0))
}

/// The comment of the rule with these attributes: see [`Rule::comment`].
pub(super) fn comment_of(attributes: &[u8]) -> Result<Option<String>> {
    let userdata = reply::find(attributes, USERDATA)?.unwrap_or_default();
    if let Some(comment) = Userdata(userdata.to_vec()).as_comment() {
        return Ok(Some(comment));
    }
    for item in reply::Attributes(reply::find(attributes, EXPRESSIONS)?.unwrap_or_default()) {
        let item = item?.1;
        let name = reply::text(reply::find(item, NAME)?.unwrap_or_default());
        if let Some(comment) = match_comment(name, reply::find(item, DATA)?.unwrap_or_default()) {
            return Ok(Some(comment));
        }
    }
    Ok(None)
}

pub(super) fn question(table: &Table, chain: Option<&str>) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    if let Some(chain) = chain {
        attributes.push_text(CHAIN, check_name("chain", chain)?);
    }
    let what = format!("list the rules of table {}", table.label());
    message(Kind::GetRule, NlmF::DUMP, table.family, what, &attributes)
}

fn new(
    flags: NlmF,
    verb: &str,
    table: &Table,
    rule: &Rule,
    position: Option<(u16, u64)>,
) -> Result<Message<'static>> {
    let Rule { chain, expressions, userdata } = rule;
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    attributes.push_text(CHAIN, check_name("chain", chain)?);
    if let Some((kind, handle)) = position {
        attributes.push_be64(kind, handle);
    }
    let mut list = Attributes::default();
    for expression in expressions {
        list.nest_flagged(ITEM, &expression.encode()?);
    }
    attributes.nest_flagged(EXPRESSIONS, &list);
    if !userdata.0.is_empty() {
        attributes.push(USERDATA, userdata.checked("rule")?);
    }
    let what = format!("{verb} rule to chain {} {chain}", table.label());
    message(Kind::NewRule, flags, table.family, what, &attributes)
}

fn delete(table: &Table, chain: Option<&str>, handle: Option<u64>, what: String) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    if let Some(chain) = chain {
        attributes.push_text(CHAIN, check_name("chain", chain)?);
    }
    if let Some(handle) = handle {
        attributes.push_be64(HANDLE, handle);
    }
    message(Kind::DeleteRule, NlmF::empty(), table.family, what, &attributes)
}

/// The name of its table, and the rule.
pub(super) fn read(reply: &Reply<'_>) -> Result<Option<(String, Listed<Rule>)>> {
    let Some(attributes) = attributes(reply, Kind::NewRule)? else { return Ok(None) };
    let (mut table, mut handle, mut rule) = (String::new(), 0, Rule::new(""));
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match kind {
            TABLE => table = read_string(payload),
            CHAIN => rule.chain = read_string(payload),
            HANDLE => handle = be64_at(payload, 0).unwrap_or(0),
            EXPRESSIONS => {
                for item in reply::Attributes(payload) {
                    rule.expressions.extend(Expression::read(item?.1)?);
                }
            }
            USERDATA => rule.userdata = Userdata(payload.to_vec()),
            _ => {}
        }
    }
    Ok(Some((table, Listed { handle, value: rule })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{MetaKey, Value};

    /// What iptables(8) 1.8.9 sent for the commands that stand in it.
    const RECORDED: &str = include_str!("golden/iptables-1.8.9.hex");

    fn recorded(arguments: &str) -> Rule {
        let line = format!("# iptables {arguments}");
        let hex = RECORDED.lines().skip_while(|found| *found != line).nth(1).unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let kind = reply::u16_at(&bytes, 4).unwrap();
        let (table, listed) =
            read(&Reply { kind, flags: 0, sequence: 0, body: &bytes[16..] }).unwrap().unwrap();
        assert_eq!(table, "filter");
        listed.value
    }

    fn accepting(key: MetaKey) -> Rule {
        Rule::new("FORWARD").meta_is(key, Value::text("pbtest0")).counted().accept()
    }

    #[test]
    fn a_rule_can_be_what_iptables_writes() {
        assert_eq!(accepting(MetaKey::IncomingName), recorded("-A FORWARD -i pbtest0 -j ACCEPT"));
    }

    #[test]
    fn comments_are_the_same_wherever_they_are_kept() {
        let theirs = recorded("-A FORWARD -o pbtest0 -m comment --comment pillbox -j ACCEPT");
        let ours = accepting(MetaKey::OutgoingName).commented("pillbox");
        assert_ne!(ours, theirs);
        assert_eq!((ours.comment(), theirs.comment()), (Some("pillbox".into()), Some("pillbox".into())));
        assert!(ours.is_like(&theirs) && theirs.is_like(&ours));
    }

    #[test]
    fn rules_are_alike_but_for_what_they_counted() {
        let rule = || accepting(MetaKey::IncomingName);
        let mut counted = rule();
        counted.expressions[2] = Expression::Counter { packets: 7, bytes: 700 };
        assert!(rule().is_like(&counted));
        for other in [
            accepting(MetaKey::OutgoingName),
            rule().commented("pillbox"),
            Rule { chain: "INPUT".to_string(), ..rule() },
            Rule::new("FORWARD").meta_is(MetaKey::IncomingName, Value::text("pbtest1")).counted().accept(),
            Rule::new("FORWARD").meta_is(MetaKey::IncomingName, Value::text("pbtest0")).counted().drop(),
            Rule::new("FORWARD").meta_is(MetaKey::IncomingName, Value::text("pbtest0")).counted(),
        ] {
            assert!(!rule().is_like(&other), "{other:?}");
        }
        assert_eq!(rule().comment(), None);
    }
}
