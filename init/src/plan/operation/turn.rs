//! Where runtime and init take turns, and what they hand each other.

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
    /// Has the runtime clone the next trees: mountinfo lists mounts in the order in which they came to be, and those come
    /// after others that init has made.
    TakeTrees<'a> {
        /// The indices of the descriptors that they become.
        trees: Numbers<'a>,
    }
    /// Opens a netlink socket in the network namespace and hands it to the runtime, which sets the loopback up and moves
    /// interfaces there.
    SendNetlinkSocket {}
    /// A new file system, for another process: made where this one stands.
    SendFileSystem<'a> {
        /// Its type.
        kind: &'a CStr,
        /// Options without a value.
        flags: Strings<'a>,
        /// Options with one: key, value, key, value.
        parameters: Strings<'a>,
    }
    /// setns(2) into the network namespace that the runtime has made meanwhile, with its loopback up; waits for it.
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
    /// recv(2) of the word that init has waited for last, at which it only looked so far. Who ends with a word unread
    /// resets the connection: so whoever gave it tells a program that ran from an init that ended before.
    TakeWord {}
}
