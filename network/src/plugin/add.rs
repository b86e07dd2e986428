//! ADD.

use std::os::fd::AsFd;
use std::path::Path;

use pillbox_netlink::link;

use super::configuration::Configuration;
use super::failure::{self, Failure, Result, failed};
use super::plan::Plan;
use super::{Call, ipam};
use crate::attach::{self, Owner};
use crate::attachment::{Attachment, Holder, Interface};
use crate::cni::{AddResult, Operation, ResultAddress, ResultInterface, Version};
use crate::error::Error;
use crate::host::Host;
use crate::link::mac_text;
use crate::namespace;
use crate::store::Store;

pub(super) fn add(call: &Call<'_>, version: Version, configuration: &Configuration<'_>) -> Result<String> {
    let mut plan = Plan::compile(call, version, configuration)?;
    if plan.request.pools.is_empty() && configuration.ipam_kind()? == ipam::STATIC {
        let text = format_args!("ipam.addresses: lists none, and the caller asks for none");
        return Err(failed(failure::CONFIGURATION, text));
    }
    let holder = holder(call)?;
    let (store, mut host) = (Store::open(call.store)?, Host::open()?);
    let owner = Owner {
        key: plan.key.clone(),
        name: call.container_id.to_string(),
        holder,
        namespace: Some(call.namespace.to_string()),
    };
    // A plugin has nowhere to report changes of the host.
    let requests = std::slice::from_ref(&plan.request);
    let mut reserved = attach::reserve(&store, &mut host, &owner, requests, &mut Vec::new())?;
    let made = make(call, version, configuration, (&store, &mut host), &mut plan, &mut reserved.attachment);
    made.map_err(|failure: Failure| failure.besides(attach::give_up(&store, &mut host, &reserved)))
}

/// The namespace that the attachment lives with, which must not be the host's own.
pub(super) fn holder(call: &Call<'_>) -> Result<Holder> {
    let wrong = |error: Error| Failure::new(failure::ENVIRONMENT, error.after("CNI_NETNS"));
    let holder = Holder::of(call.namespace.as_ref()).map_err(|error| match error.errno() {
        Some(rustix::io::Errno::NOENT) => Failure::new(failure::CONTAINER, error.after("CNI_NETNS")),
        _ => wrong(error),
    })?;
    let own = Holder::of(Path::new("/proc/thread-self/ns/net"))?;
    if (holder.device, holder.inode) == (own.device, own.inode) {
        let path = call.namespace;
        return Err(failed(failure::ENVIRONMENT, format_args!("CNI_NETNS: {path}: is the host's own")));
    }
    Ok(holder)
}

fn make(
    call: &Call<'_>,
    version: Version,
    configuration: &Configuration<'_>,
    (store, host): (&Store, &mut Host),
    plan: &mut Plan,
    attachment: &mut Attachment,
) -> Result<String> {
    let gone = || failed(failure::CONTAINER, format_args!("CNI_NETNS: {}: is gone", call.namespace));
    let in_variable = |error: Error| Failure::new(failure::ENVIRONMENT, error.after("CNI_NETNS"));
    let namespace = namespace::open(call.namespace)?.ok_or_else(gone)?;
    let mut inside = namespace::socket_in(namespace.as_fd()).map_err(in_variable)?;
    // The runtime that made the namespace may have left its loopback down.
    attach::connect(store, host, attachment, namespace.as_fd(), &mut inside, true)?;
    let delegated = ipam::delegate(call, configuration, Operation::Add, version);
    let extended = delegated.and_then(|given| {
        let Some(given) = given.map(ipam::of_result) else { return Ok(()) };
        if given.pools.is_empty() {
            return Err(failed(
                failure::CONFIGURATION,
                format_args!("ipam: its plugin has given no address"),
            ));
        }
        if plan.dns.is_empty() {
            plan.dns = given.dns;
        }
        plan.address(given.pools, given.routes);
        Ok(attach::extend(store, host, attachment, &plan.request, &mut inside, &mut Vec::new())?)
    });
    let result = extended.and_then(|()| result(call, host, plan, attachment)).map_err(|failure| {
        failure.besides(ipam::delegate(call, configuration, Operation::Del, version).map(drop))
    })?;
    Ok(result.write(version))
}

/// What ADD results in: what was there before, the bridge, the host's end, the container's end.
fn result(call: &Call<'_>, host: &mut Host, plan: &Plan, attachment: &Attachment) -> Result<AddResult> {
    let mut result = plan.previous.clone();
    for interface in &attachment.interfaces {
        let place = result.interfaces.len() as u32 + 2;
        let Interface { link, host_name, host_mac, name, mac, mtu, .. } = interface;
        let made = |name: &str, mac: &Option<String>, sandbox| ResultInterface {
            name: name.to_string(),
            mac: mac.clone(),
            mtu: *mtu,
            sandbox,
            ..ResultInterface::default()
        };
        result.interfaces.0.extend([
            ResultInterface { mtu: None, ..made(link, &mac_of_bridge(host, interface)?, None) },
            made(host_name, host_mac, None),
            made(name, mac, Some(call.namespace.to_string())),
        ]);
        for &address in &interface.addresses {
            let ranges = plan.request.pools.iter().flat_map(|pool| &pool.ranges);
            let gateway =
                ranges.filter(|range| range.subnet.contains(address.ip)).find_map(|range| range.gateway);
            result.ips.0.push(ResultAddress { address, gateway, interface: Some(place) });
        }
    }
    result.routes.0.extend(plan.routes.iter().cloned());
    if !plan.dns.is_empty() {
        result.dns = plan.dns.clone();
    }
    Ok(result)
}

/// The kernel is asked only for a bridge that somebody else has made.
fn mac_of_bridge(host: &mut Host, interface: &Interface) -> Result<Option<String>> {
    if interface.link_mac.is_some() {
        return Ok(interface.link_mac.clone());
    }
    let found = link::get(&mut host.links, &*interface.link).map_err(Error::from)?;
    Ok(found.address.map(mac_text))
}
