//! The life of a container, from create to delete, for the commands and for programs that embed pillbox.
//! Nothing here prints or exits.
//!
//! May use `state` and every room below it.

mod bundle;
mod create;
mod delete;
mod events;
mod exec;
mod exec_process;
mod foreground;
mod freeze;
mod handle;
mod hooks;
mod kill;
mod line;
mod made;
mod mounts;
mod namespaces;
mod network;
#[cfg(feature = "network")]
mod networks;
#[cfg(not(feature = "network"))]
#[path = "networks_off.rs"]
mod networks;
mod options;
mod out_of_memory;
mod passed_on;
mod pid_file;
mod process;
mod processes;
mod readiness;
mod scope;
mod signals;
mod start;
mod stdio;
mod step;
mod supervise;
mod terminal;
mod undo;
mod update;
mod wait;

pub use bundle::{Bundle, Prepared, Wishes};
pub use create::create;
pub use delete::{delete, delete_matching};
pub use events::{Event, Watch, out_of_memory_kills};
pub use exec::exec;
pub use foreground::{exec_in_foreground, run};
pub use freeze::{pause, resume};
pub use handle::Container;
pub use kill::{Target, kill, kill_matching};
pub use mounts::{MountsChange, change_mounts};
pub use network::Network;
pub use networks::Networks;
#[cfg(feature = "network")]
#[doc(hidden)]
pub use networks::{
    CniNetwork, CniSettings, Elsewhere, STORE, There, Whose, check_attachments, collect_garbage, connect,
    disconnect, worded,
};
pub use options::{CommandLine, CreateOptions, ExecOptions};
pub use process::{Process, resize_terminal};
pub use processes::pids;
pub use readiness::Readiness;
#[doc(hidden)]
pub use signals::ForwardedSignals;
pub use start::{start, start_heard};
pub use stdio::{Stdio, occupy_stdio};
pub use update::{Changes, update};
pub use wait::{Waiting, wait};
