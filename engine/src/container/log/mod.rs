//! What a container has written: files of records, each with a time and a stream. `log/NUMBER` in the container's folder, the
//! largest number last; the oldest is deleted when the next begins.

mod read;
mod record;
mod write;

pub use read::{Line, LogReader, Tail};
pub use record::Stream;
pub use write::{LogBounds, LogWriter};
