//! The statuses of many containers; what they have in common is looked up once.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::document::{open_document, parse_head, read_head};
use super::gate::{gate_address, is_watched, probe};
use super::process::{ProcessId, boot_id};
use super::record::StoredRecord;
use super::root::FOLDER;
use super::{GATE, Root, STATE, Status, unfinished};
use crate::cgroup::Hierarchy;
use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;

/// The usual length of the text written for a container, in bytes.
const USUAL_TEXT: usize = 320;

/// What all containers of a machine have in common, looked up when first needed.
#[derive(Default)]
pub(super) struct Survey {
    hierarchy: Option<Option<Hierarchy>>,
    boot_id: Option<String>,
    probe: Option<OwnedFd>,
}

impl Survey {
    /// A container's status, as the kernel knows it.
    pub fn status(
        &mut self,
        waits_at_gate: bool,
        init: ProcessId,
        boot_id: &str,
        cgroup: Option<&str>,
    ) -> Result<Status> {
        // An init that waits at the gate is alive, and so was started in this boot.
        if !waits_at_gate && (init.open()?.is_none() || self.boot_id()? != boot_id) {
            return Ok(Status::Stopped);
        }
        // A created container can be paused as well as a running one.
        Ok(match (cgroup.map_or(Ok(false), |cgroup| self.is_frozen(cgroup))?, waits_at_gate) {
            (true, _) => Status::Paused,
            (false, true) => Status::Created,
            (false, false) => Status::Running,
        })
    }

    fn boot_id(&mut self) -> Result<&str> {
        if self.boot_id.is_none() {
            self.boot_id = Some(boot_id()?);
        }
        Ok(self.boot_id.as_deref().unwrap_or_default())
    }

    fn is_frozen(&mut self, cgroup: &str) -> Result<bool> {
        if self.hierarchy.is_none() {
            self.hierarchy = Some(Hierarchy::find()?);
        }
        self.hierarchy.iter().flatten().next().map_or(Ok(false), |hierarchy| hierarchy.is_frozen(cgroup))
    }

    /// Whether init waits at the gate with this address; the gate may be missing.
    fn is_watched(&mut self, gate: &SocketAddrUnix) -> rustix::io::Result<bool> {
        let probe = match self.probe.take() {
            Some(probe) => probe,
            None => probe()?,
        };
        is_watched(self.probe.insert(probe), gate)
    }
}

/// The result of looking at a container.
pub enum Seen<'s> {
    /// Its record and its status.
    Known(&'s StoredRecord<'s>, Status),
    /// It exists, but its record or its status cannot be read.
    Unknown(&'s ContainerId, Error),
}

/// Writes text about a container that was looked at.
pub type Write<'a> = dyn FnMut(Seen<'_>, &mut String) + 'a;

impl Root {
    /// Calls `write` for each of these containers and returns the text that it wrote. A folder without a
    /// state.json is skipped: its container is being created, was just deleted, or was left by a killed
    /// `create`.
    ///
    /// Makes the root the working folder of the process, because paths are shortest from there.
    ///
    /// # Errors
    /// The root cannot be entered.
    #[doc(hidden)]
    pub fn survey(&self, ids: &[ContainerId], write: &mut Write<'_>) -> Result<String> {
        if ids.is_empty() {
            return Ok(String::new());
        }
        rustix::process::fchdir(self.open()?).context(|| format!("enter {}", self.path().display()))?;
        let (mut survey, mut head) = (Survey::default(), Vec::new());
        let mut text = String::with_capacity(ids.len() * USUAL_TEXT);
        for id in ids {
            let looked = look(id, &mut survey, &mut head, &mut |record, status| {
                write(Seen::Known(record, status), &mut text)
            });
            match looked {
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => write(Seen::Unknown(id, error), &mut text),
                Ok(()) => {}
            }
        }
        Ok(text)
    }
}

/// Looks at a container in the working folder; `head` is a buffer for the beginning of its state.json.
fn look(
    id: &ContainerId,
    survey: &mut Survey,
    head: &mut Vec<u8>,
    visit: &mut dyn FnMut(&StoredRecord<'_>, Status),
) -> Result<()> {
    let file = match open_document(CWD, &[id, "/", STATE].concat()) {
        Err(Errno::NOENT) => return Err(unfinished(id)),
        file => file.context(|| STATE)?,
    };
    read_head(&file, head).context(|| STATE)?;
    let record = parse_head(head, id)?;
    let waits_at_gate = match SocketAddrUnix::new([id, "/", GATE].concat()) {
        Ok(gate) => survey.is_watched(&gate),
        // The address of a socket is too short for a long id.
        Err(_) => rustix::fs::openat(CWD, id.as_str(), FOLDER, Mode::empty())
            .and_then(|folder| survey.is_watched(&gate_address(&folder)?)),
    }
    .context(|| GATE)?;
    let status = survey.status(waits_at_gate, record.init(), &record.boot_id, record.cgroup.as_deref())?;
    visit(&record, status);
    Ok(())
}
