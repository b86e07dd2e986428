//! Containers, for the commands and for programs that embed pillbox: nothing here prints or exits.

mod bundle;
mod create;
mod delete;
mod exec;
mod foreground;
mod kill;
mod scope;
mod start;

pub use bundle::{Bundle, Prepared, Wishes};
pub use create::{CreateOptions, create};
pub use delete::delete;
pub(crate) use exec::time_namespace_of;
pub use exec::{ExecOptions, exec};
pub use foreground::run;
pub use kill::{Target, kill};
pub use start::start;
