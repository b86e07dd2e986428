//! How long it takes. That it does not depend on how much is recorded is shown by counting calls (`store_calls`).

use std::time::{Duration, Instant};

use pillbox_network::store::Store;
use pillbox_network::{Holder, Port};

use crate::place::{Place, attachment, range, release};

const ROUNDS: usize = 500;

#[test]
#[ignore = "a measurement"]
fn pace() {
    let place = Place::new();
    let store = place.store();
    println!("lease, reserve, note, median of {ROUNDS}: {:?} alone", median(&store));
    for number in 0..1000 {
        attach(&store, &format!("container-{number}"));
    }
    println!("{:?} beside 1,000 attachments", median(&store));
    // When the range has been gone through, each address comes from those that were freed.
    let mut locked = store.lock().expect("locked");
    while locked.lease("net", &range(true, LAST), None, "filling").is_ok() {}
    drop(locked);
    println!("{:?} when addresses are used again", median(&store));
}

/// The last address there is.
const LAST: u16 = 2000;

/// What one container's attachment takes: the lock included, without what undoing it takes.
fn median(store: &Store) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let key = format!("measured-{round}");
            let begin = Instant::now();
            let made = attach(store, &key);
            let time = begin.elapsed();
            release(&store.lock().expect("locked"), &made);
            time
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn attach(store: &Store, key: &str) -> pillbox_network::Attachment {
    let mut locked = store.lock().expect("locked");
    let address = locked.lease("net", &range(true, LAST), None, key).expect("an address");
    let port = locked.reserve(&Port::default(), key).expect("a port");
    let attachment = attachment(store, key, Holder::default(), &[address], &[port]);
    locked.note(&attachment).expect("noted");
    attachment
}
