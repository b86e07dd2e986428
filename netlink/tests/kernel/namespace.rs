//! Network namespaces of the tests' own, which `unshare -n` (util-linux) makes and which are gone afterwards.

use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use pillbox_netlink::address::Address;
use pillbox_netlink::{Message, Socket};
use rustix::io::Errno;

/// Set in the process that is in the new namespace.
const INSIDE: &str = "NETLINK_TEST_INSIDE";

/// Runs a test's body in a new network namespace: runs the test binary again under unshare, with that one
/// test.
pub fn in_fresh_namespace(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        return skip(test, "needs root for a network namespace");
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .arg("-n")
        .arg(this)
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) is needed");
    assert!(status.success(), "{test} failed in its namespace");
}

/// Says what is left out; not eprintln!, which the test harness captures.
pub fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {why}");
}

/// Makes a link of a kind that not every kernel has. False where this one lacks it: then the refusal says what was asked for, and that
/// is all that the test can see.
pub fn made(socket: &mut Socket, message: &Message<'_>) -> bool {
    match socket.request(std::slice::from_ref(message)) {
        Ok(()) => true,
        Err(error) if error.refused() == Some(Errno::OPNOTSUPP) => {
            let refusal = error.refusal().unwrap();
            assert!(refusal.to_string().starts_with(&refusal.what) && !refusal.what.is_empty(), "{refusal}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn at(text: &str, prefix: u8) -> Address {
    Address { ip: ip(text), prefix }
}

/// A second network namespace, which lives as long as a process in it.
pub struct Neighbour(Child);

impl Neighbour {
    pub fn new() -> Self {
        let child = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut neighbour = Neighbour(child);
        // The line shows that unshare is done.
        let mut line = [0];
        std::io::Read::read_exact(neighbour.0.stdout.as_mut().unwrap(), &mut line).unwrap();
        neighbour
    }

    pub fn namespace(&self) -> OwnedFd {
        std::fs::File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap().into()
    }

    /// A socket opened in there.
    pub fn socket(&self) -> Socket {
        let fd: OwnedFd = self.run(|| Socket::open().unwrap().into());
        Socket::from_fd(fd).unwrap()
    }

    /// Runs something in there, in a thread that goes there and ends.
    pub fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = self.namespace();
        let thread = std::thread::spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            body()
        });
        thread.join().unwrap()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
