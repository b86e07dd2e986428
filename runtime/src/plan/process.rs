//! The container's program: its stdio, its environment and its filter.

use pillbox_init::plan::operation::{InstallSeccomp, OpenConsole, OwnStdio};
use rustix::process::{Gid, Uid};

use super::Intent;
use super::builder::{Builder, Notifications};
use crate::error::{Error, Result};
use crate::seccomp;
use crate::validate::ValidSpec;

/// The program's stdio: a terminal of its own, or what the caller passed on.
pub(super) fn compile_console(builder: &mut Builder<'_>, spec: &ValidSpec<'_>, mount: bool) {
    let process = &spec.process;
    let (uid, gid) = (process.user.uid, process.user.gid);
    if process.terminal {
        let (rows, columns) = process.console_size.as_ref().map_or((0, 0), |size| (size.height, size.width));
        let [rows, columns] = [rows, columns].map(|size| u16::try_from(size).unwrap_or(u16::MAX));
        builder.push(OpenConsole { rows, columns, uid, mount });
    } else if (uid, gid) != (Uid::ROOT, Gid::ROOT) {
        builder.push(OwnStdio { uid, gid });
    }
}

/// The program's environment; a HOME without a value is left out.
pub(super) fn variables<'s>(spec: &'s ValidSpec<'_>, intent: &'s Intent) -> Vec<&'s str> {
    let own = spec.process.env.iter().map(|variable| &**variable).filter(|variable| *variable != "HOME=");
    own.chain(intent.environment.iter().map(String::as_str)).collect()
}

/// The search path if the environment has no PATH.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn compile_seccomp(builder: &mut Builder<'_>, spec: &ValidSpec<'_>) -> Result<()> {
    if let Some(profile) = &spec.seccomp {
        const STRICT: &str = "run.oci.seccomp_fail_unknown_syscall";
        let names = profile.syscalls.iter().flat_map(|syscall| syscall.names.iter());
        if spec.is_annotated(STRICT)
            && let Some(name) = names.into_iter().find(|name| !seccomp::knows(name))
        {
            return Err(Error::formatted(format_args!(
                "linux.seccomp: {:?} is no system call of this machine, which the annotation {STRICT} makes an error",
                &**name
            )));
        }
        let program = seccomp::compile(profile)?;
        let flags = match builder.notifications {
            Notifications::Agent => program.flags,
            Notifications::Nobody => program.flags & !seccomp::LISTENER_FLAGS,
        };
        builder.push(InstallSeccomp { flags, program: &program.instructions });
    }
    Ok(())
}
