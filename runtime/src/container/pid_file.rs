//! The file that tells a caller the number of a container's process.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Context, Error, Result};

/// Digits only, by rename: who sees the file sees the number.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let step = || format!("--pid-file {}", path.display());
    let name =
        path.file_name().ok_or_else(|| Error::formatted(format_args!("{}: not a file name", step())))?;
    let temporary = path.with_file_name(format!(".{}.{pid}", name.to_string_lossy()));
    // What lies there already (a link, in a folder of others') is not written to.
    let _ = std::fs::remove_file(&temporary);
    let written = std::fs::File::create_new(&temporary)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.context(step).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}
