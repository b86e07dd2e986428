//! What can be checked in a configuration without asking the kernel, by config.md and config-linux.md of the
//! specification 1.3, and by runc where those leave something open. The result has another type, and is known
//! to be complete, consistent and of known kinds. Every error begins with the field that is wrong.
//!
//! May use `oci` and every room below it.

mod device;
mod id_mapping;
mod linux;
#[cfg(test)]
mod linux_tests;
mod mount;
mod namespace;
pub mod number_list;
mod process;
mod resources;
mod sysctl;
#[cfg(test)]
mod tests;
mod text;
mod user;

use std::fmt;

use rustix::process::{Gid, Uid};

use crate::error::{Result, Warning};
use crate::oci::spec::json::{List, Map, Text};
use crate::oci::spec::linux::{
    IntelRdt, Linux, MemoryPolicy, NetDevice, Personality, Resources, Seccomp, TimeOffset,
};
use crate::oci::spec::{Hook, Hooks, IdMapping, Mount, Root, Spec};

use text::{check_absolute, check_optional, check_text, check_texts, reject};

pub use device::{DeviceKind, ValidDevice};
pub(crate) use linux::validate_intel_rdt;
pub use mount::RootfsPropagation;
pub use namespace::{NamespaceKind, ValidNamespace};
pub use process::{ValidProcess, ValidRlimit, validate_process};
pub use resources::validate_resources;
pub use sysctl::{sysctl_owner, sysctl_path};
pub use user::ValidUser;

/// A configuration that keeps all rules of the specification.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)] // the fields are the specification's
pub struct ValidSpec<'a> {
    pub oci_version: Text<'a>,
    pub root: Root<'a>,
    pub process: ValidProcess<'a>,
    pub hostname: Option<Text<'a>>,
    pub domainname: Option<Text<'a>>,
    /// The destinations are absolute.
    pub mounts: List<Mount<'a>>,
    pub hooks: Hooks<'a>,
    pub annotations: Map<'a, Text<'a>>,
    /// At most one of each kind.
    pub namespaces: Vec<ValidNamespace<'a>>,
    /// Mappings of the user namespace to make; for one to join, what the caller says they are.
    pub uid_mappings: List<IdMapping>,
    pub gid_mappings: List<IdMapping>,
    /// Keys as written; [`sysctl_path`] turns one into a path.
    pub sysctl: Map<'a, Text<'a>>,
    pub resources: Resources<'a>,
    pub cgroups_path: Option<Text<'a>>,
    pub devices: Vec<ValidDevice<'a>>,
    pub net_devices: Map<'a, NetDevice<'a>>,
    pub seccomp: Option<Seccomp<'a>>,
    pub rootfs_propagation: RootfsPropagation,
    /// Whether the propagation holds for all mounts (`rshared`), not only for the root.
    pub rootfs_propagation_recursive: bool,
    pub masked_paths: List<Text<'a>>,
    pub readonly_paths: List<Text<'a>>,
    pub mount_label: Option<Text<'a>>,
    pub intel_rdt: Option<IntelRdt<'a>>,
    pub memory_policy: Option<MemoryPolicy<'a>>,
    pub personality: Option<Personality<'a>>,
    pub time_offsets: Map<'a, TimeOffset>,
    /// What is dubious, but not an error.
    pub warnings: Vec<Warning>,
}

impl<'a> ValidSpec<'a> {
    /// The namespace of a kind, to make or to join; `None` if the runtime's own is inherited.
    pub fn namespace(&self, kind: NamespaceKind) -> Option<&ValidNamespace<'a>> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// The user on the host of one in the container's user namespace; `None` if it is not mapped.
    pub fn host_uid(&self, uid: Uid) -> Option<Uid> {
        IdMapping::host_id(&self.uid_mappings, uid.as_raw()).map(Uid::from_raw)
    }

    /// The group on the host of one in the container's user namespace; `None` if it is not mapped.
    pub fn host_gid(&self, gid: Gid) -> Option<Gid> {
        IdMapping::host_id(&self.gid_mappings, gid.as_raw()).map(Gid::from_raw)
    }

    /// Whether an annotation is set to anything but "0": the rule for crun's annotations.
    pub fn is_annotated(&self, name: &str) -> bool {
        self.annotations.iter().any(|(key, value)| &**key == name && &**value != "0")
    }
}

/// Checks a whole configuration.
///
/// # Errors
/// The first broken rule; the text begins with the field.
pub fn validate<'a>(mut spec: Spec<'a>) -> Result<ValidSpec<'a>> {
    let mut warnings = Vec::new();
    // config.md requires a process only for `start`: without one there are no arguments.
    let process = match spec.process.take() {
        Some(process) => validate_process(process, &mut warnings)?,
        None => ValidProcess { cwd: "/".into(), ..ValidProcess::default() },
    };
    // Checked in place and taken apart afterwards: the other way round, each error path would drop two dozen
    // values.
    let Checked { namespaces, devices, rootfs_propagation, rootfs_propagation_recursive } =
        check(&mut spec, &mut warnings)?;

    let Spec { oci_version, root, process: _, hostname, domainname, mounts, hooks, annotations, linux } =
        spec;
    let Linux {
        uid_mappings,
        gid_mappings,
        sysctl,
        resources,
        cgroups_path,
        namespaces: _,
        devices: _,
        net_devices,
        seccomp,
        rootfs_propagation: _,
        masked_paths,
        readonly_paths,
        mount_label,
        intel_rdt,
        memory_policy,
        personality,
        time_offsets,
    } = linux.unwrap_or_default();
    Ok(ValidSpec {
        oci_version,
        root: root.unwrap_or_default(),
        process,
        hostname,
        domainname,
        mounts,
        hooks: hooks.unwrap_or_default(),
        annotations,
        namespaces,
        uid_mappings,
        gid_mappings,
        sysctl,
        resources: resources.unwrap_or_default(),
        cgroups_path,
        devices,
        net_devices,
        seccomp,
        rootfs_propagation,
        rootfs_propagation_recursive,
        masked_paths,
        readonly_paths,
        mount_label,
        intel_rdt,
        memory_policy,
        personality,
        time_offsets,
        warnings,
    })
}

/// The parts that have another type after the check.
struct Checked<'a> {
    namespaces: Vec<ValidNamespace<'a>>,
    devices: Vec<ValidDevice<'a>>,
    rootfs_propagation: RootfsPropagation,
    rootfs_propagation_recursive: bool,
}

/// Checks everything but the process. Empty strings become absent, and relative destinations absolute.
fn check<'a>(spec: &mut Spec<'a>, warnings: &mut Vec<Warning>) -> Result<Checked<'a>> {
    let Spec { oci_version, root, process: _, hostname, domainname, mounts, hooks, annotations, linux } =
        spec;
    let Linux {
        uid_mappings,
        gid_mappings,
        sysctl,
        resources,
        cgroups_path,
        namespaces,
        devices,
        net_devices,
        seccomp,
        rootfs_propagation,
        masked_paths,
        readonly_paths,
        mount_label,
        intel_rdt,
        memory_policy,
        personality,
        time_offsets,
    } = linux.get_or_insert_default();

    validate_version(oci_version)?;
    validate_root(root.as_ref())?;
    let namespaces = namespace::validate_namespaces(namespaces)?;
    id_mapping::validate_user_namespace(&namespaces, uid_mappings, gid_mappings)?;
    validate_host_name(format_args!("hostname"), hostname, &namespaces)?;
    validate_host_name(format_args!("domainname"), domainname, &namespaces)?;
    for (index, mount) in mounts.0.iter_mut().enumerate() {
        mount::validate_mount(index, mount, &namespaces, warnings)?;
    }
    validate_hooks(hooks.as_ref())?;
    if annotations.iter().any(|(key, _)| key.is_empty()) {
        reject!("annotations: a key is empty");
    }
    validate_resources(resources.get_or_insert_default())?;
    linux::validate_cgroups_path(cgroups_path)?;
    namespace::validate_time_offsets(time_offsets, &namespaces)?;
    namespace::validate_net_devices(net_devices, &namespaces)?;
    sysctl::validate_sysctl(sysctl, &namespaces, domainname.as_deref())?;
    mount::validate_restricted_paths(format_args!("linux.maskedPaths"), masked_paths, &namespaces)?;
    mount::validate_restricted_paths(format_args!("linux.readonlyPaths"), readonly_paths, &namespaces)?;
    check_optional(format_args!("linux.mountLabel"), mount_label)?;
    linux::validate_seccomp_listener(seccomp.as_ref())?;
    validate_intel_rdt(intel_rdt.as_ref())?;
    linux::validate_memory_policy(memory_policy.as_ref())?;
    linux::validate_personality(personality.as_ref())?;
    Ok(Checked {
        devices: device::validate_devices(devices)?,
        rootfs_propagation: mount::parse_propagation(rootfs_propagation.as_deref())?,
        rootfs_propagation_recursive: rootfs_propagation.as_ref().is_some_and(|word| word.starts_with('r')),
        namespaces,
    })
}

fn validate_version(version: &str) -> Result<()> {
    if version.is_empty() {
        reject!("ociVersion: missing: write \"1.3.0\"");
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |digits: &&str| {
        !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'))
    };
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        reject!("ociVersion: {version:?} is not a version such as \"1.3.0\"");
    }
    if numbers[0] != "1" {
        reject!("ociVersion: {version:?} is not supported: this runtime follows 1.x");
    }
    Ok(())
}

fn validate_root(root: Option<&Root<'_>>) -> Result<()> {
    let Some(Root { path, readonly: _ }) = root else {
        reject!("root: missing: a container needs a root file system");
    };
    check_text(format_args!("root.path"), path)?;
    if path.is_empty() {
        reject!("root.path: missing: write a folder, such as \"rootfs\"");
    }
    Ok(())
}

fn validate_host_name(
    field: fmt::Arguments<'_>,
    name: &mut Option<Text<'_>>,
    namespaces: &[ValidNamespace<'_>],
) -> Result<()> {
    check_optional(field, name)?;
    let Some(name) = name.as_deref() else { return Ok(()) };
    if namespace::find(namespaces, NamespaceKind::Uts).is_none() {
        reject!("{field}: {name:?} needs a UTS namespace: add \"uts\" to linux.namespaces");
    }
    // sethostname(2): __NEW_UTS_LEN.
    if name.len() > 64 {
        reject!("{field}: {name:?} has {} bytes, more than the limit of 64", name.len());
    }
    Ok(())
}

fn validate_hooks(hooks: Option<&Hooks<'_>>) -> Result<()> {
    let Some(hooks) = hooks else { return Ok(()) };
    for (kind, hooks) in hooks.by_kind() {
        for (index, Hook { path, args, env, timeout }) in hooks.iter().enumerate() {
            let field = format_args!("hooks.{kind}[{index}]");
            check_absolute(format_args!("{field}.path"), path)?;
            check_texts(format_args!("{field}.args"), args)?;
            check_texts(format_args!("{field}.env"), env)?;
            if let Some(timeout @ ..=0) = timeout {
                reject!("{field}.timeout: {timeout} is not a number of seconds above 0");
            }
        }
    }
    Ok(())
}
