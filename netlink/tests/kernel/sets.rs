//! nf_tables: sets, maps and their elements as the kernel lists them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use pillbox_netlink::nft::{
    Batch, Chain, DataType, Element, Expression, Lookup, MetaKey, Register, Rule, Set, Value, Verdict,
    element, set,
};

use crate::filters::{ground, inet, values, with_socket};
use crate::namespace::in_fresh_namespace;

/// Every kind of set, with elements.
pub fn every_set() -> Vec<(Set, Vec<Element>)> {
    let address_and_port = [DataType::Ipv4Address, DataType::Port];
    let at = |last| Value::from(Ipv4Addr::new(10, 88, 0, last));
    let concatenated = |last: u8, port| at(last).and(Value::port(port));
    vec![
        (
            Set {
                comment: Some("published".to_string()),
                ..Set::map("ports", [DataType::Protocol, DataType::Port], address_and_port)
            },
            vec![
                Element::new(Value::protocol(6).and(Value::port(80)))
                    .to(concatenated(5, 8080))
                    .commented("c7"),
                Element::new(Value::protocol(17).and(Value::port(53))).to(concatenated(6, 53)),
            ],
        ),
        (
            Set { size: Some(16), ..Set::new("bridges", [DataType::LinkName]) },
            vec![Element::new(Value::interface("br0")), Element::new(Value::interface("fifteen-bytes-x"))],
        ),
        (
            Set::new("same", [DataType::LinkIndex, DataType::LinkIndex]),
            vec![Element::new(Value::number(4).and(Value::number(4)))],
        ),
        (
            Set::new("nets", [DataType::Ipv4Address]).of_ranges(),
            vec![
                Element::network(Ipv4Addr::UNSPECIFIED, 8),
                Element::new(at(1)),
                Element::range(at(2), at(9)).commented("some"),
                Element::network(Ipv4Addr::new(192, 168, 0, 0), 16),
                Element::network(Ipv4Addr::new(192, 169, 0, 0), 16),
                Element::network(Ipv4Addr::new(240, 0, 0, 0), 4),
            ],
        ),
        (
            Set::new("nets6", [DataType::Ipv6Address]).of_ranges(),
            vec![Element::network(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0), 8)],
        ),
        (
            Set::new("wide", address_and_port).of_ranges(),
            vec![
                Element::new(concatenated(1, 443)),
                Element::range(concatenated(2, 80), concatenated(9, 90)).commented("both"),
            ],
        ),
        (
            Set::verdicts("verdicts", [DataType::Port]),
            vec![
                Element::new(Value::port(80)).verdict(Verdict::Accept),
                Element::new(Value::port(81)).verdict(Verdict::Jump("sub".to_string())),
                Element::new(Value::port(82)).verdict(Verdict::Drop),
            ],
        ),
        (
            Set { timeout: true, ..Set::new("passing", [DataType::MacAddress]) },
            vec![Element { timeout: Some(Duration::from_secs(3600)), ..Element::new([0x02, 0, 0, 0, 0, 1]) }],
        ),
        (
            Set::map("marks", [DataType::Ipv4Address], [DataType::Mark]).of_ranges(),
            vec![Element::range(at(1), at(3)).to(Value::number(7)), Element::new(at(4)).to(Value::number(8))],
        ),
    ]
}

#[test]
fn sets_and_elements_read_back_as_they_were_added() {
    const TEST: &str = "sets::sets_and_elements_read_back_as_they_were_added";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let mut batch = Batch::new();
            batch.add_table(&inet()).unwrap().add_chain(&inet(), &Chain::new("sub")).unwrap();
            for (set, elements) in &every_set() {
                batch.add_set(&inet(), set).unwrap().add_elements(&inet(), set, elements).unwrap();
            }
            socket.commit(&batch).unwrap();
            let there = values(set::list(socket, &inet()).unwrap());
            for (set, elements) in &every_set() {
                assert!(there.contains(set), "{set:#?} in {there:#?}");
                assert_eq!(set::find(socket, &inet(), &set.name).unwrap().unwrap().value, *set);
                let mut listed = element::list(socket, &inet(), set).unwrap();
                listed.sort_by(|a, b| a.key.cmp(&b.key));
                let mut expected = elements.clone();
                expected.sort_by(|a, b| a.key.cmp(&b.key));
                assert_eq!(listed, expected, "{}", set.name);
            }
            assert_eq!(set::find(socket, &inet(), "none").unwrap(), None);
            let (ports, published) = &every_set()[0];
            let found = element::find(socket, &inet(), ports, &published[1].key).unwrap();
            assert_eq!(found.as_ref(), Some(&published[1]));
            let free = Value::protocol(6).and(Value::port(81));
            assert_eq!(element::find(socket, &inet(), ports, &free).unwrap(), None);
            let elsewhere = published[0].clone().to(published[1].key.clone());
            let wanted = [
                published[0].clone(),
                elsewhere,
                published[1].clone(),
                Element::new(free).to(published[0].key.clone()),
            ];
            assert_eq!(element::find_missing(socket, &inet(), ports, &wanted).unwrap(), [1, 3]);
            let (verdicts, decided) = &every_set()[6];
            let other = decided[1].clone().verdict(Verdict::Jump("other".to_string()));
            let wanted = [other, decided[0].clone(), decided[1].clone(), decided[2].clone()];
            assert_eq!(element::find_missing(socket, &inet(), verdicts, &wanted).unwrap(), [0]);

            // The same again is no error; one less; then none.
            let mut again = Batch::new();
            for (set, elements) in &every_set() {
                again.add_elements(&inet(), set, elements).unwrap();
                again.delete_elements(&inet(), set, &elements[..1]).unwrap();
            }
            socket.commit(&again).unwrap();
            for (set, elements) in &every_set() {
                let left = element::list(socket, &inet(), set).unwrap();
                assert_eq!(left.len(), elements.len() - 1, "{}: {left:#?}", set.name);
                assert!(!left.contains(&elements[0]));
            }
            let mut none = Batch::new();
            none.flush_set(&inet(), "nets").unwrap().delete_set(&inet(), "ports").unwrap();
            socket.commit(&none).unwrap();
            assert_eq!(element::list(socket, &inet(), &every_set()[3].0).unwrap(), []);
            assert_eq!(set::find(socket, &inet(), "ports").unwrap(), None);
        });
    });
}

#[test]
fn an_anonymous_set_belongs_to_its_rule() {
    const TEST: &str = "sets::an_anonymous_set_belongs_to_its_rule";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let set = Set { anonymous: true, constant: true, ..Set::new("__set%d", [DataType::Mark]) };
            let mut batch = ground();
            batch.add_set(&inet(), &set).unwrap();
            let id = batch.last_set();
            let elements = [1, 2].map(|mark| Element::new(Value::number(mark)));
            let name = "__set%d".to_string();
            let lookup = Expression::Lookup { set: name, id, key: Register::FIRST, result: Lookup::Present };
            let rule = Rule::new("sub")
                .then(Expression::Meta { key: MetaKey::Mark, to: Register::FIRST })
                .then(lookup);
            batch.add_elements(&inet(), &set, &elements).unwrap().add_rule(&inet(), &rule.accept()).unwrap();
            socket.commit(&batch).unwrap();
            let there = values(set::list(socket, &inet()).unwrap());
            let set = there.iter().find(|set| set.anonymous).unwrap();
            assert_eq!(set.name, "__set0");
            assert_eq!(element::list(socket, &inet(), set).unwrap().len(), 2);
            socket.commit(Batch::new().flush_chain(&inet(), "sub").unwrap()).unwrap();
            assert!(!values(set::list(socket, &inet()).unwrap()).iter().any(|set| set.anonymous));
        });
    });
}
