//! What a container has written: by itself in files of records, each with a time and a stream (`log/NUMBER` in the container's
//! folder, the largest number last; the oldest is deleted when the next begins), or where `--log-driver` says.

mod driver;
mod entry;
mod index;
mod journald;
mod json_file;
mod lines;
mod read;
mod reading;
mod record;
mod remote;
#[cfg(test)]
mod scratch;
mod syslog;
mod tag;
mod tail;
mod write;

pub use driver::Log;
pub use json_file::json_file;
pub use read::{Line, LogReader, Tail};
pub use record::Stream;
pub use syslog::check_syslog;
pub use tag::check_tag;
pub use write::{LogBounds, LogWriter};
