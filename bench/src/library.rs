//! A container's whole life in one process, through the library: no command is executed, as the floor is not.

use std::path::Path;

use pillbox::container::{self, Bundle, CreateOptions};
use pillbox::container_id::ContainerId;
use pillbox::state::Root;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::error::{Context, Result, error};

/// Create, start, wait, delete of a container of `bundle`, whose program ends by itself, below the state folder `root`.
pub fn once(bundle: &Path, root: &Path, id: &str) -> Result<()> {
    let root = Root::new(Some(root.to_path_buf()));
    let id = ContainerId::new(id).context(|| "id")?;
    let bundle = Bundle::read(bundle, None).context(|| "read the bundle")?;
    let mut silent = |_: &str| {};
    container::create(&root, &id, &bundle, &CreateOptions::default(), &mut silent).context(|| "create")?;
    let outcome = container::start(&root, &id, &mut silent).context(|| "start").and_then(|()| {
        let record = root.find(&id).and_then(|directory| directory.load()).context(|| "read the state")?;
        let pid = Pid::from_raw(record.pid).ok_or_else(|| error("pid 0"))?;
        let status = waitpid(Some(pid), WaitOptions::empty()).context(|| "waitpid")?;
        match status.and_then(|(_, status)| status.exit_status()) {
            Some(0) => Ok(()),
            _ => Err(error("the library's container failed")),
        }
    });
    let deleted = container::delete(&root, &id, true, &mut silent).context(|| "delete");
    outcome.and(deleted)
}
