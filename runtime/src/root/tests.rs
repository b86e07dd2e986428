//! Overlays on this kernel, made in both ways. As root.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;

use super::Layers;
use crate::error::Result;
use crate::sys;

/// A folder of a test's own, removed when it is done.
struct Folder(PathBuf);

impl Folder {
    /// `None`, said visibly, where the test cannot run.
    fn new(test: &str) -> Option<Folder> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("PILLBOX_TEST_NO_SKIP").is_none(), "{test} needs root");
            println!("test root::tests::{test} is SKIPPED: it needs root");
            return None;
        }
        let path = std::env::temp_dir().join(format!("pillbox-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("folder");
        Some(Folder(path))
    }

    /// With a file that says its name.
    fn layer(&self, name: &str) -> PathBuf {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("top"), name)).expect("layer");
        folder
    }

    fn changes(&self, way: &str) -> [PathBuf; 2] {
        ["upper", "work"].map(|name| {
            let folder = self.0.join(way).join(name);
            fs::create_dir_all(&folder).expect("folder");
            folder
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// As before Linux 6.5, whatever this one is.
fn mount_by_names(layers: &Layers) -> Result<OwnedFd> {
    let mut made = None;
    sys::in_mount_copy(&mut || {
        made = Some(layers.mount_by_names());
        Ok(())
    })
    .expect("a copy of the mount namespace");
    made.expect("it was tried")
}

type Way = (&'static str, fn(&Layers) -> Result<OwnedFd>);

const WAYS: [Way; 2] = [("one by one", Layers::mount), ("by names", mount_by_names)];

fn read(mount: &OwnedFd, name: &str) -> String {
    let file = rustix::fs::openat(mount, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut text = String::new();
    fs::File::from(file.expect("file")).read_to_string(&mut text).expect("read");
    text
}

#[test]
fn both_ways_make_the_same() {
    let Some(folder) = Folder::new("both_ways") else { return };
    for (way, mount) in WAYS {
        let [upper, work] = folder.changes(way);
        let names = ["a,b", "c:d", "e\\f"];
        let lower = names.map(|name| folder.layer(name));
        fs::write(lower[2].join("lowest"), "lowest").expect("file");
        let layers = Layers::new(lower).upper(&*upper, &*work).volatile();
        let overlay = mount(&layers).unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!([read(&overlay, "top"), read(&overlay, "lowest")], ["a,b", "lowest"], "{way}");
        rustix::fs::unlinkat(&overlay, "lowest", AtFlags::empty()).expect("rm");
        drop(overlay);
        let whiteout = fs::symlink_metadata(upper.join("lowest")).expect("whiteout");
        assert!(whiteout.file_type().is_char_device(), "{way}");
        assert!(work.join("work/incompat/volatile").exists(), "{way}: volatile");
    }
}

#[test]
fn both_ways_take_descriptors() {
    let Some(folder) = Folder::new("descriptors") else { return };
    for (way, mount) in WAYS {
        let open = |path: &Path| {
            rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("open")
        };
        let [upper, work] = folder.changes(way);
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let detached = rustix::mount::open_tree(CWD, folder.layer("a"), flags).expect("open_tree");
        let layers = Layers::new([detached, open(&folder.layer("b"))]).upper(open(&upper), open(&work));
        let overlay = mount(&layers).unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!(read(&overlay, "top"), "a", "{way}");
    }
}

#[test]
fn both_ways_say_what_is_wrong() {
    let Some(folder) = Folder::new("wrong") else { return };
    for (way, mount) in WAYS {
        let missing = folder.0.join("missing");
        let error = mount(&Layers::new([&*folder.layer("a"), &*missing])).expect_err(way).to_string();
        let said = format!("layers.lower[1]: {}: no such file or folder", missing.display());
        assert_eq!(error, said, "{way}");
        let [upper, _] = folder.changes(way);
        let apart = Layers::new([folder.layer("a")]).upper(&*upper, Path::new("/proc/self"));
        let error = mount(&apart).expect_err(way).to_string();
        assert!(error.starts_with("layers: overlayfs: invalid argument"), "{way}: {error}");
    }
}
