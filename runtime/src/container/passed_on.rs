//! The caller's descriptors that the program inherits.

use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags};

use crate::error::{Context, Error, Result};
use crate::sys;

/// fs.nr_open cannot be higher.
const DESCRIPTORS_MAX: u32 = i32::MAX as u32 - 3;

/// What the program inherits from the caller.
pub(super) struct PassedOn {
    /// The number of descriptors, from 3 on.
    pub count: u32,
    /// The variables that announce them.
    pub environment: Vec<String>,
    /// Descriptors that fill the gaps between them, so that none of those that init needs gets a number
    /// there.
    pub gaps: Vec<OwnedFd>,
}

impl PassedOn {
    /// Finds `asked` descriptors besides the `listening` ones. To be called before anything is opened that
    /// stays open.
    pub(super) fn look(asked: u32, listening: u32) -> Result<PassedOn> {
        let count =
            asked.checked_add(listening).filter(|count| *count <= DESCRIPTORS_MAX).ok_or_else(|| {
                Error::formatted(format_args!(
                    "--preserve-fds {asked}, LISTEN_FDS={listening}: more than there can be"
                ))
            })?;
        let mut passed_on = PassedOn { count: 0, environment: Vec::new(), gaps: Vec::new() };
        if count > 0 {
            passed_on.find(count).context(|| format!("--preserve-fds {asked}"))?;
        }
        // Not more than there are: otherwise the next file that the program opens would pass for one of them.
        if listening > 0 {
            passed_on.environment.push(format!("LISTEN_FDS={}", listening.min(passed_on.count)));
            passed_on.environment.push("LISTEN_PID=1".to_string());
        }
        Ok(passed_on)
    }

    /// Leaves out descriptors that do not exist: callers ask for more than there are.
    fn find(&mut self, count: u32) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty())?;
        let mut last = 2;
        let mut descriptors = Dir::new(folder)?;
        for entry in &mut descriptors {
            let number = entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok());
            let Some(number) = number.filter(|number| (3..3 + count).contains(number)) else { continue };
            if sys::is_passed_on(number) {
                last = last.max(number);
            }
        }
        self.count = last - 2;
        for number in 3..last {
            if !sys::is_passed_on(number) {
                self.gaps.push(rustix::io::fcntl_dupfd_cloexec(descriptors.fd()?, number as i32)?);
            }
        }
        Ok(())
    }
}
