//! What a container is connected to by the runtime: networks of pillbox's own (netconf.json) and those of CNI
//! plugins; and the files by which it finds names.

mod cni;
mod connection;
mod elsewhere;
mod names;
mod netconf;
mod upkeep;
mod user_mode;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillbox_network::netconf::{Netconf, UserMode};
use pillbox_network::rootless::Prepared;
use pillbox_network::{Ip, Port};
use rustix::fs::{Mode, OFlags};

use super::line::Line;
use super::network::Network;
use crate::error::{Context, Error, Kind, Result, Warning, WarningKind};
use crate::oci::spec::read_document;
use crate::plan::{Host, MadeMount};
use crate::spawn::names::FILES;
use crate::state::{NetworkRecord, StateDirectory};

pub use cni::{CniNetwork, CniSettings};
pub use connection::{connect, disconnect};
pub use elsewhere::{Elsewhere, There, Whose};
pub use netconf::STORE;
pub use upkeep::{check_attachments, collect_garbage};

pub(super) use cni::undo as undo_cni;
pub(super) use cni::unpin;
pub(super) use netconf::undo;
pub(super) use user_mode::undo as undo_user_mode;

/// What a container is to be connected to.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    /// Networks of pillbox's own, and how names are found.
    netconf: Netconf,
    /// The file that says so, for errors; empty where no file does.
    file: String,
    /// Networks of CNI plugins.
    cni: Vec<CniNetwork>,
    settings: CniSettings,
    /// Where the files by which the container finds names are, if not in its state folder.
    files: Option<PathBuf>,
    /// The process that makes the interfaces of pillbox's own networks, if those are not on the caller's
    /// host.
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// A container's connections, as far as they exist.
#[derive(Default)]
pub(super) struct Attached {
    own: Option<netconf::Own>,
    user_mode: Option<Prepared>,
    /// What the program in user mode has given it.
    user_addresses: Vec<String>,
    others: Vec<NetworkRecord>,
    /// What plugins say of name resolution, the first one that says something.
    resolver: Option<pillbox_network::dns::Resolver>,
}

impl Networks {
    /// Reads a netconf.json.
    ///
    /// # Errors
    /// It is missing, is not JSON, or has a value that cannot be; the error names file and field.
    pub fn read(path: &Path) -> Result<Networks> {
        let name = path.display().to_string();
        let text = std::fs::File::open(path).and_then(read_document).context(|| format!("read {name}"))?;
        Networks::parse(name, &text)
    }

    /// Reads the text of a netconf.json; `name` stands for the file in errors.
    ///
    /// # Errors
    /// As for [`Networks::read`].
    pub fn parse(name: String, text: &[u8]) -> Result<Networks> {
        let netconf = Netconf::parse(text).map_err(|error| worded(error).context(&name))?;
        Ok(Networks { netconf, file: name, ..Networks::default() })
    }

    /// Adds a network of CNI plugins.
    pub fn add_cni(&mut self, network: CniNetwork) {
        self.cni.push(network);
    }

    /// Says what all CNI plugins are told.
    pub fn set_cni(&mut self, settings: CniSettings) {
        self.settings = settings;
    }

    /// Has the files by which the container finds names (`hosts`, `resolv.conf`, `hostname`) made in
    /// `folder`, which must be there and is the caller's to remove, and not in the state folder: that lies in
    /// the host's memory, which the container could fill by them.
    pub fn set_files(&mut self, folder: PathBuf) {
        self.files = Some(folder);
    }

    /// Has the interfaces of pillbox's own networks made by a process that stands where those are.
    pub fn set_elsewhere(&mut self, elsewhere: Arc<dyn Elsewhere>) {
        self.elsewhere = Some(elsewhere);
    }

    /// Publishes ports, given as Docker's `--publish` takes them:
    /// `[HOST-ADDRESS:][HOST-PORT:]PORT[/PROTOCOL]`. They are those of the first interface. A container
    /// without one is connected to the bridge pillbox0, that of an ordinary user by a program in user mode.
    ///
    /// # Errors
    /// A text is none of a port.
    pub fn publish(&mut self, texts: &[String]) -> Result<()> {
        let mut ports = Vec::new();
        for text in texts {
            ports.extend(Port::parse(text).map_err(|error| worded(error).context("--publish"))?);
        }
        if ports.is_empty() {
            return Ok(());
        }
        if let Some(request) = self.netconf.requests.first_mut() {
            request.ports.extend(ports);
        } else if let Some(user_mode) = &mut self.netconf.user_mode {
            user_mode.ports.extend(ports);
        } else if !self.cni.is_empty() {
            self.settings.ports.extend(ports);
        } else {
            match refuse_ordinary_user() {
                Ok(()) => self.netconf.connect(ports),
                Err(_) => self.netconf.user_mode = Some(UserMode { ports, mtu: None }),
            }
        }
        Ok(())
    }

    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.file.is_empty() && !self.has_interfaces()
    }

    /// Whether the container gets interfaces, and not only files.
    pub(super) fn has_interfaces(&self) -> bool {
        !self.netconf.requests.is_empty() || self.has_user_mode() || self.has_cni()
    }

    /// Whether it gets interfaces of pillbox's own networks on the caller's host.
    pub(super) fn has_own(&self) -> bool {
        !self.netconf.requests.is_empty() && self.elsewhere.is_none()
    }

    /// Whether somebody else makes its interfaces of pillbox's own networks.
    fn is_elsewhere(&self) -> bool {
        !self.netconf.requests.is_empty() && self.elsewhere.is_some()
    }

    /// Whether it is connected by a program in user mode.
    pub(super) fn has_user_mode(&self) -> bool {
        self.netconf.user_mode.is_some()
    }

    /// Whether it gets interfaces by CNI plugins.
    pub(super) fn has_cni(&self) -> bool {
        !self.cni.is_empty()
    }

    /// Whether its addresses are known only when it is connected.
    pub(super) fn learns_addresses(&self) -> bool {
        self.has_user_mode() || self.has_cni() || self.is_elsewhere()
    }

    /// What asks for it, for errors.
    pub(super) fn name(&self) -> &str {
        match (self.file.as_str(), self.cni.is_empty()) {
            ("", false) => "--cni",
            ("", true) => "--publish",
            (file, _) => file,
        }
    }

    /// The files that the container sees, which are made in its state folder if nobody has said another one.
    pub(super) fn mounts(&self, folder: &Path, has_hostname: bool) -> Vec<MadeMount> {
        names::mounts(self.files.as_deref().unwrap_or(folder), has_hostname)
    }

    /// Writes the files by which the container finds names, or writes them anew with what is known now.
    pub(super) fn write_files(
        &self,
        directory: &StateDirectory,
        hostname: Option<&str>,
        attached: Option<&Attached>,
    ) -> Result<()> {
        let own = attached.and_then(|attached| attached.own.as_ref());
        let gateway = own.and_then(netconf::Own::gateway);
        let own = own.map(netconf::Own::addresses);
        let others = attached.iter().flat_map(|attached| &attached.others);
        let others = others.flat_map(|record| &record.addresses.0);
        let user_mode = attached.iter().flat_map(|attached| &attached.user_addresses);
        let others = others.chain(user_mode).filter_map(|address| address_of(address));
        let addresses: Vec<_> = own.unwrap_or_default().into_iter().chain(others).collect();
        let user_mode = attached.and_then(|attached| attached.user_mode.as_ref()).map(user_mode::resolver);
        let resolver = attached.and_then(|attached| attached.resolver.as_ref()).or(user_mode.as_ref());
        let opened = self.files.as_deref().map(open_folder).transpose()?;
        let folder = opened.as_ref().map_or(directory.folder(), AsFd::as_fd);
        names::write(folder, hostname, &self.netconf, resolver, &addresses, gateway)
            .map_err(|error| error.context(self.name()))
    }

    /// A line for each interface and each published port.
    pub(super) fn interface_lines(&self, lines: &mut Vec<Line>) {
        for request in &self.netconf.requests {
            lines.push(("Connect", request.to_string()));
            for port in &request.ports {
                lines
                    .push(("Publish", format!("{port} to port {} of {}", port.container_port, request.name)));
            }
        }
        self.user_mode_lines(lines);
    }

    /// A line for the network in user mode.
    fn user_mode_lines(&self, lines: &mut Vec<Line>) {
        if let Some(UserMode { ports, mtu: _ }) = &self.netconf.user_mode {
            lines.push(("Connect", "eth0 by pasta, or slirp4netns if that is not there".to_string()));
            for port in ports {
                lines.push(("Publish", format!("{port} to port {} of eth0", port.container_port)));
            }
        }
    }

    /// A line for each network of CNI plugins.
    pub(super) fn cni_lines(&self, lines: &mut Vec<Line>) {
        self.cni.iter().for_each(|network| lines.push(("AddNetwork", network.line())));
    }

    /// A line for each file.
    pub(super) fn file_lines(&self, lines: &mut Vec<Line>) {
        for (name, target) in FILES {
            lines.push(("WriteFile", format!("{name}, which the container sees as {target}")));
        }
    }

    /// Decides about the interfaces of pillbox's own networks and records that, in the journal first.
    /// `namespace` is the path of a network namespace that the container joins.
    pub(super) fn reserve(
        &self,
        directory: &StateDirectory,
        namespace: Option<String>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Attached> {
        let mut attached = Attached::default();
        if let Some(asked) = &self.netconf.user_mode {
            let prepared = user_mode::prepare(asked, self.settings.path.as_deref());
            attached.user_mode = Some(prepared.map_err(|error| error.context(self.name()))?);
        }
        if self.has_own() {
            refuse_ordinary_user().map_err(|error| error.context(self.name()))?;
            let own = netconf::reserve(&self.netconf.requests, directory, namespace, warnings);
            attached.own = Some(own.map_err(|error| error.context(self.name()))?);
        }
        Ok(attached)
    }

    /// Makes the interfaces of pillbox's own networks in the container's network namespace, then lets CNI
    /// plugins make theirs. `joined` is the path of a namespace that the container joins.
    pub(super) fn connect(
        &self,
        directory: &StateDirectory,
        attached: &mut Attached,
        network: &mut Network,
        joined: Option<&str>,
        warnings: &mut Vec<Warning>,
    ) -> Result<()> {
        if let Some(own) = &mut attached.own {
            own.connect(network).map_err(|error| error.context(self.name()))?;
        }
        if let Some(prepared) = &attached.user_mode {
            let started = user_mode::start(prepared, directory, network, warnings);
            attached.user_addresses = started.map_err(|error| error.context(self.name()))?;
        }
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|_| self.is_elsewhere()) {
            let (whose, mut notes) = (netconf::owner(directory, None)?.into(), Vec::new());
            let connected = elsewhere.connect(&whose, network.pid, &mut notes);
            warnings
                .extend(notes.iter().map(|note| Warning::new(WarningKind::Ignored, format_args!("{note}"))));
            attached.others = connected.map_err(|error| error.context(self.name()))?;
        }
        if !self.has_cni() {
            return Ok(());
        }
        let path = match joined {
            Some(path) => path.to_string(),
            None => cni::pin(directory, network.namespace.as_fd())?,
        };
        (attached.others, attached.resolver) = cni::add(&self.cni, &self.settings, directory, &path)?;
        Ok(())
    }
}

impl Attached {
    /// What state.json says of the interfaces.
    pub(super) fn records(&self) -> Vec<NetworkRecord> {
        let mut records = self.own.as_ref().map_or(Vec::new(), netconf::Own::records);
        let user_mode = self.user_mode.as_ref();
        records.extend(user_mode.map(|prepared| user_mode::record(prepared, &self.user_addresses)));
        records.extend(self.others.iter().cloned());
        records
    }
}

/// Links of the host are root's.
fn refuse_ordinary_user() -> Result<()> {
    let host = Host::look();
    if host.privileged && !host.in_user_namespace {
        return Ok(());
    }
    let text = "an ordinary user can make no links on the host: the model must have the type pasta, which runs in user mode";
    Err(Error::of(Kind::NotPermitted, text.to_string()))
}

fn address_of(text: &str) -> Option<std::net::IpAddr> {
    pillbox_network::Cidr::parse(text).map(|cidr| cidr.ip)
}

/// How a published port is shown.
fn port_text(host_ip: Option<Ip>, port: &Port) -> String {
    let shown = Port { host_ip, ..*port };
    format!("{shown} -> {}", port.container_port)
}

/// As the runtime's own error.
pub fn worded(error: pillbox_network::Error) -> Error {
    use pillbox_network::Kind as Of;
    let kind = match error.kind() {
        Of::Invalid => Kind::Invalid,
        Of::NotPermitted => Kind::NotPermitted,
        Of::Busy => Kind::Busy,
        Of::Unsupported => Kind::Unsupported,
        Of::PortTaken => Kind::PortTaken,
        Of::Taken | Of::Missing | Of::Host => Kind::Network,
    };
    Error::of(kind, error.to_string())
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context(|| format!("open the folder {}", path.display()))
}
