//! Text in and out: JSON, times, patterns, and what the kernel writes about mounts. Nothing here knows of containers, and it uses
//! nothing but `error`.

pub mod json;
pub mod mountinfo;
pub mod order;
pub mod regex;
pub mod time;
