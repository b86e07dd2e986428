//! `process.oomScoreAdj`: which process the kernel kills first when memory runs out.
//! proc_pid_oom_score_adj(5).

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

use crate::error::{Context, Result};

const OWN: &str = "/proc/self/oom_score_adj";

/// Sets the value of a process.
///
/// # Errors
/// To lower it needs CAP_SYS_RESOURCE; only root may write to the file of a process that is not dumpable.
pub fn write(pid: Pid, value: i32) -> Result<()> {
    write_to(&format!("/proc/{pid}/oom_score_adj"), &value.to_string())
}

fn write_to(path: &str, value: &str) -> Result<()> {
    std::fs::write(path, value).context(|| format!("process.oomScoreAdj: write {value}"))
}

/// Sets the value of the calling process, which its children inherit, until this is dropped. Threads take
/// turns: a second one would take this value for the process's own, and restore it in the end.
pub struct Held {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl Held {
    /// Sets the value, once no other thread holds one.
    ///
    /// # Errors
    /// As for [`write`].
    pub fn at(value: i32) -> Result<Held> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::fs::read_to_string(OWN).context(|| OWN)?;
        write_to(OWN, &value.to_string())?;
        Ok(Held { before, _alone: alone })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The process had this value a moment ago, so it may have it again.
        let _ = write_to(OWN, self.before.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::{Held, OWN};

    #[test]
    fn threads_take_turns_and_restore_the_value() {
        let before = std::fs::read_to_string(OWN).expect("read");
        std::thread::scope(|scope| {
            for value in [700, 800, 900] {
                scope.spawn(move || {
                    for _ in 0..20 {
                        let held = Held::at(value).expect("take it");
                        std::thread::sleep(std::time::Duration::from_millis(1));
                        assert_eq!(std::fs::read_to_string(OWN).expect("read").trim_end(), value.to_string());
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(OWN).expect("read"), before);
    }
}
