//! The program's identity and rights, in the order in which rights are needed and given up.

use pillbox_init::plan::operation::{
    DropBounding, RetryCwd, SetCapabilities, SetGroups, SetNoNewPrivileges, SetRlimit, SetUmask, SetUser,
};
use pillbox_init::wire::{Capabilities, Numbers};
use rustix::fs::Mode;

use super::builder::UserNamespace;
use super::namespace::{Method, choose_method};
use super::process::compile_seccomp;
use super::{Builder, attribute, c_string};
use crate::error::{Result, Warning, WarningKind};
use crate::oci::capability::CapabilitySets;
use crate::validate::ValidSpec;

const NOFILE: u32 = linux_raw_sys::general::RLIMIT_NOFILE;

/// The usual default of login programs.
const DEFAULT_UMASK: u32 = 0o022;

/// How many descriptors init itself may need at once, including stdio, while it has the program's limits.
const OWN_DESCRIPTORS: u64 = 16;

pub fn compile(builder: &mut Builder<'_>, spec: &ValidSpec<'_>, preserve_fds: u32) -> Result<()> {
    let process = &spec.process;
    let own_user_namespace = builder.user_namespace == UserNamespace::Containers;
    for rlimit in &process.rlimits {
        // A limit that is too small for init is as large as init needs for now, and gets its own value right
        // before the program: raising it would need rights that are gone by then.
        let least = if rlimit.resource == NOFILE { OWN_DESCRIPTORS + u64::from(preserve_fds) } else { 0 };
        builder.push(SetRlimit {
            resource: rlimit.resource,
            soft: rlimit.soft.max(least),
            hard: rlimit.hard.max(least),
        });
    }
    let umask = process.user.umask.unwrap_or(DEFAULT_UMASK);
    builder.push(SetUmask { mask: Mode::from_raw_mode(umask) });
    if process.no_new_privileges {
        builder.push(SetNoNewPrivileges);
    }
    attribute::compile(builder, spec)?;
    if !process.no_new_privileges {
        // Without no_new_privs a filter needs CAP_SYS_ADMIN, which the next operations drop.
        compile_seccomp(builder, spec)?;
    }

    let sets = grantable(builder, process.capabilities.unwrap_or_default());
    builder.push(DropBounding { keep: capabilities(sets.bounding) });
    let cwd = c_string("process.cwd", &process.cwd)?;
    // An ordinary user that maps no other id than its own has to give up setgroups(2).
    let own_map = own_user_namespace && choose_method(spec, builder.host) == Method::Own;
    // Podman's `--group-add keep-groups`: files of the caller's groups stay accessible, whatever ids the
    // groups have inside.
    if spec.is_annotated("run.oci.keep_original_groups") {
        if !process.user.additional_gids.is_empty() {
            builder.warnings.push(Warning::new(
                WarningKind::RightsLeftOut,
                format_args!(
                    "process.user.additionalGids: left out, as the annotation run.oci.keep_original_groups has it"
                ),
            ));
        }
    } else if !own_map && (!builder.host.groups_fixed || !process.user.additional_gids.is_empty()) {
        let gids = process.user.additional_gids.iter();
        let groups: Vec<u8> = gids.flat_map(|gid| gid.as_raw().to_le_bytes()).collect();
        // A user namespace that an ordinary user joins may have given it up, too; that cannot be seen from
        // outside.
        let if_allowed = own_user_namespace && !builder.host.privileged && groups.is_empty();
        builder.push(SetGroups { groups: Numbers(&groups), if_allowed });
    }
    builder.push(SetUser { uid: process.user.uid, gid: process.user.gid });
    builder.set_visible();
    builder.push(SetCapabilities {
        effective: capabilities(sets.effective),
        permitted: capabilities(sets.permitted),
        inheritable: capabilities(sets.inheritable),
        ambient: capabilities(sets.ambient),
    });
    builder.push(RetryCwd { path: &cwd });
    Ok(())
}

/// What comes right before the program: a limit that would keep init from opening what it needs, and the
/// filter if it can be so late, so that it binds the program alone.
pub fn compile_late(builder: &mut Builder<'_>, spec: &ValidSpec<'_>, preserve_fds: u32) -> Result<()> {
    let least = OWN_DESCRIPTORS + u64::from(preserve_fds);
    for rlimit in spec.process.rlimits.iter().filter(|rlimit| rlimit.resource == NOFILE) {
        if rlimit.soft < least {
            let (soft, hard) = (rlimit.soft, rlimit.hard);
            builder.push(SetRlimit { resource: NOFILE, soft, hard });
        }
    }
    if spec.process.no_new_privileges {
        compile_seccomp(builder, spec)?;
    }
    Ok(())
}

/// The runtime cannot grant a capability that it does not have: a warning, as with the other runtimes. In a
/// user namespace of its own a container has all capabilities.
fn grantable(builder: &mut Builder<'_>, wanted: CapabilitySets) -> CapabilitySets {
    let available = match builder.user_namespace {
        UserNamespace::Containers => u64::MAX,
        UserNamespace::Initial | UserNamespace::Runtimes => builder.host.capabilities,
    };
    let asked = wanted.bounding | wanted.effective | wanted.inheritable | wanted.permitted | wanted.ambient;
    let missing = asked & !available;
    if missing != 0 {
        let names = crate::oci::capability::names(missing).collect::<Vec<_>>().join(", ");
        builder.warnings.push(Warning::new(
            WarningKind::RightsLeftOut,
            format_args!("process.capabilities: {names}: left out, pillbox itself does not have it"),
        ));
    }
    CapabilitySets {
        bounding: wanted.bounding & available,
        effective: wanted.effective & available & wanted.permitted,
        inheritable: wanted.inheritable & available,
        permitted: wanted.permitted & available,
        // The kernel allows only permitted and inheritable capabilities to be ambient.
        ambient: wanted.ambient & available & wanted.permitted & wanted.inheritable,
    }
}

fn capabilities(bits: u64) -> Capabilities {
    Capabilities(bits)
}
