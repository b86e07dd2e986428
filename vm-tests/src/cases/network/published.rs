//! Published ports, from everywhere.

use serde_json::json;

use super::host::{Connected, Host, answers, bridged, on_a_host, socket, with_outside};
use super::machine::{HOST_4, HOST_6, OUTSIDE_4, OUTSIDE_6};
use super::standpoint::Standpoint;
use super::traffic::{Protocol, Tcp};
use crate::cases::Guest;
use crate::cases::config::Config;
use crate::cases::expectation::{contains, equal};

/// The same port of each protocol.
const ALL: [&str; 3] = ["8080:80", "8080:80/udp", "8080:80/sctp"];

/// The addresses of the default bridge.
fn gateways() -> Result<[String; 2], String> {
    let addresses = Standpoint::Host.addresses("pillbox0");
    let find = |is_v4: bool| {
        let address = addresses.iter().find(|address| address.contains(':') != is_v4);
        let ip = address.and_then(|address| address.split('/').next());
        ip.map(str::to_owned).ok_or_else(|| format!("pillbox0: {addresses:?}"))
    };
    Ok([find(true)?, find(false)?])
}

/// The container sees the client's own address.
pub fn from_outside(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, outside| {
        let (web, _servers) = host.serve("web", &ALL)?;
        host.with_and_without_bridge_netfilter(|how| {
            for protocol in Protocol::ALL {
                for (to, seen) in [(HOST_4, OUTSIDE_4), (HOST_6, OUTSIDE_6)] {
                    let expected = format!("web sees {seen}");
                    answers(outside.at(), protocol, &socket(to, 8080), &expected, how)?;
                }
            }
            Ok(())
        })?;
        web.remove()?;
        // The port is the host's own again.
        answers(outside.at(), Tcp, &socket(HOST_4, 8080), "refused", "without the container")
    })
}

/// At the loopback's addresses and at its own.
pub fn from_host(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, _| {
        let (web, _servers) = host.serve("web", &ALL)?;
        let [gateway_4, gateway_6] = gateways()?;
        host.with_and_without_bridge_netfilter(|how| {
            for protocol in Protocol::ALL {
                for (to, seen) in [
                    ("127.0.0.1", gateway_4.as_str()),
                    ("::1", &gateway_6),
                    (HOST_4, HOST_4),
                    (HOST_6, HOST_6),
                    (&gateway_4, &gateway_4),
                    (&gateway_6, &gateway_6),
                ] {
                    let expected = format!("web sees {seen}");
                    answers(Standpoint::Host, protocol, &socket(to, 8080), &expected, how)?;
                }
            }
            Ok(())
        })?;
        web.remove()
    })
}

/// From itself, from a neighbour and from another bridge, which it does not reach otherwise.
pub fn from_containers(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, _| {
        let (web, _servers) = host.serve("web", &ALL)?;
        let neighbour = host.start("neighbour", &bridged(&[]))?;
        let far = json!({"model": {"type": "bridge", "bridge_name": "far0"}, "interfaces": [{}]});
        let far = host.start("far", &far)?;
        let [gateway_4, gateway_6] = gateways()?;
        host.with_and_without_bridge_netfilter(|how| {
            for from in [&web, &neighbour, &far] {
                let how = format!("from {} {how}", from.container.id);
                for protocol in Protocol::ALL {
                    for (to, seen) in [(HOST_4, &gateway_4), (HOST_6, &gateway_6)] {
                        let expected = format!("web sees {seen}");
                        answers(from.at(), protocol, &socket(to, 8080), &expected, &how)?;
                    }
                }
            }
            Ok(())
        })?;
        [web, neighbour, far].into_iter().try_for_each(Connected::remove)
    })
}

/// `-p` needs no file. A port that somebody has is refused, and nothing is left of who wanted it.
pub fn by_flag(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        let web = with_flag(host, "web")?;
        let _server = web.at().serve("web", Tcp, 80);
        let [gateway, _] = gateways()?;
        answers(Standpoint::Host, Tcp, "127.0.0.1:8080", &format!("web sees {gateway}"), "")?;
        let before = host.left();
        let error = with_flag(host, "other").err().unwrap_or_default();
        contains("error", &error, "port 8080/tcp: taken by container web")?;
        equal("left", host.left(), before)?;
        web.remove()
    })
}

fn with_flag<'g>(host: &Host<'g>, id: &str) -> Result<Connected<'g>, String> {
    let container = host.guest.container(id, Config::new(&["sleep", "1000000"]))?;
    container.call_with_bundle(&["create", "--publish", "8080:80"])?.exits(0)?;
    container.call(&["start"])?.exits(0)?;
    Connected::of(container)
}
