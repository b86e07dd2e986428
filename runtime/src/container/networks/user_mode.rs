//! A network by a program in user mode: see [`pillbox_network::rootless`].

use std::ffi::OsStr;

use pillbox_netlink::{Socket, address, link};
use pillbox_network::dns::Resolver;
use pillbox_network::netconf::UserMode;
use pillbox_network::rootless::{self, Helper, INTERFACE, Options, Prepared, Tools};
use rustix::process::Pid;

use super::cni::NAMESPACE;
use super::{port_text, worded};
use crate::container::Network;
use crate::error::{Context, Error, Result, Warning, WarningKind};
use crate::state::{Entry, NetworkRecord, StateDirectory};
use crate::text::json;

/// In the state folder: which process it is.
const RECORD: &str = "helper.json";

/// Finds the program and checks the ports.
pub fn prepare(asked: &UserMode, path: Option<&str>) -> Result<Prepared> {
    let UserMode { ports, mtu } = asked;
    let tools = Tools { search_path: OsStr::new(path.unwrap_or_default()) };
    rootless::prepare(&tools, ports, &Options { mtu: *mtu, ipv6: true, name_server: None }).map_err(worded)
}

/// How the container resolves names.
pub fn resolver(prepared: &Prepared) -> Resolver {
    Resolver { servers: vec![prepared.name_server().to_string()], ..Resolver::default() }
}

/// Starts the program for the container's network namespace; the result are the addresses that it has given
/// it, with their prefixes.
pub fn start(
    prepared: &Prepared,
    directory: &StateDirectory,
    network: &mut Network,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<String>> {
    let pid = Pid::from_raw(network.pid).ok_or_else(|| Error::new("init has no pid"))?;
    directory.note(Entry::Helper, RECORD.as_ref())?;
    let helper = prepared.start(pid, directory.path()).map_err(worded)?;
    let written = json::to_string(&helper).and_then(|text| directory.write_file(RECORD, &text));
    if let Err(error) = written {
        return Err(error.besides(helper.end().map_err(worded)));
    }
    let name = prepared.program.name();
    let said =
        helper.warning().map(|text| Warning::new(WarningKind::Ignored, format_args!("{name}: {text}")));
    warnings.extend(said);
    addresses(&mut network.socket).map_err(|error| worded(error.into()))
}

fn addresses(inside: &mut Socket) -> pillbox_netlink::Result<Vec<String>> {
    let index = link::get(inside, INTERFACE)?.index;
    let mut assigned = address::list(inside)?;
    assigned.retain(|assigned| assigned.index == index && assigned.is_permanent_global());
    Ok(assigned
        .iter()
        .map(|assigned| format!("{}/{}", assigned.address.ip, assigned.address.prefix))
        .collect())
}

/// What state.json says of the interface.
pub fn record(prepared: &Prepared, addresses: &[String]) -> NetworkRecord {
    let ports: Vec<String> = prepared.ports.iter().map(|port| port_text(port.host_ip, port)).collect();
    NetworkRecord {
        interface: INTERFACE.to_string(),
        network: prepared.program.name().to_string(),
        mac: None,
        addresses: addresses.to_vec().into(),
        ports: ports.into(),
    }
}

/// Ends the program.
pub fn undo(directory: &StateDirectory) -> Result<()> {
    if let Some(text) = directory.read_file(RECORD)? {
        let helper: Helper = pillbox_json::parse(&text)
            .map_err(Error::from)
            .context(|| format!("{}/{RECORD}", directory.path().display()))?;
        helper.end().map_err(worded)?;
    }
    directory.remove_file(RECORD)?;
    // A link to the namespace: older programs end when it goes.
    directory.remove_file(NAMESPACE)
}
