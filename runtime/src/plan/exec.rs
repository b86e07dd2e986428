//! Plans of processes that enter an existing container: `exec`, and hooks.

use pillbox_init::plan::Turn;
use pillbox_init::plan::operation::{
    Await, DieWithRuntime, EnterChroot, EnterRoot, Exec, FindExecutable, JoinNamespace, KeepDescriptors,
    NewSession, Ready, ReplaceStdio, SetCwd, SetUndumpable, TakeWord, UseEveryProcessor,
};
use rustix::process::{Gid, Uid};

use super::Agent;
use super::builder::{Builder, Notifications, UserNamespace};
use super::process::{become_user, compile_console, compile_session, variables};
use super::text::{c_string, string_bytes, strings};
use super::{
    Descriptor, Host, Intent, Plan, attribute, compile_before_rights, compile_end, identity, read_home,
};
use crate::error::Result;
use crate::oci::Status;
use crate::oci::spec::Hook;
use crate::validate::{NamespaceKind, ValidSpec};

/// One more process for a container: `spec` is the container's, with that process in it.
///
/// # Errors
/// As for [`super::compile`].
pub fn compile_exec(spec: &ValidSpec<'_>, host: &Host, intent: &Intent) -> Result<Plan> {
    let mut builder = Builder::of_container(host, spec);
    compile_entering(&mut builder, spec, intent)?;
    compile_console(&mut builder, spec, false);
    attribute::compile_apparmor(&mut builder, spec)?;
    compile_before_rights(&mut builder, spec, intent)?;
    // As late as possible: until then init may be held to the processor of the runtime, with which it takes
    // turns. The runtime itself applies execCPUAffinity.
    if spec.process.exec_cpu_affinity.is_none() {
        builder.push(UseEveryProcessor);
    }
    identity::compile(&mut builder, spec, intent.preserve_fds)?;
    compile_end(&mut builder, spec, intent)?;
    let mut plan = builder.finish(spec, intent);
    plan.seccomp_agent = Agent::of(spec, &intent.id, &intent.bundle, Status::Running);
    Ok(plan)
}

/// The plan of a hook's process. With `spec` the hook runs as the container's own process would; if it names
/// no environment, it gets that process's, as with the other runtimes. Without `spec` it has the runtime's
/// rights. `enters` are the CLONE_NEW* bits of the namespaces that it enters. The first three descriptors are
/// its stdio.
///
/// A filter's agent is notified only of the container's process. A hook's process has a filter of its own,
/// which notifies no agent.
///
/// # Errors
/// A string with a NUL.
pub fn compile_hook(
    hook: &Hook<'_>,
    spec: Option<&ValidSpec<'_>>,
    enters: u32,
    host: &Host,
    intent: &Intent,
) -> Result<Plan> {
    let mut builder = spec.map_or_else(|| Builder::new(host), |spec| Builder::of_container(host, spec));
    builder.notifications = Notifications::Nobody;
    let input = builder.descriptor(Descriptor::Given);
    let output = builder.descriptor(Descriptor::Given);
    let error = builder.descriptor(Descriptor::Given);
    builder.push(DieWithRuntime { enabled: true });
    if enters & NamespaceKind::User.clone_flag() != 0 {
        become_user(&mut builder, (Uid::ROOT, Gid::ROOT));
    }
    if enters != 0 {
        builder.push(SetUndumpable);
    }
    builder.push(NewSession);
    builder.push(ReplaceStdio { input, output, error });
    // A hook that names no environment has the program's.
    let lent = spec.filter(|_| hook.env.is_empty());
    if let Some(spec) = spec {
        compile_time_namespace(&mut builder, spec);
        enter_root(&mut builder, intent);
    }
    if let Some(spec) = lent {
        read_home(&mut builder, spec, intent);
    }
    builder.push(KeepDescriptors { count: 0, listener: u32::MAX });
    if let Some(spec) = spec {
        builder.push(SetCwd { path: &c_string("process.cwd", &spec.process.cwd)? });
        identity::compile(&mut builder, spec, 0)?;
    } else if !intent.hooks_begin_in.is_empty() {
        builder.push(SetCwd { path: &c_string("hooks", &intent.hooks_begin_in)? });
    }
    let path = c_string("hooks", &hook.path)?;
    builder.push(FindExecutable { name: &path, search: c"" });
    builder.push(Ready);
    builder.push(Await { turn: Turn::Record });
    builder.push(TakeWord);
    if let Some(spec) = spec {
        identity::compile_late(&mut builder, spec, 0)?;
    }
    let first = if hook.args.is_empty() { Some(&*hook.path) } else { None };
    let arguments = string_bytes(first.into_iter().chain(hook.args.iter().map(|argument| &**argument)));
    let environment = match lent {
        Some(spec) => string_bytes(variables(spec, intent).into_iter()),
        None => string_bytes(hook.env.iter().map(|variable| &**variable)),
    };
    builder.push(Exec { arguments: strings(&arguments)?, environment: strings(&environment)? });
    Ok(builder.finish(&ValidSpec::default(), intent))
}

pub fn compile_entering(builder: &mut Builder<'_>, spec: &ValidSpec<'_>, intent: &Intent) -> Result<()> {
    builder.push(DieWithRuntime { enabled: true });
    if builder.user_namespace == UserNamespace::Containers {
        become_user(builder, (Uid::ROOT, Gid::ROOT));
    }
    builder.push(SetUndumpable);
    compile_session(builder, intent)?;
    compile_time_namespace(builder, spec);
    enter_root(builder, intent);
    Ok(())
}

/// Enters the container's root: that of the joined mount namespace, unless the container was made with
/// chroot(2). Then a descriptor that comes last has the root of the container's process.
fn enter_root(builder: &mut Builder<'_>, intent: &Intent) {
    if intent.chrooted {
        let root = builder.descriptor(Descriptor::Given);
        builder.push(EnterChroot { root });
    } else {
        builder.push(EnterRoot);
    }
}

/// No process can enter a time namespace while it shares its memory, as init does for a moment with the
/// process that it was cloned from. So init enters it by itself, with the pidfd of the container's process as
/// a descriptor.
fn compile_time_namespace(builder: &mut Builder<'_>, spec: &ValidSpec<'_>) {
    let time = NamespaceKind::Time;
    if spec.namespace(time).is_some() {
        let namespace = builder.descriptor(Descriptor::Given);
        builder.push(JoinNamespace { namespace, flag: time.clone_flag() });
    }
}
