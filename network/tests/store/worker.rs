//! Processes of the tests' own: this binary again, with one of its tests that are ignored otherwise.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pillbox_network::store::Store;
use pillbox_network::{Holder, Kind, Port, Protocol};

use crate::place::{attachment, range, release};

/// Where a worker finds its folder.
const FOLDER: &str = "STORE_TEST_FOLDER";

/// Starts the test of that name as a process of its own, which works in that folder.
pub fn start(test: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", test, "--ignored", "--nocapture", "--quiet", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("started")
}

/// The folder of a worker; none if it was started by somebody else.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Leases addresses and ports and gives them back, again and again, for `rounds` or until it is killed. What it has it
/// marks by links that nobody else can make.
pub fn work(folder: &Path, last: u16, rounds: Option<u32>) {
    let store = Store::open(&folder.join("network")).expect("a store");
    let key = format!("worker-{}", std::process::id());
    let alive = folder.join("alive").join(&key);
    fs::write(&alive, "").expect("written");
    let holder = Holder::of(&alive).expect("it is there");
    let mark = |name: String| folder.join("owned").join(name);
    let mut round = 0;
    while rounds.is_none_or(|rounds| round < rounds) {
        let mut locked = store.lock().expect("locked");
        let v4 = match locked.lease("net", &range(true, last), None, &key) {
            // It is smaller than what all of them want.
            Err(error) if error.kind() == Kind::Taken => {
                drop(locked);
                std::thread::sleep(std::time::Duration::from_millis(1));
                continue;
            }
            v4 => v4.expect("an address"),
        };
        let v6 = locked.lease("net", &range(false, u16::MAX), None, &key).expect("an address");
        let protocol = if round % 2 == 0 { Protocol::Tcp } else { Protocol::Udp };
        let port = locked.reserve(&Port { protocol, ..Port::default() }, &key).expect("a port");
        let mine = attachment(&store, &key, holder.clone(), &[v4, v6], &[port]);
        locked.note(&mine).expect("noted");
        drop(locked);

        let owned = [v4.ip.to_string(), v6.ip.to_string(), port.to_string().replace('/', "-")].map(mark);
        for file in &owned {
            symlink(&key, file).unwrap_or_else(|error| {
                panic!("{}: given twice, also to {:?}: {error}", file.display(), fs::read_link(file))
            });
        }
        // From here to there it has all that it noted.
        symlink(&key, mark(key.clone())).expect("a link");
        fs::remove_file(mark(key.clone())).expect("removed");
        for file in &owned {
            fs::remove_file(file).expect("removed");
        }
        release(&store.lock().expect("locked"), &mine);
        round += 1;
    }
    fs::remove_file(&alive).expect("removed");
}

/// The folders that workers expect.
pub fn prepare(folder: &Path) {
    for name in ["alive", "owned"] {
        fs::create_dir(folder.join(name)).expect("a folder");
    }
}
