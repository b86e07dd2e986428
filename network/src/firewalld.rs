//! firewalld, which rejects at its end what it does not know: it is asked over D-Bus to put a link into a
//! zone that lets its packets pass. Its own table belongs to it alone. What it is asked for lasts until it
//! reloads: then its table has another handle.

use std::os::fd::OwnedFd;

use pillbox_dbus::{Bus, Call, CallError, Value};
use pillbox_netlink::nft::{Family, Socket, table};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::error::{Error, Kind, Result};

/// Its table, of the family inet.
pub const TABLE: &str = "firewalld";

/// The zone that lets everything pass.
pub const ZONE: &str = "trusted";

const BUS: &str = "/run/dbus/system_bus_socket";
const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";

/// What the kernel calls its table by; 0 where there is none.
pub fn table_handle(filter: &mut Socket) -> Result<u64> {
    Ok(table::find(filter, Family::Inet, TABLE)?.map_or(0, |found| found.handle))
}

/// firewalld, where it runs. Once the bus is silent nothing more is asked of it: each question would take its
/// patience.
#[derive(Debug)]
pub struct Firewalld(std::result::Result<Bus, String>);

impl Firewalld {
    /// Connects to it, if it runs: where its table is not there, the bus is not asked.
    ///
    /// # Errors
    /// The kernel refuses the question for its table.
    pub fn find(filter: &mut Socket) -> Result<Option<Firewalld>> {
        if table_handle(filter)? == 0 {
            return Ok(None);
        }
        // Without a bus it cannot be asked, and its table drops what it drops.
        let Ok(socket) = connect() else { return Ok(None) };
        let asked = Bus::over(socket, BUS).and_then(|mut bus| Ok((bus.has_owner(NAME)?, bus)));
        Ok(match asked {
            Ok((false, _)) => None,
            Ok((true, bus)) => Some(Firewalld(Ok(bus))),
            Err(error) => Some(Firewalld(Err(of_bus(error).to_string()))),
        })
    }

    /// Whether a link is in any of its zones: then somebody has decided what becomes of its packets.
    ///
    /// # Errors
    /// It does not answer.
    pub fn knows(&mut self, link: &str) -> Result<bool> {
        let zone = self.call("getZoneOfInterface", &[Value::text(link)])?.map_err(failed)?;
        Ok(zone != [Value::text("")])
    }

    /// Puts a link into [`ZONE`], until it reloads.
    ///
    /// # Errors
    /// It refuses that or does not answer.
    pub fn trust(&mut self, link: &str) -> Result<()> {
        self.call("addInterface", &[Value::text(ZONE), Value::text(link)])?.map(drop).map_err(failed)
    }

    /// Undoes [`trust`](Self::trust), if the link is still in that zone.
    ///
    /// # Errors
    /// It refuses that or does not answer.
    pub fn forget(&mut self, link: &str) -> Result<()> {
        match self.call("removeInterface", &[Value::text(ZONE), Value::text(link)])? {
            Err(text) if is_not_there(&text) => Ok(()),
            removed => removed.map(drop).map_err(failed),
        }
    }

    /// The method's own error is the inner one.
    fn call(&mut self, member: &str, body: &[Value]) -> Result<std::result::Result<Vec<Value>, String>> {
        let silent = |text: &str| Error::new(Kind::Host, text.to_string());
        let bus = self.0.as_mut().map_err(|text| silent(text))?;
        let call = Call { destination: NAME, path: PATH, interface: ZONES, member, body };
        match bus.call(&call) {
            Ok(values) => Ok(Ok(values)),
            Err(CallError::Method(_, text)) => Ok(Err(text)),
            Err(CallError::Transport(error)) => {
                let text = of_bus(error).after("firewalld").to_string();
                self.0 = Err(text.clone());
                Err(silent(&text))
            }
        }
    }
}

/// Does not wait where nobody takes the connection.
fn connect() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(BUS)?)?;
    Ok(socket)
}

/// It is in no zone, or in another one: firewalld/errors.py.
fn is_not_there(text: &str) -> bool {
    ["UNKNOWN_INTERFACE", "NOT_ENABLED", "ZONE_CONFLICT"].iter().any(|code| text.starts_with(code))
}

#[cold]
fn failed(text: String) -> Error {
    Error::of(Kind::Host, format_args!("firewalld: {text}"))
}

#[cold]
fn of_bus(error: pillbox_dbus::Error) -> Error {
    match error.errno() {
        Some(errno) => Error::failed(format_args!("{}", error.text()), errno),
        None => Error::new(Kind::Host, error.text()),
    }
}
