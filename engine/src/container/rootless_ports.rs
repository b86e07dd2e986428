//! Ports of the host that lead to a container on an ordinary user's networks with names. A process has them open, for as long as the
//! container's runs; it has a file locked that says which.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pillbox_network::Port;

use super::connector::{published, recorded};
use super::ports::interfaces;
use super::rootless::{Namespaces, Rootless, remove_if_there};
use super::status::open;
use super::unreaped::leave_unreaped;
use crate::error::{Context, Error, Result};
use crate::file;
use crate::inside::{forward, is_held};
use crate::order;
use crate::store::{ContainerFolder, Store};

/// How long the end of what forwards ports is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Rootless {
    fn ports_file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("ports-{id}"))
    }

    /// Waits until the ports of a container that has ended are closed.
    ///
    /// # Errors
    /// The process that has them open does not end.
    pub fn await_closed_ports(&self, id: &str) -> Result<()> {
        let (file, began) = (self.ports_file(id), Instant::now());
        while is_held(&file)? {
            if began.elapsed() > PATIENCE {
                return Err(Error::conflict(format!(
                    "the process that has its ports open does not end: {}",
                    file.display()
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // That of one that was killed.
        remove_if_there(fs::remove_file(&file)).context(|| file.display().to_string())
    }

    /// Whether the process that had a container's ports open was killed: one that ends as it should removes its file.
    fn has_lost_ports(&self, id: &str) -> Result<bool> {
        let file = self.ports_file(id);
        Ok(file.exists() && !is_held(&file)?)
    }
}

impl Namespaces {
    /// Opens ports of the host that lead to a container's process, as they were asked for. Those that are open stay so.
    ///
    /// # Errors
    /// One is not to be had.
    pub(super) fn open_ports(
        &self,
        id: &str,
        texts: &[String],
        mut ports: Vec<Port>,
        pid: i32,
    ) -> Result<Vec<Port>> {
        let lock = self.rootless.ports_file(id);
        let known = match is_held(&lock)? {
            true => read_numbers(&lock)?,
            false => Vec::new(),
        };
        let numbers = match known.split_first() {
            Some((of, numbers)) if i32::try_from(*of) == Ok(pid) && numbers.len() == ports.len() => {
                numbers.iter().filter_map(|number| u16::try_from(*number).ok()).collect()
            }
            _ => {
                self.rootless.await_closed_ports(id)?;
                let (child, numbers) = forward(&self.entrance, &lock, texts, pid)?;
                leave_unreaped(child);
                numbers
            }
        };
        ports.iter_mut().zip(numbers).for_each(|(port, number)| port.host_port = number);
        Ok(ports)
    }
}

/// Opens the published ports of a container again, if the process that had them open was killed and the container runs on.
///
/// # Errors
/// Somebody else has one of them by now.
pub fn reopen_ports(store: &Store, folder: &ContainerFolder) -> Result<()> {
    let id = folder.id.as_str();
    let Some(rootless) = Rootless::of(store).filter(|rootless| rootless.has_lost_ports(id).unwrap_or(false))
    else {
        return Ok(());
    };
    let _lock = rootless.lock()?;
    let process = || Ok::<_, Error>(open(store, &folder.id)?.and_then(|container| container.pid().ok()));
    let (Some(namespaces), Some(pid)) = (rootless.find()?, process()?) else { return Ok(()) };
    // Another command may have been faster; and one that is cut off is reached by nobody.
    if !rootless.has_lost_ports(id)? || !namespaces.have(pid).unwrap_or(false) {
        return Ok(());
    }
    let file = rootless.ports_file(id);
    let ports = in_order(&interfaces(store, id)?, &read_numbers(&file).unwrap_or_default());
    if ports.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = ports.iter().map(published).collect();
    match forward(&namespaces.entrance, &file, &texts, pid) {
        Ok((child, _)) => {
            leave_unreaped(child);
            Ok(())
        }
        // It has ended meanwhile, or was started anew.
        Err(_) if process()? != Some(pid) => Ok(()),
        Err(error) => Err(error.context("its published ports are closed, because a process was killed")),
    }
}

/// The published ports of interfaces, in the order in which their numbers stand behind that of the process: who reads those goes by it.
fn in_order(interfaces: &[pillbox::state::NetworkRecord], numbers: &[u32]) -> Vec<Port> {
    let texts = interfaces.iter().flat_map(|interface| interface.ports.iter());
    let mut left: Vec<Port> = texts.filter_map(|text| recorded(text)).collect();
    order::sort_by_key(&mut left, published);
    left.dedup();
    let mut take = |number: &u32| {
        let index = left.iter().position(|port| u32::from(port.host_port) == *number)?;
        Some(left.remove(index))
    };
    let mut ports: Vec<Port> = numbers.iter().skip(1).filter_map(&mut take).collect();
    ports.append(&mut left);
    ports
}

/// The number of a container's process, then those of its ports.
fn read_numbers(lock: &Path) -> Result<Vec<u32>> {
    let text = file::read_text(lock).context(|| lock.display().to_string())?;
    text.split_whitespace()
        .map(|number| number.parse().map_err(|_| Error::corrupt(format!("{}: {number}", lock.display()))))
        .collect()
}
