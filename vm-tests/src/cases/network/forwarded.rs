//! What the host forwards: to the outside, and between containers.

use serde_json::{Value, json};

use super::host::{Connected, FORWARDING, Host, answers, bridged, on_a_host, set, socket, with_outside};
use super::machine::{HOST_4, HOST_6, OUTSIDE_4, OUTSIDE_6};
use super::traffic::{Protocol, Server, ask_in_vain};
use crate::cases::Guest;
use crate::cases::expectation::contains;

/// The outside sees the host's address.
pub fn to_the_outside(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, outside| {
        let container = host.start("inside", &bridged(&[]))?;
        for protocol in Protocol::ALL {
            let _server = outside.at().serve("outside", protocol, 81);
            for (to, seen) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
                let expected = format!("outside sees {seen}");
                answers(container.at(), protocol, &socket(to, 81), &expected, "")?;
            }
        }
        container.remove()
    })
}

/// It is turned on for a network, and that is said.
pub fn forwarding_is_said(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        FORWARDING.iter().try_for_each(|name| set(name, "0"))?;
        let container = host.bundle("inside", &bridged(&[]))?;
        let said = container.call_with_bundle(&["create"])?.exits(0)?.stderr;
        for family in ["IPv4", "IPv6"] {
            contains("stderr", &said, &format!("the host forwards {family} packets from now on"))?;
        }
        container.remove()
    })
}

/// A container on the bridge with that number, with servers that are called by its IPv4 address.
fn on_bridge<'g>(
    host: &Host<'g>,
    id: &str,
    number: u8,
    settings: Value,
) -> Result<(Connected<'g>, Vec<Server>), String> {
    let subnets = [format!("10.90.{number}.0/24"), format!("fd00:90:{number}::/64")];
    let mut model = json!({"type": "bridge", "bridge_name": format!("br{number}"), "subnets": subnets});
    for (member, value) in settings.as_object().into_iter().flatten() {
        model[member] = value.clone();
    }
    let container = host.start(id, &json!({"model": model, "interfaces": [{}]}))?;
    let name = container.address(true)?;
    let servers = Protocol::ALL.map(|protocol| container.at().serve(&name, protocol, 80));
    Ok((container, servers.into()))
}

/// One reaches the other directly, which sees its own address.
fn reaches(from: &Connected<'_>, to: &Connected<'_>, how: &str) -> Result<(), String> {
    for protocol in Protocol::ALL {
        for is_v4 in [true, false] {
            let expected = format!("{} sees {}", to.address(true)?, from.address(is_v4)?);
            answers(from.at(), protocol, &socket(&to.address(is_v4)?, 80), &expected, how)?;
        }
    }
    Ok(())
}

/// Neither reaches the other.
fn are_apart(one: &Connected<'_>, other: &Connected<'_>) -> Result<(), String> {
    let mut questions = Vec::new();
    for (from, to) in [(one, other), (other, one)] {
        for is_v4 in [true, false] {
            questions.push((from.at(), socket(&to.address(is_v4)?, 80)));
        }
    }
    ask_in_vain(&questions);
    Ok(())
}

pub fn on_one_bridge(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        let (one, _servers) = on_bridge(host, "one", 1, json!({}))?;
        let (two, _servers) = on_bridge(host, "two", 1, json!({}))?;
        host.with_and_without_bridge_netfilter(|how| reaches(&one, &two, how))?;
        one.remove()?;
        two.remove()
    })
}

/// Bridges are apart, unless both are to be open to others.
pub fn between_bridges(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        let (one, _servers) = on_bridge(host, "one", 1, json!({}))?;
        let (two, _servers) = on_bridge(host, "two", 2, json!({}))?;
        host.with_and_without_bridge_netfilter(|_| are_apart(&one, &two))?;
        let open = || json!({"isolated": false, "masquerade": false});
        let (three, _servers) = on_bridge(host, "three", 3, open())?;
        let (four, _servers) = on_bridge(host, "four", 4, open())?;
        reaches(&three, &four, "of open bridges")?;
        are_apart(&one, &three)?;
        [one, two, three, four].into_iter().try_for_each(Connected::remove)
    })
}

/// No way out, no way in, but to each other.
pub fn internal(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, outside| {
        let _outside = Protocol::ALL.map(|protocol| outside.at().serve("outside", protocol, 81));
        let settings = || json!({"internal": true});
        let (one, _servers) = on_bridge(host, "one", 1, settings())?;
        let (two, _servers) = on_bridge(host, "two", 1, settings())?;
        outside.route("10.90.1.0/24", HOST_4);
        outside.route("fd00:90:1::/64", HOST_6);
        reaches(&one, &two, "on an internal network")?;
        for to in [OUTSIDE_4, OUTSIDE_6] {
            // There is no route at all.
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                answers(one.at(), protocol, &socket(to, 81), "unreachable", "")?;
            }
        }
        let addresses = [one.address(true)?, one.address(false)?];
        ask_in_vain(&addresses.map(|address| (outside.at(), socket(&address, 80))));
        one.remove()?;
        two.remove()
    })
}
