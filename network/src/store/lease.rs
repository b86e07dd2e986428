//! Which container has which address.

use std::net::IpAddr;

use super::order::Order;
use super::reservation::Reservation;
use super::{Locked, check_name};
use crate::attachment::Attachment;
use crate::cidr::{Cidr, from_number, number, successor};
use crate::error::{Error, Kind, Result};
use crate::network::Range;

/// For what an address is given.
#[derive(Clone, Copy)]
struct Wish<'a> {
    network: &'a str,
    range: &'a Range,
    key: &'a str,
}

impl Wish<'_> {
    fn lease(&self, ip: IpAddr) -> Reservation {
        let address = Cidr { ip, prefix: self.range.subnet.prefix };
        Reservation::Lease { network: self.network.to_string(), address }
    }
}

impl Locked<'_> {
    /// Gives an address to the attachment with that key: the one that is wanted, or one from the range. Those
    /// come in order, and once the range has been gone through, the one that has been free for longest. It
    /// takes the same time however many are given. The result has the prefix of the subnet.
    ///
    /// # Errors
    /// The wanted address is outside of the subnet, not for hosts, the gateway's; [`Kind::Taken`]: another
    /// container has it, or all addresses of the range are taken.
    pub fn lease(&mut self, network: &str, range: &Range, wanted: Option<IpAddr>, key: &str) -> Result<Cidr> {
        check_name("network", network)?;
        check_name("attachment", key)?;
        let wish = Wish { network, range, key };
        let mut order = Order::open(self.folder(), network, range.subnet)?;
        let ip = match wanted {
            Some(ip) => self.lease_wanted(wish, &mut order, ip).map(|()| ip),
            None => self.lease_next(wish, &mut order),
        }?;
        Ok(Cidr { ip, prefix: range.subnet.prefix })
    }

    /// Makes sure that a range has an address that is free.
    ///
    /// # Errors
    /// [`Kind::Taken`]: it has none. A record cannot be read.
    pub fn could_lease(&self, network: &str, range: &Range) -> Result<()> {
        check_name("network", network)?;
        let (first, last) = range.ends();
        let wish = Wish { network, range, key: "" };
        for ip in std::iter::successors(Some(first), |&ip| successor(ip).filter(|&ip| ip <= last)) {
            if range.may_give(ip) && self.holder(&wish.lease(ip))?.is_none() {
                return Ok(());
            }
        }
        let subnet = range.subnet;
        let text =
            format_args!("network {network} ({subnet}): all addresses from {first} to {last} are taken");
        Err(Error::of(Kind::Taken, text))
    }

    /// Gives back the addresses that an attachment lists, as far as it still has them.
    ///
    /// # Errors
    /// A link cannot be read or removed; the others are released nevertheless.
    pub fn release_leases(&self, attachment: &Attachment) -> Result<()> {
        // Where the network's name cannot be that of a file, nothing was leased.
        let leased =
            attachment.interfaces.iter().filter(|interface| check_name("", &interface.network).is_ok());
        let leases = leased.flat_map(|interface| {
            let lease = |&address| Reservation::Lease { network: interface.network.clone(), address };
            interface.addresses.iter().map(lease)
        });
        self.free_all(leases, &attachment.key)
    }

    fn lease_wanted(&mut self, wish: Wish<'_>, order: &mut Order, ip: IpAddr) -> Result<()> {
        let Wish { network, range, key } = wish;
        let subnet = range.subnet.network();
        let step = format_args!("address {ip} of network {network} ({subnet})");
        if !range.may_give(ip) {
            let why = if !subnet.contains(ip) {
                "is not in the subnet"
            } else if range.gateway.is_some_and(|gateway| gateway.0 == ip) {
                "is the gateway's"
            } else if ip == subnet.ip {
                "is the subnet's own"
            } else {
                "is for broadcasts"
            };
            return Err(Error::invalid(format_args!("{}: {why}", step)));
        }
        match self.claim(wish.lease(ip), key)? {
            None => order.remove(number(ip)),
            Some(holder) => Err(Error::new(Kind::Taken, format!("{}: taken by {holder}", step))),
        }
    }

    fn lease_next(&mut self, wish: Wish<'_>, order: &mut Order) -> Result<IpAddr> {
        let Wish { network, range, .. } = wish;
        let subnet = range.subnet.network();
        let (first, last) = range.ends();
        if !(subnet.contains(first) && subnet.contains(last) && first <= last) {
            return Err(Error::invalid(format_args!(
                "network {network}: addresses from {first} to {last}: must be a range in {subnet}"
            )));
        }
        let turns = number(first)..=number(last);
        // In order, until the range has been gone through.
        while let turn = order.next.max(*turns.start())
            && turns.contains(&turn)
        {
            let ip = from_number(first, turn);
            let is_given = !order.waits(turn)? && self.gives(wish, ip)?;
            order.next = turn.saturating_add(1);
            if is_given {
                return order.save().map(|()| ip);
            }
            if order.next == turn {
                break;
            }
        }
        while let Some(freed) = order.pop()? {
            let ip = from_number(first, freed);
            if turns.contains(&freed) && self.gives(wish, ip)? {
                return order.save().map(|()| ip);
            }
        }
        order.save()?;
        // What the order has lost, if anything.
        let mut count = 0;
        for ip in std::iter::successors(Some(first), |&ip| successor(ip).filter(|&ip| ip <= last)) {
            if self.gives(wish, ip)? {
                return Ok(ip);
            }
            count += u32::from(range.may_give(ip));
        }
        let all = format!("all {count} addresses from {first} to {last} are taken");
        Err(Error::new(Kind::Taken, format!("network {network} ({subnet}): {all}")))
    }

    /// Gives an address if it can be given.
    fn gives(&mut self, wish: Wish<'_>, ip: IpAddr) -> Result<bool> {
        Ok(wish.range.may_give(ip) && self.claim(wish.lease(ip), wish.key)?.is_none())
    }
}
