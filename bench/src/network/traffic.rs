//! Traffic from a container to its host and to a neighbour, over a bridge of pillbox's, over one of the reference
//! plugins' and over a plain one. Sender and receiver are this process, with sockets in the network namespaces.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Bridge, BridgeOptions, Peer, Veth};
use pillbox_netlink::{LOOPBACK_INDEX, Socket};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;

use super::container::{create, write_netconf};
use super::host::{Host, Namespace, network_of};
use super::plugin::{self, GATEWAY, Plugins};
use crate::cases::read_pid;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result, error};
use crate::runtime::{Cost, Runtime};

/// The cases.
pub const TRAFFIC: [&str; 4] = [
    "64 MiB over TCP, container to host",
    "64 MiB over TCP, container to container",
    "a byte there and back over TCP, container to host",
    "a byte there and back over TCP, container to container",
];

/// A bridge that pillbox has made.
pub const OURS: &str = "pillbox's bridge";
/// A bridge that the reference plugins have made, with their rules.
pub const REFERENCE: &str = "the reference plugins' bridge";
/// A bridge and nothing else.
pub const PLAIN: &str = "a plain bridge";

/// How much is sent at once, and how often.
const PIECE: usize = 128 * 1024;
const PIECES: usize = 512;

/// How many bytes go there and back in a sample.
const TRIPS: u32 = 1000;

/// Two containers on a bridge, and connections from the first one. What holds the containers stays with them.
struct Pair {
    name: &'static str,
    host: Host,
    /// To the host, and to the second container.
    connections: Vec<(TcpStream, TcpStream)>,
    namespaces: Vec<Namespace>,
    containers: Vec<String>,
}

/// Measures all pairs that can be had.
pub fn measure(course: &Course<'_>, runtime: &Runtime, reference: Option<&Plugins>) -> Result<Vec<Line>> {
    eprintln!("bench: traffic …");
    let mut pairs = vec![of_pillbox(course, runtime)?];
    if let Some(plugins) = reference {
        pairs.push(of_plugins(course, plugins)?);
    }
    pairs.push(of_bridge(course)?);
    let samples = interleave(course.runs, TRAFFIC.len(), &pairs, &mut |pair, samples| {
        let [first, second, third, fourth] = samples else { return };
        let [host, neighbour] = pair.connections.as_slice() else { return };
        for (connection, stream, trips) in [(host, first, third), (neighbour, second, fourth)] {
            stream.add(send(connection));
            trips.add(go_back_and_forth(connection));
        }
    });
    let names: Vec<&str> = pairs.iter().map(|pair| pair.name).collect();
    let measured = lines(&TRAFFIC, &names, samples);
    for pair in pairs {
        // Paths and records are on its host.
        pair.host.enter()?;
        drop(pair.namespaces);
        pair.containers.iter().for_each(|id| runtime.discard(id));
    }
    Ok(measured)
}

impl Pair {
    /// Connects the first of two namespaces with its host and with the second one.
    fn connect(&mut self, ends: &[(OwnedFd, String)], gateway: &str) -> Result<()> {
        let [(first, _), (second, neighbour)] = ends else { return Err(error("not two containers")) };
        for (to, ip) in [(self.host.network(), gateway), (second.as_fd(), neighbour.as_str())] {
            let ip: Ipv4Addr = ip.parse().context(|| format!("address {ip}"))?;
            let connection = self.host.connect(first.as_fd(), to, SocketAddr::from((ip, 0)));
            self.connections.push(connection.context(|| self.name)?);
        }
        Ok(())
    }
}

fn pair(name: &'static str) -> Result<Pair> {
    let (connections, namespaces, containers) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Pair { name, host: Host::new()?, connections, namespaces, containers })
}

fn of_pillbox(course: &Course<'_>, runtime: &Runtime) -> Result<Pair> {
    let mut pair = pair(OURS)?;
    let mut ends = Vec::new();
    for number in [2, 3] {
        let ip = format!("10.90.0.{number}");
        let model = json!({ "type": "bridge", "bridge_name": "bench0", "subnets": ["10.90.0.0/16"] });
        let interface =
            json!({ "type": "veth", "peer_ip": format!("{ip}/16"), "ports": [format!("808{number}:80")] });
        let netconf = json!({ "model": model, "interfaces": [interface] });
        let (file, id) = (write_netconf(course, "traffic.json", &netconf)?, course.id());
        create(course, runtime, Some(&file), &id)?;
        pair.containers.push(id);
        let pid = read_pid(&course.scratch.file("pid"))?;
        ends.push((network_of(pid.as_raw_nonzero().get())?, ip));
    }
    pair.connect(&ends, GATEWAY)?;
    Ok(pair)
}

fn of_plugins(course: &Course<'_>, plugins: &Plugins) -> Result<Pair> {
    let mut pair = pair(REFERENCE)?;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let id = course.id();
        let namespace = Namespace::new(&pair.host, course.scratch.file(&id))?;
        let result = plugins.add(&id, &namespace.path)?;
        ends.push((namespace.open()?, plugin::address(&result)?));
        pair.namespaces.push(namespace);
    }
    pair.connect(&ends, GATEWAY)?;
    Ok(pair)
}

fn of_bridge(course: &Course<'_>) -> Result<Pair> {
    let mut pair = pair(PLAIN)?;
    let at = |last| Address { ip: Ipv4Addr::new(10, 90, 0, last).into(), prefix: 16 };
    // Indices that nobody else chooses.
    let (bridge, below) = (1000, Some(1000));
    let options = BridgeOptions::default();
    let made =
        Bridge { name: "plain", index: Some(bridge), address: Some([2, 0, 0, 0, 0, 1]), mtu: None, options };
    let mut socket = Socket::open()?;
    socket.request(&[link::add_bridge(&made)?, address::add(bridge, at(1))?])?;
    let mut ends = Vec::new();
    for last in [2, 3] {
        let namespace = Namespace::new(&pair.host, course.scratch.file(&course.id()))?;
        let (inside, index) = (namespace.open()?, u32::from(last));
        let peer = Peer { name: "eth0", index: Some(index), address: None, namespace: Some(inside.as_fd()) };
        let name = format!("plain{last}");
        let veth = Veth { index: Some(bridge + index), master: below, ..Veth::new(&name, peer) };
        socket.request(&[link::add_veth(&veth)?])?;
        pair.host.within(inside.as_fd(), || {
            let up = [link::set_up(LOOPBACK_INDEX)?, address::add(index, at(last))?, link::set_up(index)?];
            Ok(Socket::open()?.request(&up)?)
        })?;
        ends.push((inside, at(last).ip.to_string()));
        pair.namespaces.push(namespace);
    }
    pair.connect(&ends, GATEWAY)?;
    Ok(pair)
}

/// Holds this thread to the first or the last processor: where the kernel puts it would decide more than the network.
fn hold_to(last: bool, all: &CpuSet) -> io::Result<()> {
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu));
    let chosen = if last { allowed.next_back() } else { allowed.next() };
    let mut one = CpuSet::new();
    one.set(chosen.unwrap_or(0));
    Ok(sched_setaffinity(None, &one)?)
}

/// Runs both ends at once: the other one in a thread, on another processor or on the same. The result is how long this
/// one took.
fn between(
    (one, other): &(TcpStream, TcpStream),
    apart: bool,
    here: impl FnOnce(&TcpStream) -> io::Result<()>,
    there: impl FnOnce(&TcpStream) -> io::Result<()> + Send,
) -> Result<Cost> {
    let all = sched_getaffinity(None).context(|| "sched_getaffinity")?;
    hold_to(false, &all).context(|| "sched_setaffinity")?;
    let timed = std::thread::scope(|scope| {
        let thread = scope.spawn(move || hold_to(apart, &all).and_then(|()| there(other)));
        let begin = Instant::now();
        let done = here(one);
        let time = begin.elapsed();
        let other = thread.join().map_err(|_| error("traffic: the other end panicked"))?;
        done.and(other).map(|()| Cost { time }).context(|| "traffic")
    });
    sched_setaffinity(None, &all).context(|| "sched_setaffinity")?;
    timed
}

/// Sends until all has arrived, which the other end says with a byte.
fn send(connection: &(TcpStream, TcpStream)) -> Result<Cost> {
    let piece = vec![7; PIECE];
    let here = |mut stream: &TcpStream| {
        (0..PIECES).try_for_each(|_| stream.write_all(&piece))?;
        stream.read_exact(&mut [0])
    };
    let there = |mut stream: &TcpStream| {
        let (mut buffer, mut left) = (vec![0; PIECE], PIECE * PIECES);
        while left > 0 {
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => left -= read,
            }
        }
        stream.write_all(&[0])
    };
    between(connection, true, here, there)
}

/// The time of one byte that goes there and comes back.
fn go_back_and_forth(connection: &(TcpStream, TcpStream)) -> Result<Cost> {
    let here = |mut stream: &TcpStream| {
        (0..TRIPS).try_for_each(|_| {
            stream.write_all(&[0])?;
            stream.read_exact(&mut [0])
        })
    };
    let there = |mut stream: &TcpStream| {
        (0..TRIPS).try_for_each(|_| {
            stream.read_exact(&mut [0])?;
            stream.write_all(&[0])
        })
    };
    let Cost { time } = between(connection, false, here, there)?;
    Ok(Cost { time: time / TRIPS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bytes_go_over_a_connection_and_come_back() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let one = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let connection = (one, listener.accept().expect("accepted").0);
        let (all, trip) = (send(&connection).expect("sent"), go_back_and_forth(&connection).expect("gone"));
        assert!(trip.time > Duration::ZERO && trip.time < all.time, "{trip:?} {all:?}");
        // Nothing is left over for the next sample.
        connection.0.set_nonblocking(true).expect("set");
        assert!((&connection.0).read(&mut [0]).is_err());
    }
}
