//! The subnets of networks with names: which they have, or are to have with their first container.

use std::net::IpAddr;
use std::path::Path;

use pillbox::container::{STORE, worded};
use pillbox_network::host::Host;
use pillbox_network::netconf::DEFAULT_BRIDGE;
use pillbox_network::network::Network;
use pillbox_network::{Cidr, free_subnets};
use serde_json::{Value, json};

use super::rootless::Rootless;
use crate::error::{Error, Result};
use crate::order::Collect;
use crate::store::{NetworkDriver, NetworkRecord, Store};

/// The networks that exist at this moment.
///
/// # Errors
/// What is recorded of them cannot be read.
pub fn existing_networks(store: &Store) -> Result<Vec<Network>> {
    let rootless = Rootless::of(store);
    let folder = rootless.as_ref().map_or(Path::new(STORE), Rootless::records);
    match pillbox_network::store::Store::find(folder) {
        Ok(Some(known)) => Ok(pillbox_network::inspect::list(&known).map_err(worded)?.networks),
        // There are none yet.
        Ok(None) | Err(_) => Ok(Vec::new()),
    }
}

/// Chooses subnets for a bridge for which none were asked for. Should somebody have them by the time of its first container, it gets
/// others.
///
/// # Errors
/// All are taken; the kernel does not tell its routes.
pub fn choose_subnets(store: &Store, record: &mut NetworkRecord) -> Result<()> {
    if record.driver != NetworkDriver::Bridge || !record.subnets.is_empty() {
        return Ok(());
    }
    let others: Vec<Cidr> = store.networks().list()?.iter().flat_map(NetworkRecord::parsed_subnets).collect();
    let mut host = Host::open().map_err(worded)?;
    let networks = existing_networks(store)?;
    // What is worth a note is told with the first container.
    let free = free_subnets(&mut host, &record.link, &networks, &others, &mut Vec::new()).map_err(worded)?;
    record.chosen = free.iter().map(|range| range.subnet.to_string()).collect();
    Ok(())
}

/// The subnets that the runtime's own bridge would get now, if it is not there yet: those that it has with its first container, unless
/// somebody else has them by then. An ordinary user has no such bridge.
///
/// # Errors
/// All are taken; the kernel does not tell its routes.
pub fn expected_subnets(store: &Store, existing: &[Network]) -> Result<Vec<String>> {
    if Rootless::of(store).is_some() || existing.iter().any(|network| network.name == DEFAULT_BRIDGE) {
        return Ok(Vec::new());
    }
    let mut host = Host::open().map_err(worded)?;
    let free = free_subnets(&mut host, DEFAULT_BRIDGE, existing, &[], &mut Vec::new()).map_err(worded)?;
    Ok(free.iter().map(|range| range.subnet.to_string()).collect())
}

/// Chooses the gateways that nobody has asked for, where they are not the first addresses of bridges' subnets: a subnet of which only a
/// part is given has the part's first one, as with Docker, and behind a link of the host's there is somebody else's.
pub fn choose_gateways(record: &mut NetworkRecord) {
    let of_subnet = |text: &String| {
        let subnet = Cidr::parse(text)?;
        let mut asked = record.gateways.iter().filter_map(|text| text.parse().ok());
        if asked.any(|gateway: IpAddr| subnet.contains(gateway)) {
            return None;
        }
        let mut ranges = record.ranges.iter().filter_map(|text| Cidr::parse(text));
        let first = |range: Cidr| range.ip.max(subnet.hosts().0);
        // A part of one address is a container's.
        match ranges.find(|range| is_within(*range, subnet) && has_room(*range, subnet, first(*range))) {
            Some(range) => Some(first(range).to_string()),
            None if record.driver != NetworkDriver::Bridge => Some(subnet.hosts().0.to_string()),
            None => None,
        }
    };
    let chosen: Vec<String> = record.subnets.iter().filter_map(of_subnet).collect();
    record.gateways.extend(chosen);
}

/// Makes sure that subnets are some, and that gateways, ranges and reserved addresses are within them.
///
/// # Errors
/// One is not; it is named by its flag.
pub fn check_ranges(record: &NetworkRecord) -> Result<()> {
    let parse = |text: &String| match Cidr::parse(text) {
        None => Err(Error::invalid(format!("--subnet {text}: must be as 10.89.0.0/16 or fd00:89::/64"))),
        Some(subnet) if subnet.network() != subnet => {
            Err(Error::invalid(format!("--subnet {text}: it should be {}", subnet.network())))
        }
        Some(subnet) => Ok(subnet),
    };
    let subnets: Vec<Cidr> = record.subnets.iter().map(parse).collect::<Result<_>>()?;
    check_gateways(record, &subnets)?;
    let mut having: Vec<Cidr> = Vec::new();
    for text in &record.ranges {
        let wrong = |why: &str| Error::invalid(format!("--ip-range {text}: {why}"));
        let range = Cidr::parse(text).filter(|range| range.network() == *range);
        let range = range.ok_or_else(|| wrong("must be as 10.89.0.128/25"))?;
        let subnet = subnets.iter().find(|subnet| is_within(range, **subnet));
        let subnet = subnet.ok_or_else(|| wrong("must be in a subnet: --subnet"))?;
        if !has_room(range, *subnet, record.gateway_of(*subnet)) {
            return Err(wrong("it has no address for a container"));
        }
        if having.contains(subnet) {
            return Err(wrong(&format!("{subnet} has a range already")));
        }
        having.push(*subnet);
    }
    for (name, text) in &record.reserved {
        let wrong = |why: &str| Error::invalid(format!("--aux-address {name}={text}: {why}"));
        let address = text.parse::<IpAddr>().ok();
        let subnet = |address: &IpAddr| subnets.iter().find(|subnet| subnet.is_for_hosts(*address)).copied();
        let (address, subnet) = address
            .and_then(|address| Some((address, subnet(&address)?)))
            .ok_or_else(|| wrong("must be an address in a subnet: --subnet"))?;
        if record.gateway_of(subnet) == address {
            return Err(wrong("it is the gateway's: --gateway chooses another one"));
        }
    }
    Ok(())
}

/// Each subnet has one at the most.
fn check_gateways(record: &NetworkRecord, subnets: &[Cidr]) -> Result<()> {
    let mut having: Vec<Cidr> = Vec::new();
    for text in &record.gateways {
        let wrong = |why: &str| Error::invalid(format!("--gateway {text}: {why}"));
        let gateway: IpAddr = text.parse().map_err(|_| wrong("must be an IP address"))?;
        let subnet = subnets.iter().find(|subnet| subnet.is_for_hosts(gateway));
        let subnet = subnet.ok_or_else(|| wrong("must be an address for hosts in a subnet: --subnet"))?;
        if having.contains(subnet) {
            return Err(wrong(&format!("{subnet} has a gateway already")));
        }
        having.push(*subnet);
    }
    Ok(())
}

/// Whether a range has more than what no container can have: the subnet's own address, that of everybody, and its gateway's.
fn has_room(range: Cidr, subnet: Cidr, gateway: IpAddr) -> bool {
    let can_be_had = |ip: IpAddr| subnet.is_for_hosts(ip) && ip != gateway;
    let (first, last) = (range.ip, range.last());
    // If neither the first nor the last one can be had, at least one of those between them can.
    can_be_had(first) || can_be_had(last) || range.hosts() != (first, last)
}

fn is_within(range: Cidr, subnet: Cidr) -> bool {
    subnet.prefix <= range.prefix && subnet.contains(range.ip)
}

/// `IPAM.Config` as Docker has it: the subnets with their gateways.
pub fn subnet_documents(record: &NetworkRecord, existing: &[Network]) -> Vec<Value> {
    let name = record.runtime_name();
    let gateways = match existing.iter().find(|network| network.name == name) {
        Some(network) => network.gateways(),
        None => {
            let gateway = |subnet: Cidr| Cidr { ip: record.gateway_of(subnet), ..subnet };
            record.parsed_subnets().into_iter().map(gateway).collect()
        }
    };
    gateways.into_iter().map(|gateway| document(record, gateway)).collect()
}

fn document(record: &NetworkRecord, gateway: Cidr) -> Value {
    let subnet = gateway.network();
    let mut document = json!({"Subnet": subnet.to_string(), "Gateway": gateway.ip.to_string()});
    let range =
        record.ranges.iter().find(|text| Cidr::parse(text).is_some_and(|range| is_within(range, subnet)));
    if let Some(range) = range {
        document["IPRange"] = json!(range);
    }
    let is_in_it = |text: &str| text.parse().is_ok_and(|address| subnet.contains(address));
    let reserved: serde_json::Map<String, Value> = record
        .reserved
        .iter()
        .filter(|(_, address)| is_in_it(address))
        .map(|(name, address)| (name.clone(), json!(address)))
        .collect_map();
    if !reserved.is_empty() {
        document["AuxiliaryAddresses"] = Value::Object(reserved);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(subnets: &[&str], ranges: &[&str], reserved: &[(&str, &str)]) -> NetworkRecord {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        NetworkRecord {
            subnets: texts(subnets),
            ranges: texts(ranges),
            reserved: reserved.iter().map(|(name, ip)| (name.to_string(), ip.to_string())).collect_map(),
            ..NetworkRecord::new("net".into(), "pb0".into(), NetworkDriver::Bridge)
        }
    }

    #[test]
    fn ranges_are_within_subnets() {
        let both = ["10.9.0.0/24", "fd00::/64"];
        check_ranges(&record(&both, &["10.9.0.128/25", "fd00::8000/113"], &[("a", "10.9.0.3")])).unwrap();
        for (ranges, reserved, words) in [
            (&["10.8.0.0/25"][..], &[][..], "--ip-range 10.8.0.0/25: must be in a subnet"),
            (&["10.9.0.1/25"], &[], "--ip-range 10.9.0.1/25: must be as 10.89.0.128/25"),
            (&["10.9.0.0/23"], &[], "must be in a subnet"),
            (&["10.9.0.0/25", "10.9.0.128/25"], &[], "10.9.0.0/24 has a range already"),
            (&["10.9.0.0/32"], &[], "--ip-range 10.9.0.0/32: it has no address for a container"),
            (&["10.9.0.0/31"], &[], "--ip-range 10.9.0.0/31: it has no address for a container"),
            (&["10.9.0.1/32"], &[], "--ip-range 10.9.0.1/32: it has no address for a container"),
            (&["10.9.0.255/32"], &[], "--ip-range 10.9.0.255/32: it has no address for a container"),
            (&[], &[("a", "10.8.0.3")], "--aux-address a=10.8.0.3: must be an address in a subnet"),
            (&[], &[("a", "x")], "--aux-address a=x: must be"),
        ] {
            let error = check_ranges(&record(&both, ranges, reserved)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for range in ["10.9.0.2/32", "10.9.0.0/30", "10.9.0.254/31", "fd00::2/127"] {
            check_ranges(&record(&both, &[range], &[])).unwrap();
        }
        for (subnet, words) in [
            ("10.9.0.5/24", "--subnet 10.9.0.5/24: it should be 10.9.0.0/24"),
            ("10.9.0.0/33", "--subnet 10.9.0.0/33: must be as 10.89.0.0/16"),
        ] {
            let error = check_ranges(&record(&[subnet], &[], &[])).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn gateways_are_chosen_where_they_are_not_the_first() {
        let chosen = |driver, ranges: &[&str], gateways: &[&str]| {
            let mut known = record(&["10.9.0.0/24", "fd00::/64"], ranges, &[]);
            known.driver = driver;
            known.gateways = gateways.iter().map(|text| text.to_string()).collect();
            choose_gateways(&mut known);
            check_ranges(&known).map(|()| known.gateways).map_err(|error| error.to_string())
        };
        let of_bridge =
            |ranges: &[&str], gateways: &[&str]| chosen(NetworkDriver::Bridge, ranges, gateways).unwrap();
        assert!(of_bridge(&[], &[]).is_empty());
        assert_eq!(of_bridge(&["10.9.0.128/25"], &[]), ["10.9.0.128"]);
        assert_eq!(of_bridge(&["10.9.0.0/25", "fd00::8000/113"], &[]), ["10.9.0.1", "fd00::8000"]);
        assert_eq!(of_bridge(&["10.9.0.128/25"], &["10.9.0.254"]), ["10.9.0.254"]);
        assert!(of_bridge(&["10.9.0.9/32"], &[]).is_empty());
        let over_link = chosen(NetworkDriver::Macvlan, &["10.9.0.128/25"], &["fd00::9"]).unwrap();
        assert_eq!(over_link, ["fd00::9", "10.9.0.128"]);
        for (gateways, words) in [
            (&["10.8.0.1"][..], "--gateway 10.8.0.1: must be an address for hosts in a subnet"),
            (&["10.9.0.255"], "--gateway 10.9.0.255: must be an address for hosts in a subnet"),
            (&["10.9.0.1", "10.9.0.2"], "--gateway 10.9.0.2: 10.9.0.0/24 has a gateway already"),
            (&["x"], "--gateway x: must be an IP address"),
        ] {
            let error = chosen(NetworkDriver::Bridge, &[], gateways).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
        let taken = check_ranges(&record(&["10.9.0.0/24"], &[], &[("a", "10.9.0.1")])).unwrap_err();
        assert_eq!(
            taken.to_string(),
            "--aux-address a=10.9.0.1: it is the gateway's: --gateway chooses another one"
        );
    }

    #[test]
    fn documents_have_what_is_of_their_subnet() {
        let known = record(&["10.9.0.0/24", "fd00::/64"], &["10.9.0.128/25"], &[("a", "10.9.0.3")]);
        let documents = subnet_documents(&known, &[]);
        assert_eq!(
            documents,
            [
                json!({"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1", "IPRange": "10.9.0.128/25", "AuxiliaryAddresses": {"a": "10.9.0.3"}}),
                json!({"Subnet": "fd00::/64", "Gateway": "fd00::1"}),
            ]
        );
    }
}
