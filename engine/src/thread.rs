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
