//! `linux.resources` compiled into writes to a cgroup's files, and into the program that filters its devices.
//! Pure functions; `cgroup` does the writing.
//!
//! May use `seccomp` and every room below it.

mod blockio;
mod devices;
mod file_write;
mod limits;

pub use devices::{DeviceProgram, always_allowed, compile_devices, device_allow};
pub use file_write::{Exception, FileWrite};
pub use limits::compile_limits;
