//! What hides things of layers below: in tars by names, on disk as overlayfs has it (`Documentation/filesystems/overlayfs.rst`).

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, XattrFlags};

use super::tree::Place;
use crate::error::{Context, Result};

/// What the name of an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteout<'a> {
    /// Nothing below this folder's name in other layers is seen.
    Opaque,
    /// This name is not there any more.
    Of(&'a [u8]),
    /// A file of aufs' own, which is none of the layer's.
    Foreign,
}

/// OCI image specification, layer.md, "Whiteouts".
pub fn parse(name: &[u8]) -> Option<Whiteout<'_>> {
    match name.strip_prefix(b".wh.")? {
        b".wh..opq" => Some(Whiteout::Opaque),
        rest if rest.starts_with(b".wh.") => Some(Whiteout::Foreign),
        b"" | b"." | b".." => Some(Whiteout::Foreign),
        rest => Some(Whiteout::Of(rest)),
    }
}

/// Which attributes overlayfs reads: as an ordinary user those that need no rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.overlay.`
    Trusted,
    /// `user.overlay.`
    User,
}

impl Marks {
    fn opaque(self) -> &'static str {
        match self {
            Marks::Trusted => "trusted.overlay.opaque",
            Marks::User => "user.overlay.opaque",
        }
    }

    /// Makes a folder hide what lies below it.
    pub fn make_opaque(self, folder: impl AsFd) -> Result<()> {
        rustix::fs::fsetxattr(folder, self.opaque(), b"y", XattrFlags::empty()).context(|| self.opaque())
    }
}

/// Whether an attribute is overlayfs' own. One that has come with a tar tells of the layers of whoever packed it, and would redirect
/// names to places that nobody has looked at.
pub fn is_mark(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Hides a name of layers below.
pub fn hide(place: &Place<'_>) -> Result<()> {
    let device = FileType::CharacterDevice;
    rustix::fs::mknodat(&*place.folder, place.name, device, Mode::empty(), 0).context(|| "whiteout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_hidden() {
        assert_eq!(parse(b"file"), None);
        assert_eq!(parse(b".wh.file"), Some(Whiteout::Of(b"file")));
        assert_eq!(parse(b".wh..wh..opq"), Some(Whiteout::Opaque));
        assert_eq!(parse(b".wh..wh.plnk"), Some(Whiteout::Foreign));
        assert_eq!(parse(b".wh..."), Some(Whiteout::Foreign));
        assert_eq!(parse(b".wh."), Some(Whiteout::Foreign));
        assert!(is_mark(b"trusted.overlay.redirect") && !is_mark(b"user.mime_type"));
    }
}
