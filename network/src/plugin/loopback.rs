//! The loopback of a network namespace, as `loopback` of the reference plugins does it: with CNI_IFNAME `lo`.

use pillbox_json::Raw;
use pillbox_netlink::{LOOPBACK_INDEX, Socket, address, link};

use super::Call;
use super::add::holder;
use super::configuration::Configuration;
use super::failure::{self, Failure, Result, failed};
use crate::cidr::Cidr;
use crate::cni::{AddResult, Operation, ResultAddress, ResultInterface, Version};
use crate::error::{Error, Kind};
use crate::link::mac_text;
use crate::namespace;

/// What the kernel calls it.
pub(super) const NAME: &str = "lo";

pub(super) fn run(
    call: &Call<'_>,
    operation: Operation,
    version: Version,
    configuration: &Configuration<'_>,
) -> Result<String> {
    let mut inside = match (operation, namespace_of(call)) {
        (Operation::Add | Operation::Check, inside) => inside?,
        // The host's own stays as it is, and of one that is gone nothing is left.
        (Operation::Del, Ok(inside)) => inside,
        _ => return Ok(String::new()),
    };
    let changed = match operation {
        Operation::Add => link::set_up(LOOPBACK_INDEX).and_then(|message| inside.request(&[message])),
        Operation::Del => link::set_down(LOOPBACK_INDEX).and_then(|message| inside.request(&[message])),
        _ => Ok(()),
    };
    changed.map_err(Error::from)?;
    let found = link::get(&mut inside, LOOPBACK_INDEX).map_err(Error::from)?;
    match operation {
        Operation::Add => result(call, version, configuration, &mut inside),
        Operation::Check if !found.is_up() => {
            Err(Error::of(Kind::Missing, format_args!("interface {NAME}: it is down")).into())
        }
        _ => Ok(String::new()),
    }
}

fn namespace_of(call: &Call<'_>) -> Result<Socket> {
    holder(call)?;
    let gone = || failed(failure::CONTAINER, format_args!("CNI_NETNS: {}: is gone", call.namespace));
    let inside = namespace::open_socket(call.namespace);
    inside.map_err(|error| Failure::new(failure::ENVIRONMENT, error.after("CNI_NETNS")))?.ok_or_else(gone)
}

fn result(
    call: &Call<'_>,
    version: Version,
    configuration: &Configuration<'_>,
    inside: &mut Socket,
) -> Result<String> {
    let mut result = match configuration.previous {
        Some(Raw(text)) => AddResult::parse(text, version).map_err(|error| error.after("prevResult"))?,
        None => AddResult::default(),
    };
    let place = result.interfaces.len() as u32;
    result.interfaces.0.push(ResultInterface {
        name: NAME.to_string(),
        mac: Some(mac_text([0; 6])),
        sandbox: Some(call.namespace.to_string()),
        ..ResultInterface::default()
    });
    for assigned in address::list(inside).map_err(Error::from)? {
        if assigned.index == LOOPBACK_INDEX {
            let address = Cidr::from(assigned.address);
            result.ips.0.push(ResultAddress { address, gateway: None, interface: Some(place) });
        }
    }
    Ok(result.write(version))
}
