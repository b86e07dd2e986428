//! explain: the plan of a bundle, without running it.

use std::fmt::Write as _;

use pillbox::container::{Prepared, Wishes};
use pillbox::container_id::ContainerId;
use pillbox::error::{Error, Result};
use pillbox::explain::{OperationDocument, describe};
use pillbox::json::{self, Members};
use pillbox::net_device::NetDevice;
use pillbox::plan::{Descriptor, MountIdmap, MountOwners, Plan};
use pillbox::spec::IdMapping;
use pillbox::validate::NamespaceKind;
use serde::Serialize;

use super::{bundle, print};
use crate::cli::{Arguments, Global};

pub fn explain(global: &Global, arguments: Arguments) -> Result<u8> {
    let format = arguments.value("format").map_or("text".into(), |format| format.to_string_lossy());
    let bundle = bundle(&arguments)?;
    // Only the default cgroup path depends on the id, and the keyring's name.
    let id = ContainerId::new("ID")?;
    let wishes = Wishes { wait_for_start: true, driver: global.driver, ..Wishes::default() };
    let prepared = Prepared::new(&bundle, &id, wishes)?;
    let text = match &*format {
        "text" => text(&prepared)?,
        "json" => json::pretty(&json::to_string(&document(&prepared)?)?) + "\n",
        other => return Err(Error::new(format!("--format {other}: must be text or json"))),
    };
    print(&text)?;
    Ok(0)
}

/// What the runtime does before init runs, one line each: what, then its object.
fn runtime_steps(prepared: &Prepared<'_>) -> Result<Vec<(&'static str, String)>> {
    let plan = &prepared.plan;
    let mut steps = Vec::new();
    for (kind, path) in &plan.namespaces.joined {
        steps.push(("OpenNamespace", format!("{} {path}", kind.name())));
    }
    for descriptor in &plan.descriptors {
        if let Descriptor::Tree { path, recursive, field, idmap, .. } = descriptor {
            let below = if *recursive { " and what is mounted below" } else { "" };
            steps.push(("OpenTree", format!("{}{below} ({field})", path.to_string_lossy())));
            if let Some(idmap) = idmap {
                steps.push(("MapOwners", map_line(idmap)));
            }
        }
    }
    if let Some(unit) = &prepared.unit {
        steps.push(("StartTransientUnit", format!("{} in {}", unit.name, unit.slice)));
    }
    if let Some((hierarchy, path)) = prepared.cgroup.as_ref().filter(|_| prepared.unit.is_none()) {
        steps.push(("MakeCgroup", format!("{}{path}", hierarchy.mount().display())));
    }
    for limit in prepared.limits()? {
        steps.push(("WriteLimit", format!("{} = {} ({})", limit.file, limit.value.trim_end(), limit.field)));
    }
    let rules = prepared.device_rules();
    if prepared.devices.is_some() {
        for rule in rules {
            steps.push(("DeviceRule", rule));
        }
    } else {
        steps.push(("DeviceRule", "allow all".to_string()));
    }
    if let Some(intel_rdt) = &prepared.spec().intel_rdt {
        let class = intel_rdt.clos_id.as_deref().filter(|class| !class.is_empty());
        steps.push(("JoinResctrl", format!("class {}", class.unwrap_or("of the container's id"))));
    }
    steps.push(("Clone", clone_line(plan)));
    if let Some(mappings) = &plan.mappings {
        for (name, map) in [("uid_map", &mappings.uid), ("gid_map", &mappings.gid)] {
            for mapping in map.iter() {
                let (inside, outside, size) = (mapping.container_id, mapping.host_id, mapping.size);
                steps.push((
                    "WriteMapping",
                    format!("{name} {inside} is {outside}, {size} ids ({:?})", mappings.method),
                ));
            }
        }
    }
    if let Some(value) = plan.oom_score_adj {
        steps.push(("WriteOomScoreAdj", value.to_string()));
    }
    for NetDevice { name, new_name } in &plan.net_devices {
        let new_name = new_name.as_ref().map_or(String::new(), |name| format!(" as {name}"));
        steps.push(("MoveNetDevice", format!("{name}{new_name}, with its permanent global addresses")));
    }
    if let Some(summary) = prepared.seccomp_summary() {
        steps.push(("CompileSeccomp", summary));
    }
    for (key, value) in &prepared.annotations {
        steps.push(("Annotate", format!("{key} = {value}")));
    }
    Ok(steps)
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

fn clone_line(plan: &Plan) -> String {
    let names: Vec<_> = plan.namespaces.new.iter().map(|kind| kind.name()).collect();
    let late: Vec<_> = plan.namespaces.made_by_init().map(NamespaceKind::name).collect();
    let start = if plan.from_seed { ", mounts from the seed" } else { "" };
    let after = if late.is_empty() { String::new() } else { format!("; {} by init", late.join(" and ")) };
    format!("init into its cgroup, new namespaces: {}{start}{after}", names.join(" "))
}

fn text(prepared: &Prepared<'_>) -> Result<String> {
    let mut text = "runtime:\n".to_string();
    for (number, (step, object)) in runtime_steps(prepared)?.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>4}  {step:<22} {object}", number + 1);
    }
    text += "init:\n";
    for (number, operation) in prepared.plan.operations().enumerate() {
        let _ = writeln!(text, "{:>4}  {}", number + 1, describe(&operation, &prepared.plan));
    }
    for warning in &prepared.plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
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
    let steps = runtime_steps(prepared)?;
    let member = |(step, object): (&str, String)| {
        Members(vec![("operation".to_string(), step.to_string()), ("object".to_string(), object)])
    };
    Ok(Document {
        runtime: steps.into_iter().map(member).collect(),
        init: prepared.plan.operations().map(OperationDocument).collect(),
        warnings: &prepared.plan.warnings,
    })
}
