//! pillbox as a library: an OCI container runtime.
//!
//! The way of a container: [`container::Bundle`] reads config.json, [`spec`] parses it, [`validate`] checks it,
//! [`plan`] compiles it, [`container`] makes it run. Nothing here prints, and nothing exits.

#![deny(unsafe_code)]

pub mod capability;
pub mod cgroup;
mod console;
pub mod container;
pub mod container_id;
pub mod error;
pub mod explain;
mod idmap;
pub mod json;
pub mod plan;
pub mod rlimit;
pub mod seccomp;
mod seed;
mod spawn;
pub mod spec;
pub mod state;
#[allow(unsafe_code)]
mod sys;
mod time;
pub mod validate;
