//! Tracked connections over UDP. They have no end that the kernel sees, and packets of one that it tracks go
//! where its first packet went, whatever the rules say meanwhile. So what was tracked for a published port is
//! deleted when the port is published, and when it is not any more. For each question the kernel walks through its
//! whole table, so for all ports it is asked once.

use std::net::IpAddr;

use pillbox_json::order;
use pillbox_netlink::address;
use pillbox_netlink::conntrack::{self, Entry, Filter, Pattern};
use rustix::io::Errno;

use crate::attachment::{Attachment, Interface, Published};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::ip::Ip;
use crate::kernel;
use crate::port::{Port, Protocol};

/// The published ports of an attachment that are of UDP, with their interfaces.
fn over_udp(attachment: &Attachment) -> impl Iterator<Item = (&Interface, &Published)> {
    let ports = attachment
        .interfaces
        .iter()
        .flat_map(|interface| interface.ports.iter().map(move |published| (interface, published)));
    ports.filter(|(_, published)| published.port.protocol == Protocol::Udp)
}

/// Lets what clients send to ports that were just published go to the container, and no longer to this host.
///
/// # Errors
/// The kernel refuses to list or delete connections.
pub fn redirect(host: &mut Host, attachment: &Attachment) -> Result<()> {
    let published: Vec<_> = over_udp(attachment).collect();
    let Some((interface, first)) = published.first() else { return Ok(()) };
    let port = Some(first.port.host_port).filter(|_| published.len() == 1);
    let filter = Filter {
        protocol: Some(Protocol::Udp.number()),
        original: Pattern { destination_port: port, ..Pattern::default() },
        reply: Pattern { source_port: port, ..Pattern::default() },
    };
    let tracked = conntrack::list(host.filter()?, &filter).map_err(Error::from);
    let mut tracked = tracked.map_err(|error| match is_without(&error) {
        true => {
            let about = format!("{}: port {}", interface.place(), first.port);
            kernel::CONNTRACK_NETLINK.missing(&error.after(&about))
        }
        false => error,
    })?;
    let mut ports: Vec<Port> = published.iter().map(|(_, published)| published.port).collect();
    order::sort(&mut ports, |one, other| one.host_port < other.host_port);
    // Others are on their way through this host, to that port of somebody else.
    tracked.retain(|Entry { original, reply, .. }| {
        let of_port = of_number(&ports, original.destination_port);
        (reply.source, reply.source_port) == (original.destination, original.destination_port)
            && of_port.iter().any(|port| port.is_for(original.destination))
    });
    if tracked.is_empty() {
        return Ok(());
    }
    let own: Vec<IpAddr> =
        address::list(&mut host.links)?.iter().map(|assigned| assigned.address.ip).collect();
    tracked.retain(|Entry { original, .. }| {
        original.destination.is_loopback() || own.contains(&original.destination)
    });
    Ok(conntrack::delete_entries(host.filter()?, &tracked)?)
}

/// Lets what clients go on sending to ports that are no longer published be treated as new.
///
/// # Errors
/// The kernel refuses to delete connections.
pub fn forget(host: &mut Host, attachment: &Attachment) -> Result<()> {
    let mut published: Vec<(Ip, Port)> = over_udp(attachment)
        .flat_map(|(_, &Published { port, v4, v6 })| v4.into_iter().chain(v6).map(move |ip| (ip, port)))
        .collect();
    order::sort(&mut published, |(one, a), (other, b)| (one, a.host_port) < (other, b.host_port));
    for of_address in published.chunk_by(|(one, _), (other, _)| one == other) {
        let ports: Vec<Port> = of_address.iter().map(|(_, port)| *port).collect();
        match forget_of(host, of_address[0].0, &ports) {
            // Then the port could not be published.
            Err(error) if is_without(&error) => return Ok(()),
            forgotten => forgotten?,
        }
    }
    Ok(())
}

/// The same for one address of a container's, with its ports in the order of their numbers on the host.
fn forget_of(host: &mut Host, Ip(container): Ip, ports: &[Port]) -> Result<()> {
    let to_container = Filter {
        protocol: Some(Protocol::Udp.number()),
        original: Pattern::default(),
        reply: Pattern { source: Some(container), ..Pattern::default() },
    };
    if let [port] = ports {
        let original = Pattern { destination_port: Some(port.host_port), ..to_container.original };
        let reply = Pattern { source_port: Some(port.container_port), ..to_container.reply };
        return Ok(conntrack::delete(host.filter()?, &Filter { original, reply, ..to_container })?);
    }
    let mut tracked = conntrack::list(host.filter()?, &to_container)?;
    tracked.retain(|Entry { original, reply, .. }| {
        let of_port = of_number(ports, original.destination_port);
        of_port.iter().any(|port| port.container_port == reply.source_port)
    });
    Ok(conntrack::delete_entries(host.filter()?, &tracked)?)
}

/// Those with this number on the host, of ports in the order of these.
fn of_number(ports: &[Port], number: u16) -> &[Port] {
    let from = ports.partition_point(|port| port.host_port < number);
    let (_, rest) = ports.split_at(from);
    &rest[..rest.partition_point(|port| port.host_port == number)]
}

/// Whether the kernel cannot be asked for what it tracks: nobody takes the question.
fn is_without(error: &Error) -> bool {
    error.errno() == Some(Errno::INVAL)
}
