use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::{Attachment, Cidr, Holder, Interface, Ip, Network, NetworkKind, Port, Published, Range};

/// A folder of one test's, gone with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pillbox-store-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Place(path)
    }

    fn store(&self) -> Store {
        Store::open(&self.0.join("network")).expect("a store")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("network").join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn range(subnet: &str) -> Range {
    let subnet = Cidr::parse(subnet).expect("a subnet");
    Range { subnet, gateway: Some(Ip(subnet.hosts().0)), first: None, last: None }
}

fn between(subnet: &str, first: &str, last: &str) -> Range {
    Range { first: Some(Ip(ip(first))), last: Some(Ip(ip(last))), ..range(subnet) }
}

/// An attachment to the network `net`.
fn attachment(store: &Store, key: &str, addresses: &[Cidr], ports: &[Port]) -> Attachment {
    let published = |&port| Published { port, v4: None, v6: None };
    let interface = Interface {
        network: "net".to_string(),
        name: "eth0".to_string(),
        addresses: addresses.to_vec().into(),
        ports: ports.iter().map(published).collect::<Vec<_>>().into(),
        ..Interface::default()
    };
    Attachment {
        namespace: None,
        key: key.to_string(),
        owner: format!("container-{key}"),
        boot: store.boot().to_string(),
        holder: Holder::default(),
        interfaces: vec![interface].into(),
    }
}

/// Leases the next address and notes who has it.
fn lease(locked: &mut Locked<'_>, range: &Range, key: &str) -> Cidr {
    let given = locked.lease("net", range, None, key).unwrap_or_else(|error| panic!("{error}"));
    note(locked, key, &[given]);
    given
}

fn note(locked: &mut Locked<'_>, key: &str, addresses: &[Cidr]) {
    locked.note(&attachment(locked.store, key, addresses, &[])).expect("noted");
}

fn release(locked: &Locked<'_>, key: &str) {
    let attachment = locked.attachment(key).expect("read").expect("there is one");
    locked.release_leases(&attachment).expect("released");
    locked.release_ports(&attachment).expect("released");
    locked.strike(key).expect("struck");
}

#[test]
fn what_is_noted_is_read_again() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    assert_eq!(locked.network("net"), Ok(None));
    assert_eq!(locked.attachment("a"), Ok(None));
    let network = Network {
        name: "net".to_string(),
        kind: NetworkKind::Bridge,
        link: "br0".to_string(),
        ranges: vec![range("10.88.0.0/24"), range("fd00::/64")].into(),
        mtu: Some(1400),
        masquerade: true,
        ..Network::default()
    };
    locked.put_network(&network).expect("written");
    let other = Network { name: "also".to_string(), ..network.clone() };
    locked.put_network(&other).expect("written");
    assert_eq!(locked.network("net"), Ok(Some(network.clone())));
    assert_eq!(locked.networks(), Ok(vec![other, network.clone()]));
    let changed = Network { mtu: None, ..network };
    locked.put_network(&changed).expect("written anew");
    locked.remove_network("also").expect("removed");
    locked.remove_network("also").expect("it is gone already");
    assert_eq!(locked.networks(), Ok(vec![changed]));

    let ports = Port::parse("127.0.0.1:8080:80").expect("a port");
    let address = Cidr::parse("10.88.0.5/24").expect("an address");
    let noted = attachment(&store, "a", &[address], &ports);
    locked.note(&noted).expect("written");
    assert_eq!(locked.attachment("a"), Ok(Some(noted.clone())));
    assert_eq!(locked.attachments(), Ok(vec![noted]));
    assert_eq!(fs::metadata(place.file("attachments/a")).expect("a file").mode() & 0o777, 0o600);
    locked.strike("a").expect("removed");
    locked.strike("a").expect("it is gone already");
    assert_eq!(locked.attachments(), Ok(vec![]));
    assert!(!place.file("new").exists());
}

#[test]
fn names_that_cannot_be_those_of_files_are_refused() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    let range = range("10.88.0.0/24");
    let long = "x".repeat(201);
    for name in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\n", &long] {
        let mut errors = vec![
            locked.network(name).map(drop),
            locked.put_network(&Network { name: name.to_string(), ..Network::default() }),
            locked.remove_network(name),
            locked.lease(name, &range, None, "key").map(drop),
            locked.lease("net", &range, None, name).map(drop),
            locked.reserve(&Port::default(), name).map(drop),
            locked.attachment(name).map(drop),
            locked.strike(name),
        ];
        let noted = attachment(&store, name, &[], &[]);
        errors.push(locked.note(&noted));
        for error in errors {
            let error = error.expect_err(name);
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
            assert!(error.to_string().contains(&format!("{name:?}: must be 1 to 200")), "{error}");
        }
    }
    let longest = "a+b:c_d.e-f".to_string() + &"x".repeat(189);
    lease(&mut locked, &range, &longest);
}

#[test]
fn a_folder_of_others_is_refused() {
    let place = Place::new();
    assert!(Store::find(&place.file("")).expect("it is not there").is_none());
    let deep = place.0.join("a/b/network");
    drop(Store::open(&deep).expect("made with the folders above it"));
    let mode = |path: &str| fs::metadata(place.0.join(path)).expect("a folder").mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/b/network")), (0o711, 0o700));
    assert!(Store::find(&deep).expect("it is there").is_some());
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o720)).expect("chmod");
    let error = Store::open(&deep).expect_err("others may write to it");
    assert_eq!(error.kind(), Kind::NotPermitted);
    assert_eq!(error.to_string(), format!("folder {}: others may write to it: chmod go-w", deep.display()));
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o700)).expect("chmod");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&deep, Some(4711), None).expect("chown");
        let error = Store::open(&deep).expect_err("it belongs to another user");
        assert_eq!(error.to_string(), format!("folder {}: belongs to user 4711", deep.display()));
    }
    symlink(&place.0, place.0.join("link")).expect("a link");
    Store::open(&place.0.join("link")).expect_err("a link leads elsewhere");
}

#[test]
fn one_at_a_time() {
    let place = Place::new();
    let (store, other) = (place.store(), place.store());
    let locked = store.lock().expect("locked");
    for store in [&store, &other] {
        let begin = Instant::now();
        let error = store.lock_within(Duration::from_millis(50)).expect_err("it is held");
        assert!(begin.elapsed() >= Duration::from_millis(50));
        assert_eq!(error.kind(), Kind::Busy);
        let lock = place.file("lock");
        assert!(
            error.to_string().starts_with(&format!("lock {}: another command", lock.display())),
            "{error}"
        );
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other.lock().map(drop));
        std::thread::sleep(Duration::from_millis(20));
        drop(locked);
        waiting.join().expect("no panic").expect("locked as soon as it was free");
    });
}

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

#[test]
fn what_is_not_noted_is_given_back() {
    let place = Place::new();
    let store = place.store();
    let range = range("10.88.0.0/24");
    let mut locked = store.lock().expect("locked");
    let noted = locked.lease("net", &range, None, "a").expect("free");
    locked.lease("net", &range, None, "a").expect("free");
    locked.lease("net", &range, None, "b").expect("free");
    let port = locked.reserve(&Port::default(), "b").expect("free");
    note(&mut locked, "a", &[noted]);
    drop(locked);
    let leases = |name: &str| fs::symlink_metadata(place.file(&format!("leases/net/{name}"))).is_ok();
    assert_eq!([leases("10.88.0.2"), leases("10.88.0.3"), leases("10.88.0.4")], [true, false, false]);
    assert!(!place.file(&format!("ports/tcp-{}", port.host_port)).exists());
    let locked = store.lock().expect("locked");
    assert!(locked.left_behind().expect("listed").freed.is_empty());
}

/// What commands leave that are killed between two steps.
#[test]
fn a_link_that_no_attachment_lists_is_taken_over() {
    let place = Place::new();
    let store = place.store();
    let range = between("10.88.0.0/24", "10.88.0.2", "10.88.0.4");
    let mut locked = store.lock().expect("locked");
    let given = lease(&mut locked, &range, "alive");
    assert_eq!(given.ip, ip("10.88.0.2"));
    // Of an attachment that is not there, and of one that does not list it; twice, once asked for.
    for key in ["gone", "alive"] {
        symlink(key, place.file("leases/net/10.88.0.3")).expect("a link");
        symlink(key, place.file("leases/net/10.88.0.4")).expect("a link");
        assert_eq!(locked.lease("net", &range, None, "new").expect("free").ip, ip("10.88.0.3"));
        let wanted = locked.lease("net", &range, Some(ip("10.88.0.4")), "new").expect("free");
        note(&mut locked, "new", &[Cidr { ip: ip("10.88.0.3"), ..wanted }, wanted]);
        locked.lease("net", &range, None, "more").expect_err("none is left");
        release(&locked, "new");
    }
    // Whatever the order says that is not so.
    let order = place.file("leases/net/order-10.88.0.0-24");
    for content in [vec![], vec![0xff; 64], vec![0xff; 4000], b"nonsense".to_vec()] {
        fs::write(&order, content).expect("written");
        let one = locked.lease("net", &range, None, "new").expect("one is free").ip;
        let other = locked.lease("net", &range, None, "new").expect("another is free").ip;
        assert_eq!([one.min(other), one.max(other)], [ip("10.88.0.3"), ip("10.88.0.4")]);
        locked.lease("net", &range, None, "more").expect_err("none is left");
        note(&mut locked, "new", &[Cidr { ip: one, ..given }, Cidr { ip: other, ..given }]);
        release(&locked, "new");
    }
}

/// The same for ports: whatever addresses such links are for, the port is free.
#[test]
fn a_port_that_no_attachment_lists_is_taken_over() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    note(&mut locked, "alive", &[]);
    let port = locked.reserve(&Port::default(), "new").expect("free");
    locked.note(&attachment(&store, "new", &[], &[port])).expect("noted");
    release(&locked, "new");
    let folder = place.file(&format!("ports/tcp-{}", port.host_port));
    assert!(!folder.exists());
    for name in ["any", "127.0.0.1", "::"] {
        for key in ["gone", "alive"] {
            fs::create_dir_all(&folder).expect("a folder");
            symlink(key, folder.join(name)).expect("a link");
            locked.reserve(&port, "new").expect("free");
            let error = locked.reserve(&Port { host_ip: Some(Ip(ip("127.0.0.1"))), ..port }, "other");
            let error = error.expect_err("it is not free any more").to_string();
            let shown =
                format!("127.0.0.1:{0}/tcp: {0}/tcp is taken by new, which is being made", port.host_port);
            assert!(error.ends_with(&shown), "{error}");
            locked.note(&attachment(&store, "new", &[], &[port])).expect("noted");
            release(&locked, "new");
            let _ = fs::remove_file(folder.join(name));
        }
    }
}

#[test]
fn stale_attachments_are_found() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    let held = place.0.join("held");
    fs::create_dir(&held).expect("a folder");
    let holder = Holder::of(&held).expect("it is there");
    let with = |key: &str, holder: &Holder, boot: &str| Attachment {
        holder: holder.clone(),
        boot: boot.to_string(),
        ..attachment(&store, key, &[], &[])
    };
    let elsewhere = Holder { path: place.0.join("gone").display().to_string(), ..holder.clone() };
    let below_a_file = Holder { path: "/proc/version/x".to_string(), ..holder.clone() };
    let replaced = Holder { inode: holder.inode + 1, ..holder.clone() };
    let endless = Holder { path: place.0.join("loop").display().to_string(), ..holder.clone() };
    symlink("loop", place.0.join("loop")).expect("a link");
    let boot = store.boot();
    for (key, holder, boot) in [
        ("a-alive", &holder, boot),
        ("b-without", &Holder::default(), boot),
        ("c-gone", &elsewhere, boot),
        ("d-gone", &below_a_file, boot),
        ("e-replaced", &replaced, boot),
        ("f-boot", &holder, "another"),
        ("g-unknown", &endless, boot),
    ] {
        locked.note(&with(key, holder, boot)).expect("noted");
    }
    fs::write(place.file("attachments/h-damaged"), "{").expect("written");
    let stale = locked.stale().expect("listed");
    let keys: Vec<_> = stale.attachments.iter().map(|attachment| attachment.key.as_str()).collect();
    assert_eq!(keys, ["c-gone", "d-gone", "e-replaced", "f-boot"]);
    let [unknown, damaged] = &stale.unreadable[..] else { panic!("{stale:?}") };
    assert!(unknown.to_string().starts_with("attachment g-unknown: stat of "), "{unknown}");
    assert!(damaged.to_string().contains("attachments/h-damaged: line 1, column 2"), "{damaged}");
    Holder::of(&place.0.join("gone")).expect_err("nothing is there");
}

#[test]
fn damaged_records_are_named_and_hold_what_they_may_hold() {
    let place = Place::new();
    let store = place.store();
    let range = between("10.88.0.0/24", "10.88.0.2", "10.88.0.3");
    let mut locked = store.lock().expect("locked");
    lease(&mut locked, &range, "a");
    let file = place.file("attachments/a");
    let named = |error: Error| {
        assert_eq!(error.kind(), Kind::Host, "{error}");
        assert!(error.to_string().starts_with(&format!("{}: ", file.display())), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    };
    for content in ["", "{", "[]", r#"{"key": "a"}"#, r#"{"key": "b", "owner": "c", "boot": "d"}"#, "\0\0"] {
        fs::write(&file, content).expect("written");
        named(locked.attachment("a").expect_err(content));
        named(locked.attachments().expect_err(content));
        let error = locked.lease("net", &range, Some(ip("10.88.0.2")), "b").expect_err(content);
        assert!(error.to_string().contains("taken by a") && error.kind() == Kind::Taken, "{error}");
        assert!(locked.left_behind().expect("listed").freed.is_empty());
    }
    assert_eq!(lease(&mut locked, &range, "b").ip, ip("10.88.0.3"));
    fs::create_dir(place.file("networks")).expect("a folder");
    fs::write(place.file("networks/net"), "7").expect("written");
    let error = locked.network("net").expect_err("it is damaged").to_string();
    assert!(error.contains("networks/net: 7 is not an object"), "{error}");
    // Struck by hand.
    locked.strike("a").expect("removed");
    let swept = locked.sweep().expect("swept");
    assert_eq!(swept.freed.len(), 1, "{swept:?}");
    assert_eq!(lease(&mut locked, &range, "c").ip, ip("10.88.0.2"));
    // A lease that is no link.
    fs::write(place.file("leases/net/10.88.0.9"), "").expect("written");
    fs::write(place.file("leases/net/odd"), "").expect("written");
    let swept = locked.sweep().expect("swept");
    assert_eq!((swept.freed.len(), swept.unreadable.len()), (0, 2), "{swept:?}");
    locked.lease("net", &range, Some(ip("10.88.0.9")), "d").expect_err("unknown whose it is");
}

#[test]
fn what_nobody_has_is_swept() {
    let place = Place::new();
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    let range = range("10.88.0.0/24");
    let given = locked.lease("net", &range, None, "kept").expect("free");
    let kept = locked.reserve(&Port::default(), "kept").expect("free");
    locked.note(&attachment(&store, "kept", &[given], &[kept])).expect("noted");
    let lost = locked.lease("lost", &range, None, "x").expect("free");
    symlink("gone", place.file("leases/net/10.88.0.3")).expect("a link");
    symlink("kept", place.file("leases/net/10.88.0.77")).expect("a link");
    fs::create_dir_all(place.file("ports/udp-53")).expect("a folder");
    fs::create_dir_all(place.file("ports/udp-54")).expect("a folder");
    symlink("gone", place.file("ports/udp-53/::1")).expect("a link");
    symlink("../odd", place.file("ports/udp-53/any")).expect("a link");
    let shown = |swept: &Swept| {
        let shown: Vec<_> = swept.freed.iter().map(|(what, key)| format!("{what}: {key}")).collect();
        (shown, swept.unreadable.len())
    };
    let expected = [
        "address 10.88.0.3 of network net: gone",
        "address 10.88.0.77 of network net: kept",
        "port 53/udp: ../odd",
    ];
    let mut expected = expected.map(str::to_string).to_vec();
    expected.insert(2, "port [::1]:53/udp: gone".to_string());
    assert_eq!(shown(&locked.left_behind().expect("listed")), (expected.clone(), 0));
    assert_eq!(shown(&locked.sweep().expect("swept")), (expected, 0));
    assert_eq!(shown(&locked.sweep().expect("swept")), (vec![], 0));
    assert!(place.file("leases/lost").join(lost.ip.to_string()).is_symlink(), "it is only being made");
    drop(locked);
    let locked = store.lock().expect("locked");
    locked.sweep().expect("swept");
    let list = |folder: &str| {
        let names = fs::read_dir(place.file(folder)).expect("listed");
        let mut names: Vec<_> =
            names.map(|name| name.expect("entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    };
    assert_eq!(list("leases"), ["net"]);
    assert_eq!(list("leases/net"), ["10.88.0.2", "order-10.88.0.0-24"]);
    assert_eq!(list("ports"), [format!("tcp-{}", kept.host_port)]);
    release(&locked, "kept");
    locked.sweep().expect("swept");
    assert_eq!((list("leases"), list("ports"), list("attachments")), (vec![], vec![], vec![]));
}

#[test]
fn another_boot_has_nothing_of_the_last_one() {
    let place = Place::new();
    let store = place.store();
    let range = range("10.88.0.0/24");
    let mut locked = store.lock().expect("locked");
    locked.put_network(&Network { name: "net".to_string(), ..Network::default() }).expect("written");
    assert_eq!(lease(&mut locked, &range, "a").ip, ip("10.88.0.2"));
    drop(locked);
    drop(store.lock().expect("in the same boot all of it stays"));
    assert_eq!(store.lock().expect("locked").attachments().expect("read").len(), 1);

    let later = Store { boot: "later".to_string(), ..place.store() };
    let mut locked = later.lock().expect("locked");
    assert_eq!((locked.attachments(), locked.networks()), (Ok(vec![]), Ok(vec![])));
    assert_eq!(lease(&mut locked, &range, "b").ip, ip("10.88.0.2"), "from the first one on");
    drop(locked);
    assert_eq!(later.lock().expect("locked").attachments().expect("read").len(), 1);

    // Killed while it forgot: there is no boot yet.
    fs::remove_file(place.file("boot")).expect("removed");
    assert_eq!(later.lock().expect("locked").attachments(), Ok(vec![]));
    assert_eq!(fs::read_link(place.file("boot")).expect("a link"), PathBuf::from("later"));
}
