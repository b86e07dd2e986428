//! The networks that pillbox itself connects a container to: netconf.json.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use pillbox_network::attach::{self, Owner};
use pillbox_network::detach;
use pillbox_network::dns::{self, Resolver};
use pillbox_network::host::Host;
use pillbox_network::netconf::Netconf;
use pillbox_network::store::Store;
use pillbox_network::{Attachment, Holder, attachment_key};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::network::Network;
use super::step::Line;
use crate::error::{Context, Error, Kind, Result, Warning, WarningKind};
use crate::oci::spec::read_document;
use crate::plan::MadeMount;
use crate::state::{Entry, NetworkRecord, StateDirectory};

/// Where leases, published ports and attachments are recorded: for the whole host, whatever the root of its containers.
pub const STORE: &str = "/run/pillbox/.network";

/// What errors about it begin with.
const FIELD: &str = "netconf";

/// The files by which a container finds names: in the state folder, and in the container.
const FILES: [(&str, &str); 3] =
    [("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname")];

/// What a container is to be connected to.
#[derive(Debug, Clone)]
pub struct Networks {
    netconf: Netconf,
    /// The file's name, for errors.
    name: String,
}

/// A container's interfaces, decided and recorded.
pub(super) struct Attached {
    store: Store,
    host: Host,
    attachment: Attachment,
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
        Ok(Networks { netconf, name })
    }

    /// Whether the container gets interfaces, and not only files.
    pub(super) fn has_interfaces(&self) -> bool {
        !self.netconf.requests.is_empty()
    }

    /// The file's name, for errors.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The files that the container sees, which are made in its state folder.
    pub(super) fn mounts(&self, folder: &Path, has_hostname: bool) -> Vec<MadeMount> {
        let files = FILES.into_iter().filter(|(name, _)| has_hostname || *name != "hostname");
        let mount = |(name, target): (&str, &str)| MadeMount {
            source: folder.join(name).display().to_string(),
            target: target.to_string(),
            field: FIELD,
            writable: true,
        };
        files.map(mount).collect()
    }

    /// Decides about the container's interfaces and records that, in the journal first. `namespace` is the path of a
    /// network namespace that it joins.
    pub(super) fn reserve(
        &self,
        directory: &StateDirectory,
        namespace: Option<String>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Attached> {
        let status = rustix::fs::fstat(directory.folder()).context(|| FIELD)?;
        let path = directory.path().display().to_string();
        let id = directory.id().as_str();
        let owner = Owner {
            key: attachment_key(&path, id),
            name: id.to_string(),
            holder: Holder { path, device: status.st_dev, inode: status.st_ino },
            namespace,
        };
        let open = || Ok((Store::open(Path::new(STORE))?, Host::open()?));
        let (store, mut host) = open().map_err(worded)?;
        directory.note(Entry::Network, owner.key.as_ref())?;
        let mut notes = Vec::new();
        let reserved = attach::reserve(&store, &mut host, &owner, &self.netconf.requests, &mut notes);
        let said = notes.iter().map(|note| Warning::new(WarningKind::HostChanged, format_args!("{note}")));
        warnings.extend(said);
        let attachment = reserved.map_err(|error| worded(error).context(&self.name))?;
        Ok(Attached { store, host, attachment })
    }

    /// Writes the files by which the container finds names.
    pub(super) fn write_files(
        &self,
        folder: BorrowedFd<'_>,
        hostname: Option<&str>,
        attached: Option<&Attached>,
    ) -> Result<()> {
        let Netconf { requests: _, resolver, hosts } = &self.netconf;
        let interfaces = attached.iter().flat_map(|attached| &attached.attachment.interfaces);
        let addresses: Vec<_> =
            interfaces.flat_map(|interface| interface.addresses.iter().map(|address| address.ip)).collect();
        let hostname = hostname.unwrap_or_default();
        let domain = resolver.as_ref().and_then(|resolver| resolver.domain.as_deref());
        let resolver = resolver.clone().unwrap_or_else(Resolver::of_host);
        for (name, _) in FILES {
            let text = match name {
                "hosts" => dns::hosts(hostname, domain, &addresses, hosts),
                "resolv.conf" => resolver.text("dns").map_err(|error| worded(error).context(&self.name))?,
                _ => format!("{hostname}\n"),
            };
            write_file(folder, name, &text)?;
        }
        Ok(())
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
    }

    /// A line for each file.
    pub(super) fn file_lines(&self, lines: &mut Vec<Line>) {
        for (name, target) in FILES {
            lines.push(("WriteFile", format!("{name}, which the container sees as {target}")));
        }
    }
}

impl Attached {
    /// Makes the interfaces in the container's network namespace.
    pub(super) fn connect(&mut self, network: &mut Network) -> Result<()> {
        let Attached { store, host, attachment } = self;
        attach::connect(store, host, attachment, network.namespace.as_fd(), &mut network.socket)
            .map_err(worded)
    }

    /// What state.json says of the interfaces.
    pub(super) fn records(&self) -> Vec<NetworkRecord> {
        let strings = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>().into();
        let interfaces = self.attachment.interfaces.iter();
        let record = interfaces.map(|interface| NetworkRecord {
            interface: interface.name.clone(),
            network: interface.network.clone(),
            mac: interface.mac.clone(),
            addresses: strings(&mut interface.addresses.iter().map(|address| address.to_string())),
            ports: strings(&mut interface.ports.iter().map(|published| {
                let port = published.port;
                format!("{port} -> {}", port.container_port)
            })),
        });
        record.collect()
    }
}

fn write_file(folder: BorrowedFd<'_>, name: &str, text: &str) -> Result<()> {
    let step = || format!("{FIELD}: write {name} in the state folder");
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644)).context(step)?;
    // Whatever the umask is: the container's user may be anybody.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).context(step)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes()).context(step)
}

/// Removes the files from the state folder.
pub(super) fn forget_files(folder: BorrowedFd<'_>) -> Result<()> {
    for (name, _) in FILES {
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).context(|| format!("{FIELD}: remove {name}")),
        }
    }
    Ok(())
}

/// Undoes what connects a container, by the text of its entry in the journal.
pub(super) fn undo(directory: &StateDirectory, key: &Path) -> Result<()> {
    let store = Store::open(Path::new(STORE)).map_err(worded)?;
    detach::detach(&store, &key.to_string_lossy()).map_err(worded)?;
    forget_files(directory.folder())
}

/// As the runtime's own error.
pub fn worded(error: pillbox_network::Error) -> Error {
    use pillbox_network::Kind as Of;
    let kind = match error.kind() {
        Of::Invalid => Kind::Invalid,
        Of::NotPermitted => Kind::NotPermitted,
        Of::Busy => Kind::Busy,
        Of::Taken | Of::Missing | Of::Host => Kind::Network,
    };
    Error::of(kind, error.to_string())
}
