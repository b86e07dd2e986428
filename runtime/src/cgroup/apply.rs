//! Writes compiled limits into the files of a cgroup.

use rustix::io::Errno;

use super::Cgroup;
use super::file::{read_file, write_file};
use crate::error::{Context, Error, Kind, Result};
use crate::resources::{Exception, FileWrite};

impl Cgroup {
    /// Writes the limits, in order. Their controllers must be on already.
    ///
    /// # Errors
    /// Names the field, the file and the value. The limits before the failed one stay in force.
    pub fn apply(&self, limits: &[FileWrite<'_>]) -> Result<()> {
        let mut postponed = None;
        for limit in limits {
            if self.write_limit(limit, postponed.is_none())? == Outcome::Postponed {
                postponed = Some(limit);
            } else if let Some(limit) = postponed.take() {
                self.write_limit(limit, false)?;
            }
        }
        if let Some(limit) = postponed {
            self.write_limit(limit, false)?;
        }
        Ok(())
    }

    /// `may_postpone`: whether [`Exception::AfterNext`] applies.
    fn write_limit(&self, limit: &FileWrite<'_>, may_postpone: bool) -> Result<Outcome> {
        let FileWrite { file, value, controller: _, field, exception } = limit;
        if let Exception::NotBelow(usage) = exception {
            self.check_usage(usage, limit)?;
        }
        let written = value.split_inclusive('\n').try_for_each(|line| write_file(self.fd(), &**file, line));
        let (file, value, errno) = match (written, exception) {
            (Ok(()), _) => return Ok(Outcome::Written),
            (Err(Errno::NOENT), Exception::Default | Exception::FileMayBeMissing) => {
                return Ok(Outcome::Written);
            }
            (Err(Errno::INVAL), Exception::AfterNext) if may_postpone => return Ok(Outcome::Postponed),
            (Err(Errno::NOENT), Exception::Instead { file, value }) => {
                match write_file(self.fd(), *file, value) {
                    Ok(()) => return Ok(Outcome::Written),
                    Err(errno) => (*file, value.as_str(), errno),
                }
            }
            (Err(errno), _) => (&**file, &**value, errno),
        };
        Err(match errno {
            Errno::NOENT => Error::formatted(format_args!(
                "{field}: write to {file} of cgroup {}: no such file: this kernel does not have it",
                self.path
            ))
            .or_kind(Kind::Limit),
            errno => Error::formatted(format_args!(
                "{field}: write '{}' to {file} of cgroup {}: {}",
                value.trim_end(),
                self.path,
                crate::error::describe_errno(errno)
            ))
            .or_kind(Kind::Limit),
        })
    }

    fn check_usage(&self, usage: &str, limit: &FileWrite<'_>) -> Result<()> {
        let used = read_file(self.fd(), usage).context(|| format!("read {usage} of cgroup {}", self.path))?;
        let (used, allowed) = (used.trim().parse::<u64>(), limit.value.parse::<u64>());
        match (used, allowed) {
            (Ok(used), Ok(allowed)) if used <= allowed => Ok(()),
            (Ok(used), Ok(allowed)) => Err(Error::formatted(format_args!(
                "{}: {allowed} is less than what is in use ({used}), and checkBeforeUpdate is set",
                limit.field
            ))
            .or_kind(Kind::Limit)),
            _ => Err(Error::formatted(format_args!("{usage} of cgroup {}: not a number", self.path))),
        }
    }
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Written,
    Postponed,
}
