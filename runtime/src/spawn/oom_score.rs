//! `process.oomScoreAdj`: whom the kernel kills first when memory runs out. proc_pid_oom_score_adj(5).

use rustix::process::Pid;

use crate::error::{Context, Result};

const OWN: &str = "/proc/self/oom_score_adj";

/// Gives the value to a process.
///
/// # Errors
/// A lower value than it has takes CAP_SYS_RESOURCE; of a process that is not dumpable the file is root's.
pub fn write(pid: Pid, value: i32) -> Result<()> {
    write_to(&format!("/proc/{pid}/oom_score_adj"), &value.to_string())
}

fn write_to(path: &str, value: &str) -> Result<()> {
    std::fs::write(path, value).context(|| format!("process.oomScoreAdj: write {value}"))
}

/// The calling process has a value, which its children inherit, until this is dropped.
pub struct Held {
    before: String,
}

impl Held {
    /// Takes the value for the time.
    ///
    /// # Errors
    /// As for [`write`].
    pub fn at(value: i32) -> Result<Held> {
        let before = std::fs::read_to_string(OWN).context(|| OWN)?;
        write_to(OWN, &value.to_string())?;
        Ok(Held { before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What it had a moment ago, it may have.
        let _ = write_to(OWN, self.before.trim_end());
    }
}
