//! explain: the plan of a bundle, without running it.

use std::fmt::Write as _;

use pillbox::ContainerId;
use pillbox::container::{Prepared, Wishes};
use pillbox::error::{Error, Result};
use pillbox::explain::{OperationDocument, describe, one_line};
use pillbox::oci::spec::json::Text;
use pillbox::oci::spec::linux::{DeviceRule, Seccomp, Syscall, SyscallArg};
use pillbox::oci::spec::{Hook, IdMapping};
use pillbox::plan::{Descriptor, Method, MountIdmap, MountOwners, NetDevice};
use pillbox::resources;
use pillbox::text::json::{self, Members};
use pillbox::validate::NamespaceKind;
use serde::Serialize;

use super::{bundle, print};
use crate::arguments::{Arguments, Global};

pub fn explain(global: &Global, arguments: Arguments) -> Result<u8> {
    let format = arguments.value("format").map_or("text".into(), |format| format.to_string_lossy());
    let bundle = bundle(global, &arguments)?;
    // Only the default cgroup path depends on the id, and the keyring's name.
    let id = ContainerId::new("ID")?;
    let wishes = Wishes { wait_for_start: true, driver: global.driver, ..Wishes::default() };
    let prepared = Prepared::new(&bundle, &id, wishes)?;
    let text = match &*format {
        "text" => text(&prepared)?,
        "json" => json::pretty(&json::to_string(&document(&prepared)?)?) + "\n",
        other => return Err(Error::formatted(format_args!("--format {other}: must be text or json"))),
    };
    print(&text)?;
    Ok(0)
}

/// A step of the runtime's: what, then its object.
type Step = (&'static str, String);

/// What the runtime does around init.
fn runtime_steps(prepared: &Prepared<'_>) -> Result<Vec<Step>> {
    let plan = &prepared.plan;
    let mut steps = Vec::new();
    // In a thread, beside all that follows.
    if plan.namespaces.network_meanwhile {
        steps.push(("Unshare", "network, with its loopback up, for init".to_string()));
    }
    for (kind, path) in &plan.namespaces.joined {
        steps.push(("OpenNamespace", format!("{} {path}", kind.name())));
    }
    for descriptor in &plan.descriptors {
        if let Descriptor::FileSystem { kind, namespace: (owner, path), .. } = descriptor {
            let line = format!("{} in {} {path}, if init may not", kind.to_string_lossy(), owner.name());
            steps.push(("MakeFileSystem", line));
        }
        if let Descriptor::Tree { path, recursive, field, late, procfs, optional, idmap, node, .. } =
            descriptor
        {
            let mut line = path.to_string_lossy().into_owned();
            for (words, is_so) in [
                (" with submounts", recursive),
                (", which must be a procfs", procfs),
                (", if it is there", optional),
                (", or a node made for it", &node.is_some()),
                (", cloned when init has come that far", &late.is_some()),
            ] {
                line += if *is_so { words } else { "" };
            }
            steps.push(("OpenTree", format!("{line} ({field})")));
            steps.extend(idmap.iter().map(|idmap| ("MapOwners", map_line(idmap))));
        }
    }
    cgroup_steps(prepared, &mut steps)?;
    if let Some(intel_rdt) = &prepared.spec().intel_rdt {
        let class = intel_rdt.clos_id.as_deref().filter(|class| !class.is_empty());
        steps.push(("JoinResctrl", format!("class {}", class.unwrap_or("of the container's id"))));
    }
    steps.push(("Clone", clone_line(prepared)));
    device_steps(prepared, &mut steps);
    if let Some(mappings) = &plan.mappings {
        for (name, map) in [("uid_map", &mappings.uid), ("gid_map", &mappings.gid)] {
            let step = if mappings.method == Method::Joined { "CheckMapping" } else { "WriteMapping" };
            steps.extend(map.iter().map(|line| (step, mapping_line(name, line, mappings.method))));
        }
    }
    if let Some(value) = plan.oom_score_adj {
        steps.push(("WriteOomScoreAdj", value.to_string()));
    }
    for NetDevice { name, new_name } in &plan.net_devices {
        let new_name = new_name.as_ref().map_or(String::new(), |name| format!(" as {name}"));
        steps.push(("MoveNetDevice", format!("{name}{new_name}, with its permanent global addresses")));
    }
    seccomp_steps(prepared, &mut steps);
    hook_steps(prepared, &mut steps);
    steps.push(("WriteState", format!("OCI version {}", prepared.oci_version)));
    for (key, value) in &prepared.annotations {
        steps.push(("Annotate", format!("{key} = {value}")));
    }
    Ok(steps)
}

fn cgroup_steps(prepared: &Prepared<'_>, steps: &mut Vec<Step>) -> Result<()> {
    match (&prepared.unit, &prepared.cgroup) {
        (Some(unit), _) => steps.push(("StartTransientUnit", format!("{} in {}", unit.name, unit.slice))),
        (None, Some((hierarchy, path))) => {
            steps.push(("MakeCgroup", format!("{}{path}", hierarchy.mount().display())));
        }
        (None, None) => return Ok(()),
    }
    for limit in prepared.limits()? {
        steps.push(("WriteLimit", format!("{} = {} ({})", limit.file, limit.value.trim_end(), limit.field)));
    }
    Ok(())
}

fn device_steps(prepared: &Prepared<'_>, steps: &mut Vec<Step>) {
    if prepared.cgroup.is_none() {
        return;
    }
    if prepared.devices.is_none() {
        steps.push(("DeviceRule", "allow a *:* rwm".to_string()));
        return;
    }
    let number = |number: Option<i64>| {
        number.filter(|number| *number >= 0).map_or("*".to_string(), |number| number.to_string())
    };
    for rule in &prepared.spec().resources.devices {
        let DeviceRule { allow, kind, major, minor, access } = rule;
        let verb = if *allow { "allow" } else { "deny" };
        let (kind, access) = (kind.as_deref().unwrap_or("a"), access.as_deref().unwrap_or("rwm"));
        steps.push(("DeviceRule", format!("{verb} {kind} {}:{} {access}", number(*major), number(*minor))));
    }
    let always = resources::always_allowed().into_iter();
    steps.extend(always.map(|rule| ("DeviceRule", format!("allow {rule}, whatever stands above"))));
    steps.push(("DeviceRule", "deny what no rule speaks of".to_string()));
}

fn clone_line(prepared: &Prepared<'_>) -> String {
    let namespaces = &prepared.plan.namespaces;
    let names = |wanted: &dyn Fn(NamespaceKind) -> bool| {
        let names: Vec<_> =
            NamespaceKind::ALL.into_iter().filter(|kind| wanted(*kind)).map(NamespaceKind::name).collect();
        if names.is_empty() { "none".to_string() } else { names.join(" ") }
    };
    let cgroup = if prepared.cgroup.is_some() || prepared.unit.is_some() {
        "into its cgroup"
    } else {
        "into the runtime's cgroup"
    };
    let late = |kind| matches!(kind, NamespaceKind::Cgroup | NamespaceKind::Time);
    let seed = if prepared.plan.from_seed { " (from the seed)" } else { "" };
    let mut line = format!(
        "init {cgroup}; new namespaces: {}{seed}",
        names(&|kind| namespaces.makes(kind) && !late(kind))
    );
    for (words, list) in [
        ("made by init", names(&|kind| namespaces.makes(kind) && late(kind))),
        ("joined", names(&|kind| namespaces.joins(kind))),
        ("shared with the host", names(&|kind| !namespaces.makes(kind) && !namespaces.joins(kind))),
    ] {
        if list != "none" {
            line = format!("{line}; {words}: {list}");
        }
    }
    line
}

fn mapping_line(name: &str, mapping: &IdMapping, method: Method) -> String {
    let IdMapping { container_id, host_id, size } = *mapping;
    let last = |first: u32| u64::from(first) + u64::from(size).saturating_sub(1);
    let by = match method {
        Method::Privileged | Method::Joined => "",
        Method::Own => ", after setgroups is denied",
        Method::Helpers => ", by newuidmap and newgidmap",
    };
    format!(
        "{name}: {container_id} to {} inside are {host_id} to {} outside{by}",
        last(container_id),
        last(host_id)
    )
}

fn seccomp_steps(prepared: &Prepared<'_>, steps: &mut Vec<Step>) {
    let Some(profile) = &prepared.spec().seccomp else { return };
    // Its flags stand where init installs it.
    let Seccomp {
        default_action,
        default_errno_ret,
        architectures,
        flags: _,
        listener_path,
        listener_metadata,
        syscalls,
    } = profile;
    let action = |action: &str, errno: Option<u32>| match errno {
        Some(errno) => format!("{action}({errno})"),
        None => action.to_string(),
    };
    let words = |words: &[Text<'_>]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>().join(" ");
    let otherwise = action(default_action, *default_errno_ret);
    steps.push(("CompileSeccomp", format!("{otherwise} by default; {}", words(architectures))));
    if let Some(path) = listener_path {
        let metadata =
            listener_metadata.as_deref().map_or(String::new(), |text| format!(", metadata {text:?}"));
        steps.push(("SendSeccompListener", format!("to {path}{metadata}")));
    }
    for Syscall { names, action: name, errno_ret, args } in syscalls {
        let conditions: Vec<_> = args.iter().map(condition).collect();
        let when = if conditions.is_empty() { "" } else { " if " };
        let rule =
            format!("{}: {}{when}{}", action(name, *errno_ret), words(names), conditions.join(" and "));
        steps.push(("SeccompRule", rule));
    }
}

fn condition(argument: &SyscallArg<'_>) -> String {
    let SyscallArg { index, value, value_two, op } = argument;
    let operator = match &**op {
        "SCMP_CMP_NE" => "!=",
        "SCMP_CMP_LT" => "<",
        "SCMP_CMP_LE" => "<=",
        "SCMP_CMP_EQ" => "==",
        "SCMP_CMP_GE" => ">=",
        "SCMP_CMP_GT" => ">",
        "SCMP_CMP_MASKED_EQ" => return format!("argument {index} & {value:#x} == {value_two:#x}"),
        other => other,
    };
    format!("argument {index} {operator} {value:#x}")
}

fn hook_steps(prepared: &Prepared<'_>, steps: &mut Vec<Step>) {
    for (kind, hooks) in prepared.spec().hooks.by_kind() {
        for Hook { path, args, env, timeout } in hooks {
            let quoted =
                |words: &[Text<'_>]| words.iter().map(|word| format!(" {:?}", &**word)).collect::<String>();
            let mut line = format!("{kind} {path}");
            if !args.is_empty() {
                line += &format!(", arguments{}", quoted(args));
            }
            if !env.is_empty() {
                line += &format!(", environment{}", quoted(env));
            }
            if let Some(seconds) = timeout {
                line += &format!(", killed after {seconds} s");
            }
            steps.push(("RunHook", line));
        }
    }
}

/// Whose maps a mount's owners go through.
fn map_line(idmap: &MountIdmap) -> String {
    let MountIdmap { owners, recursive } = idmap;
    let below = if *recursive { ", also on what is mounted below" } else { "" };
    match owners {
        MountOwners::Namespace(path) => format!("through the user namespace {path}{below}"),
        MountOwners::Maps { uid, gid } => {
            let map = |name: &str, map: &[IdMapping]| {
                let lines =
                    map.iter().map(|m| format!(" {} is {}, {} ids", m.container_id, m.host_id, m.size));
                format!("{name}{}", lines.collect::<Vec<_>>().join(","))
            };
            format!("{}; {}{below}", map("uid", uid), map("gid", gid))
        }
    }
}

fn text(prepared: &Prepared<'_>) -> Result<String> {
    let mut text = "runtime:\n".to_string();
    for (number, (step, object)) in runtime_steps(prepared)?.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>4}  {step:<22} {}", number + 1, one_line(object));
    }
    text += "init:\n";
    for (number, operation) in prepared.plan.operations().enumerate() {
        let _ = writeln!(text, "{:>4}  {}", number + 1, describe(&operation, &prepared.plan));
    }
    for warning in &prepared.plan.warnings {
        let _ = writeln!(text, "warning: {}", one_line(warning));
    }
    Ok(text)
}

#[derive(Serialize)]
struct Document<'p> {
    runtime: Vec<Members>,
    init: Vec<OperationDocument<'p>>,
    warnings: &'p [String],
}

fn document<'p>(prepared: &'p Prepared<'_>) -> Result<Document<'p>> {
    let plan = &prepared.plan;
    let steps = runtime_steps(prepared)?;
    let member = |(step, object): (&str, String)| {
        Members(vec![("operation".to_string(), step.to_string()), ("object".to_string(), object)])
    };
    Ok(Document {
        runtime: steps.into_iter().map(member).collect(),
        init: prepared.plan.operations().map(|operation| OperationDocument { operation, plan }).collect(),
        warnings: &plan.warnings,
    })
}
