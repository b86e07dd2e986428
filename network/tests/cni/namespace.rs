//! Network namespaces of the tests' own, which `unshare` (util-linux) makes and which are gone afterwards.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};

/// Set in the process that is in the new namespaces.
const INSIDE: &str = "NETWORK_TEST_INSIDE";

/// What the reference plugins write outside of a network namespace.
const HIDE: &str = "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && exec \"$@\"";

/// Runs a test's body on a host of its own: new network and mount namespaces, with an empty /run and /var/lib. It
/// runs the test binary again, with that one test.
pub fn on_a_fresh_host(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        // Most of iptables' rules for the host itself need it.
        let up = pillbox_netlink::link::set_up(pillbox_netlink::LOOPBACK_INDEX).unwrap();
        pillbox_netlink::Socket::open().unwrap().request(&[up]).unwrap();
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        return skip(test, "needs root for a network namespace");
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "sh", "-c", HIDE, "sh"])
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

/// A container: a process in a network namespace.
pub struct Container(Child);

impl Container {
    pub fn new() -> Container {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The line shows that unshare is done.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Container(child)
    }

    /// The path of its namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Runs something in its namespace, in a thread that goes there and ends.
    pub fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = std::fs::File::open(self.path()).unwrap();
        let thread = std::thread::spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            body()
        });
        thread.join().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
