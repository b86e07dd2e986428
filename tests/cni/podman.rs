//! podman as the caller, where it has CNI (before version 5), with pillbox as the runtime and as the plugin.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Container, Output, lack, skip};
use crate::host::on_a_host;
use crate::inventory::Inventory;
use crate::plugin::{FOLDER, install, wait_for_remains};
use crate::standpoint::Standpoint;
use crate::traffic::Tcp;

/// Where podman keeps everything.
const PLACE: &str = "/run/podman";

fn podman(container: &Container<'_>, arguments: &[&str]) -> Output {
    let path = |name: &str| format!("{PLACE}/{name}");
    let mut command = Command::new("podman");
    command.args(["--root", &path("root"), "--runroot", &path("run"), "--storage-driver", "vfs"]);
    command.args([
        "--network-config-dir",
        &path("net.d"),
        "--tmpdir",
        &path("tmp"),
        "--events-backend",
        "none",
    ]);
    command.args(["--cgroup-manager", "cgroupfs", "--runtime"]).arg(&container.runtime.path).args(arguments);
    command.env("CONTAINERS_CONF", path("containers.conf")).env("XDG_RUNTIME_DIR", PLACE);
    container.finish(&mut command)
}

fn configure() {
    let plugin = json!({
        "type": "pillbox-net", "bridge": "pods0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "capabilities": {"portMappings": true, "ips": true, "mac": true},
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    });
    let list = json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]});
    fs::create_dir_all(format!("{PLACE}/net.d")).expect("a folder");
    fs::write(format!("{PLACE}/net.d/10-pods.conflist"), list.to_string()).expect("a configuration");
    let settings = format!(
        "[network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"{FOLDER}\"]\ndefault_network = \"pods\"\n\
         [engine]\nruntime_supports_nocgroup = [\"pillbox\"]\n"
    );
    fs::write(format!("{PLACE}/containers.conf"), settings).expect("a configuration");
}

#[test]
fn podman_connects_containers() {
    on_a_host(|host| {
        if !Path::new("/usr/bin/podman").exists() {
            return skip("podman is not installed");
        }
        install(host);
        configure();
        let container = Container::new(&host.runtime);
        let info = podman(&container, &["info", "--format", "{{.Host.NetworkBackend}}"]);
        if info.stdout != "cni\n" {
            return lack("podman has no CNI any more");
        }
        let tar = container.tar();
        podman(&container, &["import", "--quiet", tar.to_str().expect("UTF-8"), "box"]).ok();
        let before = Inventory::take();
        let run = |name: &str, flags: &[&str]| {
            let usual = ["run", "--detach", "--cgroups=disabled", "--name", name];
            podman(&container, &[&usual, flags, &["box", "/bin/sleep", "1000"]].concat()).ok();
            let inspected: Value =
                serde_json::from_str(&podman(&container, &["inspect", name]).ok().stdout).expect("JSON");
            let pid = inspected[0]["State"]["Pid"].as_u64().expect("a pid");
            (
                Standpoint::Of(u32::try_from(pid).expect("a pid")),
                inspected[0]["NetworkSettings"]["Networks"]["pods"].clone(),
            )
        };
        let (web, network) = run("web", &["--publish", "8080:80"]);
        assert_eq!(network["IPAddress"], "10.77.0.2");
        assert_eq!(web.addresses("eth0"), ["10.77.0.2/24"]);
        let server = web.serve("web", Tcp, 80);
        assert!(Standpoint::Host.ask(Tcp, "127.0.0.1:8080").starts_with("web sees "));
        let (other, _) = run("other", &["--ip", "10.77.0.9", "--mac-address", "02:11:22:33:44:55"]);
        assert_eq!(other.addresses("eth0"), ["10.77.0.9/24"]);
        assert_eq!(other.link("eth0").address, Some([2, 0x11, 0x22, 0x33, 0x44, 0x55]));
        assert_eq!(other.ask(Tcp, "10.77.0.2:80"), "web sees 10.77.0.9");
        drop(server);
        podman(&container, &["rm", "--force", "--time", "0", "web", "other"]).ok();
        wait_for_remains();
        host.net(&["rm", "pods"]);
        before.is_back();
    });
}
