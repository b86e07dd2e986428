//! The statuses of containers: what those of one machine have in common is looked up once.

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

/// What is usually written of a container, in bytes.
const USUAL_TEXT: usize = 320;

/// What the containers of a machine have in common, each found when it is first asked for.
#[derive(Default)]
pub(super) struct Survey {
    hierarchy: Option<Option<Hierarchy>>,
    boot_id: Option<String>,
    probe: Option<OwnedFd>,
}

impl Survey {
    /// What the kernel says about a container.
    pub fn status(
        &mut self,
        waits_at_gate: bool,
        init: ProcessId,
        boot_id: &str,
        cgroup: Option<&str>,
    ) -> Result<Status> {
        // Who waits at the gate lives, and did not before the boot.
        if !waits_at_gate && (init.open()?.is_none() || self.boot_id()? != boot_id) {
            return Ok(Status::Stopped);
        }
        // A created container can be paused as well.
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

    /// Whether init waits at the gate at a path, where there may be none.
    fn is_watched(&mut self, gate: &SocketAddrUnix) -> rustix::io::Result<bool> {
        let probe = match self.probe.take() {
            Some(probe) => probe,
            None => probe()?,
        };
        is_watched(self.probe.insert(probe), gate)
    }
}

/// What a look at a container has shown.
pub enum Seen<'s> {
    /// What was recorded of it, and what the kernel says about it.
    Known(&'s StoredRecord<'s>, Status),
    /// It is there, but one or the other cannot be read.
    Unknown(&'s ContainerId, Error),
}

/// What is done with a container that was looked at.
pub type Write<'a> = dyn FnMut(Seen<'_>, &mut String) + 'a;

impl Root {
    /// What `write` writes of the containers with these ids, one after the other. A folder without a state.json is no container:
    /// it is being made, was just deleted, or is what a killed `create` has left.
    ///
    /// The root becomes the working folder of the process: from there paths are shortest.
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

/// Looks at a container in the working folder; `head` is for the text of its state.json up to the configuration.
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
        // A long id does not fit a socket's path.
        Err(_) => rustix::fs::openat(CWD, id.as_str(), FOLDER, Mode::empty())
            .and_then(|folder| survey.is_watched(&gate_address(&folder)?)),
    }
    .context(|| GATE)?;
    let status = survey.status(waits_at_gate, record.init(), &record.boot_id, record.cgroup.as_deref())?;
    visit(&record, status);
    Ok(())
}
