//! Why a program cannot be executed, or cannot get its identity and attributes.

use pillbox_init::plan::SecurityModule;
use pillbox_init::plan::operation::{
    ReadHome, SetExecLabel, SetMemoryPolicy, SetScheduler, SetUser, WriteTimeOffsets,
};
use pillbox_init::report::Stage;
use rustix::io::Errno;

use super::Failed;
use crate::error::{Error, Kind, c_library_words};
use crate::explain::name::{list, name_of, text};
use crate::plan::attribute;

impl Failed<'_> {
    pub(super) fn home(&self, step: &ReadHome) -> Error {
        let uid = step.uid;
        let why = if self.errno == Errno::FBIG {
            "64 MiB of lines come before"
        } else {
            "it has more than 4095 bytes"
        };
        Error::formatted(format_args!(
            "process.env: the home of uid {uid} in the container's /etc/passwd: {why}: set HOME"
        ))
    }

    pub(super) fn user(&self, step: &SetUser) -> Error {
        let (SetUser { uid, gid }, cause, hint) = (step, &self.cause, self.unmapped_hint());
        Error::formatted(format_args!("process.user: become {uid}:{gid}: {cause}{hint}"))
    }

    pub(super) fn groups(&self) -> Error {
        let (cause, hint) = (&self.cause, self.unmapped_hint());
        Error::formatted(format_args!("process.user.additionalGids: {cause}{hint}"))
    }

    fn unmapped_hint(&self) -> &'static str {
        self.hint(Errno::INVAL, ": the id is not mapped in the user namespace")
    }

    /// `hint` if this is the errno.
    fn hint(&self, errno: Errno, hint: &'static str) -> &'static str {
        if self.errno == errno { hint } else { "" }
    }

    pub(super) fn join_time_namespace(&self) -> Error {
        let hint = self.hint(Errno::PERM, ": it must belong to the container's own user namespace");
        Error::formatted(format_args!("linux.namespaces: time: join: {}{hint}", self.cause))
    }

    pub(super) fn make_time_namespace(&self) -> Error {
        let hint = self.hint(Errno::INVAL, ": the kernel has no time namespaces (Linux 5.6, CONFIG_TIME_NS)");
        let error = Error::formatted(format_args!("linux.namespaces: time: {}{hint}", self.cause));
        if self.errno == Errno::INVAL { error.or_kind(Kind::Unsupported) } else { error }
    }

    pub(super) fn time_offsets(&self, step: &WriteTimeOffsets<'_>) -> Error {
        let (offsets, cause) = (text(step.offsets), &self.cause);
        let hint = self.hint(Errno::RANGE, ": a clock would be negative, or beyond 146 years");
        Error::formatted(format_args!("linux.timeOffsets: write {:?}: {cause}{hint}", offsets.trim_end()))
    }

    pub(super) fn scheduler(&self, step: &SetScheduler) -> Error {
        let (policy, cause) = (name_of(step.policy, &attribute::POLICIES), &self.cause);
        let hint = match self.errno {
            Errno::PERM => ": it needs CAP_SYS_NICE, or RLIMIT_NICE and RLIMIT_RTPRIO that allow it",
            Errno::BUSY => ": there is not enough CPU time left for SCHED_DEADLINE",
            _ => "",
        };
        Error::formatted(format_args!("process.scheduler: {policy}: {cause}{hint}"))
    }

    pub(super) fn io_priority(&self) -> Error {
        let hint = self.hint(Errno::PERM, ": the class needs CAP_SYS_NICE or CAP_SYS_ADMIN");
        Error::formatted(format_args!("process.ioPriority: {}{hint}", self.cause))
    }

    pub(super) fn memory_policy(&self, step: &SetMemoryPolicy<'_>) -> Error {
        let (nodes, cause) = (attribute::nodes_of(step.nodes), &self.cause);
        let nodes = list(nodes.iter().map(usize::to_string));
        let hint = match self.errno {
            Errno::NOSYS => ": the kernel knows of no memory nodes (CONFIG_NUMA)",
            Errno::INVAL => ": no such node with memory, or this kernel does not know the mode or flag",
            _ => "",
        };
        Error::formatted(format_args!("linux.memoryPolicy: nodes {nodes}: {cause}{hint}"))
    }

    pub(super) fn exec_label(&self, step: &SetExecLabel<'_>) -> Error {
        let (label, cause) = (text(step.label), &self.cause);
        let (field, module) = match step.module {
            SecurityModule::AppArmor => ("process.apparmorProfile", "AppArmor"),
            SecurityModule::SeLinux => ("process.selinuxLabel", "SELinux"),
        };
        let what = match (self.stage, self.errno) {
            (Stage::Verify, _) => {
                format!("it did not take effect ({cause}): something covers the container's /proc")
            }
            (Stage::Target, Errno::NOENT) => {
                format!("{module} is not enabled in this kernel: leave it out")
            }
            (Stage::Call, Errno::INVAL) => {
                format!(
                    "{module} is not enabled in this kernel, or takes no such label: leave it out ({cause})"
                )
            }
            (Stage::Call, Errno::NOENT) => "no such profile is loaded".to_string(),
            (Stage::Call, Errno::NAMETOOLONG) => {
                "longer than the 4096 bytes that the kernel takes".to_string()
            }
            _ => cause.to_string(),
        };
        let kind = match (self.stage, self.errno) {
            (Stage::Target, Errno::NOENT) => Kind::Unsupported,
            (Stage::Call, Errno::NOENT | Errno::NAMETOOLONG) => Kind::Invalid,
            _ => Kind::Host,
        };
        Error::formatted(format_args!("{field}: {label:?}: {what}")).or_kind(kind)
    }
}

/// The kind of error of a program that cannot be executed, where `missing` is what ENOENT means.
pub(super) fn kind(errno: Errno, missing: Kind) -> Kind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => missing,
        _ => Kind::NotExecutable,
    }
}

/// Callers match these texts, and read the status as a shell's: 127 not found, 126 found but not executable.
pub(super) fn executable(name: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOENT if !name.contains('/') => {
            Error::formatted(format_args!("exec: {name:?}: executable file not found in $PATH"))
                .with_status(127)
        }
        Errno::NOENT | Errno::NOTDIR => Error::formatted(format_args!(
            "exec: {name:?}: {}: it, or the interpreter that it names, is missing",
            c_library_words(errno)
        ))
        .with_status(127),
        Errno::ACCESS | Errno::PERM => {
            Error::formatted(format_args!("exec: {name:?}: permission denied")).with_status(126)
        }
        Errno::ISDIR => Error::formatted(format_args!("exec: {name:?}: is a directory")).with_status(126),
        Errno::NOEXEC => Error::formatted(format_args!(
            "exec: {name:?}: exec format error: not a program for this machine"
        ))
        .with_status(126),
        Errno::TOOBIG => Error::formatted(format_args!(
            "exec: {name:?}: process.args or process.env: too long: the kernel takes 128 KiB a string, and of all together a \
             quarter of RLIMIT_STACK, 6 MiB at most"
        ))
        .with_status(126),
        _ => Error::formatted(format_args!("exec: {name:?}: {}", c_library_words(errno))).with_status(126),
    }
}
