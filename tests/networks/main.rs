//! Black-box tests of networks: the built `pillbox` with `--netconf`, and real traffic. Each test has a host of its own,
//! which is a network namespace with a `/run` of its own, and other machines, which are network namespaces too. Servers
//! and clients are threads that stand in the namespaces of containers and machines, and say whom they see.
//!
//! `PILLBOX_TEST_RUNTIME` selects another binary than the one built with these tests; `PILLBOX_TEST_NO_SKIP=1` turns
//! every `skipped: …` into a failure.

// The black-box tests' own, of which bundles, calls and time limits are used here.
#[allow(dead_code, unused_imports)]
#[path = "../blackbox/harness/mod.rs"]
mod harness;

// What the tests of the D-Bus client have, of which only the service is used here.
#[allow(dead_code)]
#[path = "../../dbus/tests/bus/fake_bus.rs"]
mod fake_bus;

mod connected;
mod firewalld;
mod host;
mod inventory;
mod machine;
mod rules;
mod sctp;
mod standpoint;
mod traffic;

mod boundaries;
mod documents;
mod filters;
mod killed;
mod links;
mod names;
mod outward;
mod published;
mod recovery;
mod refusals;
mod user_mode;
mod zones;
