//! The cgroup of monitors: whoever ends everything in the cgroup of the command that started one (a session's end, a unit that is
//! restarted) does not end the monitor.

use std::path::{Path, PathBuf};

use pillbox::cgroup::Hierarchy;

use crate::container::cgroup_parent::MONITORS;

/// This process's place in it, until the value is dropped.
#[derive(Debug)]
pub struct OwnCgroup {
    folder: PathBuf,
    /// The one above, if it was made for this.
    above: Option<PathBuf>,
    /// Where it came from.
    before: PathBuf,
    /// Where it can go if that is gone.
    root: PathBuf,
}

impl OwnCgroup {
    /// Moves this process there. `parent` is the container's `--cgroup-parent`. `None` where that is not possible: without cgroup v2, or
    /// where an ordinary user has no part of the hierarchy. Then the monitor stays where it is.
    pub fn enter(parent: Option<&str>) -> Option<OwnCgroup> {
        let hierarchy = Hierarchy::find().ok().flatten()?;
        let root = hierarchy.mount().to_path_buf();
        let own = hierarchy.own_cgroup().ok()?;
        let before = root.join(own.trim_start_matches('/'));
        let is_root = rustix::process::geteuid().is_root();
        let beside = if is_root { root.clone() } else { before.parent()?.to_path_buf() };
        let parent = parent.map(|parent| beside.join(parent.trim_matches('/')));
        let above = parent.clone().filter(|parent| std::fs::create_dir(parent).is_ok());
        let folder = parent.unwrap_or(beside).join(MONITORS);
        let cgroup = OwnCgroup { folder, above, before, root };
        // Another monitor may have made it, or be about to remove it.
        let moved = (0..3).any(|_| {
            let _ = std::fs::create_dir(&cgroup.folder);
            move_to(&cgroup.folder)
        });
        moved.then_some(cgroup)
    }
}

impl Drop for OwnCgroup {
    /// The last one removes it.
    fn drop(&mut self) {
        if move_to(&self.before) || move_to(&self.root) {
            let _ = std::fs::remove_dir(&self.folder);
        }
        if let Some(above) = &self.above {
            let _ = std::fs::remove_dir(above);
        }
    }
}

fn move_to(folder: &Path) -> bool {
    std::fs::write(folder.join("cgroup.procs"), "0").is_ok()
}
