//! A time in which other processes of the same user cannot look into this one's memory.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

/// While a child that shares this memory stands in a user namespace with others, who have rights there.
pub struct Unseen(DumpableBehavior);

impl Unseen {
    /// Begins it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn begin() -> Result<Unseen, Errno> {
        let before = dumpable_behavior()?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        Ok(Unseen(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // What the kernel does not take stays unseen.
        let _ = set_dumpable_behavior(self.0);
    }
}
