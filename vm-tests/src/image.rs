//! The initramfs: a cpio archive in the kernel's "newc" format.
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const S_IFCHR: u32 = 0o020000;
const S_IFDIR: u32 = 0o040000;
const S_IFREG: u32 = 0o100000;
const S_IFLNK: u32 = 0o120000;

/// An archive under construction. Paths are absolute paths in the guest; missing folders above them are made.
#[derive(Default)]
pub struct Image {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    inodes: u32,
    merged: bool,
}

/// Folders that on a merged system are below /usr, with links to them in the root.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

impl Image {
    /// An archive whose /bin, /lib, /lib64 and /sbin are links to those in /usr; what is added there goes to
    /// /usr.
    pub fn merged() -> Image {
        let mut image = Image::default();
        for name in MERGED {
            image.folder(&format!("/usr/{name}"));
            image.symlink(&format!("/{name}"), &format!("usr/{name}"));
        }
        image.merged = true;
        image
    }

    /// The real place of a path.
    fn place(&self, path: &str) -> String {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let below_usr = if self.merged && MERGED.contains(&first) { "/usr" } else { "" };
        format!("{below_usr}{path}")
    }

    /// Adds a folder and those above it, unless they exist already.
    pub fn folder(&mut self, path: &str) {
        let mut above = String::new();
        for name in self.place(path).split('/').filter(|name| !name.is_empty()) {
            above = format!("{above}/{name}");
            if self.folders.insert(above.clone()) {
                self.entry(&above, S_IFDIR | 0o755, (0, 0), &[]);
            }
        }
    }

    /// Adds a regular file with the permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parent(path);
        self.entry(&self.place(path), S_IFREG | mode, (0, 0), content);
    }

    /// Adds everything in `tree` on this machine, with the files' modes but without their owners, except
    /// paths for which `is_left_out` is true.
    pub fn tree(&mut self, tree: &Path, is_left_out: &dyn Fn(&str) -> bool) -> Result<(), String> {
        self.below(tree, "", is_left_out).map_err(|e| format!("{}: {e}", tree.display()))
    }

    fn below(&mut self, tree: &Path, place: &str, is_left_out: &dyn Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(tree.join(place.trim_start_matches('/')))? {
            let entry = entry?;
            let place = format!("{place}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if is_left_out(&place) {
                continue;
            } else if kind.is_dir() {
                self.folder(&place);
                self.below(tree, &place, is_left_out)?;
            } else if kind.is_symlink() {
                self.symlink(&place, &fs::read_link(entry.path())?.to_string_lossy());
            } else if kind.is_file() {
                self.file(&place, entry.metadata()?.mode() & 0o7777, &fs::read(entry.path())?);
            }
        }
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.entry(&self.place(path), S_IFLNK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device. Without /dev/console in the archive, pid 1 has no stdio.
    pub fn character_device(&mut self, path: &str, device: (u32, u32)) {
        self.parent(path);
        self.entry(&self.place(path), S_IFCHR | 0o600, device, &[]);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("/TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.inodes += 1;
        // Inode, mode, uid, gid, links, time, size, device of the archive, device of the node, size of the
        // name, checksum.
        let fields = [
            self.inodes,
            mode,
            0,
            0,
            1,
            0,
            length(content),
            0,
            0,
            major,
            minor,
            length(name.as_bytes()) + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("newc holds no file of 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn archive_has_parents_once_padding_and_a_trailer() {
        let mut image = Image::default();
        image.file("/a/b/one", 0o644, b"12345");
        image.symlink("/a/b/two", "one");
        let bytes = image.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(text.matches("070701").count(), 5);
        assert!(text.contains("a/b/one\0") && text.ends_with("TRAILER!!!\0\0\0\0"), "{text:?}");
        // The second header comes after "a" and its padding: 110 + 2 bytes.
        assert_eq!(&bytes[112..118], b"070701");
    }

    #[test]
    fn a_merged_image_keeps_everything_below_usr() {
        let mut image = Image::merged();
        image.file("/lib/systemd/system/one", 0o644, b"");
        image.file("/library/two", 0o644, b"");
        let bytes = image.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("0usr/lib/systemd/system/one\0"), "{text:?}");
        assert!(text.contains("0library/two\0"), "{text:?}");
        // The folder, the link, and the link's target.
        assert_eq!(text.matches("lib64\0").count(), 3, "{text:?}");
    }
}
