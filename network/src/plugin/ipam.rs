//! Where addresses come from: what `host-local` and `static` do is done here, others are executed.

use pillbox_json::{List, Raw};

use super::argument::Arguments;
use super::configuration::{AddressDocument, Configuration, Ipam, RangeDocument, read};
use super::failure::{self, Failure, Result, failed};
use super::{Call, NAME};
use crate::cidr::Cidr;
use crate::cni::{AddResult, Dns, Operation, ResultRoute, Version};
use crate::error::Error;
use crate::ip::Ip;
use crate::network::Range;
use crate::request::{Pool, Wanted};

pub(super) const STATIC: &str = "static";

/// What is done here.
const OWN: [&str; 3] = ["host-local", STATIC, NAME];

/// What `ipam` comes to.
#[derive(Default)]
pub(super) struct Addresses {
    pub pools: Vec<Pool>,
    pub routes: Vec<ResultRoute>,
    pub dns: Dns,
    /// Another plugin is to be asked.
    pub is_delegated: bool,
}

/// # Errors
/// A range or an address cannot be, or one that is asked for is in no range.
pub(super) fn compile(
    configuration: &Configuration<'_>,
    kind: &str,
    arguments: &Arguments<'_>,
) -> Result<Addresses> {
    if kind.is_empty() {
        return Ok(Addresses::default());
    }
    if !OWN.contains(&kind) {
        return Ok(Addresses { is_delegated: true, ..Addresses::default() });
    }
    let Raw(text) = configuration.ipam.unwrap_or_default();
    let ipam: Ipam<'_> = read("ipam", text)?;
    let dns = match &ipam.resolv_conf {
        Some(path) if ipam.dns.is_empty() => resolv_conf(path)?,
        _ => ipam.dns.clone(),
    };
    let pools = match kind {
        STATIC => addresses(configuration, &ipam, arguments)?,
        _ => ranges(configuration, &ipam, arguments)?,
    };
    Ok(Addresses { pools, routes: ipam.routes.0, dns, is_delegated: false })
}

fn wrong(text: std::fmt::Arguments<'_>) -> Failure {
    failed(failure::CONFIGURATION, text)
}

/// host-local: an address of each set of ranges.
fn ranges(
    configuration: &Configuration<'_>,
    ipam: &Ipam<'_>,
    arguments: &Arguments<'_>,
) -> Result<Vec<Pool>> {
    let &Ipam { subnet, first, last, gateway, .. } = ipam;
    let own = subnet.map(|subnet| RangeDocument { subnet, first, last, gateway });
    let by_caller: List<List<RangeDocument>> = configuration.runtime("ipRanges")?.unwrap_or_default();
    let sets = by_caller.0.into_iter().map(|set| ("runtimeConfig.ipRanges", set));
    let sets = sets.chain(own.map(|range| ("ipam", vec![range].into())));
    let sets = sets.chain(ipam.ranges.iter().map(|set| ("ipam.ranges", set.clone())));
    let mut pools: Vec<Pool> = Vec::new();
    for (path, set) in sets {
        let mut ranges: Vec<Range> = Vec::new();
        for document in &set {
            let range = range(path, document)?;
            let mut others = ranges.iter().chain(pools.iter().flat_map(|pool| &pool.ranges));
            if let Some(other) = others.find(|other| meet(other, &range)) {
                return Err(wrong(format_args!("{path}: {} and {} overlap", other.subnet, range.subnet)));
            }
            ranges.push(range);
        }
        if ranges.windows(2).any(|pair| pair[0].subnet.ip.is_ipv4() != pair[1].subnet.ip.is_ipv4()) {
            return Err(wrong(format_args!("{path}: the ranges of one set are of two families")));
        }
        pools.push(Pool { ranges, wanted: None });
    }
    if pools.is_empty() || pools.iter().any(|pool| pool.ranges.is_empty()) {
        return Err(wrong(format_args!("ipam.ranges: a list of lists with a subnet each is needed")));
    }
    let mut asked: Vec<Wanted> = configuration.runtime::<List<Wanted>>("ips")?.unwrap_or_default().0;
    asked.extend(&configuration.args.cni.ips.0);
    asked.extend(arguments.ips.map(|ip| parse("IP", ip, Wanted::parse)).transpose()?);
    for Wanted { ip, .. } in asked {
        let has_it = |range: &Range| {
            let (first, last) = range.ends();
            range.subnet.contains(ip) && (first..=last).contains(&ip)
        };
        let is_met = |pool: &Pool| pool.wanted.is_some_and(|wanted| wanted.ip == ip);
        let free = pools
            .iter_mut()
            .find(|pool| is_met(pool) || pool.wanted.is_none() && pool.ranges.iter().any(has_it));
        let Some(pool) = free else {
            return Err(wrong(format_args!(
                "address {ip}: no range of network {} has it",
                configuration.name
            )));
        };
        pool.ranges.retain(has_it);
        pool.wanted = Some(Wanted { ip, prefix: None });
    }
    Ok(pools)
}

/// Whether two ranges have an address in common.
fn meet(one: &Range, other: &Range) -> bool {
    let ((first, last), (other_first, other_last)) = (one.ends(), other.ends());
    one.subnet.overlaps(other.subnet) && first <= other_last && other_first <= last
}

/// A range with everything that host-local adds to it.
fn range(path: &str, document: &RangeDocument) -> Result<Range> {
    let &RangeDocument { subnet, first, last, gateway } = document;
    let right = subnet.network();
    let (least, most) = subnet.hosts();
    if right != subnet {
        return Err(wrong(format_args!("{path}: subnet {subnet} is an address in {right}")));
    }
    if least == subnet.ip {
        return Err(wrong(format_args!("{path}: subnet {subnet} has no room for a gateway and containers")));
    }
    for (name, end) in [("rangeStart", first), ("rangeEnd", last)] {
        if let Some(Ip(ip)) = end.filter(|Ip(ip)| !subnet.contains(*ip)) {
            return Err(wrong(format_args!("{path}: {name} {ip} is not in {subnet}")));
        }
    }
    let range = Range { subnet, gateway: gateway.or(Some(Ip(least))), first, last };
    let (first, last) = range.ends();
    if first > last {
        return Err(wrong(format_args!("{path}: rangeStart {first} is behind rangeEnd {last}")));
    }
    // What no host can have.
    let within = |ip: std::net::IpAddr| Some(Ip(ip.clamp(least, most)));
    Ok(Range { first: within(first), last: within(last), ..range })
}

/// static: the addresses that are named.
fn addresses(
    configuration: &Configuration<'_>,
    ipam: &Ipam<'_>,
    arguments: &Arguments<'_>,
) -> Result<Vec<Pool>> {
    let mut documents = ipam.addresses.0.clone();
    for text in arguments.ips.iter().flat_map(|ips| ips.split(',')) {
        let address = parse("IP", text, Cidr::parse)?;
        documents.push(AddressDocument { address, gateway: None });
    }
    for text in arguments.gateways.iter().flat_map(|ips| ips.split(',')) {
        let ip: Ip = parse("GATEWAY", text, |text| text.parse().ok().map(Ip))?;
        let of_gateway = documents.iter_mut().filter(|document| document.address.contains(ip.0));
        of_gateway.for_each(|document| document.gateway = Some(ip));
    }
    let by_caller = configuration.runtime::<List<Cidr>>("ips")?.unwrap_or_default();
    let by_args = &configuration.args.cni.ips.0;
    if !by_caller.is_empty() || !by_args.is_empty() {
        let by_args = by_args.iter().map(|&Wanted { ip, prefix }| match prefix {
            Some(prefix) => Ok(Cidr { ip, prefix }),
            None => Err(wrong(format_args!("args.cni.ips: {ip}: must be like {ip}/24"))),
        });
        let asked: Vec<Cidr> =
            if by_caller.is_empty() { by_args.collect::<Result<_>>()? } else { by_caller.0.clone() };
        documents = asked.iter().map(|&address| AddressDocument { address, gateway: None }).collect();
    }
    Ok(documents.iter().map(|document| pool(document.address, document.gateway)).collect())
}

/// For an address that somebody else has chosen. Of its subnet nothing is given.
fn pool(address: Cidr, gateway: Option<Ip>) -> Pool {
    let subnet = address.network();
    let none = Some(Ip(subnet.ip));
    let range = Range { subnet, gateway, first: none, last: none };
    Pool { ranges: vec![range], wanted: Some(Wanted { ip: address.ip, prefix: Some(address.prefix) }) }
}

/// Reads a value in CNI_ARGS.
fn parse<T>(name: &str, text: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(text.trim()).ok_or_else(|| {
        failed(
            failure::ENVIRONMENT,
            format_args!("CNI_ARGS: {name}={text}: is not an address as 10.88.0.5/16"),
        )
    })
}

fn resolv_conf(path: &str) -> Result<Dns> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| failed(failure::IO, format_args!("ipam.resolvConf: read {path}: {error}")))?;
    let crate::dns::Resolver { servers, domain, search, options } = crate::dns::parse(&text);
    Ok(Dns { nameservers: servers.into(), domain, search: search.into(), options: options.into() })
}

/// Lets the plugin that gives addresses do its part, if it is another one. The result is what it prints.
///
/// # Errors
/// It is missing, or fails.
pub(super) fn delegate(
    call: &Call<'_>,
    configuration: &Configuration<'_>,
    operation: Operation,
    version: Version,
) -> Result<Option<AddResult>> {
    let kind = configuration.ipam_kind()?;
    if kind.is_empty() || OWN.contains(&kind.as_str()) {
        return Ok(None);
    }
    let named = |error: Error| error.after(&format!("ipam: plugin {kind}: {}", operation.name()));
    let variables = [
        ("CNI_CONTAINERID", call.container_id),
        ("CNI_NETNS", call.namespace),
        ("CNI_IFNAME", call.interface),
        ("CNI_ARGS", call.args),
    ];
    let printed = (call.programs)()?.call(operation, &kind, &variables, call.input).map_err(named)?;
    if operation != Operation::Add {
        return Ok(None);
    }
    let result = AddResult::parse(&printed, version);
    Ok(Some(result.map_err(|error| named(error.after("its result")))?))
}

/// What another plugin has given.
pub(super) fn of_result(result: AddResult) -> Addresses {
    let AddResult { ips, routes, dns, .. } = result;
    let pools = ips.iter().map(|given| pool(given.address, given.gateway)).collect();
    Addresses { pools, routes: routes.0, dns, is_delegated: false }
}
