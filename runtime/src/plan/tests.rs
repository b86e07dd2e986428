//! Golden plans: what recorded configurations compile to, in words. `PILLBOX_BLESS=1 cargo test` rewrites
//! them.

use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};

use super::{Descriptor, Host, Intent, Need, Plan, compile};
use crate::explain::describe;
use crate::oci::spec::default::{default_spec, rootless_spec};
use crate::oci::spec::tests::fixtures_folder;
use crate::validate::{ValidSpec, validate};

const ALL_CAPABILITIES: u64 = (1 << crate::oci::capability::NAMES.len()) - 1;

/// Root on a machine with a seed namespace.
pub(super) fn privileged_host() -> Host {
    Host { privileged: true, seed: true, capabilities: ALL_CAPABILITIES, ..Host::default() }
}

/// Root on a machine where a seed namespace cannot be made.
pub(super) fn seedless_host() -> Host {
    Host { seed: false, ..privileged_host() }
}

/// What `spec --rootless` writes for [`user_host`].
pub(super) fn rootless() -> String {
    rootless_spec(Uid::from_raw(1000), Gid::from_raw(1000))
}

/// An ordinary user.
pub(super) fn user_host() -> Host {
    Host { uid: Uid::from_raw(1000), gid: Gid::from_raw(1000), ..Host::default() }
}

pub(super) fn intent() -> Intent {
    Intent {
        id: "golden".into(),
        rootfs: "/bundle/rootfs".into(),
        cgroup: Some("/sys/fs/cgroup/golden".into()),
        cgroup_mount: Some("/sys/fs/cgroup".into()),
        wait_for_start: true,
        ..Intent::default()
    }
}

pub(super) fn valid(config: &str) -> ValidSpec<'_> {
    validate(crate::oci::spec::parse(config.as_bytes()).expect("parses")).expect("is valid")
}

/// Name and text of every configuration that was recorded from a caller of runtimes.
pub(super) fn recorded() -> Vec<(String, String)> {
    let mut recorded: Vec<_> = std::fs::read_dir(fixtures_folder())
        .expect("fixtures are there")
        .filter_map(|entry| {
            let path = entry.expect("is readable").path();
            let name = path.file_name()?.to_str()?.strip_suffix(".config.json")?.to_string();
            Some((name, std::fs::read_to_string(&path).expect("is text")))
        })
        .collect();
    recorded.sort();
    assert!(recorded.len() >= 17, "fixtures are missing");
    recorded
}

/// Every configuration with the host that it is compiled for.
pub(super) fn cases() -> Vec<(String, String, Host)> {
    let mut cases = Vec::new();
    for (name, config) in recorded().into_iter().chain([("default".to_string(), default_spec().to_string())])
    {
        cases.push((format!("{name}.seedless"), config.clone(), seedless_host()));
        cases.push((name, config, privileged_host()));
    }
    cases.push(("rootless".into(), rootless(), user_host()));
    cases
}

/// The whole plan in lines, operations last.
fn describe_plan(plan: &Plan) -> String {
    let Plan {
        namespaces,
        mappings,
        descriptors,
        oom_score_adj,
        net_devices,
        sends_network: _,
        from_seed,
        starts_in_user,
        mounts_at,
        terminal,
        preserve_fds,
        seccomp_agent,
        warnings,
        operations: _,
    } = plan;
    let mut text = String::new();
    let mut line = |line: &str| text.extend([line, "\n"]);
    let new: Vec<_> = namespaces.new.iter().map(|kind| kind.name()).collect();
    line(&format!("new namespaces: {}", new.join(" ")));
    for (kind, path) in &namespaces.joined {
        line(&format!("joined namespace: {} {path}", kind.name()));
    }
    if *starts_in_user {
        line("executed in the user namespace");
    }
    if let Some(mappings) = mappings {
        for (name, map) in [("uid", &mappings.uid), ("gid", &mappings.gid)] {
            for mapping in map {
                let (inside, outside, size) = (mapping.container_id, mapping.host_id, mapping.size);
                line(&format!("{name} map: {inside} {outside} {size} ({:?})", mappings.method));
            }
        }
    }
    for (index, descriptor) in descriptors.iter().enumerate() {
        line(&match descriptor {
            Descriptor::Tree { path, recursive, field, need, nofollow, idmap, late } => {
                let mut line = format!("descriptor {index}: {} for {field}", path.to_string_lossy());
                for (word, is_set) in [
                    ("recursive", *recursive),
                    ("procfs", *need == Need::Procfs),
                    ("optional", *need == Need::Optional),
                    ("nofollow", *nofollow),
                    ("id-mapped", idmap.is_some()),
                    ("or made", matches!(need, Need::Device(_))),
                    ("when init asks", late.is_some()),
                ] {
                    if is_set {
                        line = format!("{line}, {word}");
                    }
                }
                line
            }
            Descriptor::Root { source, inside } => {
                let when = if inside.is_some() { ", when init asks" } else { "" };
                format!("descriptor {index}: {source}{when}")
            }
            Descriptor::Listener => format!("descriptor {index}: gate"),
            Descriptor::Given => format!("descriptor {index}: given"),
            Descriptor::FileSystem { kind, namespace: (namespace, path), .. } => {
                format!("descriptor {index}: {kind:?} made in {} namespace {path}", namespace.name())
            }
            Descriptor::Namespace(kind, path) => {
                format!("descriptor {index}: {} namespace {path}", kind.name())
            }
        });
    }
    line(&format!(
        "oom_score_adj: {oom_score_adj:?}, from seed: {from_seed}, terminal: {terminal}, preserved: {preserve_fds}"
    ));
    net_devices.iter().for_each(|device| line(&format!("network device: {device:?}")));
    if let Some(path) = mounts_at {
        line(&format!("mounts at {path} of the runtime's namespace"));
    }
    if let Some(agent) = seccomp_agent {
        line(&format!("seccomp agent: {}", agent.path.display()));
    }
    warnings.iter().for_each(|warning| line(&format!("warning: {warning}")));
    for operation in plan.operations() {
        let described = describe(&operation, plan);
        // A filter's length depends on the machine.
        line(match described.split_once(" instructions") {
            Some(_) => "InstallSeccomp",
            None => &described,
        });
    }
    text
}

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/src/plan/golden")
}

/// The first line that differs, with the line before it.
fn first_difference(expected: &str, actual: &str) -> Option<String> {
    let (mut expected, mut actual) = (expected.lines(), actual.lines());
    let mut before = "";
    for number in 1.. {
        match (expected.next(), actual.next()) {
            (None, None) => break,
            (Some(expected), Some(actual)) if expected == actual => before = actual,
            (expected, actual) => {
                let shown = |line: Option<&str>| line.unwrap_or("(end)").to_string();
                return Some(format!(
                    "line {number}\n    {before}\n  - {}\n  + {}",
                    shown(expected),
                    shown(actual)
                ));
            }
        }
    }
    None
}

#[test]
fn plans_are_the_golden_ones() {
    let bless = std::env::var_os("PILLBOX_BLESS").is_some_and(|value| value == "1");
    let mut differences = Vec::new();
    for (name, config, host) in cases() {
        let plan = compile(&valid(&config), &host, &intent());
        let actual = plan.map_or_else(|error| format!("error: {error}\n"), |plan| describe_plan(&plan));
        let path = golden_folder().join(format!("{name}.txt"));
        if bless {
            std::fs::create_dir_all(golden_folder()).expect("can be made");
            std::fs::write(&path, &actual).expect("can be written");
            continue;
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some(difference) = first_difference(&expected, &actual) {
            differences.push(format!("{name}: {difference}"));
        }
    }
    let hint = "PILLBOX_BLESS=1 cargo test writes them anew";
    assert!(differences.is_empty(), "plans have changed ({hint}):\n{}", differences.join("\n"));
}

#[test]
fn every_golden_plan_has_its_configuration() {
    let names: Vec<_> = cases().into_iter().map(|(name, ..)| format!("{name}.txt")).collect();
    for entry in std::fs::read_dir(golden_folder()).expect("is there") {
        let name = entry.expect("is readable").file_name().into_string().expect("is text");
        assert!(names.contains(&name), "{name} belongs to no configuration: remove it");
    }
}

#[test]
fn compiling_is_repeatable() {
    for (name, config, host) in cases() {
        let [first, second] = [0, 1].map(|_| compile(&valid(&config), &host, &intent()));
        let (Ok(first), Ok(second)) = (first, second) else { continue };
        assert_eq!(first.encode(3, &[], &[]), second.encode(3, &[], &[]), "{name}");
    }
}

/// The operations of a configuration's plan, in words.
fn described(config: &str, host: &Host, intent: &Intent) -> Vec<String> {
    let plan = compile(&valid(config), host, intent).expect("compiles");
    plan.operations().map(|operation| describe(&operation, &plan)).collect()
}

#[test]
fn only_a_namespace_of_its_own_is_covered_by_the_root() {
    let pivots = |lines: &[String]| lines.iter().any(|line| line == "PivotRoot");
    let covers =
        |lines: &[String]| lines.iter().any(|line| line.starts_with("Chroot ") && line.contains("over"));
    // What lies below is the seed, or the host's mounts.
    let from_seed = described(default_spec(), &privileged_host(), &intent());
    assert!(!pivots(&from_seed) && !covers(&from_seed));
    assert!(
        from_seed.iter().any(|line| line.starts_with("AttachRoot") && line.contains(" at / of the seed"))
    );
    let own = described(default_spec(), &seedless_host(), &intent());
    assert!(pivots(&own) && !covers(&own));
    let no_pivot = Intent { no_pivot: true, ..intent() };
    let chroot = described(default_spec(), &seedless_host(), &no_pivot);
    assert!(!pivots(&chroot) && covers(&chroot));

    let mut config: serde_json::Value = serde_json::from_str(default_spec()).expect("is JSON");
    let linux = config["linux"].as_object_mut().expect("is an object");
    linux.remove("maskedPaths");
    linux.remove("readonlyPaths");
    linux["namespaces"].as_array_mut().expect("is a list").retain(|namespace| namespace["type"] != "mount");
    let config = config.to_string();
    // Without a mount namespace of its own the container would cover the host's root.
    for intent in [intent(), no_pivot] {
        let inherited = described(&config, &privileged_host(), &intent);
        assert!(!pivots(&inherited) && !covers(&inherited));
        assert!(inherited.iter().any(|line| line == "Chroot"));
    }
}

#[test]
fn only_a_procfs_comes_to_proc_whoever_binds_it() {
    let config = rootless().replace(
        r#""mounts": ["#,
        r#""mounts": [{"destination": "//proc/", "source": "/some/folder", "options": ["rbind"]},"#,
    );
    for host in [user_host(), privileged_host()] {
        let lines = described(&config, &host, &intent());
        let line = lines.iter().find(|line| line.contains("/some/folder")).expect("is bound");
        assert!(line.ends_with("on /proc (rprivate), through no symbolic link, and only a procfs"), "{line}");
    }
}

/// A peer of the host's mount would propagate what the container mounts below it to the host.
#[test]
fn a_substitute_is_private() {
    for host in [user_host(), privileged_host()] {
        let lines = described(&rootless(), &host, &intent());
        let substitutes: Vec<_> =
            lines.iter().filter(|line| line.contains("where that is refused")).collect();
        assert!(
            !substitutes.is_empty() && substitutes.iter().all(|line| line.contains("private)")),
            "{substitutes:?}"
        );
    }
}

/// Under the program's limit init itself could not accept the connection of `start`.
#[test]
fn a_small_limit_of_descriptors_comes_right_before_the_program() {
    let with = |soft: u32, hard: u32, preserve_fds: u32| {
        let mut config: serde_json::Value = serde_json::from_str(default_spec()).expect("is JSON");
        config["process"]["rlimits"] =
            serde_json::json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]);
        let intent = Intent { preserve_fds, ..intent() };
        let lines = described(&config.to_string(), &privileged_host(), &intent);
        let place = |name: &str| lines.iter().position(|line| line.starts_with(name)).expect("is there");
        let (user, gate) = (place("SetUser "), place("AwaitStart "));
        let limits = lines.iter().enumerate().filter(|(_, line)| line.starts_with("SetRlimit "));
        limits.map(|(at, line)| (at < user, at > gate, line[23..].to_string())).collect::<Vec<_>>()
    };
    let limit = |text: &str| format!("RLIMIT_NOFILE {text}");
    assert_eq!(with(1024, 4096, 0), [(true, false, limit("soft 1024 hard 4096"))]);
    let late = |early: &str, last: &str| [(true, false, limit(early)), (false, true, limit(last))];
    assert_eq!(with(3, 3, 0), late("soft 16 hard 16", "soft 3 hard 3"));
    assert_eq!(with(3, 4096, 0), late("soft 16 hard 4096", "soft 3 hard 4096"));
    assert_eq!(with(20, 20, 10), late("soft 26 hard 26", "soft 20 hard 20"));
}
