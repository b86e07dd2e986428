//! What connects one container: everything that was decided for it, recorded before it is made, so that a
//! later command can undo it.

use std::net::IpAddr;

use pillbox_json::{List, object};
use serde::Serialize;

use crate::cidr::Cidr;
use crate::ip::Ip;
use crate::network::NetworkKind;
use crate::port::Port;

object! {
    /// A container's interfaces.
    #[derive(Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Attachment {
        /// Unique on the host; the name of its record. Of a container `HASH-ID`, where the hash is that of
        /// its state folder; of what pillbox-net connects `cni-HASH-ID`, where the hash is that of network,
        /// id and interface.
        "key" required => key: String,
        /// The container's id, for people.
        "owner" required => owner: String,
        /// The boot in which it was made (/proc/sys/kernel/random/boot_id).
        "boot" required => boot: String,
        "holder" => holder: Holder,
        /// The network namespace, if it may outlive the container; otherwise its links go with it.
        "namespace" => namespace: Option<String>,
        "interfaces" => interfaces: List<Interface>,
    }
}

object! {
    /// What an attachment lives with: a container's state folder, or a network namespace. When the path is
    /// gone or leads to another inode, nobody will undo the attachment any more, and anybody may.
    #[derive(Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Holder {
        "path" required => path: String,
        "device" => device: u64,
        "inode" => inode: u64,
    }
}

object! {
    /// One interface.
    #[derive(Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Interface {
        /// The network's name.
        "network" required => network: String,
        "kind" => kind: NetworkKind,
        /// The bridge's name; of macvlan and ipvlan the name of the host's link below.
        "link" => link: String,
        /// The hardware address of a bridge that was made here.
        "linkMac" => link_mac: Option<String>,
        "mode" => mode: Option<String>,
        /// The name of the pair's host end; empty where there is none.
        "hostName" => host_name: String,
        /// The index of the pair's host end, chosen beforehand.
        "hostIndex" => host_index: u32,
        /// The hardware address of the pair's host end.
        "hostMac" => host_mac: Option<String>,
        /// Addresses of the pair's host end, without a bridge.
        "hostAddresses" => host_addresses: List<Cidr>,
        /// Its name in the container.
        "name" required => name: String,
        /// Its index in the container, chosen beforehand.
        "index" => index: u32,
        /// Its hardware address, `02:00:0a:58:00:05`.
        "mac" => mac: Option<String>,
        "mtu" => mtu: Option<u32>,
        /// Frames may go back to where they came from, which also those with published ports need.
        "hairpin" => hairpin: bool,
        /// Exchanges nothing with other such ports of its bridge.
        "isolated" => isolated: bool,
        /// Sends from its own hardware address only.
        "locked" => locked: bool,
        /// Is not set up in the container.
        "down" => down: bool,
        "addresses" => addresses: List<Cidr>,
        "routes" => routes: List<Route>,
        "ports" => ports: List<Published>,
    }
}

object! {
    /// A route in the container.
    #[derive(Copy, Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Route {
        "to" required => to: Cidr,
        /// None: everything there is reached directly.
        "via" => via: Option<Ip>,
        /// The largest packet on the way, in bytes.
        "mtu" => mtu: Option<u32>,
        /// The largest TCP segment to advertise, in bytes.
        "segment" => segment: Option<u32>,
        /// The lower one counts.
        "priority" => priority: Option<u32>,
        /// None: the main one.
        "table" => table: Option<u32>,
        /// RT_SCOPE_*.
        "scope" => scope: Option<u32>,
    }
}

object! {
    /// A published port, and where it leads.
    #[derive(Copy, Eq, Serialize)]
    #[serde(rename_all = "camelCase")]
    Published {
        "port" required => port: Port,
        /// The container's IPv4 address, if it is published there.
        "v4" => v4: Option<Ip>,
        /// The container's IPv6 address, if it is published there.
        "v6" => v6: Option<Ip>,
    }
}

impl Attachment {
    /// What it needs the packet filter for, for errors.
    pub(crate) fn subject(&self) -> String {
        let mut interfaces = self.interfaces.iter();
        let publishing = interfaces.clone().find_map(|interface| Some((interface, interface.ports.first()?)));
        match publishing {
            Some((interface, published)) => format!("{}: port {}", interface.place(), published.port),
            None => interfaces.next().map_or_else(String::new, Interface::place),
        }
    }
}

impl Route {
    /// A route without anything particular.
    pub fn new(to: Cidr, via: Option<Ip>) -> Route {
        Route { to, via, ..Route::default() }
    }

    /// The default route of a family.
    pub fn default_through(is_v4: bool, via: Option<Ip>) -> Route {
        let ip = if is_v4 { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        Route::new(Cidr { ip, prefix: 0 }, via)
    }
}

impl Interface {
    /// Where it is, for errors. Pairs are on no network that anybody has named.
    pub(crate) fn place(&self) -> String {
        match self.kind {
            NetworkKind::Pair => format!("interface {}", self.name),
            _ => format!("network {}: interface {}", self.network, self.name),
        }
    }

    /// Its first address of the family.
    pub fn address(&self, is_v4: bool) -> Option<IpAddr> {
        self.addresses.iter().map(|address| address.ip).find(|ip| ip.is_ipv4() == is_v4)
    }
}

/// The key of a container's attachment, by the path of its state folder: two containers with one id, but
/// another root, have two keys.
pub fn attachment_key(state_folder: &str, id: &str) -> String {
    /// So that the key is the name of a file.
    const MAX_ID: usize = 100;
    let shown = id.get(..MAX_ID).unwrap_or(id);
    format!("{:016x}-{shown}", hash(state_folder.as_bytes()))
}

/// FNV-1a, 64 bits: short names of things with long ones. Not for anything that an attacker may choose to
/// collide.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
