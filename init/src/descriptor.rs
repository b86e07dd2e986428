//! The descriptors that the runtime has opened for the plan.

use heapless::Vec;
use pillbox_init::plan::operation::ReplaceStdio;
use pillbox_init::plan::{NEVER_OPEN, TAKEN_TREES_MAX};
use pillbox_init::sys::Inherited;
use pillbox_init::wire::Numbers;
use rustix::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use rustix::io::Errno;

/// Descriptors by index, as operations name them.
pub struct Descriptors<'p> {
    inherited: Inherited,
    /// The numbers of those that were opened before the clone.
    opened: Numbers<'p>,
    /// The trees that the runtime has sent last, each as its index and its number.
    taken: Vec<[u32; 2], TAKEN_TREES_MAX>,
}

impl<'p> Descriptors<'p> {
    /// The descriptors that the plan's header lists.
    pub fn new(inherited: Inherited, opened: Numbers<'p>) -> Self {
        Descriptors { inherited, opened, taken: Vec::new() }
    }

    /// A descriptor that the runtime opened before the clone, or has sent since.
    pub fn get(&self, index: u32) -> Result<BorrowedFd<'p>, Errno> {
        if let Some([_, number]) = self.taken.iter().find(|[of, _]| *of == index) {
            return Ok(self.inherited.fd(*number));
        }
        let number = self.opened.get(index as usize).ok_or(Errno::BADF)?;
        Ok(self.inherited.fd(number))
    }

    /// Makes `tree` the descriptor with this index.
    pub fn take(&mut self, index: u32, tree: OwnedFd) -> Result<(), Errno> {
        self.taken.push([index, tree.into_raw_fd() as u32]).map_err(|_| Errno::MFILE)
    }

    /// dup2(2) onto stdin, stdout and stderr.
    pub fn replace_stdio(&self, step: &ReplaceStdio) -> Result<(), Errno> {
        for (number, index) in (0..).zip([step.input, step.output, step.error]) {
            self.inherited.replace(number, self.get(index)?)?;
        }
        Ok(())
    }

    /// Closes what the runtime opened for earlier operations. It would count against the program's limits,
    /// and a process that waits in a container should not hold trees of the host.
    pub fn close_all_but(&mut self, listener: u32) {
        for (index, number) in (0..).zip(self.opened.iter()) {
            if index != listener && number != NEVER_OPEN {
                self.inherited.close(number);
            }
        }
        self.close_taken();
    }

    /// Closes what was [taken](Self::take).
    pub fn close_taken(&mut self) {
        for [_, number] in &self.taken {
            self.inherited.close(*number);
        }
        self.taken.clear();
    }
}
