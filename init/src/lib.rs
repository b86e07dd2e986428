//! The plan: what the runtime writes and init reads, and the system calls that both need.
//!
//! A plan is a header and a sequence of [`plan::Operation`]s. The runtime compiles it from config.json and
//! encodes it; init decodes one operation at a time, borrowed from the bytes, and runs it. `no_std`, no
//! allocation: the same code serves on both sides.

#![no_std]
#![deny(unsafe_code)]

pub mod plan;
pub mod report;
#[allow(unsafe_code)]
pub mod sys;
pub mod tree;
pub mod wire;
