//! Containers, for the commands and for programs that embed pillbox: nothing here prints or exits.

mod bundle;
mod create;
mod delete;
mod events;
mod exec;
mod foreground;
mod freeze;
mod handle;
mod kill;
mod mounts;
mod passed_on;
mod processes;
mod readiness;
mod scope;
mod start;
mod stdio;
mod update;
mod wait;

pub use bundle::{Bundle, Prepared, Wishes};
pub use create::{CreateOptions, create};
pub use delete::{delete, delete_matching};
pub use events::{Event, Watch};
pub(crate) use exec::time_namespace_of;
pub use exec::{ExecOptions, exec};
pub use foreground::run;
pub use freeze::{pause, resume};
pub use handle::Container;
pub use kill::{Target, ask, kill, kill_matching};
pub use mounts::{MountsChange, change_mounts};
pub use processes::pids;
pub use readiness::Readiness;
pub(crate) use scope::spawn_into;
pub use start::{start, start_heard};
pub use stdio::Stdio;
pub use update::{Changes, update};
pub use wait::wait;
