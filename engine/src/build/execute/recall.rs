//! What need not be done, because a cache elsewhere has it: first steps of stages, and stages that nobody needs then.

use std::collections::{BTreeMap, BTreeSet};

use super::Work;
use super::chain::{Chain, Made};
use super::recipe::recipe_of;
use crate::build::cache::{Found, Need};
use crate::build::graph::{Action, Base, Origin, Stage, Step};
use crate::error::{Error, Result};
use crate::image::ChainId;

/// What is to be done, and what is known already.
#[derive(Debug, Default)]
pub struct Recall {
    /// Stages that are carried out.
    needed: BTreeSet<usize>,
    /// The first steps of stages.
    known: BTreeMap<usize, Vec<Found>>,
}

/// A stage as far as caches have it.
#[derive(Debug, Clone)]
struct Known {
    steps: Vec<Found>,
    /// What stands on top of it, if all of it is known.
    top: Option<Option<ChainId>>,
}

impl Recall {
    /// Whether a stage is to be carried out.
    pub fn is_needed(&self, stage: usize) -> bool {
        self.needed.contains(&stage)
    }

    /// A step that is known.
    pub fn step(&self, stage: usize, step: usize) -> Option<&Found> {
        self.known.get(&stage)?.get(step)
    }
}

impl Work<'_> {
    /// Looks what caches have, and fetches the layers of it: what cannot be had is done.
    ///
    /// # Errors
    /// The disk did not take it.
    pub(super) fn recall(&self) -> Result<Recall> {
        loop {
            let mut recall = Recall::default();
            self.need(self.graph.target, &mut BTreeMap::new(), &mut recall);
            let lineage = self.graph.lineage();
            let wanted = recall.known.iter().filter(|(stage, _)| recall.is_needed(**stage));
            let wanted: Vec<(Found, Need)> = wanted
                .flat_map(|(stage, steps)| {
                    let need = if lineage.contains(stage) { Need::Blob } else { Need::Files };
                    steps.iter().map(move |found| (found.clone(), need))
                })
                .collect();
            // Without what was not as it says there is less every time.
            if self.bring(&wanted)? {
                return Ok(recall);
            }
        }
    }

    fn bring(&self, wanted: &[(Found, Need)]) -> Result<bool> {
        let is_ended = || self.cancellation.is_cancelled();
        self.imports.bring(self.store, wanted, &self.brought, (self.progress, &is_ended))
    }

    fn need(&self, index: usize, looked: &mut BTreeMap<usize, Known>, recall: &mut Recall) {
        let Some(stage) = self.graph.stages.get(index).and_then(Option::as_ref) else { return };
        if !recall.needed.insert(index) {
            return;
        }
        let known = self.known(index, stage, looked);
        if let Base::Stage(earlier) = stage.base {
            self.need(earlier, looked, recall);
        }
        for step in &stage.steps[known.steps.len()..] {
            for origin in origins(step) {
                if let Origin::Stage(earlier) = origin {
                    self.need(*earlier, looked, recall);
                }
            }
        }
        recall.known.insert(index, known.steps);
    }

    fn known(&self, index: usize, stage: &Stage, looked: &mut BTreeMap<usize, Known>) -> Known {
        if let Some(known) = looked.get(&index) {
            return known.clone();
        }
        let base = match stage.base {
            Base::Scratch => Some(None),
            Base::Image(image) => Some(self.graph.images[image].layers.last().copied()),
            Base::Stage(earlier) => match self.graph.stages[earlier].as_ref() {
                Some(below) => self.known(earlier, below, looked).top,
                None => None,
            },
        };
        let (mut steps, mut top) = (Vec::new(), base);
        for number in 0..stage.steps.len() {
            let Some(below) = top else { break };
            let recipe = recipe_of(&self.recipes, index, number);
            let found = recipe.and_then(|recipe| self.imports.find(&recipe, below.as_ref()));
            top = found.as_ref().map(|found| found.top(below.as_ref()));
            steps.extend(found);
        }
        let known = Known { steps, top };
        looked.insert(index, known.clone());
        known
    }

    /// A step is what a cache has it to be; its layer has been fetched.
    pub(super) fn take_over(&self, chain: &mut Chain, found: &Found) -> Result<Made> {
        if let Some(layer) = &found.layer {
            let lock = self.store.layers().hold(&layer.chain)?;
            let lock = lock.ok_or_else(|| Error::corrupt(format!("layer {} is missing", layer.chain)))?;
            chain.push(layer.chain, layer.diff_id, lock)?;
        }
        Ok(Made { created: found.created, is_empty: found.layer.is_none(), keys: found.keys.clone() })
    }

    /// A step by its own key, if a cache has it.
    pub(super) fn look_elsewhere(
        &self,
        chain: &mut Chain,
        key: &crate::Digest,
        need: Need,
    ) -> Result<Option<Made>> {
        while let Some(found) = self.imports.find(key, chain.layers.last()) {
            if self.bring(&[(found.clone(), need)])? {
                return self.take_over(chain, &found).map(Some);
            }
        }
        Ok(None)
    }
}

/// Where the files of a step come from.
fn origins(step: &Step) -> Vec<&Origin> {
    match &step.action {
        Action::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_ref()).collect(),
        Action::Copy(copy) => vec![&copy.from],
        Action::Workdir { .. } => Vec::new(),
    }
}
