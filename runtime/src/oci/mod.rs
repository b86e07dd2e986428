//! The specification's words: config.json as it stands, the names of capabilities, limits and signals, ids. Nothing here judges what is
//! asked for. It uses `text` and `sys`.

pub mod capability;
pub mod container_id;
pub mod rlimit;
pub mod signal;
pub mod spec;
mod status;

pub use container_id::ContainerId;
pub use status::Status;
