//! Threads. A machine that gives no more of them is no reason to end: `Scope::spawn` would.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::error::{Context, Result};

/// Begins one that ends within a scope.
///
/// # Errors
/// There are too many already.
pub fn spawn<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().spawn_scoped(scope, work).context(|| "begin a thread")
}

/// How many small files are worth a thread that reads them.
const WORTH_A_THREAD: usize = 64;

/// Reads something of each item, of many in several threads; in their order.
pub fn by_shares<T: Sync, R: Send>(items: &[T], read: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let size = items.len().div_ceil(processors).max(WORTH_A_THREAD);
    let read_share = |share: &[T]| share.iter().map(&read).collect::<Vec<R>>();
    std::thread::scope(|scope| {
        let mut shares = items.chunks(size);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares.map(|share| (share, spawn(scope, || read_share(share)).ok())).collect();
        let mut all = read_share(own);
        for (share, thread) in others {
            // What no thread could be begun for is read here.
            all.extend(thread.and_then(|thread| thread.join().ok()).unwrap_or_else(|| read_share(share)));
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_their_order() {
        for count in [0, 1, WORTH_A_THREAD, WORTH_A_THREAD + 1, 10 * WORTH_A_THREAD + 7] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(
                by_shares(&items, |item| item * 2),
                (0..count).map(|item| item * 2).collect::<Vec<_>>()
            );
        }
    }
}
