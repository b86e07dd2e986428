//! What has to be open before the clone: mount trees and namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;

use super::namespace::open_namespace;
use super::owners::OwnerNamespaces;
use super::{SpawnError, spawn};
use crate::error::{Context, Error, Result};
use crate::host::seed;
use crate::plan::{Descriptor, Need, Plan, RootInside};
use crate::spawn::{device_node, network};
use crate::sys;
use crate::validate::NamespaceKind;

/// Looks whether a container's first process has ended or is ending.
pub type ContainerEnds = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the plan needs, opened; this changes nothing on the host.
#[derive(Default)]
pub struct Opened {
    pub(super) descriptors: Vec<Option<OwnedFd>>,
    pub(super) joined: Vec<(OwnedFd, u32)>,
    /// Streams that init gets instead of the runtime's stdin, stdout and stderr, with their numbers.
    pub stdio: Vec<(OwnedFd, u32)>,
    /// What ends the wait for init.
    pub patience: Patience,
    /// Whether the container that init enters is ending: then the wait ends, too.
    pub container_ends: Option<ContainerEnds>,
    /// The network namespace, if it is being made already.
    pub(super) network: Option<NewNetwork>,
}

/// How long the runtime waits for init, whose cgroup may be frozen, or which may hang on a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Patience {
    /// Until it sends a message or has ended. The caller's signals are not blocked.
    #[default]
    Endless,
    /// Also until a signal comes with which people and managers end programs. The caller has these blocked.
    UntilSignal,
}

/// A signalfd for those signals.
pub(super) struct Interruption(OwnedFd);

impl Interruption {
    /// Watches for them.
    pub(super) fn open() -> Result<Interruption> {
        let ending = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
        let mask = ending.iter().fold(0u64, |mask, signal| mask | 1 << (signal.as_raw() - 1));
        sys::signalfd(mask).map(Interruption).context(|| "signalfd")
    }

    /// The descriptor, which polls readable when one has come.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A network namespace that is being made, and the channel through which it arrives.
pub struct NewNetwork {
    pub(super) making: network::Making,
    pub(super) channel: Channel,
}

impl NewNetwork {
    /// Begins to make one.
    ///
    /// # Errors
    /// No thread or no socket can be made.
    pub fn begin() -> Result<NewNetwork> {
        let channel = Channel::open()?;
        Ok(NewNetwork { making: network::Making::begin(&channel.ours)?, channel })
    }
}

/// The runtime's end of init's socket, and init's.
pub(super) struct Channel {
    pub ours: OwnedFd,
    pub theirs: OwnedFd,
}

impl Channel {
    pub(super) fn open() -> Result<Channel> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .context(|| "socketpair")?;
        Ok(Channel { ours, theirs })
    }
}

impl Opened {
    /// For a plan that runs inside a container: its descriptors, and the namespaces to enter, as a pidfd of a
    /// process in them and their CLONE_NEW* bits.
    pub fn inside(descriptors: Vec<Option<OwnedFd>>, enter: Option<(OwnedFd, u32)>) -> Opened {
        let joined = enter.into_iter().filter(|(_, flags)| *flags != 0).collect();
        Opened { descriptors, joined, ..Opened::default() }
    }

    /// Adds the descriptors that the caller gives to a plan inside a container, in the plan's order, and the
    /// namespaces to enter, as for [`Self::inside`].
    pub fn and_given(
        mut self,
        plan: &Plan,
        mut given: impl Iterator<Item = OwnedFd>,
        enter: (OwnedFd, u32),
    ) -> Opened {
        for (descriptor, opened) in plan.descriptors.iter().zip(&mut self.descriptors) {
            if matches!(descriptor, Descriptor::Given) {
                *opened = given.next();
            }
        }
        self.joined.extend(Some(enter).filter(|(_, flags)| *flags != 0));
        self
    }

    /// The namespace of that kind that is joined.
    pub fn joined(&self, kind: NamespaceKind) -> Option<&OwnedFd> {
        self.joined.iter().find(|(_, flags)| *flags == kind.clone_flag()).map(|(namespace, _)| namespace)
    }

    /// The tree that becomes the container's root.
    pub fn root(&self, plan: &Plan) -> Option<&OwnedFd> {
        let is_root = |wanted: &Descriptor| matches!(wanted, Descriptor::Tree { need: Need::Root, .. });
        self.descriptors.get(plan.descriptors.iter().position(is_root)?)?.as_ref()
    }
}

/// Opens the trees and namespaces that the plan names.
///
/// # Errors
/// A tree or namespace is missing or of the wrong kind; the error names its field.
pub fn open(plan: &Plan, network: Option<NewNetwork>) -> Result<Opened> {
    let mut opened = Opened { network, ..Opened::inside(Vec::new(), None) };
    // A time namespace is among the descriptors: init joins it by an operation.
    for (kind, path) in plan.namespaces.joined.iter().filter(|(kind, _)| *kind != NamespaceKind::Time) {
        opened.joined.push((open_namespace(*kind, path)?, kind.clone_flag()));
    }
    let mut owners = OwnerNamespaces::default();
    opened.descriptors = plan
        .descriptors
        .iter()
        .map(|descriptor| match descriptor {
            // It is made later: see `open_made`.
            Descriptor::Tree { need: Need::Optional, .. } if !plan.namespaces.new.is_empty() => Ok(None),
            descriptor => open_descriptor(descriptor, &mut owners),
        })
        .collect::<Result<_>>()?;
    Ok(opened)
}

impl Opened {
    /// Opens what did not exist before the state folder and the cgroup were made: that cgroup, in case
    /// mounting a cgroup file system is refused, and device nodes that the host does not have, which are made
    /// in the state folder `folder`.
    ///
    /// Returns the number of device nodes.
    pub fn open_made(&mut self, plan: &Plan, folder: BorrowedFd<'_>) -> Result<u32> {
        let mut made = 0;
        for (descriptor, opened) in plan.descriptors.iter().zip(&mut self.descriptors) {
            match (descriptor, &opened) {
                (Descriptor::Tree { need: Need::Optional, .. }, None) => {
                    *opened = open_descriptor(descriptor, &mut OwnerNamespaces::default())?;
                }
                (Descriptor::Tree { need: Need::Device(node), path, .. }, None) => {
                    let step = || format!("linux.devices: make {}", path.to_string_lossy());
                    *opened = Some(device_node::make(folder, made, node).context(step)?);
                    made += 1;
                }
                _ => {}
            }
        }
        Ok(made)
    }

    /// The user namespace that is joined.
    pub(super) fn joined_users(&self) -> Option<BorrowedFd<'_>> {
        let users = self.joined.iter().find(|(_, flags)| *flags == NamespaceKind::User.clone_flag());
        users.map(|(namespace, _)| namespace.as_fd())
    }

    /// Opens or makes a root to which no path leads, unless it has to be made in init's namespaces.
    ///
    /// # Errors
    /// Something is missing or refused.
    pub fn open_root(&mut self, plan: &Plan) -> Result<()> {
        for (descriptor, opened) in plan.descriptors.iter().zip(&mut self.descriptors) {
            if let Descriptor::Root { source, inside: None } = descriptor {
                *opened = source.open()?;
            }
        }
        Ok(())
    }

    /// Clones the trees that init asks for, after it has asked for others `turn` times.
    ///
    /// # Errors
    /// A mount cannot be cloned or id-mapped, and the error names its field; a root cannot be made where
    /// `init` is.
    pub(super) fn clone_late(&self, plan: &Plan, turn: u32, init: &OwnedFd) -> Result<Vec<OwnedFd>> {
        let mut owners = OwnerNamespaces::default();
        let mut trees = Vec::new();
        for (descriptor, place) in plan.descriptors.iter().zip(&self.descriptors) {
            if let Descriptor::Root { source, inside: Some(RootInside { turn: of, ids }) } = descriptor
                && *of == turn
            {
                // Others stand in a user namespace that was there before.
                let unseen = plan.starts_in_user.then(sys::Unseen::begin).transpose();
                let _unseen = unseen.context(|| "prctl(PR_SET_DUMPABLE)")?;
                trees.extend(source.open_inside(init.as_fd(), *ids)?);
            }
            let (Descriptor::Tree { path, recursive, field, late, idmap, .. }, Some(place)) =
                (descriptor, place)
            else {
                continue;
            };
            if *late != Some(turn) {
                continue;
            }
            let step = || format!("{field}: {}", path.to_string_lossy());
            let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            flags.set(OpenTreeFlags::AT_RECURSIVE, *recursive);
            let tree = rustix::mount::open_tree(place, c"", flags).context(step)?;
            if let Some(idmap) = idmap {
                owners.map_mount(&tree, idmap).context(step)?;
            }
            trees.push(tree);
        }
        Ok(trees)
    }
}

/// Opens the tree with this index again, without the mount namespaces that are pinned in it.
pub(super) fn open_attachable(plan: &Plan, index: u32) -> Option<OwnedFd> {
    seed::hide_pin();
    let mut again = plan.descriptors.get(index as usize)?.clone();
    let Descriptor::Tree { late, idmap, need, .. } = &mut again else { return None };
    // A root that is mounted in the host's namespace was noted, to be found again: it must not be another
    // mount.
    if plan.mounts_at.is_some() && *need == Need::Root {
        return None;
    }
    *late = None;
    let idmap = idmap.take();
    let (mut tree, mut owners) = (None, OwnerNamespaces::default());
    sys::in_mount_copy(&mut || {
        tree = open_descriptor(&again, &mut owners).ok().flatten();
        Ok(())
    })
    .ok()?;
    let tree = tree?;
    idmap.map_or(Ok(()), |idmap| owners.map_mount(&tree, &idmap)).ok().map(|()| tree)
}

/// Makes a file system in a namespace that others are in, through a process without memory or descriptors of
/// this one.
fn make_file_system(
    namespace: (NamespaceKind, String),
    operations: Vec<u8>,
) -> std::result::Result<OwnedFd, SpawnError> {
    let plan = Plan::within(namespace, operations);
    let mut init = spawn(&plan, &mut open(&plan, None)?, None, None, None)?;
    let made = init.take_file_system();
    init.kill()?;
    Ok(made?)
}

fn open_descriptor(descriptor: &Descriptor, owners: &mut OwnerNamespaces) -> Result<Option<OwnedFd>> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    let (path, recursive, field, late, need, nofollow, idmap) = match descriptor {
        Descriptor::Tree { path, recursive, field, late, need, nofollow, idmap } => {
            (path, recursive, field, late, need, nofollow, idmap)
        }
        Descriptor::Namespace(kind, path) => return open_namespace(*kind, path).map(Some),
        // Init tries to mount it first. If both fail, init reports its own error.
        Descriptor::FileSystem { namespace, operations, kind: _ } => {
            return Ok(make_file_system(namespace.clone(), operations.clone()).ok());
        }
        // See `open_root`.
        Descriptor::Root { .. } | Descriptor::Listener | Descriptor::Given => return Ok(None),
    };
    let step = || format!("{field}: {}", path.to_string_lossy());
    let mut flags = OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::OPEN_TREE_CLONE, late.is_none());
    flags.set(OpenTreeFlags::AT_RECURSIVE, *recursive && late.is_none());
    flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, *nofollow);
    let open = || rustix::mount::open_tree(CWD, path, flags);
    let tree = match open() {
        Err(Errno::PERM) if late.is_none() && sys::user_namespace::leave_mounts_above() => open(),
        tree => tree,
    };
    let tree = match tree {
        Err(_) if *need == Need::Optional => return Ok(None),
        Err(Errno::NOENT) if matches!(need, Need::Device(_)) => return Ok(None),
        tree => tree.context(step).map_err(Error::of_source)?,
    };
    if let Need::Device(node) = need
        && !device_node::is(&tree, node).context(step)?
    {
        return Ok(None);
    }
    if *need == Need::Procfs && rustix::fs::fstatfs(&tree).context(step)?.f_type as u64 != PROC_SUPER_MAGIC {
        return Err(Error::formatted(format_args!("{}: only procfs may be mounted on /proc", step())));
    }
    if let (Some(idmap), None) = (idmap, late) {
        // The maps can be set only while the mount is attached nowhere.
        owners.map_mount(&tree, idmap).context(step)?;
    }
    Ok(Some(tree))
}
