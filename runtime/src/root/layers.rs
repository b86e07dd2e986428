//! Layers as a value, and their options as the kernel wants them.

use std::ffi::CString;
use std::fmt;
use std::fmt::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

/// The most lower layers that overlayfs takes (`OVL_MAX_STACK`), those with data alone included.
pub const LAYERS_MAX: usize = 500;

/// A folder that is a layer: by its path, or by a descriptor of it (with `O_PATH` or without).
///
/// A descriptor of a detached mount, as of one whose owners are mapped, is a layer as well; before Linux 6.15
/// it is used up.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Absolute; empty for a descriptor.
    pub(super) path: PathBuf,
    pub(super) folder: Option<Arc<OwnedFd>>,
}

impl From<&Path> for Layer {
    fn from(path: &Path) -> Self {
        // Where there is no working folder the kernel says so when the path is opened.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Layer { path, folder: None }
    }
}

impl From<PathBuf> for Layer {
    fn from(path: PathBuf) -> Self {
        Layer::from(&*path)
    }
}

impl From<&str> for Layer {
    fn from(path: &str) -> Self {
        Layer::from(Path::new(path))
    }
}

impl From<OwnedFd> for Layer {
    fn from(folder: OwnedFd) -> Self {
        Layer { path: PathBuf::new(), folder: Some(Arc::new(folder)) }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "descriptor {}", folder.as_raw_fd()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

/// What an overlay is made of. Names may have any characters, and be as long as paths can be.
///
/// See `Documentation/filesystems/overlayfs.rst`. An overlay is one user's of its upper layer at a time: the
/// kernel does not refuse a second one, it only warns.
///
/// ```
/// use pillbox::root::Layers;
///
/// let layers = Layers::new(["/store/tools", "/store/base"]).upper("/run/web/upper", "/run/web/work").volatile();
/// assert_eq!(
///     layers.to_string(),
///     "an overlay of /store/tools, /store/base; upper /run/web/upper, work /run/web/work; volatile"
/// );
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Layers {
    pub(super) lower: Vec<Layer>,
    pub(super) data: Vec<Layer>,
    pub(super) changes: Option<Box<Changes>>,
    pub(super) volatile: bool,
    user_xattr: bool,
    metacopy: Option<bool>,
    redirect_dir: Option<bool>,
}

/// Where changes go.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    pub(super) upper: Layer,
    pub(super) work: Layer,
}

impl Layers {
    /// Read-only layers, the topmost one first: at least one, at most [`LAYERS_MAX`]. Without an upper layer
    /// nothing can be written.
    pub fn new<L: Into<Layer>>(lower: impl IntoIterator<Item = L>) -> Layers {
        Layers {
            lower: lower.into_iter().map(Into::into).collect(),
            data: Vec::new(),
            changes: None,
            volatile: false,
            user_xattr: false,
            metacopy: None,
            redirect_dir: None,
        }
    }

    /// The layer that gets what is changed, and an empty folder of overlayfs's own on the same mount. The
    /// root has the owner and the mode of the upper layer.
    pub fn upper(self, upper: impl Into<Layer>, work: impl Into<Layer>) -> Layers {
        let changes = Some(Box::new(Changes { upper: upper.into(), work: work.into() }));
        Layers { changes, ..self }
    }

    /// Lower layers whose files are only seen by way of others, which name them (since Linux 6.5).
    pub fn data<L: Into<Layer>>(self, data: impl IntoIterator<Item = L>) -> Layers {
        Layers { data: data.into_iter().map(Into::into).collect(), ..self }
    }

    /// Nothing is ever synced to disk, which makes the end of a container cheap. After the machine has
    /// stopped in between the upper layer may be broken. The kernel marks it in its work folder until then:
    /// an overlay that is volatile once more takes the mark away, another one is refused.
    pub fn volatile(self) -> Layers {
        Layers { volatile: true, ..self }
    }

    /// Whiteouts and the like are kept in `user.` attributes instead of `trusted.` ones, which takes no
    /// rights. In a user namespace it is always so.
    pub fn user_xattr(self) -> Layers {
        Layers { user_xattr: true, ..self }
    }

    /// Whether changing a file's owner or mode copies up no more than that; without it the kernel's default
    /// counts.
    pub fn metacopy(self, metacopy: bool) -> Layers {
        Layers { metacopy: Some(metacopy), ..self }
    }

    /// Whether a folder of a lower layer can be renamed; without it the kernel's default counts.
    pub fn redirect_dir(self, redirect_dir: bool) -> Layers {
        Layers { redirect_dir: Some(redirect_dir), ..self }
    }

    /// # Errors
    /// What can be said to be wrong without looking.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::of(Kind::Invalid, text));
        let count = self.lower.len() + self.data.len();
        if self.lower.is_empty() {
            invalid("layers.lower: missing: an overlay needs a lower layer".into())
        } else if count > LAYERS_MAX {
            invalid(format!("layers.lower: {count} layers: overlayfs takes {LAYERS_MAX} at most"))
        } else if self.volatile && self.changes.is_none() {
            invalid("layers.volatile: there is no upper layer that could be".into())
        } else {
            Ok(())
        }
    }

    /// The one layer of an overlay that would be nothing else, which overlayfs refuses.
    pub(super) fn only(&self) -> Option<&Layer> {
        match &*self.lower {
            [only] if self.data.is_empty() && self.changes.is_none() => Some(only),
            _ => None,
        }
    }

    /// Every layer with the option that adds it, and its name in errors.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static std::ffi::CStr, String, &Layer)> {
        let numbered = |option, field: &'static str, layers: &'_ [Layer]| {
            let fields = (0..layers.len()).map(move |index| (option, format!("layers.{field}[{index}]")));
            fields.collect::<Vec<_>>()
        };
        let names = numbered(c"lowerdir+", "lower", &self.lower)
            .into_iter()
            .chain(numbered(c"datadir+", "data", &self.data))
            .chain([(c"upperdir", "layers.upper".into()), (c"workdir", "layers.work".into())]);
        let changes = self.changes.iter().flat_map(|changes| [&changes.upper, &changes.work]);
        let layers = self.lower.iter().chain(&self.data).chain(changes);
        names.zip(layers).map(|((option, field), layer)| (option, format!("{field}: {layer}"), layer))
    }

    /// The other options; those without a value are flags.
    pub(super) fn options(&self, in_user_namespace: bool) -> Vec<(&'static str, &'static str)> {
        let on = |on: bool| if on { "on" } else { "off" };
        let mut options = Vec::new();
        options.extend(self.volatile.then_some(("volatile", "")));
        options.extend((self.user_xattr || in_user_namespace).then_some(("userxattr", "")));
        options.extend(self.metacopy.map(|metacopy| ("metacopy", on(metacopy))));
        options.extend(self.redirect_dir.map(|redirect| ("redirect_dir", on(redirect))));
        options
    }

    /// All of it for mount(2), which takes a page. Layers have names in the current folder, those of
    /// [`name`]: nothing in them has to be escaped, and the longest string has a quarter of the room left.
    pub(super) fn one_string(&self, in_user_namespace: bool) -> CString {
        let mut text = "lowerdir=".to_string();
        for index in 0..self.lower.len() + self.data.len() {
            let separator = match index {
                0 => "",
                index if index < self.lower.len() => ":",
                _ => "::",
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{}", name(index));
        }
        if self.changes.is_some() {
            let upper = self.lower.len() + self.data.len();
            let _ = write!(text, ",upperdir={},workdir={}", name(upper), name(upper + 1));
        }
        for (option, value) in self.options(in_user_namespace) {
            let _ = write!(text, ",{option}{}{value}", if value.is_empty() { "" } else { "=" });
        }
        CString::new(text).unwrap_or_default()
    }
}

/// What the layer with this number, as in [`Layers::each`], is called in one string.
pub(super) fn name(index: usize) -> String {
    index.to_string()
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |layers: &[Layer]| layers.iter().map(Layer::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "an overlay of {}", list(&self.lower))?;
        if !self.data.is_empty() {
            write!(f, "; data {}", list(&self.data))?;
        }
        match &self.changes {
            Some(changes) => write!(f, "; upper {}, work {}", changes.upper, changes.work)?,
            None => f.write_str("; read-only")?,
        }
        for (option, value) in self.options(false) {
            write!(f, "; {option}{}{value}", if value.is_empty() { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(layers: Layers) -> String {
        layers.one_string(false).into_string().expect("text")
    }

    #[test]
    fn one_string_has_the_kernels_form() {
        let two = || Layers::new(["/a:b,c\\d", "/base"]);
        assert_eq!(text(two()), "lowerdir=0:1");
        assert_eq!(text(two().upper("/u", "/w")), "lowerdir=0:1,upperdir=2,workdir=3");
        assert_eq!(text(two().data(["/d", "/e"])), "lowerdir=0:1::2::3");
        assert_eq!(
            text(
                Layers::new(["/a"])
                    .data(["/d"])
                    .upper("/u", "/w")
                    .volatile()
                    .metacopy(true)
                    .redirect_dir(false)
            ),
            "lowerdir=0::1,upperdir=2,workdir=3,volatile,metacopy=on,redirect_dir=off"
        );
        assert_eq!(two().user_xattr().one_string(false), two().one_string(true));
        assert_eq!(text(two().user_xattr()), "lowerdir=0:1,userxattr");
    }

    #[test]
    fn the_most_layers_fit_into_a_page() {
        let long = "x".repeat(255);
        let layers = Layers::new((0..LAYERS_MAX).map(|index| PathBuf::from(format!("/{long}/{index}"))));
        let layers = layers.upper("/u", "/w").volatile().user_xattr().metacopy(false).redirect_dir(false);
        layers.check().expect("not too many");
        assert!(text(layers).len() < 4096 * 3 / 4);
    }

    #[test]
    fn each_layer_has_its_option_and_its_name() {
        let layers = Layers::new(["/a", "/b"]).data(["/d"]).upper("/u", "/w");
        let each: Vec<_> = layers.each().map(|(option, field, _)| (option, field)).collect();
        let expected = [
            (c"lowerdir+", "layers.lower[0]: /a"),
            (c"lowerdir+", "layers.lower[1]: /b"),
            (c"datadir+", "layers.data[0]: /d"),
            (c"upperdir", "layers.upper: /u"),
            (c"workdir", "layers.work: /w"),
        ];
        assert_eq!(each, expected.map(|(option, field)| (option, field.to_string())));
    }

    #[test]
    fn what_overlayfs_would_refuse_is_said_before() {
        let refused = |layers: Layers| layers.check().expect_err("refused").to_string();
        let none: [&str; 0] = [];
        assert_eq!(refused(Layers::new(none)), "layers.lower: missing: an overlay needs a lower layer");
        let many = Layers::new(["/l"; 300]).data(["/d"; 201]);
        assert_eq!(refused(many), "layers.lower: 501 layers: overlayfs takes 500 at most");
        let volatile = Layers::new(["/l"]).volatile();
        assert_eq!(refused(volatile), "layers.volatile: there is no upper layer that could be");
    }
}
