//! Keys of steps that hold elsewhere: what a step is made of, and how that is made, from the base image and the files of the context on.
//! A step whose recipe is known elsewhere needs no other stage, whose files its own key is made of.

use std::collections::BTreeMap;

use super::Work;
use crate::build::content::{Key, read};
use crate::build::graph::{Action, Base, CopySource, CopyStep, Origin, RunStep, Stage, Step};
use crate::build::syntax::MountKind;
use crate::digest::Digest;
use crate::image::ChainId;

/// Recipes of steps, by the places of their stages; `None`: it has none, because only its doing tells what it is made of.
pub type Recipes = BTreeMap<usize, Vec<Option<Digest>>>;

impl Work<'_> {
    /// Of all stages.
    pub(super) fn find_recipes(&self) -> Recipes {
        let mut recipes = Recipes::new();
        let needed = self.graph.stages.iter().enumerate();
        // A stage needs earlier ones alone.
        for (index, stage) in needed.filter_map(|(index, stage)| Some((index, stage.as_ref()?))) {
            let own = match self.uses_cache(index, stage.label.as_deref()) {
                true => self.recipes_of(stage, &recipes),
                // Whatever it comes to this time, it is not what it was.
                false => vec![None; stage.steps.len() + 1],
            };
            recipes.insert(index, own);
        }
        recipes
    }

    /// That of what a stage begins with is the first one.
    fn recipes_of(&self, stage: &Stage, known: &Recipes) -> Vec<Option<Digest>> {
        let mut key = Key::new("base");
        key.add_value(&self.options.epoch);
        key.add_value(&self.store.maps().map(|maps| maps.is_squashed()));
        let mut last = match stage.base {
            Base::Scratch => Some(key.digest()),
            Base::Image(image) => {
                key.add_value(&self.top_of(image));
                Some(key.digest())
            }
            Base::Stage(earlier) => end_of(known, earlier),
        };
        let mut own = vec![last];
        for step in &stage.steps {
            last = last.and_then(|below| self.recipe(&below, step, known));
            own.push(last);
        }
        own
    }

    fn recipe(&self, below: &Digest, step: &Step, known: &Recipes) -> Option<Digest> {
        let mut key = Key::new("recipe");
        key.add(below.hex());
        match &step.action {
            Action::Run(run) => self.add_run(run, known, &mut key)?,
            Action::Copy(copy) => self.add_copy(copy, known, &mut key)?,
            Action::Workdir { path, user } => {
                key.add("workdir");
                key.add_value(&(path, user));
            }
        }
        Some(key.digest())
    }

    fn add_run(&self, run: &RunStep, known: &Recipes, key: &mut Key) -> Option<()> {
        self.describe_run(run, key);
        for mount in &run.mounts {
            let (MountKind::Bind { .. }, Some(origin)) = (&mount.kind, &mount.from) else { continue };
            match self.origin(origin, known)? {
                Some(digest) => key.add(digest.hex()),
                None => key.add(self.mount_content(mount).ok()??.digest.hex()),
            }
        }
        Some(())
    }

    fn add_copy(&self, copy: &CopyStep, known: &Recipes, key: &mut Key) -> Option<()> {
        self.describe_copy(copy, &copy.owner, key);
        let is_fixed = |source: &CopySource| matches!(source, CopySource::Git(address) if address.is_fixed());
        let has_come = |source: &CopySource| matches!(source, CopySource::Url(_) | CopySource::Git(_));
        match copy.sources.iter().any(has_come) {
            true if copy.sources.iter().all(is_fixed) => {
                key.add(format!("{:?} {:?} {:?}", copy.sources, copy.excludes, copy.git_folder));
                return Some(());
            }
            // What they lead to is known when it has come.
            true => return None,
            false => {}
        }
        match self.origin(&copy.from, known)? {
            Some(digest) => {
                key.add(digest.hex());
                key.add(format!("{:?} {:?}", copy.sources, copy.excludes));
            }
            None => {
                let nobody = self.gather_copy(copy, None).ok()?;
                let content =
                    read(|out| self.compose(copy, &nobody, out), &mut std::io::sink(), self.store.stop());
                key.add(content.ok()?.digest.hex());
            }
        }
        Some(())
    }

    /// The recipe of a stage or an image; `Some(None)` for a context, whose files are here.
    #[allow(clippy::option_option)]
    fn origin(&self, origin: &Origin, known: &Recipes) -> Option<Option<Digest>> {
        match origin {
            Origin::Context | Origin::Named(_) => Some(None),
            Origin::Stage(stage) => end_of(known, *stage).map(Some),
            Origin::Image(image) => {
                let mut key = Key::new("image");
                key.add_value(&self.top_of(*image));
                Some(Some(key.digest()))
            }
        }
    }

    fn top_of(&self, image: usize) -> Option<ChainId> {
        self.graph.images[image].layers.last().copied()
    }
}

fn end_of(known: &Recipes, stage: usize) -> Option<Digest> {
    known.get(&stage)?.last().copied()?
}

/// The recipe of a step.
pub fn recipe_of(recipes: &Recipes, stage: usize, step: usize) -> Option<Digest> {
    *recipes.get(&stage)?.get(step + 1)?
}
