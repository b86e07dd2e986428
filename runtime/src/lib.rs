//! pillbox as a library: an OCI container runtime.
#![deny(unsafe_code)]

pub mod cgroup;
pub mod error;
pub mod seccomp;
pub mod spec;
#[allow(unsafe_code)]
mod sys;
