//! Which container has which port of the host.

use std::net::IpAddr;

use super::port_name::{canonical, port_folder, port_of};
use super::reservation::Reservation;
use super::{Locked, check_name, socket};
use crate::attachment::Attachment;
use crate::error::{Error, Kind, Result};
use crate::ip::Ip;
use crate::port::Port;

/// How many ports that the kernel chooses are tried.
const TRIES: u32 = 1000;

/// Whether packets could be for both: addresses of one protocol's port.
fn meet(one: Option<Ip>, other: Option<Ip>) -> bool {
    let (Some(Ip(one)), Some(Ip(other))) = (one, other) else { return true };
    let covers = |one: IpAddr, other: IpAddr| one.is_unspecified() && one.is_ipv4() == other.is_ipv4();
    one == other || covers(one, other) || covers(other, one)
}

impl Locked<'_> {
    /// Reserves a port of the host for the attachment with that key; for port 0 one that the kernel chooses from
    /// `net.ipv4.ip_local_port_range`. The result has that port. A port of all addresses cannot be had while somebody has
    /// it of one, and the other way around. To see the programs of the host, it is bound for a moment in the caller's
    /// network namespace.
    ///
    /// # Errors
    /// [`Kind::Taken`]: another container or a program has it; no interface has the address; the caller may not have
    /// such a low port.
    pub fn reserve(&mut self, port: &Port, key: &str) -> Result<Port> {
        check_name("attachment", key)?;
        let port = Port { host_ip: canonical(port.host_ip), ..*port };
        if port.host_port != 0 {
            return self.reserve_this(port, key).map(|()| port);
        }
        for _ in 0..TRIES {
            let port = Port { host_port: socket::choose(&port)?, ..port };
            match self.reserve_this(port, key) {
                Err(error) if error.kind() == Kind::Taken => {}
                reserved => return reserved.map(|()| port),
            }
        }
        Err(Error::new(Kind::Taken, format!("port {port}: of {TRIES} that were tried none is free")))
    }

    /// Gives back the ports that an attachment lists, as far as it still has them.
    ///
    /// # Errors
    /// A link cannot be read or removed; the others are released all the same.
    pub fn release_ports(&self, attachment: &Attachment) -> Result<()> {
        let ports = attachment.interfaces.iter().flat_map(|interface| interface.ports.iter());
        self.free_all(ports.map(|published| Reservation::Port(published.port)), &attachment.key)
    }

    fn reserve_this(&mut self, port: Port, key: &str) -> Result<()> {
        let folder = port_folder(&port);
        for name in self.folder().names(&folder)? {
            let Some(other) = port_of(&folder, &name) else {
                return Err(self.damaged(&format!("{folder}/{name}"), "is not the name of an address"));
            };
            if meet(port.host_ip, other.host_ip)
                && let Some(holder) = self.holder(&Reservation::Port(other))?
            {
                let shown =
                    if other.host_ip == port.host_ip { String::new() } else { format!("{other} is ") };
                return Err(Error::new(Kind::Taken, format!("port {port}: {shown}taken by {holder}")));
            }
        }
        socket::check_free(&port)?;
        match self.claim(Reservation::Port(port), key)? {
            None => Ok(()),
            Some(holder) => Err(Error::new(Kind::Taken, format!("port {port}: taken by {holder}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_addresses_meet() {
        let ip = |text: &str| (text != "any").then(|| Ip(text.parse().expect("an address")));
        let all = ["any", "0.0.0.0", "10.0.0.1", "10.0.0.2", "::", "fd00::1"];
        let meeting = [
            [true, true, true, true, true, true],
            [true, true, true, true, false, false],
            [true, true, true, false, false, false],
            [true, true, false, true, false, false],
            [true, false, false, false, true, true],
            [true, false, false, false, true, true],
        ];
        for (one, row) in all.iter().zip(meeting) {
            for (other, expected) in all.iter().zip(row) {
                assert_eq!(meet(ip(one), ip(other)), expected, "{one} {other}");
            }
        }
    }
}
