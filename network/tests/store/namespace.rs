//! Namespaces of the tests' own, which `unshare` (util-linux) makes and which are gone afterwards.

use std::io::Write;
use std::process::Command;

/// Set in the process that is in the new namespaces.
const INSIDE: &str = "STORE_TEST_INSIDE";

/// Runs a test's body in new namespaces: runs the test binary again under unshare, with that one test. `flags` are
/// unshare's.
pub fn in_fresh_namespace(flags: &[&str], test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        // Not eprintln!, which the test harness captures.
        let _ = writeln!(std::io::stderr(), "SKIP {test}: needs root for namespaces");
        return;
    }
    let this = std::env::current_exe().expect("this binary");
    let status = Command::new("unshare")
        .args(flags)
        .arg(this)
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) is needed");
    assert!(status.success(), "{test} failed in its namespaces");
}
