//! Host steps: what the runtime does around init to make a container, as data. [`ORDER`] is their order, and
//! each step describes itself for `explain`. What outlives the runtime is noted in the journal before it is
//! done; [`super::undo`] reads the journal backwards.

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
pub use super::line::Line;
use super::networks::Attached;
use super::options::CreateOptions;
use super::scope::Scope;
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result, Warning};
use crate::oci::ContainerId;
use crate::plan::Plan;
use crate::spawn::{Init, NewNetwork, Opened, Patience};
use crate::state::resctrl::Group;
use crate::state::{Record, Root, StateDirectory};

/// One step of the runtime.
pub(super) trait Step: Sync {
    /// Whether making this container needs it.
    fn is_for(&self, _: &Prepared<'_>) -> bool {
        true
    }

    /// As an [`Observer`](super::options::Observer) hears it: room and name, `network::Reserve`.
    fn name(&self) -> &'static str {
        let name = std::any::type_name::<Self>();
        name.split_once("::step::").map_or(name, |(_, name)| name)
    }

    /// Does it. Before it makes anything that outlives a killed runtime, it notes that in the journal.
    ///
    /// # Errors
    /// What failed, in one line, with the field of the configuration.
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()>;

    /// The kind of its errors that have no more precise one.
    fn kind(&self) -> Kind {
        Kind::Host
    }

    /// Its lines in `explain`; none for what is only the runtime's own bookkeeping.
    ///
    /// # Errors
    /// The configuration is wrong.
    fn lines(&self, _: &Prepared<'_>, _: &mut Vec<Line>) -> Result<()> {
        Ok(())
    }
}

/// All steps, in the order in which they are done. Before the state folder is made, nothing changes that
/// would outlive the runtime. From the clone on, init works in parallel with the steps, and waits where a
/// step says so.
const ORDER: &[&dyn Step] = &[
    &network::Begin,
    &open::Open,
    &state::MakeFolder,
    &network::Reserve,
    &network::WriteFiles,
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

/// A container while it is being made: what is wanted, and what exists so far.
pub(super) struct Making<'m, 'b> {
    pub root: &'m Root,
    pub id: &'m ContainerId,
    pub bundle: &'m Bundle,
    pub options: &'m CreateOptions,
    /// What ends the wait for init.
    pub patience: Patience,
    pub prepared: &'m Prepared<'b>,
    /// Replaces the prepared plan if the seed cannot be used.
    pub replanned: Option<Plan>,
    pub network: Option<NewNetwork>,
    pub opened: Opened,
    pub directory: Option<StateDirectory>,
    pub cgroup: Option<Cgroup>,
    /// The name of systemd's unit with that cgroup.
    pub unit: Option<String>,
    pub scope: Option<Scope>,
    pub group: Option<Group>,
    /// The number of device nodes in the state folder.
    pub nodes: u32,
    pub gate: Option<OwnedFd>,
    pub init: Option<Init>,
    /// Whether init has to be moved into its cgroup.
    pub attach: bool,
    pub record: Option<Record>,
    /// Its interfaces, decided and recorded.
    pub attached: Option<Attached>,
    /// What has to be said about what was done.
    pub warnings: Vec<Warning>,
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

/// What is known of the processes that are left in the cgroup, besides the journal.
pub(in crate::container) enum Left<'r> {
    /// The caller made the cgroup and has it open; its processes have been killed.
    Held { cgroup: Option<Cgroup>, unit: Option<String> },
    /// The processes that state.json names have ended. The others in the cgroup, if it is still the
    /// container's, are killed.
    Ended { cgroup: Option<Cgroup>, unit: Option<&'r str> },
    /// `create` was killed before it had written its record: init dies with it.
    Unfinished,
    /// state.json cannot be read.
    Unknown,
}

/// [`ORDER`] is wrong.
fn too_early(what: &str) -> Error {
    Error::formatted(format_args!("a step wants the {what} before there is one"))
}
