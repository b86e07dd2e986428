//! Containers: from what is asked for to config.json, and their lives through [`pillbox`].

mod account;
mod capability;
mod compile;
mod create;
mod facts;
mod foreground;
mod name;
mod network;
mod options;
mod prepare;
mod record;
mod root;
pub mod size;
mod source;

pub use account::{Account, Accounts};
pub use compile::compile;
pub use create::{Own, Start, create, forget_state, sweep, take};
pub use facts::{Device, Facts};
pub use foreground::run_in_foreground;
pub use network::compile_network;
pub use options::{
    Access, DeviceRequest, Limits, Mount, MountSource, Namespaces, Network, NetworkMode, Options, Rights,
    Seccomp, Sharing, Streams,
};
pub use prepare::{Prepared, prepare};
pub use record::{Base, ContainerRecord, Exit, Moment, Progress};
pub use root::RootFolders;
pub use source::Source;
