//! Waiting for the end of a container that another process has started.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;
use crate::state::{Record, Root};
use crate::sys::process_end::code_of_collected;

/// Waits until the container has ended. The result is its program's exit status, or 128 + the signal that
/// ended it.
///
/// A process that is not the parent can learn the status from Linux 6.15 on (`PIDFD_GET_INFO`). Before, only
/// the zombie has it (/proc/PID/stat, which only root and the owner may read), until the parent collects it.
///
/// # Errors
/// There is no such container, or it has ended with a status that only its parent knows.
pub fn wait(root: &Root, id: &ContainerId) -> Result<u8> {
    Waiting::begin(root, id)?.end()
}

/// A container whose end is waited for: from now on its status is not lost, where the kernel tells it to others than the parent.
#[derive(Debug)]
pub struct Waiting {
    record: Record,
    /// `None` if it has ended already.
    process: Option<OwnedFd>,
}

impl Waiting {
    /// Opens the container's first process.
    ///
    /// # Errors
    /// There is no such container.
    pub fn begin(root: &Root, id: &ContainerId) -> Result<Waiting> {
        let record = root.find(id)?.load()?;
        let process = record.open_process()?;
        Ok(Waiting { record, process })
    }

    /// Waits, as [`wait`] does.
    ///
    /// # Errors
    /// It has ended with a status that only its parent knows.
    pub fn end(self) -> Result<u8> {
        let Waiting { record, process } = self;
        if let Some(process) = &process {
            poll_for_end(process)?;
        }
        // The zombie has the status until the parent collects it; the pidfd has it only after that.
        let code = match record.exit_code_of_zombie()? {
            None => process.as_ref().and_then(code_of_collected),
            code => code,
        };
        code.map(status).ok_or_else(|| {
            let text =
                format!("container {} has ended, with a status that only its parent was told", record.id);
            Error::of(Kind::Status, text)
        })
    }
}

/// Converts a status of wait(2) into the one that a shell shows.
pub(super) fn status(code: i32) -> u8 {
    match code & 0x7f {
        0 => (code >> 8 & 0xff) as u8,
        signal => 128 + signal as u8,
    }
}

/// Returns when a process has ended.
pub(super) fn poll_for_end(process: &OwnedFd) -> Result<()> {
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            ready => return ready.map(drop).context(|| "wait for init"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn statuses_are_those_of_a_shell() {
        assert_eq!([0, 0x300, 0xff00, 9, 0x80 | 11].map(status), [0, 3, 255, 137, 139]);
    }
}
