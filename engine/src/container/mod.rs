//! Containers: from what is asked for to config.json, and their lives through [`pillbox`].

mod account;
mod attach;
mod capability;
mod commit;
mod compile;
mod copy;
mod create;
mod event;
mod exec;
mod explain;
mod facts;
mod foreground;
mod inspect;
pub mod log;
pub mod monitor;
mod name;
mod neighbours;
mod network;
mod options;
mod own;
mod ports;
mod prepare;
mod processes;
mod reach;
mod record;
mod rename;
mod root;
pub mod size;
mod source;
mod start;
mod stats;
mod status;
mod sweep;
mod update;

pub use account::{Account, Accounts};
pub use attach::Outcome;
pub use commit::{CommitOptions, commit};
pub use compile::{arguments, compile};
pub use copy::{CopyOptions, copy_from_stream, copy_into, copy_out, copy_to_stream, export};
pub use create::{Lifetime, Start, create};
pub use event::{Happening, note};
pub use exec::{ExecRequest, exec};
pub use explain::{Explained, explain};
pub use facts::{Device, Facts};
pub use foreground::run_in_foreground;
pub use inspect::{PublishedPort, inspect, published_ports};
pub use name::{check_network_name, check_volume_name};
pub use network::compile_network;
pub use options::{
    Access, DeviceRequest, Limits, Mount, MountSource, Namespaces, Network, NetworkMode, Options, Restart,
    Rights, Seccomp, Sharing, Streams,
};
pub use own::{Own, forget_state, remove_volumes, take};
pub use ports::{Published, published};
pub use prepare::{Prepared, prepare};
pub use processes::{ProcessLine, processes};
pub use reach::{Reached, changes, disk_usage, reach};
pub use record::{Base, ContainerRecord, Exit, Progress, is_stopped};
pub use rename::{change_record, rename};
pub use root::RootFolders;
pub use source::Source;
pub use start::{attach_to, end, signal, start_attached, start_detached, stop, wait};
pub use stats::{Sample, machine_memory};
pub use status::{Status, is_held, open_running, span};
pub use sweep::sweep;
pub use update::{Update, update};
