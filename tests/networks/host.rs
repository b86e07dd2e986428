//! A host of a test's own.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use pillbox_netlink::link;
use pillbox_netlink::{LOOPBACK_INDEX, Socket};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::harness::host::in_namespaces;
use crate::harness::{Runtime, skip};

/// Set in the process that is on the new host.
const INSIDE: &str = "PILLBOX_TEST_HOST";

/// How long a test may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(300);

/// The host on which a test runs containers.
pub struct Host {
    pub runtime: Runtime,
}

/// Runs a test's body on a new host: runs the test binary again, with that one test, in namespaces of its own.
#[track_caller]
pub fn on_a_host<F: FnOnce(&Host)>(body: F) {
    if std::env::var_os(INSIDE).is_some() {
        let host = Host::new();
        body(&host);
        // Of all containers nothing is left, and of networks nothing is missing.
        assert_eq!(host.net(&["check"]), "");
        return;
    }
    if !geteuid().is_root() {
        return skip("needs root for network namespaces");
    }
    // Of a closure in a test: `networks::module::test::{{closure}}`.
    let test = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let test = test.split_once("::").map_or(test, |(_, test)| test);
    let mut command = in_namespaces();
    command.arg(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, test).stdin(Stdio::null());
    let (code, stdout, stderr) = finish(&mut command);
    let passed = code == Some(0) && stdout.contains("1 passed");
    assert!(passed, "{test} failed on its host ({code:?}):\n{stdout}{stderr}");
    for line in stderr.lines().filter(|line| line.starts_with("skipped: ")) {
        skip(line.trim_start_matches("skipped: "));
    }
}

fn finish(command: &mut Command) -> (Option<i32>, String, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("unshare (util-linux)");
    let pid = Pid::from_child(&child);
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(LIMIT).unwrap_or_else(|_| {
        // All processes in the pid namespace go with it.
        kill_process(pid, Signal::KILL).expect("kill");
        receiver.recv().expect("a killed process ends")
    });
    let output = output.expect("wait");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

impl Host {
    fn new() -> Host {
        let path = std::env::var("PILLBOX_TEST_RUNTIME");
        let path = path.unwrap_or_else(|_| env!("CARGO_BIN_EXE_pillbox").to_string());
        let host = Host { runtime: Runtime { name: "pillbox".to_string(), path: path.into() } };
        let up = link::set_up(LOOPBACK_INDEX).expect("loopback");
        Socket::open().and_then(|mut socket| socket.request(&[up])).expect("loopback");
        // Otherwise the first container of a network says that it has turned this on.
        host.set("net/ipv4/ip_forward", "1");
        host.set("net/ipv6/conf/all/forwarding", "1");
        host
    }

    /// What `pillbox net` prints with those arguments, which must succeed silently or say something on stdout.
    #[track_caller]
    pub fn net(&self, arguments: &[&str]) -> String {
        let output = self.runtime.command().arg("net").args(arguments).output().expect("pillbox net");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&output.stderr), "", "net {arguments:?}");
        text(&output.stdout)
    }

    /// Changes a setting of the host.
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{name}");
        fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A setting of the host.
    #[track_caller]
    pub fn setting(&self, name: &str) -> String {
        let path = format!("/proc/sys/{name}");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        text.trim_end().to_string()
    }

    /// Runs a body once for each value of whether bridged packets pass the rules for routed ones; once where the kernel
    /// has no such setting.
    pub fn with_and_without_bridge_netfilter(&self, mut body: impl FnMut(&str)) {
        const SETTINGS: [&str; 2] =
            ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];
        if !fs::exists(format!("/proc/sys/{}", SETTINGS[0])).expect("/proc/sys") {
            return body("without br_netfilter");
        }
        for value in ["0", "1"] {
            SETTINGS.iter().for_each(|name| self.set(name, value));
            body(&format!("bridge-nf-call-iptables={value}"));
        }
    }
}
