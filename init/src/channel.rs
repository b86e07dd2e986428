//! Messages between init and the runtime.

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

/// Sends a report, with the kernel's own text and a descriptor if there are any.
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
        // More seccomp filters allow write(2) than send(2). If the peer is gone, SIGPIPE may end init: no
        // runtime is left that it could work for.
        None => rustix::io::write(channel, &message).map(drop),
        Some(descriptor) => send_descriptor(channel, &message, descriptor),
    }
}

/// The connection to the runtime.
pub struct Channel<'p> {
    peer: Peer<'p>,
    /// The network namespace, if it arrived before init asked for it.
    network: Option<OwnedFd>,
}

/// The runtime that hears of a failure: first the one that creates the container, then the one that starts
/// it.
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

    /// Sends the last report. The kernel's own text about a mount that it refused comes with it: the runtime
    /// has no other way to get that.
    pub fn report_failure(&self, report: Report, kernel_text: &[u8]) {
        let _ = send(self.peer(), report, kernel_text, None);
    }

    /// Whether the peer is `start`, for which the end of the channel means that the program runs.
    pub fn is_starters(&self) -> bool {
        matches!(self.peer, Peer::Starter(_))
    }

    fn peer(&self) -> BorrowedFd<'_> {
        match &self.peer {
            Peer::Creator(fd) => *fd,
            Peer::Starter(fd) => rustix::fd::AsFd::as_fd(fd),
        }
    }

    /// Installs the filter. If it has a listener, the runtime fetches that from init while init waits. Init
    /// cannot send it: the filter may hold up any call from here on until an agent answers.
    pub fn install_seccomp(&self, step: &InstallSeccomp<'_>) -> Result<(), Errno> {
        let InstallSeccomp { flags, program } = *step;
        const NEW_LISTENER: u32 = 8;
        if flags & NEW_LISTENER == 0 {
            return sys::install_seccomp(flags, program).map(drop);
        }
        // The kernel will give the listener the lowest free number, as it does with this copy.
        let copy = rustix::io::fcntl_dupfd_cloexec(self.peer(), 0)?;
        let descriptor = rustix::fd::AsRawFd::as_raw_fd(&copy) as u32;
        drop(copy);
        self.report(Report::SeccompListener { descriptor }, None)?;
        let listener = sys::install_seccomp(flags, program)?;
        self.await_runtime(Turn::Listener)?;
        // If init kept it open, calls would wait for ever once the agent is gone.
        drop(listener);
        Ok(())
    }

    pub fn await_runtime(&self, turn: Turn) -> Result<(), Errno> {
        let peer = self.peer();
        if turn == Turn::Record {
            // A long wait may follow, and execve(2) needs memory for another stack besides this one.
            sys::release_stack();
        }
        let mut answer = [0u8; 1];
        let flags = if turn == Turn::Record { RecvFlags::PEEK } else { RecvFlags::empty() };
        let (_, length) = rustix::net::recv(peer, &mut answer, flags)?;
        // End of file: the runtime is gone, and no other process knows of this container.
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
                (byte, Some(namespace)) if byte == Turn::Network as u8 => namespace,
                _ => sys::exit(NOT_STARTED),
            },
        };
        sys::setns(namespace, NEWNET)
    }

    /// Asks the runtime to open the tree with this index again, without the parts that cannot be attached
    /// here. `None` if the runtime cannot open it.
    #[inline(never)]
    pub fn take_attachable(&mut self, index: u32) -> Result<Option<OwnedFd>, Errno> {
        self.report(Report::TreeRefused { index }, None)?;
        loop {
            match self.receive_descriptor()? {
                // The thread that makes the namespace sends it as soon as it is ready.
                (byte, Some(namespace)) if byte == Turn::Network as u8 => self.network = Some(namespace),
                (_, tree) => return Ok(tree),
            }
        }
    }

    /// Receives one byte, and the descriptor that comes with it.
    fn receive_descriptor(&self) -> Result<(u8, Option<OwnedFd>), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0u8; 1];
        let mut parts = [rustix::io::IoSliceMut::new(&mut byte)];
        let received = rustix::net::recvmsg(self.peer(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes != 1 {
            sys::exit(NOT_STARTED)
        }
        let descriptor = match control.drain().next() {
            Some(RecvAncillaryMessage::ScmRights(mut descriptors)) => descriptors.next(),
            _ => None,
        };
        Ok((byte[0], descriptor))
    }

    pub fn take_trees(&self, descriptors: &mut Descriptors<'_>, trees: Numbers<'_>) -> Result<(), Errno> {
        // Trees that were taken before are attached by now.
        descriptors.close_taken();
        self.report(Report::AtTrees, None)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TAKEN_TREES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0u8; 1];
        let mut parts = [rustix::io::IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(self.peer(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let Some(RecvAncillaryMessage::ScmRights(received)) = control.drain().next() else {
            sys::exit(NOT_STARTED)
        };
        trees.iter().zip(received).try_for_each(|(index, tree)| descriptors.take(index, tree))
    }

    /// Waits until `start` connects and sends its byte. A connection that closes without one only checked
    /// whether init listens.
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
                // The starter is told of a failure, too: if the connection closed without a report, that
                // would mean that the program runs.
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
