use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};

use super::pasta::Dialect;
use super::*;
use crate::ip::Ip;

const TARGET: Target = Target { pid: 4711, has_own_users: true };
const BOTH: Options = Options { mtu: None, ipv6: true, name_server: None };

fn ports(texts: &[&str]) -> Vec<Port> {
    texts.iter().flat_map(|text| Port::parse(text).unwrap()).collect()
}

fn of_pasta(texts: &[&str], options: &Options, dialect: Dialect) -> String {
    pasta::compile(&TARGET, &ports(texts), options, dialect)
}

#[test]
fn pasta_gets_all_that_is_asked_and_nothing_by_itself() {
    assert_eq!(
        of_pasta(&[], &BOTH, Dialect::Current),
        "--quiet --config-net --ns-ifname eth0 --pid /proc/self/fd/1 --dns-forward 169.254.1.1 -t none -u none -T none \
         -U none --userns /proc/4711/ns/user --map-host-loopback none --netns /proc/4711/ns/net"
    );
    let options = Options { mtu: Some(1400), ipv6: false, name_server: Some("10.9.9.9".parse().unwrap()) };
    assert_eq!(
        of_pasta(&["127.0.0.1:8080:80", "53:53/udp"], &options, Dialect::Old),
        "--quiet --config-net --ns-ifname eth0 --pid /proc/self/fd/1 --dns-forward 10.9.9.9 --mtu 1400 \
         -t 127.0.0.1/8080-8080:80-80 -u 53-53:53-53 -T none -U none --userns /proc/4711/ns/user --no-map-gw \
         --netns ./netns --ipv4-only"
    );
    let target = Target { has_own_users: false, ..TARGET };
    let shared = pasta::compile(&target, &[], &BOTH, Dialect::Current);
    assert!(!shared.contains("--userns") && shared.contains("--netns /proc/4711/ns/net"), "{shared}");
}

#[test]
fn pasta_gets_ranges_where_ports_follow_each_other() {
    let spoken = |texts: &[&str]| {
        let arguments = pasta::compile(&TARGET, &ports(texts), &BOTH, Dialect::Current);
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let pairs = arguments.windows(2).filter(|pair| ["-t", "-u"].contains(&pair[0]));
        pairs.map(|pair| pair.join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(
        spoken(&["8000-8999:80-1079", "[::1]:7:7"]),
        ["-t 8000-8999:80-1079", "-t ::1/7-7:7-7", "-u none"]
    );
    assert_eq!(
        spoken(&["1:1", "2:2/udp", "3:3", "4:5", "5:6", "65535:8", "9:9"]),
        ["-t 1-1:1-1", "-u 2-2:2-2", "-t 3-3:3-3", "-t 4-5:5-6", "-t 65535-65535:8-8", "-t 9-9:9-9"]
    );
}

#[test]
fn slirp4netns_gets_all_that_is_asked_and_nothing_by_itself() {
    assert_eq!(
        slirp4netns::compile(&TARGET, &ports(&["8080:80"]), &BOTH, 7),
        "--configure --disable-host-loopback --enable-sandbox --enable-seccomp --exit-fd=0 --ready-fd=7 --mtu=65520 \
         --enable-ipv6 --api-socket=slirp4netns.sock 4711 eth0"
    );
    let options = Options { mtu: Some(1400), ..Options::default() };
    assert_eq!(
        slirp4netns::compile(&TARGET, &[], &options, 7),
        "--configure --disable-host-loopback --enable-sandbox --enable-seccomp --exit-fd=0 --ready-fd=7 --mtu=1400 4711 eth0"
    );
}

/// A program that says more than a small pipe takes, and fails.
const BROKEN: &str = "#!/bin/sh\n\
    echo 'it is broken' >&2; echo 'Usage: none' >&2; i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo much >&2; done; exit 1\n";

/// A folder with programs of those names, which do not work.
struct Folder(PathBuf);

impl Folder {
    fn with(test: &str, programs: &[&str]) -> Folder {
        let path = std::env::temp_dir().join(format!("pillbox-{test}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        for program in programs {
            let program = path.join(program);
            std::fs::write(&program, BROKEN).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Folder(path)
    }

    fn prepare(&self, texts: &[&str], options: &Options) -> std::result::Result<Prepared, String> {
        let tools = Tools { search_path: self.0.as_os_str() };
        prepare(&tools, &ports(texts), options).map_err(|error| error.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn pasta_is_taken_first_and_where_there_is_neither_both_are_named() {
    let folder = Folder::with("neither", &[]);
    let error = folder.prepare(&[], &BOTH).unwrap_err();
    assert!(
        error.contains("passt") && error.contains("slirp4netns") && error.contains("host's network"),
        "{error}"
    );
    let (both, one) =
        (Folder::with("both", &["pasta", "slirp4netns"]), Folder::with("one", &["slirp4netns"]));
    assert_eq!(both.prepare(&[], &BOTH).unwrap().name_server().to_string(), "169.254.1.1");
    assert_eq!(one.prepare(&[], &BOTH).unwrap().name_server().to_string(), "10.0.2.3");
    // pasta stands in a later folder; a relative one is left out.
    let search_path = std::env::join_paths([PathBuf::from("."), one.0.clone(), both.0.clone()]).unwrap();
    let prepared = prepare(&Tools { search_path: &search_path }, &[], &BOTH).unwrap();
    assert_eq!((prepared.program, prepared.path), (Program::Pasta, both.0.join("pasta")));
}

/// Why a program does not start. While another test starts a process, that may hold the file open for
/// writing.
fn refusal(prepared: &Prepared, folder: &Folder) -> String {
    loop {
        let error = prepared.start(rustix::process::getpid(), &folder.0).unwrap_err();
        if error.errno() != Some(rustix::io::Errno::TXTBSY) {
            return error.to_string();
        }
    }
}

#[test]
fn a_program_that_fails_is_quoted_and_leaves_nothing() {
    for program in Program::ALL {
        let folder = Folder::with(&format!("broken-{}", program.name()), &[program.name()]);
        let prepared = folder.prepare(&["127.0.0.1::80"], &BOTH).unwrap();
        assert_eq!(refusal(&prepared, &folder), format!("{}: it is broken", program.name()));
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
        std::fs::write(folder.0.join(program.name()), "not a program").unwrap();
        let error = refusal(&prepared, &folder);
        assert!(
            error.starts_with(&format!("{0}: execute {1}/{0}: ", program.name(), folder.0.display())),
            "{error}"
        );
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let (pasta, slirp) = (Folder::with("pasta", &["pasta"]), Folder::with("slirp", &["slirp4netns"]));
    let v4 = Options { ipv6: false, ..BOTH };
    let named = Options { name_server: Some("10.9.9.9".parse().unwrap()), ..BOTH };
    let small = Options { mtu: Some(60), ..BOTH };
    for (folder, texts, options, expected) in [
        (&pasta, &["9:9/sctp"][..], &BOTH, "port 9/sctp: pasta publishes tcp and udp, not sctp"),
        (&pasta, &["[::1]:9:9"], &v4, "port [::1]:9/tcp: pasta runs without IPv6"),
        (&slirp, &["[::1]:9:9"], &BOTH, "port [::1]:9/tcp: slirp4netns publishes IPv4 only: install passt"),
        (&slirp, &[], &named, "name server 10.9.9.9: slirp4netns has its own, 10.0.2.3"),
        (&slirp, &[], &small, "mtu 60: must be from 68 to 65520"),
        (
            &pasta,
            &["192.0.2.77::9"],
            &BOTH,
            "port 192.0.2.77:0/tcp: no interface of the host has that address",
        ),
    ] {
        assert_eq!(folder.prepare(texts, options).unwrap_err(), expected);
    }
}

#[test]
fn a_free_port_is_chosen_and_a_taken_one_is_named() {
    let folder = Folder::with("ports", &["pasta"]);
    let chosen =
        folder.prepare(&["127.0.0.1::80", "127.0.0.1::81", "127.0.0.1::82/udp"], &BOTH).unwrap().ports;
    assert!(chosen.iter().all(|port| port.host_port >= 1024), "{chosen:?}");
    assert_ne!(chosen[0].host_port, chosen[1].host_port);
    assert_eq!(chosen[2].container_port, 82);

    let loopback = Ip("127.0.0.1".parse().unwrap());
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (protocol, number) in
        [("tcp", tcp.local_addr().unwrap().port()), ("udp", udp.local_addr().unwrap().port())]
    {
        for ip in ["", "127.0.0.1:"] {
            let error = folder.prepare(&[&format!("{ip}{number}:80/{protocol}")], &BOTH).unwrap_err();
            assert_eq!(error, format!("port {ip}{number}/{protocol}: another program on the host has it"));
        }
    }
    let free = Port { host_ip: Some(loopback), ..chosen[0] };
    assert_eq!(reservation::reserve(Program::Pasta, &[free], &BOTH).unwrap(), [free]);
}

fn sleep() -> Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn helper(child: &Child) -> Helper {
    Helper::of(Program::Slirp4netns, Pid::from_child(child), &ports(&["8080:80"])).unwrap()
}

#[test]
fn what_is_recorded_ends_that_program_and_no_other() {
    let mut child = sleep();
    let recorded = helper(&child);
    let text = pillbox_json::write::to_string(&recorded).unwrap();
    let read: Helper = pillbox_json::parse(text.as_bytes()).unwrap();
    assert_eq!(read, recorded, "{text}");
    assert!(text.starts_with(r#"{"program":"slirp4netns","pid":"#), "{text}");
    assert!(read.warning().unwrap().contains("passt"));

    for other in [Helper { identity: read.identity ^ 1, ..read.clone() }, Helper { pid: 0, ..read.clone() }] {
        other.end().unwrap();
        assert!(!other.is_running().unwrap());
        assert_eq!(child.try_wait().unwrap(), None);
    }
    assert!(read.is_running().unwrap());
    read.end().unwrap();
    assert!(!read.is_running().unwrap());
    // Collected already, though not by its own handle.
    assert!(child.try_wait().is_err());
    read.end().unwrap();
}

#[test]
fn one_that_has_ended_does_not_run_even_if_nobody_has_waited() {
    let mut child = sleep();
    let recorded = helper(&child);
    child.kill().unwrap();
    while recorded.is_running().unwrap() {
        std::thread::yield_now();
    }
    recorded.end().unwrap();
    // Collected by now.
    assert!(child.wait().is_err());
}
