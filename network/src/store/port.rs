//! Which container has which port of the host.

use std::net::IpAddr;

use super::port_name::{canonical, port_folder, port_of};
use super::reservation::Reservation;
use super::{Locked, check_name, socket};
use crate::attachment::{Attachment, hash};
use crate::error::{Context, Error, Kind, Result};
use crate::ip::Ip;
use crate::port::Port;

/// Which ports programs get when they want any.
const RANGE: &str = "net.ipv4.ip_local_port_range";

/// Whether packets could be for both: addresses of one protocol's port.
fn meet(one: Option<Ip>, other: Option<Ip>) -> bool {
    let (Some(Ip(one)), Some(Ip(other))) = (one, other) else { return true };
    let covers = |one: IpAddr, other: IpAddr| one.is_unspecified() && one.is_ipv4() == other.is_ipv4();
    one == other || covers(one, other) || covers(other, one)
}

impl Locked<'_> {
    /// Reserves a port of the host for the attachment with that key; for port 0 one that is free, of those
    /// that programs get too when they want any (`net.ipv4.ip_local_port_range`). The result has that port. A
    /// port of all addresses cannot be had while somebody has it of one, and the other way around. To see the
    /// programs of the host, it is bound for a moment in the caller's network namespace.
    ///
    /// # Errors
    /// [`Kind::PortTaken`]: another container or a program has it; no interface has the address; the caller may not have
    /// such a low port.
    pub fn reserve(&mut self, port: &Port, key: &str) -> Result<Port> {
        check_name("attachment", key)?;
        let port = Port { host_ip: canonical(port.host_ip), ..*port };
        if port.host_port != 0 {
            return self.reserve_this(port, key).map(|()| port);
        }
        let range = Ephemeral::read()?;
        // Each begins elsewhere, and one that begins anew has the same port again if it is free.
        let Ephemeral { first, last, .. } = range;
        let (count, begin) = (u64::from(last - first) + 1, hash(key.as_bytes()));
        let numbers = (0..count).map(|step| first + ((begin % count + step) % count) as u16);
        for host_port in numbers.filter(|&number| !range.is_reserved(number)) {
            let port = Port { host_port, ..port };
            if self.met(&port)?.is_none()
                && socket::is_free(&port)?
                && self.claim(Reservation::Port(port), key)?.is_none()
            {
                return Ok(port);
            }
        }
        Err(Error::new(
            Kind::PortTaken,
            format!("port {port}: none is free from {first} to {last} ({RANGE})"),
        ))
    }

    /// Gives back the ports that an attachment lists, as far as it still has them.
    ///
    /// # Errors
    /// A link cannot be read or removed; the others are released nevertheless.
    pub fn release_ports(&self, attachment: &Attachment) -> Result<()> {
        let ports = attachment.interfaces.iter().flat_map(|interface| interface.ports.iter());
        self.free_all(ports.map(|published| Reservation::Port(published.port)), &attachment.key)
    }

    fn reserve_this(&mut self, port: Port, key: &str) -> Result<()> {
        let mut taken = self.met(&port)?;
        if taken.is_none() {
            socket::check_free(&port)?;
            taken = self.claim(Reservation::Port(port), key)?.map(|holder| (port, holder));
        }
        match taken {
            None => Ok(()),
            Some((other, holder)) => {
                let shown =
                    if other.host_ip == port.host_ip { String::new() } else { format!("{other} is ") };
                Err(Error::new(Kind::PortTaken, format!("port {port}: {shown}taken by {holder}")))
            }
        }
    }

    /// A reserved port that overlaps with this one, and its holder.
    fn met(&self, port: &Port) -> Result<Option<(Port, String)>> {
        let folder = port_folder(port);
        for name in self.folder().names(&folder)? {
            let Some(other) = port_of(&folder, &name) else {
                return Err(self.damaged(&format!("{folder}/{name}"), "is not the name of an address"));
            };
            if meet(port.host_ip, other.host_ip)
                && let Some(holder) = self.holder(&Reservation::Port(other))?
            {
                return Ok(Some((other, holder)));
            }
        }
        Ok(None)
    }
}

/// The ports that programs get when they want any.
struct Ephemeral {
    first: u16,
    last: u16,
    /// Those among them that nobody gets unasked, as `8080,9000-9010`.
    reserved: String,
}

impl Ephemeral {
    fn read() -> Result<Ephemeral> {
        let read = |name: &str| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            std::fs::read_to_string(&path).context(format_args!("read {path}"))
        };
        let range = read(RANGE)?;
        let mut ends = range.split_ascii_whitespace().filter_map(|end| end.parse().ok());
        match (ends.next(), ends.next()) {
            (Some(first), Some(last)) if first > 0 && first <= last => {
                Ok(Ephemeral { first, last, reserved: read("net.ipv4.ip_local_reserved_ports")? })
            }
            _ => Err(Error::new(Kind::Host, format!("{RANGE}: {range:?} is not a range of ports"))),
        }
    }

    fn is_reserved(&self, number: u16) -> bool {
        self.reserved.trim().split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let end = |text: &str| text.parse::<u16>().ok();
            end(first).zip(end(last)).is_some_and(|(first, last)| (first..=last).contains(&number))
        })
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

    #[test]
    fn reserved_ports_are_read_as_the_kernel_shows_them() {
        let of = |reserved: &str| Ephemeral { first: 1, last: 9, reserved: reserved.to_string() };
        let listed =
            |reserved: &str| -> Vec<u16> { (1..10).filter(|&port| of(reserved).is_reserved(port)).collect() };
        assert!(listed("\n").is_empty());
        assert_eq!(listed("3\n"), [3]);
        assert_eq!(listed("2,4-6,9-20\n"), [2, 4, 5, 6, 9]);
    }
}
