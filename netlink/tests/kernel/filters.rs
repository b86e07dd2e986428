//! nf_tables: tables and chains as the kernel lists them, and what it says against batches.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, DataType, Element, ElementData, Expression, Family, Hook, Listed,
    PayloadBase, Policy, Register, Rule, Set, Socket, Table, Userdata, Value, chain, element, priority, rule,
    table,
};
use pillbox_netlink::{Cause, Refusal};
use rustix::io::Errno;

use crate::namespace::{in_fresh_namespace, skip};
use crate::sets::every_set;

/// A socket to nf_tables; `None`, and it is said, on a kernel that has none.
pub fn socket(test: &str) -> Option<Socket> {
    let socket = Socket::open().and_then(|mut socket| {
        table::list(&mut socket)?;
        Ok(socket)
    });
    match socket {
        Ok(socket) => Some(socket),
        Err(error) => {
            skip(test, &format!("this kernel has no nf_tables: {error}"));
            None
        }
    }
}

pub fn with_socket(test: &'static str, body: fn(&mut Socket)) {
    if let Some(mut socket) = socket(test) {
        body(&mut socket);
    }
}

pub fn inet() -> Table {
    Table::new(Family::Inet, "example")
}

fn base(kind: ChainKind, hook: Hook, priority: i32, policy: Policy) -> Base {
    Base { policy: Some(policy), ..Base::new(kind, hook, priority) }
}

pub fn values<T>(listed: Vec<Listed<T>>) -> Vec<T> {
    listed.into_iter().map(|listed| listed.value).collect()
}

/// Table, chains and sets that [`rules`] need.
pub fn ground() -> Batch {
    let mut batch = Batch::new();
    let chains = [
        Chain::new("sub"),
        Chain::based("pre", Base::new(ChainKind::Nat, Hook::Prerouting, priority::DESTINATION_NAT)),
        Chain::based("post", Base::new(ChainKind::Nat, Hook::Postrouting, priority::SOURCE_NAT)),
        Chain::based("forward", Base::new(ChainKind::Filter, Hook::Forward, priority::FILTER)),
    ];
    batch.add_table(&inet()).unwrap();
    for chain in &chains {
        batch.add_chain(&inet(), chain).unwrap();
    }
    for (set, _) in &every_set() {
        batch.add_set(&inet(), set).unwrap();
    }
    batch
}

#[test]
fn tables_and_chains_read_back_as_they_were_added() {
    const TEST: &str = "filters::tables_and_chains_read_back_as_they_were_added";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let commented = Table { userdata: Userdata::comment("ours"), ..inet() };
            let dormant = Table { flags: table::DORMANT, ..Table::new(Family::Ip6, "six") };
            let chains = [
                Chain { userdata: Userdata::comment("called"), ..Chain::new("sub") },
                Chain::based("pre", base(ChainKind::Nat, Hook::Prerouting, -100, Policy::Accept)),
                Chain::based("out", base(ChainKind::Route, Hook::Output, priority::MANGLE, Policy::Accept)),
                Chain::based("in", base(ChainKind::Filter, Hook::Input, 7, Policy::Drop)),
                Chain::based("post", base(ChainKind::Nat, Hook::Postrouting, 100, Policy::Accept)),
            ];
            let mut batch = Batch::new();
            batch.add_table(&commented).unwrap().add_table(&dormant).unwrap();
            for chain in &chains {
                batch.create_chain(&inet(), chain).unwrap();
            }
            socket.commit(&batch).unwrap();
            let tables = values(table::list(socket).unwrap());
            assert!(tables.contains(&commented) && tables.contains(&dormant), "{tables:#?}");
            assert_eq!(table::find(socket, Family::Inet, "example").unwrap().unwrap().value, commented);
            assert_eq!(table::find(socket, Family::Ip, "example").unwrap(), None);
            assert_eq!(values(chain::list(socket, &inet()).unwrap()), chains);
            assert_eq!(chain::list(socket, &dormant).unwrap(), []);
            assert_eq!(chain::find(socket, &inet(), "pre").unwrap().unwrap().value, chains[1]);
            assert_eq!(chain::find(socket, &inet(), "none").unwrap(), None);

            let changed = Chain::based("in", base(ChainKind::Filter, Hook::Input, 7, Policy::Accept));
            let mut batch = Batch::new();
            batch.add_chain(&inet(), &changed).unwrap().delete_chain(&inet(), "sub").unwrap();
            socket.commit(&batch).unwrap();
            assert_eq!(chain::find(socket, &inet(), "in").unwrap().unwrap().value, changed);
            assert_eq!(chain::list(socket, &inet()).unwrap().len(), chains.len() - 1);
            socket.commit(Batch::new().delete_table(&inet()).unwrap()).unwrap();
            assert_eq!(table::find(socket, Family::Inet, "example").unwrap(), None);
        });
    });
}

#[test]
fn ingress_chains_have_a_link() {
    const TEST: &str = "filters::ingress_chains_have_a_link";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let netdev = Table::new(Family::Netdev, "example");
            let at = base(ChainKind::Filter, Hook::Ingress, 0, Policy::Accept);
            let ingress = Chain::based("ingress", Base { device: Some("lo".to_string()), ..at });
            let mut batch = Batch::new();
            batch.add_table(&netdev).unwrap().add_chain(&netdev, &ingress).unwrap();
            socket.commit(&batch).unwrap();
            assert_eq!(values(chain::list(socket, &netdev).unwrap()), [ingress]);

            // What only goes there: packets that are changed and sent out elsewhere.
            let from = Register::FIRST;
            let set = |base, offset, length: u8, checksum, pseudo_header| {
                let length = u32::from(length);
                let set = Expression::SetPayload { base, offset, length, from, checksum, pseudo_header };
                Rule::new("ingress")
                    .then(Expression::Immediate { value: Value(vec![0; 16]), to: from })
                    .then(set)
            };
            let rules = [
                set(PayloadBase::Link, 0, 6, None, false),
                set(PayloadBase::Network, 12, 4, Some(10), true),
                set(PayloadBase::Network, 8, 16, None, true),
                Rule::new("ingress")
                    .then(Expression::Immediate { value: Value::number(1), to: from })
                    .then(Expression::Forward { to: from }),
            ];
            let mut batch = Batch::new();
            for rule in &rules {
                batch.add_rule(&netdev, rule).unwrap();
            }
            socket.commit(&batch).unwrap();
            assert_eq!(values(rule::list(socket, &netdev, Some("ingress")).unwrap()), rules);
        });
    });
}

fn refused(result: pillbox_netlink::Result<()>) -> Refusal {
    match result {
        Err(error) if error.refusal().is_some() => error.refusal().unwrap().clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_batch_changes_nothing_and_says_which_part() {
    const TEST: &str = "filters::a_refused_batch_changes_nothing_and_says_which_part";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            socket.commit(&ground()).unwrap();
            let (ports, elements) = &every_set()[0];
            socket.commit(Batch::new().add_elements(&inet(), ports, &elements[..1]).unwrap()).unwrap();

            // A port that another container has.
            let taken = [
                Element::new(Value::protocol(6).and(Value::port(81))).to(value_at(9, 81)),
                Element::new(Value::protocol(6).and(Value::port(80))).to(value_at(9, 80)),
            ];
            let mut batch = Batch::new();
            batch
                .add_chain(&inet(), &Chain::new("more"))
                .unwrap()
                .add_elements(&inet(), ports, &taken)
                .unwrap();
            let refusal = refused(socket.commit(&batch));
            assert_eq!((refusal.message, refusal.errno), (1, Errno::EXIST));
            let field = refusal.field.as_ref().unwrap();
            assert_eq!((field.path.as_str(), field.item), ("elements[1]", Some(1)));
            assert_eq!(
                refusal.to_string(),
                "add elements of set inet example ports: elements[1]: File exists"
            );
            assert_eq!(element::list(socket, &inet(), ports).unwrap(), elements[..1]);
            assert_eq!(chain::find(socket, &inet(), "more").unwrap(), None);

            // A chain that is not there, a set that is not there, an expression that nobody knows: all at once.
            let nowhere = Rule::new("nowhere").accept();
            let no_set = Rule::new("sub").counted().links_in("none");
            let unknown = Expression::Other { name: "unheard_of".to_string(), data: Vec::new() };
            let mut batch = Batch::new();
            batch
                .add_rule(&inet(), &nowhere)
                .and_then(|batch| batch.add_rule(&inet(), &no_set))
                .and_then(|batch| batch.add_rule(&inet(), &Rule::new("sub").then(unknown)))
                .unwrap();
            let refusals = socket.exchange(&batch).unwrap();
            let seen: Vec<_> = refusals.iter().map(|refusal| (refusal.message, refusal.errno)).collect();
            assert_eq!(seen, [(0, Errno::NOENT), (1, Errno::NOENT), (2, Errno::NOENT)]);
            let path = |at: usize| refusals[at].field.as_ref().map(|field| field.path.as_str());
            assert_eq!(path(0), Some("chain"));
            assert_eq!(path(1), Some("expressions[3] (lookup)"));
            assert_eq!(path(2), Some("expressions[0] (unheard_of)"));
            assert_eq!(rule::list(socket, &inet(), None).unwrap(), []);

            // In step afterwards.
            socket.commit(Batch::new().add_chain(&inet(), &Chain::new("more")).unwrap()).unwrap();
            assert!(
                matches!(socket.commit(&Batch::new()), Err(error) if matches!(error.cause(), Cause::Invalid(_)))
            );
        });
    });
}

fn value_at(last: u8, port: u16) -> Value {
    Value::from(Ipv4Addr::new(10, 88, 0, last)).and(Value::port(port))
}

#[test]
fn a_batch_for_another_generation_is_refused() {
    const TEST: &str = "filters::a_batch_for_another_generation_is_refused";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let before = socket.generation().unwrap();
            let mut first = ground();
            socket.commit(first.expect_generation(before.number)).unwrap();
            let after = socket.generation().unwrap();
            let this = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
            assert_eq!((after.number, after.thread), (before.number + 1, this));
            assert!(!after.name.is_empty());
            let mut second = Batch::new();
            second.add_chain(&inet(), &Chain::new("more")).unwrap().expect_generation(before.number);
            let refusal = refused(socket.commit(&second));
            assert_eq!(refusal.errno.raw_os_error(), 85, "ERESTART: {refusal}");
            socket.commit(second.expect_generation(after.number)).unwrap();
        });
    });
}

#[test]
fn batches_beyond_the_send_buffer_come_through() {
    const TEST: &str = "filters::batches_beyond_the_send_buffer_come_through";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let set = Set::map("many", [DataType::Ipv4Address], [DataType::Mark]);
            let all: Vec<_> =
                (1..20_000).map(|n| Element::new(Ipv4Addr::from(n)).to(Value::number(n))).collect();
            let mut batch = ground();
            batch.add_set(&inet(), &set).unwrap().add_elements(&inet(), &set, &all).unwrap();
            socket.commit(&batch).unwrap();
            assert_eq!(element::list(socket, &inet(), &set).unwrap().len(), all.len());
            // An element deep in the third message.
            let mut others = all;
            others[7_000].data = Some(ElementData::Value(Value::number(1)));
            let refusal = refused(socket.commit(Batch::new().add_elements(&inet(), &set, &others).unwrap()));
            assert_eq!((refusal.errno, refusal.field.unwrap().item), (Errno::EXIST, Some(7_000)));
            // More refusals than the receive buffer takes.
            let mut batch = Batch::new();
            for _ in 0..3_000 {
                batch.add_rule(&inet(), &Rule::new("nowhere").accept()).unwrap();
            }
            assert!(socket.exchange(&batch).unwrap().len() > 10);
            socket.commit(Batch::new().delete_table(&inet()).unwrap()).unwrap();
        });
    });
}

#[test]
fn only_a_netfilter_socket_is_taken() {
    let route: OwnedFd = pillbox_netlink::Socket::open().unwrap().into();
    assert!(matches!(Socket::from_fd(route), Err(error) if matches!(error.cause(), Cause::Invalid(_))));
    if let Some(socket) = socket("filters::only_a_netfilter_socket_is_taken") {
        let fd: OwnedFd = socket.into();
        assert!(
            matches!(pillbox_netlink::Socket::from_fd(fd.try_clone().unwrap()), Err(error) if matches!(error.cause(), Cause::Invalid(_)))
        );
        assert!(Socket::from_fd(fd).is_ok());
    }
}
