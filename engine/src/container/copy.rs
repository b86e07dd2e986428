//! cp and export: files out of a container and into it, as tars on the way.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::event::{Happening, note_of};
use super::reach::{Reached, reach};
use crate::error::{Context, Error, Kind, Result};
use crate::inside::{Copy, Pick, Source, TarStream, copy_in, landing};
use crate::layer::{Boundary, Content, Rights, extract, pack};
use crate::store::{ContainerFolder, Store};

/// How files are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOptions {
    /// Whose they are.
    pub rights: Rights,
    /// Whether a link that is named is followed.
    pub follow: bool,
}

/// The path of what is copied, and whether it is a folder's content that is meant (`folder/.`).
struct Named {
    path: PathBuf,
    source: Source,
}

impl Named {
    fn parse(text: &str) -> Named {
        let path = PathBuf::from(text);
        let is_content = text == "." || text.ends_with("/.") || path.file_name().is_none();
        let source = match path.file_name().filter(|_| !is_content) {
            Some(name) => Source::Named(name.as_encoded_bytes().to_vec()),
            None => Source::ContentOfFolder,
        };
        Named { path, source }
    }

    /// Its name in a tar that only box reads.
    fn tar_name(&self) -> &[u8] {
        match &self.source {
            Source::Named(name) => name,
            Source::ContentOfFolder | Source::Tar => b"content",
        }
    }

    fn follows(&self, options: CopyOptions) -> bool {
        options.follow || self.source == Source::ContentOfFolder
    }
}

/// Copies a file or folder of a container's to a path of the host's.
///
/// # Errors
/// It is not there, or cannot be put there.
pub fn copy_out(
    store: &Store,
    folder: &ContainerFolder,
    from: &str,
    to: &Path,
    options: CopyOptions,
) -> Result<()> {
    let named = Named::parse(from);
    let find = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let (target, extraction) = landing(find, to, &named.source, options.rights)?;
    let (mut stream, _reached) = begin(store, folder, &named, named.tar_name(), options)?;
    let extracted = extract(&mut stream, &target, &extraction).context(|| to.display().to_string());
    stream.finish(extracted)?;
    note_of(store, folder, &Happening::Archive);
    Ok(())
}

/// Writes a tar of a file or folder of a container's.
///
/// # Errors
/// It is not there; nobody takes the tar.
pub fn copy_to_stream(
    store: &Store,
    folder: &ContainerFolder,
    from: &str,
    out: &mut dyn Write,
    options: CopyOptions,
) -> Result<()> {
    let named = Named::parse(from);
    let name = match &named.source {
        Source::Named(name) => name.clone(),
        Source::ContentOfFolder | Source::Tar => Vec::new(),
    };
    let (stream, _reached) = begin(store, folder, &named, &name, options)?;
    copy_stream(stream, out)?;
    note_of(store, folder, &Happening::Archive);
    Ok(())
}

/// Begins a tar of a file or folder of a container's under its own name, or of a folder's content (`folder/.`) under `.`. What comes
/// with it keeps the container as it is.
///
/// # Errors
/// The container is being started or removed.
pub fn archive_of(store: &Store, folder: &ContainerFolder, from: &str) -> Result<(TarStream, Reached)> {
    let named = Named::parse(from);
    let name = match &named.source {
        Source::Named(name) => name.clone(),
        Source::ContentOfFolder | Source::Tar => b".".to_vec(),
    };
    begin(store, folder, &named, &name, CopyOptions { rights: Rights::Kept, follow: false })
}

/// Writes a tar of all files of a container's but those that are mounted in it.
///
/// # Errors
/// Nobody takes the tar.
pub fn export(store: &Store, folder: &ContainerFolder, out: &mut dyn Write) -> Result<()> {
    let reached = reach(store, folder)?;
    let pick = Pick { path: "/".into(), name: Vec::new(), follow: true, with_mounts: false };
    let stream = TarStream::of(store.maps(), &reached.place, pick)?;
    note_of(store, folder, &Happening::Export);
    copy_stream(stream, out)
}

/// What comes with the stream keeps the container as it is.
fn begin(
    store: &Store,
    folder: &ContainerFolder,
    named: &Named,
    name: &[u8],
    options: CopyOptions,
) -> Result<(TarStream, Reached)> {
    let reached = reach(store, folder)?;
    let (path, follow) = (named.path.clone(), named.follows(options));
    let pick = Pick { path, name: name.to_vec(), follow, with_mounts: true };
    Ok((TarStream::of(store.maps(), &reached.place, pick)?, reached))
}

fn copy_stream(mut stream: TarStream, out: &mut dyn Write) -> Result<()> {
    let copied = std::io::copy(&mut stream, out).map(drop).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::new(Kind::Closed, "nobody reads the tar any more"),
        _ => Error::from(error).context("write the tar"),
    });
    stream.finish(copied)
}

/// Copies a file or folder of the host's into a container.
///
/// # Errors
/// It is not there, or cannot be put there.
pub fn copy_into(
    store: &Store,
    folder: &ContainerFolder,
    from: &str,
    to: &Path,
    options: CopyOptions,
) -> Result<()> {
    let named = Named::parse(from);
    let found = open(&named, options).context(|| from.to_string())?;
    let copy = Copy { destination: to.to_path_buf(), source: named.source.clone(), rights: options.rights };
    let reached = reach(store, folder)?;
    copy_in(store.maps(), &reached.place, copy, &mut |out| {
        let mut out = std::io::BufWriter::new(out);
        pack(&found, named.tar_name(), Boundary::None, Content::Files, &mut out).context(|| from.to_string())
    })?;
    note_of(store, folder, &Happening::Extract);
    Ok(())
}

fn open(named: &Named, options: CopyOptions) -> Result<OwnedFd> {
    let follow = if named.follows(options) { OFlags::empty() } else { OFlags::NOFOLLOW };
    Ok(rustix::fs::openat(CWD, &named.path, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty())?)
}

/// Unpacks a tar into a folder of a container's.
///
/// # Errors
/// It is no tar; there is no such folder.
pub fn copy_from_stream(
    store: &Store,
    folder: &ContainerFolder,
    tar: &mut dyn Read,
    to: &Path,
    options: CopyOptions,
) -> Result<()> {
    let copy = Copy { destination: to.to_path_buf(), source: Source::Tar, rights: options.rights };
    let reached = reach(store, folder)?;
    copy_in(store.maps(), &reached.place, copy, &mut |out| {
        std::io::copy(tar, out).map(drop).map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::new(Kind::Closed, "the tar is not read to its end"),
            _ => error.into(),
        })
    })?;
    note_of(store, folder, &Happening::Extract);
    Ok(())
}
