//! Nothing may take longer than [`LIMIT`]: then all processes in this pid namespace are killed, and what they
//! were doing is kept.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a command may take.
pub const LIMIT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Watched {
    until: Option<Instant>,
    hung: Option<String>,
}

/// A thread that watches the time.
#[derive(Clone)]
pub struct Watchdog(Arc<Mutex<Watched>>);

/// A command under watch.
pub struct Guard<'w>(&'w Watchdog);

impl Watchdog {
    pub fn start() -> Self {
        let watchdog = Watchdog(Arc::default());
        let thread = watchdog.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(100));
                thread.look();
            }
        });
        watchdog
    }

    /// Begins to watch a command.
    pub fn watch(&self) -> Guard<'_> {
        self.with(|watched| *watched = Watched { until: Some(Instant::now() + LIMIT), hung: None });
        Guard(self)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Watched) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self) {
        self.with(|watched| {
            if watched.until.is_some_and(|until| Instant::now() > until) {
                let doing: Vec<_> = processes().into_iter().map(describe).collect();
                watched.hung.get_or_insert(doing.join("; "));
                for pid in processes() {
                    // An error means that it is gone already.
                    let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
                }
            }
        });
    }
}

impl Guard<'_> {
    /// What all processes were doing when the time was over, if it was.
    pub fn end(self) -> Option<String> {
        self.0.with(|watched| {
            watched.until = None;
            watched.hung.take()
        })
    }
}

/// All processes in this pid namespace except the first.
pub fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != 1).collect()
}

/// A process's program, and the system call that it is in.
pub fn describe(pid: i32) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let line = read("cmdline").replace('\0', " ");
    let name = if line.is_empty() { read("comm") } else { line };
    let call = read("syscall");
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    let call = number.map_or_else(|| call.trim().to_string(), crate::fault::call_name);
    let state = read("stat");
    let state = state.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?');
    format!("{pid} {} ({state}, in {call})", name.trim())
}
