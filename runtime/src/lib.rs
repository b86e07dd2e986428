//! pillbox as a library: an OCI container runtime.

pub mod error;
pub mod seccomp;
pub mod spec;
