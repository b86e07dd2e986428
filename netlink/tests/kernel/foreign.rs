//! Rules in chains that iptables(8) has made: it shows them, goes on working, and they let packets through where its policy
//! would drop them.

use std::io::ErrorKind;
use std::process::Command;

use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Expression, Family, Hook, MetaKey, Place, Policy, Reject, Rule,
    Socket as Filter, Table, Value, Verdict, chain, outline, priority, rule,
};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, address, link};

use crate::filters::{self, with_socket};
use crate::namespace::{at, in_fresh_namespace, ip, skip};
use crate::traffic::{attach, said, serve};

/// The tables of iptables and ip6tables.
const TABLES: [(&str, Family); 2] = [("iptables-nft", Family::Ip), ("ip6tables-nft", Family::Ip6)];

/// Runs iptables; `None`, and it is said, where there is none.
fn iptables(test: &str, program: &str, arguments: &str) -> Option<(bool, String)> {
    match Command::new(program).args(arguments.split(' ')).output() {
        Ok(output) => Some((output.status.success(), String::from_utf8(output.stdout).unwrap())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip(test, &format!("{program} is not there (Debian's package iptables)"));
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// Both directions of a link, as iptables itself would write them, and a comment.
fn ours(chain: &str, link: &str) -> [Rule; 2] {
    [MetaKey::IncomingName, MetaKey::OutgoingName]
        .map(|key| Rule::new(chain).meta_is(key, Value::text(link)).counted().accept().commented("pillbox"))
}

/// Puts our rules in front of all others.
fn add(socket: &mut Filter, table: &Table, chain: &str, link: &str) {
    let mut batch = Batch::new();
    for rule in &ours(chain, link) {
        batch.place_rule(table, rule, Place::First).unwrap();
    }
    socket.commit(&batch).unwrap();
}

/// Deletes our rules, whoever has written them meanwhile, and says how many there were.
fn delete(socket: &mut Filter, table: &Table, chain: &str, link: &str) -> usize {
    let mut batch = Batch::new();
    let listed = rule::list(socket, table, Some(chain)).unwrap();
    for rule in ours(chain, link) {
        let found = rule::find_like(socket, table, &rule).unwrap();
        // Those that have been read say the same.
        let alike = listed.iter().filter(|listed| rule.is_like(&listed.value)).map(|listed| listed.handle);
        assert_eq!(found, alike.collect::<Vec<_>>());
        for handle in found {
            batch.delete_rule(table, chain, handle).unwrap();
        }
    }
    if !batch.is_empty() {
        socket.commit(&batch).unwrap();
    }
    batch.len()
}

#[test]
fn iptables_shows_our_rules_and_goes_on_working() {
    const TEST: &str = "foreign::iptables_shows_our_rules_and_goes_on_working";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            for (program, family) in TABLES {
                let run = |arguments: &str| {
                    let (success, output) = iptables(TEST, program, arguments)?;
                    assert!(success, "{program} {arguments}");
                    Some(output)
                };
                if run("-P FORWARD DROP").is_none() {
                    return;
                }
                for arguments in [
                    "-N DOCKER-USER",
                    "-A DOCKER-USER -j RETURN",
                    "-A FORWARD -j DOCKER-USER",
                    "-A FORWARD -i other -j ACCEPT",
                ] {
                    run(arguments);
                }
                let before = run("-S").unwrap();
                let table = Table::new(family, "filter");
                for name in ["FORWARD", "DOCKER-USER"] {
                    add(socket, &table, name, "pbtest0");
                    let rules = run(&format!("-S {name}")).unwrap();
                    for direction in ["-o", "-i"] {
                        let shown =
                            format!("-A {name} {direction} pbtest0 -m comment --comment pillbox -j ACCEPT\n");
                        assert!(rules.contains(&shown), "{rules}");
                        run(&format!("-C {}", shown.trim_start_matches("-A ").trim_end()));
                    }
                }
                // All that is done to such tables: rules added and deleted, chains made, flushed and deleted, policies.
                for arguments in [
                    "-A FORWARD -o more -j ACCEPT",
                    "-I FORWARD 2 -o more -j DROP",
                    "-D FORWARD -o more -j ACCEPT",
                    "-D FORWARD 2",
                    "-N MORE",
                    "-F MORE",
                    "-X MORE",
                    "-P FORWARD ACCEPT",
                    "-P FORWARD DROP",
                    "-L -n -v",
                ] {
                    run(arguments);
                }
                for name in ["FORWARD", "DOCKER-USER"] {
                    assert_eq!(delete(socket, &table, name, "pbtest1"), 0);
                    assert_eq!(delete(socket, &table, name, "pbtest0"), 2);
                }
                assert_eq!(run("-S").unwrap(), before);
            }
        });
    });
}

#[test]
fn our_rules_are_found_again_after_iptables_has_restored_them() {
    const TEST: &str = "foreign::our_rules_are_found_again_after_iptables_has_restored_them";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            for (program, family) in TABLES {
                let Some((true, _)) = iptables(TEST, program, "-P FORWARD DROP") else { return };
                let table = Table::new(family, "filter");
                add(socket, &table, "FORWARD", "pbtest0");
                // One that only looks like ours.
                let arguments = "-A FORWARD -i pbtest0 -j ACCEPT";
                assert!(iptables(TEST, program, arguments).unwrap().0);
                let restored = Command::new("sh")
                    .args(["-c", &format!("{program}-save | {program}-restore")])
                    .status()
                    .unwrap();
                assert!(restored.success());
                let listed = rule::list(socket, &table, Some("FORWARD")).unwrap();
                assert_eq!(listed.len(), 3);
                assert!(listed.iter().all(|listed| listed.value.userdata.as_comment().is_none()));
                assert_eq!(delete(socket, &table, "FORWARD", "pbtest0"), 2);
                let left = iptables(TEST, program, "-S FORWARD").unwrap().1;
                assert_eq!(left, format!("-P FORWARD DROP\n{arguments}\n"));
            }
        });
    });
}

#[test]
fn chains_that_drop_what_they_do_not_know_are_found() {
    const TEST: &str = "foreign::chains_that_drop_what_they_do_not_know_are_found";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let forward = |policy| Base {
                policy: Some(policy),
                ..Base::new(ChainKind::Filter, Hook::Forward, priority::FILTER)
            };
            let mut batch = Batch::new();
            for (family, name, policy) in [
                (Family::Inet, "a", Policy::Drop),
                (Family::Ip, "b", Policy::Accept),
                (Family::Ip6, "b", Policy::Drop),
                (Family::Bridge, "c", Policy::Drop),
            ] {
                let table = Table::new(family, name);
                let input = Base { hook: Hook::Input, ..forward(Policy::Drop) };
                batch
                    .add_table(&table)
                    .and_then(|batch| batch.add_chain(&table, &Chain::based("f", forward(policy))))
                    .and_then(|batch| batch.add_chain(&table, &Chain::based("i", input)))
                    .and_then(|batch| batch.add_chain(&table, &Chain::new("sub")))
                    .unwrap();
            }
            socket.commit(&batch).unwrap();
            let all = chain::list_all(socket).unwrap();
            assert_eq!(all.len(), 12);
            let drops = |chain: &Chain| {
                chain
                    .base
                    .as_ref()
                    .is_some_and(|base| base.hook == Hook::Forward && base.policy == Some(Policy::Drop))
            };
            let mut found: Vec<_> = all
                .iter()
                .filter(|(_, listed)| drops(&listed.value))
                .map(|(table, listed)| (table.family.name(), table.name.as_str(), listed.value.name.as_str()))
                .collect();
            found.sort_unstable();
            assert_eq!(found, [("bridge", "c", "f"), ("inet", "a", "f"), ("ip6", "b", "f")]);
        });
    });
}

#[test]
fn outlines_name_links_and_tell_what_becomes_of_everything() {
    const TEST: &str = "foreign::outlines_name_links_and_tell_what_becomes_of_everything";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            let table = Table::new(Family::Inet, "example");
            let (rule, other) = (|| Rule::new("a"), Rule::new("b").drop());
            let name = |text| Value::interface(text);
            let refused = |reject| rule().counted().then(Expression::Reject(reject)).commented("no");
            let (accepted, dropped) = (Some(Verdict::Accept), Some(Verdict::Drop));
            let jump = Verdict::Jump("b".to_string());
            let rules = [
                (rule().meta_is(MetaKey::IncomingName, name("br0")).accept(), &["br0"][..], None),
                (
                    rule()
                        .meta_is(MetaKey::IncomingName, name("br0"))
                        .meta_is_not(MetaKey::OutgoingName, name("br1"))
                        .drop(),
                    &["br0", "br1"],
                    None,
                ),
                (rule().meta_is(MetaKey::TransportProtocol, Value::protocol(6)).drop(), &[], None),
                (rule().counted().accept(), &[], accepted),
                (rule().counted().verdict(jump.clone()), &[], Some(jump)),
                (rule().counted().drop(), &[], dropped.clone()),
                (refused(Reject::IcmpAny(3)), &[], dropped.clone()),
                (refused(Reject::TcpReset), &[], dropped),
            ];
            let mut batch = Batch::new();
            batch.add_table(&table).unwrap();
            for name in ["b", "a"] {
                batch.add_chain(&table, &Chain::new(name)).unwrap();
            }
            for (rule, ..) in &rules {
                batch.add_rule(&table, rule).unwrap();
            }
            batch.add_rule(&table, &other).unwrap();
            socket.commit(&batch).unwrap();
            let listed =
                outline::list(socket, &table, "a", &[rules[3].0.clone(), rules[0].0.clone()]).unwrap();
            assert_eq!(listed.len(), rules.len());
            for (found, (rule, links, always)) in listed.iter().zip(&rules) {
                let expected: Vec<_> = links.iter().map(|link| Value::interface(link).0).collect();
                assert_eq!((&found.links, &found.always), (&expected, always), "{rule:?}");
                assert_eq!(found.comment, rule.comment());
            }
            let handles =
                rule::list(socket, &table, Some("a")).unwrap().into_iter().map(|listed| listed.handle);
            assert!(handles.eq(listed.iter().map(|found| found.handle)));
            let like: Vec<_> = listed.iter().map(|found| found.like).collect();
            assert_eq!(like[..4], [Some(1), None, None, Some(0)]);
            assert!(like[4..].iter().all(Option::is_none));
        });
    });
}

#[test]
fn outlines_of_what_iptables_writes() {
    const TEST: &str = "foreign::outlines_of_what_iptables_writes";
    in_fresh_namespace(TEST, || {
        with_socket(TEST, |socket| {
            for (program, family) in TABLES {
                let rules = [
                    ("-N MORE", false, None),
                    ("-A FORWARD -j REJECT", true, Some(Verdict::Drop)),
                    ("-A FORWARD -m comment --comment no -j DROP", true, Some(Verdict::Drop)),
                    ("-A FORWARD -m conntrack --ctstate INVALID -j DROP", true, None),
                    ("-A FORWARD -j LOG", true, None),
                    ("-A FORWARD -p tcp -j REJECT", true, None),
                    ("-A FORWARD -j MORE", true, Some(Verdict::Jump("MORE".to_string()))),
                    ("-A FORWARD", true, None),
                ];
                for (arguments, ..) in &rules {
                    let Some((true, _)) = iptables(TEST, program, arguments) else { return };
                }
                let table = Table::new(family, "filter");
                let listed = outline::list(socket, &table, "FORWARD", &[]).unwrap();
                let always: Vec<_> = listed.into_iter().map(|found| found.always).collect();
                let expected: Vec<_> = rules.into_iter().filter(|rule| rule.1).map(|rule| rule.2).collect();
                assert_eq!(always, expected, "{program}");
            }
        });
    });
}

#[test]
fn packets_pass_where_the_policy_drops_them() {
    const TEST: &str = "foreign::packets_pass_where_the_policy_drops_them";
    in_fresh_namespace(TEST, || {
        let Some(mut filter) = filters::socket(TEST) else { return };
        let Some((true, _)) = iptables(TEST, "iptables-nft", "-P FORWARD DROP") else { return };
        let mut host = Socket::open().unwrap();
        host.request(&[link::set_up(LOOPBACK_INDEX).unwrap()]).unwrap();
        let container = attach(&mut host, "veth0", None, "10.88.0.5", "10.88.0.1");
        let outside = attach(&mut host, "out0", None, "192.0.2.2", "192.0.2.1");
        for (name, own) in [("veth0", "10.88.0.1"), ("out0", "192.0.2.1")] {
            let index = link::index_of(&mut host, name).unwrap();
            host.request(&[address::add(index, at(own, 24)).unwrap()]).unwrap();
        }
        // This namespace's own.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        serve(&container, "0.0.0.0:80");
        let reached = || outside.run(|| said("10.88.0.5:80", 1)).ok();
        let table = Table::new(Family::Ip, "filter");
        assert_eq!(reached(), None);
        // One of our own lets nothing through that another chain drops.
        let own = Table::new(Family::Inet, "example");
        let first = Base {
            policy: Some(Policy::Accept),
            ..Base::new(ChainKind::Filter, Hook::Forward, priority::FILTER - 10)
        };
        let mut batch = Batch::new();
        batch
            .add_table(&own)
            .and_then(|batch| batch.add_chain(&own, &Chain::based("forward", first)))
            .and_then(|batch| batch.add_rule(&own, &Rule::new("forward").accept()))
            .unwrap();
        filter.commit(&batch).unwrap();
        assert_eq!(reached(), None);
        add(&mut filter, &table, "FORWARD", "veth0");
        assert_eq!(reached(), Some(ip("192.0.2.2")));
        let counted = iptables(TEST, "iptables-nft", "-L FORWARD -n -v -x").unwrap().1;
        assert_eq!(delete(&mut filter, &table, "FORWARD", "veth0"), 2, "{counted}");
        assert_eq!(reached(), None);
    });
}
