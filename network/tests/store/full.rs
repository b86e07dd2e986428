//! File systems without room.

use std::fs;
use std::process::Command;

use pillbox_network::store::Store;
use pillbox_network::{Attachment, Error, Holder, Port};
use rustix::io::Errno;

use crate::namespace::in_fresh_namespace;
use crate::place::{Place, attachment, check_reserved, check_single, collect, range, release};

#[test]
fn a_full_file_system_leaves_nothing_half_written() {
    in_fresh_namespace(&["-m"], "full::a_full_file_system_leaves_nothing_half_written", || {
        for limit in ["size=96k", "nr_inodes=90"] {
            let place = Place::new();
            let mounted =
                Command::new("mount").args(["-t", "tmpfs", "-o", limit, "tmpfs"]).arg(place.path()).status();
            assert!(mounted.expect("mount is there").success());
            fill(&place);
            let unmounted = Command::new("umount").arg(place.path()).status();
            assert!(unmounted.expect("umount is there").success());
        }
    });
}

fn fill(place: &Place) {
    let store = place.store();
    let mut made: Vec<Attachment> = Vec::new();
    let full = loop {
        match attach(&store, &format!("key-{}", made.len())) {
            Ok(attachment) => made.push(attachment),
            Err(error) => break error,
        }
    };
    check_full(&full);
    assert!(made.len() > 3, "{made:?}");
    check(&store, place, &made);
    // Whatever is left is taken, so that other steps fail.
    let rest = place.path().join("rest");
    let _ = fs::write(&rest, vec![0; 1 << 20]);
    for number in 0..1000 {
        let _ = fs::write(place.path().join(format!("rest-{number}")), "");
    }
    for number in 0..5 {
        check_full(&attach(&store, &format!("more-{number}")).expect_err("it is full"));
        check(&store, place, &made);
    }
    // What is recorded already stays as it was if it cannot be changed.
    let larger = Attachment { owner: "x".repeat(100_000), ..made[0].clone() };
    check_full(&store.lock().expect("locked").note(&larger).expect_err("it is full"));
    check(&store, place, &made);
    // Nothing keeps anybody from giving back, and then there is room.
    let locked = store.lock().expect("a lock needs no room");
    for attachment in &made {
        release(&locked, attachment);
    }
    collect(&locked);
    drop(locked);
    for number in 0..1000 {
        let _ = fs::remove_file(place.path().join(format!("rest-{number}")));
    }
    let again: Vec<_> = (0..made.len().min(3))
        .map(|number| attach(&store, &format!("again-{number}")).expect("there is room"))
        .collect();
    check(&store, place, &again);
}

fn attach(store: &Store, key: &str) -> Result<Attachment, Error> {
    let mut locked = store.lock()?;
    let v4 = locked.lease("net", &range(true, 500), None, key)?;
    let v6 = locked.lease("net", &range(false, 500), None, key)?;
    let port = locked.reserve(&Port::default(), key)?;
    let attachment = attachment(store, key, Holder::default(), &[v4, v6], &[port]);
    locked.note(&attachment)?;
    Ok(attachment)
}

fn check_full(error: &Error) {
    assert_eq!(error.errno(), Some(Errno::NOSPC), "{error}");
    assert!(error.to_string().ends_with(": No space left on device"), "{error}");
    assert!(error.to_string().contains("/network/"), "{error}");
}

/// All that was made is there, and nothing else.
fn check(store: &Store, place: &Place, made: &[Attachment]) {
    let locked = store.lock().expect("locked");
    let mut attachments = locked.attachments().expect("all of them can be read");
    attachments.sort_by_key(|attachment| made.iter().position(|made| made.key == attachment.key));
    assert_eq!(attachments, made);
    check_single(made);
    made.iter().for_each(|attachment| check_reserved(place, attachment));
    let left = locked.left_behind().expect("listed");
    assert!(left.freed.is_empty() && left.unreadable.is_empty(), "{left:?}");
    assert!(!place.path().join("network/new").exists());
}
