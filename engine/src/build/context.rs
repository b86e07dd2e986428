//! The files of a build: a folder, as far as `.dockerignore` leaves it, and the Dockerfile.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::event::Vertex;
use super::git::Git;
use super::options::{ContextSource, DockerfileSource, NamedContext};
use super::syntax::TEXT_MAX;
use crate::error::{Context as _, Error, Kind, Result};
use crate::layer::{AS_ROOT, open_beneath};
use crate::layer::{Extraction, Landing, Patterns, Rights, extract, uncompress};
use crate::registry::download;
use crate::store::{NewLayer, Store};

/// Names that are looked for, in order.
pub const NAMES: [&str; 4] = ["Dockerfile", "Containerfile", "Boxfile", "Foxfile"];

/// The files of a build.
#[derive(Debug)]
pub struct Context {
    /// The folder; empty if there are no files.
    pub root: OwnedFd,
    /// What of it counts as not there.
    pub ignored: Vec<String>,
    /// Where a tar was unpacked: deleted with this value.
    _unpacked: Option<NewLayer>,
}

/// The Dockerfile that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As errors call it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Its path, for the `.dockerignore` beside it.
    path: Option<PathBuf>,
    is_in_context: bool,
}

impl Context {
    /// Opens a folder, or unpacks a tar.
    ///
    /// # Errors
    /// There is no such folder or repository; it is no tar.
    pub fn open(store: &Store, source: ContextSource, git: &Git<'_>, vertex: &Vertex<'_>) -> Result<Context> {
        match source {
            ContextSource::Git(address) => {
                let fetched = git.fetch_into(store, &address, None, git.options.git_folder, vertex)?;
                let whole = open_folder(&fetched.path())?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let named = || format!("{}: the folder {}", address.shown(), address.folder());
                let root =
                    open_beneath(&whole, address.folder().as_bytes(), flags, AS_ROOT).context(named)?;
                Ok(Context { root, ignored: Vec::new(), _unpacked: Some(fetched) })
            }
            ContextSource::Folder(path) => {
                Ok(Context { root: open_folder(&path)?, ignored: Vec::new(), _unpacked: None })
            }
            ContextSource::Tar(stream) => Context::unpack(store, Some(stream)),
            ContextSource::Nothing => Context::unpack(store, None),
        }
    }

    /// Opens one with a name of its own, which has a `.dockerignore` of its own.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn named(store: &Store, named: &NamedContext, git: &Git<'_>, vertex: &Vertex<'_>) -> Result<Context> {
        let source = match named {
            NamedContext::Folder(path) => ContextSource::Folder(path.clone()),
            NamedContext::Git(address) => ContextSource::Git(address.clone()),
            NamedContext::Tar(url) => ContextSource::Tar(Box::new(download(url)?.body)),
        };
        let mut context = Context::open(store, source, git, vertex)?;
        let text = context.read(".dockerignore")?.unwrap_or_default();
        context.ignored = Patterns::of_lines(&text);
        Ok(context)
    }

    fn unpack(store: &Store, stream: Option<Box<dyn Read + Send>>) -> Result<Context> {
        let unpacked = match stream {
            Some(stream) => unpack(store, stream)?,
            None => store.layers().begin()?,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(unpacked.path(), flags, Mode::empty())?;
        Ok(Context { root, ignored: Vec::new(), _unpacked: Some(unpacked) })
    }

    /// Finds the Dockerfile, and what it or the context says is to be ignored.
    ///
    /// # Errors
    /// There is none.
    pub fn dockerfile(&mut self, source: &DockerfileSource) -> Result<Found> {
        let found = match source {
            DockerfileSource::Text { name, text, ignored } => {
                let found =
                    Found { name: name.clone(), text: text.clone(), path: None, is_in_context: false };
                if let Some(ignored) = ignored {
                    self.ignored = Patterns::of_lines(ignored);
                    return Ok(found);
                }
                found
            }
            DockerfileSource::File(path) => {
                let named = || path.display().to_string();
                // Nobody may ever write to a pipe.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::open(path, flags, Mode::empty()).context(named)?;
                let text = bounded(file.into(), &named())?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Found { name, text, path: Some(path.clone()), is_in_context: false }
            }
            DockerfileSource::InContext(path) => {
                let text = self.read(path)?.ok_or_else(|| {
                    Error::not_found(format!("{path}: there is no such file in the context"))
                })?;
                Found { name: path.clone(), text, path: Some(path.into()), is_in_context: true }
            }
            DockerfileSource::Usual => self.usual()?,
        };
        self.ignored = Patterns::of_lines(&self.ignore_text(&found)?);
        Ok(found)
    }

    fn usual(&self) -> Result<Found> {
        for name in NAMES {
            if let Some(text) = self.read(name)? {
                return Ok(Found {
                    name: name.to_string(),
                    text,
                    path: Some(name.into()),
                    is_in_context: true,
                });
            }
        }
        Err(Error::not_found(format!("the context has no {}: --file names another one", NAMES.join(", no "))))
    }

    /// The one beside the Dockerfile is preferred.
    fn ignore_text(&self, found: &Found) -> Result<String> {
        if let Some(path) = &found.path {
            let beside = format!("{}.dockerignore", path.display());
            let text = match found.is_in_context {
                true => self.read(&beside)?,
                false => match std::fs::File::open(&beside) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                    file => Some(bounded(file.context(|| beside.clone())?, &beside)?),
                },
            };
            if let Some(text) = text {
                return Ok(text);
            }
        }
        for name in [".dockerignore", ".containerignore"] {
            if let Some(text) = self.read(name)? {
                return Ok(text);
            }
        }
        Ok(String::new())
    }

    /// The text of a file of the context; links do not lead out of it.
    fn read(&self, path: &str) -> Result<Option<String>> {
        match open_beneath(&self.root, path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK, AS_ROOT) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            file => Ok(Some(bounded(std::fs::File::from(file.context(|| path.to_string())?), path)?)),
        }
    }
}

/// Unpacks a tar with the files of a build, compressed or not, into a folder that is deleted with the result.
///
/// # Errors
/// It is no tar.
pub fn unpack(store: &Store, stream: impl Read) -> Result<NewLayer> {
    let unpacked = store.layers().begin()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(unpacked.path(), flags, Mode::empty())?;
    let extraction = Extraction {
        // setuid and attributes are a file's own, as in a folder; whose it is does not count.
        rights: if store.maps().is_none() { Rights::Kept } else { Rights::Own },
        landing: Landing::AsNamed,
        takes_folder: true,
        takes_file: true,
    };
    let plain = uncompress(stream, store.stop()).context(|| "the context")?;
    let extracted = extract(plain, &root, &extraction);
    // Whatever it says then.
    store.stop().check()?;
    extracted.context(|| "the context")?;
    Ok(unpacked)
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| path.display().to_string())
}

fn bounded(file: std::fs::File, name: &str) -> Result<String> {
    if !file.metadata().context(|| name.to_string())?.is_file() {
        return Err(Error::invalid(format!("{name}: it is no file")));
    }
    let mut text = Vec::new();
    file.take(TEXT_MAX + 1).read_to_end(&mut text).context(|| name.to_string())?;
    if text.len() as u64 > TEXT_MAX {
        return Err(Error::invalid(format!("{name}: it has more than {TEXT_MAX} bytes")));
    }
    String::from_utf8(text).map_err(|_| Error::new(Kind::Corrupt, format!("{name}: it is not UTF-8")))
}
