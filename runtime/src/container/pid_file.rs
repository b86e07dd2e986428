//! The file with the pid of a container's process.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Context, Error, Result};

/// Writes digits only. The file gets its name when it is complete, so that no reader sees an empty one.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let step = || format!("--pid-file {}", path.display());
    let name =
        path.file_name().ok_or_else(|| Error::formatted(format_args!("{}: not a file name", step())))?;
    let temporary = path.with_file_name(format!(".{}.{pid}", name.to_string_lossy()));
    // Never writes to an existing file: in a folder of other users' it could be a link.
    let _ = std::fs::remove_file(&temporary);
    let written = std::fs::File::create_new(&temporary)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.context(step).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}
