//! Hooks while the container is being made.

use super::{Line, Making, Prepared, Step, too_early};
use crate::cgroup::Cgroup;
use crate::container::hooks::{self, BeginsIn, Place};
use crate::container::namespaces::namespace_flags;
use crate::error::Result;
use crate::oci::Status;
use crate::oci::spec::Hook;
use crate::oci::spec::json::Text;
use crate::spawn::{Init, Stop};
use crate::state::Record;
use crate::validate::ValidSpec;
use pillbox_init::plan::Turn;

/// Runs prestart, createRuntime and createContainer hooks, while init waits before it leaves the old root.
pub struct RunFirst;

impl Step for RunFirst {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.spec().hooks.by_kind().iter().any(|(_, hooks)| !hooks.is_empty())
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let spec = making.prepared.spec();
        if !spec.hooks.run_before_pivot() {
            return Ok(());
        }
        let Making { prepared, replanned, opened, init, record, cgroup, .. } = making;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        let (Some(init), Some(record)) = (init, record) else { return Err(too_early("record")) };
        match init.next_stop(plan, opened)? {
            Stop::Hooks => {}
            stop => return Err(stop.unexpected()),
        }
        run(spec, init, record, cgroup.as_ref())?;
        init.answer(Turn::RuntimeHooks)
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        for (kind, hooks) in prepared.spec().hooks.by_kind() {
            hooks.iter().for_each(|hook| lines.push(("RunHook", line(kind, hook))));
        }
        Ok(())
    }
}

fn line(kind: &str, hook: &Hook<'_>) -> String {
    let Hook { path, args, env, timeout } = hook;
    let quoted = |words: &[Text<'_>]| words.iter().map(|word| format!(" {:?}", &**word)).collect::<String>();
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
    line
}

/// Runs the hooks in the runtime's namespaces, then those in the container's.
fn run(spec: &ValidSpec<'_>, init: &Init, record: &Record, cgroup: Option<&Cgroup>) -> Result<()> {
    let outside = |kind| Place::outside(kind, Status::Creating, record.pid);
    // prestart, the oldest kind, is told the status that it was told before the others existed, as with crun.
    hooks::run(&spec.hooks.prestart, record, &Place { status: Status::Created, ..outside("prestart") })?;
    hooks::run(&spec.hooks.create_runtime, record, &outside("createRuntime"))?;
    if spec.hooks.create_container.is_empty() {
        return Ok(());
    }
    let enter = Some((init.duplicate()?, namespace_flags(spec)));
    let unit = record.systemd_unit.as_deref();
    let inside = Place::outside("createContainer", Status::Creating, record.pid_inside()?);
    // The specification does not say where they begin; hooks that are written for runc rely on this.
    let place = Place { enter, cgroup, unit, begins_in: BeginsIn::RootFileSystem, ..inside };
    hooks::run(&spec.hooks.create_container, record, &place)
}
