//! Text in and out: times, patterns, manual pages, and the kernel's list of mounts; the crate `pillbox-json` has JSON and
//! sorting. Nothing here knows of containers.
//!
//! May use `error`.

pub mod json;
pub mod mountinfo;
pub mod regex;
pub mod roff;
pub mod time;

pub use pillbox_json::order;
