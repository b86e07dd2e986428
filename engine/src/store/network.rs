//! Networks with names: `networks/NAME.json`. What exists of one on the host is made with its first container.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pillbox_network::Cidr;
use serde::{Deserialize, Serialize};

use super::REMEDY;
use super::lock::{Lock, Sharing};
use super::{may_be_name, names_in, read_whole, write_whole};
use crate::error::{Context, Error, Result};
use crate::file;
use crate::order;
use crate::time::Moment;

/// How containers are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkDriver {
    /// By a bridge of the host's.
    Bridge,
    /// Each by a link with a hardware address of its own over one of the host's.
    Macvlan,
    /// Each by a link that shares the hardware address of one of the host's.
    Ipvlan,
}

/// A network with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRecord {
    /// 64 hex digits.
    pub id: String,
    /// Unique in the store.
    pub name: String,
    /// How containers are connected.
    pub driver: NetworkDriver,
    /// The bridge; of the other kinds, the host's link below.
    pub link: String,
    /// The subnets that were asked for; otherwise free ones are taken.
    pub subnets: Vec<String>,
    /// The free ones that it takes if they still are.
    #[serde(default)]
    pub chosen: Vec<String>,
    /// The gateways of subnets; of those without one it is the first address.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Parts of the subnets, out of which addresses are given; otherwise all are.
    #[serde(default)]
    pub ranges: Vec<String>,
    /// Addresses that no container gets, by names that say what has them.
    #[serde(default)]
    pub reserved: BTreeMap<String, String>,
    /// Whether it has no way out.
    pub internal: bool,
    /// The largest packet in bytes.
    pub mtu: Option<u32>,
    /// Whatever its user says.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Moment,
}

impl NetworkRecord {
    /// A network of which nothing but this is asked for; its id is still to come.
    pub fn new(name: String, link: String, driver: NetworkDriver) -> NetworkRecord {
        NetworkRecord {
            id: String::new(),
            name,
            driver,
            link,
            subnets: Vec::new(),
            chosen: Vec::new(),
            gateways: Vec::new(),
            ranges: Vec::new(),
            reserved: BTreeMap::new(),
            internal: false,
            mtu: None,
            labels: BTreeMap::new(),
            created: Moment::now(),
        }
    }

    /// The subnets that were asked for, or were chosen.
    pub fn parsed_subnets(&self) -> Vec<Cidr> {
        let subnets = if self.subnets.is_empty() { &self.chosen } else { &self.subnets };
        subnets.iter().filter_map(|text| Cidr::parse(text)).collect()
    }

    /// The gateway of one of them, or of the subnet of any other network.
    pub fn gateway_of(&self, subnet: Cidr) -> IpAddr {
        let mut chosen = self.gateways.iter().filter_map(|text| text.parse().ok());
        chosen.find(|gateway| subnet.contains(*gateway)).unwrap_or_else(|| subnet.network().hosts().0)
    }

    /// By what the runtime knows it.
    pub fn runtime_name(&self) -> String {
        match self.driver {
            NetworkDriver::Bridge => self.link.clone(),
            NetworkDriver::Macvlan | NetworkDriver::Ipvlan => format!("{}-{}", self.driver.name(), self.link),
        }
    }
}

impl NetworkDriver {
    /// As it is called.
    pub fn name(self) -> &'static str {
        match self {
            NetworkDriver::Bridge => "bridge",
            NetworkDriver::Macvlan => "macvlan",
            NetworkDriver::Ipvlan => "ipvlan",
        }
    }
}

/// The folder of networks.
#[derive(Debug, Clone)]
pub struct NetworkRecords {
    folder: PathBuf,
}

impl NetworkRecords {
    pub(super) fn at(folder: PathBuf) -> NetworkRecords {
        NetworkRecords { folder }
    }

    /// Where they are; a folder that need not be there yet.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// A network by its name or the beginning of its id.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; its record is broken.
    pub fn find(&self, name: &str) -> Result<NetworkRecord> {
        let missing =
            || Error::not_found(format!("network {name}: there is none: box network create {name} makes it"));
        if !may_be_name(name) {
            return Err(missing());
        }
        match self.read(name)? {
            Some(record) => Ok(record),
            None => NetworkRecords::find_in(&self.list()?, name).cloned().ok_or_else(missing),
        }
    }

    fn read(&self, name: &str) -> Result<Option<NetworkRecord>> {
        let path = self.path(name);
        let parsed =
            read_whole(&path, |text| serde_json::from_slice(text)).context(|| path.display().to_string())?;
        parsed.transpose().map_err(|error| Error::corrupt(format!("{}: {error}: {REMEDY}", path.display())))
    }

    /// A network by its name or the beginning of its id, among those that have been read.
    pub fn find_in<'r>(records: &'r [NetworkRecord], name: &str) -> Option<&'r NetworkRecord> {
        let mut begun = records.iter().filter(|record| !name.is_empty() && record.id.starts_with(name));
        match records.iter().find(|record| record.name == name) {
            None => begun.next().filter(|_| begun.next().is_none()),
            found => found,
        }
    }

    /// All of them, by name; see [`Store::broken_networks`](super::Store::broken_networks) for those whose records cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<NetworkRecord>> {
        let mut records = Vec::new();
        for file in names_in(&self.folder)? {
            if let Some(name) = file.strip_suffix(".json") {
                // One may have been removed meanwhile, and a broken one keeps nobody from the others.
                records.extend(self.read(name).ok().flatten());
            }
        }
        order::sort_by(&mut records, |one, other| one.name.cmp(&other.name));
        Ok(records)
    }

    /// Writes the record of a new network.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if there is one of that name.
    pub fn add(&self, record: &NetworkRecord) -> Result<()> {
        let path = self.path(&record.name);
        let text = serde_json::to_vec(record).map_err(|error| Error::invalid(error.to_string()))?;
        if path.exists() {
            return Err(Error::conflict(format!("network {}: there is one of that name", record.name)));
        }
        write_whole(&path, &text)
    }

    /// Notes that other containers are on it, or by other names.
    ///
    /// # Errors
    /// It is gone.
    pub fn touch(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        let now = SystemTime::now();
        let file = file::open(&path);
        file.and_then(|file| file.set_modified(now)).context(|| path.display().to_string())
    }

    /// When that was last; `None` if it is gone.
    pub fn touched(&self, name: &str) -> Option<SystemTime> {
        std::fs::metadata(self.path(name)).and_then(|status| status.modified()).ok()
    }

    /// Locks its containers.
    ///
    /// # Errors
    /// It is gone.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        Lock::at(&self.path(name), Sharing::Exclusive, &format!("the network {name}"))
    }

    /// Removes its record.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        std::fs::remove_file(&path).context(|| path.display().to_string())
    }
}
