//! Where servers and clients stand: the network namespace of the host, of another machine, or of a container.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use pillbox_netlink::Socket;
use pillbox_netlink::address;
use pillbox_netlink::link::{self, Link};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace, by a process in it.
#[derive(Debug, Clone, Copy)]
pub enum Standpoint {
    /// This process's own.
    Host,
    Of(u32),
}

impl Standpoint {
    /// Runs something there: in a thread that goes there and ends.
    #[track_caller]
    pub fn run<T: Send + 'static>(self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let Standpoint::Of(pid) = self else { return body() };
        let namespace = namespace_of(pid);
        let thread = std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("enter a network namespace");
            drop(namespace);
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A socket that was opened there.
    pub fn socket(self) -> Socket {
        self.run(|| Socket::open().expect("netlink"))
    }

    /// Its links.
    pub fn links(self) -> Vec<Link> {
        link::list(&mut self.socket()).expect("links")
    }

    /// The link of that name.
    #[track_caller]
    pub fn link(self, name: &str) -> Link {
        let links = self.links();
        let link = links.iter().find(|link| link.name == name);
        link.unwrap_or_else(|| panic!("no {name} in {links:#?}")).clone()
    }

    /// The permanent addresses of a link, `10.88.0.2/16`.
    #[track_caller]
    pub fn addresses(self, name: &str) -> Vec<String> {
        let index = self.link(name).index;
        let assigned = address::list(&mut self.socket()).expect("addresses");
        let own =
            assigned.iter().filter(|assigned| assigned.index == index && assigned.is_permanent_global());
        own.map(|assigned| format!("{}/{}", assigned.address.ip, assigned.address.prefix)).collect()
    }
}

/// The network namespace of a process.
#[track_caller]
pub fn namespace_of(pid: u32) -> OwnedFd {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

#[track_caller]
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}
