//! Networks of pillbox's own that are not on the caller's host: an ordinary user's are in a network namespace
//! in which the user has the rights that root has on the host. The caller has them made by a process that
//! stands there ([`Elsewhere`]); that process calls the functions of this file.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use pillbox_network::attach::{self, Owner};
use pillbox_network::connection::{Inside, add_interface, remove_interface};
use pillbox_network::host::Host;
use pillbox_network::namespace::socket_in;
use pillbox_network::netconf::Netconf;
use pillbox_network::store::Store;
use pillbox_network::{Holder, inspect};
use serde::{Deserialize, Serialize};

use super::netconf::{interface_records, record_of};
use super::worded;
use crate::error::{Context, Error, Kind, Result};
use crate::state::NetworkRecord;

/// Has a container connected by a process that stands where its networks are.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// Makes all its interfaces in the network namespace of a process. What the user should know goes to
    /// `notes`, a line each.
    ///
    /// # Errors
    /// Something that was asked for cannot be had. Nothing is left then.
    fn connect(&self, whose: &Whose, pid: i32, notes: &mut Vec<String>) -> Result<Vec<NetworkRecord>>;

    /// Makes one more interface, by that name.
    ///
    /// # Errors
    /// As for [`Elsewhere::connect`].
    fn add(&self, whose: &Whose, name: &str, pid: i32, notes: &mut Vec<String>) -> Result<NetworkRecord>;

    /// Takes an interface away. The result is what the container has then.
    ///
    /// # Errors
    /// Something could not be undone.
    fn remove(&self, whose: &Whose, name: &str, pid: i32) -> Result<Vec<NetworkRecord>>;
}

/// The container to which interfaces belong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    /// Unique where the networks are.
    pub key: String,
    /// The container's id.
    pub name: String,
    /// Its state folder, with which they end.
    pub folder: String,
    /// The folder's device and inode.
    pub identity: [u64; 2],
}

impl From<Owner> for Whose {
    fn from(owner: Owner) -> Whose {
        let Owner { key, name, holder: Holder { path, device, inode }, namespace: _ } = owner;
        Whose { key, name, folder: path, identity: [device, inode] }
    }
}

impl Whose {
    fn owner(&self) -> Owner {
        let Whose { key, name, folder, identity: [device, inode] } = self.clone();
        Owner { key, name, holder: Holder { path: folder, device, inode }, namespace: None }
    }
}

/// The place where networks are, to a process that stands there.
pub struct There {
    store: Store,
    host: Host,
}

impl There {
    /// Opens it. `store` is the folder of what is recorded of its networks.
    ///
    /// # Errors
    /// The folder cannot be made; the kernel gives no sockets.
    pub fn open(store: &Path) -> Result<There> {
        let open = || Ok(There { store: Store::open(store)?, host: Host::open()? });
        open().map_err(worded)
    }

    /// Undoes what containers that have ended have left: nothing else does. What cannot be mended is reported
    /// when it is needed.
    fn put_in_order(&mut self) {
        let _ = inspect::mend(&self.store, &mut self.host);
    }

    /// Does what [`Elsewhere::connect`] is asked for; `netconf` is the text of a netconf.json.
    ///
    /// # Errors
    /// As for that.
    pub fn connect(&mut self, whose: &Whose, netconf: &str, pid: i32) -> Result<Vec<NetworkRecord>> {
        let netconf = Netconf::parse(netconf.as_bytes()).map_err(worded)?;
        self.put_in_order();
        let There { store, host } = self;
        let namespace = namespace_of(pid)?;
        let mut socket = socket_in(namespace.as_fd()).map_err(worded)?;
        let owner = whose.owner();
        let mut reserved =
            attach::reserve(store, host, &owner, &netconf.requests, &mut Vec::new()).map_err(worded)?;
        let connected =
            attach::connect(store, host, &mut reserved.attachment, namespace.as_fd(), &mut socket, false);
        connected.map_err(|error| worded(error.besides(attach::give_up(store, host, &reserved))))?;
        Ok(interface_records(&reserved.attachment.interfaces))
    }

    /// Does what [`Elsewhere::add`] is asked for.
    ///
    /// # Errors
    /// As for that.
    pub fn add(&mut self, whose: &Whose, netconf: &str, name: &str, pid: i32) -> Result<NetworkRecord> {
        let netconf = Netconf::parse(netconf.as_bytes()).map_err(worded)?;
        let [request] = netconf.requests.as_slice() else {
            return Err(Error::of(Kind::Invalid, "must be one interface".to_string()));
        };
        self.put_in_order();
        let There { store, host } = self;
        let request = pillbox_network::Request { name: name.to_string(), ..request.clone() };
        let namespace = namespace_of(pid)?;
        let mut socket = socket_in(namespace.as_fd()).map_err(worded)?;
        let inside = Inside { namespace: namespace.as_fd(), socket: &mut socket };
        let added = add_interface(store, host, &whose.owner(), &request, inside, &mut Vec::new());
        added.map(|interface| record_of(&interface)).map_err(worded)
    }

    /// Does what [`Elsewhere::remove`] is asked for.
    ///
    /// # Errors
    /// As for that.
    pub fn remove(&mut self, whose: &Whose, name: &str, pid: i32) -> Result<Vec<NetworkRecord>> {
        let There { store, host } = self;
        let namespace = namespace_of(pid)?;
        let mut socket = socket_in(namespace.as_fd()).map_err(worded)?;
        let inside = Inside { namespace: namespace.as_fd(), socket: &mut socket };
        let left = remove_interface(store, host, &whose.owner(), name, inside).map_err(worded)?;
        Ok(interface_records(&left))
    }

    /// Removes a network of which no container is left.
    ///
    /// # Errors
    /// A container is connected to it. One that is not there is none.
    pub fn take_down(&mut self, network: &str) -> Result<()> {
        self.put_in_order();
        let There { store, host } = self;
        match inspect::remove(store, host, network) {
            Err(error) if error.kind() == pillbox_network::Kind::Missing => Ok(()),
            removed => removed.map_err(worded),
        }
    }
}

fn namespace_of(pid: i32) -> Result<File> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path).context(|| format!("open {path}"))
}
