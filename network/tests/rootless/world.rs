//! A host, its neighbour, and an ordinary user's container on it, in namespaces of the test's own that are gone afterwards.
//!
//! 192.0.2.2 (neighbour, with a name server) - 192.0.2.1 (host, this process) - container (connected by the program)

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Peer, Veth};
use pillbox_netlink::route::{self, Route};
use pillbox_netlink::{LOOPBACK_INDEX, Socket};
use pillbox_network::rootless::{Helper, Options, Program, Tools, prepare};
use pillbox_network::{Port, Result};
use rustix::process::Pid;
use rustix::thread::{self, Gid, LinkNameSpaceType, Uid};

/// Set in the process that is in the new namespaces.
const INSIDE: &str = "ROOTLESS_TEST_INSIDE";

/// An ordinary user.
const USER: u32 = 1000;

/// What stands on this host's /etc/resolv.conf, and a /dev/net/tun that everybody may open, as on other hosts.
const SET_UP: &str = "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && \
                      echo nameserver 192.0.2.2 >/dev/net/resolv.conf && \
                      mount --bind /dev/net/resolv.conf /etc/resolv.conf && exec \"$0\" \"$@\"";

pub const V4_AND_V6: Options = Options { mtu: None, ipv6: true, name_server: None };

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test's body with each of the two programs, in a world of its own: runs the test binary again under unshare, with
/// that one test.
pub fn with_each_program(test: &str, body: fn(&World)) {
    for program in [Program::Pasta, Program::Slirp4netns] {
        with(program, test, body);
    }
}

fn with(program: Program, test: &str, body: fn(&World)) {
    if let Some(inside) = std::env::var_os(INSIDE) {
        if inside == program.name() {
            body(&World::new(program));
        }
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return skip(test, "needs root for namespaces");
    }
    if find(program).is_none() {
        return skip(test, &format!("{} is not installed", program.name()));
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["-n", "-m", "sh", "-c", SET_UP])
        .arg(this)
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(INSIDE, program.name())
        .status()
        .expect("unshare (util-linux) is needed");
    assert!(status.success(), "{test} failed with {}", program.name());
}

/// Says what is left out; not eprintln!, which the test harness captures.
pub fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {why}");
}

fn find(program: Program) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program.name())).find(|path| path.is_file())
}

pub struct World {
    pub program: Program,
    pub neighbour: Stand,
    pub container: Stand,
    /// The container's state folder.
    pub folder: PathBuf,
    /// A folder with nothing but the program.
    tools: PathBuf,
    /// What was started.
    helpers: RefCell<Vec<Helper>>,
}

impl Drop for World {
    fn drop(&mut self) {
        for helper in self.helpers.take() {
            helper.end().unwrap();
        }
    }
}

impl World {
    fn new(program: Program) -> World {
        let neighbour = Stand::new(&["-n"]);
        let mut host = Socket::open().unwrap();
        let namespace = neighbour.namespace();
        let peer = Peer { name: "far0", index: None, address: None, namespace: Some(namespace.as_fd()) };
        let veth = Veth::new("up0", peer);
        host.request(&[link::set_up(LOOPBACK_INDEX).unwrap(), link::add_veth(&veth).unwrap()]).unwrap();
        let mut far: Socket = neighbour.run(|| Socket::open().unwrap());
        for (socket, name, own) in [(&mut host, "up0", 1), (&mut far, "far0", 2)] {
            let index = link::index_of(socket, name).unwrap();
            let at = |ip: String, prefix| {
                address::add(index, Address { ip: ip.parse().unwrap(), prefix }).unwrap()
            };
            socket
                .request(&[
                    at(format!("192.0.2.{own}"), 24),
                    at(format!("2001:db8::{own}"), 64),
                    link::set_up(index).unwrap(),
                ])
                .unwrap();
        }
        let gateways = ["192.0.2.2", "2001:db8::2"].map(|ip| Route::default_via(ip.parse().unwrap()));
        host.request(&gateways.map(|route| route::add(&route).unwrap())).unwrap();

        let container = as_user(|| Stand::new(&["-U", "-r", "-n"]));
        // In the tmpfs of this mount namespace.
        let [tools, folder] = ["/dev/net/tools", "/dev/net/state"].map(PathBuf::from);
        std::fs::create_dir(&tools).unwrap();
        std::os::unix::fs::symlink(find(program).unwrap(), tools.join(program.name())).unwrap();
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(USER), Some(USER)).unwrap();
        World { program, neighbour, container, folder, tools, helpers: RefCell::default() }
    }

    /// Serves port 7000 on the neighbour. IPv6 gets there some time after the link is up.
    pub fn serve_outside(&self) {
        self.neighbour.serve(7000);
        becomes("IPv6 outside", || told("tcp", "[2001:db8::2]:7000").is_ok());
    }

    pub fn prepare_and_start(&self, ports: &[&str], options: &Options) -> Result<Helper> {
        let ports: Vec<Port> = ports.iter().flat_map(|text| Port::parse(text).unwrap()).collect();
        let (tools, folder, options) = (self.tools.clone(), self.folder.clone(), options.clone());
        let init = self.container.pid();
        let helper = as_user(move || {
            prepare(&Tools { search_path: tools.as_os_str() }, &ports, &options)?.start(init, &folder)
        })?;
        self.helpers.borrow_mut().push(helper.clone());
        Ok(helper)
    }
}

/// Runs something as an ordinary user, in a thread that becomes one and ends. Programs that it starts are the user's as well.
pub fn as_user<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
        thread::set_thread_groups(&[]).unwrap();
        thread::set_thread_res_gid(gid, gid, gid).unwrap();
        thread::set_thread_res_uid(uid, uid, uid).unwrap();
        body()
    });
    thread.join().unwrap()
}

/// A network namespace, which lives as long as a process in it.
pub struct Stand(RefCell<Child>);

impl Stand {
    fn new(unshare: &[&str]) -> Self {
        let child = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stand = Stand(RefCell::new(child));
        // The line shows that unshare is done.
        let mut line = [0];
        stand.0.borrow_mut().stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        stand
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0.borrow())
    }

    pub fn namespace(&self) -> OwnedFd {
        std::fs::File::open(format!("/proc/{}/ns/net", self.pid())).unwrap().into()
    }

    /// Runs something in there, in a thread that goes there and ends.
    pub fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = self.namespace();
        let thread = std::thread::spawn(move || {
            thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        });
        thread.join().unwrap()
    }

    /// Listens in there on a port of TCP and of UDP, and tells every client its address.
    pub fn serve(&self, port: u16) {
        self.run(move || serve("::", port));
    }

    /// What a server tells a client in here.
    pub fn told(&self, protocol: &'static str, to: &str) -> std::io::Result<IpAddr> {
        let to = to.to_string();
        self.run(move || told(protocol, &to))
    }

    /// Ends the process, as a container's first process ends, with its namespaces.
    pub fn end(&self) {
        let mut child = self.0.borrow_mut();
        let _ = child.kill();
        child.wait().unwrap();
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn serve(ip: &str, port: u16) {
    let at: SocketAddr = (ip.parse::<IpAddr>().unwrap(), port).into();
    let (tcp, udp) = (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
    std::thread::spawn(move || {
        for client in tcp.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0]);
            let _ = write!(client, "{}", client.peer_addr().unwrap().ip());
        }
    });
    std::thread::spawn(move || {
        while let Ok((_, from)) = udp.recv_from(&mut [0; 64]) {
            udp.send_to(from.ip().to_string().as_bytes(), from).unwrap();
        }
    });
}

/// What a server tells a client here: the address that it sees.
pub fn told(protocol: &str, to: &str) -> std::io::Result<IpAddr> {
    let to: SocketAddr = to.parse().unwrap();
    let mut text = String::new();
    if protocol == "tcp" {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Debian 12's pasta passes nothing on before the client has spoken.
        stream.write_all(b"?")?;
        stream.read_to_string(&mut text)?;
    } else {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut answer = [0; 64];
        socket.send(b"?")?;
        let length = socket.recv(&mut answer)?;
        text = String::from_utf8_lossy(&answer[..length]).into_owned();
    }
    let ip: IpAddr = text.parse().map_err(|_| std::io::Error::other(format!("{text:?} is no address")))?;
    Ok(ip.to_canonical())
}

/// Waits until something is so.
pub fn becomes(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    begin.elapsed()
}

/// Whether a process runs: not even as a zombie that nobody has waited for.
pub fn runs(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap().starts_with(" Z"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            false
        }
    }
}
