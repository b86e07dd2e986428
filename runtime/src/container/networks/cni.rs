//! Networks of CNI plugins: see [`pillbox_network::cni`].

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use pillbox_json::{List, object};
use pillbox_network::Port;
use pillbox_network::cni::{
    self, Attached, Capabilities, Conflist, Ended, Execution, OUTPUT_MAX, Parameters, Programs, quote_stderr,
};
use pillbox_network::dns::Resolver;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::{port_text, worded};
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::spawn::program;
use crate::state::{Entry, NetworkRecord, StateDirectory};
use crate::text::json;

/// In the state folder: the container's network namespace. Plugins undo more of what they did while it is
/// there, and that is after the container's processes have ended.
pub const NAMESPACE: &str = "netns";

/// In the state folder: what DEL needs, whatever has become of the configuration since.
const RECORD: &str = "cni.json";

/// One network of CNI plugins.
#[derive(Debug, Clone)]
pub struct CniNetwork {
    conflist: Conflist,
}

/// What is the same for all CNI networks of a container.
#[derive(Debug, Clone, Default)]
pub struct CniSettings {
    /// Where plugins are: CNI_PATH. Empty: the usual folders.
    pub folders: Vec<String>,
    /// PATH of plugins, which execute others.
    pub path: Option<String>,
    /// CNI_ARGS: `KEY=VALUE;KEY=VALUE`.
    pub args: String,
    /// Capability arguments: name and JSON.
    pub capabilities: Vec<(String, String)>,
    pub(super) ports: Vec<Port>,
}

object! {
    /// The record.
    #[derive(serde::Serialize)]
    Recorded {
        "folders" => folders: List<String>,
        "path" => path: Option<String>,
        /// In the order in which the networks were added, each as JSON.
        "attached" => attached: List<String>,
    }
}

impl CniNetwork {
    /// Reads a configuration: `*.conflist`, or one plugin's `*.conf`.
    ///
    /// # Errors
    /// It is missing or is none.
    pub fn read(path: &str) -> Result<CniNetwork> {
        Conflist::read(path).map(|conflist| CniNetwork { conflist }).map_err(worded)
    }

    /// Looks for a network by its name in /etc/cni/net.d. `skipped` gets why files there were passed over.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str, skipped: &mut Vec<String>) -> Result<CniNetwork> {
        let found = Conflist::find(cni::FOLDER, Some(name)).map_err(worded)?;
        skipped.extend(found.skipped.iter().map(|error| error.to_string()));
        Ok(CniNetwork { conflist: found.conflist })
    }

    pub(super) fn conflist(&self) -> &Conflist {
        &self.conflist
    }

    pub(super) fn line(&self) -> String {
        let plugins: Vec<&str> = self.conflist.plugins.iter().map(|plugin| plugin.kind.as_str()).collect();
        format!("{} by CNI plugins: {}", self.conflist.name, plugins.join(", "))
    }
}

pub(super) fn programs(folders: &[String], path: Option<&str>) -> Programs {
    let mut programs = Programs::new(execute);
    if !folders.is_empty() {
        programs.folders = folders.to_vec();
    }
    programs.environment.extend(path.map(|path| format!("PATH={path}")));
    programs
}

/// Runs a plugin as hooks are run: it dies with the runtime, so that no DEL overtakes an ADD that goes on.
fn execute(execution: &Execution<'_>) -> std::result::Result<Ended, pillbox_network::Error> {
    // A file that is still being written cannot be executed, for a moment.
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    let Execution { path, environment, input, limit } = *execution;
    let mut word = |[stdout, stderr]: &[Vec<u8>; 2]| {
        if stdout.len() > OUTPUT_MAX {
            return Error::formatted(format_args!("printed more than {OUTPUT_MAX} bytes and was killed"));
        }
        let (seconds, stderr) = (limit.as_secs(), quote_stderr(stderr));
        Error::formatted(format_args!("took longer than {seconds} s and was killed{stderr}"))
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match program::run_apart(path, environment, input, (limit, OUTPUT_MAX), &mut word) {
            Ok((status, [stdout, stderr])) => {
                return Ok(Ended { status: ExitStatus::from_raw(status), stdout, stderr });
            }
            Err(error) => error,
        };
        let errno = error.os_error().map(Errno::from_raw_os_error);
        match errno.filter(|_| error.kind() == Kind::Hook) {
            Some(Errno::TXTBSY) if tries < TRIES => std::thread::sleep(PAUSE),
            Some(errno) => return Err(pillbox_network::Error::failed(format_args!("execute {path}"), errno)),
            None => {
                let kind = pillbox_network::Kind::Host;
                return Err(pillbox_network::Error::with_errno(kind, error.to_string(), errno));
            }
        }
    }
}

/// Gives the container's network namespace a name that lasts until the container is deleted.
pub fn pin(directory: &StateDirectory, namespace: BorrowedFd<'_>) -> Result<String> {
    directory.note(Entry::Namespace, NAMESPACE.as_ref())?;
    let path = directory.path().join(NAMESPACE);
    let step = || format!("pin the network namespace at {}", path.display());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(directory.folder(), NAMESPACE, flags, Mode::empty()).context(step)?;
    mount_bind(format!("/proc/self/fd/{}", namespace.as_raw_fd()), &path).context(step)?;
    Ok(path.display().to_string())
}

/// Takes that name away again.
pub fn unpin(directory: &StateDirectory) -> Result<()> {
    let path = directory.path().join(NAMESPACE);
    let step = || format!("unmount {}", path.display());
    match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(errno) => return Err(errno).context(step),
    }
    match rustix::fs::unlinkat(directory.folder(), NAMESPACE, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context(step),
    }
}

/// Calls ADD of all networks; each is recorded before. The result is what state.json says of their
/// interfaces, and how names are resolved.
pub fn add(
    networks: &[CniNetwork],
    settings: &CniSettings,
    directory: &StateDirectory,
    namespace: &str,
) -> Result<(Vec<NetworkRecord>, Option<Resolver>)> {
    let CniSettings { folders, path, args, capabilities: given, ports } = settings;
    let mut capabilities = Capabilities::default();
    for (name, value) in given {
        capabilities.add(name, value).map_err(worded)?;
    }
    capabilities.add_ports(ports).map_err(worded)?;
    let mut all = Vec::new();
    for (index, network) in networks.iter().enumerate() {
        let parameters = Parameters {
            container_id: directory.id().to_string(),
            namespace: namespace.to_string(),
            interface: format!("eth{index}"),
            args: args.clone(),
            capabilities: capabilities.clone(),
        };
        all.push(Attached::new(network.conflist.clone(), parameters).map_err(worded)?);
    }
    let _shared = directory.share_attachments()?;
    directory.note(Entry::Cni, RECORD.as_ref())?;
    let programs = programs(folders, path.as_deref());
    let (mut records, mut resolver) = (Vec::new(), None);
    for index in 0..all.len() {
        write(directory, settings, &all[..=index])?;
        if let Err(error) = all[index].add(&programs) {
            // DEL of all its plugins has been called by now.
            let struck = write(directory, settings, &all[..index]);
            return Err(worded(error).besides(struck));
        }
        write(directory, settings, &all[..=index])?;
        let (record, own) = outcome(&all[index], ports)?;
        records.push(record);
        resolver = resolver.or(own);
    }
    Ok((records, resolver))
}

/// What ADD has come to.
fn outcome(attached: &Attached, ports: &[Port]) -> Result<(NetworkRecord, Option<Resolver>)> {
    let result = attached.result().map_err(worded)?.unwrap_or_default();
    let interface = attached.parameters().interface.clone();
    let addresses: Vec<String> =
        result.addresses_of(&interface).map(|address| address.address.to_string()).collect();
    let mac = result.interfaces.iter().find(|made| made.sandbox.is_some() && made.name == interface);
    let ports: Vec<String> = ports.iter().map(|port| port_text(port.host_ip, port)).collect();
    let record = NetworkRecord {
        network: attached.conflist().name.clone(),
        mac: mac.and_then(|made| made.mac.clone()),
        interface,
        addresses: addresses.into(),
        ports: ports.into(),
    };
    let dns = &result.dns;
    let resolver = (!dns.is_empty()).then(|| Resolver {
        servers: dns.nameservers.0.clone(),
        domain: dns.domain.clone(),
        search: dns.search.0.clone(),
        options: dns.options.0.clone(),
    });
    Ok((record, resolver))
}

fn write(directory: &StateDirectory, settings: &CniSettings, attached: &[Attached]) -> Result<()> {
    let texts: Vec<String> = attached.iter().map(Attached::to_json).collect();
    let (folders, path) = (settings.folders.clone().into(), settings.path.clone());
    directory.write_file(RECORD, &json::to_string(&Recorded { folders, path, attached: texts.into() })?)
}

/// What is recorded of a container's networks: how plugins are called, and what they were called for. None if
/// it has none.
pub(super) fn read(directory: &StateDirectory) -> Result<Option<(Programs, Vec<Attached>)>> {
    let Some(text) = directory.read_file(RECORD)? else { return Ok(None) };
    let path = || format!("{}/{RECORD}", directory.path().display());
    let recorded: Recorded = pillbox_json::parse(&text).map_err(Error::from).context(path)?;
    let attached = recorded.attached.iter().map(|text| Attached::from_json(text.as_bytes()).map_err(worded));
    let attached = attached.collect::<Result<Vec<_>>>()?;
    Ok(Some((programs(&recorded.folders, recorded.path.as_deref()), attached)))
}

/// Calls DEL of all networks, the last one first. With `force` a plugin that fails is a warning.
///
/// # Errors
/// A plugin fails, or there is not enough of something now to run it; the record stays.
pub fn undo(directory: &StateDirectory, force: bool, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    // A runtime that was killed at the first record has left a part of it.
    let Some((programs, all)) = read(directory)? else { return directory.remove_file(RECORD) };
    let _shared = directory.share_attachments()?;
    for attached in all.iter().rev() {
        let deleted = if force { attached.delete_forced(&programs) } else { attached.delete(&programs) };
        match deleted {
            // One that could only not be asked now is asked by the next `delete`.
            Err(error) if force && !error.is_passing() => warn(Warning::left_behind(format_args!("{error}"))),
            deleted => deleted.map_err(worded)?,
        }
    }
    directory.remove_file(RECORD)
}
