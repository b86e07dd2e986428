//! A host of a test's own: namespaces that `unshare` (util-linux) makes and which are gone afterwards.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

use pillbox_network::attach::{self, Owner};
use pillbox_network::host::Host;
use pillbox_network::store::Store;
use pillbox_network::{Attachment, Cidr, Holder, Ip, NetworkRequest, Range, Request, detach, inspect};

/// Set in the process that is on the new host.
const INSIDE: &str = "OTHERS_TEST_INSIDE";

/// An /etc that the test may change, where firewalld is installed.
const PREPARE: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/etc/firewalld /run/work && \
                       mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc && exec \"$@\"";

/// The bridge.
pub const LINK: &str = "pbtest0";

/// Runs a test's body on a new host: runs the test binary again, with that one test.
pub fn on_a_fresh_host(test: &str, body: fn(&mut Net)) {
    if std::env::var_os(INSIDE).is_some() {
        let store = Store::open(Path::new("/run/network")).expect("a store");
        return body(&mut Net { store, host: Host::open().expect("netlink"), notes: Vec::new() });
    }
    if !rustix::process::geteuid().is_root() {
        return skip(test, "needs root for a network namespace");
    }
    let this = std::env::current_exe().expect("this binary");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "sh", "-c", PREPARE, "sh"])
        .arg(this)
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(INSIDE, test)
        .status()
        .expect("unshare (util-linux) is needed");
    assert!(status.success(), "{test} failed on its host");
}

/// Says what is left out; not eprintln!, which the test harness captures.
fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {why}");
}

/// Runs a program of others; its output. Where it is missing the rest of the test is left out, which is said.
#[track_caller]
pub fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().expect("a program");
    match Command::new(program).args(words).output() {
        Ok(output) => {
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let test = std::env::var(INSIDE).expect("a test");
            skip(&test, &format!("{program} is not there (Debian's packages iptables, nftables)"));
            std::process::exit(0);
        }
        Err(error) => panic!("{command}: {error}"),
    }
}

/// All tables of nf_tables but ours, without what was counted.
pub fn ruleset() -> String {
    let text = run("nft --stateless list ruleset");
    let mut is_ours = false;
    let mut kept = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with("table") {
            is_ours = line.ends_with(" pillbox {");
        }
        if !is_ours {
            kept.extend([line, "\n"]);
        }
    }
    kept
}

/// A network of pillbox's, without containers.
pub struct Net {
    pub store: Store,
    pub host: Host,
    /// What bringing it up has said.
    pub notes: Vec<String>,
}

impl Net {
    /// Brings the network up, as the creation of a container does.
    #[track_caller]
    pub fn bring_up(&mut self) {
        self.try_to_bring_up().expect("reserved");
        detach::detach(&self.store, "key").expect("detached");
    }

    /// Why it cannot be brought up.
    #[track_caller]
    pub fn refused(&mut self) -> String {
        self.try_to_bring_up().expect_err("refused").to_string()
    }

    fn try_to_bring_up(&mut self) -> pillbox_network::Result<Attachment> {
        let range = |subnet| {
            let subnet = Cidr::parse(subnet).expect("a subnet");
            Range { subnet, gateway: Some(Ip(subnet.hosts().0)), first: None, last: None }
        };
        let network = NetworkRequest {
            name: "net".to_string(),
            link: LINK.to_string(),
            ranges: vec![range("10.88.0.0/16"), range("fd00:88::/64")],
            ..NetworkRequest::default()
        };
        let request = Request { network, name: "eth0".to_string(), ..Request::default() };
        let owner = Owner {
            key: "key".to_string(),
            name: "container".to_string(),
            holder: Holder::default(),
            namespace: None,
        };
        self.notes.clear();
        let reserved = attach::reserve(&self.store, &mut self.host, &owner, &[request], &mut self.notes);
        reserved.map(|reserved| reserved.attachment)
    }

    #[track_caller]
    pub fn check(&mut self) -> Vec<String> {
        inspect::check(&self.store, &mut self.host).expect("checked")
    }

    #[track_caller]
    pub fn mend(&mut self) -> Vec<String> {
        inspect::mend(&self.store, &mut self.host).expect("mended")
    }

    #[track_caller]
    pub fn remove(&mut self) {
        inspect::remove(&self.store, &mut self.host, "net").expect("removed");
    }
}
