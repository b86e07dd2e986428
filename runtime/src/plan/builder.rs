//! A plan that is being written: the operations and descriptors so far.

use std::ffi::CStr;

use pillbox_init::plan::operation::{JoinNetwork, SendNetlinkSocket, SetDumpable, SetUndumpable, TakeTrees};
use pillbox_init::plan::{Operation, TAKEN_TREES_MAX, Tree};
use pillbox_init::wire::Numbers;
use rustix::process::{Gid, Uid};

use super::Agent;
use super::{Descriptor, Host, Intent, Need, Plan, RootInside};
use crate::error::Warning;
use crate::oci::Status;
use crate::root::RootSource;
use crate::validate::{NamespaceKind, ValidSpec};

/// Collects operations and descriptors.
pub(super) struct Builder<'h> {
    pub(super) host: &'h Host,
    /// The user namespace that init is in when it mounts.
    pub(super) user_namespace: UserNamespace,
    pub(super) operations: Vec<u8>,
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) warnings: Vec<Warning>,
    /// Whether init is still to join the network namespace that the runtime makes.
    pub(super) awaits_network: bool,
    /// Whether init sends a netlink socket as soon as it stands there.
    pub(super) sends_network: bool,
    /// The trees that have to be cloned after mounts that init makes.
    pub(super) late: Late,
    /// What answers the notifications of its filter.
    pub(super) notifications: Notifications,
    /// Which processes may look into it until it executes the program.
    pub(super) visible: Visible,
    /// Whether init is executed in the user namespace that it joins.
    pub(super) starts_in_user: bool,
}

/// The user namespace of an init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserNamespace {
    /// The initial one.
    Initial,
    /// The runtime's own, which is not the initial one.
    Runtimes,
    /// The container's, made or joined: init has all capabilities in it.
    Containers,
}

/// A mount tree of the host.
pub(super) struct HostTree<'p, 'f> {
    pub(super) path: &'p CStr,
    /// The field that asks for it, for errors.
    pub(super) field: &'f str,
    /// Whether the mounts below it are included.
    pub(super) recursive: bool,
    pub(super) need: Need,
}

/// Which processes may look into an init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visible {
    /// Only those with rights over its executable, which belongs to the runtime's user namespace.
    ToNobody,
    /// Those of the same user: otherwise hooks and `exec`, which have no such rights, could not join its
    /// namespaces.
    ToItsUser,
}

/// What answers the notifications of a filter (`SCMP_ACT_NOTIFY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notifications {
    /// The agent at `linux.seccomp.listenerPath`.
    Agent,
    /// Nothing: the calls fail with ENOSYS.
    Nobody,
}

/// The trees that are cloned when init asks for them.
#[derive(Default)]
pub(super) struct Late {
    /// Whether init has made a mount: trees have to be cloned after it to be listed after it.
    wanted: bool,
    /// The number of times that init has asked before.
    turn: u32,
    /// Whether no runtime answers, so that all trees are cloned before.
    none: bool,
    /// The place where init asks for the next trees, and their indices.
    open: Option<(usize, Vec<u8>)>,
}

impl<'h> Builder<'h> {
    /// For a process beside the container's.
    pub(super) fn new(host: &'h Host) -> Self {
        Builder {
            host,
            user_namespace: if host.in_user_namespace {
                UserNamespace::Runtimes
            } else {
                UserNamespace::Initial
            },
            operations: Vec::with_capacity(8192),
            descriptors: Vec::new(),
            warnings: Vec::new(),
            awaits_network: false,
            sends_network: false,
            late: Late::default(),
            notifications: Notifications::Agent,
            visible: Visible::ToNobody,
            starts_in_user: false,
        }
    }

    /// For a process of the container's.
    pub(super) fn of_container(host: &'h Host, spec: &ValidSpec<'_>) -> Self {
        let mut builder = Builder::new(host);
        if spec.namespace(NamespaceKind::User).is_some() {
            builder.user_namespace = UserNamespace::Containers;
        }
        builder
    }

    /// Whether init is in another user namespace than the initial one: some file systems and all devices are
    /// forbidden there.
    pub(super) fn in_user_namespace(&self) -> bool {
        self.user_namespace != UserNamespace::Initial
    }

    /// Called before the first operation that depends on the network namespace: as late as possible, because
    /// making it takes long.
    pub(super) fn join_network(&mut self) {
        if std::mem::take(&mut self.awaits_network) {
            self.push(JoinNetwork);
            if self.sends_network {
                self.push(SendNetlinkSocket);
            }
        }
    }

    /// Notes that init makes a mount: trees that it asks for later are cloned later.
    pub(super) fn makes_mount(&mut self) {
        self.ask_for_trees();
        self.late.wanted = true;
    }

    /// Has the tree with this index cloned when its turn in the list of mounts comes, if the order matters.
    pub(super) fn clone_in_turn(&mut self, index: u32) {
        if !self.late.wanted || self.late.none {
            return;
        }
        if self.late.open.as_ref().is_some_and(|(_, indices)| indices.len() == 4 * TAKEN_TREES_MAX) {
            self.ask_for_trees();
        }
        // The channel delivers the network namespace before these trees.
        self.join_network();
        if let Some(Descriptor::Tree { late, .. }) = self.descriptors.get_mut(index as usize) {
            *late = Some(self.late.turn);
            let at = self.operations.len();
            let (_, indices) = self.late.open.get_or_insert((at, Vec::new()));
            indices.extend(index.to_le_bytes());
        }
    }

    /// Makes init ask for the root at this point; the runtime makes it then.
    pub(super) fn ask_for_root(&mut self, source: RootSource, ids: (Uid, Gid)) -> u32 {
        let inside = Some(RootInside { turn: self.late.turn, ids });
        let index = self.descriptor(Descriptor::Root { source, inside });
        self.late.turn += 1;
        self.push(TakeTrees { trees: Numbers(&index.to_le_bytes()) });
        index
    }

    /// For a plan whose init cannot ask for trees.
    pub(super) fn clones_all_before(&mut self) {
        self.late.none = true;
    }

    /// Inserts the operation that asks for trees, once it is known which ones.
    pub(super) fn ask_for_trees(&mut self) {
        if let Some((at, indices)) = self.late.open.take() {
            self.late.turn += 1;
            let mut ask = Vec::new();
            Operation::TakeTrees(TakeTrees { trees: Numbers(&indices) }).encode(&mut ask);
            self.operations.splice(at..at, ask);
        }
    }

    /// The finished plan; it makes and joins no namespaces yet.
    pub(super) fn finish(self, spec: &ValidSpec<'_>, intent: &Intent) -> Plan {
        let Builder { operations, descriptors, mut warnings, starts_in_user, .. } = self;
        warnings.extend_from_slice(&spec.warnings);
        Plan {
            descriptors,
            oom_score_adj: spec.process.oom_score_adj,
            terminal: spec.process.terminal,
            preserve_fds: intent.preserve_fds,
            seccomp_agent: Agent::of(spec, &intent.id, &intent.bundle, Status::Creating),
            warnings,
            operations,
            starts_in_user,
            ..Plan::default()
        }
    }

    /// Sets which processes may look in. Every change of the user resets that (fs.suid_dumpable).
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

    /// The index of the gate, if the container waits there; else one that names no descriptor.
    pub(super) fn listener(&mut self, intent: &Intent) -> u32 {
        if !intent.wait_for_start {
            return u32::MAX;
        }
        let known = self.descriptors.iter().position(|descriptor| matches!(descriptor, Descriptor::Listener));
        known.map_or_else(|| self.descriptor(Descriptor::Listener), |index| index as u32)
    }

    pub(super) fn descriptor(&mut self, descriptor: Descriptor) -> u32 {
        self.descriptors.push(descriptor);
        self.descriptors.len() as u32 - 1
    }

    /// A mount tree of the host: the runtime opens it if it may, otherwise init does.
    pub(super) fn tree<'p>(&mut self, source: HostTree<'p, '_>) -> Tree<'p> {
        let HostTree { path, field, recursive, need } = source;
        if self.host.privileged {
            let path = path.to_owned();
            Tree::Descriptor(self.descriptor(Descriptor::Tree {
                path,
                recursive,
                field: field.to_string(),
                need,
                nofollow: false,
                late: None,
                idmap: None,
            }))
        } else {
            Tree::Path { path, recursive, nofollow: false }
        }
    }
}
