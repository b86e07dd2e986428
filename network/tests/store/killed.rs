//! Processes that are killed at any moment.

use std::fs;
use std::time::{Duration, SystemTime};

use pillbox_network::{Holder, Port};

use crate::place::{Place, attachment, check_empty, check_reserved, check_single, collect, range, release};
use crate::worker;

const KILLS: u32 = 200;

/// How many addresses there are.
const LAST: u16 = 40;

#[test]
fn nothing_is_lost_or_given_twice_when_processes_are_killed() {
    let place = Place::new();
    worker::prepare(place.path());
    let store = place.store();
    // One that lives all the time.
    let mut locked = store.lock().expect("locked");
    let mut bystander = attachment(&store, "bystander", Holder::default(), &[], &[]);
    let addresses = (0..5).map(|_| locked.lease("net", &range(true, LAST), None, "bystander").expect("free"));
    bystander.interfaces.0[0].addresses = addresses.collect::<Vec<_>>().into();
    let port = locked.reserve(&Port::default(), "bystander").expect("free");
    bystander.interfaces.0[0].ports = vec![pillbox_network::Published { port, v4: None, v6: None }].into();
    locked.note(&bystander).expect("noted");
    drop(locked);

    let mut other = worker::start("killed::work", place.path());
    for round in 0..KILLS {
        let mut killed = worker::start("killed::work", place.path());
        let alive = place.path().join("alive").join(format!("worker-{}", killed.id()));
        while !alive.exists() {
            std::thread::sleep(Duration::from_micros(200));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
        std::thread::sleep(Duration::from_micros(u64::from(now.subsec_nanos()) % 4000));
        killed.kill().expect("killed");
        killed.wait().expect("it ends");
        // Its holder is gone; its marks are not those of somebody who is alive.
        fs::remove_file(&alive).expect("removed");

        let locked = store.lock().expect("locked");
        let has_marked = |key: &str| place.path().join("owned").join(key).is_symlink();
        let attachments = locked.attachments().expect("all of them can be read");
        let boot = store.boot();
        let living: Vec<_> =
            attachments.into_iter().filter(|one| one.is_alive(boot).expect("known")).collect();
        check_single(&living);
        check_reserved(&place, &bystander);
        for attachment in living.iter().filter(|attachment| has_marked(&attachment.key)) {
            check_reserved(&place, attachment);
        }
        let key = format!("worker-{}", killed.id());
        if has_marked(&key) {
            check_reserved(&place, &locked.attachment(&key).expect("readable").expect("noted"));
        }
        remove_marks(&place, &locked.stale().expect("listed").attachments);
        // Not after each: others also meet what was left.
        if round % 8 == 7 {
            collect(&locked);
        }
    }
    assert_eq!(other.try_wait().expect("known"), None, "it works on beside those that are killed");
    other.kill().expect("killed");
    other.wait().expect("it ends");
    fs::remove_dir_all(place.path().join("alive")).expect("removed");

    let mut locked = store.lock().expect("locked");
    collect(&locked);
    assert_eq!(locked.attachments(), Ok(vec![bystander.clone()]));
    check_reserved(&place, &bystander);
    // .1 is the gateway's, and five are the bystander's.
    for number in 7..=LAST {
        locked
            .lease("net", &range(true, LAST), None, "all")
            .unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    locked.lease("net", &range(true, LAST), None, "more").expect_err("there are no more");
    release(&locked, &bystander);
    drop(locked);
    collect(&store.lock().expect("locked"));
    check_empty(&place);
}

/// Removes the marks of what killed processes had.
fn remove_marks(place: &Place, stale: &[pillbox_network::Attachment]) {
    for attachment in stale {
        let interface = &attachment.interfaces[0];
        let addresses = interface.addresses.iter().map(|address| address.ip.to_string());
        let ports = interface.ports.iter().map(|published| published.port.to_string().replace('/', "-"));
        for name in addresses.chain(ports).chain([attachment.key.clone()]) {
            let mark = place.path().join("owned").join(name);
            // Released already, it may be somebody else's.
            if fs::read_link(&mark).is_ok_and(|key| key.as_os_str() == attachment.key.as_str()) {
                fs::remove_file(mark).expect("removed");
            }
        }
    }
}

#[test]
#[ignore = "a process of the test above"]
fn work() {
    let Some(folder) = worker::folder() else { return };
    worker::work(&folder, LAST, None);
}
