//! The host that networks are on: its sockets, its settings below /proc/sys.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use pillbox_netlink::route::{self, Route};
use pillbox_netlink::{link, nft};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, netdevice,
    sendmsg, socket_with, socketpair,
};
use rustix::thread::{CapabilitySet, capabilities};

use crate::cidr::Cidr;
use crate::error::{Context, Error, Kind, Result};
use crate::firewalld::Firewalld;
use crate::kernel;

/// The host's network namespace: the one in which this thread is.
pub struct Host {
    /// Links, addresses, routes.
    pub links: pillbox_netlink::Socket,
    /// The packet filter; opened when it is needed.
    filter: Option<nft::Socket>,
    /// What asks for a link's index by its name: netdevice(7).
    devices: OwnedFd,
    /// What was found when it was first asked for.
    firewalld: Option<Option<Firewalld>>,
}

/// Makes sure that the caller may change networks, and ask about the packet filter: the kernel refuses single
/// messages, and does not say why.
pub(crate) fn check_rights() -> Result<()> {
    match capabilities(None) {
        Ok(sets) if !sets.effective.contains(CapabilitySet::NET_ADMIN) => Err(Error::new(
            Kind::NotPermitted,
            "CAP_NET_ADMIN is missing: networks need it: run this as root, or add the capability",
        )),
        // Where the question is forbidden, the kernel's refusals have to do.
        _ => Ok(()),
    }
}

impl Host {
    /// Opens what is needed for links.
    ///
    /// # Errors
    /// The kernel gives no sockets.
    pub fn open() -> Result<Host> {
        let flags = SocketFlags::CLOEXEC;
        let devices = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        let devices = devices.context(format_args!("open a socket for netdevice(7)"))?;
        Ok(Host { links: pillbox_netlink::Socket::open()?, filter: None, devices, firewalld: None })
    }

    /// The socket to the packet filter.
    ///
    /// # Errors
    /// The kernel has no nf_tables; the error says what helps.
    pub fn filter(&mut self) -> Result<&mut nft::Socket> {
        if self.filter.is_none() {
            self.filter = Some(kernel::open_filter()?);
        }
        self.filter.as_mut().ok_or_else(|| Error::new(Kind::Host, "nf_tables: no socket"))
    }

    /// Whether the kernel has the packet filter.
    ///
    /// # Errors
    /// The kernel refuses the question.
    pub fn has_filter(&mut self) -> Result<bool> {
        let ask = |socket: &mut nft::Socket| Ok(socket.generation()?);
        Ok(kernel::of_filter(self.filter().and_then(ask))?.is_some())
    }

    /// The connection to firewalld, if it runs.
    ///
    /// # Errors
    /// The kernel refuses a question.
    pub fn firewalld(&mut self) -> Result<Option<&mut Firewalld>> {
        if self.firewalld.is_none() {
            self.firewalld = Some(Firewalld::find(self.filter()?)?);
        }
        Ok(self.firewalld.as_mut().and_then(Option::as_mut))
    }

    /// Makes changes in the packet filter, all of them or none.
    ///
    /// # Errors
    /// The kernel refuses one. If a part of it is missing, the error says what helps.
    pub fn commit(&mut self, batch: &nft::Batch) -> Result<()> {
        self.filter()?.commit(batch).map_err(kernel::word_commit)
    }

    /// Closes the socket to the packet filter after something has been deleted, without waiting.
    ///
    /// Closing a socket to nf_tables waits until what was deleted is no longer in use (an RCU grace period, 5
    /// to 25 ms). So the last reference to it becomes a message in a pair of unix sockets that nobody can
    /// reach any more, and the kernel's own worker, which collects such messages, closes it
    /// (net/unix/garbage.c). Before Linux 6.8 the caller does wait.
    pub fn leave_filter(&mut self) {
        let Some(filter) = self.filter.take().map(OwnedFd::from) else { return };
        let pair = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        // Where that fails, closing it here does as well.
        let Ok((one, other)) = pair else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [one.as_fd(), filter.as_fd()];
        if control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            let _ = sendmsg(&other, &[IoSlice::new(&[0])], &mut control, SendFlags::DONTWAIT);
        }
    }

    /// The index of the link of that name; none if there is none. It is no message over netlink.
    ///
    /// # Errors
    /// The kernel refuses the question.
    pub fn index_of(&self, name: &str) -> Result<Option<u32>> {
        match netdevice::name_to_index(&self.devices, name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno).context(format_args!("look up link {name}")),
        }
    }

    /// Has the kernel see that the other end of a pair is up. By itself it does so milliseconds later, and
    /// until then a bridge drops what is for that port: a connection made at once takes a second. It is a
    /// message over netlink only where no sysfs shows this network namespace.
    ///
    /// # Errors
    /// The link is gone.
    pub fn notice_carrier(&mut self, name: &str, index: u32) -> Result<()> {
        let read = |file: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/{file}"));
        let is_own = read("ifindex").is_ok_and(|text| text.trim_end().parse() == Ok(index));
        if is_own && read("carrier").is_ok() {
            return Ok(());
        }
        Ok(link::get(&mut self.links, index).map(drop)?)
    }

    /// The host's own networks: what its routes lead to, but for default routes.
    ///
    /// # Errors
    /// The kernel refuses the question.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let mut routes = route::list(&mut self.links)?;
        routes.retain(|route| route.table == route::MAIN_TABLE && route.destination.prefix > 0);
        Ok(routes)
    }
}

/// The network of a route.
pub fn destination(route: &Route) -> Cidr {
    Cidr { ip: route.destination.ip, prefix: route.destination.prefix }
}

/// Whether the host forwards packets of that family.
///
/// # Errors
/// The setting cannot be read.
pub fn forwards(is_v4: bool) -> Result<bool> {
    let name = forwarding(is_v4);
    let value = read_setting(name).context(format_args!("read /proc/sys/{name}"))?;
    Ok(value.trim() != "0")
}

/// Lets the host forward packets of that family; false if it did already.
///
/// # Errors
/// The setting cannot be read or written.
pub fn let_forward(is_v4: bool) -> Result<bool> {
    if forwards(is_v4)? {
        return Ok(false);
    }
    write_setting(forwarding(is_v4), "1").map(|()| true)
}

fn forwarding(is_v4: bool) -> &'static str {
    if is_v4 { "net/ipv4/ip_forward" } else { "net/ipv6/conf/all/forwarding" }
}

/// Lets packets from 127.0.0.0/8 leave by that link, and answers come back: for ports published on the
/// loopback; false if they did already. Frames that a container makes up are dropped by the packet filter,
/// which must have its rule first.
///
/// # Errors
/// The setting cannot be written.
pub fn route_loopback(link: &str) -> Result<bool> {
    let name = loopback_routing(link);
    if read_setting(&name).is_ok_and(|value| value.trim() == "1") {
        return Ok(false);
    }
    write_setting(&name, "1").map(|()| true)
}

/// Undoes [`route_loopback`], before the rule of the packet filter goes.
///
/// # Errors
/// The setting cannot be written.
pub fn keep_loopback(link: &str) -> Result<()> {
    write_setting(&loopback_routing(link), "0")
}

fn loopback_routing(link: &str) -> String {
    format!("net/ipv4/conf/{link}/route_localnet")
}

/// Whether the kernel has IPv6, and the host uses it.
pub fn has_ipv6() -> bool {
    kernel::has_ipv6()
        && read_setting("net/ipv6/conf/all/disable_ipv6").is_ok_and(|value| value.trim() == "0")
}

/// Whether links that are made have IPv6.
pub fn new_links_have_ipv6() -> bool {
    read_setting("net/ipv6/conf/default/disable_ipv6").is_ok_and(|value| value.trim() == "0")
}

/// Whether bridged packets pass the rules for routed ones.
pub fn bridges_pass_filter() -> bool {
    read_setting("net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value.trim() == "1")
}

/// Reads a setting by its path below /proc/sys; those of networks are of the reader's network namespace.
fn read_setting(name: &str) -> std::io::Result<String> {
    std::fs::read_to_string(format!("/proc/sys/{name}"))
}

fn write_setting(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value).context(format_args!("write {value} to {path}"))
}

/// The boot that this is.
///
/// # Errors
/// procfs is missing.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(PATH).context(format_args!("read {PATH}"))?.trim_end().to_string())
}
