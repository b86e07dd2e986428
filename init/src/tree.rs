//! Mount trees, as operations name them.

use core::ffi::CStr;

/// Where a detached mount tree comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree<'a> {
    /// The runtime opened it before the clone.
    Descriptor(u32),
    /// Init clones it from a path of the namespace it starts in, with what is mounted below when `recursive`.
    Path {
        /// An absolute path.
        path: &'a CStr,
        /// Whether mounts below come along.
        recursive: bool,
        /// Whether a symbolic link at the end is the source itself.
        nofollow: bool,
    },
    /// Init clones it from the container's own files, as they are by then.
    Inside {
        /// A path in the container, which nothing leads out of.
        path: &'a CStr,
        /// Whether mounts below come along.
        recursive: bool,
        /// Whether a symbolic link at the end is the source itself.
        nofollow: bool,
    },
}
