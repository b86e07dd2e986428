//! pillbox as a library: an OCI container runtime.
//!
//! The way of a container: [`container::Bundle`] reads config.json, [`spec`] parses it, [`validate`] checks it,
//! [`plan`] compiles it, [`container`] makes it run. Nothing here prints, and nothing exits.

#![deny(unsafe_code)]

pub mod affinity;
pub mod capability;
pub mod cgroup;
pub mod check;
mod console;
pub mod container;
pub mod container_id;
pub mod error;
pub mod explain;
pub mod features;
mod hooks;
mod idmap;
pub mod json;
pub mod net_device;
mod network;
mod order;
pub mod plan;
pub mod program;
mod regex;
pub mod resctrl;
pub mod rlimit;
pub mod scratch;
pub mod seccomp;
pub mod seccomp_agent;
mod seed;
pub mod signal;
mod spawn;
pub mod spec;
pub mod state;
#[allow(unsafe_code)]
mod sys;
pub mod time;
pub mod validate;
