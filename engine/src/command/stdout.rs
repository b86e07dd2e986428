//! Text on stdout. On a terminal it is shielded: images, containers and registries have chosen parts of it.

use std::io::{ErrorKind, IsTerminal, Write};

use crate::error::{Context, Result};
use crate::message;

/// What wipes a terminal's screen.
const WIPE: &str = "\x1b[H\x1b[J";

/// Writes to stdout. A reader that has gone is no error.
pub fn print(text: &str) -> Result<u8> {
    print_while_read(text).map(|_| 0)
}

/// The same of what need not be text, as names of files.
pub fn print_bytes(bytes: &[u8]) -> Result<u8> {
    match std::io::stdout().is_terminal() {
        true => print(&String::from_utf8_lossy(bytes)),
        false => write(bytes).map(|_| 0),
    }
}

/// The same; false if nobody reads any more.
pub fn print_while_read(text: &str) -> Result<bool> {
    let text = if std::io::stdout().is_terminal() { message::lines(text) } else { text.into() };
    write(text.as_bytes())
}

/// Wipes the screen, if there is one.
pub fn wipe_screen() -> Result<bool> {
    if std::io::stdout().is_terminal() { write(WIPE.as_bytes()) } else { Ok(true) }
}

fn write(bytes: &[u8]) -> Result<bool> {
    write_while_read(&mut std::io::stdout().lock(), bytes).context(|| "stdout")
}

/// Writes at once; false if the reader has gone.
pub fn write_while_read(out: &mut dyn Write, bytes: &[u8]) -> std::io::Result<bool> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}
