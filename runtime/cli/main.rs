//! The `pillbox` command.

#![cfg_attr(not(test), no_main)]

mod allocator;
mod arguments;
mod command;
#[cfg(not(test))]
mod entry;
mod log;
#[cfg(feature = "network")]
mod plugin;
mod scratch;
#[cfg(all(target_env = "musl", panic = "abort"))]
mod unwind;

use std::ffi::{OsStr, OsString};

use arguments::Request;
use log::Log;
use pillbox::error::{Error, Result};

#[global_allocator]
static HEAP: allocator::Heap = allocator::Heap::beginning_with(&FIRST_CHUNK);
static FIRST_CHUNK: allocator::FirstChunk = allocator::FirstChunk::new();

/// Runs the command line and returns the exit status. `program` is the name by which it was called, and
/// `arguments` what follows. If `stdio` is an error, it is only safe to report it.
#[cfg_attr(test, expect(dead_code))]
#[cfg_attr(not(feature = "network"), expect(unused_variables))]
fn main_with(program: &OsStr, arguments: impl Iterator<Item = OsString>, stdio: Result<()>) -> u8 {
    #[cfg(feature = "network")]
    if plugin::is_called(program) {
        return plugin::main(stdio);
    }
    let mut log = Log::default();
    match stdio.and_then(|()| run(arguments.collect(), &mut log)) {
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
    // A caller that ignores SIGCHLD passes that on; this process would not get its children's statuses then.
    let _ = pillbox_init::sys::default_signal(linux_raw_sys::general::SIGCHLD);
    pillbox::own_all_children();
    pillbox::Surroundings::use_environment();
    match arguments::parse(arguments, command::COMMANDS, log)? {
        Request::Run(command, global, arguments) => (command.run)(&global, arguments),
        Request::Help(command) => print(&arguments::help(command, command::COMMANDS)),
        Request::Version => print(command::VERSION),
    }
}

/// Everything here trusts the caller's environment and files: a setuid pillbox would give its rights to any
/// caller.
fn refuse_setuid() -> Result<()> {
    let same_user = rustix::process::getuid() == rustix::process::geteuid();
    let same_group = rustix::process::getgid() == rustix::process::getegid();
    if same_user && same_group { Ok(()) } else { Err(Error::new("refuses to run setuid or setgid")) }
}

fn print(text: &str) -> Result<u8> {
    command::print(text)?;
    Ok(0)
}
