//! GC and STATUS: about a network as a whole.

use super::configuration::Configuration;
use super::failure::{self, Failure, Result, failed};
use super::plan::Plan;
use super::{Call, ipam, key_of};
use crate::attachment::Attachment;
use crate::bring_up;
use crate::cni::{Operation, Version};
use crate::detach;
use crate::error::Error;
use crate::host::Host;
use crate::store::Store;

/// Undoes all attachments to the network that the caller does not list.
pub(super) fn collect(
    call: &Call<'_>,
    version: Version,
    configuration: &Configuration<'_>,
) -> Result<String> {
    let Some(valid) = configuration.valid.as_ref().or(configuration.attachments.as_ref()) else {
        let text = format_args!("cni.dev/valid-attachments: missing: GC would take everything away");
        return Err(failed(failure::CONFIGURATION, text));
    };
    let name = &*configuration.name;
    let valid: Vec<String> = valid.iter().map(|one| key_of(name, &one.container_id, &one.ifname)).collect();
    let collected = match Store::find(call.store)? {
        Some(store) => collect_others(&store, name, &valid),
        None => Ok(()),
    };
    let delegated = ipam::delegate(call, configuration, Operation::Gc, version).map(drop);
    match collected {
        Ok(()) => delegated.map(|()| String::new()),
        Err(error) => Err(Failure::from(error).besides(delegated)),
    }
}

fn collect_others(store: &Store, network: &str, valid: &[String]) -> crate::Result<()> {
    let locked = store.lock()?;
    let mut host = Host::open()?;
    let is_left = |attachment: &Attachment| {
        let Attachment { key, interfaces, .. } = attachment;
        let is_of_plugin = key.starts_with("cni-") && interfaces.iter().any(|other| other.network == network);
        is_of_plugin && !valid.contains(key)
    };
    let mut result = Ok(());
    for attachment in locked.attachments()?.iter().filter(|attachment| is_left(attachment)) {
        let undone = detach::undo(&locked, &mut host, attachment);
        result = match result {
            Ok(()) => undone,
            Err(first) => Err(Error::besides(first, undone)),
        };
    }
    let remains = detach::delete_remains(&mut host).map(drop);
    result.and(remains).and(locked.sweep().map(drop))
}

/// Whether ADD could succeed.
pub(super) fn status(call: &Call<'_>, version: Version, configuration: &Configuration<'_>) -> Result<String> {
    // The configuration is to be right for any container.
    let plan = Plan::compile(
        &Call { container_id: "status", interface: "eth0", args: "", ..*call },
        version,
        configuration,
    )?;
    let unavailable = |error: Error| Failure::new(failure::UNAVAILABLE, error);
    let store = Store::open(call.store).map_err(unavailable)?;
    let ready = Host::open().and_then(|mut host| {
        let (locked, network) = (store.lock()?, &plan.request.network);
        bring_up::has_table(&mut host)?;
        bring_up::could_bring_up(&locked, &mut host, network)?;
        for pool in plan.request.pools.iter().filter(|pool| pool.wanted.is_none()) {
            let ranges = pool.ranges.iter().map(|range| locked.could_lease(&network.name, range));
            ranges.reduce(crate::Result::or).unwrap_or(Ok(()))?;
        }
        Ok(())
    });
    ready.map_err(unavailable)?;
    ipam::delegate(call, configuration, Operation::Status, version)?;
    Ok(String::new())
}
