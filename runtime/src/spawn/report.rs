//! Init's messages on its channel, and the errors that they report.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use pillbox_init::report::{MESSAGE_MAX, Report};
use pillbox_init::wire::Reader;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::error::{Context, Error, Result, describe_errno};
use crate::explain;
use crate::plan::Plan;

/// A message from init.
pub enum Message {
    /// A report, with a descriptor if one belongs to it, and the text that the kernel gave for a failure.
    Report(Report, Option<OwnedFd>, String),
    /// The channel is closed: init has executed the program, or is gone.
    Closed,
    /// Init is gone, and left a byte unread that it would have read before it executed the program.
    Reset,
}

/// Waits for a message from init on its channel or its gate connection. `left_word` says whether init has
/// left a byte unread; it is false at first. The kernel reports this only once, and before the messages that
/// init had sent by then.
pub fn receive(channel: impl AsFd, left_word: &mut bool) -> Result<Message> {
    // Without DONTWAIT there always is a message.
    Ok(receive_with(channel.as_fd(), RecvFlags::empty(), left_word)?.unwrap_or(Message::Closed))
}

/// As [`receive`], but without waiting; `None` if there is no message yet.
pub(super) fn receive_if_any(channel: BorrowedFd<'_>, left_word: &mut bool) -> Result<Option<Message>> {
    receive_with(channel, RecvFlags::DONTWAIT, left_word)
}

fn receive_with(channel: BorrowedFd<'_>, flags: RecvFlags, left_word: &mut bool) -> Result<Option<Message>> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0u8; MESSAGE_MAX];
    let mut patience = 10;
    let received = loop {
        let mut parts = [rustix::io::IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(channel, &mut parts, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // The message is still there, and must not be lost: only it tells a clone's pid, or whether the
            // program runs.
            Err(Errno::NOMEM) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::CONNRESET) => *left_word = true,
            result => break result.context(|| "hear from init")?.bytes,
        }
    };
    if received == 0 {
        return Ok(Some(if *left_word { Message::Reset } else { Message::Closed }));
    }
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptor = rights.last();
        }
    }
    let mut reader = Reader::new(&bytes[..received]);
    let report =
        Report::decode(&mut reader).map_err(|_| Error::new("init said what this runtime does not know"))?;
    let text = String::from_utf8_lossy(reader.rest()).trim_end().to_string();
    Ok(Some(Message::Report(report, descriptor, text)))
}

/// Describes a reported failure with the help of the plan.
pub fn word_report(plan: &Plan, report: Report, kernel_text: &str) -> Error {
    match report {
        Report::Failed { operation, errno, stage, detail } => {
            let errno = Errno::from_raw_os_error(errno);
            match plan.operations().nth(operation as usize) {
                Some(operation) => {
                    explain::describe_failure(&operation, plan, errno, stage, detail, kernel_text)
                }
                None => {
                    Error::formatted(format_args!("init: operation {operation}: {}", describe_errno(errno)))
                }
            }
        }
        Report::Malformed { operation } => Error::formatted(format_args!(
            "init cannot read operation {operation} of its plan: runtime and init do not match"
        )),
        Report::NetlinkSocket
        | Report::FileSystem
        | Report::Console
        | Report::Ready
        | Report::AtHooks
        | Report::AtTrees
        | Report::TreeRefused { .. }
        | Report::Forked { .. }
        | Report::NotEntered { .. }
        | Report::SeccompListener { .. } => {
            Error::new("init said something at the wrong time: runtime and init do not match")
        }
    }
}

/// Describes a failure after the gate, for `start`, which no longer has the plan. If it is the program's own
/// fault, init has also said so on the program's stderr.
pub fn word_late_report(arguments: &[String], report: Report) -> Error {
    match report {
        Report::Failed { errno, .. } => {
            let name = arguments.first().map_or("", String::as_str);
            let cause = describe_errno(Errno::from_raw_os_error(errno));
            Error::formatted(format_args!(
                "init could not execute {name:?}, or before it set linux.seccomp or RLIMIT_NOFILE: {cause}"
            ))
        }
        _ => Error::new("init could not go on after start"),
    }
}

#[cfg(test)]
mod tests {
    use pillbox_init::report::Report;
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::{Message, receive};

    #[test]
    fn an_unread_byte_is_remembered_while_earlier_messages_are_read() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("socketpair");
        let mut report = Vec::new();
        Report::Ready.encode(&mut report);
        send(&theirs, &report, SendFlags::NOSIGNAL).expect("report");
        send(&ours, b"w", SendFlags::NOSIGNAL).expect("byte");
        drop(theirs);
        let mut left_word = false;
        assert!(matches!(receive(&ours, &mut left_word), Ok(Message::Report(Report::Ready, ..))));
        assert!(matches!(receive(&ours, &mut left_word), Ok(Message::Reset)));
    }
}
