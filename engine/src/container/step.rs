//! A container for one step of a build: its output goes to its caller, and its changes are handed over when it has ended.

use std::io::PipeWriter;
use std::path::PathBuf;

use pillbox::{Container, Root, Stdio};

use super::name::random_name;
use super::options::Options;
use super::own::{Own, forget_state, remove_folder};
use super::prepare::{Prepared, prepare};
use super::record::{Base, ContainerRecord, Progress};
use super::root::RootFolders;
use crate::error::Result;
use crate::image::Execution;
use crate::store::{ContainerId, NewLayer, Store};
use crate::time::Moment;

/// A step that is to run.
#[derive(Debug)]
pub struct StepContainer {
    own: Own,
    root: RootFolders,
}

/// Where its output goes.
#[derive(Debug)]
pub struct StepStreams {
    /// Its stdout.
    pub stdout: PipeWriter,
    /// Its stderr.
    pub stderr: PipeWriter,
}

impl StepContainer {
    /// Makes the container. It is removed with this value's [`StepContainer::remove`], or, if this process is killed, by the next command.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn make(
        store: &Store,
        image: &str,
        base: Base,
        execution: Execution,
        options: Options,
    ) -> Result<StepContainer> {
        let id = ContainerId::random()?;
        let name = random_name()?;
        let (folder, lock) = store.containers().make(&id, &name)?;
        let record = ContainerRecord {
            id: id.as_str().to_string(),
            name,
            image: image.to_string(),
            base,
            execution,
            options,
            created: Moment::now(),
            auto_remove: true,
            is_foreground: true,
        };
        let own = Own { folder, record, lock };
        let progress = Progress { started: Some(Moment::now()), is_kept: false, ..Progress::default() };
        let made = progress
            .write(&own.folder)
            .and_then(|()| own.record.write(&own.folder))
            .and_then(|()| RootFolders::make(store, &own.folder, &own.record));
        match made {
            Ok(root) => Ok(StepContainer { own, root }),
            Err(error) => {
                own.remove(store)?;
                Err(error)
            }
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.own.record.id
    }

    /// Runs its program; the result is its status. `started` is called when it runs.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run(
        &self,
        store: &Store,
        streams: StepStreams,
        started: &dyn Fn(),
        warn: &mut dyn FnMut(&pillbox::Warning),
    ) -> Result<u8> {
        let Prepared { bundle, options, account: _, overlay: _ } =
            prepare(store, &self.own.folder, &self.own.record)?;
        let StepStreams { stdout, stderr } = streams;
        let options = options.stdin(Stdio::Null).stdout(stdout).stderr(stderr);
        let root = Root::at(&store.place().runtime);
        let container = Container::create(&root, self.id(), &bundle, options)?;
        container.warnings().iter().for_each(warn);
        container.start()?;
        started();
        Ok(container.wait()?)
    }

    /// The layers of the image below its changes, the topmost one first.
    pub fn image(&self) -> &[PathBuf] {
        self.root.image()
    }

    /// Ends what still runs in it, and makes its changes the files of a new layer.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn hand_over(&self, store: &Store, layer: &NewLayer) -> Result<()> {
        forget_state(store, &self.own.folder.id)?;
        layer.take(self.root.upper())
    }

    /// Removes it.
    ///
    /// # Errors
    /// Something of it cannot be removed; the next command goes on.
    pub fn remove(self, store: &Store) -> Result<()> {
        let Own { folder, record, lock } = self.own;
        forget_state(store, &folder.id)?;
        remove_folder(store, &folder, Some(&record))?;
        drop(lock);
        Ok(())
    }
}

/// Kills a step's programs, if it runs.
pub fn kill_step(store: &Store, id: &str) {
    let root = Root::at(&store.place().runtime);
    if let Ok(container) = Container::open(&root, id) {
        // One that has just ended needs no killing.
        let _ = container.kill_all(pillbox::Signal::KILL);
    }
}
