//! Starting this program once more, to outlive its command, and the cgroup in which it does: whoever ends everything in the cgroup of
//! the command (a session's end, a unit that is restarted) does not end the monitor.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{create_dir, remove_dir};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pillbox::cgroup::Hierarchy;
use pillbox::{Spawned, spawn_again};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::stdio::stdin;

use crate::container::cgroup_parent::MONITORS;
use crate::error::{Context, Error, Result};
use crate::inside::null;

/// The name by which the program is called to remove the cgroup.
const NAME: &str = "box-tidier";

/// Starts this program once more, as the leader of a session. `arguments` begins with its name; behind them stands where it belongs
/// ([`OwnCgroup::of_arguments`]). `parent` is the container's `--cgroup-parent`.
///
/// # Errors
/// It cannot be started.
pub fn start(arguments: &[&OsStr], streams: [BorrowedFd<'_>; 3], parent: Option<&str>) -> Result<Spawned> {
    let variables = std::env::vars_os().map(|(name, value)| [name, value].join(OsStr::new("=")));
    let environment = c_strings(variables)?;
    if let Some(cgroup) = OwnCgroup::plan(parent) {
        let places = cgroup.arguments().map(Path::as_os_str);
        let arguments = c_strings(arguments.iter().copied().chain(places))?;
        for _ in 0..3 {
            let Ok(folder) = cgroup.open() else { break };
            match spawn_again(&arguments, &environment, streams, Some(folder.as_fd())) {
                Ok(spawned) => return Ok(spawned),
                // Another one that was the last has just removed it.
                Err(Errno::NODEV | Errno::NOENT) => {}
                Err(_) => break,
            }
        }
        cgroup.give_up();
    }
    let arguments = c_strings(arguments.iter())?;
    spawn_again(&arguments, &environment, streams, None).context(|| "start box once more")
}

fn c_strings(texts: impl Iterator<Item = impl AsRef<OsStr>>) -> Result<Vec<CString>> {
    let whole = texts.map(|text| CString::new(text.as_ref().as_bytes()));
    whole.collect::<std::result::Result<_, _>>().map_err(|error| Error::invalid(error.to_string()))
}

/// A monitor's place in it.
#[derive(Debug)]
pub struct OwnCgroup {
    folder: PathBuf,
    /// Where the process is that removes it.
    outside: PathBuf,
    /// The one above, if it was made for this monitor.
    above: Option<PathBuf>,
}

impl OwnCgroup {
    /// Where a monitor that is about to be started belongs. `parent` is the container's `--cgroup-parent`. `None` where that is not
    /// possible: without cgroup v2, or where an ordinary user has no part of the hierarchy. Then the monitor stays where its command is.
    fn plan(parent: Option<&str>) -> Option<OwnCgroup> {
        let hierarchy = Hierarchy::find().ok().flatten()?;
        let root = hierarchy.mount().to_path_buf();
        let (beside, outside) = if rustix::process::geteuid().is_root() {
            (root.clone(), root)
        } else {
            let own = root.join(hierarchy.own_cgroup().ok()?.trim_start_matches('/'));
            (own.parent()?.to_path_buf(), own)
        };
        let parent = parent.map(|parent| beside.join(parent.trim_matches('/')));
        let above = parent.clone().filter(|parent| create_dir(parent).is_ok());
        Some(OwnCgroup { folder: parent.unwrap_or(beside).join(MONITORS), outside, above })
    }

    /// Its directory, which is made where it is missing.
    fn open(&self) -> Result<OwnedFd> {
        let _ = create_dir(&self.folder);
        open_folder(&self.folder)
    }

    /// Removes it where nothing is in it; true if it is gone.
    fn give_up(&self) -> bool {
        let is_gone = !matches!(remove_dir(&self.folder), Err(error) if error.kind() != ErrorKind::NotFound);
        if let Some(above) = &self.above {
            let _ = remove_dir(above);
        }
        is_gone
    }

    /// As the process that was started there is told of it.
    fn arguments(&self) -> impl Iterator<Item = &Path> {
        [&self.folder, &self.outside].into_iter().chain(&self.above).map(PathBuf::as_path)
    }

    /// From its arguments; `None` for a process that is in none.
    pub fn of_arguments(mut arguments: impl Iterator<Item = OsString>) -> Option<OwnCgroup> {
        let mut next = || arguments.next().map(PathBuf::from);
        Some(OwnCgroup { folder: next()?, outside: next()?, above: next() })
    }

    /// That of a process which is not this one; `None` for one that is in none.
    pub fn of_process(pid: i32) -> Option<OwnCgroup> {
        let hierarchy = Hierarchy::find().ok().flatten()?;
        let place = |cgroup: String| hierarchy.mount().join(cgroup.trim_start_matches('/'));
        let folder = place(hierarchy.cgroup_of(&pid.to_string()).ok()?);
        let outside = place(hierarchy.own_cgroup().ok()?);
        let is_one = folder.ends_with(MONITORS) && folder != outside;
        is_one.then_some(OwnCgroup { folder, outside, above: None })
    }

    /// A process in it is about to end, perhaps as the last one.
    pub fn is_left_by(&self, process: BorrowedFd<'_>) {
        // What cannot be removed costs nothing.
        let _ = self.start_removal(process);
    }

    /// The end of a process in it. The last one leaves its removal to a process outside.
    pub fn leave(self) {
        // Held until this process is no more: whoever has it next sees the cgroup without it.
        let Ok(lock) = open(&self.folder, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return };
        let locked = flock(&lock, FlockOperation::LockExclusive);
        std::mem::forget(lock);
        let processes = std::fs::read_to_string(self.folder.join("cgroup.procs"));
        if locked.is_ok() && processes.is_ok_and(|processes| processes.lines().count() < 2) {
            // Moving this process out would be dear for the whole machine.
            if let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) {
                self.is_left_by(own.as_fd());
            }
        }
    }

    fn start_removal(&self, last: BorrowedFd<'_>) -> Result<Spawned> {
        let null = null()?;
        let outside = open_folder(&self.outside)?;
        let arguments = c_strings([Path::new(NAME)].into_iter().chain(self.arguments()))?;
        let streams = [last, null.as_fd(), null.as_fd()];
        spawn_again(&arguments, &[], streams, Some(outside.as_fd())).context(|| "start box once more")
    }
}

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| name == NAME)
}

/// What the program does when it was called for this.
pub fn main(arguments: impl Iterator<Item = OsString>) {
    let Some(cgroup) = OwnCgroup::of_arguments(arguments) else { return };
    // Its stdin tells of the end of the last one.
    let ended =
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)], None));
    for _ in 0..50 {
        // An end can be known before the cgroup is empty; and a new one may be in it.
        if ended.is_err() || cgroup.give_up() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn open_folder(folder: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(folder, flags, Mode::empty()).context(|| folder.display().to_string())
}
