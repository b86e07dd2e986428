//! In which order a subnet's addresses are given: those that never were in order, then the one that has been
//! free for longest. So a neighbour that still takes an address for its last holder's is seldom met.
//!
//! A file of numbers, little-endian: a head of 64 bytes, then a ring of freed addresses, 16 bytes each. No
//! write crosses a page, so that each is done or not done when its process is killed. Nothing here says what
//! is free: addresses that the ring has lost are found by looking at all of them, and those that are in it
//! wrongly turn out to be leased.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::folder::Folder;
use crate::cidr::{Cidr, number};
use crate::error::{Context, Result};

/// What the names of these files begin with, in a folder where the others are named after addresses.
const PREFIX: &str = "order-";

/// How many freed addresses are remembered at most: all of a /16, in 1 MiB.
const MOST: u128 = 1 << 16;

/// Where the ring begins, in bytes.
const HEAD: u64 = 64;

/// The bytes of an address in the ring.
const SLOT: usize = 16;

/// How many addresses are looked at in one read.
const GROUP: usize = 256;

/// A subnet's order, open.
#[derive(Debug)]
pub(super) struct Order {
    file: OwnedFd,
    /// The file, for errors.
    step: String,
    /// How many addresses the ring holds.
    room: u64,
    /// The number of the least address whose turn has not come yet.
    pub next: u128,
    /// The greatest of those that were freed before their turn: somebody had asked for them.
    early: u128,
    /// How many addresses were taken out of the ring, ever.
    taken: u64,
    /// How many addresses were put into the ring, ever.
    put: u64,
}

impl Order {
    /// Opens the order of a network's subnet; one that begins if there is none.
    pub fn open(folder: &Folder, network: &str, subnet: Cidr) -> Result<Order> {
        Order::read(folder, network, subnet, OFlags::CREATE)
    }

    /// Opens the order of a network's subnet, if there is one.
    pub fn find(folder: &Folder, network: &str, subnet: Cidr) -> Result<Option<Order>> {
        match Order::read(folder, network, subnet, OFlags::empty()) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
            order => order.map(Some),
        }
    }

    fn read(folder: &Folder, network: &str, subnet: Cidr, flags: OFlags) -> Result<Order> {
        // By subnet, not by range: no more is known when an address is freed.
        let first = subnet.network().ip;
        let name = format!("leases/{network}/{PREFIX}{first}-{}", subnet.prefix);
        let file = folder.open_file(&name, OFlags::RDWR | flags)?;
        let step = folder.step("order of addresses", &name).to_string();
        // That of an empty file is that of an order that begins.
        let mut head = [[0; SLOT]; 4];
        rustix::io::pread(&file, head.as_flattened_mut(), 0).context(format_args!("{step}"))?;
        let [next, early, counts, _] = head.map(u128::from_le_bytes);
        let (taken, put) = (counts as u64, (counts >> 64) as u64);
        let room = (number(subnet.last()) - number(first)).saturating_add(1).min(MOST) as u64;
        // A ring that cannot be counts as empty.
        let can_be = put.checked_sub(taken).is_some_and(|count| count <= room) && put < u64::MAX / 2;
        let (taken, put) = if can_be { (taken, put) } else { (0, 0) };
        Ok(Order { file, step, room, next, early, taken, put })
    }

    /// Writes what has changed in the head.
    pub fn save(&self) -> Result<()> {
        let counts = u128::from(self.put) << 64 | u128::from(self.taken);
        let head = [self.next, self.early, counts, 0].map(u128::to_le_bytes);
        self.write(head.as_flattened(), 0)
    }

    /// Takes out the address that has been free for longest; [`save`](Self::save) makes it so.
    pub fn pop(&mut self) -> Result<Option<u128>> {
        if self.taken == self.put {
            return Ok(None);
        }
        let mut slot = [[0; SLOT]];
        self.read_slots(&mut slot, self.taken)?;
        self.taken += 1;
        Ok(Some(u128::from_le_bytes(slot[0])))
    }

    /// Adds an address that is freed now, and saves. Into a ring that is full it does not go.
    pub fn push(&mut self, freed: u128) -> Result<()> {
        if self.put - self.taken == self.room {
            return Ok(());
        }
        self.write(&freed.to_le_bytes(), self.place(self.put))?;
        self.put += 1;
        if freed >= self.next {
            self.early = self.early.max(freed);
        }
        self.save()
    }

    /// Whether an address is in the ring although its turn by number comes only now.
    pub fn waits(&self, address: u128) -> Result<bool> {
        Ok(address <= self.early && self.find_in_ring(address)?.is_some())
    }

    /// Takes out an address that somebody has asked for, and saves: when it is freed again, it goes to the
    /// end.
    pub fn remove(&mut self, address: u128) -> Result<()> {
        let Some(mut at) = self.find_in_ring(address)? else { return Ok(()) };
        // Those behind it move up.
        let mut slots = [[0; SLOT]; GROUP];
        while at + 1 < self.put {
            let count = self.piece(at + 1).min(self.room - at % self.room);
            let group = &mut slots[..count as usize];
            self.read_slots(group, at + 1)?;
            self.write(group.as_flattened(), self.place(at))?;
            at += count;
        }
        self.put -= 1;
        self.save()
    }

    /// Where in the ring an address is, if it is in it.
    fn find_in_ring(&self, address: u128) -> Result<Option<u64>> {
        let wanted = address.to_le_bytes();
        let mut slots = [[0; SLOT]; GROUP];
        let mut at = self.taken;
        while at < self.put {
            let count = self.piece(at);
            let group = &mut slots[..count as usize];
            self.read_slots(group, at)?;
            if let Some(found) = group.iter().position(|slot| *slot == wanted) {
                return Ok(Some(at + found as u64));
            }
            at += count;
        }
        Ok(None)
    }

    /// How many addresses from there on lie in one piece of the file, up to a group.
    fn piece(&self, at: u64) -> u64 {
        (self.put - at).min(self.room - at % self.room).min(GROUP as u64)
    }

    fn read_slots(&self, slots: &mut [[u8; SLOT]], at: u64) -> Result<()> {
        let read = rustix::io::pread(&self.file, slots.as_flattened_mut(), self.place(at));
        read.map(drop).context(format_args!("{}", self.step))
    }

    fn place(&self, count: u64) -> u64 {
        HEAD + count % self.room * SLOT as u64
    }

    fn write(&self, bytes: &[u8], place: u64) -> Result<()> {
        rustix::io::pwrite(&self.file, bytes, place).map(drop).context(format_args!("{}", self.step))
    }
}

/// The subnet whose order a file is.
pub(super) fn subnet_of(name: &str) -> Option<Cidr> {
    let (ip, prefix) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    Cidr::parse(&format!("{ip}/{prefix}"))
}
