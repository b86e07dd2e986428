//! Files, links and folders below one folder, by its descriptor.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::{self, Errno};

use super::{Error, Kind, Result};
use crate::error::Context;

/// The name under which a record is written, before it gets its own.
const NEW: &str = "new";

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const OWN: Mode = Mode::RWXU;

/// Makes a folder with those above it, which everybody may pass.
fn make_all(path: &Path) -> io::Result<()> {
    let make = || rustix::fs::mkdirat(CWD, path, OWN | Mode::XGRP | Mode::XOTH);
    match (make(), path.parent()) {
        (Err(Errno::NOENT), Some(above)) => make_all(above).and_then(|()| make()),
        (Err(Errno::EXIST), _) => Ok(()),
        (made, _) => made,
    }
}

/// A folder of the caller's own. Names are relative to it; nobody else can put a link in their way.
#[derive(Debug)]
pub(super) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// What is being done to a file in a folder.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    verb: &'a str,
    folder: &'a Path,
    name: &'a str,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.verb, self.folder.display(), self.name)
    }
}

impl Folder {
    /// Opens the folder and makes it if necessary, with the folders above it.
    pub fn make(path: &Path) -> Result<Folder> {
        if let Some(folder) = Folder::open(path)? {
            return Ok(folder);
        }
        let step = format_args!("make {}", path.display());
        if let Some(above) = path.parent() {
            make_all(above).context(step)?;
        }
        match rustix::fs::mkdirat(CWD, path, OWN) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context(step),
        }
        Folder::open(path)?.ok_or_else(|| Error::new(Kind::Missing, format!("{}: it is gone again", step)))
    }

    /// Opens the folder if it is there.
    pub fn open(path: &Path) -> Result<Option<Folder>> {
        let step = format_args!("open {}", path.display());
        let descriptor = match rustix::fs::openat(CWD, path, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.context(step)?,
        };
        let status = rustix::fs::fstat(&descriptor).context(step)?;
        let wrong = if status.st_uid != rustix::process::geteuid().as_raw() {
            format!("belongs to user {}", status.st_uid)
        } else if status.st_mode & 0o022 != 0 {
            "others may write to it: chmod go-w".to_string()
        } else {
            return Ok(Some(Folder { descriptor, path: path.to_path_buf() }));
        };
        Err(Error::new(Kind::NotPermitted, format!("folder {}: {wrong}", path.display())))
    }

    /// A file's path, for errors.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.path.display())
    }

    /// What is being done to a file, for errors.
    pub fn step<'a>(&'a self, verb: &'a str, name: &'a str) -> Step<'a> {
        Step { verb, folder: &self.path, name }
    }

    /// Opens a file, which gets its folders if it is to be made.
    pub fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR);
        let opened = if flags.contains(OFlags::CREATE) { self.in_folder(name, open) } else { open() };
        opened.context(format_args!("{}", self.step("open", name)))
    }

    /// Whether something has that name.
    pub fn has(&self, name: &str) -> Result<bool> {
        match rustix::fs::accessat(&self.descriptor, name, Access::EXISTS, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(false),
            found => found.context(format_args!("{}", self.step("look up", name))).map(|()| true),
        }
    }

    /// What is in a file; none if there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.open_file(name, OFlags::RDONLY) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
            file => pillbox_json::read_document(File::from(file?))
                .context(format_args!("{}", self.step("read", name)))
                .map(Some),
        }
    }

    /// Writes or replaces a file. Readers see all of it or what was there before.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let file = self.open_file(NEW, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        let rename = || rustix::fs::renameat(&self.descriptor, NEW, &self.descriptor, name);
        let written =
            File::from(file).write_all(content).context(format_args!("{}", self.step("write", name)));
        let written = written.and_then(|()| {
            self.in_folder(name, rename).context(format_args!("{}", self.step("write", name)))
        });
        // A file system that is full gets its room back.
        written.map_err(|error| error.besides(self.unlink(NEW)))
    }

    /// Removes a record that a killed command had not written completely.
    pub fn forget_new(&self) -> Result<()> {
        self.unlink(NEW)
    }

    /// Makes a link; false if something has that name.
    pub fn link(&self, name: &str, text: &str) -> Result<bool> {
        match self.in_folder(name, || rustix::fs::symlinkat(text, &self.descriptor, name)) {
            Err(Errno::EXIST) => Ok(false),
            linked => linked.context(format_args!("{}", self.step("make the link", name))).map(|()| true),
        }
    }

    /// A link's text; none if there is none.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        match rustix::fs::readlinkat(&self.descriptor, name, Vec::new()) {
            Err(Errno::NOENT) => Ok(None),
            text => {
                let text = text.context(format_args!("{}", self.step("read the link", name)))?;
                Ok(Some(text.to_string_lossy().into_owned()))
            }
        }
    }

    /// Removes a file or link, if it is there.
    pub fn unlink(&self, name: &str) -> Result<()> {
        self.remove(name, AtFlags::empty())
    }

    /// Removes a folder, if it is there and empty.
    pub fn unlink_empty(&self, name: &str) -> Result<()> {
        match self.remove(name, AtFlags::REMOVEDIR) {
            Err(error) if error.errno() == Some(Errno::NOTEMPTY) => Ok(()),
            removed => removed,
        }
    }

    fn remove(&self, name: &str, flags: AtFlags) -> Result<()> {
        match rustix::fs::unlinkat(&self.descriptor, name, flags) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed.context(format_args!("{}", self.step("remove", name))),
        }
    }

    /// Removes a file, a link, or a folder with all that is in it.
    pub fn remove_all(&self, name: &str) -> Result<()> {
        match self.unlink(name) {
            Err(error) if error.errno() == Some(Errno::ISDIR) => {}
            removed => return removed,
        }
        for inner in self.names(name)? {
            self.remove_all(&format!("{name}/{inner}"))?;
        }
        self.remove(name, AtFlags::REMOVEDIR)
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub fn names(&self, name: &str) -> Result<Vec<String>> {
        let step = self.step("list", name);
        let step = format_args!("{step}");
        let folder = match rustix::fs::openat(&self.descriptor, name, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            folder => folder.context(step)?,
        };
        let mut names = Vec::new();
        for entry in Dir::new(folder).context(step)? {
            let entry = entry.context(step)?.file_name().to_string_lossy().into_owned();
            if entry != "." && entry != ".." {
                names.push(entry);
            }
        }
        pillbox_json::order::sort(&mut names, |left, right| left < right);
        Ok(names)
    }

    /// Makes something that may be the first in its folder.
    fn in_folder<T>(&self, name: &str, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match make() {
            Err(Errno::NOENT) => {}
            made => return made,
        }
        for (at, _) in name.match_indices('/') {
            match rustix::fs::mkdirat(&self.descriptor, &name[..at], OWN) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        make()
    }
}
