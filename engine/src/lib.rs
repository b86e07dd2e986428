//! box as a library: images, layers and containers in a store, run by the calling process through [`pillbox`].
//!
//! No process owns the state: every command works on files and the kernel, and whoever is killed, the next one finds a legal
//! state and puts away what was half done. See [`store`].

#![forbid(unsafe_code)]

pub mod api;
pub mod archive;
pub mod build;
pub mod command;
pub mod container;
mod deletion;
pub mod digest;
pub mod error;
mod file;
mod folder;
mod forward;
pub mod ids;
pub mod image;
pub mod inside;
pub mod layer;
pub mod message;
mod names;
mod order;
mod output;
mod program;
pub mod reference;
pub mod registries;
pub mod registry;
pub mod stop;
pub mod store;
mod thread;
pub mod time;
pub mod transfer;

pub use digest::Digest;
pub use error::{Error, Kind, Result};
pub use reference::{Reference, Repository};
