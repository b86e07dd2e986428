//! Containers: from what is asked for to config.json, and their lives through [`pillbox`].

mod account;
mod attach;
mod capability;
mod compile;
mod create;
mod exec;
mod facts;
mod foreground;
mod health;
pub mod log;
pub mod monitor;
mod name;
mod neighbours;
mod network;
mod options;
mod own;
mod ports;
mod prepare;
mod record;
mod root;
pub mod size;
mod source;
mod start;
mod status;
mod sweep;

pub use account::{Account, Accounts};
pub use attach::Outcome;
pub use compile::{arguments, compile};
pub use create::{Lifetime, Start, create};
pub use exec::{ExecRequest, exec};
pub use facts::{Device, Facts};
pub use foreground::run_in_foreground;
pub use health::{Health, HealthCheck, HealthState, Look};
pub use name::{check_network_name, check_volume_name};
pub use network::compile_network;
pub use options::{
    Access, DeviceRequest, HealthOptions, Limits, LogOptions, Mount, MountSource, Namespaces, Network,
    NetworkMode, Options, Restart, Rights, Seccomp, Sharing, Streams,
};
pub use own::{Own, forget_state, remove_volumes, take};
pub use ports::{Published, published};
pub use prepare::{Prepared, prepare};
pub use record::{Base, ContainerRecord, Exit, Progress, is_stopped};
pub use root::RootFolders;
pub use source::Source;
pub use start::{attach_to, end, signal, start_attached, start_detached, stop, wait};
pub use status::{Status, is_held, open_running, span};
pub use sweep::sweep;
