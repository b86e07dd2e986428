//! Where message buses listen ("Server Addresses" in the D-Bus specification), and connecting to them.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use pillbox_dbus::{Bus, CallError};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Kind, Result, describe_errno};
use crate::sys::unix_socket;

/// Connects to the first address of a list that answers (`unix:path=…`, `unix:abstract=…`) and says hello.
///
/// # Errors
/// Nothing answers there, or not as a message bus does.
pub fn connect(addresses: &str) -> Result<Bus> {
    let mut failed = Error::formatted(format_args!(
        "D-Bus address {addresses:?}: not of the form unix:path=… or unix:abstract=…"
    ));
    for address in addresses.split(';') {
        let Some(socket_address) = parse_address(address) else { continue };
        match open(&socket_address) {
            Ok(socket) => return Bus::over(socket, address).map_err(Error::from),
            Err(errno) => {
                failed =
                    Error::formatted(format_args!("D-Bus: connect to {address}: {}", describe_errno(errno)))
            }
        }
    }
    Err(failed)
}

impl From<pillbox_dbus::Error> for Error {
    #[cold]
    fn from(error: pillbox_dbus::Error) -> Self {
        let text = error.text();
        if let Some(errno) = error.errno() {
            return Error::formatted(format_args!("{text}: {}", describe_errno(errno))).caused_by(errno);
        }
        let worded = Error::new(text);
        if error.is_timeout() { worded.or_kind(Kind::Timeout) } else { worded }
    }
}

/// A call to systemd that failed, with the name of the method.
#[cold]
pub fn word_call(error: CallError, member: &str) -> Error {
    match error {
        CallError::Method(name, text) => Error::formatted(format_args!("systemd: {member}: {text} ({name})")),
        CallError::Transport(error) => Error::from(error).context(format!("systemd: {member}")),
    }
}

/// Where a bus listens.
#[derive(Debug)]
enum Address {
    Path(PathBuf),
    Abstract(SocketAddrUnix),
}

fn open(address: &Address) -> std::result::Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match address {
        Address::Path(path) => unix_socket::connect(&socket, path)?,
        Address::Abstract(name) => rustix::net::connect(&socket, name)?,
    }
    Ok(socket)
}

/// Parses one address of a list ("Server Addresses" in the specification); `None` if it is not a Unix socket.
fn parse_address(address: &str) -> Option<Address> {
    let pairs = address.strip_prefix("unix:")?;
    pairs.split(',').find_map(|pair| match pair.split_once('=')? {
        ("path", path) => Some(Address::Path(OsString::from_vec(unescape(path)?).into())),
        ("abstract", name) => SocketAddrUnix::new_abstract_name(&unescape(name)?).ok().map(Address::Abstract),
        // Other keys, such as guid.
        _ => None,
    })
}

/// Replaces `%2f` and the like by their bytes.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(bytes.next()?)? * 16 + digit(bytes.next()?)?) as u8
            }
            byte => byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(parse_address("unix:path=/run/dbus/system_bus_socket").is_some());
        assert!(parse_address("unix:abstract=/tmp/x,guid=12").is_some());
        let long = format!("unix:abstract={}", "x".repeat(200));
        for address in ["", "tcp:host=a", "unix:", "unix:guid=1", "unix:path=%2", &long] {
            assert!(parse_address(address).is_none(), "{address}");
        }
        assert_eq!(unescape("/run/a%20b%2fc").unwrap(), b"/run/a b/c");
        assert!(unescape("%zz").is_none());
    }

    #[test]
    fn a_socket_that_is_not_there_is_named() {
        let error = connect("unix:path=/nonexistent/bus").unwrap_err().to_string();
        assert!(error.contains("/nonexistent/bus") && error.contains("no such file"), "{error}");
    }
}
