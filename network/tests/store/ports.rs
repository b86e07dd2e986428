//! Ports: containers among themselves, and programs of the host.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};
use pillbox_network::store::Store;
use pillbox_network::{Error, Holder, Ip, Kind, Port, Protocol};
use rustix::net::{AddressFamily, SocketType};

use crate::namespace::in_fresh_namespace;
use crate::place::{Place, attachment, ip, release};

fn port(text: &str) -> Port {
    let (address, number) = text.rsplit_once(':').unwrap_or(("", text));
    let host_ip = (!address.is_empty()).then(|| Ip(ip(address.trim_matches(['[', ']']))));
    Port { host_ip, host_port: number.parse().expect("a number"), ..Port::default() }
}

fn set_loopback_up() {
    let mut socket = Socket::open().expect("netlink");
    socket.request(&[link::set_up(LOOPBACK_INDEX).expect("a message")]).expect("up");
}

fn set(sysctl: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{sysctl}"), value).expect(sysctl);
}

/// Reserves a port for a moment.
fn try_one(store: &Store, port: &Port) -> Result<Port, Error> {
    store.lock().expect("locked").reserve(port, "tried")
}

#[test]
fn containers_do_not_get_the_same_port() {
    in_fresh_namespace(&["-n"], "ports::containers_do_not_get_the_same_port", || {
        set_loopback_up();
        let place = Place::new();
        let store = place.store();
        let all = ["80", "0.0.0.0:80", "127.0.0.1:80", "127.0.0.2:80", "[::]:80", "[::1]:80"];
        let meeting = ["111111", "111100", "111000", "110100", "100011", "100011"];
        for (one, row) in all.iter().zip(meeting) {
            for (other, meets) in all.iter().zip(row.bytes()) {
                for protocol in Protocol::ALL {
                    let one = Port { protocol, ..port(one) };
                    let other = Port { protocol, ..port(other) };
                    let mut locked = store.lock().expect("locked");
                    assert_eq!(locked.reserve(&one, "a"), Ok(one));
                    let noted = attachment(&store, "a", Holder::default(), &[], &[one]);
                    locked.note(&noted).expect("noted");
                    match locked.reserve(&other, "b") {
                        Ok(_) => assert_eq!(meets, b'0', "{one} {other}"),
                        Err(error) => {
                            assert_eq!((meets, error.kind()), (b'1', Kind::PortTaken), "{error}");
                            let which = if one == other { String::new() } else { format!("{one} is ") };
                            let text = format!("port {other}: {which}taken by container container-a");
                            assert_eq!(error.to_string(), text);
                        }
                    }
                    let udp = if protocol == Protocol::Udp { Protocol::Tcp } else { Protocol::Udp };
                    locked.reserve(&Port { protocol: udp, ..other }, "c").expect("another protocol's");
                    locked.reserve(&Port { host_port: 81, ..other }, "c").expect("another port");
                    release(&locked, &noted);
                    drop(locked);
                    assert_eq!(fs::read_dir(place.path().join("network/ports")).expect("listed").count(), 0);
                }
            }
        }
    });
}

#[test]
fn programs_of_the_host_are_found_and_named() {
    in_fresh_namespace(&["-n"], "ports::programs_of_the_host_are_found_and_named", || {
        let place = Place::new();
        let store = place.store();
        try_one(&store, &port("8080")).expect("no address is needed");
        set_loopback_up();
        for absent in ["192.0.2.1:8080", "[fd00::9]:8080"] {
            let error = try_one(&store, &port(absent)).expect_err("no such address");
            assert_eq!(error.kind(), Kind::Invalid);
            let ip = port(absent).host_ip.expect("an address");
            let text = format!("port {absent}/tcp: no interface of this host has the address {ip}");
            assert_eq!(error.to_string(), text);
        }

        let this = std::process::id();
        let name = fs::read_to_string(format!("/proc/{this}/comm")).expect("a name");
        let holder = format!("taken by process {this} ({})", name.trim_end());
        let check = |protocol, listening: &str, asked: &[(&str, bool)]| {
            for (asked, is_taken) in asked {
                let asked = Port { protocol, ..port(asked) };
                match try_one(&store, &asked) {
                    Ok(_) => assert!(!is_taken, "{asked} beside {listening}"),
                    Err(error) => {
                        assert!(is_taken, "{asked} beside {listening}: {error}");
                        assert_eq!(error.to_string(), format!("port {asked}: {holder}"), "{listening}");
                        assert_eq!(error.kind(), Kind::PortTaken);
                    }
                }
            }
        };
        let on_v4 =
            [("7000", true), ("0.0.0.0:7000", true), ("127.0.0.1:7000", true), ("127.0.0.2:7000", false)];
        let on_v6 = [("7000", true), ("[::]:7000", true), ("[::1]:7000", true), ("127.0.0.1:7000", false)];
        let on_all_v4 =
            [("7000", true), ("0.0.0.0:7000", true), ("127.0.0.2:7000", true), ("[::]:7000", false)];
        // The library's sockets on :: are for IPv4 as well.
        let on_all = [("7000", true), ("0.0.0.0:7000", true), ("127.0.0.2:7000", true), ("[::1]:7000", true)];
        for (address, asked) in [
            ("127.0.0.1:7000", on_v4),
            ("[::1]:7000", on_v6),
            ("0.0.0.0:7000", on_all_v4),
            ("[::]:7000", on_all),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            let listener = TcpListener::bind(address).expect("bound");
            check(Protocol::Tcp, &format!("tcp {address}"), &asked);
            try_one(&store, &Port { protocol: Protocol::Udp, ..port("7000") }).expect("another protocol's");
            drop(listener);
            let socket = UdpSocket::bind(address).expect("bound");
            check(Protocol::Udp, &format!("udp {address}"), &asked);
            drop(socket);
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                try_one(&store, &Port { protocol, ..port("7000") }).expect("free again");
            }
        }
        // One that lets others bind beside it is seen all the same.
        let shared = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
        rustix::net::sockopt::set_socket_reuseaddr(&shared, true).expect("set");
        rustix::net::sockopt::set_socket_reuseport(&shared, true).expect("set");
        rustix::net::bind(&shared, &"127.0.0.1:7000".parse::<SocketAddr>().expect("an address"))
            .expect("bound");
        check(Protocol::Udp, "a socket that shares its port", &on_v4);
    });
}

#[test]
fn connections_of_a_program_that_has_ended_do_not_count() {
    in_fresh_namespace(&["-n"], "ports::connections_of_a_program_that_has_ended_do_not_count", || {
        set_loopback_up();
        let place = Place::new();
        let store = place.store();
        let connect = |listener: TcpListener| {
            let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
            let (server, _) = listener.accept().expect("accepted");
            drop((listener, server));
            client
        };
        // It closes first: its end stays for a minute (TIME_WAIT).
        let listener = TcpListener::bind("127.0.0.1:7000").expect("bound");
        drop(connect(listener));
        let table = fs::read_to_string("/proc/self/net/tcp").expect("a table");
        assert!(table.lines().any(|line| line.contains(":1B58 ") && line.contains(" 06 ")), "{table}");
        try_one(&store, &port("7000")).expect("free");

        // Without SO_REUSEADDR, the kernel keeps the port for a connection that no process has any more.
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::net::bind(&socket, &"127.0.0.1:7001".parse::<SocketAddr>().expect("an address"))
            .expect("bound");
        rustix::net::listen(&socket, 1).expect("listens");
        let client = connect(socket.into());
        let error = try_one(&store, &port("7001")).expect_err("it is bound");
        assert_eq!(error.to_string(), "port 7001/tcp: taken by a process that cannot be seen");
        drop(client);
    });
}

#[test]
fn a_port_that_is_free_is_chosen() {
    in_fresh_namespace(&["-n"], "ports::a_port_that_is_free_is_chosen", || {
        set_loopback_up();
        set("ipv4/ip_local_port_range", "40000 40005");
        set("ipv4/ip_local_reserved_ports", "40005");
        let range = "from 40000 to 40005 (net.ipv4.ip_local_port_range)";
        let place = Place::new();
        let store = place.store();
        for (protocol, address, count) in
            [(Protocol::Tcp, "", 4), (Protocol::Udp, "127.0.0.1:", 4), (Protocol::Sctp, "[::1]:", 5)]
        {
            let any = Port { protocol, container_port: 80, ..port(&format!("{address}0")) };
            // One is a program's.
            let others = (TcpListener::bind("[::1]:40003"), UdpSocket::bind("127.0.0.1:40003"));
            let mut locked = store.lock().expect("locked");
            let chosen: Vec<_> = (0..count).map(|_| locked.reserve(&any, "a").expect("free")).collect();
            let mut numbers: Vec<_> = chosen.iter().map(|port| port.host_port).collect();
            numbers.sort();
            let free = [40000, 40001, 40002, 40004].into_iter().chain((count == 5).then_some(40003));
            let mut free: Vec<_> = free.collect();
            free.sort();
            assert_eq!(numbers, free, "{any}");
            assert!(
                chosen.iter().all(|port| Port { host_port: 0, ..*port } == any),
                "the rest stays as it was"
            );
            let error = locked.reserve(&any, "b").expect_err("none is left");
            assert_eq!(error.kind(), Kind::PortTaken);
            assert_eq!(error.to_string(), format!("port {any}: none is free {range}"));
            drop(locked);
            // With all others free again, it has the one that it had first.
            assert_eq!(try_one(&store, &any), store.lock().expect("locked").reserve(&any, "tried"));
            drop(others);
        }
        let listeners: Vec<_> =
            (40000..40005).map(|port| TcpListener::bind(("0.0.0.0", port)).expect("bound")).collect();
        let error = try_one(&store, &port("0")).expect_err("none is left");
        assert_eq!(error.to_string(), format!("port 0/tcp: none is free {range}"));
        drop(listeners);
    });
}

#[test]
fn without_ipv6_its_addresses_do_not_count() {
    in_fresh_namespace(&["-n"], "ports::without_ipv6_its_addresses_do_not_count", || {
        set("ipv6/conf/all/disable_ipv6", "1");
        set_loopback_up();
        let place = Place::new();
        let store = place.store();
        for protocol in Protocol::ALL {
            try_one(&store, &Port { protocol, ..port("8080") }).expect("IPv4 is there");
        }
        let error = try_one(&store, &port("[::1]:8080")).expect_err("no such address");
        assert_eq!(error.to_string(), "port [::1]:8080/tcp: no interface of this host has the address ::1");
    });
}

#[test]
fn an_ordinary_user_has_no_low_ports() {
    in_fresh_namespace(&["-n"], "ports::an_ordinary_user_has_no_low_ports", || {
        let status = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"])
            .arg(std::env::current_exe().expect("this binary"))
            .args(["--exact", "ports::try_a_low_port", "--ignored", "--nocapture", "--quiet"])
            .status();
        assert!(status.expect("setpriv (util-linux) is needed").success());
    });
}

#[test]
#[ignore = "a process of the test above"]
fn try_a_low_port() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let store = place.store();
    let error = try_one(&store, &port("80")).expect_err("it is low");
    assert_eq!(error.kind(), Kind::NotPermitted);
    let why = "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE";
    assert_eq!(error.to_string(), format!("port 80/tcp: {why}"));
    try_one(&store, &port("8080")).expect("it is not");
    // Whose process it is cannot be seen either.
    let error = Store::open("/proc/1".as_ref()).expect_err("it is root's").to_string();
    assert_eq!(error, "folder /proc/1: belongs to user 0");
}
