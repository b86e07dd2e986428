//! A D-Bus client for a few calls: EXTERNAL authentication, calls and their replies, signals of whoever has answered.
//!
//! Source: the D-Bus specification 0.43. Every step has a time limit, and everything received is checked. Who calls connects
//! the socket: nothing is read from the environment.
//!
//! ```no_run
//! use std::os::unix::net::UnixStream;
//!
//! use pillbox_dbus::{Bus, Call, Value};
//!
//! let path = "/run/dbus/system_bus_socket";
//! let socket = UnixStream::connect(path).expect("a bus");
//! let mut bus = Bus::over(socket.into(), path)?;
//! if bus.has_owner("org.fedoraproject.FirewallD1")? {
//!     let call = Call {
//!         destination: "org.fedoraproject.FirewallD1",
//!         path: "/org/fedoraproject/FirewallD1",
//!         interface: "org.fedoraproject.FirewallD1.zone",
//!         member: "getZoneOfInterface",
//!         body: &[Value::text("eth0")],
//!     };
//!     println!("{:?}", bus.call(&call));
//! }
//! # Ok::<(), pillbox_dbus::Error>(())
//! ```
#![forbid(unsafe_code)]

mod bus;
mod error;
mod message;
#[cfg(test)]
mod tests;
mod value;

pub use bus::{Bus, PATIENCE};
pub use error::{CallError, Error, Result};
pub use message::{Call, FIXED_HEADER, Kind, Message, encode, whole_length};
pub use value::{Value, complete_type};
