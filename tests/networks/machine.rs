//! Other machines, with a cable to the host.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use pillbox_netlink::address::{self, Address};
use pillbox_netlink::link::{self, Peer, Veth};
use pillbox_netlink::route::{self, Route};
use pillbox_netlink::{LOOPBACK_INDEX, Socket};

use super::standpoint::{Standpoint, ip, namespace_of};

/// The host's addresses on the cable to [`Machine::outside`].
pub const HOST_4: &str = "192.0.2.1";
pub const HOST_6: &str = "2001:db8::1";

/// Those of the machine at the other end.
pub const OUTSIDE_4: &str = "192.0.2.2";
pub const OUTSIDE_6: &str = "2001:db8::2";

/// Another machine: a network namespace that lives as long as a process in it.
pub struct Machine(Child);

impl Machine {
    /// A machine that is connected to nothing.
    pub fn new() -> Machine {
        let script = ["-n", "sh", "-c", "echo; exec cat"];
        let child = Command::new("unshare").args(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut machine = Machine(child.expect("unshare (util-linux)"));
        // The line shows that unshare is done.
        let mut line = [0];
        machine.0.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("unshare -n");
        let up = link::set_up(LOOPBACK_INDEX).expect("loopback");
        machine.at().socket().request(&[up]).expect("loopback");
        machine
    }

    /// A machine on the host's network [`HOST_4`]/24, [`HOST_6`]/64, whose name there is `out0`.
    pub fn outside() -> Machine {
        let machine = Machine::new();
        machine.connect("out0", &[(HOST_4, OUTSIDE_4, 24), (HOST_6, OUTSIDE_6, 64)]);
        machine
    }

    pub fn at(&self) -> Standpoint {
        Standpoint::Of(self.0.id())
    }

    /// The path of its network namespace.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Lays a cable from the host's `name` to its own `eth0`: each end has an address of each network (the host's, its
    /// own, the prefix).
    pub fn connect(&self, name: &str, networks: &[(&str, &str, u8)]) {
        let namespace = namespace_of(self.0.id());
        let peer = Peer { name: "eth0", index: None, address: None, namespace: Some(namespace.as_fd()) };
        let veth = Veth::new(name, peer);
        let mut host = Socket::open().expect("netlink");
        host.request(&[link::add_veth(&veth).expect("veth")]).expect("veth");
        let mut own = self.at().socket();
        for (socket, link_name, is_own) in [(&mut host, name, false), (&mut own, "eth0", true)] {
            let index = link::index_of(socket, link_name).expect("index");
            socket.request(&[link::set_up(index).expect("up")]).expect("up");
            for (of_host, of_machine, prefix) in networks {
                let ip = ip(if is_own { of_machine } else { of_host });
                let add = address::add(index, Address { ip, prefix: *prefix }).expect("address");
                socket.request(&[add]).expect("address");
            }
        }
    }

    /// Sends what is for that network to the host.
    pub fn route(&self, network: &str, via: &str) {
        let (network, prefix) = network.split_once('/').expect("a network");
        let destination = Address { ip: ip(network), prefix: prefix.parse().expect("a prefix") };
        let route = Route { gateway: Some(ip(via)), ..Route::to(destination) };
        self.at().socket().request(&[route::add(&route).expect("route")]).expect("route");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("wait");
    }
}
