//! Images from Dockerfiles: text → instructions → stages and steps → layers → an image.
//!
//! [`build`] is all that a caller needs, the command as well as an API: where the files are ([`ContextSource`]), where the Dockerfile is
//! ([`DockerfileSource`]), what is wanted ([`BuildOptions`]), somebody who provides images ([`Provider`], which may pull them), somebody who
//! is told what happens ([`Sink`] of [`Event`]s, from several threads at once), and a [`Cancellation`]. It prints nothing and never exits.
//!
//! ```text
//! git       repositories that are contexts, or that ADD copies
//! syntax    lines, words, instructions, each with the lines that it stands on
//! graph     what the target needs: stages and steps, everything expanded; pure
//! cache     what was made elsewhere, found by keys that hold there as well
//! content   digests of files, whatever their times
//! execute   stages side by side; a step is looked up by its key, or done and remembered
//! export    an image of the target's layers
//! ```
//!
//! A step's layer is synced and named as soon as it is made, and a record says which key has led to it: whoever is killed, the next build
//! goes on behind the last step that was complete.

mod address;
mod cache;
mod content;
mod context;
mod event;
mod execute;
mod export;
mod fault;
mod git;
mod graph;
mod options;
mod output;
mod process_group;
mod provider;
mod solve_status;
mod source;
mod syntax;

use std::collections::BTreeMap;

pub use address::{GitAddress, GitFolder};
pub use cache::{
    CacheMode, CacheTarget, Caches, LayoutShelf, RegistryShelf, Shelf, image_or_registry, import_image,
};
pub use context::{NAMES, unpack as unpack_context};
pub use event::{Ending, Event, Sink, Stream};
pub use execute::AgentSocket;
pub use export::Built;
pub use fault::Excerpt;
pub use graph::EPOCH;
pub use options::{
    BuildOptions, Caching, Cancellation, ContextSource, Destination, DockerfileSource, Entitlements,
    GitIdentity, Keeper, NamedContext, Output, Secret, parse_epoch,
};
pub use provider::{Provided, Provider, Replaced, StoreImages, whole_name};
pub use solve_status::{LogNews, Reporter, SolveStatus, StatusNews, VertexNews, WarningNews};
pub use syntax::TEXT_MAX;

use cache::Imports;
use context::{Context, Found};
use event::Progress;
use execute::{CONTEXT, Work, context_name};
use export::{Entries, export_cache};
use fault::{Fault, Outcome, Span};
use git::Git;
use graph::{BaseImage, Graph, Images, Wishes, compile};

use crate::error::{Error, Kind, Result};
use crate::image::Platform;
use crate::reference::Reference;
use crate::store::Store;

/// What a thread that builds needs on its stack, as a command has: stages are compiled within one another. Only what is touched takes
/// memory.
pub const STACK: usize = 8 << 20;

/// A build that has failed.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// The lines of the Dockerfile that it is about.
    pub excerpt: Option<Excerpt>,
    /// With which status a program of the Dockerfile's has failed, if that is why.
    pub program: Option<u8>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, excerpt: None, program: None }
    }
}

/// Builds. The result is the image, if one was wanted.
///
/// # Errors
/// Something of the Dockerfile is wrong, a step failed, or the disk did not take it. What was done before is kept for the next build.
pub fn build(
    store: &Store,
    (context, dockerfile): (ContextSource, &DockerfileSource),
    options: &BuildOptions,
    provider: &mut dyn Provider,
    sink: &dyn Sink,
    cancellation: &Cancellation,
) -> std::result::Result<Option<Built>, Failure> {
    let store = &store.until(cancellation.stop());
    let progress = Progress::new(sink);
    let git = Git { options, cancellation };
    let mut context = progress.begin(CONTEXT).run(|vertex| Context::open(store, context, &git, vertex))?;
    let found = progress.begin("[internal] load build definition").run(|vertex| {
        let found = context.dockerfile(dockerfile)?;
        vertex.note(format!("transferring dockerfile: {}B", found.text.len()));
        Ok::<_, Error>(found)
    })?;
    let fail = |fault: Fault| {
        let Fault { span, error } = fault;
        let excerpt = span.map(|Span { first, last }| Excerpt {
            name: found.name.clone(),
            text: found.text.clone(),
            first,
            last,
        });
        let error = match span {
            Some(span) => error.context(format!("{}:{}", found.name, span.first)),
            None => error,
        };
        let program = (error.kind() == Kind::Program).then(|| error.status());
        Failure { error: error.with_status(1), excerpt, program }
    };
    let graph = plan(store, &found, options, provider, &progress).map_err(fail)?;
    let mut named = BTreeMap::new();
    for (name, source) in &options.contexts {
        let vertex = progress.begin(context_name(name));
        let context = vertex.run(|vertex| Context::named(store, source, &git, vertex));
        let named_as = |error: Error| error.context(format!("--build-context {name}"));
        named.insert(name.clone(), context.map_err(named_as)?);
    }
    let platform = options.platform.clone().unwrap_or_else(Platform::of_machine);
    let imports = Imports::read(&options.caches, &platform, &progress);
    let completed = Work::run(store, &graph, (&context, &named), &imports, options, &progress, cancellation)
        .map_err(fail)?;
    let is_new = completed.is_new;
    let entries = (!options.caches.targets.is_empty()).then(|| Entries::of(&completed));
    let built =
        output::write(store, &graph, completed, options, &progress).map_err(|error| fail(error.into()))?;
    if let Some(entries) = &entries {
        make_caches(store, &graph, (entries, &imports), options, &progress)?;
    }
    if is_new && store.build_cache().trim()? {
        let removals = store.removals()?;
        removals.collect_all(|| crate::container::ContainerRecord::layers_in_use(store))?;
    }
    Ok(built)
}

/// Makes the caches that were asked for.
fn make_caches(
    store: &Store,
    graph: &Graph,
    made: (&Entries, &Imports),
    options: &BuildOptions,
    progress: &Progress<'_>,
) -> Result<()> {
    for target in &options.caches.targets {
        let name = target.shelf.name();
        let vertex = progress.begin(format!("exporting cache to {name}"));
        let exported = vertex.run(|vertex| {
            let manifest = export_cache(store, graph, made, target)?;
            vertex.note(format!("writing cache manifest {}", manifest.digest));
            Ok::<_, Error>(())
        });
        match exported {
            Err(error) if target.ignores_errors => progress.warn(format!("--cache-to {name}: {error}")),
            exported => exported.map_err(|error| error.context(format!("--cache-to {name}")))?,
        }
    }
    Ok(())
}

fn plan(
    store: &Store,
    found: &Found,
    options: &BuildOptions,
    provider: &mut dyn Provider,
    progress: &Progress<'_>,
) -> Outcome<Graph> {
    let dockerfile = syntax::parse(&found.text)?;
    if let Some(syntax) = &dockerfile.directives.syntax {
        let is_known = ["docker/dockerfile", "docker/dockerfile-upstream", "docker.io/docker/dockerfile"]
            .iter()
            .any(|known| syntax.split([':', '@']).next() == Some(known));
        if !is_known {
            return Err(Error::invalid(format!(
                "# syntax={syntax}: docker/dockerfile alone is known, and is built in"
            ))
            .into());
        }
    }
    let machine = Platform::of_machine();
    let mut arguments = options.arguments.clone();
    if let Some(epoch) = options.epoch {
        arguments.entry(EPOCH.to_string()).or_insert(epoch.to_string());
    }
    let wishes = Wishes {
        target: options.target.clone(),
        arguments,
        platform: options.platform.clone().unwrap_or_else(|| machine.clone()),
        machine,
        contexts: options.contexts.keys().cloned().collect(),
    };
    let mut images = Known { store, provider, progress };
    let graph = compile(&dockerfile, &wishes, &mut images)?;
    for (span, text) in graph.stages.iter().flatten().flat_map(|stage| &stage.warnings) {
        progress.warn(format!("{}:{}: {text}", found.name, span.first));
    }
    // Some are for the builder itself.
    let unknown = |name: &&String| !graph.has_argument(name) && !name.starts_with("BUILDKIT_");
    for name in wishes.arguments.keys().filter(unknown) {
        progress.warn(format!("--build-arg {name}: no ARG of that name was used"));
    }
    Ok(graph)
}

/// Images as the graph wants to know them.
struct Known<'a> {
    store: &'a Store,
    provider: &'a mut dyn Provider,
    progress: &'a Progress<'a>,
}

impl Images for Known<'_> {
    fn find(&mut self, name: &str, platform: &Platform) -> Result<BaseImage> {
        let reference = Reference::parse(name).ok();
        let shown = reference.as_ref().map_or(name.to_string(), ToString::to_string);
        let vertex = self.progress.begin(format!("[internal] load metadata for {shown}"));
        let record = vertex.run(|_| self.provider.provide(name, platform))?;
        let image = self.store.load(&record)?;
        let made_for = image.config.platform();
        if !platform.accepts(&made_for) {
            return Err(Error::invalid(format!(
                "{name}: it is made for {made_for}, and {platform} is wanted"
            )));
        }
        Ok(BaseImage {
            name: name.to_string(),
            reference,
            id: image.id,
            config: image.config,
            layers: image.layers,
        })
    }
}
