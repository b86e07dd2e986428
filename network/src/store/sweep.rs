//! Links that reserve nothing: left by commands that were killed before they noted an attachment, or after
//! they struck it.

use super::Locked;
use super::order::subnet_of;
use super::port_name::port_of;
use super::reservation::Reservation;
use crate::cidr::Cidr;
use crate::error::{Error, Result};

/// What was found to reserve nothing.
#[derive(Debug, Default)]
pub struct Swept {
    /// What the links were for, and the keys in them.
    pub freed: Vec<(Reservation, String)>,
    /// What cannot be read or removed, and why.
    pub unreadable: Vec<Error>,
}

impl Locked<'_> {
    /// The links that reserve nothing, because no attachment lists what they are for.
    ///
    /// # Errors
    /// The folders cannot be listed.
    pub fn left_behind(&self) -> Result<Swept> {
        let mut swept = Swept::default();
        for network in self.folder().names("leases")? {
            let names = self.folder().names(&format!("leases/{network}"))?;
            let subnets: Vec<Cidr> = names.iter().filter_map(|name| subnet_of(name)).collect();
            for name in names.iter().filter(|name| subnet_of(name).is_none()) {
                let reservation = name.parse().ok().map(|ip| {
                    let subnet = subnets.iter().find(|subnet| subnet.contains(ip));
                    let address =
                        subnet.map_or(Cidr::single(ip), |subnet| Cidr { ip, prefix: subnet.prefix });
                    Reservation::Lease { network: network.clone(), address }
                });
                self.look_at(&format!("leases/{network}/{name}"), reservation, &mut swept);
            }
        }
        for folder in self.folder().names("ports")? {
            let folder = format!("ports/{folder}");
            for name in self.folder().names(&folder)? {
                let reservation = port_of(&folder, &name).map(Reservation::Port);
                self.look_at(&format!("{folder}/{name}"), reservation, &mut swept);
            }
        }
        Ok(swept)
    }

    /// Removes the links that reserve nothing, and what is left of networks that are not recorded and have no
    /// leases.
    ///
    /// # Errors
    /// The folders cannot be listed.
    pub fn sweep(&self) -> Result<Swept> {
        self.folder().forget_new()?;
        let Swept { freed, mut unreadable } = self.left_behind()?;
        let mut done = Vec::new();
        for (reservation, key) in freed {
            match self.free(&reservation, &key) {
                Ok(()) => done.push((reservation, key)),
                Err(error) => unreadable.push(error),
            }
        }
        for network in self.folder().names("leases")? {
            let folder = format!("leases/{network}");
            let is_unused = self.folder().names(&folder)?.iter().all(|name| subnet_of(name).is_some());
            if is_unused && matches!(self.network(&network), Ok(None)) {
                self.folder().remove_all(&folder)?;
            }
        }
        for folder in self.folder().names("ports")? {
            self.folder().unlink_empty(&format!("ports/{folder}"))?;
        }
        Ok(Swept { freed: done, unreadable })
    }

    /// Removes the links that an attachment with that key has left, which was never recorded, or not to the
    /// end.
    ///
    /// # Errors
    /// The folders cannot be listed; a link cannot be removed.
    pub fn sweep_after(&self, key: &str) -> Result<()> {
        self.folder().forget_new()?;
        let freed = self.left_behind()?.freed;
        let own = freed.into_iter().filter(|(_, owner)| owner == key);
        self.free_all(own.map(|(reservation, _)| reservation), key)
    }

    /// Looks at one link, and whether anybody has what it is for.
    fn look_at(&self, file: &str, reservation: Option<Reservation>, swept: &mut Swept) {
        let key = self.folder().text(file);
        match (reservation, key) {
            (_, Err(error)) => swept.unreadable.push(error),
            (_, Ok(None)) => {}
            (None, Ok(Some(_))) => {
                swept.unreadable.push(self.damaged(file, "has a name that was not given here"))
            }
            (Some(reservation), Ok(Some(key))) => match self.holder(&reservation) {
                Ok(None) => swept.freed.push((reservation, key)),
                Ok(Some(_)) => {}
                Err(error) => swept.unreadable.push(error),
            },
        }
    }
}
