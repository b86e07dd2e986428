//! Nothing in a config.json is lost: each of its members is looked for in the decoded operations, and the
//! operations must come in the order that callers rely on.

use std::ffi::CStr;

use pillbox_init::plan::operation::{
    self, AttachRoot, Await, BindMount, DieWithRuntime, DropBounding, Exec, FindExecutable, InstallSeccomp,
    MakeNode, MakePathReadonly, MaskPath, OpenConsole, OwnStdio, ReadHome, RetryCwd, SetCapabilities, SetCwd,
    SetGroups, SetHostname, SetMountAttributes, SetRlimit, SetUmask, SetUser, Unshare, WriteSysctl,
};
use pillbox_init::plan::{NodeKind, Operation, Tree, Turn};
use rustix::mount::{MountAttrFlags as Attributes, MountPropagationFlags as Propagation};
use serde_json::Value;

use super::tests::{cases, intent, privileged_host, recorded, valid};
use super::{Descriptor, Plan, compile};
use crate::oci::{capability, rlimit};
use crate::validate::NamespaceKind;

/// A decoded plan, and the places of operations in it.
struct Decoded<'p> {
    name: &'p str,
    plan: &'p Plan,
    operations: Vec<Operation<'p>>,
}

impl<'p> Decoded<'p> {
    /// The place of the only operation that fits.
    fn only(&self, what: &str, fits: impl Fn(&Operation<'p>) -> bool) -> usize {
        let found: Vec<_> = self.all(fits);
        assert_eq!(found.len(), 1, "{}: {what}: {found:?}", self.name);
        found[0]
    }

    fn none(&self, what: &str, fits: impl Fn(&Operation<'p>) -> bool) {
        assert_eq!(self.all(fits), [0usize; 0], "{}: {what}", self.name);
    }

    fn all(&self, fits: impl Fn(&Operation<'p>) -> bool) -> Vec<usize> {
        self.operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| fits(operation))
            .map(|(index, _)| index)
            .collect()
    }

    fn named(&self, name: &str) -> Vec<usize> {
        self.all(|operation| operation.name() == name)
    }

    /// The place of the only operation of that name.
    fn the(&self, name: &str) -> usize {
        self.only(name, |operation| operation.name() == name)
    }

    /// The operation that makes the container's root the root of its processes.
    fn root_change(&self) -> &'static str {
        if self.plan.from_seed { "Chroot" } else { "PivotRoot" }
    }

    fn last(&self, name: &str) -> usize {
        *self.named(name).last().unwrap_or_else(|| panic!("{}: no {name}", self.name))
    }

    /// The path of a tree, and whether the mounts below it are included.
    fn source(&self, tree: Tree<'p>) -> (String, bool) {
        match tree {
            Tree::Path { path, recursive, nofollow: _ } | Tree::Inside { path, recursive, nofollow: _ } => {
                (string(path), recursive)
            }
            Tree::Descriptor(index) => match &self.plan.descriptors[index as usize] {
                Descriptor::Tree { path, recursive, .. } => (string(path), *recursive),
                other => panic!("{}: {other:?} is no tree", self.name),
            },
        }
    }

    fn makes_user_namespace(&self) -> bool {
        self.plan.namespaces.makes(NamespaceKind::User)
    }

    /// Whether a cgroup mount shows the host's hierarchy.
    fn shows_hierarchy(&self) -> bool {
        let namespaces = &self.plan.namespaces;
        let own = namespaces.makes(NamespaceKind::Cgroup) || namespaces.joins(NamespaceKind::Cgroup);
        !own && !self.makes_user_namespace()
    }
}

fn string(text: &CStr) -> String {
    text.to_str().expect("is text").to_string()
}

fn strings<'s>(texts: impl Iterator<Item = &'s CStr>) -> Vec<String> {
    texts.map(string).collect()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(|text| text.as_str().expect("is text").to_string()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("is a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("is text")
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("is a number")
}

fn check(name: &str, config: &str, plan: &Plan) {
    let decoded = Decoded { name, plan, operations: plan.operations().collect() };
    let config: Value = serde_json::from_str(config).expect("is JSON");
    for (key, value) in config.as_object().expect("is an object") {
        match key.as_str() {
            "process" => check_process(&decoded, value),
            "root" => check_root(&decoded, value),
            "hostname" => {
                decoded.only("hostname", |operation| matches!(operation, Operation::SetHostname(SetHostname { name }) if string(name) == text(value)));
            }
            "mounts" => check_mounts(&decoded, list(value)),
            "linux" => check_linux(&decoded, value),
            // These concern the runtime, not the plan.
            "ociVersion" | "annotations" => {}
            other => panic!("{name}: {other}: nobody has thought of it"),
        }
    }
    check_order(&decoded, &config);
}

fn check_root(decoded: &Decoded<'_>, root: &Value) {
    let fits = |operation: &Operation<'_>| matches!(operation, Operation::SetMountAttributes(SetMountAttributes { target, set, .. }) if *target == c"/" && set.contains(Attributes::MOUNT_ATTR_RDONLY));
    for (key, value) in root.as_object().expect("is an object") {
        match key.as_str() {
            "path" => {
                let index = decoded.the("AttachRoot");
                let Operation::AttachRoot(AttachRoot { tree, .. }) = decoded.operations[index] else {
                    unreachable!()
                };
                assert_eq!(decoded.source(tree), (intent().rootfs, true), "{}", decoded.name);
            }
            "readonly" if value == true => {
                assert!(decoded.only("root.readonly", fits) > decoded.the(decoded.root_change()))
            }
            "readonly" => decoded.none("root.readonly", fits),
            other => panic!("{}: root.{other}", decoded.name),
        }
    }
}

fn check_process(decoded: &Decoded<'_>, process: &Value) {
    let name = decoded.name;
    let is_exec = |operation: &Operation<'_>| matches!(operation, Operation::Exec(_));
    let Operation::Exec(Exec { arguments, environment }) = decoded.operations[decoded.only("exec", is_exec)]
    else {
        unreachable!()
    };
    let uid = number(&process["user"]["uid"]);
    for (key, value) in process.as_object().expect("is an object") {
        match key.as_str() {
            "args" => {
                assert_eq!(strings(arguments.iter()), texts(value), "{name}");
                decoded.only("args[0]", |operation| {
                    matches!(operation, Operation::FindExecutable(FindExecutable { name, .. }) if string(name) == texts(value)[0])
                });
            }
            "env" => check_environment(decoded, uid, &texts(value), &strings(environment.iter())),
            "cwd" => {
                let path = text(value);
                decoded.only(
                    "cwd",
                    |operation| matches!(operation, Operation::SetCwd(SetCwd { path: cwd }) if string(cwd) == path),
                );
                decoded.only(
                    "cwd",
                    |operation| matches!(operation, Operation::RetryCwd(RetryCwd { path: cwd }) if string(cwd) == path),
                );
            }
            "terminal" => assert_eq!(
                (decoded.named("OpenConsole").len() == 1, decoded.plan.terminal),
                (value == true, value == true)
            ),
            "consoleSize" => {
                decoded.only("consoleSize", |operation| {
                    let size = (number(&value["height"]), number(&value["width"]));
                    matches!(operation, Operation::OpenConsole(OpenConsole { rows, columns, .. }) if (u32::from(*rows), u32::from(*columns)) == size)
                });
            }
            "user" => check_user(decoded, value),
            "capabilities" => check_capabilities(decoded, value),
            "rlimits" => {
                assert_eq!(decoded.named("SetRlimit").len(), list(value).len(), "{name}");
                for limit in list(value) {
                    let (soft, hard) = (limit["soft"].as_u64(), limit["hard"].as_u64());
                    decoded.only("rlimit", |operation| {
                        matches!(operation, Operation::SetRlimit(SetRlimit { resource, soft: s, hard: h })
                            if rlimit::name(*resource) == limit["type"].as_str() && (Some(*s), Some(*h)) == (soft, hard))
                    });
                }
            }
            "noNewPrivileges" => {
                assert_eq!(decoded.named("SetNoNewPrivileges").len(), usize::from(value == true), "{name}")
            }
            "oomScoreAdj" => assert_eq!(decoded.plan.oom_score_adj.map(i64::from), value.as_i64(), "{name}"),
            other => panic!("{name}: process.{other}: nobody has thought of it"),
        }
    }
    if process.get("noNewPrivileges").is_none() {
        assert!(decoded.named("SetNoNewPrivileges").is_empty(), "{name}");
    }
}

fn check_environment(decoded: &Decoded<'_>, uid: u32, wanted: &[String], got: &[String]) {
    // Callers that want HOME looked up write an empty one.
    let wanted: Vec<_> = wanted.iter().filter(|variable| *variable != "HOME=").cloned().collect();
    assert_eq!(wanted, got, "{}", decoded.name);
    let has_home = wanted.iter().any(|variable| variable.starts_with("HOME="));
    let homes = decoded.all(
        |operation| matches!(operation, Operation::ReadHome(ReadHome { uid: of }) if of.as_raw() == uid),
    );
    assert_eq!(homes.len(), usize::from(!has_home), "{}", decoded.name);
    let path =
        wanted.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(super::DEFAULT_PATH);
    decoded.only(
        "PATH",
        |operation| matches!(operation, Operation::FindExecutable(FindExecutable { search, .. }) if string(search) == path),
    );
}

fn check_user(decoded: &Decoded<'_>, user: &Value) {
    for (key, value) in user.as_object().expect("is an object") {
        let Operation::SetUser(SetUser { uid, gid }) = decoded.operations[decoded.last("SetUser")] else {
            unreachable!()
        };
        match key.as_str() {
            "uid" => {
                assert_eq!(uid.as_raw(), number(value), "{}", decoded.name);
                for operation in &decoded.operations {
                    if let Operation::OwnStdio(OwnStdio { uid, .. })
                    | Operation::OpenConsole(OpenConsole { uid, .. }) = operation
                    {
                        assert_eq!(uid.as_raw(), number(value), "{}", decoded.name);
                    }
                }
            }
            "gid" => assert_eq!(gid.as_raw(), number(value), "{}", decoded.name),
            "umask" => {
                let Operation::SetUmask(SetUmask { mask }) = decoded.operations[decoded.last("SetUmask")]
                else {
                    unreachable!()
                };
                assert_eq!(mask.bits(), number(value), "{}", decoded.name);
            }
            "additionalGids" => {
                let wanted: Vec<_> = list(value).iter().map(number).collect();
                decoded.only("additionalGids", |operation| {
                    matches!(operation, Operation::SetGroups(SetGroups { groups, .. }) if groups.iter().collect::<Vec<_>>() == wanted)
                });
            }
            other => panic!("{}: process.user.{other}: nobody has thought of it", decoded.name),
        }
    }
}

fn check_capabilities(decoded: &Decoded<'_>, capabilities: &Value) {
    let Operation::DropBounding(DropBounding { keep }) = decoded.operations[decoded.the("DropBounding")]
    else {
        unreachable!()
    };
    let Operation::SetCapabilities(SetCapabilities { effective, permitted, inheritable, ambient }) =
        decoded.operations[decoded.the("SetCapabilities")]
    else {
        unreachable!()
    };
    for key in capabilities.as_object().expect("is an object").keys() {
        assert!(
            ["bounding", "effective", "permitted", "inheritable", "ambient"].contains(&key.as_str()),
            "{key}"
        );
    }
    let sets = [
        ("bounding", keep),
        ("effective", effective),
        ("permitted", permitted),
        ("inheritable", inheritable),
        ("ambient", ambient),
    ];
    for (key, set) in sets {
        let wanted = capabilities.get(key).map_or(0, |names| {
            texts(names).iter().fold(0, |set, name| set | 1u64 << capability::number(name).expect("is known"))
        });
        assert_eq!(set.0, wanted, "{}: {key}", decoded.name);
    }
}

fn check_mounts(decoded: &Decoded<'_>, mounts: &[Value]) {
    let attached = decoded.all(|operation| {
        matches!(operation, Operation::Mount(_) | Operation::MountWithData(_) | Operation::BindMount(_))
    });
    let mut places = attached.into_iter();
    for (index, mount) in mounts.iter().enumerate() {
        let place = places.next().unwrap_or_else(|| panic!("{}: mounts[{index}] is lost", decoded.name));
        check_mount(decoded, index, mount, place);
    }
    // All other binds are devices, where mknod(2) is not allowed.
    assert!(decoded.makes_user_namespace() || places.next().is_none(), "{}", decoded.name);
}

fn check_mount(decoded: &Decoded<'_>, index: usize, mount: &Value, place: usize) {
    let field = format!("{}: mounts[{index}]", decoded.name);
    for key in mount.as_object().expect("is an object").keys() {
        assert!(["destination", "type", "source", "options"].contains(&key.as_str()), "{field}.{key}");
    }
    let destination = text(&mount["destination"]);
    let options = mount.get("options").map_or(Vec::new(), texts);
    let is_bind =
        mount["type"] == "bind" || options.iter().any(|option| option == "bind" || option == "rbind");
    let read_only_later = decoded.all(|operation| {
        matches!(operation, Operation::SetMountAttributes(SetMountAttributes { target, set, .. })
            if string(target) == destination && set.contains(Attributes::MOUNT_ATTR_RDONLY))
    });
    match decoded.operations[place] {
        Operation::BindMount(BindMount {
            tree,
            target,
            set,
            clear,
            recursive_set,
            recursive_clear,
            propagation,
            recursive_propagation,
            ..
        }) => {
            let of_hierarchy = mount["type"] == "cgroup" && decoded.shows_hierarchy();
            assert!(is_bind || of_hierarchy, "{field}");
            assert_eq!(string(target), destination, "{field}");
            let recursive = options.iter().any(|option| option == "rbind");
            let source = if of_hierarchy { "/sys/fs/cgroup" } else { text(&mount["source"]) };
            assert_eq!(decoded.source(tree), (source.to_string(), recursive), "{field}");
            for option in &options {
                check_bind_option(
                    &field,
                    option,
                    [set, clear, recursive_set, recursive_clear],
                    (propagation, recursive_propagation),
                );
            }
        }
        Operation::Mount(operation::Mount {
            kind,
            source,
            target,
            flags,
            parameters,
            attributes,
            propagation,
            copy_up,
            ..
        }) => {
            assert!(!is_bind, "{field}");
            assert!(string(kind) != "cgroup2" || !decoded.shows_hierarchy(), "{field}");
            assert_eq!(string(target), destination, "{field}");
            assert_eq!(string(kind), text(&mount["type"]).replace("cgroup", "cgroup2"), "{field}");
            assert_eq!(Some(string(source).as_str()), mount["source"].as_str(), "{field}");
            let parameters = strings(parameters.iter());
            let pairs: Vec<_> = parameters.chunks(2).map(|pair| pair.join("=")).collect();
            let words: Vec<_> = strings(flags.iter()).into_iter().chain(pairs).collect();
            for option in &options {
                let later = option == "ro" && !read_only_later.is_empty();
                if option == "tmpcopyup" {
                    assert!(copy_up, "{field}");
                } else if !later {
                    check_option(&field, option, attributes, propagation, &words);
                }
            }
        }
        ref other => panic!("{field}: {other:?}"),
    }
}

fn attribute(option: &str) -> Option<(Attributes, bool)> {
    Some(match option {
        "ro" => (Attributes::MOUNT_ATTR_RDONLY, true),
        "rw" => (Attributes::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (Attributes::MOUNT_ATTR_NOSUID, true),
        "nodev" => (Attributes::MOUNT_ATTR_NODEV, true),
        "noexec" => (Attributes::MOUNT_ATTR_NOEXEC, true),
        "exec" => (Attributes::MOUNT_ATTR_NOEXEC, false),
        "strictatime" => (Attributes::MOUNT_ATTR_STRICTATIME, true),
        // The kernel's default has no bit.
        "relatime" => (Attributes::MOUNT_ATTR__ATIME, false),
        _ => return None,
    })
}

fn propagation_word(option: &str) -> Option<(Propagation, bool)> {
    Some(match option {
        "private" => (Propagation::PRIVATE, false),
        "rprivate" => (Propagation::PRIVATE, true),
        "slave" => (Propagation::DOWNSTREAM, false),
        "rslave" => (Propagation::DOWNSTREAM, true),
        _ => return None,
    })
}

fn check_option(
    field: &str,
    option: &str,
    attributes: Attributes,
    propagation: Propagation,
    words: &[String],
) {
    if let Some((flag, set)) = attribute(option) {
        assert_eq!(attributes.intersects(flag), set, "{field}: {option}");
    } else if let Some((wanted, _)) = propagation_word(option) {
        // A new file system has no mounts below it.
        assert_eq!(propagation, wanted, "{field}: {option}");
    } else {
        assert!(words.iter().any(|word| word == option), "{field}: {option}: not among {words:?}");
    }
}

fn check_bind_option(
    field: &str,
    option: &str,
    attributes: [Attributes; 4],
    propagation: (Propagation, bool),
) {
    let [set, clear, recursive_set, recursive_clear] = attributes;
    if option == "bind" || option == "rbind" {
        return;
    }
    let below = option.strip_prefix('r').filter(|_| attribute(option).is_none()).and_then(attribute);
    if let Some((flag, is_set)) = attribute(option).filter(|_| below.is_none()) {
        assert!(set.intersects(flag) == is_set && (is_set || clear.intersects(flag)), "{field}: {option}");
    } else if let Some((flag, is_set)) = below {
        assert!(
            recursive_set.intersects(flag) == is_set && (is_set || recursive_clear.intersects(flag)),
            "{field}: {option}"
        );
    } else {
        assert_eq!(propagation_word(option), Some(propagation), "{field}: {option}");
    }
}

fn check_linux(decoded: &Decoded<'_>, linux: &Value) {
    let name = decoded.name;
    for (key, value) in linux.as_object().expect("is an object") {
        match key.as_str() {
            "namespaces" => check_namespaces(decoded, list(value)),
            "uidMappings" | "gidMappings" => {
                let mappings = decoded.plan.mappings.as_ref().expect("there are mappings");
                let map = if key == "uidMappings" { &mappings.uid } else { &mappings.gid };
                let wanted: Vec<_> = list(value)
                    .iter()
                    .map(|line| [&line["containerID"], &line["hostID"], &line["size"]].map(number))
                    .collect();
                let got: Vec<_> =
                    map.iter().map(|line| [line.container_id, line.host_id, line.size]).collect();
                assert_eq!(got, wanted, "{name}");
            }
            "devices" => list(value).iter().for_each(|device| check_device(decoded, device)),
            "sysctl" => {
                let wanted = value.as_object().expect("is an object");
                assert_eq!(decoded.named("WriteSysctl").len(), wanted.len(), "{name}");
                for (key, value) in wanted {
                    let path = format!("sys/{}", key.replace('.', "/"));
                    decoded.only(key, |operation| {
                        matches!(operation, Operation::WriteSysctl(WriteSysctl { path: at, value: to })
                            if string(at) == path && string(to) == text(value))
                    });
                }
            }
            "maskedPaths" => {
                let paths = decoded.operations.iter().filter_map(|operation| match operation {
                    Operation::MaskPath(MaskPath { path }) => Some(string(path)),
                    _ => None,
                });
                assert_eq!(paths.collect::<Vec<_>>(), texts(value), "{name}");
            }
            "readonlyPaths" => {
                let paths = decoded.operations.iter().filter_map(|operation| match operation {
                    Operation::MakePathReadonly(MakePathReadonly { path }) => Some(string(path)),
                    _ => None,
                });
                assert_eq!(paths.collect::<Vec<_>>(), texts(value), "{name}");
            }
            "seccomp" => {
                let Operation::InstallSeccomp(InstallSeccomp { program, .. }) =
                    decoded.operations[decoded.the("InstallSeccomp")]
                else {
                    unreachable!()
                };
                assert!(program.len() > 100 && program.len() % 8 == 0, "{name}");
            }
            // The runtime writes them before the clone.
            "resources" | "cgroupsPath" => {}
            other => panic!("{name}: linux.{other}: nobody has thought of it"),
        }
    }
    if linux.get("seccomp").is_none() {
        assert!(decoded.named("InstallSeccomp").is_empty(), "{name}");
    }
}

fn check_namespaces(decoded: &Decoded<'_>, namespaces: &[Value]) {
    let plan = &decoded.plan.namespaces;
    assert_eq!(plan.new.len() + plan.joined.len(), namespaces.len(), "{}", decoded.name);
    for namespace in namespaces {
        let kind =
            NamespaceKind::ALL.into_iter().find(|kind| namespace["type"] == kind.name()).expect("is known");
        match namespace.get("path").map(text) {
            Some(path) => {
                assert!(plan.joined.contains(&(kind, path.to_string())), "{}: {kind:?}", decoded.name)
            }
            None => {
                assert!(plan.new.contains(&kind), "{}: {kind:?}", decoded.name);
                let late = decoded.operations.iter().any(|operation| {
                    matches!(operation, Operation::Unshare(Unshare { flags }) if flags & kind.clone_flag() != 0)
                });
                let in_clone = plan.made_by_clone() & kind.clone_flag() != 0;
                let meanwhile = kind == NamespaceKind::Network && plan.network_meanwhile;
                assert_eq!(
                    [late, in_clone, meanwhile].iter().filter(|made| **made).count(),
                    1,
                    "{}: {kind:?}",
                    decoded.name
                );
            }
        }
    }
    let network = plan.makes(NamespaceKind::Network);
    let by = |name| decoded.named(name).len();
    assert_eq!(by("JoinNetwork"), usize::from(network && plan.network_meanwhile), "{}", decoded.name);
    assert_eq!(by("SendNetlinkSocket"), usize::from(network && !plan.network_meanwhile), "{}", decoded.name);
}

fn check_device(decoded: &Decoded<'_>, device: &Value) {
    let path = text(&device["path"]);
    if decoded.makes_user_namespace() {
        decoded.only(
            path,
            |operation| matches!(operation, Operation::BindMount(BindMount { target, .. }) if string(target) == path),
        );
        return;
    }
    let kind = match text(&device["type"]) {
        "c" | "u" => NodeKind::Character,
        "b" => NodeKind::Block,
        _ => NodeKind::Fifo,
    };
    let wanted = ["major", "minor", "uid", "gid"].map(|key| device.get(key).map_or(0, number));
    let mode = device.get("fileMode").map_or(0o666, number) & 0o7777;
    decoded.only(path, |operation| {
        matches!(operation, Operation::MakeNode(MakeNode { path: at, kind: k, major, minor, mode: m, uid, gid })
            if string(at) == path && *k == kind && [*major, *minor, uid.as_raw(), gid.as_raw()] == wanted && m.bits() == mode)
    });
}

/// All operations of a name must come before those of the next name.
fn in_order(decoded: &Decoded<'_>, names: &[&str]) {
    let mut before: Option<(&str, usize)> = None;
    for name in names {
        let places = decoded.named(name);
        if let (Some((earlier, end)), Some(first)) = (before, places.first()) {
            assert!(end < *first, "{}: {earlier} must stand before {name}", decoded.name);
        }
        if let Some(last) = places.last() {
            before = Some((name, *last));
        }
    }
}

fn check_order(decoded: &Decoded<'_>, config: &Value) {
    let name = decoded.name;
    let root = decoded.the("AttachRoot");
    let pivot = decoded.the(decoded.root_change());
    let ready = decoded.the("Ready");
    in_order(decoded, &["NewSession", "NewKeyring", "Unshare", "SetPropagation", "AttachRoot"]);
    in_order(
        decoded,
        &[
            "AttachRoot",
            "MakeNode",
            "MakeSymlink",
            decoded.root_change(),
            "OpenConsole",
            "SetHostname",
            "WriteSysctl",
        ],
    );
    in_order(decoded, &["WriteSysctl", "MakePathReadonly", "MaskPath", "SetNoNewPrivileges", "DropBounding"]);
    in_order(
        decoded,
        &["DropBounding", "SetGroups", "SetCapabilities", "RetryCwd", "FindExecutable", "Ready"],
    );
    in_order(
        decoded,
        &[
            "ReadHome",
            "KeepDescriptors",
            "SetCwd",
            "SetRlimit",
            "DropBounding",
            "SetCapabilities",
            "FindExecutable",
        ],
    );
    in_order(decoded, &[decoded.root_change(), "ReadHome"]);
    in_order(decoded, &["Ready", "AwaitStart", "Exec"]);
    for place in decoded.all(|operation| {
        matches!(operation, Operation::Mount(_) | Operation::MountWithData(_) | Operation::BindMount(_))
    }) {
        assert!(root < place && place < pivot, "{name}: a mount outside of root and pivot");
    }
    for place in decoded.named("SetMountAttributes") {
        assert!(pivot < place, "{name}: read-only before the pivot");
    }
    // Making the folder needs a writable root.
    let read_only = decoded.named("SetMountAttributes").into_iter().min().unwrap_or(ready);
    assert!(
        decoded.named("MakeDirectory").iter().all(|place| pivot < *place && *place < read_only),
        "{name}"
    );

    let user = decoded.last("SetUser");
    // Only a process that may use every processor can have a deadline.
    let processors = decoded.the("UseEveryProcessor");
    assert!(decoded.named("SetScheduler").iter().all(|scheduler| processors < *scheduler), "{name}");
    assert!(decoded.the("DropBounding") < user && user < decoded.the("SetCapabilities"), "{name}");
    assert!(decoded.named("SetGroups").iter().all(|groups| *groups < user), "{name}");
    if decoded.makes_user_namespace() {
        let maps = decoded
            .only("maps", |operation| matches!(operation, Operation::Await(Await { turn: Turn::Mappings })));
        let first_user = decoded.named("SetUser")[0];
        assert!(maps < first_user && first_user < root && first_user < user, "{name}");
    }
    if let [filter] = decoded.named("InstallSeccomp")[..] {
        let no_new_privileges = config["process"]["noNewPrivileges"] == true;
        // Without no_new_privs the filter needs CAP_SYS_ADMIN; with it, the filter comes as late as possible.
        let expected =
            if no_new_privileges { decoded.the("Exec") - 1 } else { decoded.the("DropBounding") - 1 };
        assert_eq!(filter, expected, "{name}");
    }
    let harmless = ["Await", "AwaitStart", "TakeWord", "InstallSeccomp", "Exec"];
    for operation in &decoded.operations[ready + 1..] {
        assert!(
            harmless.contains(&operation.name()),
            "{name}: {} can fail and stands behind Ready",
            operation.name()
        );
    }
    assert_eq!(decoded.the("Exec") + 1, decoded.operations.len(), "{name}");
    // What fails after init has taken the byte is still reported; between `Ready` and that nothing can fail.
    assert!(decoded.the("TakeWord") > ready + 1, "{name}");
    assert!(decoded.the("KeepDescriptors") < user, "{name}");
    let deaths = decoded.operations.iter().filter_map(|operation| match operation {
        Operation::DieWithRuntime(DieWithRuntime { enabled }) => Some(*enabled),
        _ => None,
    });
    let deaths: Vec<_> = deaths.collect();
    assert!(deaths.first() == Some(&true) && deaths.last() == Some(&false), "{name}");
}

#[test]
fn nothing_of_a_configuration_is_lost() {
    for (name, config, host) in cases() {
        match compile(&valid(&config), &host, &intent()) {
            Ok(plan) => check(&name, &config, &plan),
            // Refused is not lost.
            Err(error) => assert!(error.to_string().contains("not supported"), "{name}: {error}"),
        }
    }
}

/// Members that have no effect on a container, or only on its cgroup; the intent has the root's path.
const WITHOUT_EFFECT: [&str; 5] =
    ["/ociVersion", "/annotations", "/root/path", "/linux/cgroupsPath", "/linux/resources"];

/// With the option "bind" or "rbind" the type of a mount is ignored.
fn is_type_of_bind(document: &Value, path: &str) -> bool {
    let mount = path.strip_suffix("/type").filter(|mount| mount.starts_with("/mounts/"));
    let options = mount.and_then(|mount| document.pointer(mount)?.get("options")?.as_array());
    options.is_some_and(|options| options.iter().any(|option| option == "bind" || option == "rbind"))
}

/// Every leaf of a document with its JSON pointer.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| {
                leaves(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), found)
            });
        }
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(index, value)| leaves(value, &format!("{path}/{index}"), found));
        }
        _ => found.push(path.to_string()),
    }
}

fn change(value: &mut Value) {
    *value = match &*value {
        Value::String(text) => format!("{text}x").into(),
        Value::Number(number) => number.as_i64().map_or(1, |number| number.saturating_add(1)).into(),
        Value::Bool(flag) => (!flag).into(),
        other => panic!("{other}"),
    };
}

/// The plan, or why there is none: two texts are equal only if the containers are.
fn outcome(config: &Value) -> String {
    let config = config.to_string();
    let spec = match crate::oci::spec::parse(config.as_bytes()) {
        Ok(spec) => spec,
        Err(error) => return error.to_string(),
    };
    match crate::validate::validate(spec).and_then(|spec| compile(&spec, &privileged_host(), &intent())) {
        Ok(plan) => format!("{plan:?}"),
        Err(error) => error.to_string(),
    }
}

/// The same from the other side, without knowing any meaning: every change must have an effect.
#[test]
fn every_leaf_has_an_effect() {
    let mut lost = Vec::new();
    let chosen =
        ["docker-limits", "docker-terminal", "podman-pod-member", "podman-uidmap", "docker-privileged"];
    for (name, config) in recorded().iter().filter(|(name, _)| chosen.contains(&name.as_str())) {
        let mut document: Value = serde_json::from_str(config).expect("is JSON");
        // Most of a document is names of system calls, which are all treated alike.
        if let Some(rules) = document.pointer_mut("/linux/seccomp/syscalls").and_then(Value::as_array_mut) {
            rules
                .iter_mut()
                .filter_map(|rule| rule["names"].as_array_mut())
                .for_each(|names| names.truncate(2));
            rules.truncate(6);
        }
        let before = outcome(&document);
        let mut paths = Vec::new();
        leaves(&document, "", &mut paths);
        let paths = paths.iter().filter(|path| !WITHOUT_EFFECT.iter().any(|start| path.starts_with(start)));
        for path in paths.filter(|path| !is_type_of_bind(&document, path)) {
            let mut changed = document.clone();
            change(changed.pointer_mut(path).expect("is there"));
            if outcome(&changed) == before {
                lost.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(lost.is_empty(), "without any effect: {lost:#?}");
}
