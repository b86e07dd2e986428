//! The last steps: the working folder, the executable, what stays open, execve(2).

use core::ffi::CStr;

use super::{Fields, operation};
use crate::wire::{Reader, Sink, Strings, Value, Wire};

operation! {
    /// chdir(2). Where the right to enter comes only with the user, `RetryCwd` follows.
    SetCwd<'a> {
        /// The working folder.
        path: &'a CStr,
    }
    /// chdir(2) again if `SetCwd` was refused; then makes sure that the folder lies inside the root.
    RetryCwd<'a> {
        /// The working folder.
        path: &'a CStr,
    }
    /// Looks the user's home up in the container's /etc/passwd, for `Exec`.
    ReadHome {
        /// The user.
        uid: u32,
    }
    /// Looks the executable up as execvp(3) does.
    FindExecutable<'a> {
        /// A path, or a name that is searched for.
        name: &'a CStr,
        /// The value of PATH.
        search: &'a CStr,
    }
    /// rt_sigaction(2): signals that end init, with the status 128 + number, until it executes the program. The kernel keeps
    /// their default from the first process of a pid namespace.
    EndOnSignals {
        /// Each the bit of its number less 1.
        signals: u64,
    }
    /// Descriptors from 3 on survive the exec, all others close. Those that the runtime opened close now.
    KeepDescriptors {
        /// How many survive.
        count: u32,
        /// The index of the one that does not close now.
        listener: u32,
    }
    /// execve(2).
    Exec<'a> {
        /// The program's arguments, its name first.
        arguments: Strings<'a>,
        /// Its environment.
        environment: Strings<'a>,
    }
}
