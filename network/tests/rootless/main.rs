//! An ordinary user's container is connected by pasta and by slirp4netns, with real traffic. Needs root, which makes the
//! network around the user, and Debian's packages passt and slirp4netns; util-linux.

mod world;

use std::net::{IpAddr, TcpListener, UdpSocket};

use pillbox_netlink::{Socket, link};
use pillbox_network::Kind;
use pillbox_network::rootless::{Helper, Options, Program};

use world::{V4_AND_V6, as_user, becomes, runs, serve, told, with_each_program};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_container_reaches_the_outside_under_the_hosts_address() {
    with_each_program("the_container_reaches_the_outside_under_the_hosts_address", |world| {
        world.serve_outside();
        world.prepare_and_start(&[], &V4_AND_V6).unwrap();
        // slirp4netns gives the address by a router advertisement.
        becomes("IPv6 inside", || world.container.told("tcp", "[2001:db8::2]:7000").is_ok());
        for protocol in ["tcp", "udp"] {
            assert_eq!(
                world.container.told(protocol, "192.0.2.2:7000").unwrap(),
                ip("192.0.2.1"),
                "{protocol}"
            );
            assert_eq!(
                world.container.told(protocol, "[2001:db8::2]:7000").unwrap(),
                ip("2001:db8::1"),
                "{protocol}"
            );
        }
    });
}

#[test]
fn a_published_port_leads_in_and_shows_the_clients_address() {
    with_each_program("a_published_port_leads_in_and_shows_the_clients_address", |world| {
        world.serve_outside();
        world.container.serve(80);
        world.container.serve(82);
        let ports = ["8080:80", "8080:80/udp", "127.0.0.1:8100-8102:80-82"];
        let helper = world.prepare_and_start(&ports, &V4_AND_V6).unwrap();
        let is_pasta = world.program == Program::Pasta;
        for protocol in ["tcp", "udp"] {
            assert_eq!(
                world.neighbour.told(protocol, "192.0.2.1:8080").unwrap(),
                ip("192.0.2.2"),
                "{protocol}"
            );
            if protocol == "tcp" || helper.warning().is_none() {
                told(protocol, "127.0.0.1:8080").unwrap();
            }
        }
        assert_eq!(helper.warning().is_some(), !is_pasta || helper.old);
        // A range, and an address of the host's that the neighbour does not reach.
        told("tcp", "127.0.0.1:8102").unwrap();
        world.neighbour.told("tcp", "192.0.2.1:8102").unwrap_err();
        if is_pasta {
            if helper.old {
                // Shows it the container's address.
                world.container.told("tcp", "[2001:db8::2]:7000").unwrap();
            }
            assert_eq!(world.neighbour.told("tcp", "[2001:db8::1]:8080").unwrap(), ip("2001:db8::2"));
            told("tcp", "[::1]:8080").unwrap();
        }
    });
}

#[test]
fn names_are_asked_of_the_hosts_name_server() {
    with_each_program("names_are_asked_of_the_hosts_name_server", |world| {
        world.neighbour.run(|| {
            let server = UdpSocket::bind("192.0.2.2:53").unwrap();
            std::thread::spawn(move || {
                let mut question = [0; 64];
                let (length, from) = server.recv_from(&mut question).unwrap();
                server.send_to(&question[..length], from).unwrap();
            })
        });
        world.prepare_and_start(&[], &V4_AND_V6).unwrap();
        let server = if world.program == Program::Pasta { "169.254.1.1:53" } else { "10.0.2.3:53" };
        let answer = world.container.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            socket.send_to(b"a question", server).unwrap();
            let mut answer = [0; 64];
            let (length, from) = socket.recv_from(&mut answer).unwrap();
            (answer[..length].to_vec(), from.to_string())
        });
        assert_eq!(answer, (b"a question".to_vec(), server.to_string()));
    });
}

#[test]
fn the_hosts_loopback_is_closed_to_the_container() {
    with_each_program("the_hosts_loopback_is_closed_to_the_container", |world| {
        serve("127.0.0.1", 7001);
        world.prepare_and_start(&[], &V4_AND_V6).unwrap();
        // The gateways that the programs could map to it; and ports that are nobody's in the container.
        for to in ["192.0.2.2:7001", "10.0.2.2:7001", "127.0.0.1:7001", "192.0.2.1:7001", "169.254.1.1:7001"]
        {
            let reached = world.container.told("tcp", to);
            assert!(reached.is_err(), "{to}: {reached:?}");
        }
    });
}

#[test]
fn the_interface_is_as_asked_for() {
    with_each_program("the_interface_is_as_asked_for", |world| {
        let options = Options { mtu: Some(1400), ipv6: false, name_server: None };
        world.neighbour.serve(7000);
        world.prepare_and_start(&[], &options).unwrap();
        let mut inside = world.container.run(|| Socket::open().unwrap());
        let eth0 = link::get(&mut inside, "eth0").unwrap();
        assert!(eth0.is_up());
        if world.program == Program::Slirp4netns {
            assert_eq!(eth0.mtu, 1400);
        }
        world.container.told("tcp", "192.0.2.2:7000").unwrap();
        world.container.told("tcp", "[2001:db8::2]:7000").unwrap_err();
    });
}

#[test]
fn it_ends_by_its_record_and_gives_the_ports_back() {
    with_each_program("it_ends_by_its_record_and_gives_the_ports_back", |world| {
        let helper = world.prepare_and_start(&["8080:80", "8081:81/udp"], &V4_AND_V6).unwrap();
        assert!(
            as_user({
                let helper = helper.clone();
                move || helper.is_running()
            })
            .unwrap()
        );
        let taken = world.prepare_and_start(&["8080:80"], &V4_AND_V6).unwrap_err();
        assert_eq!(taken.kind(), Kind::PortTaken, "{taken}");
        // As another command does it, which did not start it.
        let text = pillbox_json::write::to_string(&helper).unwrap();
        let read: Helper = pillbox_json::parse(text.as_bytes()).unwrap();
        as_user(move || read.end()).unwrap();
        assert!(!runs(helper.pid));
        TcpListener::bind("[::]:8080").unwrap();
        UdpSocket::bind("[::]:8081").unwrap();
        as_user(move || helper.end()).unwrap();
    });
}

#[test]
fn it_ends_with_the_container_even_if_nobody_ends_it() {
    with_each_program("it_ends_with_the_container_even_if_nobody_ends_it", |world| {
        let helper = world.prepare_and_start(&["8080:80"], &V4_AND_V6).unwrap();
        assert_eq!(world.folder.join("netns").is_symlink(), helper.old);
        assert!(!world.folder.join("slirp4netns.sock").exists());
        world.container.end();
        if helper.old {
            // It sees only that the container's state folder is removed.
            std::fs::remove_dir_all(&world.folder).unwrap();
        }
        becomes("the program's end", || !runs(helper.pid));
    });
}

#[test]
fn what_is_wrong_is_one_line_and_leaves_nothing() {
    with_each_program("what_is_wrong_is_one_line_and_leaves_nothing", |world| {
        let refused = |ports: &[&str]| world.prepare_and_start(ports, &V4_AND_V6).unwrap_err();
        let low = refused(&["99:80"]);
        assert_eq!(low.kind(), Kind::NotPermitted);
        assert_eq!(
            low.to_string(),
            "port 99/tcp: an ordinary user may bind ports from 1024 on: publish a higher one, or let root set sysctl \
             net.ipv4.ip_unprivileged_port_start=99"
        );
        // A range of which one port is taken on one address only.
        let _other = TcpListener::bind("127.0.0.1:8001").unwrap();
        assert_eq!(
            refused(&["8000-8002:80-82"]).to_string(),
            "port 8001/tcp: another program on the host has it"
        );

        let name = world.program.name();
        std::fs::remove_file("/dev/net/tun").unwrap();
        let error = refused(&["8000:80"]).to_string();
        assert!(error.starts_with(&format!("{name}: ")) && error.contains("tun"), "{error}");
        assert!(!error.contains('\n') && !error.contains("syslog"), "{error}");
        assert_eq!(std::fs::read_dir(&world.folder).unwrap().count(), 0);
        TcpListener::bind("[::]:8000").unwrap();

        world.container.end();
        let error = refused(&[]).to_string();
        assert!(error.contains("/ns/user: no such file or folder"), "{error}");
    });
}
