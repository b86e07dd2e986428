//! A folder of a test's own.

use std::path::PathBuf;

/// It is removed with this value.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes it; tests that run at once have other names.
    pub fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("box-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
