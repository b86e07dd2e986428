//! The `pillbox` command.

#![cfg_attr(not(test), no_main)]

mod allocator;
mod arguments;
mod command;
#[cfg(not(test))]
mod entry;
mod log;
mod scratch;
#[cfg(all(target_env = "musl", panic = "abort"))]
mod unwind;

use std::ffi::OsString;

use arguments::Request;
use log::Log;
use pillbox::error::{Error, Result};

#[global_allocator]
static HEAP: allocator::Heap = allocator::Heap::beginning_with(&FIRST_CHUNK);
static FIRST_CHUNK: allocator::FirstChunk = allocator::FirstChunk::new();

/// Parses, acts, and gives the status to exit with. `arguments` are those after the program's name; with an error in
/// `stdio` nothing is safe to do but to say it.
#[cfg_attr(test, expect(dead_code))]
fn main_with(arguments: Vec<OsString>, stdio: Result<()>) -> u8 {
    let mut log = Log::default();
    match stdio.and_then(|()| run(arguments, &mut log)) {
        Ok(status) => status,
        Err(error) => {
            let message = error.to_string().replace('\n', " ");
            log.write("error", &message);
            eprintln!("pillbox: {message}");
            error.status()
        }
    }
}

fn run(arguments: Vec<OsString>, log: &mut Log) -> Result<u8> {
    refuse_setuid()?;
    // A caller may ignore its children; their statuses would be lost to this process as well.
    let _ = pillbox_init::sys::default_signal(linux_raw_sys::general::SIGCHLD);
    pillbox::own_all_children();
    match arguments::parse(arguments, command::COMMANDS, log)? {
        Request::Run(command, global, arguments) => (command.run)(&global, arguments),
        Request::Help(command) => print(&arguments::help(command, command::COMMANDS)),
        Request::Version => print(command::VERSION),
    }
}

/// Everything here trusts its caller's environment and files: run with another's rights it would be a way to them.
fn refuse_setuid() -> Result<()> {
    let same_user = rustix::process::getuid() == rustix::process::geteuid();
    let same_group = rustix::process::getgid() == rustix::process::getegid();
    if same_user && same_group { Ok(()) } else { Err(Error::new("refuses to run setuid or setgid")) }
}

fn print(text: &str) -> Result<u8> {
    command::print(text)?;
    Ok(0)
}
