//! Our bytes against recorded ones: golden/nft-1.0.6.hex is what nft(8) 1.0.6 sent for golden/rules.nft, a
//! message a line, and golden/netdev-nft-1.0.6.hex for golden/netdev.nft.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::expression::Lookup;
use super::*;
use crate::reply::{self, be32_at, u16_at, u32_at};

const RECORDED: &str = include_str!("golden/nft-1.0.6.hex");
const RECORDED_NETDEV: &str = include_str!("golden/netdev-nft-1.0.6.hex");

/// A message so that only what it says counts: its type and flags, and its attributes sorted.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    kind: u16,
    flags: u16,
    attributes: Vec<Attribute>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Attribute {
    Value(u16, Vec<u8>),
    Nest(u16, Vec<Attribute>),
}

fn plain(message: &[u8]) -> Plain {
    const ACK: u16 = 4;
    let flags = u16_at(message, 6).unwrap() & !ACK;
    Plain { kind: u16_at(message, 4).unwrap(), flags, attributes: attributes(&message[20..]) }
}

/// Lists keep their order, all else is sorted by type.
fn attributes(bytes: &[u8]) -> Vec<Attribute> {
    const NESTED: u16 = 0x8000;
    let mut list: Vec<_> = reply::Positions::new(bytes)
        .map(|(kind, payload, start)| {
            if u16_at(bytes, start + 2).unwrap() & NESTED == 0 {
                Attribute::Value(kind, payload.to_vec())
            } else {
                Attribute::Nest(kind, attributes(payload))
            }
        })
        .collect();
    let is_list = list.len() > 1 && list.iter().all(|attribute| matches!(attribute, Attribute::Nest(1, _)));
    if !is_list {
        list.sort();
    }
    list
}

/// What nft sends beside that: numbers of sets that have names, items of a list counted, how to show what a
/// set's types do not say, and a flag that the kernel sets itself.
fn without_extras(mut message: Plain) -> Plain {
    const NEW_RULE: u16 = 0xa06;
    const NEW_SET: u16 = 0xa09;
    const NEW_ELEMENT: u16 = 0xa0c;
    match message.kind {
        NEW_SET => message.attributes.retain(|attribute| !matches!(attribute, Attribute::Value(13, _))),
        NEW_ELEMENT => {
            message.attributes.retain(|attribute| !matches!(attribute, Attribute::Value(4, _)));
            for attribute in &mut message.attributes {
                if let Attribute::Nest(3, items) = attribute {
                    for item in items {
                        if let Attribute::Nest(kind, _) = item {
                            *kind = 1;
                        }
                    }
                }
            }
        }
        NEW_RULE => {
            for attribute in &mut message.attributes {
                if let Attribute::Nest(4, expressions) = attribute {
                    expressions.iter_mut().for_each(without_extras_of_expression);
                }
            }
        }
        _ => {}
    }
    message
}

fn without_extras_of_expression(expression: &mut Attribute) {
    let Attribute::Nest(1, parts) = expression else { panic!("{expression:?}") };
    let [Attribute::Value(1, name), rest @ ..] = &mut parts[..] else { panic!("{parts:?}") };
    if let [Attribute::Nest(2, data)] = rest {
        match &name[..] {
            b"lookup\0" => data.retain(|attribute| !matches!(attribute, Attribute::Value(4, _))),
            b"redir\0" => data.retain(|attribute| *attribute != Attribute::Value(3, vec![0, 0, 0, 2])),
            _ => {}
        }
    }
}

fn bytes(line: &str) -> Vec<u8> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

fn split(mut wire: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !wire.is_empty() {
        let length = usize::try_from(u32_at(wire, 0).unwrap()).unwrap();
        messages.push(wire[..length].to_vec());
        wire = &wire[reply::align(length)..];
    }
    messages
}

fn accepting(kind: ChainKind, hook: Hook, priority: i32) -> Base {
    Base { policy: Some(Policy::Accept), ..Base::new(kind, hook, priority) }
}

/// What rules.nft says, by our builders.
fn ruleset() -> Batch {
    let table = Table::new(Family::Inet, "pillbox");
    let mut batch = Batch::new();
    chains_and_sets(&mut batch, &table);
    rules(&mut batch, &table);
    batch
}

fn chains_and_sets(batch: &mut Batch, table: &Table) {
    let address_and_port = [DataType::Ipv4Address, DataType::Port];
    let ports = Set::map("ports", [DataType::Protocol, DataType::Port], address_and_port);
    let bridges = Set::new("bridges", [DataType::LinkName]);
    let same = Set {
        comment: Some("hello".to_string()),
        ..Set::new("same", [DataType::LinkIndex, DataType::LinkIndex])
    };
    let nets = Set::new("nets", [DataType::Ipv4Address]).of_ranges();
    let wide = Set::new("wide", address_and_port).of_ranges();
    let verdicts = Set::verdicts("verdicts", [DataType::Port]);
    let drop_all = Base { policy: Some(Policy::Drop), ..Base::new(ChainKind::Filter, Hook::Forward, 0) };
    let published = Element::new(Value::protocol(6).and(Value::port(8080)))
        .to(Value::from(Ipv4Addr::new(10, 88, 0, 5)).and(Value::port(80)));
    let ranges = [
        Element::network(Ipv4Addr::new(0, 0, 0, 0), 8),
        Element::network(Ipv4Addr::new(10, 88, 0, 0), 16),
        Element::range(Ipv4Addr::new(192, 168, 1, 5), Ipv4Addr::new(192, 168, 1, 9)),
    ];
    let concatenated = Element::range(
        Value::from(Ipv4Addr::new(10, 0, 0, 0)).and(Value::port(80)),
        Value::from(Ipv4Addr::new(10, 255, 255, 255)).and(Value::port(90)),
    );
    let decisions = [
        Element::new(Value::port(80)).verdict(Verdict::Accept),
        Element::new(Value::port(81)).verdict(Verdict::Jump("sub".to_string())),
    ];
    batch
        .add_table(table)
        .and_then(|batch| {
            batch.add_chain(table, &Chain { userdata: Userdata::comment("c"), ..Chain::new("sub") })
        })
        .and_then(|batch| {
            let base = accepting(ChainKind::Nat, Hook::Prerouting, priority::DESTINATION_NAT);
            batch.add_chain(table, &Chain::based("pre", base))
        })
        .and_then(|batch| {
            let base = accepting(ChainKind::Nat, Hook::Postrouting, priority::SOURCE_NAT);
            batch.add_chain(table, &Chain::based("post", base))
        })
        .and_then(|batch| batch.add_chain(table, &Chain::based("forward", drop_all)))
        .and_then(|batch| batch.add_set(table, &ports)?.add_elements(table, &ports, &[published]))
        .and_then(|batch| {
            let element = Element::new(Value::interface("br0"));
            batch.add_set(table, &bridges)?.add_elements(table, &bridges, &[element])
        })
        .and_then(|batch| batch.add_set(table, &same))
        .and_then(|batch| batch.add_set(table, &nets)?.add_elements(table, &nets, &ranges))
        .and_then(|batch| batch.add_set(table, &wide)?.add_elements(table, &wide, &[concatenated]))
        .and_then(|batch| batch.add_set(table, &verdicts)?.add_elements(table, &verdicts, &decisions))
        .unwrap();
}

fn rules(batch: &mut Batch, table: &Table) {
    const FIRST: Register = Register::FIRST;
    let second = FIRST.behind(4).unwrap();
    let payload = |base, offset, length, to| Expression::Payload { base, offset, length, to };
    let tcp = |rule: Rule| rule.meta_is(MetaKey::TransportProtocol, Value::protocol(6));
    let ipv4 = |rule: Rule| rule.meta_is(MetaKey::Family, Value(vec![2]));
    let in_wide =
        Expression::Lookup { set: "wide".to_string(), id: None, key: FIRST, result: Lookup::Present };
    // nft leaves the family out where the set's type says it.
    let mut publish = Rule::new("pre").local_destination().dnat_by_map("ports").commented("publish");
    publish.expressions.drain(2..4);
    let before = [
        Rule::new("sub").counted().verdict(Verdict::Return),
        publish,
        tcp(Rule::new("pre")).redirect(8081),
        Rule::new("pre").network(End::Destination, Ipv6Addr::LOCALHOST, 128).verdict(Verdict::Return),
        Rule::new("post")
            .network(End::Source, Ipv4Addr::new(10, 88, 0, 0), 16)
            .meta_is_not(MetaKey::OutgoingName, Value::interface("br0"))
            .masquerade(),
        Rule::new("post")
            .network(End::Source, Ipv4Addr::LOCALHOST, 8)
            .then(Expression::Immediate { value: Value::number(1), to: FIRST })
            .then(Expression::SetMeta { key: MetaKey::Mark, from: FIRST })
            .then(Expression::Masquerade { port: None, last_port: None, flags: nat::RANDOM }),
        Rule::new("forward").connection_state(connection::ESTABLISHED | connection::RELATED).accept(),
        Rule::new("forward").connection_status(connection::DESTINATION_TRANSLATED).accept(),
        Rule::new("forward").links_in("same").accept(),
        Rule::new("forward").port_verdict(6, "verdicts"),
        tcp(ipv4(Rule::new("forward")))
            .then(payload(PayloadBase::Network, 12, 4, FIRST))
            .then(payload(PayloadBase::Transport, 2, 2, second))
            .then(in_wide)
            .then(Expression::Meta { key: MetaKey::Mark, to: FIRST })
            .then(Expression::SetConnection { key: ConnectionKey::Mark, from: FIRST }),
        Rule::new("forward").then(Expression::Reject(Reject::IcmpAny(3))),
    ];
    for rule in &before {
        batch.add_rule(table, rule).unwrap();
    }
    let anonymous = Set { anonymous: true, constant: true, ..Set::new("__set%d", [DataType::Port]) };
    let anonymous = Set { size: Some(2), ..anonymous };
    batch.add_set(table, &anonymous).unwrap();
    let id = batch.last_set();
    let two = [1, 2].map(|port| Element::new(Value::port(port)));
    let lookup = Expression::Lookup { set: "__set%d".to_string(), id, key: FIRST, result: Lookup::Present };
    let last =
        tcp(Rule::new("forward")).then(payload(PayloadBase::Transport, 2, 2, FIRST)).then(lookup).drop();
    batch.add_elements(table, &anonymous, &two).unwrap().add_rule(table, &last).unwrap();
}

/// What netdev.nft says, by our builders.
fn netdev_ruleset() -> Batch {
    const FIRST: Register = Register::FIRST;
    let table = Table::new(Family::Netdev, "example");
    let device = Some("br0".to_string());
    let base = Base { device, ..accepting(ChainKind::Filter, Hook::Ingress, priority::FILTER) };
    let ethernet = |protocol| Rule::new("ingress").meta_is(MetaKey::Protocol, Value::port(protocol));
    let set = |base, offset, length, checksum, pseudo_header| Expression::SetPayload {
        base,
        offset,
        length,
        from: FIRST,
        checksum,
        pseudo_header,
    };
    let immediate = |value| Expression::Immediate { value, to: FIRST };
    let compare = |value| Expression::Compare { register: FIRST, comparison: Comparison::Equal, value };
    let to_loopback = ethernet(0x86dd)
        .then(Expression::Payload { base: PayloadBase::Network, offset: 24, length: 16, to: FIRST })
        .then(compare(Ipv6Addr::LOCALHOST.into()))
        .then(Expression::Meta { key: MetaKey::IncomingType, to: FIRST })
        .then(compare(Value(1u16.to_ne_bytes().to_vec())))
        .then(immediate(Value(vec![0; 6])))
        .then(set(PayloadBase::Link, 0, 6, None, false))
        .then(immediate(Value::number(1)))
        .then(Expression::Forward { to: FIRST });
    let other_source = ethernet(0x800).then(immediate(Ipv4Addr::new(192, 0, 2, 1).into())).then(set(
        PayloadBase::Network,
        12,
        4,
        Some(10),
        true,
    ));
    let other_source6 = ethernet(0x86dd)
        .then(immediate(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()))
        .then(set(PayloadBase::Network, 8, 16, None, true));
    let mut batch = Batch::new();
    batch.add_table(&table).unwrap().add_chain(&table, &Chain::based("ingress", base)).unwrap();
    for rule in [to_loopback, other_source, other_source6] {
        batch.add_rule(&table, &rule).unwrap();
    }
    batch
}

#[test]
fn a_batch_says_what_nft_says() {
    for (recorded, ours) in [(RECORDED, ruleset()), (RECORDED_NETDEV, netdev_ruleset())] {
        assert_same(recorded, &ours);
    }
}

fn assert_same(recorded: &str, ours: &Batch) {
    let recorded: Vec<Plain> = recorded.lines().map(|line| without_extras(plain(&bytes(line)))).collect();
    let ours: Vec<Plain> =
        split(&ours.encode(7).unwrap()).iter().map(|message| without_extras(plain(message))).collect();
    assert_eq!(ours.len(), recorded.len());
    for (index, (ours, mut recorded)) in ours.iter().zip(recorded).enumerate() {
        // nft makes tables without NLM_F_CREATE, which the kernel does not look at there.
        if recorded.kind == 0xa00 {
            recorded.flags |= 0x400;
        }
        assert_eq!(*ours, recorded, "message {index}");
    }
}

#[test]
fn batches_are_framed_and_numbered() {
    let mut batch = ruleset();
    batch.expect_generation(0x0102_0304);
    let messages = split(&batch.encode(u32::MAX).unwrap());
    assert_eq!(messages.len(), batch.len() + 2);
    let numbers: Vec<u32> = messages.iter().map(|message| u32_at(message, 8).unwrap()).collect();
    assert_eq!(numbers[..3], [u32::MAX, 0, 1]);
    // family, version, resource id; NFNL_BATCH_GENID.
    assert_eq!(messages[0][16..20], [0, 0, 0, 10]);
    assert_eq!(be32_at(&messages[0], 24), Some(0x0102_0304));
    let acknowledged: Vec<bool> =
        messages.iter().map(|message| u16_at(message, 6).unwrap() & 4 != 0).collect();
    assert_eq!(acknowledged.iter().filter(|asked| **asked).count(), 1);
    assert!(acknowledged[messages.len() - 2]);
}

#[test]
fn many_elements_make_several_messages() {
    let table = Table::new(Family::Ip, "t");
    let set = Set::new("s", [DataType::Ipv4Address]).of_ranges();
    let elements: Vec<_> =
        (0..5000u32).map(|n| Element::new(Ipv4Addr::from(n * 4)).commented("one of five thousand")).collect();
    let mut batch = Batch::new();
    batch.add_elements(&table, &set, &elements).unwrap();
    assert!(batch.len() > 2, "{}", batch.len());
    for message in split(&batch.encode(0).unwrap()) {
        assert!(message.len() < usize::from(u16::MAX));
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    let table = Table::new(Family::Netdev, "t");
    let mut batch = Batch::new();
    let base = Base::new(ChainKind::Filter, Hook::Forward, 0);
    assert!(batch.add_chain(&table, &Chain::based("c", base)).is_err());
    assert!(batch.add_table(&Table::new(Family::Inet, "")).is_err());
    assert!(batch.add_table(&Table::new(Family::Inet, "n".repeat(256))).is_err());
    assert!(batch.add_set(&table, &Set::new("s", [])).is_err());
    assert!(batch.add_set(&table, &Set::new("s", [DataType::Ipv6Address; 5])).is_err());
    assert!(batch.add_rule(&table, &Rule::new("c").commented(&"c".repeat(300))).is_err());
    let mask = Expression::Bitwise {
        from: Register::FIRST,
        to: Register::FIRST,
        mask: Value::number(1),
        xor: Value::port(1),
    };
    assert!(batch.add_rule(&table, &Rule::new("c").then(mask)).is_err());
    assert!(batch.is_empty());
}

/// Seeded: the same inputs on every run.
#[test]
fn mutated_listings_end_and_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 8).unwrap()
    };
    let recorded: Vec<Vec<u8>> = RECORDED.lines().map(bytes).collect();
    for _ in 0..50_000 {
        let mut message = recorded[random() % recorded.len()].clone();
        for _ in 0..1 + random() % 4 {
            let at = 16 + random() % (message.len() - 16);
            message[at] = random().to_le_bytes()[0];
        }
        let body = &message[16..];
        let kind = u16_at(&message, 4).unwrap();
        read_anything(&reply::Reply { kind, flags: 0, sequence: 0, body });
    }
}
