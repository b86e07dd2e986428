//! How many answers there were.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Default)]
pub struct Counters {
    pub good: AtomicU64,
    pub refused: AtomicU64,
    pub failed: AtomicU64,
}

impl Counters {
    /// Counts an answer.
    pub fn count(&self, status: u16) {
        let counter = match status {
            500.. => &self.failed,
            400.. => &self.refused,
            _ => &self.good,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
