//! Programs that end with whoever has started them.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Context, Result};
use crate::program::program;

/// A group of processes. It ends with this value, and with the process that has it, even if that is killed.
#[derive(Debug)]
pub struct ProcessGroup {
    /// Its first process. It waits until nobody holds the other end of its stdin, and then ends all of them.
    keeper: Child,
}

impl ProcessGroup {
    /// A group in which nothing runs yet.
    ///
    /// # Errors
    /// There is no shell, or no room for another process.
    pub fn begin() -> Result<ProcessGroup> {
        let mut keeper = program("/bin/sh");
        keeper.args(["-c", "read -r nothing; kill -KILL 0"]).env_clear().process_group(0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(ProcessGroup { keeper: keeper.spawn().context(|| "start /bin/sh")? })
    }

    /// Lets a program be started in it.
    pub fn take(&self, command: &mut Command) {
        command.process_group(self.id());
    }

    /// Ends all that runs in it.
    pub fn end(&self) {
        if let Some(group) = Pid::from_raw(self.id()) {
            // It may have ended already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn id(&self) -> i32 {
        self.keeper.id().cast_signed()
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.end();
        // It has been killed: there is nothing to wait for, and nothing that could be told.
        let _ = self.keeper.wait();
    }
}
