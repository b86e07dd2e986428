//! Where runtime and init take turns, and what they pass to each other.

use core::ffi::CStr;

use super::{Fields, operation};
use crate::plan::Turn;
use crate::wire::{Numbers, Reader, Sink, Strings, Value, Wire};

operation! {
    /// prctl(PR_SET_PDEATHSIG): init dies with the runtime that made it.
    DieWithRuntime {
        /// From now on, or no longer.
        enabled: bool,
    }
    /// Waits until the runtime has done its part.
    Await {
        /// Which part.
        turn: Turn,
    }
    /// Asks the runtime to clone the next trees: mountinfo lists mounts in the order of their creation, and
    /// these come after others that init has made.
    TakeTrees<'a> {
        /// The indices of the descriptors that they become.
        trees: Numbers<'a>,
    }
    /// Opens a netlink socket in the network namespace and sends it to the runtime, which sets the loopback
    /// up and moves interfaces there.
    SendNetlinkSocket {}
    /// Makes a new file system in init's namespaces and sends it to the runtime, for another process.
    SendFileSystem<'a> {
        /// Its type.
        kind: &'a CStr,
        /// Options without a value.
        flags: Strings<'a>,
        /// Options with one: key, value, key, value.
        parameters: Strings<'a>,
    }
    /// Waits for the network namespace that the runtime makes meanwhile, with its loopback up; then setns(2).
    JoinNetwork {}
    /// Tells the runtime that its hooks may run now; `Await` follows.
    ReportHooks {}
    /// Tells the runtime that everything is in place.
    Ready {}
    /// Waits on a listening socket for `start`; what follows is reported to it.
    AwaitStart {
        /// The socket's index.
        listener: u32,
    }
    /// recv(2) of the byte that init waited for last, and has only peeked at so far. A process that ends with
    /// an unread byte resets the connection: so its sender can tell a program that ran from an init that
    /// ended before.
    TakeWord {}
}
