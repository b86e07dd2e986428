//! Black-box tests of pillbox as a CNI plugin: the built binary, called by the name `pillbox-net` with variables and a
//! configuration, on a host of each test's own, with real traffic; in lists with other plugins, called as runtimes call them;
//! and in the place of the reference plugins (Debian's package containernetworking-plugins, with iptables), where they are
//! installed.

// The black-box tests' own, and those of the networks', of which hosts, machines and traffic are used here.
#[allow(dead_code, unused_imports)]
#[path = "../blackbox/harness/mod.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../networks/host.rs"]
mod host;
#[allow(dead_code)]
#[path = "../networks/inventory.rs"]
mod inventory;
#[allow(dead_code)]
#[path = "../networks/machine.rs"]
mod machine;
#[allow(dead_code)]
#[path = "../networks/rules.rs"]
mod rules;
#[allow(dead_code)]
#[path = "../networks/sctp.rs"]
mod sctp;
#[allow(dead_code)]
#[path = "../networks/standpoint.rs"]
mod standpoint;
#[allow(dead_code)]
#[path = "../networks/traffic.rs"]
mod traffic;

mod plugin;

mod addresses;
mod attach;
mod bridge;
mod caller;
mod chain;
mod documents;
mod interrupted;
mod podman;
mod reference;
mod refusals;
mod shared;
mod upkeep;
