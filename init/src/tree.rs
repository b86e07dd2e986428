//! Mount trees, as operations name them.

use core::ffi::CStr;

/// Where a detached mount tree comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree<'a> {
    /// The runtime opened it before the clone.
    Descriptor(u32),
    /// Init clones it from a path in the namespace where it starts.
    Path {
        /// An absolute path.
        path: &'a CStr,
        /// Whether the mounts below it are included.
        recursive: bool,
        /// Whether a symbolic link at the end of the path is itself the source.
        nofollow: bool,
    },
    /// Init clones it from the container's own files, as they are by then.
    Inside {
        /// A path in the container; nothing on it leads outside.
        path: &'a CStr,
        /// Whether the mounts below it are included.
        recursive: bool,
        /// Whether a symbolic link at the end of the path is itself the source.
        nofollow: bool,
    },
}
