//! Rules: which routing table is asked for which packets. Sources: ip-rule(8), linux/fib_rules.h.
//!
//! ```no_run
//! use pillbox_netlink::Socket;
//! use pillbox_netlink::rule::{self, Family, Rule, RuleAction};
//!
//! let mut socket = Socket::open()?;
//! let marked = Rule { mark: Some((1, 1)), ..Rule::new(Family::V4, RuleAction::Table(100)) };
//! socket.request(&[rule::add(&marked)?])?;
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{FrAct, Frattr, Frf, RtAddrFamily, RtTable, Rtm};
use neli::rtnl::{Fibmsg, FibmsgBuilder};

use super::address::{Address, check, read_ip};
use crate::attribute::{Attributes, unencodable};
use crate::error::{Error, Result};
use crate::field::{Inside, Name, Names};
use crate::message::{Message, check_name};
use crate::reply::{self, Reply, read_string, u32_at};
use crate::socket::Socket;

/// `sizeof(struct fib_rule_hdr)`.
const FIBMSG: usize = 12;

/// What the attributes of a rule message are called.
const NAMES: Names = &[
    Name(1, "destination", Inside::Value),
    Name(2, "source", Inside::Value),
    Name(3, "incoming link", Inside::Value),
    Name(4, "goto", Inside::Value),
    Name(6, "priority", Inside::Value),
    Name(10, "mark", Inside::Value),
    Name(14, "shortest prefix", Inside::Value),
    Name(15, "table", Inside::Value),
    Name(16, "mark's mask", Inside::Value),
    Name(17, "outgoing link", Inside::Value),
    Name(21, "protocol", Inside::Value),
];

/// Whose packets a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A rule. What is `None` matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose packets it is for.
    pub family: Family,
    /// Lower ones are asked first; without one the kernel puts it before all others but the first.
    pub priority: Option<u32>,
    /// Where packets come from.
    pub source: Option<Address>,
    /// Where they go.
    pub destination: Option<Address>,
    /// The name of the link that they came in by; `lo`: from this machine.
    pub incoming: Option<String>,
    /// The name of the link that their socket is bound to.
    pub outgoing: Option<String>,
    /// Their mark, and which bits of it count.
    pub mark: Option<(u32, u32)>,
    /// It is for all other packets.
    pub inverted: bool,
    /// What becomes of them.
    pub action: RuleAction,
    /// Routes with a prefix of this length or a shorter one do not count: 0 leaves default routes out.
    pub suppressed_prefix: Option<u32>,
    /// Its origin (`RTPROT_`, linux/rtnetlink.h): 2 the kernel, 4 by hand.
    pub protocol: u8,
}

/// What a rule does (`FR_ACT_`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// That routing table is asked.
    Table(u32),
    /// It goes on at the rule with that priority.
    Goto(u32),
    /// It goes on at the next rule.
    Nothing,
    /// The packet is dropped.
    Blackhole,
    /// It is refused: host unreachable.
    Unreachable,
    /// It is refused: administratively prohibited.
    Prohibit,
}

impl Rule {
    /// A rule for all packets of a family.
    pub const fn new(family: Family, action: RuleAction) -> Self {
        Rule {
            family,
            priority: None,
            source: None,
            destination: None,
            incoming: None,
            outgoing: None,
            mark: None,
            inverted: false,
            action,
            suppressed_prefix: None,
            protocol: 4,
        }
    }
}

/// Adds a rule.
///
/// # Errors
/// A prefix is longer than its address, an address is of another family, a name is not one that a link can
/// have.
pub fn add(rule: &Rule) -> Result<Message<'static>> {
    message(Rtm::Newrule, NlmF::CREATE | NlmF::EXCL, "add", rule)
}

/// Deletes the first rule that is like this one in all that it says.
///
/// # Errors
/// As [`add`].
pub fn delete(rule: &Rule) -> Result<Message<'static>> {
    message(Rtm::Delrule, NlmF::empty(), "delete", rule)
}

/// All rules of the socket's namespace, of both families, in the order in which they are asked.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket) -> Result<Vec<Rule>> {
    let fixed = fixed_part(RtAddrFamily::Unspecified, [0, 0], RtTable::Unspec, FrAct::Unspec, Frf::empty())?;
    let none = Attributes::default();
    let question = Message::new(Rtm::Getrule, NlmF::DUMP, "list rules".to_string(), &fixed, &none, NAMES)?;
    socket.ask(&question, read_rule)
}

fn message(kind: Rtm, flags: NlmF, verb: &str, rule: &Rule) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    let mut prefixes = [0; 2];
    let ends = [(Frattr::Dst, rule.destination), (Frattr::Src, rule.source)];
    for (prefix, (kind, end)) in prefixes.iter_mut().zip(ends) {
        let Some(address) = end else { continue };
        check("rule for", address)?;
        if address.ip.is_ipv4() != (rule.family == Family::V4) {
            return Err(Error::invalid(format_args!("rule for {}: it is for the other family", address.ip)));
        }
        attributes.push_ip(kind, address.ip);
        *prefix = address.prefix;
    }
    for (kind, name) in [(Frattr::Iifname, &rule.incoming), (Frattr::Oifname, &rule.outgoing)] {
        if let Some(name) = name {
            attributes.push_text(kind, check_name(name)?);
        }
    }
    if let Some(priority) = rule.priority {
        attributes.push_u32(Frattr::Priority, priority);
    }
    if let Some((mark, mask)) = rule.mark {
        attributes.push_u32(Frattr::Fwmark, mark);
        attributes.push_u32(Frattr::Fwmask, mask);
    }
    let (action, table) = match rule.action {
        RuleAction::Table(table) => (FrAct::FrActToTbl, table),
        RuleAction::Goto(priority) => {
            attributes.push_u32(Frattr::Goto, priority);
            (FrAct::FrActGoto, 0)
        }
        RuleAction::Nothing => (FrAct::FrActNop, 0),
        RuleAction::Blackhole => (FrAct::FrActBlackhole, 0),
        RuleAction::Unreachable => (FrAct::FrActUnreachable, 0),
        RuleAction::Prohibit => (FrAct::FrActProhibit, 0),
    };
    if table > u32::from(u8::MAX) {
        attributes.push_u32(Frattr::Table, table);
    }
    if let Some(prefix) = rule.suppressed_prefix {
        attributes.push_u32(Frattr::SuppressPrefixlen, prefix);
    }
    attributes.push_u8(Frattr::Protocol, rule.protocol);
    let family = if rule.family == Family::V4 { RtAddrFamily::Inet } else { RtAddrFamily::Inet6 };
    let table = u8::try_from(table).map_or(RtTable::Unspec, RtTable::from);
    let bits = if rule.inverted { Frf::INVERT } else { Frf::empty() };
    let fixed = fixed_part(family, prefixes, table, action, bits)?;
    let at = rule.priority.map(|priority| format!(" {priority}")).unwrap_or_default();
    Message::new(kind, flags, format!("{verb} routing rule{at}"), &fixed, &attributes, NAMES)
}

fn fixed_part(
    family: RtAddrFamily,
    [destination, source]: [u8; 2],
    table: RtTable,
    action: FrAct,
    flags: Frf,
) -> Result<Fibmsg> {
    FibmsgBuilder::default()
        .fib_family(family)
        .fib_dst_len(destination)
        .fib_src_len(source)
        .fib_tos(0)
        .fib_table(table)
        .fib_action(action)
        .fib_flags(flags)
        .build()
        .map_err(|_| unencodable("rule message"))
}

pub(crate) fn read_rule(reply: &Reply<'_>) -> Result<Option<Rule>> {
    if reply.kind != u16::from(Rtm::Newrule) {
        return Ok(None);
    }
    let attributes = reply::Attributes::after(FIBMSG, reply.body)?;
    let &[family, destination, source, _, short_table, _, _, action, ..] = reply.body else {
        return Err(Error::malformed("a rule message is shorter than its fixed part"));
    };
    let flags = Frf::from_bits_retain(u32_at(reply.body, 8).unwrap_or(0));
    let family = match RtAddrFamily::from(family) {
        RtAddrFamily::Inet => Family::V4,
        RtAddrFamily::Inet6 => Family::V6,
        // Multicast routing has rules of its own.
        _ => return Ok(None),
    };
    let mut rule = Rule::new(family, RuleAction::Nothing);
    rule.inverted = flags.contains(Frf::INVERT);
    // The kernel leaves 0 out.
    rule.priority = Some(0);
    let (mut table, mut target, mut mark, mut mask) = (u32::from(short_table), 0, None, None);
    for attribute in attributes {
        let (kind, payload) = attribute?;
        let number = u32_at(payload, 0);
        match Frattr::from(kind) {
            Frattr::Dst => rule.destination = read_ip(payload).map(|ip| Address { ip, prefix: destination }),
            Frattr::Src => rule.source = read_ip(payload).map(|ip| Address { ip, prefix: source }),
            Frattr::Iifname => rule.incoming = Some(read_string(payload)),
            Frattr::Oifname => rule.outgoing = Some(read_string(payload)),
            Frattr::Priority => rule.priority = number,
            Frattr::Fwmark => mark = number,
            Frattr::Fwmask => mask = number,
            Frattr::Table => table = number.unwrap_or(table),
            Frattr::Goto => target = number.unwrap_or(0),
            Frattr::Protocol => rule.protocol = payload.first().copied().unwrap_or(0),
            // All ones: none.
            Frattr::SuppressPrefixlen => rule.suppressed_prefix = number.filter(|&prefix| prefix != u32::MAX),
            _ => {}
        }
    }
    rule.mark = mark.or(mask.map(|_| 0)).map(|mark| (mark, mask.unwrap_or(u32::MAX)));
    rule.action = match FrAct::from(action) {
        FrAct::FrActToTbl => RuleAction::Table(table),
        FrAct::FrActGoto => RuleAction::Goto(target),
        FrAct::FrActBlackhole => RuleAction::Blackhole,
        FrAct::FrActUnreachable => RuleAction::Unreachable,
        FrAct::FrActProhibit => RuleAction::Prohibit,
        _ => RuleAction::Nothing,
    };
    Ok(Some(rule))
}
