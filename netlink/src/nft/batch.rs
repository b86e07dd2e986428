//! A transaction: changes that are made together.

use neli::consts::nl::{NlmF, Nlmsg};
use rustix::io::Errno;

use super::message::{NFGENMSG, SUBSYSTEM};
use crate::attribute::Attributes;
use crate::error::{Error, Refusal, Result};
use crate::message::Message;
use crate::reply::{Reason, Verdict, read_verdict};
use crate::socket::{Socket, position};

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` (linux/netfilter/nfnetlink.h).
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

/// `NFNL_BATCH_GENID`.
const GENERATION: u16 = 1;

/// What a batch as a whole is to do, in words.
const COMMIT: &str = "commit an nf_tables transaction";

/// Changes that are made together, or not at all, in the order in which they were added. The methods of each
/// kind of object stand in its module.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: Vec<Change>,
    /// How many sets are added: each has a number in the transaction.
    sets: u32,
    generation: Option<u32>,
}

#[derive(Debug, Clone)]
struct Change {
    message: Message<'static>,
    /// Where its elements begin among those that were given together.
    first_item: usize,
}

impl Batch {
    /// A batch without a change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the kernel refuse the batch (ERESTART) if nf_tables has another generation by then: if anybody
    /// has changed anything since it was looked at.
    pub fn expect_generation(&mut self, number: u32) -> &mut Self {
        self.generation = Some(number);
        self
    }

    /// How many messages it is.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What it is to do, in order.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().map(|change| change.message.what())
    }

    /// As it goes over the wire, beginning with that sequence number.
    ///
    /// # Errors
    /// A message is too long.
    pub fn encode(&self, sequence: u32) -> Result<Vec<u8>> {
        let mut wire = Vec::with_capacity(4096);
        let mut attributes = Attributes::default();
        if let Some(generation) = self.generation {
            attributes.push_be32(GENERATION, generation);
        }
        frame(BEGIN, &attributes)?.append_to(&mut wire, sequence, NlmF::empty())?;
        let mut sequence = sequence.wrapping_add(1);
        for (index, change) in self.changes.iter().enumerate() {
            // One acknowledgement for all. What is refused is reported without being asked for.
            let last = index + 1 == self.changes.len();
            let flags = if last { NlmF::ACK } else { NlmF::empty() };
            change.message.append_to(&mut wire, sequence, flags)?;
            sequence = sequence.wrapping_add(1);
        }
        frame(END, &Attributes::default())?.append_to(&mut wire, sequence, NlmF::empty())?;
        Ok(wire)
    }

    pub(super) fn push(&mut self, message: Message<'static>) -> &mut Self {
        self.push_items(message, 0)
    }

    /// For messages that have only a part of the items that were given.
    pub(super) fn push_items(&mut self, message: Message<'static>, first_item: usize) -> &mut Self {
        self.changes.push(Change { message, first_item });
        self
    }

    pub(super) fn next_set(&mut self) -> u32 {
        self.sets += 1;
        self.sets
    }

    pub(super) fn set_count(&self) -> u32 {
        self.sets
    }

    pub(super) fn send(&self, socket: &mut Socket) -> Result<Vec<Refusal>> {
        if self.is_empty() {
            return Err(Error::invalid(format_args!("an nf_tables transaction without a change")));
        }
        let begin = socket.take_sequence(self.changes.len() + 2);
        socket.send_long(&self.encode(begin)?)?;
        let (mut refusals, mut done) = (Vec::new(), false);
        while !done {
            let received = socket.receive(&mut |reply| {
                let Some(at) = position(begin, reply.sequence) else { return Ok(()) };
                if at > self.changes.len() || reply.kind != u16::from(Nlmsg::Error) {
                    return Ok(());
                }
                // The beginning's answer is about the whole, and there is none but a refusal.
                done |= at == 0 || at == self.changes.len();
                if let Verdict::Refused(errno, reason) = read_verdict(reply)? {
                    refusals.push(self.refusal(at, errno, reason)?);
                }
                Ok(())
            });
            match received {
                // Very many refusals do not fit the receive buffer: this is said first, and those that fit
                // follow.
                Err(error) if error.is_of_system(Errno::NOBUFS) => {}
                Err(error) if error.is_of_system(Errno::AGAIN) && !refusals.is_empty() => break,
                Err(error) if error.is_of_system(Errno::AGAIN) => {
                    return Err(Error::unanswered(COMMIT.to_string()));
                }
                other => other?,
            }
        }
        Ok(refusals)
    }

    /// The refusal of the change at that place behind the beginning, or at 0 of all.
    fn refusal(&self, at: usize, errno: Errno, reason: Reason) -> Result<Refusal> {
        let Some(change) = at.checked_sub(1).and_then(|index| self.changes.get(index)) else {
            return Ok(frame(BEGIN, &Attributes::default())?.refusal(0, errno, reason));
        };
        let mut refusal = change.message.refusal(at - 1, errno, reason);
        if let Some(item) = refusal.field.as_mut().and_then(|field| field.item.as_mut()) {
            *item += change.first_item;
        }
        Ok(refusal)
    }
}

/// The message that begins or ends a batch: its resource id is the subsystem, in network byte order.
fn frame(kind: u16, attributes: &Attributes) -> Result<Message<'static>> {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let fixed: [u8; NFGENMSG] = [0, 0, high, low];
    Message::new(kind, NlmF::empty(), COMMIT.to_string(), &fixed, attributes, &[])
}
