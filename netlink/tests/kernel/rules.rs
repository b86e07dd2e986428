//! nf_tables: rules as the kernel lists them.

use std::net::{Ipv4Addr, Ipv6Addr};

use pillbox_netlink::nft::{
    Batch, Comparison, ConnectionKey, Direction, End, Expression, Family, FibResult, Lookup, MetaKey,
    NatKind, PayloadBase, Place, Register, Reject, Rule, Socket, Value, Verdict, connection, fib, nat, rule,
};

use crate::filters::{ground, inet, values, with_socket};
use crate::namespace::in_fresh_namespace;

const FIRST: Register = Register::FIRST;

fn second() -> Register {
    FIRST.behind(4).unwrap()
}

/// Every kind of expression, in rules that make sense to the kernel.
fn rules() -> Vec<Rule> {
    let lookup =
        |set: &str, result| Expression::Lookup { set: set.to_string(), id: None, key: FIRST, result };
    let payload = |base, offset, length| Expression::Payload { base, offset, length, to: FIRST };
    let nat = |kind, family, port: Option<Register>, last_port, flags| Expression::Nat {
        kind,
        family,
        address: Some(FIRST),
        last_address: None,
        port,
        last_port,
        flags,
    };
    let address = |last| Value::from(Ipv4Addr::new(10, 88, 0, last));
    let ipv4 = |rule: Rule| rule.meta_is(MetaKey::Family, Value(vec![2]));
    let tcp = |rule: Rule| rule.meta_is(MetaKey::TransportProtocol, Value::protocol(6));
    vec![
        Rule::new("pre").local_destination().dnat_by_map("ports").commented("publish"),
        Rule::new("pre").network(End::Destination, Ipv6Addr::LOCALHOST, 128).verdict(Verdict::Return),
        tcp(Rule::new("pre")).redirect(8081),
        ipv4(Rule::new("pre")).dnat(Ipv4Addr::new(10, 88, 0, 5), None),
        tcp(Rule::new("pre").meta_is(MetaKey::Family, Value(vec![10]))).dnat(Ipv6Addr::LOCALHOST, Some(80)),
        Rule::new("post")
            .network(End::Source, Ipv4Addr::new(10, 88, 0, 0), 12)
            .not_network(End::Destination, Ipv4Addr::new(10, 88, 0, 0), 16)
            .meta_is_not(MetaKey::OutgoingName, Value::interface("br0"))
            .then(Expression::COUNTER)
            .masquerade(),
        tcp(Rule::new("post"))
            .then(Expression::Immediate { value: Value::port(1000), to: FIRST })
            .then(Expression::Immediate { value: Value::port(2000), to: second() })
            .then(Expression::Masquerade {
                port: Some(FIRST),
                last_port: Some(second()),
                flags: nat::FULLY_RANDOM,
            }),
        tcp(ipv4(Rule::new("post")))
            .then(Expression::Immediate { value: address(1), to: FIRST })
            .then(Expression::Immediate { value: Value::port(1000), to: second() })
            .then(nat(NatKind::Source, Family::Ip, Some(second()), None, nat::PERSISTENT)),
        Rule::new("forward").connection_state(connection::ESTABLISHED | connection::RELATED).accept(),
        Rule::new("forward").connection_status(connection::DESTINATION_TRANSLATED).accept(),
        Rule::new("forward").links_in("same").accept(),
        Rule::new("forward")
            .meta_in(MetaKey::IncomingName, "bridges")
            .meta_not_in(MetaKey::OutgoingName, "bridges"),
        Rule::new("forward").port_verdict(6, "verdicts"),
        Rule::new("forward").port(17, End::Source, 53).drop(),
        ipv4(Rule::new("forward")).then(payload(PayloadBase::Network, 12, 4)).then(Expression::Range {
            register: FIRST,
            inverted: true,
            first: address(1),
            last: address(9),
        }),
        Rule::new("forward")
            .then(Expression::Connection {
                key: ConnectionKey::DestinationIpv4,
                direction: Some(Direction::Original),
                to: FIRST,
            })
            .then(Expression::Compare {
                register: FIRST,
                comparison: Comparison::GreaterOrEqual,
                value: address(1),
            })
            .then(lookup("nets", Lookup::Absent)),
        Rule::new("forward")
            .then(Expression::Meta { key: MetaKey::Mark, to: FIRST })
            .then(Expression::Bitwise {
                from: FIRST,
                to: FIRST,
                mask: Value::number(0xff),
                xor: Value::number(0x100),
            })
            .then(Expression::SetMeta { key: MetaKey::Mark, from: FIRST })
            .then(Expression::SetConnection { key: ConnectionKey::Mark, from: FIRST }),
        Rule::new("forward")
            .then(Expression::Fib {
                result: FibResult::LinkIndex,
                flags: fib::SOURCE | fib::INCOMING,
                to: FIRST,
            })
            .then(Expression::Compare {
                register: FIRST,
                comparison: Comparison::Equal,
                value: Value::number(0),
            })
            .then(Expression::Reject(Reject::IcmpAny(3))),
        tcp(Rule::new("forward")).then(Expression::Reject(Reject::TcpReset)),
        ipv4(Rule::new("forward")).then(Expression::Reject(Reject::Icmp(13))),
        Rule::new("forward").verdict(Verdict::Jump("sub".to_string())),
        Rule::new("forward").verdict(Verdict::Goto("sub".to_string())),
        Rule::new("forward").verdict(Verdict::Continue),
        Rule::new("sub").counted().verdict(Verdict::Return),
    ]
}

#[test]
fn rules_read_back_as_they_were_added() {
    const TEST: &str = "rules::rules_read_back_as_they_were_added";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let mut batch = ground();
            for rule in &rules() {
                batch.add_rule(&inet(), rule).unwrap();
            }
            socket.commit(&batch).unwrap();
            for chain in ["pre", "post", "forward", "sub"] {
                let expected: Vec<_> = rules().into_iter().filter(|rule| rule.chain == chain).collect();
                assert_eq!(values(rule::list(socket, &inet(), Some(chain)).unwrap()), expected);
            }
            assert_eq!(rule::list(socket, &inet(), None).unwrap().len(), rules().len());
            socket.commit(Batch::new().flush_table(&inet()).unwrap()).unwrap();
            assert_eq!(rule::list(socket, &inet(), None).unwrap(), []);
        });
    });
}

#[test]
fn rules_are_placed_replaced_and_deleted_by_their_handles() {
    const TEST: &str = "rules::rules_are_placed_replaced_and_deleted_by_their_handles";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let rule = |text: &str| Rule::new("sub").counted().commented(text);
            let mut batch = ground();
            batch.add_rule(&inet(), &rule("a")).unwrap().add_rule(&inet(), &rule("b")).unwrap();
            socket.commit(&batch).unwrap();
            let comments = |socket: &mut Socket| -> Vec<String> {
                let rules = rule::list(socket, &inet(), Some("sub")).unwrap();
                rules.iter().map(|rule| rule.value.userdata.as_comment().unwrap()).collect()
            };
            let handle = rule::list(socket, &inet(), Some("sub")).unwrap()[1].handle;
            let mut batch = Batch::new();
            batch
                .place_rule(&inet(), &rule("first"), Place::First)
                .and_then(|batch| batch.place_rule(&inet(), &rule("before b"), Place::Before(handle)))
                .and_then(|batch| batch.place_rule(&inet(), &rule("after b"), Place::After(handle)))
                .and_then(|batch| batch.place_rule(&inet(), &rule("last"), Place::Last))
                .unwrap();
            socket.commit(&batch).unwrap();
            assert_eq!(comments(socket), ["first", "a", "before b", "b", "after b", "last"]);
            socket.commit(Batch::new().replace_rule(&inet(), handle, &rule("c")).unwrap()).unwrap();
            assert_eq!(comments(socket), ["first", "a", "before b", "c", "after b", "last"]);
            let rules = rule::list(socket, &inet(), Some("sub")).unwrap();
            let mut batch = Batch::new();
            for rule in &rules[1..] {
                batch.delete_rule(&inet(), "sub", rule.handle).unwrap();
            }
            socket.commit(&batch).unwrap();
            assert_eq!(comments(socket), ["first"]);
        });
    });
}
