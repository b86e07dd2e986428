//! Tracked connections over UDP. They have no end that the kernel sees, and packets of one that it tracks go
//! where its first packet went, whatever the rules say meanwhile. So what was tracked for a published port is
//! deleted when the port is published, and when it is not any more.

use std::net::IpAddr;

use pillbox_netlink::address;
use pillbox_netlink::conntrack::{self, Filter, Pattern};
use rustix::io::Errno;

use crate::attachment::{Attachment, Interface, Published};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::ip::Ip;
use crate::kernel;
use crate::port::Protocol;

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
    let mut own: Option<Vec<IpAddr>> = None;
    for (interface, published) in over_udp(attachment) {
        let port = Some(published.port.host_port);
        let protocol = Some(Protocol::Udp.number());
        let filter = Filter {
            protocol,
            original: Pattern { destination_port: port, ..Pattern::default() },
            reply: Pattern { source_port: port, ..Pattern::default() },
        };
        let tracked = conntrack::list(host.filter()?, &filter).map_err(Error::from);
        let tracked = tracked.map_err(|error| match is_without(&error) {
            true => {
                let about = format!("{}: port {}", interface.place(), published.port);
                kernel::CONNTRACK_NETLINK.missing(&error.after(&about))
            }
            false => error,
        });
        for entry in tracked? {
            let to = entry.original.destination;
            if own.is_none() {
                let assigned = address::list(&mut host.links)?;
                own = Some(assigned.iter().map(|assigned| assigned.address.ip).collect());
            }
            let is_own = to.is_loopback() || own.iter().flatten().any(|ip| *ip == to);
            // Others are on their way through this host, to that port of somebody else.
            if entry.reply.source == to && is_own && published.port.is_for(to) {
                let original = Pattern {
                    source: Some(entry.original.source),
                    destination: Some(to),
                    source_port: Some(entry.original.source_port),
                    destination_port: port,
                };
                conntrack::delete(host.filter()?, &Filter { protocol, original, reply: Pattern::default() })?;
            }
        }
    }
    Ok(())
}

/// Lets what clients go on sending to ports that are no longer published be treated as new.
///
/// # Errors
/// The kernel refuses to delete connections.
pub fn forget(host: &mut Host, attachment: &Attachment) -> Result<()> {
    for (_, &Published { port, v4, v6 }) in over_udp(attachment) {
        for Ip(container) in v4.into_iter().chain(v6) {
            let filter = Filter {
                protocol: Some(Protocol::Udp.number()),
                original: Pattern { destination_port: Some(port.host_port), ..Pattern::default() },
                reply: Pattern {
                    source: Some(container),
                    source_port: Some(port.container_port),
                    ..Pattern::default()
                },
            };
            match conntrack::delete(host.filter()?, &filter).map_err(Error::from) {
                // Then the port could not be published.
                Err(error) if is_without(&error) => return Ok(()),
                deleted => deleted?,
            }
        }
    }
    Ok(())
}

/// Whether the kernel cannot be asked for what it tracks: nobody takes the question.
fn is_without(error: &Error) -> bool {
    error.errno() == Some(Errno::INVAL)
}
