//! The machine as it is before a container is made: rights, security modules, the seed namespace, the first root, the mounts. Compiled plans
//! depend on what is seen here; it uses `plan` for the words, and changes nothing but the seed.

pub mod initial_root;
mod layers;
mod look;
mod lsm;
mod own_namespace;
pub mod seed;

pub use layers::layers;
