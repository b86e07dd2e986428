//! CHECK: whether everything is as ADD has left it, as far as plugins behind it have not changed that.

use pillbox_json::Raw;
use pillbox_netlink::{Socket, address, link, route};

use super::configuration::Configuration;
use super::failure::{self, Result, failed};
use super::{Call, ipam, key_of};
use crate::attachment::{Attachment, Interface, Route};
use crate::bring_up::has_table;
use crate::cidr::Cidr;
use crate::cni::{AddResult, Operation, Version};
use crate::error::{Error, Kind};
use crate::filter;
use crate::host::{self, Host};
use crate::inspect::missing_ports;
use crate::ip::Ip;
use crate::link::mac_text;
use crate::namespace;
use crate::store::Store;

pub(super) fn check(call: &Call<'_>, version: Version, configuration: &Configuration<'_>) -> Result<String> {
    let Some(Raw(previous)) = configuration.previous else {
        let text = format_args!("prevResult: missing: CHECK needs what ADD has resulted in");
        return Err(failed(failure::CONFIGURATION, text));
    };
    let previous = AddResult::parse(previous, version).map_err(|error| error.after("prevResult"))?;
    let (id, network) = (call.container_id, &*configuration.name);
    let key = key_of(network, id, call.interface);
    let recorded = Store::find(call.store)?.map_or(Ok(None), |store| store.lock()?.attachment(&key))?;
    let unknown = || {
        let text = format_args!("container {id}: {} is not connected to network {network}", call.interface);
        failed(failure::CONTAINER, text)
    };
    let attachment = recorded.ok_or_else(unknown)?;
    let inside = match attachment.holder.is_there()? {
        true => namespace::open_socket(call.namespace)?,
        false => None,
    };
    let mut inside =
        inside.ok_or_else(|| missing(format_args!("CNI_NETNS: {}: is another one", call.namespace)))?;
    let mut host = Host::open()?;
    for interface in &attachment.interfaces {
        check_host_end(&mut host, interface)?;
        check_inside(&mut inside, interface, &previous)?;
    }
    check_filter(&mut host, &attachment)?;
    ipam::delegate(call, configuration, Operation::Check, version)?;
    Ok(String::new())
}

fn missing(text: std::fmt::Arguments<'_>) -> Error {
    Error::of(Kind::Missing, text)
}

fn check_host_end(host: &mut Host, interface: &Interface) -> Result<()> {
    let Interface { link: bridge, host_name, name, .. } = interface;
    let Some(bridge_index) = host.index_of(bridge)? else {
        return Err(missing(format_args!("bridge {bridge}: it is gone")).into());
    };
    let Some(index) = host.index_of(host_name)? else {
        return Err(missing(format_args!("interface {name}: its host's end {host_name} is gone")).into());
    };
    let found = link::get(&mut host.links, index).map_err(Error::from)?;
    if found.master != Some(bridge_index) || !found.is_up() {
        let text = format_args!(
            "interface {name}: its host's end {host_name} is no port of bridge {bridge}, or down"
        );
        return Err(missing(text).into());
    }
    Ok(())
}

fn check_inside(inside: &mut Socket, interface: &Interface, previous: &AddResult) -> Result<()> {
    let Interface { name, down, addresses, routes, .. } = interface;
    let gone = |what: &dyn std::fmt::Display| missing(format_args!("interface {name}: {what}"));
    let found = link::get(inside, &**name).map_err(|error| Error::from(error).after(name))?;
    // A plugin behind it may have given it another one, which is in the result then.
    let of_result = previous.interfaces.iter().find(|other| other.name == *name && other.sandbox.is_some());
    let mac = of_result.and_then(|other| other.mac.as_deref()).or(interface.mac.as_deref());
    let has = found.address.map(mac_text);
    if mac.is_some_and(|mac| !has.as_deref().is_some_and(|has| has.eq_ignore_ascii_case(mac))) {
        let has = has.unwrap_or_default();
        return Err(
            gone(&format_args!("its hardware address is {has}, not {}", mac.unwrap_or_default())).into()
        );
    }
    if found.is_up() == *down {
        return Err(gone(&if *down { "it is up" } else { "it is down" }).into());
    }
    let assigned = address::list(inside).map_err(Error::from)?;
    let has = |address: &Cidr| {
        assigned.iter().any(|other| other.index == found.index && Cidr::from(other.address) == *address)
    };
    if let Some(address) = addresses.iter().find(|address| !has(address)) {
        return Err(gone(&format_args!("it has not the address {address}")).into());
    }
    let there = route::list(inside).map_err(Error::from)?;
    // One that is in no result any more was removed by a plugin behind it.
    let kept = |route: &&Route| previous.routes.iter().any(|other| other.dst == route.to);
    let is_there = |route: &Route| {
        there.iter().any(|other| {
            let table = route.table.unwrap_or(route::MAIN_TABLE);
            other.table == table
                && host::destination(other) == route.to.network()
                && other.gateway.map(Ip) == route.via
        })
    };
    match routes.iter().filter(kept).find(|route| !is_there(route)) {
        Some(route) => Err(gone(&format_args!("its route to {} is gone", route.to)).into()),
        None => Ok(()),
    }
}

fn check_filter(host: &mut Host, attachment: &Attachment) -> Result<()> {
    if !has_table(host)? {
        let text = format_args!("nf_tables: table inet {}: somebody has flushed it", filter::TABLE);
        return Err(missing(text).into());
    }
    match missing_ports(host, attachment)?.first() {
        Some(port) => Err(missing(format_args!("{port}: it is not published any more")).into()),
        None => Ok(()),
    }
}
