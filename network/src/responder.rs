//! Where a container finds the responder for names: 127.0.0.11, port 53, in its own network namespace.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;

use pillbox_netlink::nft::{Base, Batch, Chain, ChainKind, End, Family, Hook, Rule, Socket, Table, priority};

use crate::error::{Context, Result};
use crate::namespace::within;
use crate::port::Protocol;

/// The address, which is Docker's.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const PORT: u16 = 53;

/// Its table in the container's packet filter.
const TABLE: &str = "pillbox-names";

/// Sockets in a container's network namespace.
#[derive(Debug)]
pub struct Sockets {
    /// For questions in one packet.
    pub udp: UdpSocket,
    /// For connections.
    pub tcp: TcpListener,
}

/// Opens them. They have a port that is free, to which the packet filter leads what is sent to port 53: so a
/// server for names that the container runs itself can have that one. Without a packet filter they have port
/// 53. The loopback is up.
///
/// # Errors
/// The namespace cannot be entered, or the kernel gives no sockets.
pub fn open(namespace: BorrowedFd<'_>) -> Result<Sockets> {
    within(namespace, || {
        let (sockets, port) = open_at(0)?;
        match lead_to(port) {
            Ok(()) => Ok(sockets),
            Err(_) => open_at(PORT).map(|(sockets, _)| sockets),
        }
    })?
}

fn open_at(port: u16) -> Result<(Sockets, u16)> {
    let step = || format!("listen on {ADDRESS}, port {port}");
    let udp = UdpSocket::bind(SocketAddrV4::new(ADDRESS, port)).context(format_args!("{}", step()))?;
    // Of the other protocol the same one is free as well: nobody else is there yet.
    let port = udp.local_addr().map(|address| address.port()).context(format_args!("{}", step()))?;
    let address = SocketAddr::from((ADDRESS, port));
    let tcp = TcpListener::bind(address).context(format_args!("{}", step()))?;
    udp.set_nonblocking(true).and_then(|()| tcp.set_nonblocking(true)).context(format_args!("{}", step()))?;
    Ok((Sockets { udp, tcp }, port))
}

/// Has what this namespace's programs send to the address, port 53, go to another port there.
fn lead_to(port: u16) -> Result<()> {
    let table = Table::new(Family::Ip, TABLE);
    let chain = Chain::based("out", Base::new(ChainKind::Nat, Hook::Output, priority::DESTINATION_NAT));
    let mut batch = Batch::new();
    // What one that was killed has left leads nowhere.
    batch.add_table(&table)?.delete_table(&table)?.add_table(&table)?.add_chain(&table, &chain)?;
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let rule = Rule::new("out").network(End::Destination, ADDRESS, 32);
        let rule = rule.port(protocol.number(), End::Destination, PORT).dnat(ADDRESS, Some(port));
        batch.add_rule(&table, &rule)?;
    }
    Ok(Socket::open()?.commit(&batch)?)
}
