//! Handing the listener of a seccomp filter to the agent that answers its notifications: seccomp_unotify(2),
//! and "The container process state" in config-linux.md.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use serde::Serialize;

use crate::console::send_descriptor;
use crate::error::{Context, Error, Result};
use crate::plan::Agent;
use crate::text::json::{self, Members};

/// The pause between two attempts to fetch the listener, while init installs its filter.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000 };

/// The document that goes with the descriptor.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: State<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    pid: i32,
    bundle: &'a str,
    annotations: &'a Members,
}

/// Fetches the listener that init, or a process that joins the container, announced at `number`, and sends it
/// to the agent. The process waits meanwhile for [`pillbox_init::plan::Turn::Listener`].
///
/// # Errors
/// The descriptor could not be fetched, or nobody listens at the path.
pub fn hand_over(
    agent: &Agent,
    process: BorrowedFd<'_>,
    pid: i32,
    channel: BorrowedFd<'_>,
    number: u32,
) -> Result<Handed> {
    let Some(listener) = fetch(process, channel, number)? else { return Ok(Handed::NotInstalled) };
    let Agent { path, metadata, oci_version, id, status, bundle, annotations } = agent;
    let state = State { oci_version, id, status: status.as_str(), pid, bundle, annotations };
    let document = ProcessState { oci_version, fds: ["seccompFd"], pid, metadata, state };
    send_descriptor(path, &listener, &json::to_string(&document)?)
        .context(|| "linux.seccomp.listenerPath")?;
    Ok(Handed::Over)
}

/// The result of handing a listener over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// The agent has it.
    Over,
    /// There is no listener: the process has sent another message, still to be read from its channel, or is
    /// gone.
    NotInstalled,
}

/// pidfd_getfd(2), as soon as the descriptor is there; `None` if another message comes first.
fn fetch(process: BorrowedFd<'_>, channel: BorrowedFd<'_>, number: u32) -> Result<Option<OwnedFd>> {
    let number = i32::try_from(number).map_err(|_| Error::new("init named no descriptor"))?;
    loop {
        // The channel comes first: after a failure the number may belong to another file, which must not be
        // sent.
        let mut polled = [PollFd::from_borrowed_fd(channel, PollFlags::IN)];
        match poll(&mut polled, Some(&PAUSE)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(None),
            Err(errno) => return Err(errno).context(|| "wait for the seccomp filter"),
        }
        match pidfd_getfd(process, number, PidfdGetfdFlags::empty()) {
            Err(Errno::BADF) => {}
            Err(Errno::PERM) => {
                return Err(Error::new(
                    "linux.seccomp: fetch the listener: not permitted: it needs CAP_SYS_PTRACE, \
                     and kernel.yama.ptrace_scope below 3",
                ));
            }
            fetched => return fetched.map(Some).context(|| "linux.seccomp: fetch the listener"),
        }
    }
}
