//! The container's program: its stdio, its environment and its filter.

use pillbox_init::plan::operation::{
    DieWithRuntime, InstallSeccomp, NewKeyring, NewSession, OpenConsole, OwnStdio, SetUmask, SetUser,
};
use rustix::fs::Mode;
use rustix::process::{Gid, Uid};

use super::Intent;
use super::builder::{Builder, Notifications};
use super::text::c_string;
use crate::error::{Error, Result};
use crate::seccomp;
use crate::validate::ValidSpec;

/// A session and a keyring of its own, and no umask that would change the modes of what init makes.
pub(super) fn compile_session(builder: &mut Builder<'_>, intent: &Intent) -> Result<()> {
    builder.push(SetUmask { mask: Mode::empty() });
    builder.push(NewSession);
    if !intent.no_new_keyring {
        let name = c_string("id", &format!("_ses.{}", intent.id))?;
        builder.push(NewKeyring { name: &name });
    }
    Ok(())
}

/// The kernel clears the death signal of a process that changes its user.
pub(super) fn become_user(builder: &mut Builder<'_>, (uid, gid): (Uid, Gid)) {
    builder.push(SetUser { uid, gid });
    builder.push(DieWithRuntime { enabled: true });
}

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
