//! The socket to nf_tables.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use neli::consts::nl::NlmF;

use super::Batch;
use super::message::{Kind, attributes, unspecific};
use crate::error::{Cause, Error, Refusal, Result};
use crate::reply::{Reply, be32_at, read_string};
use crate::socket::Socket as Netlink;

/// A socket to nf_tables and to [the tracked connections](crate::conntrack); it works on the network namespace that it was opened in.
#[derive(Debug)]
pub struct Socket(pub(crate) Netlink);

/// Which state of nf_tables there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// It grows with every transaction of anybody, and begins again behind 2³²−1.
    pub number: u32,
    /// The thread that made it.
    pub thread: u32,
    /// That thread's name, 15 bytes at most.
    pub name: String,
}

impl Socket {
    /// Opens a socket in this thread's network namespace, close-on-exec, with the kernel's own texts in
    /// refusals.
    ///
    /// # Errors
    /// A system call failed: EPROTONOSUPPORT on kernels without netfilter.
    pub fn open() -> Result<Self> {
        Netlink::open_netfilter().map(Socket)
    }

    /// Takes over a socket that was opened elsewhere: in another network namespace, by another process.
    ///
    /// # Errors
    /// The descriptor is not a netfilter socket of netlink.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        Netlink::from_netfilter(fd).map(Socket)
    }

    /// Makes all changes of a batch, or none, with one system call.
    ///
    /// An aborted batch costs some milliseconds, a thousand times what looking first costs.
    ///
    /// # Errors
    /// The first change that was refused; a socket error; an empty batch.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        match self.exchange(batch)?.into_iter().next() {
            Some(refusal) => Err(Cause::Refused(refusal).into()),
            None => Ok(()),
        }
    }

    /// As [`Socket::commit`], but hands out every refusal, in order: one is enough, and nothing was changed.
    ///
    /// # Errors
    /// A socket error; an empty batch.
    pub fn exchange(&mut self, batch: &Batch) -> Result<Vec<Refusal>> {
        batch.send(&mut self.0)
    }

    /// The generation: whether anybody has changed anything.
    ///
    /// # Errors
    /// A socket error, or the kernel refused the request.
    pub fn generation(&mut self) -> Result<Generation> {
        let what = "look up the generation of nf_tables";
        let question = unspecific(Kind::GetGeneration, NlmF::empty(), what.to_string())?;
        let answer = self.0.ask(&question, read_generation)?;
        answer.into_iter().next().ok_or_else(|| Error::unanswered(what.to_string()))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.0.into()
    }
}

pub(super) fn read_generation(reply: &Reply<'_>) -> Result<Option<Generation>> {
    const ID: u16 = 1;
    const THREAD: u16 = 2;
    const NAME: u16 = 3;
    let Some(attributes) = attributes(reply, Kind::NewGeneration)? else { return Ok(None) };
    let mut generation = Generation { number: 0, thread: 0, name: String::new() };
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match kind {
            ID => generation.number = be32_at(payload, 0).unwrap_or(0),
            THREAD => generation.thread = be32_at(payload, 0).unwrap_or(0),
            NAME => generation.name = read_string(payload),
            _ => {}
        }
    }
    Ok(Some(generation))
}
