//! The kinds of error that callers tell apart.

use rustix::io::Errno;

/// What kind of thing went wrong. Callers that handle some errors differently need no error's text.
///
/// | kind | what a caller can do |
/// |---|---|
/// | [`NotFound`](Kind::NotFound), [`Exists`](Kind::Exists), [`Status`](Kind::Status) | look at the container again |
/// | [`Busy`](Kind::Busy), [`Timeout`](Kind::Timeout), [`Exhausted`](Kind::Exhausted) | try again later |
/// | [`Invalid`](Kind::Invalid), [`SourceMissing`](Kind::SourceMissing), [`Limit`](Kind::Limit) | ask for something else |
/// | [`ProgramMissing`](Kind::ProgramMissing), [`InterpreterMissing`](Kind::InterpreterMissing), [`NotExecutable`](Kind::NotExecutable) | exit with [`Error::status`](crate::Error::status), as a shell does |
/// | [`NotPermitted`](Kind::NotPermitted), [`Unsupported`](Kind::Unsupported), [`Cgroup`](Kind::Cgroup) | do without, or say what the host needs |
/// | [`OutOfMemory`](Kind::OutOfMemory), [`Killed`](Kind::Killed), [`Hook`](Kind::Hook), [`Network`](Kind::Network), [`PortTaken`](Kind::PortTaken), [`Mount`](Kind::Mount), [`Host`](Kind::Host) | report it |
///
/// Where two kinds fit, the error has the one that says what to do: a cgroup that the caller has no right to
/// make is [`NotPermitted`](Kind::NotPermitted).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// There is no such container.
    NotFound,
    /// There already is a container with this id.
    Exists,
    /// The configuration, the id or an option is wrong, or asks for something that is unsupported.
    Invalid,
    /// Something on the host that the configuration names is missing: the root file system, the source of a
    /// mount, a namespace.
    SourceMissing,
    /// The container's status does not allow it: it is not running, it has ended, it is paused.
    Status,
    /// Another call has been working on the container for too long.
    Busy,
    /// Something did not answer or end in time: a process that was killed, a cgroup that was to be frozen,
    /// systemd.
    Timeout,
    /// The program is missing in the container: status 127.
    ProgramMissing,
    /// The program is there, but the interpreter that it names (`#!`, or its dynamic loader) is missing:
    /// status 127.
    InterpreterMissing,
    /// The program is there but cannot be executed (no permission, a folder, for another machine, too many
    /// arguments): status 126.
    NotExecutable,
    /// Init was killed before the program ran.
    Killed,
    /// The container's own memory limit killed it.
    OutOfMemory,
    /// The host is out of memory, processes, descriptors or space at the moment.
    Exhausted,
    /// A right of the caller's is missing: capabilities, ownership, ranges of ids; or an outer sandbox
    /// forbids it.
    NotPermitted,
    /// Something is missing in the kernel or on the host: a system call, a file system, a module, a helper
    /// program.
    Unsupported,
    /// There can be no cgroup: no hierarchy is mounted, it has other processes, systemd refuses it.
    Cgroup,
    /// A limit cannot be set: its controller or its file is missing, or the kernel refuses the value.
    Limit,
    /// The kernel refused a mount.
    Mount,
    /// A hook could not be run, failed, or took longer than its timeout.
    Hook,
    /// The network namespace, or an interface in it, cannot be set up.
    Network,
    /// Somebody else has a port that is to be published.
    PortTaken,
    /// The kernel or the host refused another step: see [`Error::os_error`](crate::Error::os_error).
    Host,
}

impl Kind {
    /// What an errno means wherever it comes from.
    pub(super) fn of_errno(errno: Errno) -> Kind {
        match errno {
            Errno::PERM | Errno::ACCESS | Errno::ROFS => Kind::NotPermitted,
            Errno::NOSYS | Errno::OPNOTSUPP => Kind::Unsupported,
            Errno::NOMEM | Errno::NFILE | Errno::MFILE | Errno::NOSPC | Errno::DQUOT | Errno::USERS => {
                Kind::Exhausted
            }
            Errno::TIMEDOUT => Kind::Timeout,
            _ => Kind::Host,
        }
    }

    /// Whether a step failed for a reason that the container's end would explain as well.
    pub(crate) fn is_of_step(self) -> bool {
        use Kind::{
            Cgroup, Exhausted, Host, Limit, Mount, Network, NotPermitted, SourceMissing, Timeout, Unsupported,
        };
        matches!(
            self,
            Host | NotPermitted
                | Unsupported
                | Exhausted
                | Timeout
                | Cgroup
                | Limit
                | Mount
                | Network
                | SourceMissing
        )
    }
}
