//! Spec → plan: pure functions that decide everything before anything happens. [`compile`] writes init's
//! operations in the order of effects that callers rely on, and lists what the runtime must open, make and
//! join before the clone. It asks the kernel nothing: [`Host`] has what it must know about the machine.
//!
//! May use `resources` and every room below it.

mod agent;
pub(crate) mod attribute;
mod builder;
#[cfg(test)]
mod completeness_tests;
mod descriptor;
mod device;
mod exec;
mod host;
pub(crate) mod hosts_own;
mod identity;
mod intent;
mod live_mount;
mod made;
mod mount;
mod mount_idmap;
mod namespace;
mod net_device;
mod process;
mod root;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod wire_tests;

use std::ffi::CString;

use linux_raw_sys::general::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use pillbox_init::plan::operation::{
    Await, AwaitStart, Chroot, DieWithRuntime, EndOnSignals, EnterTimeNamespace, Exec, FindExecutable,
    JoinNamespace, KeepDescriptors, MakeDirectory, MakePathReadonly, MaskPath, PivotRoot, ReadHome, Ready,
    ReportHooks, SendNetlinkSocket, SetCwd, SetDomainname, SetHostname, SetPropagation, StandBeforeProgram,
    TakeWord, Unshare, UseEveryProcessor, WriteSysctl, WriteTimeOffsets,
};
use pillbox_init::plan::{EntryStep, Header, Operation, Operations, Turn};
use pillbox_init::wire::{Numbers, Reader};
use rustix::fs::Mode;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::{Gid, Uid};

use self::builder::{Builder, HostTree, UserNamespace, Visible};
use self::process::{DEFAULT_PATH, become_user, compile_console, compile_session, variables};
use self::root::{compile_root, set_attributes, set_propagation};
use self::text::{c_string, string_bytes, strings};
use crate::error::{Error, Result, Warning};
use crate::validate::{NamespaceKind, RootfsPropagation, ValidNamespace, ValidSpec, sysctl_path};

pub use agent::Agent;
pub use descriptor::{Descriptor, DeviceNode, MountIdmap, MountOwners, Need, RootInside};
pub use exec::{compile_exec, compile_hook};
pub use host::Host;
pub use intent::{Intent, Layer};
pub use live_mount::{compile_added_mounts, compile_removed_mounts};
pub use made::{MadeMount, NOTIFY_VARIABLE};
pub use mount::{PARAMETER_MAX, is_bind as is_bind_mount, knows_option as knows_mount_option};
pub use namespace::{Mappings, Method, Namespaces};
pub use net_device::NetDevice;

/// The container as data: what the runtime prepares, and what init does.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Namespaces to make and to join.
    pub namespaces: Namespaces,
    /// Id maps of a new user namespace.
    pub mappings: Option<Mappings>,
    /// What is opened before the clone.
    pub descriptors: Vec<Descriptor>,
    /// Written to /proc/PID/oom_score_adj after the clone.
    pub oom_score_adj: Option<i32>,
    /// Interfaces that move into the network namespace.
    pub net_devices: Vec<NetDevice>,
    /// Whether init sends a netlink socket of its network namespace.
    pub sends_network: bool,
    /// Whether init starts from the seed namespace.
    pub from_seed: bool,
    /// Whether init is executed in the user namespace that it joins.
    pub starts_in_user: bool,
    /// Where the root is mounted in the runtime's own namespace, to be unmounted when the container is
    /// removed.
    pub mounts_at: Option<String>,
    /// Whether the program gets a terminal.
    pub terminal: bool,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u32,
    /// The agent that gets the listener of the seccomp filter.
    pub seccomp_agent: Option<Agent>,
    /// What had to be left out.
    pub warnings: Vec<Warning>,
    /// The encoded operations.
    operations: Vec<u8>,
}

impl Plan {
    /// The operations, as init will see them.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        // Every one decodes: `Builder::push` has encoded it, and it has not changed since.
        Operations(Reader::new(&self.operations)).map_while(std::result::Result::ok)
    }

    /// A process that does nothing: it waits for a message that never comes, until it is ended.
    pub fn waiting() -> Plan {
        let mut operations = Vec::new();
        Operation::from(DieWithRuntime { enabled: true }).encode(&mut operations);
        Operation::from(Await { turn: Turn::Record }).encode(&mut operations);
        Plan { operations, ..Plan::default() }
    }

    /// A process that runs these encoded operations in a namespace that it joins.
    pub fn within(namespace: (NamespaceKind, String), operations: Vec<u8>) -> Plan {
        let namespaces = Namespaces { joined: vec![namespace], ..Namespaces::default() };
        Plan { namespaces, operations, ..Plan::default() }
    }

    /// Whether init waits for `start`, for which it needs a listening socket.
    pub fn waits_for_start(&self) -> bool {
        self.descriptors.iter().any(|descriptor| matches!(descriptor, Descriptor::Listener))
    }

    /// The bytes for init, given the numbers of the descriptors there.
    pub fn encode(&self, channel: u32, descriptors: &[u32], steps: &[EntryStep]) -> Vec<u8> {
        let list = |numbers: &mut dyn Iterator<Item = u32>| -> Vec<u8> {
            numbers.flat_map(u32::to_le_bytes).collect()
        };
        let numbers = list(&mut descriptors.iter().copied());
        let entry = list(&mut steps.iter().flat_map(|step| step.encode()));
        let mut bytes = Vec::with_capacity(self.operations.len() + numbers.len() + entry.len() + 48);
        let header = Header { channel, descriptors: Numbers(&numbers), entry: Numbers(&entry) };
        header.encode(&mut bytes);
        bytes.extend_from_slice(&self.operations);
        bytes
    }
}

/// Compiles a container's plan.
///
/// # Errors
/// Something cannot be done on this host or is not supported; the error names the field, and nothing has been
/// changed.
pub fn compile(spec: &ValidSpec<'_>, host: &Host, intent: &Intent) -> Result<Plan> {
    hosts_own::refuse(spec, host)?;
    let mut namespaces = namespace::compile(spec)?;
    let mappings = namespace::compile_mappings(spec, &namespaces, host)?;
    let mut builder = Builder::of_container(host, spec);
    let makes_network = namespaces.makes(NamespaceKind::Network);
    namespaces.network_meanwhile = makes_network_meanwhile(spec, host);
    // In a user namespace the kernel makes a new procfs or sysfs only where one is already mounted, and the
    // seed has none. Overlays name their layers by paths, which do not exist in the seed either.
    let from_seed = host.seed
        && namespaces.makes(NamespaceKind::Mount)
        && builder.user_namespace != UserNamespace::Containers
        && intent.scratch_over.is_empty()
        // createContainer hooks find their programs among the host's files.
        && spec.hooks.create_container.is_empty()
        && !spec.mounts.iter().any(mount::needs_host_paths);
    // The runtime alone brings processes into these namespaces.
    if !host.privileged && namespaces.makes(NamespaceKind::User) && namespaces.joined.is_empty() {
        builder.visible = Visible::ToItsUser;
    }

    compile_beginning(&mut builder, spec, &namespaces, &mappings, intent)?;
    let net_devices = net_device::compile(spec, host)?;
    compile_late_namespaces(&mut builder, &namespaces)?;
    let wants_network = intent.wants_network && spec.namespace(NamespaceKind::Network).is_some();
    let sends_network =
        wants_network || makes_network && !namespaces.network_meanwhile || !net_devices.is_empty();
    builder.awaits_network = namespaces.network_meanwhile;
    builder.sends_network = sends_network;
    if !namespaces.network_meanwhile && sends_network {
        builder.push(SendNetlinkSocket);
    }
    let read_only_later = compile_file_system(&mut builder, spec, &namespaces, &mappings, from_seed, intent)?;
    compile_surroundings(&mut builder, spec, read_only_later)?;
    compile_before_rights(&mut builder, spec, intent)?;
    builder.push(UseEveryProcessor);
    identity::compile(&mut builder, spec, intent.preserve_fds)?;
    compile_end(&mut builder, spec, intent)?;

    let in_hosts_own = match namespaces.joins(NamespaceKind::Mount) {
        true => host.joins_own.contains(&NamespaceKind::Mount),
        false => !namespaces.makes(NamespaceKind::Mount),
    };
    let mounts_at = in_hosts_own.then(|| intent.rootfs.clone());
    let plan = builder.finish(spec, intent);
    Ok(Plan { namespaces, mappings, from_seed, mounts_at, net_devices, sends_network, ..plan })
}

/// Whether the plan leaves making the network namespace to the runtime, which can begin as soon as this is
/// known.
pub fn makes_network_meanwhile(spec: &ValidSpec<'_>, host: &Host) -> bool {
    let is_made = |namespace: &ValidNamespace<'_>| namespace.path.is_none();
    // The namespace belongs to the runtime's user namespace, and so is not for a container in another one. An
    // init that waits for another message first (id maps, a joined pid namespace) would take it for that.
    spec.namespace(NamespaceKind::Network).is_some_and(is_made)
        && host.privileged
        && !host.in_user_namespace
        && spec.namespace(NamespaceKind::User).is_none()
        && spec.uid_mappings.is_empty()
        && spec.gid_mappings.is_empty()
        && spec.namespace(NamespaceKind::Pid).is_none_or(is_made)
        && spec.net_devices.is_empty()
}

/// First init makes sure that it cannot outlive a failed start, and that no other process can look into it.
fn compile_beginning(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    namespaces: &Namespaces,
    mappings: &Option<Mappings>,
    intent: &Intent,
) -> Result<()> {
    builder.push(DieWithRuntime { enabled: true });
    // This comes before init changes its user: until then it owns its files in /proc.
    compile_new_time_namespace(builder, spec, namespaces)?;
    if let Some(mappings) = mappings {
        builder.push(Await { turn: Turn::Mappings });
        // Until the maps are written init has no id of its own; then it takes root's or the first mapped one.
        become_user(builder, mappings.first_ids());
    } else if namespaces.joins(NamespaceKind::User) {
        become_user(builder, (Uid::ROOT, Gid::ROOT));
    }
    builder.set_visible();
    compile_session(builder, intent)
}

fn compile_new_time_namespace(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    namespaces: &Namespaces,
) -> Result<()> {
    if !namespaces.makes(NamespaceKind::Time) {
        return Ok(());
    }
    builder.push(Unshare { flags: NamespaceKind::Time.clone_flag() });
    let offsets = attribute::time_offsets(spec);
    if !offsets.is_empty() {
        builder.push(WriteTimeOffsets { offsets: &c_string("linux.timeOffsets", &offsets)? });
    }
    builder.push(EnterTimeNamespace);
    Ok(())
}

/// The other namespaces that the clone can neither make nor join.
fn compile_late_namespaces(builder: &mut Builder<'_>, namespaces: &Namespaces) -> Result<()> {
    for kind in
        [NamespaceKind::Cgroup, NamespaceKind::Ipc].into_iter().filter(|kind| namespaces.by_init(*kind))
    {
        builder.push(Unshare { flags: kind.clone_flag() });
    }
    let time = NamespaceKind::Time;
    // A process cannot enter it while it shares its memory, as init does for a moment with the process that
    // it was cloned from.
    if let Some((_, path)) = namespaces.joined.iter().find(|(kind, _)| *kind == time) {
        let namespace = builder.descriptor(Descriptor::Namespace(time, path.clone()));
        builder.push(JoinNamespace { namespace, flag: time.clone_flag() });
    }
    Ok(())
}

/// The root, the mounts, the devices, and the change into that root. Returns the targets that become
/// read-only only later.
fn compile_file_system(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    namespaces: &Namespaces,
    mappings: &Option<Mappings>,
    from_seed: bool,
    intent: &Intent,
) -> Result<Vec<CString>> {
    if namespaces.makes(NamespaceKind::Mount) && !from_seed {
        let propagation = MountPropagationFlags::REC
            | match spec.rootfs_propagation {
                RootfsPropagation::Private => MountPropagationFlags::PRIVATE,
                // Even for a shared root: pivot_root refuses a shared parent.
                _ => MountPropagationFlags::DOWNSTREAM,
            };
        builder.push(SetPropagation { propagation });
    }
    compile_root(builder, spec, from_seed, namespaces, mappings.as_ref(), intent)?;

    let read_only_later = mount::compile(builder, spec, namespaces, intent)?;
    device::compile(builder, spec)?;
    for mount in &intent.made {
        made::compile(builder, mount)?;
    }
    builder.join_network();
    if spec.hooks.run_before_pivot() {
        builder.push(ReportHooks);
        builder.push(Await { turn: Turn::RuntimeHooks });
    }
    if from_seed {
        // pivot_root(2) would visit every process of the machine. The root is already mounted over the
        // seed's, which is empty.
        builder.push(Chroot { cover: false });
    } else if intent.no_pivot || !namespaces.makes(NamespaceKind::Mount) {
        builder.push(Chroot { cover: namespaces.makes(NamespaceKind::Mount) });
    } else {
        builder.push(PivotRoot);
    }
    if spec.rootfs_propagation == RootfsPropagation::Shared {
        set_propagation(builder, spec, MountPropagationFlags::SHARED);
    }
    Ok(read_only_later)
}

/// What needs the finished file system: console, read-only parts, names, sysctls, masks.
fn compile_surroundings(
    builder: &mut Builder<'_>,
    spec: &ValidSpec<'_>,
    read_only_later: Vec<CString>,
) -> Result<()> {
    let process = &spec.process;
    compile_console(builder, spec, true);
    if &*process.cwd != "/" {
        let path = c_string("process.cwd", &process.cwd)?;
        builder.push(MakeDirectory { path: &path, mode: Mode::from_raw_mode(0o755) });
    }
    for target in &read_only_later {
        set_attributes(builder, target, MountAttrFlags::MOUNT_ATTR_RDONLY, MountPropagationFlags::empty());
    }
    if spec.root.readonly {
        set_attributes(builder, c"/", MountAttrFlags::MOUNT_ATTR_RDONLY, MountPropagationFlags::empty());
    }
    if let Some(hostname) = &spec.hostname {
        builder.push(SetHostname { name: &c_string("hostname", hostname)? });
    }
    if let Some(domainname) = &spec.domainname {
        builder.push(SetDomainname { name: &c_string("domainname", domainname)? });
    }
    attribute::compile_apparmor(builder, spec)?;
    for (key, value) in &*spec.sysctl {
        let path = c_string("linux.sysctl", &format!("sys/{}", sysctl_path(key)))?;
        builder.push(WriteSysctl { path: &path, value: &c_string("linux.sysctl", value)? });
    }
    for path in &spec.readonly_paths {
        builder.push(MakePathReadonly { path: &c_string("linux.readonlyPaths", path)? });
    }
    for path in &spec.masked_paths {
        builder.push(MaskPath { path: &c_string("linux.maskedPaths", path)? });
    }
    // Masks and read-only paths are bind mounts, and so come before the root becomes unbindable.
    if spec.rootfs_propagation == RootfsPropagation::Unbindable {
        set_propagation(builder, spec, MountPropagationFlags::UNBINDABLE);
    }
    Ok(())
}

/// What needs system calls that a filter may forbid or not know: without no_new_privs the filter is installed
/// before rights are dropped.
fn compile_before_rights(builder: &mut Builder<'_>, spec: &ValidSpec<'_>, intent: &Intent) -> Result<()> {
    read_home(builder, spec, intent);
    if intent.wait_for_start {
        builder.push(EndOnSignals { signals: ENDING_SIGNALS });
    }
    let listener = builder.listener(intent);
    builder.push(KeepDescriptors { count: intent.preserve_fds, listener });
    builder.push(SetCwd { path: &c_string("process.cwd", &spec.process.cwd)? });
    Ok(())
}

/// The usual signals to end a process also end a container that was never started, as with runc.
const ENDING_SIGNALS: u64 = 1 << (SIGHUP - 1) | 1 << (SIGINT - 1) | 1 << (SIGQUIT - 1) | 1 << (SIGTERM - 1);

/// Looks HOME up if the environment has none.
fn read_home(builder: &mut Builder<'_>, spec: &ValidSpec<'_>, intent: &Intent) {
    if !variables(spec, intent).iter().any(|variable| variable.starts_with("HOME=")) {
        builder.push(ReadHome { uid: spec.process.user.uid });
    }
}

/// The executable, the handshake, the filter, the exec.
fn compile_end(builder: &mut Builder<'_>, spec: &ValidSpec<'_>, intent: &Intent) -> Result<()> {
    let process = &spec.process;
    let variables = variables(spec, intent);
    let search = variables.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    if let Some(name) = process.args.first() {
        let name = c_string("process.args[0]", name)?;
        builder.push(FindExecutable { name: &name, search: &c_string("process.env", search)? });
    } else if !intent.wait_for_start {
        return Err(Error::new("process: missing: a container needs a process to run"));
    }
    builder.push(DieWithRuntime { enabled: false });
    builder.push(Ready);
    builder.push(Await { turn: Turn::Record });
    if intent.wait_for_start {
        let listener = builder.listener(intent);
        builder.push(AwaitStart { listener });
    }
    builder.push(TakeWord);
    identity::compile_late(builder, spec, intent.preserve_fds)?;
    // Behind the filter, whose listener the runtime takes from the first process.
    if intent.stand_before {
        builder.push(StandBeforeProgram);
    }
    let arguments = string_bytes(process.args.iter().map(|argument| &**argument));
    let environment = string_bytes(variables.into_iter());
    builder.push(Exec { arguments: strings(&arguments)?, environment: strings(&environment)? });
    Ok(())
}
