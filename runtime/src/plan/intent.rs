//! What the caller wants of a container beyond its config.json.

use crate::root::RootSource;

/// How the container is wanted, beyond its config.json.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// A link that leads to it where the path does not: it was opened before something else was mounted there.
    pub root_source: Option<String>,
    /// Where the root comes from, if not from either of those.
    pub root: RootSource,
    /// The working folder of a hook that is not the container's program; empty for the runtime's own.
    pub hooks_begin_in: String,
    /// Where the container's cgroup lies, for a cgroup mount that the kernel refuses.
    pub cgroup: Option<String>,
    /// Where the whole hierarchy lies: what a container without a cgroup namespace sees.
    pub cgroup_mount: Option<String>,
    /// Whether init waits for `start`; `run` does not.
    pub wait_for_start: bool,
    /// How many descriptors from 3 on the program gets.
    pub preserve_fds: u32,
    /// Texts of the symbolic links that mounts with `copy-symlink` have as their sources, with the mounts' indexes.
    pub source_links: Vec<(usize, String)>,
    /// Whether the container that is entered is only a chroot, so that its namespaces do not lead to its root.
    pub chrooted: bool,
    /// `--no-pivot`: chroot instead of pivot_root.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// What of the host the container sees instead of a root file system of its own; changes go to memory and vanish.
    pub scratch_over: Vec<Layer>,
    /// More variables for the environment (`LISTEN_FDS`).
    pub environment: Vec<String>,
    /// A folder of the host's with the container's socket for sd_notify(3), and where it belongs inside.
    pub notify: Option<[String; 2]>,
}

/// A part of the host's file system, seen from a throwaway container at the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// A folder through an overlay, without what is mounted below.
    Overlay(String),
    /// A folder, with what is mounted below, or a file: as it is, but read-only.
    ReadOnly(String),
    /// A folder, made anew and empty: its path and its mode.
    Folder(String, u32),
    /// A symbolic link, made anew: its path and its text.
    Link(String, String),
}
