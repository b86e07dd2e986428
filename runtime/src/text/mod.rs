//! Text in and out: JSON, times, patterns, sorting, and the kernel's list of mounts. Nothing here knows of
//! containers.
//!
//! May use `error`.

pub mod json;
pub mod mountinfo;
pub mod order;
pub mod regex;
pub mod time;
