//! One stage, step by step: a key, a look whether it was done before, or the work itself and a layer of it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::chain::{Chain, Made};
use super::copy::Prepared as PreparedCopy;
use super::part::{image_name, inputs, step_name};
use super::recipe::recipe_of;
use super::run::Prepared as PreparedRun;
use super::{Finished, Work, cancelled};
use crate::build::cache::{Found, Need};
use crate::build::content::{Content, Key, difference};
use crate::build::event::{Ending, Vertex};
use crate::build::fault::{At, Outcome};
use crate::build::graph::{Action, Base, Stage, Step};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{ChainId, DiffId};
use crate::inside::{self, OwnLayer, TarStream};
use crate::layer::{Boundary, Content as PackContent, pack};
use crate::store::{NewLayer, StepRecord, Store};
use crate::time::Moment;

/// The digest of a tar without entries: of a layer that changes nothing.
const EMPTY: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What tells a step from others.
struct Keys {
    /// With everything that it is made of.
    whole: Digest,
    /// What it is made of, if that holds elsewhere.
    recipe: Option<Digest>,
    /// Without the content of files.
    instruction: Digest,
    content: Vec<(String, Digest)>,
}

impl Keys {
    /// Those that hold elsewhere.
    fn portable(&self) -> Vec<Digest> {
        self.recipe.into_iter().chain([self.whole]).collect()
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy)]
struct Circumstances<'f> {
    /// What was done before counts.
    uses_cache: bool,
    /// A step before it was done anew.
    is_behind_new: bool,
    /// Its layer is one of the image's.
    is_of_target: bool,
    /// What a cache elsewhere has it to be.
    found: Option<&'f Found>,
    /// Its key there.
    recipe: Option<Digest>,
}

/// What a step needs before it is known whether it was done.
enum Prepared<'w> {
    Run(Box<PreparedRun<'w>>),
    Copy(Box<PreparedCopy<'w>>),
    Workdir,
}

impl Work<'_> {
    /// Carries out a stage.
    pub(super) fn stage(&self, index: usize, stage: &Stage) -> Outcome<Finished> {
        let mut chain = match stage.base {
            Base::Scratch => Chain::default(),
            Base::Stage(earlier) => self.wait(earlier).at(stage.span)?.chain.clone(),
            Base::Image(image) => {
                let image = &self.graph.images[image];
                let vertex = self.progress.begin(image_name(stage, image));
                vertex.run(|_| Chain::of_image(self.store, image)).at(stage.span)?
            }
        };
        let uses_cache = self.uses_cache(index, stage.label.as_deref());
        let is_of_target = index == self.graph.target;
        let (mut made, mut is_new) = (Vec::new(), false);
        for (number, step) in stage.steps.iter().enumerate() {
            if self.cancellation.is_cancelled() {
                return Err(cancelled().into());
            }
            let inputs = inputs(self.graph, index, number);
            let vertex = self.progress.begin_after(step_name(stage, number), inputs);
            let circumstances = Circumstances {
                uses_cache,
                is_behind_new: is_new,
                is_of_target,
                found: self.recall.step(index, number),
                recipe: recipe_of(&self.recipes, index, number),
            };
            match self.step(&mut chain, step, &vertex, circumstances) {
                Ok((done, was_cached)) => {
                    is_new |= !was_cached;
                    made.push(done);
                    vertex.end(if was_cached { Ending::Cached } else { Ending::Done });
                }
                Err(error) => {
                    let is_given_up = error.kind() == Kind::Closed && self.cancellation.is_cancelled();
                    vertex.end(if is_given_up {
                        Ending::Cancelled
                    } else {
                        Ending::Failed(error.to_string())
                    });
                    return Err(error).at(step.span);
                }
            }
        }
        Ok(Finished { chain, made })
    }

    /// Does a step unless it was done before; true if it was.
    fn step(
        &self,
        chain: &mut Chain,
        step: &Step,
        vertex: &Vertex<'_>,
        circumstances: Circumstances<'_>,
    ) -> Result<(Made, bool)> {
        if let Some(found) = circumstances.found {
            return Ok((self.take_over(chain, found)?, true));
        }
        let prepared = match &step.action {
            Action::Run(run) => Prepared::Run(Box::new(self.prepare_run(run)?)),
            Action::Copy(copy) => Prepared::Copy(Box::new(self.prepare_copy(chain, copy, vertex)?)),
            Action::Workdir { .. } => Prepared::Workdir,
        };
        let mut keys = self.keys(chain, step, &prepared)?;
        keys.recipe = circumstances.recipe;
        if circumstances.uses_cache {
            if let Some(made) = self.look_up(chain, &keys)? {
                return Ok((made, true));
            }
            let need = if circumstances.is_of_target { Need::Blob } else { Need::Files };
            if let Some(made) = self.look_elsewhere(chain, &keys.whole, need)? {
                return Ok((made, true));
            }
            vertex.miss(self.reason(&keys, circumstances)?);
        }
        self.is_new.store(true, Ordering::Relaxed);
        let layer = self.store.layers().begin()?;
        match (&step.action, prepared) {
            (Action::Run(run), Prepared::Run(prepared)) => {
                self.run_step(chain, run, *prepared, vertex, &layer)?
            }
            (Action::Copy(copy), Prepared::Copy(prepared)) => {
                self.copy_step(chain, copy, *prepared, &layer)?
            }
            (Action::Workdir { path, user }, _) => self.make_folder(chain, path, user, &layer)?,
            (Action::Run(_) | Action::Copy(_), _) => return Err(Error::invalid("another step was prepared")),
        }
        Ok((self.finish(chain, step, layer, &keys, circumstances)?, false))
    }

    fn keys(&self, chain: &Chain, step: &Step, prepared: &Prepared<'_>) -> Result<Keys> {
        let mut key = Key::new("step");
        key.add_value(&chain.layers.last());
        key.add_value(&self.options.epoch);
        key.add_value(&self.store.maps().map(|maps| maps.is_squashed()));
        let mut contents: Vec<&Content> = Vec::new();
        match (&step.action, prepared) {
            (Action::Run(run), Prepared::Run(prepared)) => {
                self.describe_run(run, &mut key);
                contents.extend(prepared.contents());
            }
            (Action::Copy(copy), Prepared::Copy(prepared)) => {
                self.describe_copy(copy, &prepared.owner, &mut key);
                contents.push(&prepared.content);
            }
            (Action::Workdir { path, user }, _) => {
                key.add("workdir");
                key.add(path);
                key.add_value(&self.account(chain, user)?);
            }
            (Action::Run(_) | Action::Copy(_), _) => return Err(Error::invalid("another step was prepared")),
        }
        let instruction = key.digest();
        let mut files = Vec::new();
        for content in contents {
            key.add(content.digest.hex());
            files.extend(content.files.iter().cloned());
        }
        Ok(Keys { whole: key.digest(), recipe: None, instruction, content: files })
    }

    fn look_up(&self, chain: &mut Chain, keys: &Keys) -> Result<Option<Made>> {
        let Some(record) = self.store.build_cache().find(&keys.whole)? else { return Ok(None) };
        let is_empty = chain.layers.last() == Some(&record.layer) || is_nothing(&record.diff_id);
        if !is_empty {
            match self.store.layers().hold(&record.layer)? {
                // Somebody has removed it.
                None => return Ok(None),
                Some(lock) => chain.push(record.layer, record.diff_id, lock)?,
            }
        }
        Ok(Some(Made { created: record.created, is_empty, keys: keys.portable() }))
    }

    /// Why a step must be done.
    fn reason(&self, keys: &Keys, circumstances: Circumstances<'_>) -> Result<String> {
        if circumstances.is_behind_new {
            return Ok("a step before it was done anew".to_string());
        }
        Ok(match self.store.build_cache().latest(&keys.instruction)? {
            None => "it has not been done on what is below it".to_string(),
            Some(before) => difference(&before.content, &keys.content)
                .unwrap_or_else(|| "its files have changed, or its layer was removed".to_string()),
        })
    }

    /// The files become a layer, which is synced, named and remembered.
    fn finish(
        &self,
        chain: &mut Chain,
        step: &Step,
        layer: NewLayer,
        keys: &Keys,
        circumstances: Circumstances<'_>,
    ) -> Result<Made> {
        if let Some(epoch) = self.options.epoch {
            inside::date_back(self.store.maps(), &layer.path(), epoch)?;
        }
        let created = self.options.epoch.map_or_else(Moment::now, Moment::of_seconds);
        let diff_id = self.measure(&layer, circumstances)?;
        let is_empty = is_nothing(&diff_id);
        let mut record = StepRecord {
            text: step.text.clone(),
            layer: ChainId::above(chain.layers.last(), &diff_id),
            diff_id,
            size: 0,
            created,
            content: keys.content.clone(),
        };
        let cache = self.store.build_cache();
        if is_empty {
            record.layer = chain.layers.last().copied().unwrap_or(record.layer);
            cache.remember(&keys.whole, &keys.instruction, &record)?;
            return Ok(Made { created, is_empty, keys: keys.portable() });
        }
        record.size = inside::usage(self.store.maps(), &layer.path())?;
        let unpacked = self.store.take_folder(layer, diff_id, record.size)?;
        self.store.sync()?;
        let lock = unpacked.name(&record.layer)?;
        self.store.layers().sync_names()?;
        chain.push(record.layer, diff_id, lock)?;
        cache.remember(&keys.whole, &keys.instruction, &record)?;
        Ok(Made { created, is_empty, keys: keys.portable() })
    }

    /// The digest of a layer's tar, which is kept for the target.
    fn measure(&self, layer: &NewLayer, circumstances: Circumstances<'_>) -> Result<DiffId> {
        let files = layer.path();
        if !circumstances.is_of_target {
            let mut hasher = Hasher::default();
            pack_layer(self.store, &files, &mut Measure(&mut hasher))?;
            return Ok(hasher.digest().into());
        }
        let mut blob = self.blobs.begin()?;
        pack_layer(self.store, &files, &mut blob)?;
        let blob = blob.complete();
        let diff_id: DiffId = blob.digest().into();
        if !is_nothing(&diff_id) {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(blob);
        }
        Ok(diff_id)
    }
}

/// Writes the tar of a layer.
///
/// # Errors
/// Something cannot be packed.
pub fn pack_layer(store: &Store, files: &std::path::Path, out: &mut dyn Write) -> Result<()> {
    let packed = pack_files(store.maps(), files, &mut store.stop().over(out));
    // Whatever it says then.
    store.stop().check().and(packed)
}

fn pack_files(maps: Option<&crate::ids::IdMaps>, files: &std::path::Path, out: &mut dyn Write) -> Result<()> {
    if maps.is_some() {
        let (upper, lower, mounted) = (files.to_path_buf(), Vec::new(), Vec::new());
        let mut stream = TarStream::of_layer(maps, OwnLayer { upper, lower, mounted })?;
        let copied = std::io::copy(&mut stream, out).map(drop).map_err(Error::from);
        return stream.finish(copied);
    }
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let top =
        rustix::fs::open(files, flags, rustix::fs::Mode::empty()).context(|| files.display().to_string())?;
    let mut out = std::io::BufWriter::with_capacity(1 << 17, out);
    let content = PackContent::Layer { left_out: &BTreeSet::new() };
    pack(&top, b"", Boundary::Mounts, content, &mut out)
}

fn is_nothing(diff_id: &DiffId) -> bool {
    diff_id.digest().hex() == EMPTY
}

struct Measure<'h>(&'h mut Hasher);

impl Write for Measure<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
