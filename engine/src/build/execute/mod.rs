//! Stages are carried out: each in a thread of its own, which waits for those that it needs. A step is looked up, or done and
//! remembered.

mod agent_socket;
mod chain;
mod copy;
mod mount;
mod part;
mod recall;
mod recipe;
mod run;
mod run_folder;
mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

pub use agent_socket::AgentSocket;
pub use chain::{Chain, Made};
pub use part::{CONTEXT, context_name};
pub use recipe::{Recipes, recipe_of};
pub use stage::pack_layer;

use recall::Recall;

use super::cache::{Brought, Imports};
use super::context::Context;
use super::event::Progress;
use super::fault::{Fault, Outcome};
use super::graph::{Graph, Origin};
use super::options::{BuildOptions, Cancellation};
use crate::error::{Error, Kind, Result};
use crate::image::ChainId;
use crate::inside::Place;
use crate::order::Collect;
use crate::store::{BlobBatch, CompleteBlob, NewLayer, Store};
use crate::thread::spawn;

/// Everything that the threads share.
pub struct Work<'a> {
    /// Where everything is kept.
    pub store: &'a Store,
    /// What is to be done.
    pub graph: &'a Graph,
    /// The context.
    pub context: &'a Context,
    /// Contexts with names of their own.
    pub named: &'a BTreeMap<String, Context>,
    /// What was asked for.
    pub options: &'a BuildOptions,
    /// Whoever is told.
    pub progress: &'a Progress<'a>,
    /// Whether it is to end.
    pub cancellation: &'a Cancellation,
    /// Caches elsewhere.
    pub imports: &'a Imports,
    recipes: Recipes,
    recall: Recall,
    /// Layers of those, which are here now.
    brought: Mutex<BTreeMap<ChainId, Brought>>,
    finished: Mutex<BTreeMap<usize, std::result::Result<Arc<Finished>, Aborted>>>,
    changed: Condvar,
    /// Whether a step was done.
    is_new: AtomicBool,
    /// Tars of the target's layers.
    blobs: BlobBatch,
    kept: Mutex<Vec<CompleteBlob>>,
    /// Files that are mounted, by where they come from: deleted at the end.
    materials: Mutex<BTreeMap<String, Arc<NewLayer>>>,
}

/// A stage that was carried out.
#[derive(Debug)]
pub struct Finished {
    /// Its layers, those below it included.
    pub chain: Chain,
    /// What each of its own steps came to.
    pub made: Vec<Made>,
}

/// A stage that will not be finished.
#[derive(Debug, Clone, Copy)]
struct Aborted;

/// What all stages came to.
pub struct Completed {
    /// By their places in the graph.
    pub stages: BTreeMap<usize, Arc<Finished>>,
    /// Whether a step was done that was not remembered.
    pub is_new: bool,
    /// Where more of them come from.
    pub blobs: BlobBatch,
    /// Tars of layers of the target, which are blobs already but for their names.
    pub kept: Vec<CompleteBlob>,
    /// Keys of steps that hold elsewhere.
    pub recipes: Recipes,
    /// Layers of caches.
    pub brought: BTreeMap<ChainId, Brought>,
}

impl<'a> Work<'a> {
    /// Carries out everything.
    ///
    /// # Errors
    /// That of the first step that fails; what the others have made is remembered.
    pub fn run(
        store: &'a Store,
        graph: &'a Graph,
        (context, named): (&'a Context, &'a BTreeMap<String, Context>),
        imports: &'a Imports,
        options: &'a BuildOptions,
        progress: &'a Progress<'a>,
        cancellation: &'a Cancellation,
    ) -> Outcome<Completed> {
        let mut work = Work {
            store,
            graph,
            context,
            named,
            options,
            progress,
            cancellation,
            imports,
            recipes: Recipes::new(),
            recall: Recall::default(),
            brought: Mutex::default(),
            finished: Mutex::default(),
            changed: Condvar::new(),
            is_new: AtomicBool::new(false),
            blobs: store.blobs().begin_batch()?,
            kept: Mutex::default(),
            materials: Mutex::default(),
        };
        if options.caches.are_wanted() {
            work.recipes = work.find_recipes();
        }
        work.recall = work.recall()?;
        let work = work;
        let failed: Mutex<Option<Fault>> = Mutex::default();
        let needed =
            graph.stages.iter().enumerate().filter_map(|(index, stage)| Some((index, stage.as_ref()?)));
        let needed = needed.filter(|(index, _)| work.recall.is_needed(*index));
        std::thread::scope(|scope| {
            for (index, stage) in needed {
                let (work, failed) = (&work, &failed);
                if let Err(error) = spawn(scope, move || work.end(index, work.stage(index, stage), failed)) {
                    work.end(index, Err(error.into()), failed);
                }
            }
        });
        if let Some(fault) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(fault);
        }
        let finished = work.finished.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stages = finished.into_iter().filter_map(|(index, done)| Some((index, done.ok()?))).collect_map();
        refuse_cancelled(cancellation)?;
        let kept = work.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let brought = work.brought.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (is_new, recipes) = (work.is_new.into_inner(), work.recipes);
        Ok(Completed { stages, is_new, blobs: work.blobs, kept, recipes, brought })
    }

    /// Tells those that wait what has become of a stage.
    fn end(&self, index: usize, done: Outcome<Finished>, failed: &Mutex<Option<Fault>>) {
        let done = done.map(Arc::new).map_err(|fault| {
            let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
            // What was given up because of another is not the reason.
            if first.is_none() && !(self.cancellation.is_cancelled() && fault.error.kind() == Kind::Closed) {
                *first = Some(fault);
            }
            self.cancellation.cancel(self.store);
            Aborted
        });
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).insert(index, done);
        self.changed.notify_all();
    }

    /// Waits for an earlier stage.
    fn wait(&self, index: usize) -> Result<Arc<Finished>> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match finished.get(&index) {
                Some(Ok(done)) => return Ok(done.clone()),
                Some(Err(Aborted)) => return Err(cancelled()),
                None => finished = self.changed.wait(finished).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Where files come from, as another process finds them; `None` for a context, which is this process's to read.
    fn place_of(&self, origin: &Origin) -> Result<Option<Place>> {
        let chain = match origin {
            Origin::Context | Origin::Named(_) => return Ok(None),
            Origin::Stage(stage) => self.wait(*stage)?.chain.clone(),
            Origin::Image(image) => Chain::of_image(self.store, &self.graph.images[*image])?,
        };
        match chain.lower(self.store) {
            lower if lower.is_empty() => Err(Error::not_found("it has no files")),
            lower => Ok(Some(Place::Layers(lower))),
        }
    }

    /// The context that an origin means.
    fn context_of(&self, origin: &Origin) -> &Context {
        match origin {
            Origin::Named(name) => self.named.get(name).unwrap_or(self.context),
            _ => self.context,
        }
    }

    /// What was made before counts in a stage.
    fn uses_cache(&self, index: usize, name: Option<&str>) -> bool {
        use super::options::Caching;
        match &self.options.caching {
            Caching::Used => true,
            Caching::Ignored => false,
            Caching::IgnoredIn(stages) => !stages.iter().any(|stage| {
                name.is_some_and(|name| stage.eq_ignore_ascii_case(name)) || stage.parse() == Ok(index)
            }),
        }
    }
}

fn refuse_cancelled(cancellation: &Cancellation) -> Result<()> {
    if cancellation.is_cancelled() { Err(cancelled()) } else { Ok(()) }
}

/// Another part has failed, or somebody has ended the build.
fn cancelled() -> Error {
    Error::new(Kind::Closed, "the build was ended")
}
