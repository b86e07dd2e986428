//! The rules for `linux`, tested as in `tests.rs`.

use serde_json::{Value, json};

use super::tests::{assert_accepted, assert_rejected, namespaces, with};
use super::*;

#[test]
fn namespaces_and_what_needs_them() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let user = [json!({"type": "user"})];
    assert_rejected(&[
        (
            &[namespaces(&[json!({"type": "net"})])],
            "linux.namespaces[5].type: \"net\" is not one of mount, network, uts, ipc, pid, cgroup, user, time",
        ),
        (&[namespaces(&[json!({"type": "pid"})])], "linux.namespaces[5].type: \"pid\" is there twice"),
        (
            &[namespaces(&[json!({"type": "cgroup", "path": "x"})])],
            "linux.namespaces[5].path: \"x\" is not absolute: write \"/x\"",
        ),
        (
            &[("/hostname", json!("h")), ("/linux/namespaces", json!([]))],
            "hostname: \"h\" needs a UTS namespace: add \"uts\" to linux.namespaces",
        ),
        (
            &[("/domainname", json!("d")), ("/linux/namespaces", json!([]))],
            "domainname: \"d\" needs a UTS namespace: add \"uts\" to linux.namespaces",
        ),
        (
            &[("/hostname", json!("h".repeat(65)))],
            &format!("hostname: {:?} has 65 bytes, more than the limit of 64", "h".repeat(65)),
        ),
        (
            &[namespaces(&user), ("/linux/gidMappings", map.clone())],
            "linux.uidMappings: missing: the other ids are mapped, and these need at least one mapping as well",
        ),
        (
            &[namespaces(&user), ("/linux/uidMappings", map.clone())],
            "linux.gidMappings: missing: the other ids are mapped, and these need at least one mapping as well",
        ),
        (
            &[("/linux/gidMappings", map.clone())],
            "linux.gidMappings: needs a user namespace: add \"user\" to linux.namespaces",
        ),
        (
            &[("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}))],
            "linux.timeOffsets: needs a time namespace: add \"time\" to linux.namespaces",
        ),
        (
            &[
                namespaces(&[json!({"type": "time", "path": "/t"})]),
                ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}})),
            ],
            "linux.timeOffsets: cannot be set in \"/t\", which is joined",
        ),
        (
            &[namespaces(&[json!({"type": "time"})]), ("/linux/timeOffsets", json!({"realtime": {}}))],
            "linux.timeOffsets: \"realtime\" is not one of monotonic, boottime",
        ),
        (
            &[
                namespaces(&[json!({"type": "time"})]),
                ("/linux/timeOffsets", json!({"boottime": {"nanosecs": 1_000_000_000}})),
            ],
            "linux.timeOffsets.boottime.nanosecs: 1000000000 is not below 1000000000",
        ),
        (
            &[("/linux/namespaces", json!([])), ("/linux/netDevices", json!({"eth0": {}}))],
            "linux.netDevices: needs a network namespace: add \"network\" to linux.namespaces",
        ),
        (
            &[("/linux/netDevices", json!({"a/b": {}}))],
            "linux.netDevices: \"a/b\" is not an interface name: 1 to 15 bytes without / : % and white space",
        ),
        (
            &[("/linux/netDevices", json!({"eth0": {"name": "0123456789abcdef"}}))],
            "linux.netDevices.eth0.name: \"0123456789abcdef\" is not an interface name: \
             1 to 15 bytes without / : % and white space",
        ),
        (
            &[("/linux/netDevices", json!({"eth0": {"name": "x"}, "eth1": {"name": "x"}}))],
            "linux.netDevices.eth1.name: \"x\" is there twice",
        ),
        (
            &[("/linux/namespaces", json!([])), ("/linux/maskedPaths", json!(["/proc/kcore"]))],
            "linux.maskedPaths: needs a mount namespace: add \"mount\" to linux.namespaces",
        ),
    ]);
    let joined = [json!({"type": "user", "path": "/proc/1/ns/user"})];
    assert_accepted(&[
        &[("/hostname", json!("")), ("/linux/namespaces", json!([]))],
        &[("/linux/namespaces", json!([{"type": "uts", "path": "/u"}])), ("/hostname", json!("h"))],
        &[namespaces(&user), ("/linux/uidMappings", map.clone()), ("/linux/gidMappings", map.clone())],
        &[namespaces(&joined)],
        // containerd and CRI-O do that.
        &[namespaces(&joined), ("/linux/uidMappings", map.clone()), ("/linux/gidMappings", map)],
        &[namespaces(&[json!({"type": "time"})]), ("/linux/timeOffsets", json!({"boottime": {"secs": -1}}))],
        &[("/linux/netDevices", json!({"eth0": {"name": "c%d"}, "eth1": {"name": "c%d"}, "e2": {}}))],
    ]);
}

#[test]
fn id_mappings() {
    let user = namespaces(&[json!({"type": "user"})]);
    let map = |mappings: &[(u32, u32, u32)]| -> Value {
        let members = |&(container, host, size): &(u32, u32, u32)| json!({"containerID": container, "hostID": host, "size": size});
        mappings.iter().map(members).collect()
    };
    let uid = |mappings: &[(u32, u32, u32)]| {
        let right = ("/linux/gidMappings", map(&[(0, 0, 1)]));
        [user.clone(), right, ("/linux/uidMappings", map(mappings))]
    };
    let many: Vec<_> = (0..341).map(|n| (n, n, 1)).collect();
    assert_rejected(&[
        (&uid(&[(0, 0, 0)]), "linux.uidMappings[0].size: 0 maps nothing: write at least 1"),
        (
            &uid(&[(0, u32::MAX, 1)]),
            "linux.uidMappings[0].size: 1 ids from hostID 4294967295 go beyond 4294967294",
        ),
        (
            &uid(&[(2, 0, u32::MAX - 1)]),
            "linux.uidMappings[0].size: 4294967294 ids from containerID 2 go beyond 4294967294",
        ),
        (&uid(&[(0, 0, 10), (9, 100, 1)]), "linux.uidMappings[1]: overlaps with linux.uidMappings[0]"),
        (&uid(&[(0, 5, 1), (1, 0, 10)]), "linux.uidMappings[1]: overlaps with linux.uidMappings[0]"),
        (&uid(&many), "linux.uidMappings: has 341 mappings, more than the kernel's limit of 340"),
    ]);
    assert_accepted(&[&uid(&[(0, 0, u32::MAX)]), &uid(&[(0, 10, 10), (10, 0, 10)]), &uid(&many[1..])]);
}

#[test]
fn sysctl() {
    let sysctl = |key: &str| [("/linux/sysctl", json!({key: "1"}))];
    let alone = |key: &str| [("/linux/sysctl", json!({key: "1"})), ("/linux/namespaces", json!([]))];
    let needs = |key: &str, owner: &str| {
        format!("linux.sysctl: \"{key}\" needs a namespace: add \"{owner}\" to linux.namespaces")
    };
    assert_rejected(&[
        (
            &sysctl("vm.swappiness"),
            "linux.sysctl: \"vm.swappiness\" belongs to no namespace: it would change the host",
        ),
        (
            &sysctl("kernel.core_pattern"),
            "linux.sysctl: \"kernel.core_pattern\" belongs to no namespace: it would change the host",
        ),
        (
            &sysctl("kernel.hostname"),
            "linux.sysctl: \"kernel.hostname\" has a field of its own: write hostname",
        ),
        (&alone("net.ipv4.ip_forward"), &needs("net.ipv4.ip_forward", "network")),
        (&alone("net/ipv4/ip_forward"), &needs("net/ipv4/ip_forward", "network")),
        (&alone("kernel.shmmax"), &needs("kernel.shmmax", "ipc")),
        (&alone("fs.mqueue.msg_max"), &needs("fs.mqueue.msg_max", "ipc")),
        (&alone("kernel.domainname"), &needs("kernel.domainname", "uts")),
        (&sysctl("user.max_mnt_namespaces"), &needs("user.max_mnt_namespaces", "user")),
        (
            &sysctl("net/../kernel/core_pattern"),
            "linux.sysctl: \"net/../kernel/core_pattern\" is not the name of a kernel parameter",
        ),
        (
            &sysctl("net.//.kernel.core_pattern"),
            "linux.sysctl: \"net.//.kernel.core_pattern\" is not the name of a kernel parameter",
        ),
        (&sysctl("net..x"), "linux.sysctl: \"net..x\" is not the name of a kernel parameter"),
        (&sysctl(""), "linux.sysctl: \"\" is not the name of a kernel parameter"),
        (&sysctl("net.\0"), "linux.sysctl: \"net.\\0\" contains a NUL character"),
        (
            &[("/linux/sysctl", json!({"net.x": "\0"}))],
            "linux.sysctl.net.x: \"\\0\" contains a NUL character",
        ),
    ]);
    for key in [
        "net.ipv4.conf.eno2/100.rp_filter",
        "kernel.sem",
        "kernel/msgmax",
        "fs.mqueue.x",
        "kernel.domainname",
    ] {
        assert_accepted(&[&sysctl(key)]);
    }
    assert_eq!(sysctl_path("net.ipv4.conf.eno2/100.rp_filter"), "net/ipv4/conf/eno2.100/rp_filter");
    assert_eq!(sysctl_path("net/ipv4/conf/eno2.100/rp_filter"), "net/ipv4/conf/eno2.100/rp_filter");
}

#[test]
fn devices() {
    let device = |value: Value| [("/linux/devices", json!([value]))];
    assert_rejected(&[
        (&device(json!({"type": "c"})), "linux.devices[0].path: missing: write an absolute path"),
        (
            &device(json!({"type": "c", "path": "dev/x"})),
            "linux.devices[0].path: \"dev/x\" is not absolute: write \"/dev/x\"",
        ),
        (
            &device(json!({"type": "d", "path": "/x"})),
            "linux.devices[0].type: \"d\" is not one of c, u, b, p",
        ),
        (
            &device(json!({"type": "c", "path": "/x", "minor": 1})),
            "linux.devices[0].major: missing: /x needs a device number",
        ),
        (
            &device(json!({"type": "b", "path": "/x", "major": 1, "minor": -1})),
            "linux.devices[0].minor: -1 is not a number from 0 to 1048575",
        ),
        (
            &device(json!({"type": "b", "path": "/x", "major": 4096, "minor": 1})),
            "linux.devices[0].major: 4096 is not a number from 0 to 4095",
        ),
        (
            &device(json!({"type": "p", "path": "/x", "fileMode": 0o200_0000})),
            "linux.devices[0].fileMode: 524288 is not a mode: write at most 4095 (octal 7777)",
        ),
        (
            &device(json!({"type": "p", "path": "/x", "uid": u32::MAX})),
            "linux.devices[0].uid: 4294967295 is no id: the kernel keeps it for \"none\"",
        ),
    ]);
    let document = with(&[(
        "/linux/devices",
        json!([
            {"type": "p", "path": "/pipe", "major": 7, "minor": 7},
            {"type": "u", "path": "/dev/x", "major": 1, "minor": 2, "fileMode": 0o20640, "uid": 3, "gid": 4}
        ]),
    )])
    .to_string();
    let valid = validate(crate::oci::spec::parse(document.as_bytes()).expect("parses")).expect("is valid");
    let fifo = ValidDevice {
        path: "/pipe".into(),
        kind: DeviceKind::Fifo,
        major: 0,
        minor: 0,
        mode: 0o666,
        uid: Uid::ROOT,
        gid: Gid::ROOT,
    };
    let character = ValidDevice {
        path: "/dev/x".into(),
        kind: DeviceKind::Character,
        major: 1,
        minor: 2,
        mode: 0o640,
        uid: Uid::from_raw(3),
        gid: Gid::from_raw(4),
    };
    assert_eq!(valid.devices, [fifo, character]);
}

#[test]
fn resources() {
    let resources = |value: Value| [("/linux/resources", value)];
    assert_rejected(&[
        (
            &resources(json!({"devices": [{"allow": false, "type": "x"}]})),
            "linux.resources.devices[0].type: \"x\" is not one of a, b, c",
        ),
        (
            &resources(json!({"devices": [{"allow": false, "major": -2}]})),
            "linux.resources.devices[0].major: -2 is not a device number: write one, or -1 for all",
        ),
        (
            &resources(json!({"devices": [{"allow": false, "access": "rx"}]})),
            "linux.resources.devices[0].access: \"rx\" has other letters than r, w, m",
        ),
        (
            &resources(json!({"cpu": {"cpus": "\0"}})),
            "linux.resources.cpu.cpus: \"\\0\" contains a NUL character",
        ),
        (
            &resources(json!({"blockIO": {"weightDevice": [{"major": 1, "minor": 1}]}})),
            "linux.resources.blockIO.weightDevice[0]: needs weight or leafWeight",
        ),
        (
            &resources(json!({"hugepageLimits": [{"pageSize": "02MB", "limit": 0}]})),
            "linux.resources.hugepageLimits[0].pageSize: \"02MB\" is not a page size such as \"2MB\"",
        ),
        (
            &resources(json!({"rdma": {"mlx5_1": {}}})),
            "linux.resources.rdma.mlx5_1: needs hcaHandles or hcaObjects",
        ),
        (
            &resources(json!({"unified": {"../memory.max": "1"}})),
            "linux.resources.unified: the specified key has not the form CONTROLLER.VALUE `../memory.max`, such as memory.high",
        ),
        (
            &resources(json!({"unified": {"cgroup.procs": "1"}})),
            "linux.resources.unified.cgroup.procs: not a limit: it moves, freezes or kills processes, which is the runtime's task",
        ),
    ]);
    assert_accepted(&[&resources(json!({
        "devices": [{"allow": true, "major": -1}], "unified": {"memory.high": "1", "cgroup.max.depth": "1"},
        "hugepageLimits": [{"pageSize": "1GB", "limit": 0}]
    }))]);
}

#[test]
fn the_rest_of_linux() {
    assert_rejected(&[
        (
            &[("/linux/maskedPaths", json!(["/a", "b"]))],
            "linux.maskedPaths[1]: \"b\" is not absolute: write \"/b\"",
        ),
        (&[("/linux/readonlyPaths", json!([""]))], "linux.readonlyPaths[0]: missing: write an absolute path"),
        (
            &[("/linux/rootfsPropagation", json!("none"))],
            "linux.rootfsPropagation: \"none\" is not one of private, slave, shared, unbindable",
        ),
        (
            &[("/linux/cgroupsPath", json!("/a/../../b"))],
            "linux.cgroupsPath: \"/a/../../b\" contains \"..\": write the path that is meant",
        ),
        (&[("/linux/mountLabel", json!("\0"))], "linux.mountLabel: \"\\0\" contains a NUL character"),
        (
            &[("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}))],
            "linux.seccomp.listenerMetadata: needs listenerPath",
        ),
        (
            &[("/linux/intelRdt", json!({"closID": "a/b"}))],
            "linux.intelRdt.closID: \"a/b\" is neither a file name nor \"/\"",
        ),
        (
            &[("/linux/intelRdt", json!({"memBwSchema": "L3:0"}))],
            "linux.intelRdt.memBwSchema: \"L3:0\" does not start with \"MB:\"",
        ),
        (
            &[("/linux/intelRdt", json!({"schemata": ["L3:0=f", "a\nb"]}))],
            "linux.intelRdt.schemata[1]: \"a\\nb\" contains a newline",
        ),
        (
            &[("/linux/intelRdt", json!({"l3CacheSchema": "a\0"}))],
            "linux.intelRdt.l3CacheSchema: \"a\\0\" contains a NUL character",
        ),
        (
            &[("/linux/memoryPolicy", json!({"mode": "MPOL_X"}))],
            "linux.memoryPolicy.mode: \"MPOL_X\" is not one of MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, \
             MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY, MPOL_LOCAL",
        ),
        (
            &[("/linux/memoryPolicy", json!({"mode": "MPOL_BIND"}))],
            "linux.memoryPolicy.nodes: missing: MPOL_BIND needs at least one",
        ),
        (
            &[("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL", "nodes": "0"}))],
            "linux.memoryPolicy.nodes: \"0\" is not possible with MPOL_LOCAL",
        ),
        (
            &[("/linux/memoryPolicy", json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-x"}))],
            "linux.memoryPolicy.nodes: \"0-x\" is not a list such as \"0-3,7\"",
        ),
        (
            &[("/linux/memoryPolicy", json!({"mode": "MPOL_DEFAULT", "flags": ["X"]}))],
            "linux.memoryPolicy.flags[0]: \"X\" is not one of \
             MPOL_F_NUMA_BALANCING, MPOL_F_RELATIVE_NODES, MPOL_F_STATIC_NODES",
        ),
        (
            &[("/linux/personality", json!({"domain": "BSD"}))],
            "linux.personality.domain: \"BSD\" is not one of LINUX, LINUX32",
        ),
        (
            &[("/linux/personality", json!({"domain": "LINUX", "flags": ["X"]}))],
            "linux.personality.flags[0]: \"X\" is not known: there are no flags",
        ),
    ]);
    assert_accepted(&[
        &[("/linux/rootfsPropagation", json!("rslave"))],
        &[("/linux/cgroupsPath", json!("system.slice:docker:..x"))],
        &[("/linux/intelRdt", json!({"closID": "/", "memBwSchema": "MB:0=20"}))],
        &[("/linux/memoryPolicy", json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}))],
        &[("/linux/memoryPolicy", json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0-1"}))],
        &[("/linux/personality", json!({"domain": "LINUX32", "flags": []}))],
    ]);
}
