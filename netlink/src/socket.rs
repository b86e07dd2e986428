//! The socket: sends batches, receives acknowledgements and dumps.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use neli::consts::nl::{NlmF, Nlmsg};
use neli::consts::socket::NlFamily;
use neli::socket::NlSocket;
use neli::utils::Groups;
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::error::{Cause, Error, Refusal, Result};
use crate::message::Message;
use crate::reply::{Replies, Reply, Verdict, read_verdict};

/// The maximum number of messages in a batch: their acknowledgements fit a receive buffer of the default
/// size.
pub const MAX_BATCH: usize = 64;

/// The largest datagram of a dump (af_netlink.c, `max_recvmsg_len`).
const RECEIVE_BUFFER: usize = 32 * 1024;

/// A refusal by nf_tables repeats the request, whose list may be the longest attribute that there is.
const NETFILTER_RECEIVE_BUFFER: usize = 72 * 1024;

/// How many times to begin a dump if the tables change during it.
const DUMP_ATTEMPTS: usize = 8;

/// An rtnetlink socket. It works on the network namespace in which it was opened.
///
/// It never blocks: the kernel handles requests inside the system call that sends them, so that an answer
/// that is not there at once will never come.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in this thread's network namespace, close-on-exec, with the kernel's own texts in
    /// refusals.
    ///
    /// # Errors
    /// A system call failed.
    pub fn open() -> Result<Self> {
        Self::from_fd(open_with_texts(NlFamily::Route).or_else(|_| open_plain(None))?)
    }

    /// The same without the kernel's own texts, in two system calls instead of six.
    ///
    /// # Errors
    /// A system call failed.
    pub fn open_plain() -> Result<Self> {
        open_plain(None).map(Self::new)
    }

    /// Takes over a socket that was opened elsewhere: in another network namespace, by another process.
    ///
    /// Whether refusals have the kernel's own texts was decided when it was opened: [`Socket::open`] sets
    /// `NETLINK_EXT_ACK` (netlink(7)) for that.
    ///
    /// # Errors
    /// The descriptor is not an rtnetlink socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        // NETLINK_ROUTE is protocol 0.
        check(&fd, None, "the descriptor is not an rtnetlink socket")?;
        Ok(Self::new(fd))
    }

    pub(crate) fn open_netfilter() -> Result<Self> {
        let with_texts = open_with_texts(NlFamily::Netfilter);
        Self::from_netfilter(with_texts.or_else(|_| open_plain(Some(NETFILTER)))?)
    }

    pub(crate) fn from_netfilter(fd: OwnedFd) -> Result<Self> {
        check(&fd, Some(NETFILTER), "the descriptor is not a netfilter socket of netlink")?;
        Ok(Socket { buffer: vec![0; NETFILTER_RECEIVE_BUFFER], ..Self::new(fd) })
    }

    fn new(fd: OwnedFd) -> Self {
        // Does not begin at 0: on a socket that was handed on, late answers to earlier requests must not be
        // taken for ours.
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.subsec_nanos());
        Socket { fd, sequence: clock, buffer: vec![0; RECEIVE_BUFFER] }
    }

    /// Sends all messages with one system call. The kernel handles each by itself, in order, and continues
    /// after one that it refuses.
    ///
    /// # Errors
    /// The first refusal; a socket error; more than [`MAX_BATCH`] messages.
    pub fn request(&mut self, batch: &[Message<'_>]) -> Result<()> {
        match self.exchange(batch)?.into_iter().next() {
            Some(refusal) => Err(Cause::Refused(refusal).into()),
            None => Ok(()),
        }
    }

    /// As [`Socket::request`], but returns all refusals in order, for callers that expect some
    /// ([`Errno::EXIST`] if something exists already).
    ///
    /// # Errors
    /// A socket error; more than [`MAX_BATCH`] messages.
    pub fn exchange(&mut self, batch: &[Message<'_>]) -> Result<Vec<Refusal>> {
        let first = self.send(batch)?;
        let mut verdicts: Vec<Option<Verdict>> = batch.iter().map(|_| None).collect();
        let mut open = batch.len();
        while open > 0 {
            self.receive(&mut |reply| {
                let Some(verdict) = position(first, reply.sequence).and_then(|at| verdicts.get_mut(at))
                else {
                    return Ok(());
                };
                if reply.kind == u16::from(Nlmsg::Error) && verdict.is_none() {
                    *verdict = Some(read_verdict(reply)?);
                    open -= 1;
                }
                Ok(())
            })
            .map_err(|error| unanswered(error, &batch[0]))?;
        }
        let refused = |(message, verdict): (usize, Option<Verdict>)| match verdict {
            Some(Verdict::Refused(errno, reason)) => Some(batch[message].refusal(message, errno, reason)),
            _ => None,
        };
        Ok(verdicts.into_iter().enumerate().filter_map(refused).collect())
    }

    /// Sends one message and reads a `T` from each message of the answer, until the kernel has acknowledged
    /// the request or the dump ends.
    pub(crate) fn ask<T>(
        &mut self,
        question: &Message<'_>,
        read: impl Fn(&Reply<'_>) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let mut answers = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            answers.clear();
            let consistent = self.ask_once(question, &mut |reply| {
                answers.extend(read(reply)?);
                Ok(())
            })?;
            if consistent {
                return Ok(answers);
            }
        }
        Err(Error::unanswered(format!(
            "{}: changed {DUMP_ATTEMPTS} times while it was read",
            question.what()
        )))
    }

    /// False if the listed objects changed meanwhile (NLM_F_DUMP_INTR), so that the list may be inconsistent.
    fn ask_once(
        &mut self,
        question: &Message<'_>,
        each: &mut dyn FnMut(&Reply<'_>) -> Result<()>,
    ) -> Result<bool> {
        let sequence = self.send(std::slice::from_ref(question))?;
        let (mut verdict, mut consistent) = (None, true);
        while verdict.is_none() {
            self.receive(&mut |reply| {
                if reply.sequence != sequence {
                    return Ok(());
                }
                consistent &= reply.flags & NlmF::DUMP_INTR.bits() == 0;
                match Nlmsg::from(reply.kind) {
                    Nlmsg::Error | Nlmsg::Done => verdict = Some(read_verdict(reply)?),
                    _ => each(reply)?,
                }
                Ok(())
            })
            .map_err(|error| unanswered(error, question))?;
        }
        match verdict {
            Some(Verdict::Refused(errno, reason)) => {
                Err(Cause::Refused(question.refusal(0, errno, reason)).into())
            }
            _ => Ok(consistent),
        }
    }

    /// Sends a batch; returns the sequence number of the first message, which the others continue.
    fn send(&mut self, batch: &[Message<'_>]) -> Result<u32> {
        if batch.is_empty() || batch.len() > MAX_BATCH {
            let count = batch.len();
            return Err(Error::invalid(format_args!(
                "netlink batch: {count} messages, must be 1 to {MAX_BATCH}"
            )));
        }
        let first = self.take_sequence(batch.len());
        let (mut wire, mut sequence) = (Vec::with_capacity(512), first);
        for message in batch {
            message.append_to(&mut wire, sequence, NlmF::ACK)?;
            sequence = sequence.wrapping_add(1);
        }
        self.send_wire(&wire)?;
        Ok(first)
    }

    /// The first of `count` sequence numbers in a row.
    pub(crate) fn take_sequence(&mut self, count: usize) -> u32 {
        let first = self.sequence;
        // More messages than numbers fit no memory.
        self.sequence = first.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        first
    }

    /// Sends with one system call.
    pub(crate) fn send_wire(&self, wire: &[u8]) -> Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| net::sendto(&self.fd, wire, SendFlags::empty(), &kernel))
            .map_err(failed("sendto"))?;
        Ok(())
    }

    /// Sends what may be longer than the send buffer.
    pub(crate) fn send_long(&self, wire: &[u8]) -> Result<()> {
        match self.send_wire(wire) {
            Err(error) if error.is_of_system(Errno::MSGSIZE) => {
                // The kernel doubles it. Beyond the system's bound it needs CAP_NET_ADMIN, as what is sent
                // does.
                sockopt::set_socket_send_buffer_size_force(&self.fd, wire.len() + 4096)
                    .map_err(failed("setsockopt SO_SNDBUFFORCE"))?;
                self.send_wire(wire)
            }
            sent => sent,
        }
    }

    /// Receives one datagram and passes its messages on.
    pub(crate) fn receive(&mut self, each: &mut dyn FnMut(&Reply<'_>) -> Result<()>) -> Result<()> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, length, sender) =
            rustix::io::retry_on_intr(|| net::recvfrom(&self.fd, self.buffer.as_mut_slice(), flags))
                .map_err(failed("recvfrom"))?;
        // Privileged processes in the namespace can send to this socket as well; only the kernel has port 0.
        let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
        if sender.is_none_or(|sender| sender.pid() != 0) {
            return Ok(());
        }
        let datagram =
            self.buffer.get(..length).ok_or_else(|| Error::malformed("longer than the receive buffer"))?;
        Replies(datagram).try_for_each(|reply| each(&reply?))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

/// neli can ask for the kernel's texts, rustix can't; pidfd_getfd(2) turns neli's socket into an owned
/// descriptor without unsafe code. If that call is blocked, [`open_plain`] does without the texts.
fn open_with_texts(family: NlFamily) -> Result<OwnedFd> {
    let socket = NlSocket::connect(family, None, Groups::empty()).map_err(failed_io("socket"))?;
    socket.enable_ext_ack(true).map_err(failed_io("setsockopt NETLINK_EXT_ACK"))?;
    let this = pidfd_open(getpid(), PidfdFlags::empty()).map_err(failed("pidfd_open"))?;
    pidfd_getfd(this, socket.as_raw_fd(), PidfdGetfdFlags::empty()).map_err(failed("pidfd_getfd"))
}

fn open_plain(protocol: Option<Protocol>) -> Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        .map_err(failed("socket"))?;
    net::bind(&socket, &SocketAddrNetlink::new(0, 0)).map_err(failed("bind"))?;
    Ok(socket)
}

/// Checks that a descriptor is a netlink socket of that protocol.
fn check(fd: &OwnedFd, wanted: Option<Protocol>, otherwise: &str) -> Result<()> {
    let domain = sockopt::socket_domain(fd).map_err(failed("getsockopt"))?;
    let protocol = sockopt::socket_protocol(fd).map_err(failed("getsockopt"))?;
    if domain == AddressFamily::NETLINK && protocol == wanted {
        return Ok(());
    }
    Err(Error::invalid(format_args!("{otherwise}")))
}

/// How far a sequence number is after `first`.
pub(crate) fn position(first: u32, sequence: u32) -> Option<usize> {
    usize::try_from(sequence.wrapping_sub(first)).ok()
}

fn unanswered(error: Error, message: &Message<'_>) -> Error {
    if error.is_of_system(Errno::AGAIN) { Error::unanswered(message.what()) } else { error }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Cause::System { call, errno }.into()
}

fn failed_io(call: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Cause::System { call, errno: Errno::from_io_error(&error).unwrap_or(Errno::IO) }.into()
}
