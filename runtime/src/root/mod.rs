//! Where a container's root comes from: a path, a mount that is there already, or layers of which an overlay
//! is made. Overlays are made here and attached nowhere: what stands above gets a descriptor.
//!
//! May use `sys` and every room below it.

mod layers;
mod meanwhile;
mod overlay;
#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::process::{Gid, Uid};

pub use layers::{LAYERS_MAX, Layer, Layers};

use crate::error::{Context, Result};

/// Where a container's root comes from: by default `root.path` of the config.json.
///
/// With any other source that field is not looked at, nothing is mounted on the host, and `rootfs` in what is
/// known of the container is empty. The container needs a new mount namespace. `root.readonly` counts as
/// ever. Mount points and devices that are missing are made in the root: one that cannot be written to (an
/// overlay without an upper layer) must have them.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/library/example.rs"));
/// use std::sync::Arc;
/// use pillbox::root::{Layers, RootSource};
/// use pillbox::{Bundle, Container, CreateOptions, Root};
///
/// # fn main() -> pillbox::Result<()> {
/// # example::prepare();
/// let layers = Layers::new(["/srv/store/tools", "/srv/store/base"]).upper("/run/hello/upper", "/run/hello/work");
/// let mount = Arc::new(layers.mount()?);
/// let options = CreateOptions::new().root(RootSource::mount(mount.clone()));
/// let bundle = Bundle::read("/srv/hello".as_ref(), None)?;
/// let container = Container::create(&Root::from_environment(), "hello", &bundle, options)?;
/// container.start()?;
/// let status = container.wait()?;
/// // The container's end did not wait for its changes to be written to the disk: this does.
/// drop(mount);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct RootSource(Option<Arc<dyn Source>>);

impl RootSource {
    /// A mount: a detached one, as open_tree(2) and fsmount(2) make them, or a folder, which is taken with
    /// what is mounted below it. As long as the descriptor is open the file system stays mounted, so that
    /// closing it, not the container's end, waits until an overlay is written to its disk. Before Linux 6.15
    /// a detached mount serves one container.
    ///
    /// It takes root's rights.
    pub fn mount(mount: impl Into<Arc<OwnedFd>>) -> RootSource {
        RootSource(Some(Arc::new(Mount(mount.into()))))
    }

    /// An overlay, made while the container is created. For an ordinary user it is made in the container's
    /// user namespace, which has to be a new one, without other namespaces that are joined. An open
    /// `/proc/PID/root` of a container that waits for its start keeps the overlay mounted as the descriptor
    /// of [`Self::mount`] does.
    pub fn layers(layers: Layers) -> RootSource {
        RootSource(Some(Arc::new(layers)))
    }

    /// The overlay of [`Self::layers`], which a thread of its own begins to make now, if there is another processor: the caller prepares
    /// the container meanwhile. It takes root's rights. If the value is dropped unused the overlay is unmounted.
    pub fn layers_meanwhile(layers: Layers) -> RootSource {
        RootSource(Some(Arc::new(meanwhile::Meanwhile::begin(layers))))
    }

    /// Whether it is `root.path`.
    pub(crate) fn is_path(&self) -> bool {
        self.0.is_none()
    }

    /// In a few words, of however many layers it is.
    pub(crate) fn name(&self) -> &'static str {
        self.0.as_ref().map_or("root.path", |source| source.name())
    }

    /// # Errors
    /// What can be said to be wrong without looking.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |source| source.check())
    }

    /// The mount, to be attached once; none for a path.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn open(&self) -> Result<Option<OwnedFd>> {
        self.0.as_ref().map(|source| source.open()).transpose()
    }

    /// Whether it can be made in a container's user namespace.
    pub(crate) fn can_be_made_inside(&self) -> bool {
        self.0.as_ref().is_some_and(|source| source.can_be_made_inside())
    }

    /// The same as [`Self::open`] in the user and mount namespaces of `process`, with these ids there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn open_inside(&self, process: BorrowedFd<'_>, ids: (Uid, Gid)) -> Result<Option<OwnedFd>> {
        self.0.as_ref().map(|source| source.open_inside(process, ids)).transpose()
    }
}

impl From<Layers> for RootSource {
    fn from(layers: Layers) -> Self {
        RootSource::layers(layers)
    }
}

/// Whether both are the same, not only alike.
impl PartialEq for RootSource {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// In words, for `explain`.
impl fmt::Display for RootSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str(self.name()),
            Some(source) => source.fmt(f),
        }
    }
}

/// A root that no path leads to. A program that never names one, as the command, does not carry the code for
/// it.
trait Source: fmt::Debug + fmt::Display + Send + Sync {
    fn name(&self) -> &'static str;
    fn check(&self) -> Result<()>;
    fn open(&self) -> Result<OwnedFd>;
    fn can_be_made_inside(&self) -> bool;
    fn open_inside(&self, process: BorrowedFd<'_>, ids: (Uid, Gid)) -> Result<OwnedFd>;
}

/// A mount of the caller's.
#[derive(Debug)]
struct Mount(Arc<OwnedFd>);

impl Source for Mount {
    fn name(&self) -> &'static str {
        "a mount of the caller's"
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Another tree of the same file system: the caller's stays as it is.
    fn open(&self) -> Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        match rustix::mount::open_tree(&*self.0, c"", flags) {
            // A detached one cannot be cloned before Linux 6.15.
            Err(Errno::INVAL) => rustix::io::fcntl_dupfd_cloexec(&*self.0, 3),
            tree => tree,
        }
        .context(|| "root: the mount")
    }

    fn can_be_made_inside(&self) -> bool {
        false
    }

    fn open_inside(&self, _: BorrowedFd<'_>, _: (Uid, Gid)) -> Result<OwnedFd> {
        Err(Errno::PERM).context(|| "root: the mount")
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Source for Layers {
    fn name(&self) -> &'static str {
        "an overlay of layers"
    }

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn open(&self) -> Result<OwnedFd> {
        self.mount()
    }

    fn can_be_made_inside(&self) -> bool {
        true
    }

    fn open_inside(&self, process: BorrowedFd<'_>, ids: (Uid, Gid)) -> Result<OwnedFd> {
        self.mount_inside(process, ids)
    }
}
