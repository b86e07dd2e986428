//! Black-box tests: the built `pillbox` with real bundles on this kernel. The same cases run with crun and
//! runc if they are installed, so that every expectation is tested itself.
//!
//! Environment: `PILLBOX_TEST_RUNTIME` (comma-separated paths) replaces the list of runtimes under test;
//! `PILLBOX_TEST_NO_SKIP=1` turns every `skipped: …` into a failure; `PILLBOX_TEST_EXCEPTIONS=1` also runs
//! the peers that a case excludes, and demands that they fail there.

mod harness;

mod bad_input;
mod bind_flags;
mod bind_sources;
mod bounds;
mod cgroup;
mod check;
mod command_line;
mod compatibility;
mod control;
mod descriptors;
mod documents;
mod exec;
mod faults;
mod filesystem;
mod foreground;
mod hardening;
mod hooks;
mod init_file;
mod lifecycle;
mod live_mounts;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod notify;
mod podman;
mod process;
mod propagation;
mod record;
mod recorded;
mod rootless;
mod seccomp_agent;
mod security;
mod seed;
mod signals;
mod statuses;
mod systemd;
mod terminal;
mod throwaway;
mod user_devices;
mod user_root;
