//! Namespaces that init makes or enters itself, and the names in one.

use core::ffi::CStr;

use super::{Fields, operation};
use crate::wire::{Reader, Sink, Value, Wire};

operation! {
    /// unshare(2).
    Unshare {
        /// The kernel's CLONE_NEW* bits.
        flags: u32,
    }
    /// setns(2). Only for namespaces that a process cannot enter while it shares its memory with the one that
    /// it was cloned from.
    JoinNamespace {
        /// The index of the namespace, which the runtime opened.
        namespace: u32,
        /// Its CLONE_NEW* bit.
        flag: u32,
    }
    /// Writes /proc/self/timens_offsets.
    WriteTimeOffsets<'a> {
        /// Lines of clock, seconds, nanoseconds.
        offsets: &'a CStr,
    }
    /// setns(2) into the time namespace that `Unshare` made for children.
    EnterTimeNamespace {}
    /// sethostname(2).
    SetHostname<'a> {
        /// The name.
        name: &'a CStr,
    }
    /// setdomainname(2).
    SetDomainname<'a> {
        /// The name.
        name: &'a CStr,
    }
}
