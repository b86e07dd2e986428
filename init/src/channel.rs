//! What init says to the runtime, and what it waits for.

use core::mem::MaybeUninit;

use heapless::Vec;
use pillbox_init::plan::operation::InstallSeccomp;
use pillbox_init::plan::{TAKEN_TREES_MAX, Turn};
use pillbox_init::report::{MESSAGE_MAX, Report};
use pillbox_init::sys;
use pillbox_init::wire::Numbers;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType,
};

use crate::descriptor::Descriptors;
use crate::failure::NOT_STARTED;

/// Sends a report with the kernel's words and a descriptor, if there are any.
pub fn send(
    channel: BorrowedFd<'_>,
    report: Report,
    kernel_text: &[u8],
    descriptor: Option<&OwnedFd>,
) -> Result<(), Errno> {
    let mut message = Vec::<u8, MESSAGE_MAX>::new();
    report.encode(&mut message);
    let _ = message.extend_from_slice(kernel_text);
    match descriptor {
        // More filters let this pass than send(2). That nobody listens any more may end init: there is nobody to go on for.
        None => rustix::io::write(channel, &message).map(drop),
        Some(descriptor) => send_descriptor(channel, &message, descriptor),
    }
}

/// The runtime, as init knows it.
pub struct Channel<'p> {
    peer: Peer<'p>,
    /// The network namespace, if it came before its turn.
    network: Option<OwnedFd>,
}

/// Who hears of a failure: the runtime that created, then the one that starts.
enum Peer<'p> {
    Creator(BorrowedFd<'p>),
    Starter(OwnedFd),
}

impl<'p> Channel<'p> {
    pub fn new(creator: BorrowedFd<'p>) -> Self {
        Channel { peer: Peer::Creator(creator), network: None }
    }

    pub fn report(&self, report: Report, descriptor: Option<&OwnedFd>) -> Result<(), Errno> {
        send(self.peer(), report, &[], descriptor)
    }

    /// The last report. The kernel's own words about a mount that it refused come with it: the runtime has no other way to
    /// learn them.
    pub fn report_failure(&self, report: Report, kernel_text: &[u8]) {
        let _ = send(self.peer(), report, kernel_text, None);
    }

    /// Whether `start` listens, to which the end of the channel says that the program runs.
    pub fn is_starters(&self) -> bool {
        matches!(self.peer, Peer::Starter(_))
    }

    fn peer(&self) -> BorrowedFd<'_> {
        match &self.peer {
            Peer::Creator(fd) => *fd,
            Peer::Starter(fd) => rustix::fd::AsFd::as_fd(fd),
        }
    }

    /// Installs the filter. If somebody listens, the runtime fetches the listener while init waits: every call from
    /// here on may be one that the filter holds up until it is answered, and so init may have to be sent nothing.
    pub fn install_seccomp(&self, step: &InstallSeccomp<'_>) -> Result<(), Errno> {
        let InstallSeccomp { flags, program } = *step;
        const NEW_LISTENER: u32 = 8;
        if flags & NEW_LISTENER == 0 {
            return sys::install_seccomp(flags, program).map(drop);
        }
        // The kernel takes the lowest free number, as it does for this copy.
        let copy = rustix::io::fcntl_dupfd_cloexec(self.peer(), 0)?;
        let descriptor = rustix::fd::AsRawFd::as_raw_fd(&copy) as u32;
        drop(copy);
        self.report(Report::SeccompListener { descriptor }, None)?;
        let listener = sys::install_seccomp(flags, program)?;
        self.await_runtime(Turn::Listener)?;
        // While init had it too, calls would wait for ever when the agent is gone.
        drop(listener);
        Ok(())
    }

    pub fn await_runtime(&self, turn: Turn) -> Result<(), Errno> {
        let peer = self.peer();
        if turn == Turn::Record {
            // It may wait for long behind this, and execve(2) needs memory for another stack beside this one.
            sys::release_stack();
        }
        let mut answer = [0u8; 1];
        let flags = if turn == Turn::Record { RecvFlags::PEEK } else { RecvFlags::empty() };
        let (_, length) = rustix::net::recv(peer, &mut answer, flags)?;
        // End of file: the runtime is gone, and nobody knows of this container.
        if length == 1 && answer[0] == turn as u8 { Ok(()) } else { sys::exit(NOT_STARTED) }
    }

    pub fn take_word(&self) -> Result<(), Errno> {
        rustix::net::recv(self.peer(), &mut [0u8; 1], RecvFlags::empty()).map(drop)
    }

    pub fn send_netlink_socket(&self) -> Result<(), Errno> {
        // Protocol 0 is NETLINK_ROUTE.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        self.report(Report::NetlinkSocket, Some(&socket))
    }

    pub fn join_network(&mut self) -> Result<(), Errno> {
        const NEWNET: u32 = 0x4000_0000;
        let namespace = match self.network.take() {
            Some(namespace) => namespace,
            None => match self.receive_descriptor()? {
                (word, Some(namespace)) if word == Turn::Network as u8 => namespace,
                _ => sys::exit(NOT_STARTED),
            },
        };
        sys::setns(namespace, NEWNET)
    }

    /// The tree with this index anew, as far as it can be attached here. None if the runtime cannot have it.
    #[inline(never)]
    pub fn take_attachable(&mut self, index: u32) -> Result<Option<OwnedFd>, Errno> {
        self.report(Report::TreeRefused { index }, None)?;
        loop {
            match self.receive_descriptor()? {
                // Its maker does not wait for anybody.
                (word, Some(namespace)) if word == Turn::Network as u8 => self.network = Some(namespace),
                (_, tree) => return Ok(tree),
            }
        }
    }

    /// One message with its descriptor.
    fn receive_descriptor(&self) -> Result<(u8, Option<OwnedFd>), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0u8; 1];
        let mut parts = [rustix::io::IoSliceMut::new(&mut word)];
        let received = rustix::net::recvmsg(self.peer(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes != 1 {
            sys::exit(NOT_STARTED)
        }
        let descriptor = match control.drain().next() {
            Some(RecvAncillaryMessage::ScmRights(mut descriptors)) => descriptors.next(),
            _ => None,
        };
        Ok((word[0], descriptor))
    }

    pub fn take_trees(&self, descriptors: &mut Descriptors<'_>, trees: Numbers<'_>) -> Result<(), Errno> {
        // What was taken before is attached.
        descriptors.close_taken();
        self.report(Report::AtTrees, None)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TAKEN_TREES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0u8; 1];
        let mut parts = [rustix::io::IoSliceMut::new(&mut word)];
        rustix::net::recvmsg(self.peer(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let Some(RecvAncillaryMessage::ScmRights(received)) = control.drain().next() else {
            sys::exit(NOT_STARTED)
        };
        trees.iter().zip(received).try_for_each(|(index, tree)| descriptors.take(index, tree))
    }

    /// Whoever connects without sending the start byte only looked whether somebody listens.
    pub fn await_start(&mut self, listener: BorrowedFd<'_>) -> Result<(), Errno> {
        loop {
            let connection = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                connection => connection?,
            };
            let mut byte = [0u8; 1];
            let peeked = loop {
                match rustix::net::recv(&connection, &mut byte, RecvFlags::PEEK) {
                    Err(Errno::INTR) => {}
                    peeked => break peeked,
                }
            };
            match peeked {
                Ok((_, 0)) | Err(Errno::CONNRESET) => {}
                // A failure is the starter's to hear: closed without a word the connection would say that the program runs.
                peeked => {
                    self.peer = Peer::Starter(connection);
                    return peeked.map(drop);
                }
            }
        }
    }
}

fn send_descriptor(channel: BorrowedFd<'_>, message: &[u8], descriptor: &OwnedFd) -> Result<(), Errno> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [rustix::fd::AsFd::as_fd(descriptor)];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(channel, &[rustix::io::IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
