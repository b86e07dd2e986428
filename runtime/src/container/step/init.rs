//! Init itself: cloning it, giving it its ids, waiting for it.

use rustix::io::Errno;

use super::{Line, Making, Prepared, Step, too_early};
use crate::error::{Error, Result};
use crate::host::seed;
use crate::oci::spec::IdMapping;
use crate::plan::Method;
use crate::spawn::{self, SpawnError};
use crate::validate::NamespaceKind;

/// Clones init, from the seed namespace if that works. The following steps run in parallel with init, which
/// mounts meanwhile and waits for the runtime before the program runs.
pub struct Clone;

impl Step for Clone {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Making { prepared, replanned, opened, gate, cgroup, scope, attach, init, .. } = making;
        loop {
            let plan = replanned.as_ref().unwrap_or(&prepared.plan);
            let seed = if plan.from_seed { seed::open() } else { None };
            if plan.from_seed && seed.is_none() {
                *replanned = Some(prepared.plan_without_seed()?);
                continue;
            }
            let into = cgroup.as_ref().filter(|_| !*attach);
            match spawn::spawn(plan, opened, seed.as_ref(), gate.as_ref(), into) {
                Ok(spawned) => {
                    *init = Some(spawned);
                    return Ok(());
                }
                Err(SpawnError::Seed) if plan.from_seed => *replanned = Some(prepared.plan_without_seed()?),
                Err(SpawnError::Seed) => return Err(Error::new("clone into a mount namespace: refused")),
                // The unit of an ordinary user: systemd moves init into it.
                Err(SpawnError::Cgroup { errno: Errno::ACCESS, .. })
                    if !*attach && scope.is_some() && plan.mappings.is_some() =>
                {
                    *attach = true;
                }
                Err(SpawnError::Cgroup { error, .. } | SpawnError::Other(error)) => {
                    return Err(error);
                }
            }
        }
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        let namespaces = &prepared.plan.namespaces;
        let names = |wanted: &dyn Fn(NamespaceKind) -> bool| {
            let names: Vec<_> = NamespaceKind::ALL
                .into_iter()
                .filter(|kind| wanted(*kind))
                .map(NamespaceKind::name)
                .collect();
            if names.is_empty() { "none".to_string() } else { names.join(" ") }
        };
        let cgroup = if prepared.cgroup.is_some() || prepared.unit.is_some() {
            "into its cgroup"
        } else {
            "into the runtime's cgroup"
        };
        let late = |kind| matches!(kind, NamespaceKind::Cgroup | NamespaceKind::Time);
        let seed = if prepared.plan.from_seed { " (from the seed)" } else { "" };
        let new = names(&|kind| namespaces.makes(kind) && !late(kind));
        let mut line = format!("init {cgroup}; new namespaces: {new}{seed}");
        for (words, list) in [
            ("made by init", names(&|kind| namespaces.makes(kind) && late(kind))),
            ("joined", names(&|kind| namespaces.joins(kind))),
            ("shared with the host", names(&|kind| !namespaces.makes(kind) && !namespaces.joins(kind))),
        ] {
            if list != "none" {
                line = format!("{line}; {words}: {list}");
            }
        }
        lines.push(("Clone", line));
        Ok(())
    }
}

/// Writes what only the runtime may write: id maps and oom score.
pub struct GiveIds;

impl Step for GiveIds {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.plan.mappings.is_some() || prepared.plan.oom_score_adj.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Making { prepared, replanned, init, .. } = making;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        let init = init.as_mut().ok_or_else(|| too_early("init"))?;
        init.give_ids(plan)
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        if let Some(mappings) = &prepared.plan.mappings {
            for (name, map) in [("uid_map", &mappings.uid), ("gid_map", &mappings.gid)] {
                let step = if mappings.method == Method::Joined { "CheckMapping" } else { "WriteMapping" };
                lines.extend(map.iter().map(|line| (step, mapping_line(name, line, mappings.method))));
            }
        }
        lines.extend(prepared.plan.oom_score_adj.map(|value| ("WriteOomScoreAdj", value.to_string())));
        Ok(())
    }
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

/// Waits until init has done everything that comes before the program.
pub struct AwaitReady;

impl Step for AwaitReady {
    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Making { prepared, replanned, opened, init, .. } = making;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        let init = init.as_mut().ok_or_else(|| too_early("init"))?;
        init.await_ready(plan, opened)
    }
}
