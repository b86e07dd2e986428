//! What a keeper of logs gets.

use super::record::Stream;
use crate::time::Moment;

/// A line, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub stream: Stream,
    pub time: Moment,
    pub text: Vec<u8>,
    pub is_last: bool,
}
