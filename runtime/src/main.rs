//! The `pillbox` command.

mod allocator;
mod cli;
mod command;
mod log;
#[cfg(all(target_env = "musl", panic = "abort"))]
mod unwind;

use std::process::ExitCode;

use cli::Request;
use log::Log;
use pillbox::error::{Error, Result};

#[global_allocator]
static HEAP: allocator::Heap = allocator::Heap::new();

fn main() -> ExitCode {
    let mut log = Log::default();
    match run(&mut log) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let message = error.to_string().replace('\n', " ");
            log.write("error", &message);
            eprintln!("pillbox: {message}");
            ExitCode::from(error.status())
        }
    }
}

fn run(log: &mut Log) -> Result<u8> {
    refuse_setuid()?;
    // A caller may ignore its children; their statuses would be lost to this process as well.
    let _ = pillbox_init::sys::default_signal(linux_raw_sys::general::SIGCHLD);
    match cli::parse(std::env::args_os().skip(1).collect(), command::COMMANDS, log)? {
        Request::Run(command, global, arguments) => (command.run)(&global, arguments),
        Request::Help(command) => print(&cli::help(command, command::COMMANDS)),
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
