use pillbox_dbus::Value;

use super::super::bus;
use super::fake_bus::{FakeBus, error, reply, signal};
use super::properties::compile;
use super::variant;
use super::{MANAGER, Systemd, Unit, escape, is_initial, of_limits};
use crate::resources::FileWrite;

fn unit(path: &str) -> Unit {
    Unit::resolve(Some(path), "web", "system.slice").unwrap()
}

fn cgroup(path: &str) -> String {
    unit(path).cgroup("/").unwrap().to_string()
}

#[test]
fn units_of_cgroups_paths() {
    assert_eq!(unit("a.slice:docker:1"), Unit { name: "docker-1.scope".into(), slice: "a.slice".into() });
    assert_eq!(unit("").name, "pillbox-web.scope");
    assert_eq!(Unit::resolve(None, "web", "user.slice").unwrap().slice, "user.slice");
    assert!(unit("a.slice:ignored:b.slice").is_slice());

    assert_eq!(cgroup(":docker:1"), "/system.slice/docker-1.scope");
    assert_eq!(
        cgroup("kubepods-burstable-podx.slice:cri:1"),
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/cri-1.scope"
    );
    assert_eq!(cgroup("-:p:n"), "/p-n.scope");
    assert_eq!(cgroup("-.slice:p:n"), "/p-n.scope");
    assert_eq!(cgroup("a.slice::a-b.slice"), "/a.slice/a-b.slice");
    let own = unit("user.slice:libpod:1").cgroup("/user.slice/user-1.slice/user@1.service").unwrap();
    assert_eq!(own.as_str(), "/user.slice/user-1.slice/user@1.service/user.slice/libpod-1.scope");
}

#[test]
fn paths_that_name_no_unit_are_refused() {
    for path in [
        "/a/b",
        "a",
        "a.slice:b",
        "a.slice:b:c:d",
        "a:b:c",
        "a--b.slice:p:n",
        "-a.slice:p:n",
        "a-.slice:p:n",
        ".slice:p:n",
        "a/b.slice:p:n",
        "a.slice:p:../n",
        "a.slice:p:n n",
        &format!("a.slice:p:{}", "n".repeat(250)),
    ] {
        assert!(Unit::resolve(Some(path), "web", "system.slice").is_err(), "{path}");
    }
}

fn write<'a>(file: &'a str, value: &'a str) -> FileWrite<'a> {
    FileWrite::new("x", file, value, "linux.resources")
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect())
}

#[test]
fn limits_that_have_properties() {
    let property = |file: &str, value: &str| of_limits(&[write(file, value)]);
    let one = |name: &str, value: Value| vec![(name.to_string(), value)];
    assert_eq!(property("memory.max", "4096"), one("MemoryMax", Value::Uint64(4096)));
    assert_eq!(property("memory.swap.max", "max"), one("MemorySwapMax", Value::Uint64(u64::MAX)));
    assert_eq!(property("pids.max", "10"), one("TasksMax", Value::Uint64(10)));
    assert_eq!(property("cpuset.cpus", "0-2,9"), one("AllowedCPUs", bytes(&[0b111, 0b10])));
    assert_eq!(property("cpuset.mems", "0"), one("AllowedMemoryNodes", bytes(&[1])));
    let quota = |per_second: u64, period: u64| {
        vec![
            ("CPUQuotaPerSecUSec".to_string(), Value::Uint64(per_second)),
            ("CPUQuotaPeriodUSec".to_string(), Value::Uint64(period)),
        ]
    };
    assert_eq!(property("cpu.max", "50000 100000"), quota(500_000, 100_000));
    assert_eq!(property("cpu.max", "max 50000"), quota(u64::MAX, 50_000));
    // A third of a processor is rounded up to 34 hundredths.
    assert_eq!(property("cpu.max", "10000 30000"), quota(340_000, 30_000));
    for (file, value) in [
        ("hugetlb.2MB.max", "1"),
        ("cpu.max", "x 1"),
        ("cpu.max", "1 0"),
        ("cpuset.cpus", "1-"),
        ("cpuset.cpus", "2-1"),
        ("cpuset.cpus", "99999999999"),
        ("cpuset.cpus", "+1"),
        ("cpuset.cpus", "0,,1"),
        ("io.weight", "8:0 100"),
        ("memory.max", "-5"),
    ] {
        assert_eq!(property(file, value), [], "{file}");
    }
    let twice = [write("memory.max", "1"), write("pids.max", "2"), write("memory.max", "3")];
    assert_eq!(
        of_limits(&twice).iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        ["TasksMax", "MemoryMax"]
    );
}

fn annotated(key: &str, value: &str) -> crate::error::Result<(String, Value)> {
    let annotations =
        [(format!("org.systemd.property.{key}"), value.to_string()), ("other".into(), "[".into())];
    compile(&unit("::n"), Some(1), &[], None, &annotations)
        .map(|properties| properties.last().unwrap().clone())
}

#[test]
fn annotations_are_properties() {
    let is = |key: &str, text: &str, name: &str, value: Value| {
        assert_eq!(annotated(key, text).unwrap(), (name.to_string(), value), "{key}");
    };
    is("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", Value::Uint64(123_456_789));
    is("CollectMode", "'inactive-or-failed'", "CollectMode", Value::text("inactive-or-failed"));
    is("TimeoutStopSec", "2", "TimeoutStopUSec", Value::Uint64(2_000_000));
    is("TimeoutStopSec", "uint64 3", "TimeoutStopUSec", Value::Uint64(3_000_000));
    is("RuntimeMaxSec", "1.5", "RuntimeMaxUSec", Value::Uint64(1_500_000));
    for (key, text) in [
        ("", "1"),
        ("ab", "1"),
        ("A.b", "1"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopSec", "'1'"),
        ("TimeoutStopSec", "uint64 18446744073709551615"),
        ("Delegate", "yes"),
    ] {
        let error = annotated(key, text).unwrap_err().to_string();
        assert!(error.contains(&format!("annotations: org.systemd.property.{key}")), "{error}");
    }
}

#[test]
fn variants_as_text() {
    let texts =
        |items: &[&str]| Value::Array("s".into(), items.iter().map(|item| Value::text(*item)).collect());
    for (text, value) in [
        ("true", Value::Boolean(true)),
        (" false ", Value::Boolean(false)),
        ("5", Value::Int32(5)),
        ("-0x10", Value::Int32(-16)),
        ("010", Value::Int32(8)),
        ("byte 255", Value::Byte(255)),
        ("@t 7", Value::Uint64(7)),
        ("int64 -7", Value::Int64(-7)),
        ("1e3", Value::Double(1000.0)),
        ("double 2", Value::Double(2.0)),
        ("-0.1", Value::Double(-0.1)),
        (".5", Value::Double(0.5)),
        ("2.5e-7", Value::Double(2.5e-7)),
        (r#""a\"b\u00e9\n""#, Value::text("a\"bé\n")),
        ("objectpath '/a'", Value::ObjectPath("/a".into())),
        ("['a', 'b',]", texts(&["a", "b"])),
        ("@as []", texts(&[])),
        ("[uint32 1, uint32 2]", Value::Array("u".into(), vec![Value::Uint32(1), Value::Uint32(2)])),
        ("@au [1]", Value::Array("u".into(), vec![Value::Uint32(1)])),
        ("b'ab'", bytes(b"ab\0")),
        ("('a', 1)", Value::Structure(vec![Value::text("a"), Value::Int32(1)])),
        ("@(st) ('a', 1)", Value::Structure(vec![Value::text("a"), Value::Uint64(1)])),
        (
            "[('a', <true>)]",
            Value::Array(
                "(sv)".into(),
                vec![Value::Structure(vec![Value::text("a"), Value::Boolean(true).variant()])],
            ),
        ),
    ] {
        assert_eq!(variant::parse(text).unwrap(), value, "{text}");
    }
    let deep = "[".repeat(100);
    for text in [
        "",
        "yes",
        "'a",
        "'a\\",
        "'\\u00'",
        "'\\u0000'",
        "[",
        "[]",
        "[1",
        "['a', 1]",
        "[1 2]",
        "()",
        "(1",
        "@",
        "@z 1",
        "@a{sv} {}",
        "@(st) ('a')",
        "@s 1",
        "@as 'a'",
        "uint64",
        "uint64 -1",
        "uint64 true",
        "byte 256",
        "2147483648",
        "--1",
        "0x",
        "1 2",
        "+",
        "nan",
        "<1",
        "{}",
        "boolean 1",
        "ü",
        &deep,
    ] {
        assert!(variant::parse(text).is_err(), "{text}");
    }
}

#[test]
fn scopes_hold_a_process_and_slices_do_not() {
    let names = |path: &str, process| {
        let properties = compile(&unit(path), process, &[], None, &[]).unwrap();
        properties.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let scope = names("::n", Some(7));
    for name in ["Slice", "Delegate", "PIDs", "DefaultDependencies", "TasksAccounting"] {
        assert!(scope.iter().any(|known| known == name), "{name}");
    }
    let slice = names("::n.slice", None);
    assert!(
        slice.iter().any(|name| name == "Wants") && !slice.iter().any(|name| name == "PIDs"),
        "{slice:?}"
    );
}

#[test]
fn the_environment() {
    assert!(is_initial("         0          0 4294967295\n"));
    assert!(!is_initial("0 1000 1\n") && !is_initial("") && !is_initial("0 0 4294967295\n1 1 1\n"));
    assert_eq!(escape("/run/user/1 ü,/bus"), "/run/user/1%20%c3%bc%2c/bus");
}

fn systemd(fake: &FakeBus) -> Systemd {
    Systemd { bus: bus::connect(&format!("unix:path={}", fake.path)).unwrap() }
}

fn job(serial: u32, result: &str) -> Vec<Vec<u8>> {
    let path = Value::ObjectPath("/job/9".into());
    let removed = |path: &str, result: &str| {
        let body = [Value::Uint32(9), Value::ObjectPath(path.into()), Value::text("u"), Value::text(result)];
        signal(MANAGER, "JobRemoved", &body)
    };
    // The signal may arrive before the reply.
    vec![removed("/job/8", "failed"), removed("/job/9", result), reply(serial, &[path])]
}

fn members(fake: FakeBus) -> Vec<String> {
    fake.calls().into_iter().filter_map(|call| call.member).collect()
}

#[test]
fn a_unit_is_started_and_stopped() {
    let fake = FakeBus::new(|call, serial| match call.member.as_deref() {
        Some("StartTransientUnit") => {
            assert_eq!(&call.body[..2], &[Value::text("p-n.scope"), Value::text("fail")]);
            job(serial, "done")
        }
        Some("StopUnit") => job(serial, "done"),
        _ => vec![reply(serial, &[])],
    });
    let mut systemd = systemd(&fake);
    systemd.start(&unit(":p:n"), &[("Delegate".into(), Value::Boolean(true))]).unwrap();
    systemd.stop("p-n.scope").unwrap();
    systemd.set_limits("p-n.scope", &[write("pids.max", "1")]).unwrap();
    drop(systemd);
    let calls = members(fake);
    assert_eq!(calls[..4], ["Hello", "AddMatch", "Subscribe", "StartTransientUnit"]);
    assert!(
        calls.ends_with(&["StopUnit".into(), "ResetFailedUnit".into(), "SetUnitProperties".into()]),
        "{calls:?}"
    );
}

#[test]
fn what_a_failed_unit_left_is_reset_once() {
    let fake = FakeBus::new(|call, serial| match call.member.as_deref() {
        Some("StartTransientUnit") => {
            vec![error(serial, "org.freedesktop.systemd1.UnitExists", "Unit p-n.scope already exists.")]
        }
        _ => vec![reply(serial, &[])],
    });
    let mut systemd = systemd(&fake);
    let error = systemd.start(&unit(":p:n"), &[]).unwrap_err().to_string();
    assert!(error.contains("p-n.scope") && error.contains("already exists"), "{error}");
    drop(systemd);
    let calls = members(fake);
    assert!(
        calls.ends_with(&[
            "StartTransientUnit".into(),
            "ResetFailedUnit".into(),
            "StartTransientUnit".into()
        ]),
        "{calls:?}"
    );
}

#[test]
fn a_job_that_fails_is_an_error_and_a_unit_that_is_gone_is_none() {
    let fake = FakeBus::new(|call, serial| match call.member.as_deref() {
        Some("StartTransientUnit") => job(serial, "failed"),
        Some("StopUnit") => vec![error(serial, "org.freedesktop.systemd1.NoSuchUnit", "Unit not loaded.")],
        _ => vec![reply(serial, &[])],
    });
    let mut systemd = systemd(&fake);
    let error = systemd.start(&unit(":p:n"), &[]).unwrap_err().to_string();
    assert!(error.contains("the job's result is failed"), "{error}");
    systemd.stop("p-n.scope").unwrap();
}

#[test]
fn the_managers_own_cgroup() {
    let fake = FakeBus::new(|_, serial| vec![reply(serial, &[Value::text("/user.slice/u").variant()])]);
    assert_eq!(
        systemd(&fake).cgroup(&unit(":p:n")).unwrap().as_str(),
        "/user.slice/u/system.slice/p-n.scope"
    );
    let fake = FakeBus::new(|_, serial| vec![reply(serial, &[Value::Uint32(1)])]);
    assert!(systemd(&fake).control_group().is_err());
}
