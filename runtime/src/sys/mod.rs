//! The unsafe rim: system calls that have no safe wrapper elsewhere, each behind a function that can't be
//! misused; and, safe, what all rooms need of processes and sockets. No other room has unsafe code.
//!
//! May use `text` and every room below it.

mod again;
mod background;
mod bpf;
mod clone;
mod descriptor;
mod network;
mod open_files;
mod probe;
#[deny(unsafe_code)]
pub mod process_end;
mod processor;
mod signal;
mod spawn;
#[deny(unsafe_code)]
pub mod surroundings;
#[deny(unsafe_code)]
pub mod unix_socket;
#[deny(unsafe_code)]
mod unseen;
#[deny(unsafe_code)]
pub mod user_namespace;

use rustix::io::Errno;

pub use again::spawn_again;
pub use background::{Open, in_background};
pub use bpf::{Instruction, attach_device_program, load_device_program};
pub use descriptor::{
    exit_code, is_passed_on, mount_count, namespace_type, network_of, unread, user_namespace_of,
};
pub use network::{NetworkStep, NetworkThread};
pub use open_files::{leave_open_files, raise_open_files};
pub use probe::{
    PROBEABLE, in_mount_copy, in_namespaces_of, in_user_namespace, knows_seccomp_flags, probe, refusal,
    seccomp_action_available,
};
pub use processor::{hold_here, lift_restriction, send_away, several_processors};
pub use signal::{realtime_signal, set_signal_mask, signalfd};
pub use spawn::{Child, ChildStep, Spawned, spawn, spawn_ended};
pub use unseen::Unseen;

fn errno(errno: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(errno.into_raw())
}
