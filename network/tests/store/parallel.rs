//! Many processes at once.

use crate::place::{Place, check_empty, collect};
use crate::worker;

const PROCESSES: usize = 100;

#[test]
fn a_hundred_processes_never_get_the_same() {
    let place = Place::new();
    worker::prepare(place.path());
    let children: Vec<_> = (0..PROCESSES).map(|_| worker::start("parallel::work", place.path())).collect();
    for mut child in children {
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
    let store = place.store();
    let locked = store.lock().expect("locked");
    assert_eq!(locked.attachments(), Ok(vec![]));
    assert!(locked.left_behind().expect("listed").freed.is_empty());
    collect(&locked);
    check_empty(&place);
}

#[test]
#[ignore = "a process of the test above"]
fn work() {
    let Some(folder) = worker::folder() else { return };
    // 19 addresses for all of them.
    worker::work(&folder, 20, Some(20));
}
