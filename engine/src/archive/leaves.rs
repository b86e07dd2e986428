//! The manifests of an OCI layout: each once, however many indexes and names lead to it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::contents::Contents;
use super::save::{FULL_NAME, REF_NAME};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Configuration, Descriptor, Document, Index, Manifest, Platform};
use crate::reference::Reference;

/// How many indexes may lead from one to the next.
const DEPTH_MAX: usize = 3;

/// A manifest whose configuration is in the tar.
pub struct Leaf {
    /// Of its bytes.
    pub digest: Digest,
    /// Its file.
    pub number: usize,
    /// It as it was read.
    pub manifest: Manifest,
    /// What it is for, as its configuration says.
    platform: Platform,
    /// What leads to it.
    pub names: BTreeSet<Name>,
}

/// A name, and the digest of what it stands at: of the manifest, or of an index that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The name.
    pub reference: Reference,
    /// What it names.
    pub target: Digest,
}

/// Finds them.
struct Search<'c> {
    contents: &'c Contents,
    /// Of several platforms, the one that a name means.
    preferred: &'c Platform,
    leaves: Vec<Leaf>,
    /// The leaves that a blob leads to.
    reached: BTreeMap<Digest, Rc<[usize]>>,
}

/// All images below the index of a layout. Manifests that are not in the tar, because nobody has fetched them, are passed over, and so
/// is what is no image.
///
/// # Errors
/// Something is not what is said of it; a name cannot be one.
pub fn leaves(contents: &Contents, preferred: &Platform) -> Result<Vec<Leaf>> {
    let mut search = Search { contents, preferred, leaves: Vec::new(), reached: BTreeMap::new() };
    let text = contents.document(contents.number("index.json")?)?;
    let Document::Index(index) = Document::parse(&text)? else { return Ok(Vec::new()) };
    search.index(&index, 0)?;
    Ok(search.leaves)
}

impl Search<'_> {
    fn index(&mut self, index: &Index, depth: usize) -> Result<Rc<[usize]>> {
        if depth == DEPTH_MAX {
            return Err(Error::corrupt("an index of an index of an index"));
        }
        let mut all = BTreeSet::new();
        for descriptor in &index.manifests {
            let reached = self.below(descriptor, depth)?;
            let is_preferred = |number: &&usize| self.preferred.accepts(&self.leaves[**number].platform);
            let meant = reached.iter().find(is_preferred).or(reached.first()).copied();
            if let Some((number, reference)) = meant.zip(name(descriptor)?) {
                self.leaves[number].names.insert(Name { reference, target: descriptor.digest });
            }
            all.extend(reached.iter().copied());
        }
        Ok(all.into_iter().collect())
    }

    fn below(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Rc<[usize]>> {
        let Some(number) = self.contents.blob(descriptor)? else { return Ok(Rc::from([])) };
        let digest = descriptor.digest;
        if let Some(reached) = self.reached.get(&digest) {
            return Ok(reached.clone());
        }
        let reached = match Document::parse(&self.contents.document(number)?)? {
            Document::Index(index) => self.index(&index, depth + 1)?,
            Document::Manifest(manifest) if manifest.check_formats().is_err() => Rc::from([]),
            Document::Manifest(manifest) => match self.contents.blob(&manifest.config)? {
                None => Rc::from([]),
                Some(config) => {
                    let platform = Configuration::parse(&self.contents.document(config)?)?.platform();
                    let leaf = Leaf { digest, number, manifest, platform, names: BTreeSet::new() };
                    self.leaves.push(leaf);
                    Rc::from([self.leaves.len() - 1])
                }
            },
        };
        self.reached.insert(digest, reached.clone());
        Ok(reached)
    }
}

/// The name that an entry of an index has, if it has one.
fn name(descriptor: &Descriptor) -> Result<Option<Reference>> {
    let name = [FULL_NAME, REF_NAME].iter().find_map(|key| descriptor.annotations.get(*key));
    // A tag alone is no name.
    name.filter(|name| name.contains(['/', ':'])).map(|name| Reference::parse(name)).transpose()
}
