//! Everything that can be said about a configuration without asking the kernel: `Spec` goes in, and what
//! comes out cannot be contradictory, incomplete or of an unknown kind any more.
//!
//! Sources: `config.md` and `config-linux.md` of the runtime specification 1.3, and runc where those leave
//! something open. Every error begins with the field that is wrong.

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

use crate::error::Result;
use crate::spec::json::{List, Map, Text};
use crate::spec::linux::{
    IntelRdt, Linux, MemoryPolicy, NetDevice, Personality, Resources, Seccomp, TimeOffset,
};
use crate::spec::{Hook, Hooks, IdMapping, Mount, Root, Spec};

use text::{check_absolute, check_text, check_texts, optional};

pub use device::{DeviceKind, ValidDevice};
pub use mount::RootfsPropagation;
pub use namespace::{NamespaceKind, ValidNamespace};
pub use process::{ValidProcess, ValidRlimit, validate_process};
pub use resources::validate_resources;
pub use sysctl::sysctl_path;

/// A configuration that keeps all of the specification's rules.
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
    /// Of the user namespace to make, or said to be those of the one to join.
    pub uid_mappings: List<IdMapping>,
    pub gid_mappings: List<IdMapping>,
    /// As written; [`sysctl_path`] makes a path of a key.
    pub sysctl: Map<'a, Text<'a>>,
    pub resources: Resources<'a>,
    pub cgroups_path: Option<Text<'a>>,
    pub devices: Vec<ValidDevice<'a>>,
    pub net_devices: Map<'a, NetDevice<'a>>,
    pub seccomp: Option<Seccomp<'a>>,
    pub rootfs_propagation: RootfsPropagation,
    pub masked_paths: List<Text<'a>>,
    pub readonly_paths: List<Text<'a>>,
    pub mount_label: Option<Text<'a>>,
    pub intel_rdt: Option<IntelRdt<'a>>,
    pub memory_policy: Option<MemoryPolicy<'a>>,
    pub personality: Option<Personality<'a>>,
    pub time_offsets: Map<'a, TimeOffset>,
    /// What is dubious, but no error.
    pub warnings: Vec<String>,
}

impl<'a> ValidSpec<'a> {
    /// The namespace of a kind, to make or to join; None: the runtime's own is inherited.
    pub fn namespace(&self, kind: NamespaceKind) -> Option<&ValidNamespace<'a>> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }
}

/// Leaves the function with an error.
macro_rules! reject {
    ($($message:tt)*) => { return Err($crate::error::Error::new(format!($($message)*))) };
}
use reject;

/// Checks a whole configuration.
///
/// # Errors
/// The first rule that is broken; the text begins with the field.
pub fn validate<'a>(spec: Spec<'a>) -> Result<ValidSpec<'a>> {
    let Spec { oci_version, root, process, hostname, domainname, mounts, hooks, annotations, linux } = spec;
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
    } = linux.unwrap_or_default();
    let mut warnings = Vec::new();

    validate_version(&oci_version)?;
    let root = validate_root(root)?;
    let Some(process) = process else { reject!("process: missing: a container needs a process to run") };
    let process = validate_process(process, &mut warnings)?;
    let namespaces = namespace::validate_namespaces(&namespaces)?;
    id_mapping::validate_user_namespace(&namespaces, &uid_mappings, &gid_mappings)?;
    let has_user_namespace = namespace::find(&namespaces, NamespaceKind::User).is_some();
    let mounts = mounts.0.into_iter().enumerate();
    let mounts =
        mounts.map(|(index, mount)| mount::validate_mount(index, mount, has_user_namespace, &mut warnings));
    let mounts = List(mounts.collect::<Result<_>>()?);
    let hooks = hooks.unwrap_or_default();
    validate_hooks(&hooks)?;
    if annotations.iter().any(|(key, _)| key.is_empty()) {
        reject!("annotations: a key is empty");
    }
    let resources = resources.unwrap_or_default();
    validate_resources(&resources)?;
    namespace::validate_time_offsets(&time_offsets, &namespaces)?;
    namespace::validate_net_devices(&net_devices, &namespaces)?;
    sysctl::validate_sysctl(&sysctl, &namespaces)?;
    mount::validate_restricted_paths("linux.maskedPaths", &masked_paths, &namespaces)?;
    mount::validate_restricted_paths("linux.readonlyPaths", &readonly_paths, &namespaces)?;
    linux::validate_seccomp_listener(seccomp.as_ref())?;
    linux::validate_intel_rdt(intel_rdt.as_ref())?;
    linux::validate_memory_policy(memory_policy.as_ref())?;
    linux::validate_personality(personality.as_ref())?;

    Ok(ValidSpec {
        oci_version,
        root,
        process,
        hostname: validate_host_name("hostname", hostname, &namespaces)?,
        domainname: validate_host_name("domainname", domainname, &namespaces)?,
        mounts,
        hooks,
        annotations,
        uid_mappings,
        gid_mappings,
        sysctl,
        resources,
        cgroups_path: linux::validate_cgroups_path(cgroups_path)?,
        devices: device::validate_devices(devices)?,
        net_devices,
        seccomp,
        rootfs_propagation: mount::parse_propagation(rootfs_propagation)?,
        masked_paths,
        readonly_paths,
        mount_label: optional("linux.mountLabel", mount_label)?,
        intel_rdt,
        memory_policy,
        personality,
        time_offsets,
        namespaces,
        warnings,
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

fn validate_root(root: Option<Root<'_>>) -> Result<Root<'_>> {
    let Some(root) = root else { reject!("root: missing: a container needs a root file system") };
    let Root { path, readonly: _ } = &root;
    check_text(format_args!("root.path"), path)?;
    if path.is_empty() {
        reject!("root.path: missing: write a folder, such as \"rootfs\"");
    }
    Ok(root)
}

fn validate_host_name<'a>(
    field: &str,
    name: Option<Text<'a>>,
    namespaces: &[ValidNamespace<'_>],
) -> Result<Option<Text<'a>>> {
    let Some(name) = optional(field, name)? else { return Ok(None) };
    if namespace::find(namespaces, NamespaceKind::Uts).is_none() {
        reject!("{field}: {:?} needs a UTS namespace: add \"uts\" to linux.namespaces", &*name);
    }
    // sethostname(2): __NEW_UTS_LEN.
    if name.len() > 64 {
        reject!("{field}: {:?} has {} bytes, more than the limit of 64", &*name, name.len());
    }
    Ok(Some(name))
}

fn validate_hooks(hooks: &Hooks<'_>) -> Result<()> {
    let Hooks { prestart, create_runtime, create_container, start_container, poststart, poststop } = hooks;
    for (kind, hooks) in [
        ("prestart", prestart),
        ("createRuntime", create_runtime),
        ("createContainer", create_container),
        ("startContainer", start_container),
        ("poststart", poststart),
        ("poststop", poststop),
    ] {
        for (index, Hook { path, args, env, timeout }) in hooks.iter().enumerate() {
            let field = format!("hooks.{kind}[{index}]");
            check_absolute(format_args!("{field}.path"), path)?;
            check_texts(&format!("{field}.args"), args)?;
            check_texts(&format!("{field}.env"), env)?;
            if let Some(timeout @ ..=0) = timeout {
                reject!("{field}.timeout: {timeout} is not a number of seconds above 0");
            }
        }
    }
    Ok(())
}
