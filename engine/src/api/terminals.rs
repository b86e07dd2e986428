//! The terminals of programs that this process has started for clients, to be told how large they are.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::fault::{Fault, Outcome};

/// By the ids of programs.
#[derive(Debug, Default)]
pub struct Terminals(Mutex<BTreeMap<String, OwnedFd>>);

/// One of them, which is forgotten when the value is dropped.
#[derive(Debug)]
pub struct Kept<'t> {
    terminals: &'t Terminals,
    id: String,
}

impl Terminals {
    /// Keeps a terminal, if there is one.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn keep(&self, id: &str, terminal: Option<&OwnedFd>) -> Outcome<Option<Kept<'_>>> {
        let Some(terminal) = terminal else { return Ok(None) };
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string(), terminal);
        Ok(Some(Kept { terminals: self, id: id.to_string() }))
    }

    /// Sets the size of one.
    ///
    /// # Errors
    /// There is none, or its program has ended.
    pub fn resize(&self, id: &str, rows: u16, columns: u16) -> Outcome<()> {
        let terminals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || Fault::conflict(format!("exec {id} has no terminal that runs here"));
        let terminal = terminals.get(id).ok_or_else(missing)?;
        Ok(pillbox::resize_terminal(terminal, rows, columns)?)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.terminals.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
