//! From a bundle to a plan: it is read, checked and compiled, and nothing on the host changes.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::networks::Networks;
use crate::cgroup::limit_nothing;
use crate::cgroup::systemd::{Manager, Systemd, Unit};
use crate::cgroup::{CgroupPath, Driver, Hierarchy};
use crate::error::{Context, Error, Kind, Result, Warning, WarningKind};
use crate::host::initial_root;
use crate::oci::ContainerId;
use crate::oci::spec::{self, json::Text};
use crate::plan::{self, Host, Intent, Layer, MadeMount, Plan};
use crate::resources::{DeviceProgram, FileWrite, compile_devices, compile_limits};
use crate::root::RootSource;
use crate::spawn::NewNetwork;
use crate::state::{mount_note, stored_config};
use crate::validate::{NamespaceKind, ValidSpec, validate};

/// A bundle: a folder and a configuration.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Absolute path of the bundle.
    pub path: PathBuf,
    /// The text of its config.json.
    pub config: String,
    /// The name of the configuration in errors.
    pub config_name: String,
}

impl Bundle {
    /// Reads `config.json` of the bundle at `path`, or the file that `config` names instead.
    ///
    /// # Errors
    /// The folder or file is missing or unreadable; the error names it.
    pub fn read(path: &Path, config: Option<&Path>) -> Result<Bundle> {
        Bundle::read_files(path, config).map_err(|error| error.with_kind(Kind::Invalid))
    }

    /// The bundle at `path` with the text of a config.json in `config`. No file is read.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
    /// # fn main() -> pillbox::Result<()> {
    /// # example::prepare();
    /// use pillbox::Bundle;
    ///
    /// // `root.path` is taken from the bundle's folder.
    /// let config = r#"{
    ///     "ociVersion": "1.3.0",
    ///     "root": {"path": "rootfs"},
    ///     "process": {"args": ["/bin/true"], "cwd": "/"},
    ///     "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    ///     "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network"}]}
    /// }"#;
    /// let bundle = Bundle::with_config("/srv/web".as_ref(), config.into())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Invalid`]: there is no such folder.
    pub fn with_config(path: &Path, config: String) -> Result<Bundle> {
        let path = find(path).map_err(|error| error.with_kind(Kind::Invalid))?;
        Ok(Bundle { path, config, config_name: "configuration".to_string() })
    }

    fn read_files(path: &Path, config: Option<&Path>) -> Result<Bundle> {
        let absolute = find(path)?;
        let config = match config {
            Some(config) => config.to_path_buf(),
            None => absolute.join("config.json"),
        };
        let text = match std::fs::File::open(&config).and_then(spec::read_document) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let name = config.display();
                return Err(Error::formatted(format_args!(
                    "{name}: missing: `pillbox spec` writes one to start from"
                )));
            }
            text => text.context(|| format!("read {}", config.display()))?,
        };
        let config_name = config.display().to_string();
        let config = String::from_utf8(text).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            Error::formatted(format_args!("{config_name}: not UTF-8 at byte {offset}"))
        })?;
        Ok(Bundle { path: absolute, config, config_name })
    }
}

fn find(bundle: &Path) -> Result<PathBuf> {
    resolve(bundle).context(|| format!("bundle {}", bundle.display()))
}

/// The absolute path without symbolic links.
fn resolve(path: &Path) -> rustix::io::Result<PathBuf> {
    if is_resolved(path) {
        return Ok(path.to_path_buf());
    }
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let link = rustix::fs::readlink(format!("/proc/self/fd/{}", place.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
}

/// The absolute path of the root file system, and also the given path if only that one leads there: a magic
/// link (/proc/self/fd/N) leads to what was opened, even if something has been mounted over its path since.
fn find_root(given: &Path) -> Result<(String, Option<String>)> {
    let field = || format!("root.path: {}", given.display());
    if !std::fs::metadata(given).context(field).map_err(Error::of_source)?.is_dir() {
        return Err(Error::formatted(format_args!("{}: not a folder", field())));
    }
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_string);
        text.ok_or_else(|| Error::formatted(format_args!("root.path: {}: not UTF-8", path.display())))
    };
    let resolved = resolve(given).context(field)?;
    let source = if resolved == given || is_same_place(given, &resolved) { None } else { Some(text(given)?) };
    Ok((text(&resolved)?, source))
}

/// Whether two paths lead to one folder of one mount.
fn is_same_place(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let status = rustix::fs::fstat(&place)?;
        Ok::<_, rustix::io::Errno>((mount_note::mount_id(&place)?, status.st_dev, status.st_ino))
    };
    matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether there is nothing to resolve in a path; checking that is cheaper than asking the kernel through
/// procfs.
fn is_resolved(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    text.len() > 1
        && text[0] == b'/'
        && text[1..].split(|&byte| byte == b'/').all(plain)
        && openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).is_ok()
}

/// A container for which everything is decided and nothing is done.
pub struct Prepared<'b> {
    /// What init and the runtime will do.
    pub plan: Plan,
    /// The place of the cgroup; `None` if there can be none.
    pub cgroup: Option<(Hierarchy, CgroupPath)>,
    /// The unit with that cgroup, if systemd makes it.
    pub unit: Option<Unit>,
    /// The device filter; `None` allows everything.
    pub devices: Option<DeviceProgram>,
    /// Absolute path of the root file system; empty where none leads there.
    pub rootfs: String,
    /// From the config.json.
    pub oci_version: String,
    /// From the config.json.
    pub annotations: Vec<(String, String)>,
    /// See [`super::passed_on::PassedOn`].
    pub(super) gaps: Vec<OwnedFd>,
    /// What pillbox connects the container to.
    pub(super) networks: Option<Networks>,
    /// The network namespace, if it is being made already.
    pub(super) network: Option<NewNetwork>,
    spec: ValidSpec<'b>,
    intent: Intent,
    host: Host,
}

/// What the caller wants beyond the bundle.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Whether init waits for `start`.
    pub wait_for_start: bool,
    /// See [`Intent`].
    pub preserve_fds: u32,
    /// See [`Intent`].
    pub no_pivot: bool,
    /// See [`Intent`].
    pub no_new_keyring: bool,
    /// See [`Intent`].
    pub stand_before: bool,
    /// See [`Intent`].
    pub environment: Vec<String>,
    /// How the cgroup is made.
    pub driver: Driver,
    /// See [`Intent`].
    pub scratch_over: Vec<Layer>,
    /// See [`Intent`]. What config.json mounts itself is left out.
    pub made: Vec<MadeMount>,
    /// See [`Intent`].
    pub wants_network: bool,
    /// What pillbox connects the container to.
    pub networks: Option<Networks>,
    /// Where the state folder is going to be.
    pub state_folder: PathBuf,
    /// See [`Intent`].
    pub root: RootSource,
}

impl<'b> Prepared<'b> {
    /// Compiles the bundle's plan for this host.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, by field.
    pub fn new(bundle: &'b Bundle, id: &ContainerId, wishes: Wishes) -> Result<Prepared<'b>> {
        Self::compile(bundle, id, wishes, &mut || Ok(None))
    }

    /// The same for a container that will be made: starts making the network namespace, which takes longest.
    pub(super) fn beginning(bundle: &'b Bundle, id: &ContainerId, wishes: Wishes) -> Result<Prepared<'b>> {
        Self::compile(bundle, id, wishes, &mut || NewNetwork::begin().map(Some))
    }

    /// `make_network` is called as soon as the configuration is known to be valid, if a network namespace is
    /// to be made.
    fn compile(
        bundle: &'b Bundle,
        id: &ContainerId,
        wishes: Wishes,
        make_network: &mut dyn FnMut() -> Result<Option<NewNetwork>>,
    ) -> Result<Prepared<'b>> {
        let Wishes {
            wait_for_start,
            preserve_fds,
            no_pivot,
            no_new_keyring,
            stand_before,
            environment,
            driver,
            scratch_over,
            made,
            root,
            wants_network,
            networks,
            state_folder,
        } = wishes;
        let named = |error: Error| error.context(&bundle.config_name);
        let spec = spec::parse(bundle.config.as_bytes())
            .map_err(|error| Error::formatted(format_args!("{}: {error}", bundle.config_name)))?;
        let mut spec = validate(spec).map_err(named)?;
        name_sources(&mut spec, &bundle.path).map_err(named)?;
        let mut made = made;
        if let Some(networks) = &networks {
            check_network(&spec, networks)?;
            made.extend(networks.mounts(&state_folder, spec.hostname.is_some()));
        }
        let mut host = Host::look_for(&spec);
        host.look_at_joined(&spec);
        let network = if plan::makes_network_meanwhile(&spec, &host) { make_network()? } else { None };
        root.check()?;
        let (rootfs, root_source) = if root.is_path() {
            find_root(&bundle.path.join(&*spec.root.path)).map_err(named)?
        } else {
            Default::default()
        };
        let devices = compile_devices(&spec.resources.devices).map_err(named)?;
        let limits = compile_limits(&spec.resources).map_err(named)?;
        let (cgroup, unit) = match driver {
            Driver::Disabled => (None, None),
            Driver::Cgroupfs => (find_cgroup(&spec, id, &host).map_err(named)?, None),
            Driver::Systemd => {
                let (hierarchy, path, unit) = find_unit(&spec, id).map_err(named)?;
                (Some((hierarchy, path)), Some(unit))
            }
        };
        let cgroup_path = cgroup
            .as_ref()
            .map(|(hierarchy, path)| format!("{}{}", hierarchy.mount().display(), path.as_str()));
        let intent = Intent {
            id: id.to_string(),
            source_links: source_links(&spec),
            bundle: bundle.path.display().to_string(),
            rootfs: rootfs.clone(),
            root_source,
            root,
            hooks_begin_in: String::new(),
            cgroup: cgroup_path,
            cgroup_mount: cgroup.as_ref().map(|(hierarchy, _)| hierarchy.mount().display().to_string()),
            wait_for_start,
            preserve_fds,
            chrooted: false,
            no_pivot: no_pivot || initial_root::is_root(),
            no_new_keyring,
            stand_before,
            scratch_over,
            environment,
            made: unless_mounted(made, &spec),
            wants_network: wants_network || networks.as_ref().is_some_and(Networks::has_interfaces),
        };
        let mut plan = plan::compile(&spec, &host, &intent).map_err(named)?;
        if driver == Driver::Disabled && !(limit_nothing(&limits) && devices.is_none()) {
            plan.warnings.push(Warning::new(
                WarningKind::Unlimited,
                format_args!(
                    "linux.resources: --cgroup-manager=disabled: nothing is limited, no device is refused"
                ),
            ));
        }
        Ok(Prepared {
            plan,
            cgroup,
            unit,
            devices,
            rootfs,
            oci_version: spec.oci_version.to_string(),
            annotations: spec
                .annotations
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            gaps: Vec::new(),
            network,
            networks,
            spec,
            intent,
            host,
        })
    }

    /// The limits, in the order in which they are written.
    pub fn limits(&self) -> Result<Vec<FileWrite<'_>>> {
        compile_limits(&self.spec.resources)
    }

    /// The checked configuration.
    pub fn spec(&self) -> &ValidSpec<'b> {
        &self.spec
    }

    /// Whether the runtime has all rights on the host, not only in a user namespace.
    pub fn is_privileged(&self) -> bool {
        self.host.privileged && !self.host.in_user_namespace
    }

    /// Whether the container's root is not that of its mount namespace.
    pub fn is_chrooted(&self) -> bool {
        self.plan.mounts_at.is_some()
            || self.intent.no_pivot
            || self.plan.namespaces.joins(NamespaceKind::Mount)
    }

    /// The plan for this host if its seed namespace cannot be used.
    pub(super) fn plan_without_seed(&self) -> Result<Plan> {
        let host = Host { seed: false, ..self.host.clone() };
        plan::compile(&self.spec, &host, &self.intent)
    }
}

/// Interfaces need a network namespace other than the host's, and files a mount namespace.
fn check_network(spec: &ValidSpec<'_>, networks: &Networks) -> Result<()> {
    for (kind, is_needed) in
        [(NamespaceKind::Network, networks.has_interfaces()), (NamespaceKind::Mount, true)]
    {
        if is_needed && spec.namespace(kind).is_none() {
            let (file, name) = (networks.name(), kind.name());
            let text =
                format!("{file}: the container has the host's {name} namespace: add one to linux.namespaces");
            return Err(Error::of(Kind::Invalid, text));
        }
    }
    Ok(())
}

/// What config.json mounts itself comes before what the runtime would mount there.
fn unless_mounted(mut made: Vec<MadeMount>, spec: &ValidSpec<'_>) -> Vec<MadeMount> {
    let is_mounted = |target: &str| {
        spec.mounts.iter().any(|mount| {
            let parts = |path: &str| {
                path.split('/')
                    .filter(|part| !matches!(*part, "" | "."))
                    .map(str::to_string)
                    .collect::<Vec<_>>()
            };
            parts(&mount.destination) == parts(target)
        })
    };
    made.retain(|mount| !is_mounted(&mount.target));
    made
}

/// Makes sources of bind mounts absolute: relative ones start at the bundle (config.md, `mounts`).
///
/// # Errors
/// The bundle's path is not UTF-8.
pub(super) fn name_sources(spec: &mut ValidSpec<'_>, bundle: &Path) -> Result<()> {
    for (index, mount) in spec.mounts.0.iter_mut().enumerate() {
        let relative = |source: &&mut Text<'_>| !(source.is_empty() || source.starts_with('/'));
        if !plan::is_bind_mount(mount) {
            continue;
        }
        if let Some(source) = mount.source.as_mut().filter(relative) {
            let path = bundle.join(&**source).into_os_string().into_string().map_err(|path| {
                Error::formatted(format_args!("mounts[{index}].source: {}: not UTF-8", path.display()))
            })?;
            *source = Text(path.into());
        }
    }
    Ok(())
}

/// The configuration that was stored with the container, checked again.
///
/// # Errors
/// state.json has none, or it has been changed.
pub(super) fn stored_spec(document: &[u8]) -> Result<ValidSpec<'_>> {
    validate(stored_config(document)?)
}

/// The targets of symbolic links that crun's `copy-symlink` copies, by the index of the mount. Sources that
/// are not links are bound as usual.
fn source_links(spec: &ValidSpec<'_>) -> Vec<(usize, String)> {
    let mounts = spec.mounts.iter().enumerate();
    mounts
        .filter(|(_, mount)| mount.options.iter().any(|option| &**option == "copy-symlink"))
        .filter_map(|(index, mount)| {
            let link = std::fs::read_link(mount.source.as_deref()?).ok()?;
            Some((index, link.into_os_string().into_string().ok()?))
        })
        .collect()
}

/// The place of the cgroup; `None` if there is no hierarchy, which is an error if the container has limits.
fn find_cgroup(
    spec: &ValidSpec<'_>,
    id: &ContainerId,
    host: &Host,
) -> Result<Option<(Hierarchy, CgroupPath)>> {
    let Some(hierarchy) = Hierarchy::find()? else {
        if let Some(limit) = compile_limits(&spec.resources)?.first() {
            return Err(Error::formatted(format_args!("{}: no cgroup v2 hierarchy is mounted", limit.field))
                .or_kind(Kind::Limit));
        }
        return Ok(None);
    };
    let path = match spec.cgroups_path.as_deref().filter(|path| !path.is_empty()) {
        None if !host.privileged || host.in_user_namespace => {
            // If the caller's own cgroup is not visible, nothing can be delegated to it.
            let own = hierarchy.own_cgroup().unwrap_or_default();
            CgroupPath::of_user(id.as_str(), &own, |path| hierarchy.is_delegated(path))?
        }
        path => CgroupPath::resolve(path, id.as_str(), || hierarchy.own_cgroup())?,
    };
    Ok(Some((hierarchy, path)))
}

/// The unit, and the cgroup that it will have below the manager's, which only systemd knows.
fn find_unit(spec: &ValidSpec<'_>, id: &ContainerId) -> Result<(Hierarchy, CgroupPath, Unit)> {
    let manager = Manager::of_caller();
    let unit = Unit::resolve(spec.cgroups_path.as_deref(), id.as_str(), manager.default_slice())?;
    let hierarchy = Hierarchy::find()?.ok_or_else(|| {
        Error::new("--cgroup-manager=systemd: no cgroup v2 hierarchy is mounted").or_kind(Kind::Cgroup)
    })?;
    let path = Systemd::connect(manager)?.cgroup(&unit)?;
    Ok((hierarchy, path, unit))
}
