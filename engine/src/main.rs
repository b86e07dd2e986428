//! The command `box`.

#[path = "../../runtime/cli/allocator.rs"]
mod allocator;
#[path = "../../runtime/cli/lasting.rs"]
mod lasting;
#[cfg(all(target_env = "musl", panic = "abort"))]
#[path = "../../runtime/cli/unwind.rs"]
mod unwind;

use std::process::ExitCode;

use pillbox_engine::api;
use pillbox_engine::container::{attendant, keeper, monitor, own_cgroup};
use pillbox_engine::inside;

// A short command is slowed down by pages that a general heap maps and unmaps for thousands of small blocks.
#[global_allocator]
static HEAP: lasting::Lasting = lasting::Lasting::beginning_with(&FIRST_CHUNK);
static FIRST_CHUNK: allocator::FirstChunk = allocator::FirstChunk::new();

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    if monitor::is_called(program.as_deref()) || api::stays(program.as_deref(), std::env::args_os()) {
        HEAP.stay();
    }
    if inside::is_called(program.as_deref()) {
        return ExitCode::from(inside::main(arguments));
    }
    if keeper::is_called(program.as_deref()) {
        return ExitCode::from(keeper::main(arguments));
    }
    if own_cgroup::is_called(program.as_deref()) {
        own_cgroup::main(arguments);
        return ExitCode::SUCCESS;
    }
    let mut arguments: Vec<_> = arguments.collect();
    if !api::stays(program.as_deref(), std::env::args_os()) {
        pillbox::own_all_children();
    }
    pillbox::Surroundings::use_environment();
    if monitor::is_called(program.as_deref()) {
        return ExitCode::from(monitor::main(arguments.into_iter()));
    }
    // What the caller has open is not for processes that stay: a lock would be held, and a pipe have no end, as long as a container runs.
    // Kernels before 5.11 cannot; there it stays as it was.
    let _ = pillbox_init::sys::close_on_exec_from(3);
    if attendant::is_called(program.as_deref()) {
        return ExitCode::from(attendant::main(arguments.into_iter()));
    }
    if api::is_called(program.as_deref()) {
        arguments = api::as_command(arguments);
    }
    match pillbox_engine::command::run(arguments.into_iter(), api::run) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            pillbox_engine::message::say(&error);
            ExitCode::from(error.status())
        }
    }
}
