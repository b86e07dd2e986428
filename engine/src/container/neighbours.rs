//! Who is on a network with a container, and by which names: what its monitor answers when it is asked.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use pillbox::Root;
use pillbox_network::dns::servers_of_host;

use super::network::NetworkFacts;
use super::options::{Network, Options};
use super::record::ContainerRecord;
use super::status::open;
use crate::error::{Error, Result};
use crate::names::Directory;
use crate::store::{ContainerFolder, Store};

/// The port of servers for names.
const PORT: u16 = 53;

/// A container on a network, with its addresses there.
#[derive(Debug, Clone)]
struct Neighbour {
    folder: ContainerFolder,
    network: String,
    /// In small letters, its own first.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// Tells those on a container's networks that it comes or goes, or has other names.
pub fn announce(store: &Store, network: &Network) {
    for name in network.names() {
        // Without the network there is nobody on it.
        let _ = store.networks().touch(&name);
    }
}

/// Whether a container with this name and these options can be announced on its networks.
///
/// # Errors
/// A name means the container itself to every other one.
pub fn check_names_on_networks(name: &str, options: &Options) -> Result<()> {
    let connections = options.network.connections();
    let aliases = connections.iter().flat_map(|connection| &connection.aliases);
    let aliases = aliases.map(|alias| ("--network-alias", alias.as_str()));
    let hostname = options.hostname.iter().map(|hostname| ("--hostname", hostname.as_str()));
    let Some(network) = options.network.names().into_iter().next() else { return Ok(()) };
    for (flag, name) in std::iter::once(("--name", name)).chain(aliases).chain(hostname) {
        if OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid(format!(
                "{flag} {name}: on the network {network} it would be that of each other container itself: choose another"
            )));
        }
    }
    Ok(())
}

/// What every /etc/hosts has for the machine itself.
const OWN_NAMES: [&str; 5] =
    ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost6"];

/// What a container can know of others: it is read again when somebody comes or goes.
#[derive(Debug)]
pub struct Neighbourhood {
    store: Store,
    folder: ContainerFolder,
    network: Network,
    facts: NetworkFacts,
    known: Vec<Neighbour>,
    stamps: Option<Stamps>,
}

/// When the container's record, and its networks, were changed last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamps {
    record: Option<(SystemTime, u64)>,
    networks: Vec<Option<SystemTime>>,
}

impl Neighbourhood {
    /// That of a container.
    pub fn of(store: Store, folder: ContainerFolder) -> Neighbourhood {
        let (network, facts) = (Network::default(), NetworkFacts::default());
        Neighbourhood { store, folder, network, facts, known: Vec::new(), stamps: None }
    }

    fn look(&mut self) {
        let stamps = self.stamps();
        if self.stamps.as_ref() == Some(&stamps) {
            return;
        }
        // Each before what it is of is read: what is changed meanwhile is seen the next time.
        if let Ok(Some(record)) = ContainerRecord::read(&self.folder) {
            self.network = record.options.network;
        }
        // A network that has been removed has nobody.
        self.facts = NetworkFacts::look(&self.store, &self.network).unwrap_or_default();
        self.stamps = Some(Stamps { record: stamps.record, ..self.stamps() });
        self.known = neighbours(&self.store, &self.facts).unwrap_or_default();
    }

    fn stamps(&self) -> Stamps {
        let names = self.network.names();
        Stamps {
            record: ContainerRecord::changed(&self.folder),
            networks: names.iter().map(|name| self.store.networks().touched(name)).collect(),
        }
    }

    /// Whether it is there: who was killed has told nobody.
    fn is_there(&self, neighbour: &Neighbour) -> bool {
        let found = open(&self.store, &neighbour.folder.id);
        let status = found.ok().flatten().and_then(|container| container.status().ok());
        status.is_some_and(|status| status != pillbox::Status::Stopped)
    }
}

impl Directory for Neighbourhood {
    fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        self.look();
        let has_name = |neighbour: &&Neighbour| {
            let bare = name.strip_suffix(neighbour.network.to_ascii_lowercase().as_str());
            let bare = bare.and_then(|bare| bare.strip_suffix('.'));
            neighbour.names.iter().any(|known| known == name || bare == Some(known.as_str()))
        };
        let found: Vec<&Neighbour> =
            self.known.iter().filter(has_name).filter(|neighbour| self.is_there(neighbour)).collect();
        let addresses = found.iter().flat_map(|neighbour| neighbour.addresses.iter().copied());
        (!found.is_empty()).then(|| addresses.collect())
    }

    fn name(&mut self, address: IpAddr) -> Option<String> {
        self.look();
        let has_address = |neighbour: &&Neighbour| neighbour.addresses.contains(&address);
        let found = self.known.iter().filter(has_address).find(|neighbour| self.is_there(neighbour))?;
        Some(format!("{}.{}", found.names.first()?, found.network))
    }

    fn servers(&mut self) -> Vec<SocketAddr> {
        self.look();
        // Questions would lead out of networks that nothing leads out of.
        let named = &self.facts.named;
        if self.network.connections().len() == named.len() && named.iter().all(|network| network.internal) {
            return Vec::new();
        }
        let asked: Vec<IpAddr> =
            self.network.servers.iter().filter_map(|server| server.parse().ok()).collect();
        let servers = if asked.is_empty() { servers_of_host() } else { asked };
        servers.into_iter().map(|server| SocketAddr::new(server, PORT)).collect()
    }
}

/// Everybody on these networks, the container itself among them.
fn neighbours(store: &Store, facts: &NetworkFacts) -> Result<Vec<Neighbour>> {
    let root = Root::at(&store.place().runtime);
    let mut neighbours = Vec::new();
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        let connections = record.options.network.connections();
        let networks: Vec<_> = facts
            .named
            .iter()
            .filter_map(|network| {
                let on = connections.iter().find(|connection| connection.network == network.name)?;
                Some((network, on))
            })
            .collect();
        if networks.is_empty() {
            continue;
        }
        let id = pillbox::ContainerId::new(folder.id.as_str())?;
        // One that does not run has no addresses.
        let Ok(state) = root.find(&id).and_then(|state| state.load()) else { continue };
        for (network, connection) in networks {
            let link = network.runtime_name();
            let interfaces = state.network.iter().filter(|interface| interface.network == link);
            let addresses = interfaces.flat_map(|interface| interface.addresses.iter());
            let addresses: Vec<IpAddr> =
                addresses.filter_map(|address| address.split_once('/')?.0.parse().ok()).collect();
            let mut names: Vec<String> = Vec::new();
            let own = record.options.hostname.iter().cloned();
            let ids = [folder.id.short().to_string(), folder.id.as_str().to_string()];
            let all = std::iter::once(record.name.clone()).chain(connection.aliases.iter().cloned());
            for name in all.chain(own).chain(ids) {
                let name = name.to_ascii_lowercase();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let (folder, network) = (folder.clone(), network.name.clone());
            neighbours.push(Neighbour { folder, network, names, addresses });
        }
    }
    Ok(neighbours)
}
