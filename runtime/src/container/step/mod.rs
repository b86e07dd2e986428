//! Host steps: what the runtime does around init to make a container, as data. [`ORDER`] is the order; each step says what it does for
//! `explain`. What outlives the runtime is noted in the journal before it is done, and [`super::undo`] reads that backwards.

mod cgroup;
mod hook;
mod init;
mod network;
mod open;
mod resctrl;
mod root;
mod seccomp;
mod state;

use std::os::fd::OwnedFd;

pub(super) use cgroup::undo as undo_cgroup;
pub(super) use resctrl::remove as undo_resctrl;
pub(super) use root::undo as undo_root;

use super::bundle::{Bundle, Prepared};
use super::options::CreateOptions;
use super::scope::Scope;
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::oci::ContainerId;
use crate::plan::Plan;
use crate::spawn::{Init, NewNetwork, Opened, Patience};
use crate::state::resctrl::Group;
use crate::state::{Record, Root, StateDirectory};

/// A line of `explain`: what is done, then with what.
pub type Line = (&'static str, String);

/// One step of the runtime's.
pub(super) trait Step: Sync {
    /// Whether making this container needs it.
    fn is_for(&self, _: &Prepared<'_>) -> bool {
        true
    }

    /// Does it. What would outlive a runtime that is killed stands in the journal before.
    ///
    /// # Errors
    /// In one line, with the field that asks for it.
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()>;

    /// What an error of it is, unless it is known better.
    fn kind(&self) -> Kind {
        Kind::Host
    }

    /// What `explain` tells of it; nothing of what is only the runtime's own bookkeeping.
    ///
    /// # Errors
    /// The configuration is wrong.
    fn lines(&self, _: &Prepared<'_>, _: &mut Vec<Line>) -> Result<()> {
        Ok(())
    }
}

/// All steps, in the order in which they are done. Up to the folder of the container's state nothing has changed but what ends with the
/// runtime; from the clone on, init goes its own way beside them, and waits where a step says so.
const ORDER: &[&dyn Step] = &[
    &network::Begin,
    &open::Open,
    &state::MakeFolder,
    &root::OpenGiven,
    &root::NoteMount,
    &cgroup::Make,
    &cgroup::StartUnit,
    &cgroup::DoWithout,
    &state::MakeNotifyFolder,
    &open::OpenMade,
    &resctrl::Prepare,
    &state::MakeGate,
    &init::Clone,
    &state::OpenGate,
    &cgroup::FilterDevices,
    &cgroup::ReleaseUnit,
    &resctrl::Enter,
    &state::Write,
    &init::GiveIds,
    &network::Configure,
    &seccomp::Filter,
    &hook::RunFirst,
    &init::AwaitReady,
    &open::ForgetMade,
    &state::Publish,
    &state::SendPidfd,
];

/// The steps that this container needs.
pub(super) fn compile(prepared: &Prepared<'_>) -> impl Iterator<Item = &'static dyn Step> {
    ORDER.iter().copied().filter(|step| step.is_for(prepared))
}

impl Prepared<'_> {
    /// What the runtime will do around init, for `explain`.
    ///
    /// # Errors
    /// As for [`Prepared::new`].
    pub fn host_lines(&self) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for step in compile(self) {
            step.lines(self, &mut lines)?;
        }
        Ok(lines)
    }
}

/// A container while it is being made: what is asked for, and what stands so far.
pub(super) struct Making<'m, 'b> {
    pub root: &'m Root,
    pub id: &'m ContainerId,
    pub bundle: &'m Bundle,
    pub options: &'m CreateOptions,
    /// What ends the wait for init.
    pub patience: Patience,
    pub prepared: &'m Prepared<'b>,
    /// Instead of the prepared one, where the seed cannot be used.
    pub replanned: Option<Plan>,
    pub network: Option<NewNetwork>,
    pub opened: Opened,
    pub directory: Option<StateDirectory>,
    pub cgroup: Option<Cgroup>,
    /// The name of systemd's unit with that cgroup.
    pub unit: Option<String>,
    pub scope: Option<Scope>,
    pub group: Option<Group>,
    /// How many device nodes lie in the state folder.
    pub nodes: u32,
    pub gate: Option<OwnedFd>,
    pub init: Option<Init>,
    /// Whether init has to be moved into its cgroup.
    pub attach: bool,
    pub record: Option<Record>,
}

impl Making<'_, '_> {
    pub fn plan(&self) -> &Plan {
        self.replanned.as_ref().unwrap_or(&self.prepared.plan)
    }

    /// The state folder, once there is one.
    fn directory(&self) -> Result<&StateDirectory> {
        self.directory.as_ref().ok_or_else(|| too_early("state folder"))
    }

    fn init(&self) -> Result<&Init> {
        self.init.as_ref().ok_or_else(|| too_early("init"))
    }
}

/// What is known beside the journal of who is left in the cgroup.
pub(in crate::container) enum Left<'r> {
    /// Those who made it hold it open; its processes have been killed.
    Held { cgroup: Option<Cgroup>, unit: Option<String> },
    /// The processes that state.json names have ended; what else is in the cgroup, if that is the container's still, goes with it.
    Ended { cgroup: Option<Cgroup>, unit: Option<&'r str> },
    /// `create` was killed before it had written what it was to record: init dies with it.
    Unfinished,
    /// state.json cannot be read.
    Unknown,
}

/// [`ORDER`] is wrong.
fn too_early(what: &str) -> Error {
    Error::formatted(format_args!("a step wants the {what} before there is one"))
}
