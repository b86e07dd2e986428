//! What is asked of a process in the namespaces of an ordinary user's networks.

use std::path::Path;
use std::process::Child;

use pillbox::state::NetworkRecord;
use pillbox_network::responder::Sockets;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::rootless::{Entrance, NetworkAct};
use super::task::{Answer, Task};
use super::{Inside, no_pipe, other_question};
use crate::error::{Context, Result};
use crate::ids::IdMaps;

/// Starts the process that holds the namespaces for networks of the user's; it has the file locked from now on.
///
/// # Errors
/// The kernel gives no namespaces; the ids cannot be mapped.
pub fn hold_namespaces(maps: &IdMaps, lock: &Path) -> Result<Child> {
    let inside = Inside::start(Some(maps), &Task::Hold { lock: lock.to_path_buf() })?;
    inside.leave().map(|(child, _)| child)
}

/// Does something to networks of the user's; `store` is the folder of what is recorded of them. The result is what is asked for of a
/// container's interfaces.
///
/// # Errors
/// It cannot be done, and is named.
pub fn act_on_networks(entrance: &Entrance, store: &Path, act: NetworkAct) -> Result<Vec<NetworkRecord>> {
    let task = Task::Network { entrance: entrance.clone(), store: store.to_path_buf(), act };
    match Inside::start(None, &task)?.answer()? {
        Answer::Interfaces(interfaces) => Ok(interfaces.into_iter().map(NetworkRecord::from).collect()),
        _ => Err(other_question()),
    }
}

/// Starts a process that forwards ports of the host, as `--publish` takes them, to networks of the user's until a container's process
/// ends. It has the file locked meanwhile. The result has the numbers of the host's ports.
///
/// # Errors
/// A port is not to be had; it is named.
pub fn forward(
    entrance: &Entrance,
    lock: &Path,
    ports: &[String],
    container: i32,
) -> Result<(Child, Vec<u16>)> {
    let (entrance, lock) = (entrance.clone(), lock.to_path_buf());
    let task = Task::Forward { entrance, lock, ports: ports.to_vec(), container };
    match Inside::start(None, &task)?.leave()? {
        (child, Answer::Ports(numbers)) => Ok((child, numbers)),
        _ => Err(other_question()),
    }
}

/// Opens sockets in the network namespace of a container of an ordinary user's, at which it is answered for names.
///
/// # Errors
/// The container has ended; the kernel gives none.
pub fn open_name_sockets(container: i32) -> Result<Sockets> {
    let mut inside = Inside::start(None, &Task::OpenNameSockets { container })?;
    let Answer::Descriptors([udp, tcp]) = inside.first_answer()? else { return Err(other_question()) };
    let step = || "take the sockets of a process with your container ids";
    let pid = Pid::from_raw(inside.child.id().cast_signed()).ok_or_else(no_pipe)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context(step)?;
    let take = |number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).context(step);
    let sockets = Sockets { udp: take(udp)?.into(), tcp: take(tcp)?.into() };
    // It ends when its input does.
    inside.input = None;
    inside.child.wait().context(step)?;
    Ok(sockets)
}
