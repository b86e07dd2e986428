//! The Container Network Interface, specification 1.1, from the other side: pillbox as a plugin, called by
//! the name [`NAME`]. It does in one process what `bridge`, `host-local` or `static`, `portmap` and
//! `loopback` of the reference plugins do, with their configuration's keys: a configuration changes in one
//! word, its `type`. It may stand alone or in a list with others, before them or behind them.
//!
//! # Keys
//!
//! | key | what becomes of it |
//! |---|---|
//! | `name` | the network, by which addresses are leased and `pillbox net list` shows it |
//! | `bridge` | the bridge, else `cni0`; made if it is missing. Several networks may have the same one |
//! | `isGateway` | the bridge has the gateways' addresses, and the host forwards |
//! | `isDefaultGateway` | the same, and the container's default routes lead there |
//! | `forceAddress` | addresses of the bridge that are in the way are removed |
//! | `ipMasq` | what leaves for the outside has the host's address; `ipMasqBackend` may be said, it is nf_tables |
//! | `mtu`, `hairpinMode`, `promiscMode`, `portIsolation`, `disableContainerInterface` | as with `bridge` |
//! | `macspoofchk` | the port is locked to the container's hardware address, since Linux 5.16 |
//! | `isolated` | (of pillbox's own, true unless it is said) this bridge and others of pillbox's do not reach each other |
//! | `vlan` except 0, `vlanTrunk`, `enabledad` | refused; `preserveDefaultVlan` has no meaning without them |
//! | `ipam` | `host-local` (or [`NAME`]) and `static` are done here, others are executed; none: a link without addresses |
//! | `ipam.dataDir` | may be said; leases are kept with all others of pillbox's |
//! | `dns`, `ipam.dns`, `ipam.resolvConf`, `runtimeConfig.dns` | stand in the result, the last of them first |
//! | `args.cni.ips`, `args.cni.mac`; CNI_ARGS `IP`, `GATEWAY`, `MAC` | as with `bridge`, `host-local` and `static` |
//! | `runtimeConfig.portMappings`, `ips`, `ipRanges`, `mac` | as with `portmap`, `host-local`, `static` and `bridge` |
//! | `runtimeConfig` of another name | refused: the configuration has asked for it by `capabilities` |
//! | keys of `portmap` and `firewall`, and those above in other letters (`isgateway`) | refused |
//! | others | ignored, as the specification has it |
//!
//! With CNI_IFNAME `lo` it does what `loopback` does, and nothing else; otherwise the loopback is set up on
//! the way.
//!
//! # What is particular
//!
//! - A failed ADD leaves nothing, though callers are to call DEL. ADD of what is attached already is an
//!   error, and so is an address or a port that somebody has, a program of the host's as well.
//! - DEL returns when the container's link is down, has another name, and is to be deleted:
//!   [`Answer::remains`].
//! - A machine that has a route to a container's address reaches it, as with the reference plugins; with
//!   netconf.json it does not.
//! - Networks and bridges stay when the last container has gone: `pillbox net rm NAME` removes them.

mod add;
mod argument;
mod check;
mod configuration;
mod failure;
mod ipam;
mod loopback;
mod plan;
mod upkeep;

use std::path::Path;

use pillbox_json::parse;

use crate::cni::{Operation, Programs, Supported, Version};
use crate::cni::{check_container_id, check_interface_name, check_network_name};
use crate::detach::{self, Remains};
use crate::store::Store;
use configuration::Configuration;
use failure::{Failure, Result, failed};

/// What pillbox is called by as a plugin.
pub const NAME: &str = "pillbox-net";

/// What a plugin is called with: the variables of its environment, empty where they are missing, and its
/// stdin.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// CNI_COMMAND.
    pub command: &'a str,
    /// CNI_CONTAINERID.
    pub container_id: &'a str,
    /// CNI_NETNS.
    pub namespace: &'a str,
    /// CNI_IFNAME.
    pub interface: &'a str,
    /// CNI_ARGS.
    pub args: &'a str,
    /// How other plugins are executed, for addresses that they give. It is asked only then.
    pub programs: fn() -> crate::Result<Programs>,
    /// The folder of the [`Store`].
    pub store: &'a Path,
    /// What stands on stdin.
    pub input: &'a str,
}

/// What a plugin answers.
#[derive(Default)]
pub struct Answer {
    /// For stdout.
    pub text: String,
    /// The exit status.
    pub status: u8,
    /// Links that are to be deleted when all else is done, which the caller need not wait for.
    pub remains: Option<Remains>,
}

/// Does what a plugin is called for.
pub fn answer(call: &Call<'_>) -> Answer {
    // Whatever is wrong with the rest, it says which version an error is to be in.
    let version = parse::<configuration::Versioned<'_>>(call.input.as_bytes()).unwrap_or_default().version;
    let mut remains = None;
    let (status, text) = match run(call, &version, &mut remains) {
        Ok(text) => (0, text),
        Err(failure) => (1, failure.write(&version)),
    };
    Answer { text, status, remains }
}

fn run(call: &Call<'_>, version: &str, remains: &mut Option<Remains>) -> Result<String> {
    let operation = operation(call)?;
    if operation == Operation::Version {
        return Ok(Supported::write(if version.is_empty() { Version::V1_1_0.name() } else { version }));
    }
    check_environment(call, operation)?;
    let version = check_version(version, operation)?;
    let configuration: Configuration<'_> = parse(call.input.as_bytes())
        .map_err(|error| failed(failure::DECODE, format_args!("network configuration: {error}")))?;
    check_network_name(&configuration.name)?;
    if call.interface == loopback::NAME {
        return loopback::run(call, operation, version, &configuration);
    }
    match operation {
        Operation::Add => add::add(call, version, &configuration),
        Operation::Del => delete(call, version, &configuration, remains),
        Operation::Check => check::check(call, version, &configuration),
        Operation::Gc => upkeep::collect(call, version, &configuration),
        _ => upkeep::status(call, version, &configuration),
    }
}

fn operation(call: &Call<'_>) -> Result<Operation> {
    Operation::ALL.into_iter().find(|operation| operation.name() == call.command).ok_or_else(|| {
        let names = Operation::ALL.map(Operation::name).join(", ");
        failed(
            failure::ENVIRONMENT,
            format_args!(
                "CNI_COMMAND: {:?} is none of {names}: container runtimes call {NAME}",
                call.command
            ),
        )
    })
}

/// Makes sure that the variables are there that an operation needs, and are what they may be.
fn check_environment(call: &Call<'_>, operation: Operation) -> Result<()> {
    let is_of_one = matches!(operation, Operation::Add | Operation::Del | Operation::Check);
    if !is_of_one {
        return Ok(());
    }
    let in_variable = |name: &str| {
        let name = name.to_string();
        move |error: crate::Error| Failure::new(failure::ENVIRONMENT, error.after(&name))
    };
    check_container_id(call.container_id).map_err(in_variable("CNI_CONTAINERID"))?;
    check_interface_name(call.interface).map_err(in_variable("CNI_IFNAME"))?;
    if call.namespace.is_empty() && operation != Operation::Del {
        return Err(failed(
            failure::ENVIRONMENT,
            format_args!("CNI_NETNS: missing: a network namespace's path"),
        ));
    }
    Ok(())
}

/// The version, if it is spoken here and has that operation.
fn check_version(name: &str, operation: Operation) -> Result<Version> {
    let since = match operation {
        Operation::Gc | Operation::Status => Version::V1_1_0,
        Operation::Check => Version::V0_4_0,
        _ => Version::V0_3_0,
    };
    let incompatible = |text: std::fmt::Arguments<'_>| failed(failure::VERSION, text);
    let version = Version::of_name(name)
        .ok_or_else(|| incompatible(format_args!("cniVersion: {name:?}: must be {}", Version::NAMES)))?;
    if version < since {
        let (word, since) = (operation.name(), since.name());
        return Err(incompatible(format_args!(
            "cniVersion: {name:?} has no {word}: it is there since {since}"
        )));
    }
    Ok(version)
}

/// The key of an attachment, which is also the name of a file.
fn key_of(network: &str, container_id: &str, interface: &str) -> String {
    const MOST: usize = 100;
    let hash = crate::attachment::hash([network, container_id, interface].join("\0").as_bytes());
    format!("cni-{hash:016x}-{}", container_id.get(..MOST).unwrap_or(container_id))
}

/// Undoes an attachment, however much of it is there.
fn delete(
    call: &Call<'_>,
    version: Version,
    configuration: &Configuration<'_>,
    remains: &mut Option<Remains>,
) -> Result<String> {
    let key = key_of(&configuration.name, call.container_id, call.interface);
    if let Some(store) = Store::find(call.store)? {
        *remains = detach::cut_off(&store, &key, call.interface)?;
    }
    ipam::delegate(call, configuration, Operation::Del, version)?;
    Ok(String::new())
}
