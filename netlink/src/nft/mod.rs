//! nf_tables: tables, chains, sets, maps and rules of the kernel's packet filter. Sources:
//! linux/netfilter/nf_tables.h, nft(8).
//!
//! Changes are collected in a [`Batch`] and committed by a [`Socket`] with one system call: all of them are
//! made, or none. What there is, is listed by the functions `list` and `find` of the modules, as the values
//! that were added. nf_tables itself decides little about rules: a rule is a list of small [`Expression`]s
//! that work on registers. The methods of [`Rule`] write the usual ones.
//!
//! Publishing a port, with everything that it needs:
//!
//! ```no_run
//! use std::net::Ipv4Addr;
//!
//! use pillbox_netlink::nft::{
//!     Base, Batch, Chain, ChainKind, DataType, Element, End, Family, Hook, MetaKey, Rule, Set, Socket, Table, Value,
//!     priority,
//! };
//!
//! let mut socket = Socket::open()?;
//! let table = Table::new(Family::Inet, "example");
//! let address = [DataType::Ipv4Address, DataType::Port];
//! let ports = Set::map("ports", [DataType::Protocol, DataType::Port], address);
//! let pre = Base::new(ChainKind::Nat, Hook::Prerouting, priority::DESTINATION_NAT);
//! let post = Base::new(ChainKind::Nat, Hook::Postrouting, priority::SOURCE_NAT);
//! let mut batch = Batch::new();
//! batch
//!     .add_table(&table)?
//!     .add_chain(&table, &Chain::based("pre", pre))?
//!     .add_chain(&table, &Chain::based("post", post))?
//!     .add_set(&table, &ports)?
//!     .add_rule(&table, &Rule::new("pre").local_destination().dnat_by_map("ports"))?
//!     .add_rule(
//!         &table,
//!         &Rule::new("post")
//!             .network(End::Source, Ipv4Addr::new(10, 88, 0, 0), 16)
//!             .meta_is_not(MetaKey::OutgoingName, Value::interface("br0"))
//!             .masquerade(),
//!     )?
//!     .add_elements(
//!         &table,
//!         &ports,
//!         &[Element::new(Value::protocol(6).and(Value::port(8080)))
//!             .to(Value::from(Ipv4Addr::new(10, 88, 0, 5)).and(Value::port(80)))
//!             .commented("container 7")],
//!     )?;
//! socket.commit(&batch)?;
//! # Ok::<(), pillbox_netlink::Error>(())
//! ```

mod batch;
pub mod chain;
mod condition;
mod data;
pub mod element;
mod expression;
mod message;
pub mod outline;
pub mod rule;
pub mod set;
mod socket;
pub mod table;
mod userdata;
mod verdict;

pub use batch::Batch;
pub use chain::{Base, Chain, ChainKind, Hook, Policy, priority};
pub use condition::{End, connection};
pub use data::{DataType, Value};
pub use element::{Element, ElementData};
pub use expression::{
    Comparison, ConnectionKey, Direction, Expression, FibResult, Lookup, MetaKey, NatKind, PayloadBase,
    Register, Reject, fib, nat,
};
pub use message::{Family, Listed};
pub use outline::Outline;
pub use rule::{Place, Rule};
pub use set::{Set, SetData};
pub use socket::{Generation, Socket};
pub use table::Table;
pub use userdata::Userdata;
pub use verdict::Verdict;

#[cfg(test)]
pub(crate) use message::tests::read_anything;

#[cfg(test)]
mod tests;
