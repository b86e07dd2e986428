//! firewalld, which rejects at its end what it does not know: it is asked over D-Bus to put a link into a zone that lets its
//! packets pass. Its own table belongs to it alone. What it is asked for lasts until it reloads: then its table has another
//! handle.

use std::os::unix::net::UnixStream;

use pillbox_dbus::{Bus, Call, CallError, Value};
use pillbox_netlink::nft::{Family, Socket, table};

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

/// A connection to firewalld.
pub struct Firewalld(Bus);

impl Firewalld {
    /// Connects to it, if it runs: where its table is not there, the bus is not asked.
    ///
    /// # Errors
    /// The bus does not answer.
    pub fn find(filter: &mut Socket) -> Result<Option<Firewalld>> {
        if table_handle(filter)? == 0 {
            return Ok(None);
        }
        // Without a bus it cannot be asked, and its table drops what it drops.
        let Ok(socket) = UnixStream::connect(BUS) else { return Ok(None) };
        let mut bus = Bus::over(socket.into(), BUS).map_err(of_bus)?;
        Ok(if bus.has_owner(NAME).map_err(of_bus)? { Some(Firewalld(bus)) } else { None })
    }

    /// Whether a link is in any of its zones: then somebody has decided what becomes of its packets.
    ///
    /// # Errors
    /// It does not answer.
    pub fn knows(&mut self, link: &str) -> Result<bool> {
        let zone = self.call("getZoneOfInterface", &[Value::text(link)]).map_err(failed)?;
        Ok(zone != [Value::text("")])
    }

    /// Puts a link into [`ZONE`], until it reloads.
    ///
    /// # Errors
    /// It refuses that or does not answer.
    pub fn trust(&mut self, link: &str) -> Result<()> {
        self.call("addInterface", &[Value::text(ZONE), Value::text(link)]).map(drop).map_err(failed)
    }

    /// Undoes [`trust`](Self::trust), if the link is still in that zone.
    ///
    /// # Errors
    /// It refuses that or does not answer.
    pub fn forget(&mut self, link: &str) -> Result<()> {
        match self.call("removeInterface", &[Value::text(ZONE), Value::text(link)]) {
            Err(CallError::Method(_, text)) if is_not_there(&text) => Ok(()),
            removed => removed.map(drop).map_err(failed),
        }
    }

    fn call(&mut self, member: &str, body: &[Value]) -> std::result::Result<Vec<Value>, CallError> {
        self.0.call(&Call { destination: NAME, path: PATH, interface: ZONES, member, body })
    }
}

/// It is in no zone, or in another one: firewalld/errors.py.
fn is_not_there(text: &str) -> bool {
    ["UNKNOWN_INTERFACE", "NOT_ENABLED", "ZONE_CONFLICT"].iter().any(|code| text.starts_with(code))
}

#[cold]
fn failed(error: CallError) -> Error {
    match error {
        CallError::Method(_, text) => Error::of(Kind::Host, format_args!("firewalld: {text}")),
        CallError::Transport(error) => of_bus(error).after("firewalld"),
    }
}

#[cold]
fn of_bus(error: pillbox_dbus::Error) -> Error {
    match error.errno() {
        Some(errno) => Error::failed(format_args!("{}", error.text()), errno),
        None => Error::new(Kind::Host, error.text()),
    }
}
