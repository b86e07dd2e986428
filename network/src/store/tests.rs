//! Records, the folder, the lock, boots; and what the other tests need.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::{Attachment, Cidr, Holder, Interface, Ip, Network, NetworkKind, Port, Published, Range};

/// A folder of one test's, gone with it.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pillbox-store-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Place(path)
    }

    pub fn store(&self) -> Store {
        Store::open(&self.0.join("network")).expect("a store")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join("network").join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn range(subnet: &str) -> Range {
    let subnet = Cidr::parse(subnet).expect("a subnet");
    Range { subnet, gateway: Some(Ip(subnet.hosts().0)), first: None, last: None }
}

pub fn between(subnet: &str, first: &str, last: &str) -> Range {
    Range { first: Some(Ip(ip(first))), last: Some(Ip(ip(last))), ..range(subnet) }
}

/// An attachment to the network `net`.
pub fn attachment(store: &Store, key: &str, addresses: &[Cidr], ports: &[Port]) -> Attachment {
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
pub fn lease(locked: &mut Locked<'_>, range: &Range, key: &str) -> Cidr {
    let given = locked.lease("net", range, None, key).unwrap_or_else(|error| panic!("{error}"));
    note(locked, key, &[given]);
    given
}

pub fn note(locked: &mut Locked<'_>, key: &str, addresses: &[Cidr]) {
    locked.note(&attachment(locked.store, key, addresses, &[])).expect("noted");
}

pub fn release(locked: &Locked<'_>, key: &str) {
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
        assert_eq!(
            error.to_string(),
            format!("lock {}: other commands have held it for 50 ms", lock.display())
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
