//! What commands leave that are killed or fail, and what is damaged.

use std::fs;
use std::os::unix::fs::symlink;

use super::tests::{Place, attachment, between, ip, lease, note, range, release};
use super::*;
use crate::{Attachment, Cidr, Holder, Ip, Port};

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
