//! Addresses and ports that are reserved: a link for each, made and met by everybody in the same way.

use std::fmt;

use super::order::Order;
use super::port_name::{is_same, port_file, port_folder};
use super::{Locked, check_name};
use crate::attachment::Attachment;
use crate::cidr::{Cidr, number};
use crate::error::{Error, Result};
use crate::port::Port;

/// What a link reserves for an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// An address of a network.
    Lease {
        /// The network's name.
        network: String,
        /// The address, with the prefix of its subnet as far as that is known.
        address: Cidr,
    },
    /// A port of the host.
    Port(Port),
}

impl Reservation {
    /// The name of the link.
    fn file(&self) -> String {
        match self {
            Reservation::Lease { network, address } => format!("leases/{network}/{}", address.ip),
            Reservation::Port(port) => port_file(port),
        }
    }

    /// Whether the attachment has it.
    pub(super) fn is_listed_by(&self, attachment: &Attachment) -> bool {
        attachment.interfaces.iter().any(|interface| match self {
            Reservation::Lease { network, address } => {
                interface.network == *network
                    && interface.addresses.iter().any(|other| other.ip == address.ip)
            }
            Reservation::Port(port) => interface.ports.iter().any(|published| is_same(port, &published.port)),
        })
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reservation::Lease { network, address } => {
                write!(f, "address {} of network {network}", address.ip)
            }
            Reservation::Port(port) => write!(f, "port {port}"),
        }
    }
}

impl Locked<'_> {
    /// Reserves something, unless it is reserved: then the result names the holder.
    pub(super) fn claim(&mut self, reservation: Reservation, key: &str) -> Result<Option<String>> {
        let file = reservation.file();
        while !self.folder().link(&file, key)? {
            if let Some(holder) = self.holder(&reservation)? {
                return Ok(Some(holder));
            }
            self.folder().unlink(&file)?;
        }
        self.made.push((reservation, key.to_string()));
        Ok(None)
    }

    /// The holder of a reservation, in words.
    pub(super) fn holder(&self, reservation: &Reservation) -> Result<Option<String>> {
        let file = reservation.file();
        let Some(key) = self.folder().text(&file)? else { return Ok(None) };
        if self.made.iter().any(|(made, _)| made.file() == file) {
            return Ok(Some(format!("{key}, which is being made")));
        }
        // No attachment can have such a key.
        if check_name("", &key).is_err() {
            return Ok(None);
        }
        Ok(match self.attachment(&key) {
            Ok(Some(attachment)) if reservation.is_listed_by(&attachment) => {
                Some(format!("container {}", attachment.owner))
            }
            Ok(_) => None,
            // Nothing is concluded from it.
            Err(error) => Some(format!("{key} ({error})")),
        })
    }

    /// Gives something back, if it is reserved for that attachment.
    pub(super) fn free(&self, reservation: &Reservation, key: &str) -> Result<()> {
        let file = reservation.file();
        if self.folder().text(&file)?.as_deref() != Some(key) {
            return Ok(());
        }
        match reservation {
            Reservation::Lease { network, address } => {
                // First, so that a kill in between takes nothing out of the order. A full file system may do
                // so: it is no reason to keep the address.
                let order = Order::find(self.folder(), network, *address);
                let _ =
                    order.and_then(|order| order.map_or(Ok(()), |mut order| order.push(number(address.ip))));
                self.folder().unlink(&file)
            }
            Reservation::Port(port) => {
                self.folder().unlink(&file)?;
                self.folder().unlink_empty(&port_folder(port))
            }
        }
    }

    /// Gives all of them back, whatever becomes of one; the error is that of the first one that could not be.
    pub(super) fn free_all(&self, reservations: impl Iterator<Item = Reservation>, key: &str) -> Result<()> {
        let mut result = Ok(());
        for reservation in reservations {
            let freed = self.free(&reservation, key);
            result = match result {
                Ok(()) => freed,
                Err(first) => Err(Error::besides(first, freed)),
            };
        }
        result
    }
}
