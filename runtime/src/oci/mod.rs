//! The specification's terms: config.json as it stands, container ids, and the names of capabilities,
//! resource limits and signals. Nothing here judges what a configuration asks for.
//!
//! May use `root` and every room below it.

pub mod capability;
pub mod container_id;
pub mod rlimit;
pub mod signal;
pub mod spec;
mod status;

pub use container_id::ContainerId;
pub use status::Status;
