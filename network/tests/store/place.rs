//! A store in a folder of a test's own, and attachments to the network `net`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use pillbox_network::store::Store;
use pillbox_network::{Attachment, Cidr, Holder, Interface, Ip, Locked, Port, Published, Range};

/// A folder that is gone with the test.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pillbox-network-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Place(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn store(&self) -> Store {
        Store::open(&self.0.join("network")).expect("a store")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The addresses of 10.88.0.0/16 or fd00:88::/64 that end in a number up to this one.
pub fn range(is_v4: bool, last: u16) -> Range {
    let (subnet, last) = if is_v4 {
        ("10.88.0.0/16", format!("10.88.{}.{}", last >> 8, last & 255))
    } else {
        ("fd00:88::/64", format!("fd00:88::{last:x}"))
    };
    let subnet = Cidr::parse(subnet).expect("a subnet");
    Range { subnet, gateway: Some(Ip(subnet.hosts().0)), first: None, last: Some(Ip(ip(&last))) }
}

pub fn attachment(
    store: &Store,
    key: &str,
    holder: Holder,
    addresses: &[Cidr],
    ports: &[Port],
) -> Attachment {
    let published = |&port| Published { port, v4: None, v6: None };
    let interface = Interface {
        network: "net".to_string(),
        link: "br0".to_string(),
        host_name: "veth0123456789".to_string(),
        name: "eth0".to_string(),
        mac: Some("02:00:0a:58:00:05".to_string()),
        addresses: addresses.to_vec().into(),
        ports: ports.iter().map(published).collect::<Vec<_>>().into(),
        ..Interface::default()
    };
    Attachment {
        namespace: None,
        key: key.to_string(),
        owner: format!("container-{key}"),
        boot: store.boot().to_string(),
        holder,
        interfaces: vec![interface].into(),
    }
}

/// Gives back all that an attachment has, and strikes it.
pub fn release(locked: &Locked<'_>, attachment: &Attachment) {
    locked.release_leases(attachment).expect("released");
    locked.release_ports(attachment).expect("released");
    locked.strike(&attachment.key).expect("struck");
}

/// Undoes what nobody else will, as `gc` does.
pub fn collect(locked: &Locked<'_>) {
    let stale = locked.stale().expect("listed");
    assert!(stale.unreadable.is_empty(), "{stale:?}");
    for attachment in &stale.attachments {
        release(locked, attachment);
    }
    let swept = locked.sweep().expect("swept");
    assert!(swept.unreadable.is_empty(), "{swept:?}");
}

/// Checks that no two attachments list the same address or port.
pub fn check_single(attachments: &[Attachment]) {
    let mut seen = Vec::new();
    for interface in attachments.iter().flat_map(|attachment| attachment.interfaces.iter()) {
        seen.extend(interface.addresses.iter().map(|address| format!("{} {address}", interface.network)));
        seen.extend(interface.ports.iter().map(|published| published.port.to_string()));
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "{attachments:#?}");
}

/// Checks that all that an attachment lists is reserved for it.
pub fn check_reserved(place: &Place, attachment: &Attachment) {
    let owner = |file: String| fs::read_link(place.path().join("network").join(file)).expect("a link");
    for interface in attachment.interfaces.iter() {
        for address in interface.addresses.iter() {
            let file = format!("leases/{}/{}", interface.network, address.ip);
            assert_eq!(owner(file), Path::new(&attachment.key), "{address}");
        }
        for Published { port, .. } in interface.ports.iter() {
            let address = port.host_ip.map_or("any".to_string(), |ip| ip.to_string());
            let file = format!("ports/{}-{}/{address}", port.protocol.name(), port.host_port);
            assert_eq!(owner(file), Path::new(&attachment.key), "{port}");
        }
    }
}

/// Checks that nothing is reserved.
pub fn check_empty(place: &Place) {
    for folder in ["attachments", "leases", "ports"] {
        let path = place.path().join("network").join(folder);
        let names: Vec<_> =
            fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        assert!(names.is_empty(), "{names:?}");
    }
}
