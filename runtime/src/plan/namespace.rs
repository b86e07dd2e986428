//! Namespaces: those made by the clone, those made by init, those joined; and the id maps.

use rustix::process::{Gid, Uid};

use super::Host;
use crate::error::{Error, Result};
use crate::oci::spec::IdMapping;
use crate::validate::{NamespaceKind, ValidSpec};

/// Namespaces to make and to join; all others are the runtime's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Made for the container.
    pub new: Vec<NamespaceKind>,
    /// Joined, with the path of each.
    pub joined: Vec<(NamespaceKind, String)>,
    /// Whether the runtime makes the network namespace while init mounts, and init joins it then.
    pub network_meanwhile: bool,
}

impl Namespaces {
    /// Whether the container gets a new one of this kind.
    pub fn makes(&self, kind: NamespaceKind) -> bool {
        self.new.contains(&kind)
    }

    /// Whether the container joins one of this kind.
    pub fn joins(&self, kind: NamespaceKind) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == kind)
    }

    /// CLONE_NEW* bits for the clone itself.
    pub fn made_by_clone(&self) -> u32 {
        let meanwhile = |kind| kind == NamespaceKind::Network && self.network_meanwhile;
        self.bits(|kind| !self.by_init(kind) && !meanwhile(kind))
    }

    /// Whether init makes it, not the clone. A cgroup namespace made by the clone would begin at the
    /// runtime's cgroup, and a time namespace must get its offsets before a process enters it. The message
    /// queues of an ipc namespace belong to the user that makes it: in a user namespace that is nobody until
    /// init has an id there.
    pub fn by_init(&self, kind: NamespaceKind) -> bool {
        let user = self.makes(NamespaceKind::User) || self.joins(NamespaceKind::User);
        self.makes(kind)
            && (matches!(kind, NamespaceKind::Cgroup | NamespaceKind::Time)
                || (kind == NamespaceKind::Ipc && user))
    }

    fn bits(&self, wanted: impl Fn(NamespaceKind) -> bool) -> u32 {
        self.new.iter().filter(|kind| wanted(**kind)).fold(0, |bits, kind| bits | kind.clone_flag())
    }
}

/// How id maps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By the runtime, which has the rights for any map.
    Privileged,
    /// By an ordinary user, for the user's own id alone; setgroups(2) has to be given up.
    Own,
    /// By newuidmap(1) and newgidmap(1), for ranges that the administrator has granted.
    Helpers,
    /// Not at all: the user namespace is joined, and its maps must be these.
    Joined,
}

/// The id maps of a new user namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Mappings {
    /// uid_map, line by line. If the namespace is joined, an empty map stands for any.
    pub uid: Vec<IdMapping>,
    /// gid_map, line by line.
    pub gid: Vec<IdMapping>,
    /// How they are written.
    pub method: Method,
}

impl Mappings {
    /// The ids that init takes: root's if it is mapped, else the first mapped one.
    pub fn first_ids(&self) -> (Uid, Gid) {
        let first = |map: &[IdMapping]| {
            let root = map.iter().any(|mapping| mapping.container_id == 0);
            if root { 0 } else { map.first().map_or(0, |mapping| mapping.container_id) }
        };
        (Uid::from_raw(first(&self.uid)), Gid::from_raw(first(&self.gid)))
    }
}

pub fn compile(spec: &ValidSpec<'_>) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for namespace in &spec.namespaces {
        match &namespace.path {
            Some(path) => namespaces.joined.push((namespace.kind, path.to_string())),
            None => namespaces.new.push(namespace.kind),
        }
    }
    Ok(namespaces)
}

/// How the maps of the container's user namespace can be written.
pub fn choose_method(spec: &ValidSpec<'_>, host: &Host) -> Method {
    let made = spec.namespace(NamespaceKind::User).is_some_and(|namespace| namespace.path.is_none());
    let own = |map: &[IdMapping], id: u32| match map {
        [] => made,
        [one] => one.size == 1 && one.host_id == id,
        _ => false,
    };
    if host.privileged {
        Method::Privileged
    } else if own(&spec.uid_mappings, host.uid.as_raw()) && own(&spec.gid_mappings, host.gid.as_raw()) {
        Method::Own
    } else {
        Method::Helpers
    }
}

pub fn compile_mappings(
    spec: &ValidSpec<'_>,
    namespaces: &Namespaces,
    host: &Host,
) -> Result<Option<Mappings>> {
    if !namespaces.makes(NamespaceKind::User) {
        if !host.privileged && !namespaces.joins(NamespaceKind::User) {
            return Err(Error::new(
                "linux.namespaces: an ordinary user needs a user namespace: `pillbox spec --rootless` writes such a config.json",
            ));
        }
        // A caller that gives maps relies on them: files that it prepares outside must have the right owners
        // inside.
        let given = !spec.uid_mappings.is_empty() || !spec.gid_mappings.is_empty();
        let (uid, gid) = (spec.uid_mappings.to_vec(), spec.gid_mappings.to_vec());
        return Ok(given.then_some(Mappings { uid, gid, method: Method::Joined }));
    }
    let method = choose_method(spec, host);
    if method == Method::Own && !spec.process.user.additional_gids.is_empty() {
        return Err(Error::new(
            "process.user.additionalGids: an ordinary user may not set groups with a single gid mapped: \
             map a range (linux.gidMappings) or leave them out",
        ));
    }
    // Without a given map the caller is the container's root.
    let map = |given: &[IdMapping], host_id| match given {
        [] => vec![IdMapping { container_id: 0, host_id, size: 1 }],
        given => given.to_vec(),
    };
    let uid = map(&spec.uid_mappings, host.uid.as_raw());
    let gid = map(&spec.gid_mappings, host.gid.as_raw());
    Ok(Some(Mappings { uid, gid, method }))
}
