//! Namespaces: made, inherited, joined; and what belongs to them (hostname, sysctls, loopback, offsets, id
//! maps).

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::harness::{Container, each_runtime, each_runtime_but, mountpoints, pillbox_only, skip, wait_for};

/// The type in config.json and the name in /proc/PID/ns.
const NAMESPACES: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

/// A shell command that prints the links of all namespaces, one per line.
const LINKS: &str = "for ns in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$ns; done";

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).expect("namespace").display().to_string()
}

/// A process in namespaces of its own (unshare's flags), killed when dropped.
struct Helper(Child);

impl Helper {
    fn new(flags: &[&str]) -> Self {
        let mut unshare = Command::new("unshare");
        let child = unshare.args(flags).args(["sh", "-c", "echo ready; exec sleep 1000"]);
        let mut child = child.stdout(Stdio::piped()).spawn().expect("unshare");
        let mut ready = [0; 6];
        std::io::Read::read_exact(&mut child.stdout.take().expect("pipe"), &mut ready).expect("unshare");
        Helper(child)
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.0.id())
    }

    fn link(&self, name: &str) -> String {
        fs::read_link(self.path(name)).expect("namespace").display().to_string()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn namespaces_are_made() {
    each_runtime(|runtime| {
        let output = Container::sh(runtime, LINKS).run_ok();
        for ((_, name), link) in NAMESPACES.iter().zip(output.lines()) {
            assert!(link.starts_with(name), "{name}: {link}");
            assert_ne!(link, own(name));
        }
        assert_eq!(output.lines().count(), NAMESPACES.len());
    });
}

#[test]
fn absent_namespaces_are_inherited() {
    each_runtime(|runtime| {
        for (kind, name) in NAMESPACES.into_iter().filter(|(kind, _)| *kind != "mount") {
            let mut container = Container::sh(runtime, LINKS);
            container.without_namespace(kind);
            if kind == "uts" {
                container.spec.as_object_mut().expect("spec").remove("hostname");
            }
            let output = container.run_ok();
            for ((other, other_name), link) in NAMESPACES.iter().zip(output.lines()) {
                assert_eq!(*other == kind, link == own(other_name), "{kind}, {name}: {output}");
            }
        }
    });
}

#[test]
fn namespaces_are_joined_by_path() {
    each_runtime(|runtime| {
        let helper = Helper::new(&["-n", "-i", "-u"]);
        let mut container = Container::sh(runtime, LINKS);
        for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            container.with_namespace(kind, Some(&helper.path(name)));
        }
        container.spec.as_object_mut().expect("spec").remove("hostname");
        let output = container.run_ok();
        let links: Vec<_> = output.lines().collect();
        assert_eq!(links[1..4], [helper.link("net"), helper.link("ipc"), helper.link("uts")]);
        assert_ne!(links[4], own("mnt"));
    });
}

/// Without a path validation refuses this; in another's namespace it is done.
#[test]
fn a_joined_namespace_that_is_the_hosts_own_is_not_changed() {
    pillbox_only(|runtime| {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
        let shm = fs::read_to_string("/proc/sys/kernel/shmmni").expect("shmmni");
        for (kind, name, pointer, value, named) in [
            ("uts", "uts", "/hostname", json!("changed"), "hostname: the uts namespace"),
            ("uts", "uts", "/domainname", json!("changed"), "domainname: the uts namespace"),
            (
                "ipc",
                "ipc",
                "/linux/sysctl",
                json!({"kernel.shmmni": "77"}),
                "linux.sysctl: kernel.shmmni: the ipc",
            ),
            (
                "network",
                "net",
                "/linux/sysctl",
                json!({"net.ipv4.ip_forward": "1"}),
                "linux.sysctl: net.ipv4.ip_forward: ",
            ),
            (
                "network",
                "net",
                "/linux/netDevices",
                json!({"lo": {}}),
                "linux.netDevices: the network namespace",
            ),
        ] {
            let mut container = Container::new(runtime);
            container.spec.as_object_mut().expect("spec").remove("hostname");
            let (object, member) = pointer.rsplit_once('/').expect("pointer");
            container.spec.pointer_mut(object).expect("object")[member] = value;
            // Through another process of the host, and by another name of the same namespace.
            let own = Helper::new(&["--mount"]);
            container.with_namespace(kind, Some(&own.path(name)));
            let output = container.run().fails_with(named);
            assert_eq!(output.error_lines().len(), 1, "{output:?}");
            container.assert_gone();
            if pointer != "/linux/netDevices" {
                let other = Helper::new(&[&format!("--{}", if kind == "network" { "net" } else { kind })]);
                container.with_namespace(kind, Some(&other.path(name)));
                container.run_ok();
            }
        }
        assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname"), host);
        assert_eq!(fs::read_to_string("/proc/sys/kernel/shmmni").expect("shmmni"), shm);
    });
}

/// Mounts there outlive the container, unless they are unmounted.
#[test]
fn a_joined_mount_namespace_that_is_the_hosts_own_is_left_as_it_was() {
    pillbox_only(|runtime| {
        let mut container = Container::sleeping(runtime);
        for member in ["maskedPaths", "readonlyPaths"] {
            container.spec["linux"].as_object_mut().expect("linux").remove(member);
        }
        let own = format!("/proc/{}/ns/mnt", std::process::id());
        container.with_namespace("mount", Some(&own));
        let rootfs = container.rootfs();
        let mounted =
            || mountpoints().into_iter().filter(|point| Path::new(point).starts_with(&rootfs)).count();
        container.create_and_start().wait_for("ready");
        assert!(mounted() > 1, "its mounts are the host's");
        assert_eq!(
            container.call(&["exec", &container.id, "sh", "-c", "echo in /*"]).ok().stdout.find("/host"),
            None
        );
        container.call(&["delete", "--force", &container.id]).ok();
        assert_eq!(mounted(), 0);
        container.assert_gone();
    });
}

#[test]
fn a_pid_namespace_is_joined_by_path() {
    each_runtime(|runtime| {
        let first = Container::sleeping(runtime);
        first.create_and_start();
        let pid = first.pid();
        let mut second =
            Container::sh(runtime, "readlink /proc/self/ns/pid; ls /proc | grep -c '^1$'; echo pid $$");
        second.with_namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
        let output = second.run_ok();
        let link = fs::read_link(format!("/proc/{pid}/ns/pid")).expect("namespace").display().to_string();
        assert!(output.starts_with(&format!("{link}\n1\n")), "{output}");
        assert!(!output.contains("pid 1\n"), "{output}");
        assert_eq!(first.status(), "running");
    });
}

#[test]
fn a_path_of_another_type_is_an_error() {
    let peers = [("crun", "leaves the cgroup behind"), ("runc", "does not name the path")];
    each_runtime_but(&peers, |runtime| {
        let helper = Helper::new(&["-u"]);
        let mut container = Container::new(runtime);
        container.with_namespace("network", Some(&helper.path("uts")));
        container.run().fails_with(&helper.path("uts"));
        container.assert_gone();
    });
}

#[test]
fn a_namespace_path_that_is_missing_or_no_namespace_is_an_error() {
    let peers = [("crun", "leaves the cgroup behind"), ("runc", "does not name the path")];
    each_runtime_but(&peers, |runtime| {
        for path in ["/nonesuch/net", "/etc/passwd"] {
            let mut container = Container::new(runtime);
            container.with_namespace("network", Some(path));
            container.run().fails_with(path);
            container.assert_gone();
        }
    });
}

#[test]
fn a_namespace_twice_is_an_error() {
    each_runtime_but(&[("crun", "takes the last")], |runtime| {
        let mut container = Container::new(runtime);
        let namespaces = container.spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.push(json!({"type": "network"}));
        container.run().fails_with("network");
        container.assert_gone();
    });
}

#[test]
fn the_command_is_pid_1_with_a_proc_of_its_own() {
    each_runtime(|runtime| {
        assert_eq!(Container::sh(runtime, "echo $$ /proc/[0-9]*").run_ok(), "1 /proc/1\n");
    });
}

#[test]
fn host_and_domain_name() {
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "hostname; cat /proc/sys/kernel/domainname");
        container.spec["hostname"] = json!("name-of-the-box");
        container.spec["domainname"] = json!("example.org");
        assert_eq!(container.run_ok(), "name-of-the-box\nexample.org\n");
    });
}

#[test]
fn a_domain_name_and_its_sysctl_must_be_the_same() {
    each_runtime_but(&[("runc", "takes the sysctl")], |runtime| {
        let mut container = Container::sh(runtime, "cat /proc/sys/kernel/domainname");
        container.spec["domainname"] = json!("one");
        container.spec["linux"]["sysctl"] = json!({"kernel.domainname": "one"});
        assert_eq!(container.run_ok(), "one\n");
        container.spec["linux"]["sysctl"] = json!({"kernel.domainname": "two"});
        container.run().fails_with("domainname");
        container.assert_gone();
    });
}

#[test]
fn a_host_name_needs_a_uts_namespace_of_its_own() {
    each_runtime(|runtime| {
        let before = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
        let mut container = Container::new(runtime);
        container.without_namespace("uts");
        container.run().fails_with("UTS");
        assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname"), before);
        container.assert_gone();
    });
}

#[test]
fn sysctls_are_the_namespaces_own() {
    each_runtime(|runtime| {
        let before = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").expect("sysctl");
        let script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shm_rmid_forced";
        let mut container = Container::sh(runtime, script);
        container.spec["linux"]["sysctl"] =
            json!({"net.ipv4.ip_default_ttl": "33", "kernel.shm_rmid_forced": "1"});
        assert_eq!(container.run_ok(), "33\n1\n");
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").expect("sysctl"), before);
    });
}

#[test]
fn a_sysctl_of_the_host_is_refused() {
    each_runtime(|runtime| {
        for (name, namespace) in
            [("vm.swappiness", ""), ("net.ipv4.ip_default_ttl", "network"), ("kernel.msgmax", "ipc")]
        {
            let mut container = Container::new(runtime);
            container.without_namespace(namespace);
            let file = format!("/proc/sys/{}", name.replace('.', "/"));
            let before = fs::read_to_string(&file).expect("sysctl");
            container.spec["linux"]["sysctl"] = json!({name: "34"});
            container.run().fails_with(name);
            assert_eq!(fs::read_to_string(&file).expect("sysctl"), before);
            container.assert_gone();
        }
    });
}

#[test]
fn loopback_is_up() {
    each_runtime(|runtime| {
        let output =
            Container::sh(runtime, "cat /sys/class/net/lo/flags; ip -o addr show lo; ls /sys/class/net")
                .run_ok();
        let mut lines = output.lines();
        let flags = lines.next().and_then(|line| line.strip_prefix("0x")).expect("flags");
        assert_eq!(u32::from_str_radix(flags, 16).expect("hex") & 1, 1, "IFF_UP: {output}");
        assert!(output.contains("127.0.0.1/8"), "{output}");
    });
}

#[test]
fn time_offsets() {
    if !fs::exists("/proc/self/ns/time").expect("/proc") {
        return skip("this kernel has no time namespaces");
    }
    each_runtime(|runtime| {
        let script = "cut -d. -f1 /proc/uptime; tr -s ' \\n' , < /proc/self/timens_offsets";
        let mut container = Container::sh(runtime, script);
        container.with_namespace("time", None);
        container.spec["linux"]["timeOffsets"] =
            json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}, "monotonic": {"secs": 77, "nanosecs": 5}});
        let output = container.run_ok();
        let uptime: u64 = output.lines().next().and_then(|line| line.parse().ok()).expect("uptime");
        assert!(uptime > 1_000_000, "{output}");
        assert!(output.contains("monotonic,77,5,boottime,1000000,0"), "{output}");
    });
}

#[test]
fn a_time_namespace_without_offsets() {
    if !fs::exists("/proc/self/ns/time").expect("/proc") {
        return skip("this kernel has no time namespaces");
    }
    each_runtime(|runtime| {
        let mut container =
            Container::sh(runtime, "readlink /proc/self/ns/time; tr -s ' \\n' , < /proc/self/timens_offsets");
        container.with_namespace("time", None);
        let output = container.run_ok();
        assert_ne!(output.lines().next(), Some(own("time").as_str()));
        assert!(output.ends_with("monotonic,0,0,boottime,0,0,"), "{output}");
        container.without_namespace("time");
        assert_eq!(container.run_ok().lines().next(), Some(own("time").as_str()));
    });
}

#[test]
fn time_offsets_out_of_range_are_an_error() {
    if !fs::exists("/proc/self/ns/time").expect("/proc") {
        return skip("this kernel has no time namespaces");
    }
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        container.with_namespace("time", None);
        container.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": -1_000_000_000_000i64}});
        container.run().fails_with("linux.timeOffsets").fails_with("-1000000000000");
        container.assert_gone();
    });
}

#[test]
fn a_time_namespace_is_joined_by_path() {
    if !fs::exists("/proc/self/ns/time").expect("/proc") {
        return skip("this kernel has no time namespaces");
    }
    each_runtime_but(&[("crun", "ends in the middle of it")], |runtime| {
        let helper = Helper::new(&["-T", "--boottime", "1000000", "-f"]);
        // Its only child is the process inside.
        let children =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", helper.0.id())).expect("children");
        let path = format!("/proc/{}/ns/time", children.trim());
        let link = fs::read_link(&path).expect("namespace").display().to_string();
        assert_ne!(link, own("time"));
        let mut container = Container::sh(runtime, "readlink /proc/self/ns/time; cut -d. -f1 /proc/uptime");
        container.with_namespace("time", Some(&path));
        let output = container.run_ok();
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines[0], link);
        assert!(lines[1].parse::<u64>().expect("uptime") > 1_000_000, "{output}");
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(children.trim().parse().expect("pid")).expect("pid"),
            rustix::process::Signal::KILL,
        )
        .expect("kill");
    });
}

#[test]
fn a_time_namespace_within_a_user_namespace() {
    if !fs::exists("/proc/self/ns/time").expect("/proc") {
        return skip("this kernel has no time namespaces");
    }
    each_runtime_but(&[("crun", "may not write the offsets")], |runtime| {
        let mut container = Container::sh(runtime, "cut -d. -f1 /proc/uptime; id -u");
        with_user_namespace(&mut container);
        container.with_namespace("time", None);
        container.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}});
        let output = container.run_ok();
        let lines: Vec<_> = output.lines().collect();
        assert!(lines[0].parse::<u64>().expect("uptime") > 1_000_000, "{output}");
        assert_eq!(lines[1], "0");
        container.assert_gone();
    });
}

/// A user namespace with ranges of host ids, as root makes it for a container.
fn with_user_namespace(container: &mut Container) {
    container.with_namespace("user", None);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}, {"containerID": 1000, "hostID": 200_000, "size": 1}]);
    container.spec["linux"]["uidMappings"] = map.clone();
    container.spec["linux"]["gidMappings"] = map;
    for path in [container.rootfs(), container.rootfs().join("tmp")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
}

#[test]
fn a_user_namespace_with_ranges() {
    each_runtime(|runtime| {
        let script = "tr -s ' \\n' ' ' < /proc/self/uid_map; tr -s ' \\n' ' ' < /proc/self/gid_map; echo; id -u; id -g
            readlink /proc/self/ns/user; touch /tmp/file; cat /proc/self/setgroups; echo > /dev/null && echo null
            stat -c %u /proc/1 /dev/pts/ptmx";
        let mut container = Container::sh(runtime, script);
        with_user_namespace(&mut container);
        let output = container.run_ok();
        let lines: Vec<_> = output.lines().collect();
        let map = "0 100000 1000 1000 200000 1";
        assert_eq!(lines[0].trim(), format!("{map}  {map}"));
        assert_eq!((lines[1], lines[2]), ("0", "0"));
        assert_ne!(lines[3], own("user"));
        assert_eq!(lines[4..], ["allow", "null", "0", "0"]);
        let made = fs::metadata(container.rootfs().join("tmp/file")).expect("file");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 100_000);
        container.assert_gone();
    });
}

#[test]
fn the_mappings_of_a_user_namespace_that_is_joined() {
    pillbox_only(|runtime| {
        let mut first = Container::sleeping(runtime);
        with_user_namespace(&mut first);
        first.create_and_start().wait_for("ready");
        let path = format!("/proc/{}/ns/user", first.pid());
        let mut second = Container::sh(runtime, "id -u; readlink /proc/self/ns/user");
        with_user_namespace(&mut second);
        second.with_namespace("user", Some(&path));
        let link = fs::read_link(&path).expect("namespace").display().to_string();
        assert_eq!(second.run_ok(), format!("0\n{link}\n"));
        second.spec["linux"]["gidMappings"] = json!([]);
        assert_eq!(second.run_ok(), format!("0\n{link}\n"));
        second.spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 999}]);
        second.run().fails_with("linux.uidMappings").fails_with("0 100000 1000, 1000 200000 1");
        second.assert_gone();
    });
}

#[test]
fn a_user_of_a_user_namespace() {
    each_runtime(|runtime| {
        let mut container =
            Container::sh(runtime, "id -u; id -g; touch /tmp/file && stat -c %u:%g /tmp/file");
        with_user_namespace(&mut container);
        fs::set_permissions(
            container.rootfs().join("tmp"),
            std::os::unix::fs::PermissionsExt::from_mode(0o1777),
        )
        .expect("chmod");
        container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        assert_eq!(container.run_ok(), "1000\n1000\n1000:1000\n");
        let made = fs::metadata(container.rootfs().join("tmp/file")).expect("file");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 200_000);
    });
}

#[test]
fn a_user_namespace_container_lives_through_all_operations() {
    each_runtime(|runtime| {
        let mut container = Container::sleeping(runtime);
        with_user_namespace(&mut container);
        container.create_and_start().wait_for("ready");
        let host = fs::read_to_string(format!("/proc/{}/status", container.pid())).expect("status");
        assert!(host.contains("Uid:\t100000\t100000\t100000\t100000"), "{host}");
        container.kill("TERM").ok();
        container.wait_status("stopped");
        container.delete().ok();
        container.assert_gone();
    });
}

#[test]
fn many_mappings() {
    // The kernel takes 340 lines per id type, in one write of less than a page.
    each_runtime(|runtime| {
        let mut container = Container::sh(runtime, "wc -l < /proc/self/uid_map");
        with_user_namespace(&mut container);
        let lines = (0..200)
            .map(|n| json!({"containerID": n, "hostID": 100_000 + 2 * n, "size": 1}))
            .collect::<Vec<_>>();
        container.spec["linux"]["uidMappings"] = json!(lines);
        assert_eq!(container.run_ok().trim(), "200");
    });
}

#[test]
fn the_helper_outlives_what_joined_it() {
    each_runtime(|runtime| {
        let mut helper = Helper::new(&["-n"]);
        let mut container = Container::sleeping(runtime);
        container.with_namespace("network", Some(&helper.path("net")));
        container.create_and_start();
        container.delete_force().ok();
        container.assert_gone();
        wait_for("the helper", || helper.0.try_wait().expect("wait").is_none().then_some(()));
    });
}
