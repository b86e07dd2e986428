//! Addresses, routes, rules and neighbours: what the kernel lists after our messages.

use pillbox_netlink::link::{self, Peer, Veth};
use pillbox_netlink::neighbour::{self, Neighbour};
use pillbox_netlink::route::{self, Metrics, NextHop, Route, RouteKind};
use pillbox_netlink::rule::{self, Family, Rule, RuleAction};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, address};
use rustix::io::Errno;

use crate::namespace::{at, in_fresh_namespace, ip};

/// Two ends of a veth, up and with addresses: index 50 has 192.0.2.1/24 and 2001:db8::1/64.
fn ready() -> Socket {
    let mut socket = Socket::open().unwrap();
    let peer = Peer { name: "b0", index: Some(51), address: None, namespace: None };
    let veth = Veth { index: Some(50), ..Veth::new("a0", peer) };
    socket
        .request(&[
            link::set_up(LOOPBACK_INDEX).unwrap(),
            link::add_veth(&veth).unwrap(),
            link::set_up(51).unwrap(),
            address::add(50, at("192.0.2.1", 24)).unwrap(),
            address::add(50, at("2001:db8::1", 64)).unwrap(),
        ])
        .unwrap();
    socket
}

/// As the kernel lists it: with the scope that was left to it.
fn listed(route: &Route, scope: u8, priority: Option<u32>) -> Route {
    Route { scope: Some(scope), priority: route.priority.or(priority), ..route.clone() }
}

#[test]
fn routes_read_back_as_they_were_added() {
    in_fresh_namespace("routes::routes_read_back_as_they_were_added", || {
        let mut socket = ready();
        let metrics =
            Metrics { mtu: Some(1400), window: Some(65_000), segment: Some(1300), hop_limit: Some(9) };
        let on_link = Route {
            index: Some(50),
            onlink: true,
            priority: Some(700),
            source: Some(ip("192.0.2.1")),
            metrics,
            ..Route::default_via(ip("203.0.113.9"))
        };
        let table = Route { index: Some(50), table: 4000, protocol: 99, ..Route::to(at("198.51.100.0", 24)) };
        let blackhole = Route { kind: RouteKind::Blackhole, ..Route::to(at("10.66.0.0", 16)) };
        let hop = |gateway, weight| NextHop { gateway: Some(ip(gateway)), index: 50, weight, onlink: false };
        let several = Route {
            hops: vec![hop("192.0.2.2", 1), hop("192.0.2.3", 256)],
            ..Route::to(at("10.77.0.0", 16))
        };
        let v6 = Route { index: Some(50), ..Route::default_via(ip("2001:db8::2")) };
        let v6_on_link = Route {
            index: Some(50),
            onlink: true,
            gateway: Some(ip("2001:db8:9::1")),
            metrics: Metrics { mtu: Some(1280), ..Metrics::default() },
            ..Route::to(at("2001:db8:77::", 48))
        };
        let all = [&on_link, &table, &blackhole, &several, &v6, &v6_on_link];
        let batch: Vec<_> = all.iter().map(|route| route::add(route).unwrap()).collect();
        socket.request(&batch).unwrap();
        let there = route::list(&mut socket).unwrap();
        let (universe, on_the_link) = (0, 253);
        for expected in [
            listed(&on_link, universe, None),
            listed(&table, on_the_link, None),
            listed(&blackhole, universe, None),
            listed(&several, universe, None),
            listed(&v6, universe, Some(1024)),
            listed(&v6_on_link, universe, Some(1024)),
        ] {
            assert!(there.contains(&expected), "{expected:#?} in {there:#?}");
        }
        let changed = Route { metrics: Metrics::default(), ..on_link.clone() };
        socket.request(&[route::replace(&changed).unwrap()]).unwrap();
        assert!(route::list(&mut socket).unwrap().contains(&listed(&changed, universe, None)));
        let batch: Vec<_> = all[1..].iter().map(|route| route::delete(route).unwrap()).collect();
        socket.request(&batch).unwrap();
        socket.request(&[route::delete(&changed).unwrap()]).unwrap();
        let there = route::list(&mut socket).unwrap();
        assert!(!there.iter().any(|route| route.protocol == 4 || route.protocol == 99), "{there:#?}");
        let error = socket.request(&[route::delete(&table).unwrap()]);
        assert!(matches!(error, Err(error) if error.refused() == Some(Errno::SRCH)));
    });
}

#[test]
fn addresses_go_as_they_came() {
    in_fresh_namespace("routes::addresses_go_as_they_came", || {
        let mut socket = ready();
        let own = |socket: &mut Socket| {
            let all = address::list(socket).unwrap();
            all.iter().filter(|assigned| assigned.index == 50 && assigned.is_permanent_global()).count()
        };
        assert_eq!(own(&mut socket), 2);
        let batch = [("192.0.2.1", 24), ("2001:db8::1", 64)]
            .map(|(address, prefix)| address::delete(50, at(address, prefix)).unwrap());
        socket.request(&batch).unwrap();
        assert_eq!(own(&mut socket), 0);
        let error = socket.request(&batch).unwrap_err();
        assert!(matches!(error, error if error.refused() == Some(Errno::ADDRNOTAVAIL)));
    });
}

#[test]
fn rules_read_back_as_they_were_added() {
    in_fresh_namespace("routes::rules_read_back_as_they_were_added", || {
        let mut socket = ready();
        let before = rule::list(&mut socket).unwrap();
        assert!(before.contains(&Rule {
            priority: Some(0),
            protocol: 2,
            ..Rule::new(Family::V4, RuleAction::Table(255))
        }));
        let all = [
            Rule {
                priority: Some(100),
                source: Some(at("10.0.0.0", 8)),
                incoming: Some("a0".to_string()),
                mark: Some((0x10, 0xf0)),
                suppressed_prefix: Some(0),
                ..Rule::new(Family::V4, RuleAction::Table(4000))
            },
            Rule {
                priority: Some(101),
                destination: Some(at("2001:db8:5::", 48)),
                outgoing: Some("a0".to_string()),
                inverted: true,
                ..Rule::new(Family::V6, RuleAction::Table(100))
            },
            Rule { priority: Some(102), ..Rule::new(Family::V4, RuleAction::Goto(200)) },
            Rule { priority: Some(200), ..Rule::new(Family::V4, RuleAction::Nothing) },
            Rule { priority: Some(201), ..Rule::new(Family::V4, RuleAction::Blackhole) },
            Rule { priority: Some(202), ..Rule::new(Family::V6, RuleAction::Unreachable) },
            Rule { priority: Some(203), protocol: 77, ..Rule::new(Family::V6, RuleAction::Prohibit) },
        ];
        let batch: Vec<_> = all.iter().map(|rule| rule::add(rule).unwrap()).collect();
        socket.request(&batch).unwrap();
        let there = rule::list(&mut socket).unwrap();
        for expected in &all {
            assert!(there.contains(expected), "{expected:#?} in {there:#?}");
        }
        let batch: Vec<_> = all.iter().map(|rule| rule::delete(rule).unwrap()).collect();
        socket.request(&batch).unwrap();
        assert_eq!(rule::list(&mut socket).unwrap(), before);
    });
}

#[test]
fn neighbours_read_back_as_they_were_set() {
    in_fresh_namespace("routes::neighbours_read_back_as_they_were_set", || {
        let mut socket = ready();
        let (mac, other) = ([0x02, 0, 0, 0, 0, 1], [0x02, 0, 0, 0, 0, 2]);
        let v4 = Neighbour::permanent(50, ip("192.0.2.7"), mac);
        let v6 = Neighbour { router: true, ..Neighbour::permanent(50, ip("2001:db8::7"), mac) };
        let proxy = Neighbour::proxy(50, ip("192.0.2.8"));
        socket.request(&[&v4, &v6, &proxy].map(|neighbour| neighbour::add(neighbour).unwrap())).unwrap();
        let there = neighbour::list(&mut socket).unwrap();
        assert!(there.contains(&v4) && there.contains(&v6), "{there:#?}");
        let proxies = neighbour::list_proxies(&mut socket).unwrap();
        assert!(proxies.iter().any(|neighbour| neighbour.proxy && neighbour.ip == proxy.ip), "{proxies:#?}");
        let changed = Neighbour { address: Some(other), ..v4 };
        socket.request(&[neighbour::set(&changed).unwrap()]).unwrap();
        assert!(neighbour::list(&mut socket).unwrap().contains(&changed));
        socket
            .request(&[&changed, &v6, &proxy].map(|neighbour| neighbour::delete(neighbour).unwrap()))
            .unwrap();
        let there = neighbour::list(&mut socket).unwrap();
        assert!(!there.iter().any(Neighbour::is_permanent), "{there:#?}");
        assert_eq!(neighbour::list_proxies(&mut socket).unwrap(), []);
    });
}
