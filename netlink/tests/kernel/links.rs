//! Links: what the kernel lists after our messages.

use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use pillbox_netlink::link::{
    self, Bridge, BridgeOptions, IpvlanBetween, IpvlanMode, Kind, MacvlanMode, NewLink, Peer, Port, Veth,
    VlanProtocol,
};
use pillbox_netlink::route::{self, Route};
use pillbox_netlink::{LOOPBACK_INDEX, Socket, address, namespace, neighbour};
use rustix::io::Errno;

use crate::namespace::{Neighbour, at, in_fresh_namespace, ip, made};

#[test]
fn a_veth_peer_is_born_in_the_other_namespace() {
    in_fresh_namespace("links::a_veth_peer_is_born_in_the_other_namespace", || {
        let neighbour = Neighbour::new();
        let namespace = neighbour.namespace();
        let mut host = Socket::open().unwrap();
        let mac = [0x02, 0, 0, 0, 0, 7];
        let peer =
            Peer { name: "eth0", index: Some(2), address: Some(mac), namespace: Some(namespace.as_fd()) };
        let host_mac = Some([0xfe, 0, 0, 0, 0, 7]);
        let veth = Veth {
            index: Some(50),
            address: host_mac,
            mtu: Some(1300),
            master: Some(40),
            ..Veth::new("veth7", peer)
        };
        let bridge = Bridge {
            name: "br0",
            index: Some(40),
            address: None,
            mtu: None,
            options: BridgeOptions::default(),
        };
        host.request(&[
            link::add_bridge(&bridge).unwrap(),
            link::add_veth(&veth).unwrap(),
            link::set_hairpin(50).unwrap(),
        ])
        .unwrap();
        let here = link::get(&mut host, "veth7").unwrap();
        assert_eq!((here.index, here.mtu, here.master, here.address), (50, 1300, Some(40), host_mac));
        assert!(here.is_up());
        let mut inside = neighbour.socket();
        let there = link::get(&mut inside, "eth0").unwrap();
        assert_eq!((there.index, there.mtu, there.address), (2, 1300, Some(mac)));
        assert_eq!(there.kind.as_deref(), Some("veth"));
        let id = namespace::id_of(&mut host, namespace.as_fd()).unwrap();
        assert!(id.is_some());
        assert_eq!((here.parent, here.parent_namespace), (Some(2), id));
        assert_eq!(link::get(&mut host, "br0").unwrap().parent_namespace, None);
        // A namespace that nothing leads to has none, and what is no namespace is refused.
        let stranger = Neighbour::new().namespace();
        assert_eq!(namespace::id_of(&mut host, stranger.as_fd()).unwrap(), None);
        let file = std::fs::File::open("/dev/null").unwrap();
        let refusal = namespace::id_of(&mut host, file.as_fd()).unwrap_err().to_string();
        assert!(
            refusal.starts_with("look up the id of a network namespace: network namespace: Invalid"),
            "{refusal}"
        );
        inside
            .request(&[
                link::set_up(LOOPBACK_INDEX).unwrap(),
                address::add(2, at("10.88.0.5", 16)).unwrap(),
                link::set_up("eth0").unwrap(),
                route::add(&Route::default_via(ip("10.88.0.1"))).unwrap(),
            ])
            .unwrap();
        assert_eq!(link::list(&mut inside).unwrap().len(), 2);
        // sysfs shows the namespace in which it was mounted, so it is mounted again, in a mount namespace of
        // its own.
        let script = "mount -t sysfs sysfs /sys && cat /sys/class/net/veth7/brport/hairpin_mode";
        let hairpin = Command::new("unshare").args(["-m", "sh", "-c", script]).output().unwrap();
        assert_eq!(hairpin.stdout, b"1\n");
        host.request(&[link::delete("veth7").unwrap()]).unwrap();
        assert_eq!(link::list(&mut inside).unwrap().len(), 1);
    });
}

#[test]
fn a_moved_link_is_renamed_and_up() {
    in_fresh_namespace("links::a_moved_link_is_renamed_and_up", || {
        let neighbour = Neighbour::new();
        let namespace = neighbour.namespace();
        let mut host = Socket::open().unwrap();
        let peer = Peer { name: "b0", index: None, address: None, namespace: None };
        let veth = Veth::new("a0", peer);
        host.request(&[link::add_veth(&veth).unwrap()]).unwrap();
        let index = link::index_of(&mut host, "b0").unwrap();
        host.request(&[link::move_to_namespace(index, namespace.as_fd(), Some("eth%d")).unwrap()]).unwrap();
        let mut inside = neighbour.socket();
        assert!(link::get(&mut inside, "eth0").unwrap().is_up());
        inside.request(&[link::set_mtu("eth0", 1280).unwrap()]).unwrap();
        assert_eq!(link::get(&mut inside, "eth0").unwrap().mtu, 1280);
        assert!(
            matches!(link::index_of(&mut host, "b0"), Err(error) if error.refused() == Some(Errno::NODEV))
        );
    });
}

fn pair(socket: &mut Socket, name: &str, peer: &str) -> u32 {
    let peer = Peer { name: peer, index: None, address: None, namespace: None };
    let veth = Veth::new(name, peer);
    socket.request(&[link::add_veth(&veth).unwrap()]).unwrap();
    link::index_of(socket, name).unwrap()
}

#[test]
fn what_is_set_reads_back() {
    in_fresh_namespace("links::what_is_set_reads_back", || {
        let mut socket = Socket::open().unwrap();
        let index = pair(&mut socket, "a0", "b0");
        let mac = [0x02, 0, 0, 0, 0, 0x11];
        socket
            .request(&[
                link::set_down(index).unwrap(),
                link::set_address(index, mac).unwrap(),
                link::set_mtu(index, 1333).unwrap(),
                link::rename(index, "c0").unwrap(),
            ])
            .unwrap();
        let c0 = link::get(&mut socket, "c0").unwrap();
        assert_eq!((c0.index, c0.mtu, c0.address, c0.is_up()), (index, 1333, Some(mac), false));
        assert_eq!(c0.parent, Some(link::index_of(&mut socket, "b0").unwrap()));
        for on in [true, false] {
            socket.request(&[link::set_promiscuous(index, on).unwrap()]).unwrap();
            assert_eq!(link::get(&mut socket, index).unwrap().is_promiscuous(), on);
        }
        let error = socket.request(&[link::set_mtu(index, 1_000_000).unwrap()]).unwrap_err().to_string();
        assert!(error.contains("set the MTU of link"), "{error}");
    });
}

#[test]
fn bridges_and_their_ports_have_the_settings_that_they_were_given() {
    in_fresh_namespace("links::bridges_and_their_ports_have_the_settings_that_they_were_given", || {
        let mut socket = Socket::open().unwrap();
        let options = BridgeOptions {
            forward_delay: Some(Duration::from_secs(4)),
            ageing_time: Some(Duration::from_secs(90)),
            spanning_tree: Some(false),
            priority: Some(0x6000),
            vlan_filtering: None,
            default_vlan: None,
            group_forward_mask: Some(8),
            multicast_snooping: Some(false),
            call_iptables: None,
            call_ip6tables: None,
            call_arptables: None,
        };
        let bridge = Bridge { name: "br0", index: Some(40), address: None, mtu: None, options };
        socket.request(&[link::add_bridge(&bridge).unwrap()]).unwrap();
        let Some(Kind::Bridge(read)) = link::get(&mut socket, 40).unwrap().details().unwrap() else {
            panic!("no bridge");
        };
        // What not every kernel has was not set.
        let expected = BridgeOptions {
            vlan_filtering: read.vlan_filtering,
            default_vlan: read.default_vlan,
            call_iptables: read.call_iptables,
            call_ip6tables: read.call_ip6tables,
            call_arptables: read.call_arptables,
            ..options
        };
        assert_eq!(read, expected);

        pair(&mut socket, "p0", "q0");
        assert_eq!(link::get(&mut socket, "p0").unwrap().port().unwrap(), None);
        let settings = Port {
            hairpin: Some(true),
            isolated: Some(true),
            locked: None,
            learning: Some(false),
            unicast_flood: Some(false),
            multicast_flood: Some(false),
            broadcast_flood: Some(true),
            guard: Some(true),
            root_block: Some(true),
            fast_leave: Some(true),
            proxy_arp: Some(true),
            neighbour_suppression: Some(true),
            priority: Some(9),
            cost: Some(77),
        };
        socket
            .request(&[link::set_master("p0", 40).unwrap(), link::set_port("p0", &settings).unwrap()])
            .unwrap();
        let p0 = link::get(&mut socket, "p0").unwrap();
        let read = p0.port().unwrap().unwrap();
        // What not every kernel has was not set.
        assert_eq!((p0.master, read), (Some(40), Port { locked: read.locked, ..settings }));
        socket.request(&[link::clear_master("p0").unwrap()]).unwrap();
        assert_eq!(link::get(&mut socket, "p0").unwrap().master, None);
    });
}

#[test]
fn a_port_is_locked() {
    in_fresh_namespace("links::a_port_is_locked", || {
        let mut socket = Socket::open().unwrap();
        let bridge = Bridge {
            name: "br0",
            index: Some(40),
            address: None,
            mtu: None,
            options: BridgeOptions::default(),
        };
        socket.request(&[link::add_bridge(&bridge).unwrap()]).unwrap();
        let port = pair(&mut socket, "p0", "q0");
        let settings = Port { locked: Some(true), learning: Some(false), ..Port::default() };
        socket
            .request(&[
                link::set_master("p0", 40).unwrap(),
                link::set_port("p0", &settings).unwrap(),
                neighbour::put_behind(port, [2, 0, 0, 0, 0, 7]).unwrap(),
                neighbour::put_behind(port, [2, 0, 0, 0, 0, 7]).unwrap(),
            ])
            .unwrap();
        let read = link::get(&mut socket, "p0").unwrap().port().unwrap().unwrap();
        // Before Linux 5.16 there is no such setting.
        assert_ne!(read.locked, Some(false));
        assert_eq!(read.learning, Some(false));
        let refusal = socket.request(&[neighbour::put_behind(40, [2, 0, 0, 0, 0, 8]).unwrap()]).unwrap_err();
        assert!(refusal.to_string().starts_with("put a hardware address behind port 40: "), "{refusal}");
    });
}

/// Bridge options that not every kernel is built with are set and changed.
fn options_are_kept(given: BridgeOptions, change: BridgeOptions) {
    let mut socket = Socket::open().unwrap();
    let bridge = Bridge { name: "br0", index: Some(40), address: None, mtu: None, options: given };
    if !made(&mut socket, &link::add_bridge(&bridge).unwrap()) {
        return;
    }
    let read = |socket: &mut Socket| match link::get(socket, 40).unwrap().details().unwrap() {
        Some(Kind::Bridge(read)) => BridgeOptions {
            vlan_filtering: given.vlan_filtering.and(read.vlan_filtering),
            default_vlan: given.default_vlan.and(read.default_vlan),
            call_iptables: given.call_iptables.and(read.call_iptables),
            ..BridgeOptions::default()
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&mut socket), given);
    socket.request(&[link::set_bridge("br0", &change).unwrap()]).unwrap();
    assert_eq!(read(&mut socket), change);
}

#[test]
fn a_bridge_filters_vlans() {
    const TEST: &str = "links::a_bridge_filters_vlans";
    in_fresh_namespace(TEST, || {
        let default_vlan = Some(7);
        let given = BridgeOptions { vlan_filtering: Some(false), default_vlan, ..BridgeOptions::default() };
        options_are_kept(given, BridgeOptions { vlan_filtering: Some(true), ..given });
    });
}

#[test]
fn a_bridge_calls_iptables() {
    const TEST: &str = "links::a_bridge_calls_iptables";
    in_fresh_namespace(TEST, || {
        let given = BridgeOptions { call_iptables: Some(true), ..BridgeOptions::default() };
        options_are_kept(given, BridgeOptions { call_iptables: Some(false), ..given });
    });
}

/// Makes links of one kind over a veth's end, in another namespace too, and looks what the kernel says of them.
fn over_a_parent(kind: fn(u32) -> Kind) {
    let mut socket = Socket::open().unwrap();
    let parent = pair(&mut socket, "a0", "b0");
    let here = link::add(&NewLink::new("up0", kind(parent))).unwrap();
    if !made(&mut socket, &here) {
        return;
    }
    let up0 = link::get(&mut socket, "up0").unwrap();
    assert!(up0.is_up());
    assert_eq!(up0.details().unwrap(), Some(kind(parent)));
    let neighbour = Neighbour::new();
    let namespace = neighbour.namespace();
    socket.request(&[link::delete("up0").unwrap()]).unwrap();
    let there = NewLink {
        namespace: Some(namespace.as_fd()),
        index: Some(7),
        mtu: Some(1280),
        ..NewLink::new("eth0", kind(parent))
    };
    socket.request(&[link::add(&there).unwrap()]).unwrap();
    let eth0 = link::get(&mut neighbour.socket(), "eth0").unwrap();
    assert_eq!((eth0.index, eth0.mtu, eth0.parent), (7, 1280, Some(parent)));
    assert!(eth0.is_up());
}

#[test]
fn macvlans_lie_over_a_link() {
    const TEST: &str = "links::macvlans_lie_over_a_link";
    in_fresh_namespace(TEST, || {
        over_a_parent(|parent| Kind::Macvlan { parent, mode: MacvlanMode::Private });
    });
}

#[test]
fn ipvlans_lie_over_a_link() {
    const TEST: &str = "links::ipvlans_lie_over_a_link";
    in_fresh_namespace(TEST, || {
        over_a_parent(|parent| Kind::Ipvlan {
            parent,
            mode: IpvlanMode::L3,
            between: IpvlanBetween::Private,
        });
    });
}

#[test]
fn vlans_lie_over_a_link() {
    const TEST: &str = "links::vlans_lie_over_a_link";
    in_fresh_namespace(TEST, || {
        over_a_parent(|parent| Kind::Vlan { parent, id: 4094, protocol: VlanProtocol::Ad });
    });
}

#[test]
fn a_dummy_is_a_link_of_its_own() {
    const TEST: &str = "links::a_dummy_is_a_link_of_its_own";
    in_fresh_namespace(TEST, || {
        let mut socket = Socket::open().unwrap();
        let mac = [0x02, 0, 0, 0, 0, 0x12];
        let dummy = NewLink { address: Some(mac), up: false, ..NewLink::new("dummy0", Kind::Dummy) };
        if !made(&mut socket, &link::add(&dummy).unwrap()) {
            return;
        }
        let dummy0 = link::get(&mut socket, "dummy0").unwrap();
        assert_eq!((dummy0.is_up(), dummy0.address), (false, Some(mac)));
        assert_eq!(dummy0.details().unwrap(), Some(Kind::Dummy));
    });
}

#[test]
fn a_bridge_is_a_link_like_others() {
    in_fresh_namespace("links::a_bridge_is_a_link_like_others", || {
        let mut socket = Socket::open().unwrap();
        let options = BridgeOptions { multicast_snooping: Some(false), ..BridgeOptions::default() };
        socket.request(&[link::add(&NewLink::new("br1", Kind::Bridge(options))).unwrap()]).unwrap();
        let Some(Kind::Bridge(read)) = link::get(&mut socket, "br1").unwrap().details().unwrap() else {
            panic!("no bridge");
        };
        assert_eq!(read.multicast_snooping, Some(false));
    });
}
