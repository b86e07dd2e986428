//! commit: a container's changes become the topmost layer of a new image.

use super::event::{Happening, note};
use super::instruction::{change_execution, set_variable};
use super::options::Options;
use super::pause::while_paused;
use super::record::{Base, ContainerRecord};
use super::root::RootFolders;
use super::status::Status;
use crate::archive::KeptLayer;
use crate::error::{Error, Result};
use crate::image::{Configuration, Execution, History, ImageId, Platform, RootFs};
use crate::inside::TarStream;
use crate::reference::Reference;
use crate::store::{ContainerFolder, Store};
use crate::time::{Moment, rfc3339};

/// What is said of the new image.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Its name with its tag; without one, only its id leads to it.
    pub name: Option<Reference>,
    /// Who has made it.
    pub author: String,
    /// What for.
    pub message: String,
    /// How it is run, where that is to be another way: `CMD …`, `ENV …`, as a Dockerfile has it.
    pub changes: Vec<String>,
    /// Whether the container's processes are stopped meanwhile.
    pub pause: bool,
}

/// Makes an image of a container.
///
/// # Errors
/// The container is made of a folder, which is no image; a change cannot be; something cannot be read.
pub fn commit(store: &Store, folder: &ContainerFolder, options: &CommitOptions) -> Result<ImageId> {
    let record = ContainerRecord::of(folder)?;
    let Base::Image { id, layers } = &record.base else {
        return Err(Error::invalid(format!(
            "container {0}: it is made of a folder, and only layers of images go into an image: box export {0} | box import - NAME",
            record.name
        )));
    };
    let mut execution = execution(&record.execution, &record.options);
    change_execution(&mut execution, &options.changes)?;
    let text = store.blobs().read(id.digest(), crate::image::DOCUMENT_MAX)?;
    let below = Configuration::parse(&text)?;
    let read = || {
        let root = RootFolders::make(store, folder, &record)?;
        KeptLayer::read(store, TarStream::of_layer(store.maps(), root.own_layer(&record.options))?)
    };
    let is_paused = options.pause && matches!(Status::of(store, folder)?, Status::Running { .. });
    // The end of the pause is told last, as Docker's clients know it.
    let _told = is_paused.then(|| Told::pause(store, &record));
    let kept = match is_paused {
        true => while_paused(store, folder, read)?,
        false => read()?,
    };
    let created = rfc3339(Moment::now());
    let history = History {
        created: Some(created.clone()),
        created_by: Some(super::compile::arguments(&record.execution, &record.options)?.join(" ")),
        comment: Some(options.message.clone()).filter(|message| !message.is_empty()),
        empty_layer: false,
    };
    let platform = Platform::of_machine();
    let config = Configuration {
        created: Some(created.clone()),
        author: Some(options.author.clone()).filter(|author| !author.is_empty()),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: below.variant.clone(),
        config: execution,
        rootfs: RootFs {
            kind: "layers".to_string(),
            diff_ids: [below.rootfs.diff_ids, vec![kept.diff_id()]].concat(),
        },
        history: [below.history, vec![history]].concat(),
        cache: None,
    };
    let image = kept.above(store, id, layers, &config, options.name.as_ref())?;
    let name = options.name.as_ref().map_or_else(String::new, Reference::familiar);
    let (id, comment) = (image.to_string(), options.message.clone());
    note(store, &record, &Happening::Commit { image: id, name, comment });
    Ok(image)
}

/// A pause that is told of; with this value its end is.
struct Told<'c>(&'c Store, &'c ContainerRecord);

impl<'c> Told<'c> {
    fn pause(store: &'c Store, record: &'c ContainerRecord) -> Told<'c> {
        note(store, record, &Happening::Pause);
        Told(store, record)
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        note(self.0, self.1, &Happening::Unpause);
    }
}

/// As the container is run.
fn execution(image: &Execution, options: &Options) -> Execution {
    let mut execution = image.clone();
    if let Some(entrypoint) = &options.entrypoint {
        execution.entrypoint =
            Some(entrypoint.clone()).filter(|program| !program.is_empty()).into_iter().collect();
        execution.cmd = Vec::new();
    }
    if !options.command.is_empty() {
        execution.cmd.clone_from(&options.command);
    }
    for variable in &options.environment {
        set_variable(&mut execution.env, variable);
    }
    if let Some(user) = &options.user {
        execution.user.clone_from(user);
    }
    if let Some(folder) = &options.workdir {
        execution.working_dir.clone_from(folder);
    }
    execution.labels.extend(options.labels.clone());
    execution.stop_signal = options.stop_signal.clone().or(execution.stop_signal);
    execution
}
