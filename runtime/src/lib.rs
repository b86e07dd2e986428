//! pillbox as a library: an OCI container runtime.

pub mod capability;
pub mod container_id;
pub mod error;
pub mod rlimit;
pub mod spec;
pub mod validate;
