//! Containers: from what is asked for to config.json, and their lives through [`pillbox`].

mod account;
mod capability;
mod compile;
mod facts;
mod ids;
mod options;
pub mod size;

pub use account::{Account, Accounts};
pub use compile::compile;
pub use facts::{Device, Facts};
pub use ids::{IdMaps, Range};
pub use options::{
    Access, DeviceRequest, Limits, Mount, MountSource, Namespaces, Network, NetworkMode, Options, Rights,
    Seccomp, Sharing, Streams,
};
