//! Calls of the plugin, one by one.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::wait_for;
use crate::host::Host;
use crate::machine::Machine;
use crate::standpoint::Standpoint;

/// Where the tests have plugins, on the host of a test.
pub const FOLDER: &str = "/run/cni";

/// What the binary is called there.
pub const NAME: &str = "pillbox-net";

/// The versions of the protocol, the oldest first.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A container: a network namespace, and the parameters by which a runtime would name it.
pub struct Container {
    pub machine: Machine,
    pub id: String,
    pub interface: &'static str,
    pub args: String,
}

impl Container {
    pub fn new(id: &str) -> Container {
        Container { machine: Machine::new(), id: id.to_string(), interface: "eth0", args: String::new() }
    }

    pub fn at(&self) -> Standpoint {
        self.machine.at()
    }
}

/// How the plugin has answered.
#[derive(Debug)]
pub struct Answer {
    pub status: i32,
    /// What it has printed, null for nothing.
    pub printed: Value,
}

impl Answer {
    /// What it has printed, if it has succeeded.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 0, "{}", self.printed);
        self.printed
    }

    /// The code of its refusal, with the details.
    #[track_caller]
    pub fn refused(self) -> (u64, String) {
        assert_eq!(self.status, 1, "{}", self.printed);
        let Value::Object(members) = &self.printed else { panic!("no error object: {}", self.printed) };
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        assert_eq!(names, ["cniVersion", "code", "details", "msg"], "{}", self.printed);
        let details = self.printed["details"].as_str().expect("a string").to_string();
        assert!(!details.contains('\n') && !details.is_empty(), "{details:?}");
        assert!(self.printed["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{}", self.printed);
        (self.printed["code"].as_u64().expect("a number"), details)
    }
}

/// Puts the binary where plugins are.
pub fn install(host: &Host) -> String {
    fs::create_dir_all(FOLDER).expect("a folder");
    let path = format!("{FOLDER}/{NAME}");
    match symlink(&host.runtime.path, &path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.expect("a link"),
    }
    path
}

/// The command that calls it, without stdin.
pub fn command(host: &Host, operation: &str, container: Option<&Container>) -> Command {
    let mut command = Command::new(install(host));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("CNI_COMMAND", operation).env("CNI_PATH", format!("{FOLDER}:/usr/lib/cni"));
    if let Some(Container { machine, id, interface, args }) = container {
        command.env("CNI_CONTAINERID", id).env("CNI_IFNAME", interface).env("CNI_ARGS", args);
        command.env("CNI_NETNS", machine.namespace());
    }
    command
}

/// Runs such a command. It must print nothing on stderr, and on stdout nothing or one document.
#[track_caller]
pub fn run(command: &mut Command, input: &str) -> Answer {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the plugin");
    // It may refuse without reading.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("wait");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let printed = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
    Answer { status: output.status.code().expect("a status"), printed }
}

/// Calls it for a container, or for a network as a whole.
#[track_caller]
pub fn call(host: &Host, operation: &str, container: Option<&Container>, configuration: &Value) -> Answer {
    run(&mut command(host, operation, container), &configuration.to_string())
}

#[track_caller]
pub fn add(host: &Host, container: &Container, configuration: &Value) -> Value {
    call(host, "ADD", Some(container), configuration).ok()
}

#[track_caller]
pub fn delete(host: &Host, container: &Container, configuration: &Value) {
    assert_eq!(call(host, "DEL", Some(container), configuration).ok(), Value::Null);
}

/// CHECK with that result of ADD.
#[track_caller]
pub fn check(host: &Host, container: &Container, configuration: &Value, result: &Value) -> Answer {
    call(host, "CHECK", Some(container), &with(configuration, json!({"prevResult": result})))
}

/// A usual configuration.
pub fn network() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "testnet", "type": NAME,
        "bridge": "test0", "isGateway": true, "ipMasq": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        }
    })
}

/// A configuration in which some members are others.
#[track_caller]
pub fn with(configuration: &Value, members: Value) -> Value {
    let mut changed = configuration.clone();
    for (name, value) in members.as_object().expect("an object") {
        match value {
            Value::Null => drop(changed.as_object_mut().expect("an object").remove(name)),
            value => changed[name] = value.clone(),
        }
    }
    changed
}

/// The same with published ports: host port, container port, protocol.
pub fn with_ports(configuration: &Value, ports: &[(u16, u16, &str)]) -> Value {
    let mapping = |&(outside, inside, protocol): &(u16, u16, &str)| json!({"hostPort": outside, "containerPort": inside, "protocol": protocol});
    let mappings: Vec<Value> = ports.iter().map(mapping).collect();
    with(configuration, json!({"runtimeConfig": {"portMappings": mappings}}))
}

/// The addresses in a result, with their prefixes.
#[track_caller]
pub fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().unwrap_or_else(|| panic!("{result}"));
    ips.iter().map(|ip| ip["address"].as_str().expect("an address").to_string()).collect()
}

/// Waits until links of the plugin's that are to be deleted have gone.
pub fn wait_for_remains() {
    wait_for("links gone-* to go", || {
        Standpoint::Host.links().iter().all(|link| !link.name.starts_with("gone-")).then_some(())
    });
}

/// Runs a program of the host's, which must succeed; what it prints.
#[track_caller]
pub fn output(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Writes a plugin of the test's own: a shell script.
pub fn script(name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(FOLDER).expect("a folder");
    let path = format!("{FOLDER}/{name}");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
}
