//! The machine before a container is made: the caller's rights, security modules, mounts, the kernel's first
//! root, the seed namespace. Plans depend on what is found here, as `plan::Host`. Nothing here changes the
//! machine, except that the seed is made on first use.
//!
//! May use `explain` and every room below it.

pub mod initial_root;
mod layers;
mod look;
mod lsm;
mod own_namespace;
pub mod seed;

pub use layers::layers;
