//! `linux.resources` compiled to what is written to a cgroup's files, and to the program that judges its devices: pure functions
//! over `oci`. Writing is the business of `cgroup`.

mod blockio;
mod devices;
mod limits;

pub use devices::{DeviceProgram, always_allowed, compile_devices, device_allow};
pub use limits::{Exception, FileWrite, compile_limits};
