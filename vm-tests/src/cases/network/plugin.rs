//! pillbox as a CNI plugin.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use serde_json::{Value, json};

use super::host::{Host, answers, on_a_host, socket, with_outside};
use super::machine::{HOST_4, HOST_6, Machine, OUTSIDE_4, OUTSIDE_6};
use super::module::unload;
use super::traffic::Protocol;
use crate::cases::Guest;
use crate::cases::expectation::{contains, equal};

/// The code for what the host cannot have (CNI specification, error 50).
const UNAVAILABLE: u64 = 50;

fn configuration() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "testnet", "type": "pillbox-net",
        "bridge": "test0", "isGateway": true, "ipMasq": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        }
    })
}

/// Calls the plugin for a container that is a machine of its own: its exit status, and what it has printed.
fn call(host: &Host<'_>, operation: &str, container: &Machine) -> Result<(i32, Value), String> {
    let mut command = host.guest.command(host.guest.runtime());
    command.arg0("pillbox-net").env_clear().env("CNI_COMMAND", operation).env("CNI_PATH", "/bin");
    command.env("CNI_CONTAINERID", "web").env("CNI_IFNAME", "eth0").env("CNI_NETNS", container.namespace());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let written = child.stdin.take().map(|mut input| write!(input, "{}", configuration()));
    written.unwrap_or(Ok(())).map_err(|e| format!("the plugin's stdin: {e}"))?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{operation}: {} {text}", output.status);
    let printed = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
    Ok((output.status.code().unwrap_or(-1), printed.map_err(|e| e.to_string())?))
}

/// ADD connects, DEL disconnects.
pub fn add_and_delete(guest: &Guest) -> Result<(), String> {
    with_outside(guest, |host, outside| {
        let container = Machine::new();
        let (status, result) = call(host, "ADD", &container)?;
        equal("status", status, 0)?;
        equal("the first address", &result["ips"][0]["address"], &json!("10.77.0.2/24"))?;
        for protocol in Protocol::ALL {
            let _server = outside.at().serve("outside", protocol, 81);
            for (to, seen) in [(OUTSIDE_4, HOST_4), (OUTSIDE_6, HOST_6)] {
                let expected = format!("outside sees {seen}");
                answers(container.at(), protocol, &socket(to, 81), &expected, "")?;
            }
        }
        equal("status", call(host, "DEL", &container)?.0, 0)?;
        equal("links", container.at().links().len(), 1)
    })
}

/// A kernel that lacks something cannot have the network: nothing is left, and DEL has nothing to do.
pub fn without_nf_tables(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        unload("nf_tables")?;
        let container = Machine::new();
        let (status, refusal) = call(host, "ADD", &container)?;
        equal("status", status, 1)?;
        equal("code", &refusal["code"], &json!(UNAVAILABLE))?;
        let details = refusal["details"].as_str().unwrap_or_default();
        contains("details", details, "network testnet: ")?;
        contains("details", details, "the kernel has no nf_tables: load the module (modprobe nf_tables)")?;
        host.is_as_before()?;
        equal("status", call(host, "DEL", &container)?.0, 0)
    })
}
