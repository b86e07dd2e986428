//! Which address is given.

use std::fs;

use super::tests::{Place, between, ip, lease, note, range, release};
use super::*;
use crate::{Ip, Range};

#[test]
fn addresses_are_given_in_order_and_then_the_one_that_is_free_for_longest() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    // .1 is the gateway's.
    let range = range("10.88.0.0/29");
    let next = |locked: &mut Locked<'_>, key: &str| lease(locked, &range, key).to_string();
    assert_eq!(next(&mut locked, "a"), "10.88.0.2/29");
    assert_eq!(next(&mut locked, "b"), "10.88.0.3/29");
    release(&locked, "a");
    assert_eq!(next(&mut locked, "c"), "10.88.0.4/29", "the one that was just freed comes later");
    release(&locked, "c");
    assert_eq!(next(&mut locked, "d"), "10.88.0.5/29");
    assert_eq!(next(&mut locked, "e"), "10.88.0.6/29");
    release(&locked, "b");
    // Each of them several times, so that the ring goes round.
    for round in 0..20 {
        for address in [2, 4, 3] {
            let key = format!("r{round}-{address}");
            assert_eq!(next(&mut locked, &key), format!("10.88.0.{address}/29"));
            release(&locked, &key);
        }
    }
    let kept = ["f", "g", "h"].map(|key| next(&mut locked, key));
    assert_eq!(kept, ["10.88.0.2/29", "10.88.0.4/29", "10.88.0.3/29"]);
    let error = locked.lease("net", &range, None, "i").expect_err("all are given");
    assert_eq!(error.kind(), Kind::Taken);
    assert_eq!(
        error.to_string(),
        "network net (10.88.0.0/29): all 5 addresses from 10.88.0.1 to 10.88.0.6 are taken"
    );
    release(&locked, "e");
    assert_eq!(next(&mut locked, "i"), "10.88.0.6/29");
    let again = fs::read_dir(place.file("leases/net")).expect("listed").count();
    assert_eq!(again, 6, "five leases and the order");
}

#[test]
fn an_address_can_be_asked_for() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    let range = between("10.88.0.0/24", "10.88.0.10", "10.88.0.13");
    let given = locked.lease("net", &range, Some(ip("10.88.0.12")), "a").expect("free");
    assert_eq!(given.to_string(), "10.88.0.12/24");
    note(&mut locked, "a", &[given]);
    let far = locked
        .lease("net", &range, Some(ip("10.88.0.200")), "b")
        .expect("in the subnet, if not in the range");
    note(&mut locked, "b", &[far]);
    for (wanted, why) in [
        ("10.88.0.12", "taken by container container-a"),
        ("10.88.1.1", "is not in the subnet"),
        ("fd00::1", "is not in the subnet"),
        ("10.88.0.0", "is the subnet's own"),
        ("10.88.0.1", "is the gateway's"),
        ("10.88.0.255", "is for broadcasts"),
    ] {
        let error = locked.lease("net", &range, Some(ip(wanted)), "c").expect_err(wanted);
        assert_eq!(error.to_string(), format!("address {wanted} of network net (10.88.0.0/24): {why}"));
        let kind = if wanted == "10.88.0.12" { Kind::Taken } else { Kind::Invalid };
        assert_eq!(error.kind(), kind);
    }
    let error = locked
        .lease("net", &range, Some(ip("10.88.0.13")), "d")
        .and_then(|_| locked.lease("net", &range, Some(ip("10.88.0.13")), "d"));
    assert!(error.expect_err("twice").to_string().ends_with("taken by d, which is being made"));
    // Those that come in order pass over it.
    assert_eq!(lease(&mut locked, &range, "e").ip, ip("10.88.0.10"));
    assert_eq!(lease(&mut locked, &range, "f").ip, ip("10.88.0.11"));
    locked.lease("net", &range, None, "g").expect_err("all are taken");
}

#[test]
fn what_was_asked_for_and_freed_goes_to_the_end() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    let range = between("10.88.0.0/24", "10.88.0.10", "10.88.0.13");
    let wanted = |locked: &mut Locked<'_>, last: u8| {
        let key = format!("w{last}");
        let given = locked.lease("net", &range, Some(ip(&format!("10.88.0.{last}"))), &key).expect("free");
        note(locked, &key, &[given]);
        release(locked, &key);
    };
    let next = |locked: &mut Locked<'_>| {
        let given = lease(locked, &range, "n");
        release(locked, "n");
        given.ip.to_string()
    };
    // Before their turn: not when it comes, but after all the others.
    wanted(&mut locked, 11);
    wanted(&mut locked, 10);
    assert_eq!([next(&mut locked), next(&mut locked)], ["10.88.0.12", "10.88.0.13"]);
    assert_eq!([next(&mut locked), next(&mut locked)], ["10.88.0.11", "10.88.0.10"]);
    // Later: from its place in the middle to the end, from the end, from the beginning.
    wanted(&mut locked, 11);
    wanted(&mut locked, 11);
    assert_eq!([next(&mut locked), next(&mut locked)], ["10.88.0.12", "10.88.0.13"]);
    wanted(&mut locked, 10);
    let rest: Vec<_> = (0..4).map(|_| next(&mut locked)).collect();
    assert_eq!(rest, ["10.88.0.11", "10.88.0.12", "10.88.0.13", "10.88.0.10"]);
    // Hundreds of times, more often than the ring of a /24 has room.
    for _ in 0..300 {
        wanted(&mut locked, 12);
        wanted(&mut locked, 13);
    }
    let rest: Vec<_> = (0..4).map(|_| next(&mut locked)).collect();
    assert_eq!(rest, ["10.88.0.11", "10.88.0.10", "10.88.0.12", "10.88.0.13"]);
}

#[test]
fn networks_and_families_have_addresses_of_their_own() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    let (v4, v6) = (range("10.88.0.0/16"), range("fd00:1::/64"));
    for number in 2..5 {
        let key = format!("k{number}");
        assert_eq!(
            locked.lease("net", &v4, None, &key).expect("v4").to_string(),
            format!("10.88.0.{number}/16")
        );
        assert_eq!(
            locked.lease("net", &v6, None, &key).expect("v6").to_string(),
            format!("fd00:1::{number}/64")
        );
        assert_eq!(
            locked.lease("other", &v4, None, &key).expect("v4").to_string(),
            format!("10.88.0.{number}/16")
        );
    }
    // Ends that are not in the subnet.
    for (first, last) in [("10.87.0.1", "10.88.0.9"), ("10.88.0.9", "10.89.0.1"), ("10.88.0.9", "10.88.0.8")]
    {
        let error = locked.lease("net", &between("10.88.0.0/16", first, last), None, "a").expect_err(first);
        let text = format!("network net: addresses from {first} to {last}: must be a range in 10.88.0.0/16");
        assert_eq!((error.kind(), error.to_string()), (Kind::Invalid, text));
    }
    // Networks of two addresses and of one; the greatest there is.
    for (subnet, count) in [("10.0.0.4/31", 2), ("10.0.0.9/32", 1), ("fd00:2::4/127", 2), ("ffff::/16", 3)] {
        let range = Range { gateway: None, ..range(subnet) };
        for number in 0..count {
            locked.lease("net", &range, None, &format!("s{number}")).expect(subnet);
        }
        if count < 3 {
            locked.lease("net", &range, None, "more").expect_err(subnet);
        }
    }
    let top =
        Range { first: Some(Ip(range("ffff::/16").subnet.last())), gateway: None, ..range("ffff::/16") };
    locked.lease("net", &top, None, "top").expect("the last address of all");
    locked.lease("net", &top, None, "more").expect_err("nothing follows it");
}
