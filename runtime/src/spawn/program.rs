//! Programs of the host that pillbox calls: newuidmap(1), newgidmap(1), ps(1).

use rustix::fs::Access;

use crate::container::hooks;
use crate::error::Result;

/// Where a program is, along PATH.
pub fn find(name: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_string());
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| rustix::fs::access(path.as_str(), Access::EXEC_OK).is_ok())
}

/// Runs the program at `path` as hooks are run, with the caller's rights and nothing on its stdin; what it says on
/// stdout and stderr is the result.
///
/// # Errors
/// It could not be run, or failed; with the end of what it said.
pub fn run(path: &str, arguments: &[String], environment: &[String]) -> Result<Vec<u8>> {
    hooks::run_program(path, arguments, environment)
}
