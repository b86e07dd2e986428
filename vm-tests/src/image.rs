//! The initramfs: a cpio archive in the kernel's "newc" format.
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;

const S_IFCHR: u32 = 0o020000;
const S_IFDIR: u32 = 0o040000;
const S_IFREG: u32 = 0o100000;
const S_IFLNK: u32 = 0o120000;

/// An archive under construction. Paths are the guest's and absolute; missing folders above them are made.
#[derive(Default)]
pub struct Image {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    inodes: u32,
}

impl Image {
    /// Adds a folder and those above it; one that is there already is left as it is.
    pub fn folder(&mut self, path: &str) {
        let mut above = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            above = format!("{above}/{name}");
            if self.folders.insert(above.clone()) {
                self.entry(&above, S_IFDIR | 0o755, (0, 0), &[]);
            }
        }
    }

    /// Adds a regular file with the permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parent(path);
        self.entry(path, S_IFREG | mode, (0, 0), content);
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.entry(path, S_IFLNK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device. pid 1 has no stdio unless /dev/console is in the archive.
    pub fn character_device(&mut self, path: &str, device: (u32, u32)) {
        self.parent(path);
        self.entry(path, S_IFCHR | 0o600, device, &[]);
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
        // Inode, mode, uid, gid, links, time, size, device of the archive, device of the node, name's size, checksum.
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
        // The second header starts behind "a" and its padding: 110 + 2 bytes.
        assert_eq!(&bytes[112..118], b"070701");
    }
}
