//! The last steps: the working folder, the executable, what stays open, execve(2).

use core::ffi::CStr;

use rustix::process::Uid;

use super::{Fields, operation};
use crate::wire::{Reader, Sink, Strings, Value, Wire};

operation! {
    /// chdir(2). `RetryCwd` tries again in case only the program's user may enter the folder.
    SetCwd<'a> {
        /// The working folder.
        path: &'a CStr,
    }
    /// chdir(2) again if `SetCwd` was refused; then checks that the folder lies inside the root.
    RetryCwd<'a> {
        /// The working folder.
        path: &'a CStr,
    }
    /// Looks the user's home up in the container's /etc/passwd, for `Exec`.
    ReadHome {
        /// The user.
        uid: Uid,
    }
    /// Looks the executable up as execvp(3) does.
    FindExecutable<'a> {
        /// A path, or a name that is searched for.
        name: &'a CStr,
        /// The value of PATH.
        search: &'a CStr,
    }
    /// rt_sigaction(2): until init executes the program these signals end it, with the status 128 + number.
    /// By default the first process of a pid namespace ignores them.
    EndOnSignals {
        /// Signal n is bit n - 1.
        signals: u64,
    }
    /// `count` descriptors from 3 on survive the exec, and all others close. Those that the runtime opened
    /// for the plan are closed now.
    KeepDescriptors {
        /// How many survive.
        count: u32,
        /// The index of the one that is not closed now.
        listener: u32,
    }
    /// clone(2): the child goes on with the plan. Init stays the first process, passes signals on to it,
    /// collects orphans, and ends as it does.
    StandBeforeProgram {}
    /// execve(2).
    Exec<'a> {
        /// The program's arguments, its name first.
        arguments: Strings<'a>,
        /// Its environment.
        environment: Strings<'a>,
    }
}
