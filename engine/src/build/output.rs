//! What comes out: an image in the store, a tar of it, or the files of its root.

use std::io::{BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::fs::{Mode, OFlags};

use super::event::{Progress, Vertex};
use super::execute::Completed;
use super::export::{Built, export};
use super::graph::Graph;
use super::options::{BuildOptions, Destination, Output};
use crate::archive::save;
use crate::error::{Context, Error, Result};
use crate::inside::{Pick, Place, TarStream};
use crate::layer::{Extraction, Landing, Rights, extract};
use crate::output::write_output;
use crate::store::Store;

/// Writes what was asked for; the result is the image, if one of the outputs is.
///
/// # Errors
/// The disk did not take it.
pub fn write(
    store: &Store,
    graph: &Graph,
    completed: Completed,
    options: &BuildOptions,
    progress: &Progress<'_>,
) -> Result<Option<Built>> {
    // The image takes the tars that were kept: files first.
    for output in &options.outputs {
        match output {
            Output::Tar(destination) => progress
                .begin("exporting the root as a tar")
                .run(|_| write_tar(destination, files(store, graph, &completed)?))?,
            Output::Folder(folder) => progress
                .begin("exporting the root to a folder")
                .run(|_| write_folder(store, folder, files(store, graph, &completed)?))?,
            Output::Image | Output::Archive(_) | Output::Nothing => {}
        }
    }
    let (mut completed, mut built) = (Some(completed), None);
    let mut image = |vertex: &Vertex<'_>| -> Result<Built> {
        if let Some(completed) = completed.take() {
            built = Some(export(store, graph, completed, options, vertex)?);
        }
        built.clone().ok_or_else(|| Error::invalid("no image came out"))
    };
    for output in &options.outputs {
        match output {
            Output::Image => drop(progress.begin("exporting to image").run(&mut image)?),
            Output::Archive(destination) => progress.begin("exporting to a tar").run(|vertex| {
                let built = image(vertex)?;
                to(destination, |out| save(store, &built.named, out))
            })?,
            Output::Tar(_) | Output::Folder(_) | Output::Nothing => {}
        }
    }
    Ok(built)
}

fn write_tar(destination: &Destination, mut stream: TarStream) -> Result<()> {
    let copied = to(destination, |out| Ok(std::io::copy(&mut stream, out).map(drop)?));
    stream.finish(copied)
}

fn write_folder(store: &Store, folder: &Path, mut stream: TarStream) -> Result<()> {
    let named = || folder.display().to_string();
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).context(named)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::open(folder, flags, Mode::empty()).context(named)?;
    let rights = if store.maps().is_none() { Rights::Kept } else { Rights::Own };
    let extraction = Extraction { rights, landing: Landing::AsNamed, takes_folder: true, takes_file: true };
    let extracted = extract(&mut stream, &target, &extraction).context(named);
    stream.finish(extracted)
}

/// The files of the target's root.
fn files(store: &Store, graph: &Graph, completed: &Completed) -> Result<TarStream> {
    let target =
        completed.stages.get(&graph.target).ok_or_else(|| Error::invalid("a stage was not carried out"))?;
    let lower: Vec<PathBuf> = target.chain.lower(store);
    if lower.is_empty() {
        return Err(Error::invalid("the target has no files"));
    }
    let pick = Pick { path: "/".into(), name: Vec::new(), follow: true, with_mounts: false };
    TarStream::of(store.maps(), &Place::Layers(lower), pick)
}

fn to(destination: &Destination, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let path = match destination {
        Destination::File(path) => path,
        Destination::Stdout => return write(&mut std::io::stdout().lock()),
        Destination::Stream(stream) => {
            let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
            write(&mut *stream)?;
            return Ok(stream.flush()?);
        }
    };
    write_output("", path, |file| {
        let mut file = BufWriter::new(file);
        write(&mut file).and_then(|()| Ok(file.flush()?))
    })
}
