use super::*;

fn parse(json: &str) -> Resources<'_> {
    crate::oci::spec::json::parse(json.as_bytes()).unwrap()
}

/// `file=value` for each write.
fn compiled(json: &str) -> Vec<String> {
    let resources = parse(json);
    let writes = compile_limits(&resources).unwrap();
    writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
}

fn refused(json: &str) -> String {
    compile_limits(&parse(json)).unwrap_err().to_string()
}

fn exceptions(json: &str) -> Vec<String> {
    let resources = parse(json);
    compile_limits(&resources).unwrap().iter().map(|write| format!("{:?}", write.exception)).collect()
}

#[test]
fn nothing_asked_is_nothing_written() {
    for json in [
        "{}",
        r#"{"devices":[{"allow":false,"access":"rwm"}],"blockIO":{}}"#,
        r#"{"memory":{},"cpu":{},"pids":{},"blockIO":{},"network":{},"hugepageLimits":[],"rdma":{},"unified":{}}"#,
        r#"{"memory":{"limit":0,"reservation":0,"kernel":-1,"kernelTCP":0,"disableOOMKiller":false}}"#,
        r#"{"memory":{"useHierarchy":true,"checkBeforeUpdate":true}}"#,
        r#"{"cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"realtimePeriod":0,"cpus":"","mems":""}}"#,
        r#"{"blockIO":{"weight":0,"leafWeight":0},"network":{"classID":0,"priorities":[]}}"#,
    ] {
        assert_eq!(compiled(json), [""; 0], "{json}");
    }
}

#[test]
fn docker_limits_in_order() {
    let json = r#"{"memory":{"limit":67108864,"reservation":33554432,"swap":134217728},
        "cpu":{"shares":512,"quota":150000,"period":100000,"cpus":"0-1"},
        "pids":{"limit":50},"blockIO":{"weight":300}}"#;
    let expected = [
        "cpu.weight=59",
        "cpu.max=150000 100000",
        "cpuset.cpus=0-1",
        "memory.swap.max=67108864",
        "memory.max=67108864",
        "memory.low=33554432",
        "pids.max=50",
        "io.bfq.weight=300",
    ];
    assert_eq!(compiled(json), expected);
    let resources = parse(json);
    let writes = compile_limits(&resources).unwrap();
    let controllers: Vec<_> = writes.iter().map(|write| write.controller.as_deref().unwrap()).collect();
    assert_eq!(controllers, ["cpu", "cpu", "cpuset", "memory", "memory", "memory", "pids", "io"]);
    assert_eq!(writes[0].field, "linux.resources.cpu.shares");
    assert_eq!(writes[7].exception, Exception::Instead { file: "io.weight", value: "2930".to_string() });
}

#[test]
fn the_kernels_own_weight_needs_no_controller() {
    for (shares, exception) in [(1024, Exception::Default), (512, Exception::None)] {
        let json = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
        let resources = parse(&json);
        assert_eq!(compile_limits(&resources).unwrap()[0].exception, exception, "{shares}");
    }
}

#[test]
fn weights_of_shares() {
    let expected = [
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (100, 17),
        (512, 59),
        (1023, 100),
        (1024, 100),
        (1025, 101),
        (2048, 174),
        (100_000, 4340),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ];
    for (shares, weight) in expected {
        assert_eq!(weight_of_shares(shares), weight, "{shares}");
    }
}

/// Compares the weights of all possible shares with the floating-point formula of other runtimes. Both grow
/// with the shares, so that checking the ends of each weight's range is enough.
#[test]
fn weights_are_those_of_the_formula() {
    let formula = |shares: u64| {
        let log = (shares as f64).log2();
        10f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
    };
    let mut next = formula(2);
    for shares in 2..=262_144 {
        let weight = next;
        next = formula(shares + 1);
        if next != weight || formula(shares - 1) != weight {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }
}

#[test]
fn cpu_time() {
    assert_eq!(compiled(r#"{"cpu":{"quota":50000}}"#), ["cpu.max=50000 100000"]);
    assert_eq!(compiled(r#"{"cpu":{"period":50000}}"#), ["cpu.max=max 50000"]);
    assert_eq!(compiled(r#"{"cpu":{"quota":-1,"period":50000}}"#), ["cpu.max=max 50000"]);
    assert_eq!(exceptions(r#"{"cpu":{"quota":-1,"burst":0}}"#), ["Default", "Default"]);
    let json = r#"{"cpu":{"quota":50000,"burst":20000}}"#;
    assert_eq!(compiled(json), ["cpu.max.burst=20000", "cpu.max=50000 100000"]);
    assert_eq!(exceptions(json), ["AfterNext", "None"]);
    assert_eq!(exceptions(r#"{"cpu":{"burst":20000}}"#), ["None"]);
    assert!(refused(r#"{"cpu":{"quota":-2}}"#).starts_with("linux.resources.cpu.quota: -2 is not"));
}

#[test]
fn idle_excludes_weight() {
    assert_eq!(compiled(r#"{"cpu":{"idle":1,"shares":512}}"#), ["cpu.idle=1"]);
    assert_eq!(compiled(r#"{"cpu":{"idle":0,"shares":512}}"#), ["cpu.idle=0", "cpu.weight=59"]);
    assert_eq!(refused(r#"{"cpu":{"idle":2}}"#), "linux.resources.cpu.idle: 2 is not 0 or 1");
}

#[test]
fn memory_and_swap() {
    assert_eq!(compiled(r#"{"memory":{"limit":-1,"swap":-1}}"#), ["memory.swap.max=max", "memory.max=max"]);
    assert_eq!(exceptions(r#"{"memory":{"limit":-1,"swap":-1}}"#), ["Default", "Default"]);
    assert_eq!(compiled(r#"{"memory":{"limit":0,"swap":0}}"#), ["memory.swap.max=0"]);
    let equal = r#"{"memory":{"limit":4096,"swap":4096}}"#;
    assert_eq!(compiled(equal), ["memory.swap.max=0", "memory.max=4096"]);
    assert_eq!(exceptions(equal), ["FileMayBeMissing", "None"]);
    assert_eq!(exceptions(r#"{"memory":{"limit":4096,"swap":8192}}"#), ["None", "None"]);
    assert_eq!(
        exceptions(r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#),
        [r#"NotBelow("memory.current")"#]
    );
    for json in [
        r#"{"memory":{"swap":4096}}"#,
        r#"{"memory":{"limit":-1,"swap":4096}}"#,
        r#"{"memory":{"limit":8192,"swap":4096}}"#,
        r#"{"memory":{"limit":8192,"swap":-2}}"#,
    ] {
        assert!(refused(json).starts_with("linux.resources.memory.swap: "), "{json}");
    }
    assert!(refused(r#"{"memory":{"limit":-2}}"#).starts_with("linux.resources.memory.limit: -2 is not"));
}

#[test]
fn pids() {
    assert_eq!(compiled(r#"{"pids":{"limit":0}}"#), [""; 0]);
    assert_eq!(compiled(r#"{"pids":{"limit":-1}}"#), ["pids.max=max"]);
    assert_eq!(exceptions(r#"{"pids":{"limit":-1}}"#), ["Default"]);
    assert!(refused(r#"{"pids":{"limit":-7}}"#).contains("pids.limit: -7"));
}

#[test]
fn block_devices() {
    let json = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10}],
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1048576}],
        "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}],
        "throttleReadIOPSDevice":[{"major":8,"minor":16,"rate":5}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":6}]}}"#;
    let expected = [
        "io.bfq.weight=8:0 10",
        "io.max=8:0 rbps=1048576",
        "io.max=8:0 wbps=max",
        "io.max=8:16 riops=5",
        "io.max=8:16 wiops=6",
    ];
    assert_eq!(compiled(json), expected);
    assert_eq!(exceptions(json)[0], r#"Instead { file: "io.weight", value: "8:0 1" }"#);
    assert_eq!(exceptions(json)[2], "Default");
    assert!(exceptions(r#"{"blockIO":{"weight":1000}}"#)[0].contains("\"10000\""));
    assert!(refused(r#"{"blockIO":{"weight":9}}"#).contains("a weight from 10 to 1000"));
    assert!(refused(r#"{"blockIO":{"leafWeight":9}}"#).contains("no equivalent in cgroup v2"));
    assert!(
        refused(r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}}"#)
            .starts_with("linux.resources.blockIO.throttleReadBpsDevice[0]: -1:0 is not")
    );
}

#[test]
fn huge_pages_and_rdma() {
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}],
        "rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1},"none":{}}}"#;
    let expected = [
        "hugetlb.2MB.max=0",
        "hugetlb.2MB.rsvd.max=0",
        "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
        "rdma.max=mlx4_0 hca_object=1",
    ];
    assert_eq!(compiled(json), expected);
    for size in ["", "2", "MB", "0MB", "2mb", "../2MB", "2 MB"] {
        let json = format!(r#"{{"hugepageLimits":[{{"pageSize":"{size}","limit":1}}]}}"#);
        assert!(refused(&json).starts_with("linux.resources.hugepageLimits[0].pageSize"), "{size}");
    }
}

#[test]
fn unified_comes_last_and_names_its_controller() {
    let json =
        r#"{"unified":{"memory.high":"1000","cgroup.max.depth":"3","cpuset.cpus":""},"pids":{"limit":1}}"#;
    assert_eq!(compiled(json), ["pids.max=1", "memory.high=1000", "cgroup.max.depth=3", "cpuset.cpus=\n"]);
    let resources = parse(json);
    let writes = compile_limits(&resources).unwrap();
    let controllers: Vec<_> = writes.iter().map(|write| write.controller.as_deref()).collect();
    assert_eq!(controllers, [Some("pids"), Some("memory"), None, Some("cpuset")]);
    for key in ["a/b.c", "../cgroup.kill", "memory", ".high", "memory.", ""] {
        assert!(refused(&format!(r#"{{"unified":{{"{key}":"1"}}}}"#)).contains("unified"), "{key}");
    }
}

#[test]
fn what_only_v1_could_do_is_refused() {
    for (json, field) in [
        (r#"{"memory":{"kernel":4096}}"#, "memory.kernel"),
        (r#"{"memory":{"kernelTCP":4096}}"#, "memory.kernelTCP"),
        (r#"{"memory":{"swappiness":0}}"#, "memory.swappiness"),
        (r#"{"memory":{"disableOOMKiller":true}}"#, "memory.disableOOMKiller"),
        (r#"{"cpu":{"realtimeRuntime":1000}}"#, "cpu.realtimeRuntime"),
        (r#"{"cpu":{"realtimePeriod":1000}}"#, "cpu.realtimePeriod"),
        (r#"{"network":{"classID":5}}"#, "network.classID"),
        (r#"{"network":{"priorities":[{"name":"eth0","priority":1}]}}"#, "network.priorities"),
    ] {
        let message = refused(json);
        assert!(message.starts_with(&format!("linux.resources.{field}: ")), "{message}");
        assert!(message.ends_with("has no equivalent in cgroup v2"), "{message}");
    }
}
