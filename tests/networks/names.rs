//! The files by which a container finds names.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::connected::Connected;
use crate::host::{Host, on_a_host};

const FILES: [&str; 3] = ["hosts", "resolv.conf", "hostname"];

/// What a container's program sees in the three files, of a container that shows them and ends.
#[track_caller]
fn shown(container: &mut Connected<'_>) -> [String; 3] {
    container.spec()["process"]["args"] = json!([
        "/bin/sh",
        "-c",
        "cd /etc; for name in hosts resolv.conf hostname; do cat $name; echo =; done"
    ]);
    let output = container.run_ok();
    let files: Vec<String> = output.split("=\n").map(String::from).collect();
    let [hosts, resolver, hostname, _] = files.try_into().expect(&output);
    [hosts, resolver, hostname]
}

fn netconf() -> Value {
    json!({
        "model": {"type": "bridge", "subnets": ["10.90.0.0/24", "fd00:90::/64"]},
        "interfaces": [{"peer_ips": ["10.90.0.5/24", "fd00:90::5/64"]}],
        "dns": {
            "nameservers": ["9.9.9.9", "2620:fe::9"], "domain": "example", "search": ["example", "test"],
            "options": ["ndots:2"]
        },
        "hosts": {"db": "10.90.0.6", "db6": "fd00:90::6"}
    })
}

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
    10.90.0.5\tbox.example box\nfd00:90::5\tbox.example box\n10.90.0.6\tdb\nfd00:90::6\tdb6\n";
const RESOLVER: &str =
    "nameserver 9.9.9.9\nnameserver 2620:fe::9\ndomain example\nsearch example test\noptions ndots:2\n";

/// What a file is, as far as writing to it would change it.
fn identity(path: &Path) -> (u64, u64, i64, i64, String) {
    let status = fs::metadata(path).expect("a file");
    let text = fs::read_to_string(path).expect("a file");
    (status.ino(), status.mode().into(), status.mtime(), status.mtime_nsec(), text)
}

/// A container whose root has the files, with texts of its own.
fn with_files<'h>(host: &'h Host, netconf: &Value) -> Connected<'h> {
    let container = Connected::new(host, netconf);
    for name in FILES {
        fs::write(container.rootfs().join("etc").join(name), format!("{name} of the image\n"))
            .expect("a file");
    }
    container
}

#[test]
fn a_container_sees_files_that_its_root_on_disk_does_not_have() {
    on_a_host(|host| {
        for readonly in [false, true] {
            let mut container = with_files(host, &netconf());
            container.spec()["root"]["readonly"] = json!(readonly);
            let etc = container.rootfs().join("etc");
            let on_disk = || FILES.map(|name| identity(&etc.join(name)));
            let before = on_disk();
            assert_eq!(shown(&mut container), [HOSTS, RESOLVER, "box\n"]);
            assert_eq!(on_disk(), before);
            container.assert_gone();
        }
    });
}

#[test]
fn a_container_may_change_its_files_and_nobody_elses() {
    on_a_host(|host| {
        let mut container = with_files(host, &netconf());
        let etc = container.rootfs().join("etc");
        let before = FILES.map(|name| identity(&etc.join(name)));
        container.spec()["process"]["args"] =
            json!(["/bin/sh", "-c", "echo 10.9.9.9 more >> /etc/hosts && tail -n 1 /etc/hosts"]);
        assert_eq!(container.run_ok(), "10.9.9.9 more\n");
        assert_eq!(FILES.map(|name| identity(&etc.join(name))), before);
        assert_eq!(shown(&mut container)[0], HOSTS);
    });
}

#[test]
fn mounts_of_config_json_win() {
    on_a_host(|host| {
        let mut container = with_files(host, &netconf());
        let own = container.folder.join("own");
        fs::write(&own, "10.1.1.1 own\n").expect("a file");
        container.container().mount("bind", &own, "/etc/hosts", &["bind", "ro"]);
        assert_eq!(shown(&mut container), ["10.1.1.1 own\n", RESOLVER, "box\n"]);
    });
}

#[test]
fn files_alone_need_no_network() {
    on_a_host(|host| {
        let netconf = json!({"dns": {"nameservers": ["9.9.9.9"]}, "hosts": {"db": "10.90.0.6"}});
        let mut container = with_files(host, &netconf);
        let hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tbox\n10.90.0.6\tdb\n";
        assert_eq!(shown(&mut container), [hosts, "nameserver 9.9.9.9\n", "box\n"]);
        // Without a name of its own it keeps that of its root.
        let spec = container.spec().as_object_mut().expect("config.json");
        spec.remove("hostname");
        assert_eq!(shown(&mut container)[2], "hostname of the image\n");
    });
}

#[test]
fn without_servers_names_are_resolved_as_the_host_resolves_them() {
    on_a_host(|host| {
        // Only here: the mount namespace is this test's own.
        let of_host = Path::new("/etc/resolv.conf");
        let own = Path::new("/run/resolv.conf");
        fs::write(own, "nameserver 127.0.0.53\nnameserver 203.0.113.9\nsearch example\n").expect("a file");
        rustix::mount::mount_bind(own, of_host).expect("the host's /etc/resolv.conf");
        let mut container = with_files(host, &json!({"model": {"type": "bridge"}, "interfaces": [{}]}));
        assert_eq!(shown(&mut container)[1], "nameserver 203.0.113.9\nsearch example\n");
    });
}

#[test]
fn a_user_namespace_has_its_network_and_its_files() {
    on_a_host(|host| {
        let mut container = with_files(host, &netconf());
        container.container().in_user_namespace();
        assert_eq!(shown(&mut container), [HOSTS, RESOLVER, "box\n"]);
    });
}
