//! A plan while it is written: operations and descriptors so far.

use std::ffi::CStr;

use pillbox_init::plan::operation::{JoinNetwork, SetDumpable, SetUndumpable, TakeTrees};
use pillbox_init::plan::{Operation, TAKEN_TREES_MAX, Tree};
use pillbox_init::wire::Numbers;

use super::Agent;
use super::{Descriptor, Host, Intent, Plan, RootInside};
use crate::error::Warning;
use crate::oci::Status;
use crate::root::RootSource;
use crate::validate::ValidSpec;

/// Collects operations and descriptors.
pub(super) struct Builder<'h> {
    pub(super) host: &'h Host,
    pub(super) operations: Vec<u8>,
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) warnings: Vec<Warning>,
    /// Whether init is still to join the network namespace that the runtime makes.
    pub(super) awaits_network: bool,
    /// What bind mounts come after in the list of mounts.
    pub(super) late: Late,
    /// Who answers the notifications of its filter.
    pub(super) notifications: Notifications,
    /// Who may look into it until it executes the program.
    pub(super) visible: Visible,
}

/// A tree of the host's.
pub(super) struct HostTree<'p, 'f> {
    pub(super) path: &'p CStr,
    /// For errors: which field asks for it.
    pub(super) field: &'f str,
    /// Whether the mounts below come along.
    pub(super) recursive: bool,
    pub(super) need: Need,
}

/// What a tree of the host's must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// There.
    Any,
    /// A procfs.
    Procfs,
    /// Nothing: a missing one is no error.
    Optional,
}

/// Who may look into an init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visible {
    /// Only who has rights over what it executed, which is of the runtime's user namespace.
    ToNobody,
    /// Whoever is the same user: without rights over that hooks and `exec` could not join it.
    ToItsUser,
}

/// Who answers the notifications of a filter (`SCMP_ACT_NOTIFY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notifications {
    /// The agent at `linux.seccomp.listenerPath`.
    Agent,
    /// Nobody: the calls fail with ENOSYS.
    Nobody,
}

/// The trees that are cloned when init asks for them.
#[derive(Default)]
pub(super) struct Late {
    /// Whether init has made a mount, so that those are listed in their order only if they are cloned after it.
    wanted: bool,
    /// How many times init asks before.
    turn: u32,
    /// Whether there is nobody to ask.
    none: bool,
    /// Where init asks for the next ones, and their indices.
    open: Option<(usize, Vec<u8>)>,
}

impl<'h> Builder<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        Builder {
            host,
            operations: Vec::with_capacity(8192),
            descriptors: Vec::new(),
            warnings: Vec::new(),
            awaits_network: false,
            late: Late::default(),
            notifications: Notifications::Agent,
            visible: Visible::ToNobody,
        }
    }

    /// Before the first operation that depends on the network namespace; as late as can be, for it takes its time.
    pub(super) fn join_network(&mut self) {
        if std::mem::take(&mut self.awaits_network) {
            self.push(JoinNetwork);
        }
    }

    /// Init makes a mount: what it asks for later is cloned later.
    pub(super) fn makes_mount(&mut self) {
        self.ask_for_trees();
        self.late.wanted = true;
    }

    /// Has the tree with this index cloned when it is its turn, if that matters.
    pub(super) fn clone_in_turn(&mut self, index: u32) {
        if !self.late.wanted || self.late.none {
            return;
        }
        if self.late.open.as_ref().is_some_and(|(_, indices)| indices.len() == 4 * TAKEN_TREES_MAX) {
            self.ask_for_trees();
        }
        // What comes through the channel comes in this order.
        self.join_network();
        if let Some(Descriptor::Tree { late, .. }) = self.descriptors.get_mut(index as usize) {
            *late = Some(self.late.turn);
            let at = self.operations.len();
            let (_, indices) = self.late.open.get_or_insert((at, Vec::new()));
            indices.extend(index.to_le_bytes());
        }
    }

    /// Has the runtime make the root when init asks for it, which is here.
    pub(super) fn ask_for_root(&mut self, source: RootSource, ids: (u32, u32)) -> u32 {
        let inside = Some(RootInside { turn: self.late.turn, ids });
        let index = self.descriptor(Descriptor::Root { source, inside });
        self.late.turn += 1;
        self.push(TakeTrees { trees: Numbers(&index.to_le_bytes()) });
        index
    }

    /// For a plan that has nobody to ask.
    pub(super) fn clones_all_before(&mut self) {
        self.late.none = true;
    }

    /// Writes where init asks for trees, once it is known for which.
    pub(super) fn ask_for_trees(&mut self) {
        if let Some((at, indices)) = self.late.open.take() {
            self.late.turn += 1;
            let mut ask = Vec::new();
            Operation::TakeTrees(TakeTrees { trees: Numbers(&indices) }).encode(&mut ask);
            self.operations.splice(at..at, ask);
        }
    }

    /// The plan of a process that makes and joins no namespaces.
    pub(super) fn finish(self, spec: &ValidSpec<'_>, intent: &Intent) -> Plan {
        let Builder { operations, descriptors, mut warnings, .. } = self;
        warnings.extend_from_slice(&spec.warnings);
        Plan {
            descriptors,
            oom_score_adj: spec.process.oom_score_adj,
            terminal: spec.process.terminal,
            preserve_fds: intent.preserve_fds,
            seccomp_agent: Agent::of(spec, &intent.id, &intent.bundle, Status::Creating),
            warnings,
            operations,
            ..Plan::default()
        }
    }

    /// Settles who may look in, which every change of the user unsettles (by fs.suid_dumpable).
    pub(super) fn set_visible(&mut self) {
        match self.visible {
            Visible::ToNobody => self.push(SetUndumpable),
            Visible::ToItsUser => self.push(SetDumpable),
        }
    }

    pub(super) fn push<'p>(&mut self, operation: impl Into<Operation<'p>>) {
        self.append(&operation.into());
    }

    fn append(&mut self, operation: &Operation<'_>) {
        operation.encode(&mut self.operations);
    }

    /// The index of the gate, for a container that waits there.
    pub(super) fn listener(&mut self, intent: &Intent) -> u32 {
        if !intent.wait_for_start {
            return u32::MAX;
        }
        let known = self.descriptors.iter().position(|descriptor| *descriptor == Descriptor::Listener);
        known.map_or_else(|| self.descriptor(Descriptor::Listener), |index| index as u32)
    }

    pub(super) fn descriptor(&mut self, descriptor: Descriptor) -> u32 {
        self.descriptors.push(descriptor);
        self.descriptors.len() as u32 - 1
    }

    /// A tree of the host's: opened by the runtime where it may, by init where only init may.
    pub(super) fn tree<'p>(&mut self, source: HostTree<'p, '_>) -> Tree<'p> {
        let HostTree { path, field, recursive, need } = source;
        if self.host.privileged {
            let path = path.to_owned();
            Tree::Descriptor(self.descriptor(Descriptor::Tree {
                path,
                recursive,
                field: field.to_string(),
                procfs: need == Need::Procfs,
                optional: need == Need::Optional,
                nofollow: false,
                late: None,
                idmap: None,
                node: None,
            }))
        } else {
            Tree::Path { path, recursive, nofollow: false }
        }
    }
}
