//! Hostile and ordinary tars, unpacked into real folders.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::tar::tests::Builder;
use super::{Ownership, Unpacked, Unpacking, unpack};
use crate::digest::Digest;
use crate::stop::Stop;

/// A folder for the layer, beside one that must stay as it is.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        let folder = std::env::temp_dir().join(format!("box-unpack-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("layer")).unwrap();
        fs::create_dir(folder.join("decoy")).unwrap();
        fs::write(folder.join("decoy/marker"), "untouched").unwrap();
        Room(folder)
    }

    fn layer(&self) -> PathBuf {
        self.0.join("layer")
    }

    fn unpack(&self, tar: &[u8]) -> crate::Result<Unpacked> {
        unpack(tar, &self.layer(), Unpacking::new(ownership()), &Stop::default())
    }

    fn refused(&self, tar: Builder) -> String {
        self.unpack(&tar.end()).expect_err("refused").to_string()
    }

    fn unpacked(&self, tar: Builder) -> Unpacked {
        self.unpack(&tar.end()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.layer().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let names: Vec<_> =
            fs::read_dir(self.0.join("decoy")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["marker"]);
        assert_eq!(fs::read_to_string(self.0.join("decoy/marker")).unwrap(), "untouched");
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn ownership() -> Ownership {
    if is_root() { Ownership::Kept } else { Ownership::Squashed }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_layer_is_as_it_was_packed() {
    let room = Room::new("plain");
    let tar = Builder::default()
        .entry(b'5', "./", 0o711, "", b"")
        .entry(b'5', "./readonly", 0o555, "", b"")
        .file("readonly/file", b"content")
        .entry(b'0', "tool", 0o4755, "", b"#!")
        .entry(b'1', "also", 0o755, "./tool", b"")
        .entry(b'2', "link", 0o777, "readonly/file", b"")
        .entry(b'6', "pipe", 0o620, "", b"")
        .pax(&[("SCHILY.xattr.user.note", b"kept"), ("mtime", b"5.25")])
        .file("noted", b"");
    let bytes = tar.end();
    let unpacked = room.unpack(&bytes).unwrap();
    assert_eq!((*unpacked.diff_id.digest(), unpacked.size), (Digest::of(&bytes), 9));
    let at = |name: &str| room.layer().join(name);
    assert_eq!((mode(&room.layer()), mode(&at("readonly")), mode(&at("pipe"))), (0o711, 0o555, 0o620));
    assert_eq!(mode(&at("tool")), 0o4755);
    assert_eq!(fs::metadata(at("also")).unwrap().ino(), fs::metadata(at("tool")).unwrap().ino());
    assert_eq!(room.text("link"), "content");
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    for name in ["readonly", "readonly/file", "link"] {
        assert_eq!(fs::symlink_metadata(at(name)).unwrap().mtime(), 1_000_000_000, "{name}");
    }
    let noted = fs::metadata(at("noted")).unwrap();
    assert_eq!((noted.mtime(), noted.mtime_nsec(), noted.atime()), (5, 250_000_000, 5));
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(at("noted"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"kept");
    fs::set_permissions(at("readonly"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn nothing_leads_out_by_its_path() {
    let room = Room::new("paths");
    assert_eq!(
        room.refused(Builder::default().file("../decoy/new", b"")),
        "layer: ../decoy/new: it leads out of the layer"
    );
    assert!(room.refused(Builder::default().file("a/../../decoy/new", b"")).contains("leads out"));
    let decoy = room.0.join("decoy/new");
    room.unpacked(Builder::default().file(decoy.to_str().unwrap(), b"within"));
    assert_eq!(room.text(decoy.to_str().unwrap().trim_start_matches('/')), "within");
}

#[test]
fn nothing_leads_out_by_symbolic_links() {
    let room = Room::new("links");
    let decoy = room.0.join("decoy");
    let decoy = decoy.to_str().unwrap();
    // A link that leads nowhere within the layer.
    let tar = Builder::default().entry(b'2', "out", 0o777, decoy, b"").file("out/new", b"");
    assert!(room.refused(tar).starts_with("layer: out/new: "));
    // It leads to a place of the same name within the layer.
    let within = decoy.trim_start_matches('/');
    room.unpacked(
        Builder::default().folder(within).entry(b'2', "in", 0o777, decoy, b"").file("in/new", b"x"),
    );
    assert_eq!(room.text(&format!("{within}/new")), "x");
    // Up and up: no further than the layer.
    let up = "../".repeat(40);
    room.unpacked(Builder::default().entry(b'2', "up", 0o777, &up, b"").file("up/top", b"top"));
    assert_eq!(room.text("top"), "top");
    // Through a link of procfs: it has no meaning here.
    let tar = Builder::default().entry(b'2', "magic", 0o777, "/proc/self/root", b"").file("magic/new", b"");
    assert!(room.refused(tar).starts_with("layer: magic/new: "));
    // A file is written in the place of a link, not through it.
    let marker = format!("{decoy}/marker");
    room.unpacked(Builder::default().entry(b'2', "f", 0o777, &marker, b"").file("f", b"own"));
    assert_eq!(room.text("f"), "own");
    // A folder, too.
    room.unpacked(Builder::default().entry(b'2', "d", 0o777, decoy, b"").folder("d").file("d/new", b"own"));
    assert_eq!(room.text("d/new"), "own");
}

#[test]
fn nothing_leads_out_by_hard_links() {
    let room = Room::new("hard");
    let marker = room.0.join("decoy/marker");
    let marker = marker.to_str().unwrap();
    let of = |to: &str| Builder::default().entry(b'1', "h", 0o644, to, b"");
    assert!(room.refused(of("../decoy/marker")).contains("hard link's target ../decoy/marker: it leads out"));
    assert!(room.refused(of(marker)).contains("hard link's target"));
    let through =
        Builder::default().entry(b'2', "out", 0o777, "../decoy", b"").entry(b'1', "h", 0, "out/marker", b"");
    assert!(room.refused(through).contains("hard link's target"));
    // Of the link itself, not of what it leads to.
    let tar = Builder::default().entry(b'2', "m", 0o777, marker, b"").entry(b'1', "h2", 0, "m", b"");
    room.unpacked(tar);
    assert!(fs::symlink_metadata(room.layer().join("h2")).unwrap().is_symlink());
    assert!(
        room.refused(Builder::default().folder("dir").entry(b'1', "h", 0, "dir", b"")).contains("a folder")
    );
}

#[test]
fn the_last_of_several_with_one_name_stays() {
    let room = Room::new("twice");
    room.unpacked(Builder::default().file("f", b"first").file("f", b"second"));
    assert_eq!(room.text("f"), "second");
    room.unpacked(Builder::default().folder("x").file("x/in", b"").file("x", b"a file now"));
    assert_eq!(room.text("x"), "a file now");
    room.unpacked(Builder::default().file("y", b"").folder("y").file("y/in", b"a folder now"));
    assert_eq!(room.text("y/in"), "a folder now");
    // A folder that is there already keeps what is in it.
    room.unpacked(Builder::default().folder("z").file("z/in", b"kept").entry(b'5', "z", 0o700, "", b""));
    assert_eq!((room.text("z/in"), mode(&room.layer().join("z"))), ("kept".to_string(), 0o700));
    // What is below a folder that is replaced by a link to another one is not written through an old descriptor.
    let tar = Builder::default()
        .folder("p")
        .file("p/1", b"")
        .folder("q")
        .entry(b'2', "p", 0o777, "q", b"")
        .file("p/2", b"");
    room.unpacked(tar);
    assert!(room.layer().join("q/2").exists());
}

#[test]
fn names_that_the_kernel_does_not_take_are_named() {
    let room = Room::new("names");
    let component = "n".repeat(256);
    let tar = Builder::default().pax(&[("path", component.as_bytes())]).file("short", b"");
    assert!(room.refused(tar).contains("nnnn: "));
    let path = "n/".repeat(2100);
    let tar = Builder::default().pax(&[("path", path.as_bytes())]).file("short", b"");
    assert!(room.refused(tar).contains("at most 4095"));
    let deep = "d/".repeat(2000);
    room.unpacked(Builder::default().pax(&[("path", format!("{deep}f").as_bytes())]).file("short", b"deep"));
    let tar = Builder::default().pax(&[("path", b"a\0b")]).file("short", b"");
    assert!(room.refused(tar).contains("a NUL in the name"));
}

#[test]
fn whiteouts_are_overlayfs_own() {
    let room = Room::new("whiteouts");
    let tar = Builder::default()
        .file("etc/.wh.gone", b"")
        .folder("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"")
        .file(".wh.replaced", b"")
        .folder("replaced")
        .folder("before")
        .file("before/in", b"")
        .file(".wh.before", b"")
        .file(".wh..wh.plnk", b"");
    room.unpacked(tar);
    let at = |name: &str| room.layer().join(name);
    let gone = fs::symlink_metadata(at("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let attribute = if is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    for name in ["opaque", "replaced", "before"] {
        let mut value = [0; 4];
        assert_eq!(rustix::fs::getxattr(at(name), attribute, &mut value), Ok(1), "{name}");
    }
    assert!(at("before/in").exists() && at("opaque/new").exists());
    let names: Vec<_> = fs::read_dir(room.layer()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn attributes_of_another_overlay_do_not_redirect() {
    let room = Room::new("marks");
    let marks: [(&str, &[u8]); 2] =
        [("SCHILY.xattr.trusted.overlay.redirect", b"/etc"), ("SCHILY.xattr.user.overlay.redirect", b"/etc")];
    room.unpacked(Builder::default().pax(&marks).folder("d"));
    let mut list = vec![0; 256];
    let length = rustix::fs::listxattr(room.layer().join("d"), &mut list[..]).unwrap();
    assert!(!String::from_utf8_lossy(&list[..length]).contains("overlay"));
}

#[test]
fn devices_are_roots() {
    let room = Room::new("devices");
    let unpacked = room.unpacked(Builder::default().device("null", 1, 3).file("after", b""));
    let device = fs::symlink_metadata(room.layer().join("null"));
    if is_root() {
        assert_eq!(device.unwrap().rdev(), rustix::fs::makedev(1, 3));
    } else {
        assert!(device.is_err() && unpacked.devices_left_out == 1);
    }
}

#[test]
fn holes_take_no_space() {
    let room = Room::new("holes");
    let size = 4u64 << 30;
    let map = format!("{},5", size - 5);
    let records: [(&str, &[u8]); 2] =
        [("GNU.sparse.size", size.to_string().leak().as_bytes()), ("GNU.sparse.map", map.as_bytes())];
    let unpacked = room.unpacked(Builder::default().pax(&records).file("sparse", b"abcde"));
    let status = fs::metadata(room.layer().join("sparse")).unwrap();
    assert_eq!((status.len(), unpacked.size), (size, 5));
    assert!(status.blocks() < 1000, "{}", status.blocks());
}

#[test]
fn bombs_are_refused() {
    let room = Room::new("bombs");
    let tar = Builder::default().file("a", &[0; 4096]).file("b", b"").end();
    let bounded = |bytes_max, entries_max| {
        let unpacking = Unpacking { bytes_max, entries_max, ..Unpacking::new(ownership()) };
        unpack(&tar[..], &room.layer(), unpacking, &Stop::default()).map_err(|error| error.to_string())
    };
    assert_eq!(bounded(4096, 9).unwrap_err(), "the layer has more than 4096 bytes, uncompressed");
    assert_eq!(bounded(1 << 20, 1).unwrap_err(), "the layer has more than 1 entries");
    assert!(bounded(tar.len() as u64, 2).is_ok());
}

#[test]
fn what_follows_the_end_counts_for_the_digest() {
    let room = Room::new("rubbish");
    let tar = [&Builder::default().file("f", b"x").end()[..], b"rubbish"].concat();
    assert_eq!(*room.unpack(&tar).unwrap().diff_id.digest(), Digest::of(&tar));
}

#[test]
fn attributes_are_bounded() {
    let room = Room::new("attributes");
    let value = vec![b'x'; 600 << 10];
    let twice = Builder::default()
        .pax(&[("SCHILY.xattr.user.a", &value)])
        .pax(&[("SCHILY.xattr.user.b", &value)])
        .entry(b'0', "file", 0o644, "", b"");
    let said = room.refused(twice);
    assert!(said.contains("of headers before an entry: at most 1048576 are read"), "{said}");
}

/// Folders are kept in memory until everything is in them: their paths, and what they get.
#[test]
fn the_memory_for_folders_is_bounded() {
    let room = Room::new("folders");
    let bounded = |tar: Builder| {
        let unpacking = Unpacking { memory_max: 5 << 10, ..Unpacking::new(ownership()) };
        unpack(&tar.end()[..], &room.layer(), unpacking, &Stop::default()).map_err(|error| error.to_string())
    };
    let many = |count: usize, name: &dyn Fn(usize) -> String| {
        (0..count).fold(Builder::default(), |tar, number| {
            tar.pax(&[("path", name(number).as_bytes())]).folder("short")
        })
    };
    let refused = |tar: Builder| {
        let said = bounded(tar).unwrap_err();
        assert!(
            said.starts_with("layer: ") && said.contains("need more than 5120 bytes of memory"),
            "{said}"
        );
    };
    refused(many(50, &|number| format!("folder{number}")));
    refused(many(5, &|number| format!("{}{number}", "long/".repeat(300))));
    let value = vec![b'x'; 3000];
    let attributes = |name: &str| Builder::default().pax(&[("SCHILY.xattr.user.a", &value)]).folder(name);
    bounded(attributes("one")).unwrap();
    refused(attributes("one").pax(&[("SCHILY.xattr.user.a", &value)]).folder("two"));
    // The same folder once more is no other one.
    bounded(many(50, &|_| "folder".to_string())).unwrap();
}
