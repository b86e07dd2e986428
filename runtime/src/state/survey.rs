//! The statuses of containers: what those of one machine have in common is looked up once.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, Mode};
use rustix::net::SocketAddrUnix;

use super::document::{open_document, parse_head, read_head};
use super::gate::{gate_address, is_watched, probe};
use super::process::{ProcessId, boot_id};
use super::record::StoredRecord;
use super::root::FOLDER;
use super::{GATE, Root, STATE, Status};
use crate::cgroup::Hierarchy;
use crate::container_id::ContainerId;
use crate::error::{Context, Result};
use crate::sys::Work;

/// How many containers a thread looks at before it takes the next; so few are nothing for two.
const BLOCK: usize = 32;

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

/// What is kept from one container to the next.
#[derive(Default)]
struct Round {
    survey: Survey,
    /// The text of a state.json up to the configuration.
    head: Vec<u8>,
}

/// What is done with a container that was looked at: what it writes comes in the order of the ids.
pub type Write<'a> = dyn Fn(&StoredRecord<'_>, Status, &mut String) + Sync + 'a;

impl Root {
    /// What `write` writes of the containers with these ids, one after the other. One that is being made or was just
    /// deleted is passed over, and so is one that cannot be read.
    ///
    /// The root becomes the working folder of the process: from there paths are shortest. What there is to do for many is
    /// given to `beside`, which may let two do it at once: nearly all is the kernel's work, most of that for cgroup.events.
    ///
    /// # Errors
    /// The root cannot be entered.
    #[doc(hidden)]
    pub fn survey(&self, ids: &[ContainerId], write: &Write<'_>, beside: fn(&Work<'_>)) -> Result<String> {
        if ids.is_empty() {
            return Ok(String::new());
        }
        rustix::process::fchdir(self.open()?).context(|| format!("enter {}", self.path().display()))?;
        let blocks: Vec<_> = ids.chunks(BLOCK).map(|ids| (ids, OnceLock::new())).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut round = Round::default();
            while let Some((ids, text)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Taken by one alone.
                let _ = text.set(write_block(ids, &mut round, write));
            }
        };
        if blocks.len() > 1 {
            beside(&work)
        } else {
            work()
        }
        let mut all = String::new();
        for (ids, text) in blocks {
            // Whoever was killed at a block has left it open.
            let text = text.into_inner();
            all.push_str(&text.unwrap_or_else(|| write_block(ids, &mut Round::default(), write)));
        }
        Ok(all)
    }
}

fn write_block(ids: &[ContainerId], round: &mut Round, write: &Write<'_>) -> String {
    let mut text = String::with_capacity(ids.len() * USUAL_TEXT);
    for id in ids {
        // Why it can't be read says `state`.
        let _ = look(id, round, &mut |record, status| write(record, status, &mut text));
    }
    text
}

/// Looks at a container in the working folder.
fn look(id: &ContainerId, round: &mut Round, visit: &mut dyn FnMut(&StoredRecord<'_>, Status)) -> Result<()> {
    let Round { survey, head } = round;
    let file = open_document(CWD, &[id, "/", STATE].concat()).context(|| STATE)?;
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
