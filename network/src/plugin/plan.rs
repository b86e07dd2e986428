//! What an attachment is to be, from a configuration and the variables of a call. Pure, except for
//! `ipam.resolvConf`.

use pillbox_json::Raw;

use super::argument::Arguments;
use super::configuration::{Configuration, RuntimeDns, unsupported};
use super::failure::{self, Result, failed};
use super::ipam::{self, Addresses};
use super::{Call, key_of};
use crate::attachment::{Route, hash};
use crate::cni::{AddResult, Dns, ResultRoute, Version, parse_port_mappings};
use crate::ip::Ip;
use crate::link::{check_mtu, check_name, mac_text, parse_mac};
use crate::network::{NetworkKind, Range};
use crate::port::Port;
use crate::request::{NetworkRequest, Pool, Request};

/// The bridge of configurations that name none.
const BRIDGE: &str = "cni0";

/// An attachment as it is to be.
pub(super) struct Plan {
    /// The key under which it is recorded.
    pub key: String,
    /// The interface and its network. Where another plugin gives addresses, it has none yet.
    pub request: Request,
    /// Its ports, for such a request.
    pub ports: Vec<Port>,
    /// Routes as the result has them.
    pub routes: Vec<ResultRoute>,
    pub dns: Dns,
    /// What plugins have done before it.
    pub previous: AddResult,
    /// Default routes lead to the gateways.
    pub is_default_gateway: bool,
}

impl Plan {
    /// # Errors
    /// Something in it is wrong, or is not done here.
    pub fn compile(call: &Call<'_>, version: Version, configuration: &Configuration<'_>) -> Result<Plan> {
        configuration.refuse_unsupported(call.input)?;
        check_capabilities(configuration)?;
        let arguments = Arguments::parse(call.args)?;
        let kind = configuration.ipam_kind()?;
        let addresses = ipam::compile(configuration, &kind, &arguments)?;
        let conflict = match configuration {
            Configuration { hairpin: true, promiscuous: true, .. } => "hairpinMode: not with promiscMode",
            Configuration { disabled: true, .. } if !kind.is_empty() => {
                "disableContainerInterface: not with ipam"
            }
            _ => "",
        };
        if !conflict.is_empty() {
            return Err(failed(failure::CONFIGURATION, format_args!("{conflict}")));
        }
        let key = key_of(&configuration.name, call.container_id, call.interface);
        let ports = match configuration.runtime::<Raw<'_>>("portMappings")? {
            Some(Raw(text)) => parse_port_mappings(text).map_err(|error| error.after("runtimeConfig"))?,
            None => Vec::new(),
        };
        let mut request = request(call, configuration, !ports.is_empty())?;
        request.mac = mac(configuration, &arguments)?;
        // Without an address, as long as the link is made, from which one would be made.
        if request.mac.is_none() && addresses.pools.is_empty() {
            let [a, b, c, d, ..] = hash(key.as_bytes()).to_be_bytes();
            request.mac = Some(mac_text([0x02, 0x50, a, b, c, d]));
        }
        let mut plan = Plan {
            request,
            key,
            ports,
            routes: Vec::new(),
            dns: dns(configuration, &addresses)?,
            previous: match configuration.previous {
                Some(Raw(text)) => {
                    AddResult::parse(text, version).map_err(|error| error.after("prevResult"))?
                }
                None => AddResult::default(),
            },
            is_default_gateway: configuration.is_default_gateway,
        };
        if !addresses.is_delegated {
            plan.address(addresses.pools, addresses.routes);
        }
        Ok(plan)
    }

    /// Gives it addresses, and with them everything that needs some.
    pub fn address(&mut self, mut pools: Vec<Pool>, mut routes: Vec<ResultRoute>) {
        let Plan { request, .. } = self;
        for range in pools.iter_mut().flat_map(|pool| &mut pool.ranges) {
            if range.gateway.is_none() && request.network.gateway == Some(true) {
                range.gateway = Some(Ip(range.subnet.hosts().0));
            }
            add_range(&mut request.network.ranges, *range);
        }
        if self.is_default_gateway {
            pools
                .iter()
                .flat_map(|pool| pool.ranges.first())
                .for_each(|range| add_default(&mut routes, range));
        }
        request.routes = Some(routes.iter().map(route).collect());
        request.pools = pools;
        request.ports = std::mem::take(&mut self.ports);
        self.routes = routes;
    }
}

/// Refuses arguments that the configuration asks for and that are not done.
fn check_capabilities(configuration: &Configuration<'_>) -> Result<()> {
    const DONE: [&str; 5] = ["portMappings", "ips", "ipRanges", "mac", "dns"];
    match configuration.runtime_config.iter().find(|(name, _)| !DONE.contains(&&**name)) {
        None => Ok(()),
        Some((name, Raw(value))) => {
            let remedy = "another plugin behind it may have this capability";
            Err(unsupported(&format!("runtimeConfig.{name}"), value, remedy))
        }
    }
}

/// The hardware address that is asked for.
fn mac(configuration: &Configuration<'_>, arguments: &Arguments<'_>) -> Result<Option<String>> {
    let asked: Option<String> = configuration.runtime("mac")?;
    let asked = asked.or_else(|| configuration.args.cni.mac.clone()).filter(|mac| !mac.is_empty());
    let mac = asked.as_deref().or(arguments.mac).map(parse_mac).transpose()?;
    Ok(mac.map(mac_text))
}

fn request(call: &Call<'_>, configuration: &Configuration<'_>, has_ports: bool) -> Result<Request> {
    let bridge = configuration.bridge.as_deref().unwrap_or(BRIDGE);
    let mtu = Some(configuration.mtu).filter(|mtu| *mtu != 0);
    let mtu = mtu.map(|mtu| check_mtu("mtu", mtu)).transpose()?;
    let network = NetworkRequest {
        name: configuration.name.to_string(),
        kind: NetworkKind::Bridge,
        link: check_name("bridge", bridge)?.to_string(),
        mtu,
        masquerade: Some(configuration.masquerade),
        isolated: Some(configuration.isolated.unwrap_or(true)),
        internal: Some(false),
        gateway: Some(configuration.is_gateway || configuration.is_default_gateway),
        force: configuration.force_address,
        open: true,
        promiscuous: Some(configuration.promiscuous),
        ..NetworkRequest::default()
    };
    Ok(Request {
        network,
        name: call.interface.to_string(),
        mtu,
        routes: Some(Vec::new()),
        through_gateway: true,
        // It is set when the link is made, and ports may come later.
        hairpin: configuration.hairpin || has_ports,
        isolated: configuration.port_isolation,
        locked: configuration.check_mac,
        down: configuration.disabled,
        ..Request::default()
    })
}

/// Each subnet is there once, with all that is given of it.
fn add_range(ranges: &mut Vec<Range>, range: Range) {
    let Some(known) = ranges.iter_mut().find(|known| known.subnet == range.subnet) else {
        return ranges.push(range);
    };
    let ((first, last), (known_first, known_last)) = (range.ends(), known.ends());
    (known.first, known.last) = (Some(Ip(first.min(known_first))), Some(Ip(last.max(known_last))));
}

/// Adds a default route through a range's gateway, unless there is one of that family.
fn add_default(routes: &mut Vec<ResultRoute>, range: &Range) {
    let is_v4 = range.subnet.ip.is_ipv4();
    let mut defaults =
        routes.iter_mut().filter(|route| route.dst.prefix == 0 && route.dst.ip.is_ipv4() == is_v4);
    match defaults.next() {
        Some(route) => route.gw = route.gw.or(range.gateway),
        None => {
            let Route { to, via, .. } = Route::default_through(is_v4, range.gateway);
            routes.push(ResultRoute { dst: to, gw: via, ..ResultRoute::default() });
        }
    }
}

fn route(route: &ResultRoute) -> Route {
    let &ResultRoute { dst, gw, mtu, advmss, priority, table, scope } = route;
    Route { to: dst, via: gw, mtu, segment: advmss, priority, table, scope }
}

fn dns(configuration: &Configuration<'_>, addresses: &Addresses) -> Result<Dns> {
    if let Some(RuntimeDns { servers, searches, options }) = configuration.runtime("dns")? {
        return Ok(Dns { nameservers: servers, search: searches, options, domain: None });
    }
    let own = &configuration.dns;
    Ok(if own.is_empty() { addresses.dns.clone() } else { own.clone() })
}
