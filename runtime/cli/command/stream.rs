//! Reading the files that commands are given, and writing to stdout.

use std::ffi::OsStr;
use std::fs::File;

use pillbox::error::{Context, Result};
use pillbox::oci::spec::read_document;
use rustix::io::Errno;

/// Writes to stdout. Not `print!`, which panics if the reader is gone.
pub fn print(text: &str) -> Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Err(Errno::INTR) => {}
            written => rest = &rest[written.context(|| "write to stdout")?..],
        }
    }
    Ok(())
}

/// The text of a file; `-` is stdin.
pub fn read_file(path: &OsStr) -> std::io::Result<String> {
    let file = if path == "-" {
        // 3 is the first number above stdio.
        File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?)
    } else {
        File::open(path)?
    };
    String::from_utf8(read_document(file)?)
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8"))
}
