//! The loopback of a network namespace, as `loopback` of the reference plugins does it: with CNI_IFNAME `lo`.

use pillbox_json::Raw;
use pillbox_netlink::{LOOPBACK_INDEX, address, link};

use super::Call;
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
    let inside = match call.namespace {
        "" => None,
        path => namespace::open_socket(path).map_err(|error| Failure::new(failure::ENVIRONMENT, error))?,
    };
    let Some(mut inside) = inside else {
        return match operation {
            Operation::Add | Operation::Check => {
                Err(failed(failure::CONTAINER, format_args!("CNI_NETNS: {}: is gone", call.namespace)))
            }
            _ => Ok(String::new()),
        };
    };
    match operation {
        Operation::Add => {
            inside.request(&[link::set_up(LOOPBACK_INDEX).map_err(Error::from)?]).map_err(Error::from)?
        }
        Operation::Del => {
            inside.request(&[link::set_down(LOOPBACK_INDEX).map_err(Error::from)?]).map_err(Error::from)?
        }
        _ => {}
    }
    let found = link::get(&mut inside, LOOPBACK_INDEX).map_err(Error::from)?;
    if operation == Operation::Check && !found.is_up() {
        return Err(Error::of(Kind::Missing, format_args!("interface {NAME}: it is down")).into());
    }
    if operation != Operation::Add {
        return Ok(String::new());
    }
    let mut result = match configuration.previous {
        Some(Raw(text)) => AddResult::parse(text, version).map_err(|error| error.after("prevResult"))?,
        None => AddResult::default(),
    };
    let place = result.interfaces.len() as u32;
    result.interfaces.0.push(ResultInterface {
        name: NAME.to_string(),
        mac: found.address.map(mac_text),
        sandbox: Some(call.namespace.to_string()),
        ..ResultInterface::default()
    });
    for assigned in address::list(&mut inside).map_err(Error::from)? {
        if assigned.index == LOOPBACK_INDEX {
            let address = Cidr::from(assigned.address);
            result.ips.0.push(ResultAddress { address, gateway: None, interface: Some(place) });
        }
    }
    Ok(result.write(version))
}
