//! pillbox as a library: OCI containers, run by the calling process.
//!
//! A [`Container`] is made from a [`Bundle`] (a folder with a config.json, or such a document in memory)
//! below a [`Root`] (the folder that keeps what is known of containers), and stands for the life cycle of the
//! OCI specification: create, start, kill, delete, and besides it wait, exec, pause and resume.
//! [`CreateOptions`] say where its stdin, stdout and stderr lead. The command `pillbox` is made of the same
//! parts, and sees the same containers.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
//! use std::io::Read as _;
//! use pillbox::{Bundle, Container, CreateOptions, Root, Stdio};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #   example::prepare();
//!     let (mut output, write_end) = std::io::pipe()?;
//!     let options = CreateOptions::new().stdin(Stdio::Null).stdout(write_end);
//!     let bundle = Bundle::read("/srv/hello".as_ref(), None)?;
//!
//!     let container = Container::create(&Root::from_environment(), "hello", &bundle, options)?;
//!     let ended = container.start().and_then(|()| {
//!         let mut text = String::new();
//!         // The end comes when nobody in the container has the pipe open any more.
//!         output.read_to_string(&mut text).map(|_| print!("{text}")).unwrap_or_default();
//!         container.wait()
//!     });
//!     container.delete(true)?;
//!     println!("it ended with status {}", ended?);
//!     Ok(())
//! }
//! ```
//!
//! # What it does to the calling process
//!
//! Nothing here prints, exits, touches signals or starts threads that stay. ([`container::run`] alone takes
//! the calling thread's signals, and passes bytes between the container's terminal and the caller's stdio:
//! that is what it is for.) A container's first process is a child of the caller's: a caller that ignores
//! `SIGCHLD` or waits for every child takes statuses away from [`Container::wait`]. Descriptors are
//! close-on-exec, and only the container's three streams and [`CreateOptions::preserve_fds`] get into it; the
//! caller's own 0, 1 and 2 have to be open. Root pins a mount namespace at `/run/pillbox/.seed` once.
//!
//! # A root without a path
//!
//! [`CreateOptions::root`] takes a detached mount, or the layers of an overlay, instead of the folder at
//! `root.path`; see [`root`]. Then nothing is mounted on the host, neither while the container runs nor when
//! its creation is killed.
//!
//! # Errors
//!
//! [`Error`] is a text in one line that names field or step, value and cause. Programs need not read it:
//! [`Error::kind`] says what a caller can do about it, [`Error::os_error`] what the kernel said.
//!
//! ```
//! use pillbox::{Container, Kind, Root};
//!
//! let root = Root::at("/nonexistent");
//! let error = Container::open(&root, "web").unwrap_err();
//! assert_eq!(error.kind(), Kind::NotFound);
//! assert_eq!(error.to_string(), "web: container does not exist");
//! assert_eq!(Container::open(&root, "a/b").unwrap_err().kind(), Kind::Invalid);
//! ```
//!
//! # What is decided when
//!
//! Everything that can be found wrong with a configuration is found before anything is made;
//! [`Container::create`] either leaves a container whose program waits, or nothing. ARCHITECTURE.md in the
//! source tree tells how.

#![deny(unsafe_code)]
// The caller decides what is said, and when it ends.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::exit))]

#[doc(hidden)]
pub mod cgroup;
#[doc(hidden)]
pub mod check;
mod console;
pub mod container;
pub mod error;
#[doc(hidden)]
pub mod explain;
#[doc(hidden)]
pub mod host;
#[doc(hidden)]
pub mod oci;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub mod resources;
pub mod root;
#[doc(hidden)]
pub mod seccomp;
#[doc(hidden)]
pub mod spawn;
pub mod state;
#[allow(unsafe_code)]
mod sys;
#[doc(hidden)]
pub mod text;
#[doc(hidden)]
pub mod validate;

pub use cgroup::Driver;
pub use container::{
    Bundle, Container, CreateOptions, ExecOptions, Network, Process, Stdio, resize_terminal,
};
pub use error::{Error, Kind, Result, Warning, WarningKind};
pub use explain::features;
pub use oci::container_id::ContainerId;
pub use oci::signal;
pub use pillbox_netlink as netlink;
pub use rustix::process::{Gid, Signal, Uid};
pub use state::{Root, Status};
#[doc(hidden)]
pub use sys::process_end::own_all_children;
pub use sys::surroundings::Surroundings;
#[doc(hidden)]
pub use sys::{Open, Spawned, in_background, leave_open_files, raise_open_files, spawn_again, unread};
