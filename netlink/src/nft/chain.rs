//! Chains: rules in order. A base chain is called by the kernel, the others by rules.
//!
//! Each base chain of a hook decides for itself, and a packet that one of them drops is gone, whatever the
//! others say. The chains that drop packets which pass through this machine:
//!
//! ```no_run
//! use pillbox_netlink::nft::{Base, Hook, Policy, Socket, chain};
//!
//! let mut socket = Socket::open()?;
//! for (table, listed) in chain::list_all(&mut socket)? {
//!     if let Some(Base { hook: Hook::Forward, policy: Some(Policy::Drop), .. }) = listed.value.base {
//!         println!("chain {} of table {} {}", listed.value.name, table.family.name(), table.name);
//!     }
//! }
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

use neli::consts::nl::NlmF;

use super::message::{Kind, attributes, check_name, family, message, unspecific};
use super::table::none_if_absent;
use super::{Batch, Family, Listed, Socket, Table, Userdata};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::message::{Message, check_name as check_link_name};
use crate::reply::{self, Reply, be32_at, be64_at, read_string};

const TABLE: u16 = 1;
const HANDLE: u16 = 2;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const TYPE: u16 = 7;
const USERDATA: u16 = 12;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;

/// Where a base chain stands among others of its hook, lower ones first (linux/netfilter_ipv4.h,
/// `NF_IP_PRI_`).
pub mod priority {
    /// Before connections are tracked.
    pub const RAW: i32 = -300;
    /// Where packets are marked.
    pub const MANGLE: i32 = -150;
    /// Where destinations are translated.
    pub const DESTINATION_NAT: i32 = -100;
    /// Where packets are filtered.
    pub const FILTER: i32 = 0;
    /// Where sources are translated.
    pub const SOURCE_NAT: i32 = 100;
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name, 1 to 255 bytes.
    pub name: String,
    /// Where the kernel calls it, if it does.
    pub base: Option<Base>,
    /// Data of its maker's, a comment for example.
    pub userdata: Userdata,
}

/// Where the kernel calls a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// What it may do.
    pub kind: ChainKind,
    /// When.
    pub hook: Hook,
    /// Where it stands among others of its hook, lower ones first; see [`priority`].
    pub priority: i32,
    /// What becomes of packets that pass all rules. To be set: without one it stays, and for a new chain is
    /// accept.
    pub policy: Option<Policy>,
    /// The name of the link, for [`Hook::Ingress`] and [`Hook::Egress`].
    pub device: Option<String>,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Filter.
    Filter,
    /// Translate addresses; it sees the first packet of each connection only.
    Nat,
    /// Have packets routed again that it changed.
    Route,
}

/// When a base chain is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// For packets to this machine.
    Input,
    /// For packets through this machine.
    Forward,
    /// For packets from this machine.
    Output,
    /// After routing.
    Postrouting,
    /// Right behind a link.
    Ingress,
    /// Right before a link.
    Egress,
}

/// What becomes of packets that pass all rules of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They are gone.
    Drop = 0,
    /// They pass.
    Accept = 1,
}

impl Hook {
    const ALL: [Hook; 7] = [
        Hook::Prerouting,
        Hook::Input,
        Hook::Forward,
        Hook::Output,
        Hook::Postrouting,
        Hook::Ingress,
        Hook::Egress,
    ];

    /// Its number, which depends on the family (linux/netfilter.h, linux/netfilter_arp.h).
    fn number(self, family: Family) -> Option<u32> {
        match (family, self) {
            (Family::Netdev, Hook::Ingress) | (Family::Arp, Hook::Input) => Some(0),
            (Family::Netdev, Hook::Egress) | (Family::Arp, Hook::Output) => Some(1),
            (Family::Netdev | Family::Arp, _) | (_, Hook::Egress) => None,
            (_, Hook::Prerouting) => Some(0),
            (_, Hook::Input) => Some(1),
            (_, Hook::Forward) => Some(2),
            (_, Hook::Output) => Some(3),
            (_, Hook::Postrouting) => Some(4),
            (Family::Inet, Hook::Ingress) => Some(5),
            (_, Hook::Ingress) => None,
        }
    }
}

impl Base {
    /// Where a chain is called, with the policy left to the kernel.
    pub const fn new(kind: ChainKind, hook: Hook, priority: i32) -> Self {
        Base { kind, hook, priority, policy: None, device: None }
    }
}

impl Chain {
    /// A chain that rules call.
    pub fn new(name: impl Into<String>) -> Self {
        Chain { name: name.into(), base: None, userdata: Userdata::default() }
    }

    /// A chain that the kernel calls.
    pub fn based(name: impl Into<String>, base: Base) -> Self {
        Chain { base: Some(base), ..Chain::new(name) }
    }
}

impl Batch {
    /// Adds a chain, if there is none of that name; of one that is there the policy changes.
    ///
    /// # Errors
    /// A name or the userdata is too long, or the table's family has no such hook.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain) -> Result<&mut Self> {
        Ok(self.push(new(NlmF::CREATE, "add", table, chain)?))
    }

    /// Adds a chain; that there is one of that name is an error (EEXIST).
    ///
    /// # Errors
    /// As [`Batch::add_chain`].
    pub fn create_chain(&mut self, table: &Table, chain: &Chain) -> Result<&mut Self> {
        Ok(self.push(new(NlmF::CREATE | NlmF::EXCL, "create", table, chain)?))
    }

    /// Deletes a chain with its rules; one that a rule calls is not deleted (EBUSY).
    ///
    /// # Errors
    /// A name is too long.
    pub fn delete_chain(&mut self, table: &Table, name: &str) -> Result<&mut Self> {
        let message = named(Kind::DeleteChain, NlmF::empty(), "delete", table, name)?;
        Ok(self.push(message))
    }
}

/// All chains of a table.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket, table: &Table) -> Result<Vec<Listed<Chain>>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    let what = format!("list the chains of table {}", table.label());
    let question = message(Kind::GetChain, NlmF::DUMP, table.family, what, &attributes)?;
    // Not every kernel leaves other tables' out.
    let answers = socket.0.ask(&question, read)?.into_iter();
    Ok(answers.filter(|(name, _)| *name == table.name).map(|(_, listed)| listed).collect())
}

/// The chains of all tables of all families, each with its table, of which only family and name are known.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list_all(socket: &mut Socket) -> Result<Vec<(Table, Listed<Chain>)>> {
    let question = unspecific(Kind::GetChain, NlmF::DUMP, "list chains".to_string())?;
    socket.0.ask(&question, |reply| {
        let table = |name| family(reply).map(|family| Table::new(family, name));
        Ok(read(reply)?.and_then(|(name, listed)| Some((table(name)?, listed))))
    })
}

/// The chain of that name, if there is one.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn find(socket: &mut Socket, table: &Table, name: &str) -> Result<Option<Listed<Chain>>> {
    let question = named(Kind::GetChain, NlmF::empty(), "look up", table, name)?;
    Ok(none_if_absent(socket.0.ask(&question, read))?.map(|(_, listed)| listed))
}

fn named(kind: Kind, flags: NlmF, verb: &str, table: &Table, name: &str) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    attributes.push_text(NAME, check_name("chain", name)?);
    message(kind, flags, table.family, format!("{verb} chain {} {name}", table.label()), &attributes)
}

fn new(flags: NlmF, verb: &str, table: &Table, chain: &Chain) -> Result<Message<'static>> {
    let Chain { name, base, userdata } = chain;
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    attributes.push_text(NAME, check_name("chain", name)?);
    if let Some(Base { kind, hook, priority, policy, device }) = base {
        let number = hook.number(table.family).ok_or_else(|| {
            let family = table.family.name();
            Error::invalid(format_args!("chain {name}: tables of family {family} have no hook {hook:?}"))
        })?;
        let mut nest = Attributes::default();
        nest.push_be32(HOOK_NUMBER, number);
        nest.push_be32(HOOK_PRIORITY, priority.cast_unsigned());
        if let Some(device) = device {
            nest.push_text(HOOK_DEVICE, check_link_name(device)?);
        }
        attributes.nest_flagged(HOOK, &nest);
        attributes.push_text(TYPE, word(*kind));
        if let Some(policy) = *policy {
            attributes.push_be32(POLICY, policy as u32);
        }
    }
    if !userdata.0.is_empty() {
        attributes.push(USERDATA, userdata.checked("chain")?);
    }
    let what = format!("{verb} chain {} {name}", table.label());
    message(Kind::NewChain, flags, table.family, what, &attributes)
}

fn word(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
        ChainKind::Route => "route",
    }
}

/// The name of its table, and the chain.
pub(super) fn read(reply: &Reply<'_>) -> Result<Option<(String, Listed<Chain>)>> {
    let Some(attributes) = attributes(reply, Kind::NewChain)? else { return Ok(None) };
    let (mut table, mut handle, mut chain) = (String::new(), 0, Chain::new(""));
    let (mut hook, mut kind, mut policy) = (None, None, None);
    for attribute in attributes {
        let (number, payload) = attribute?;
        match number {
            TABLE => table = read_string(payload),
            HANDLE => handle = be64_at(payload, 0).unwrap_or(0),
            NAME => chain.name = read_string(payload),
            HOOK => hook = Some(payload),
            TYPE => kind = read_kind(&read_string(payload)),
            POLICY => policy = be32_at(payload, 0),
            USERDATA => chain.userdata = Userdata(payload.to_vec()),
            _ => {}
        }
    }
    if let Some((hook, kind)) = hook.zip(kind)
        && let Some(family) = family(reply)
    {
        chain.base = read_base(hook, kind, family)?;
    }
    if let Some(base) = &mut chain.base {
        base.policy = policy.map(|number| if number == 0 { Policy::Drop } else { Policy::Accept });
    }
    Ok(Some((table, Listed { handle, value: chain })))
}

fn read_kind(word_read: &str) -> Option<ChainKind> {
    [ChainKind::Filter, ChainKind::Nat, ChainKind::Route].into_iter().find(|kind| word(*kind) == word_read)
}

fn read_base(nest: &[u8], kind: ChainKind, family: Family) -> Result<Option<Base>> {
    let number = reply::find(nest, HOOK_NUMBER)?.and_then(|payload| be32_at(payload, 0));
    let priority = reply::find(nest, HOOK_PRIORITY)?.and_then(|payload| be32_at(payload, 0)).unwrap_or(0);
    let hook =
        Hook::ALL.into_iter().find(|hook| hook.number(family).is_some() && hook.number(family) == number);
    let device = reply::find(nest, HOOK_DEVICE)?.map(read_string);
    Ok(hook.map(|hook| Base { device, ..Base::new(kind, hook, priority.cast_signed()) }))
}
