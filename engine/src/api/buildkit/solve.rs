//! `Control.Solve`: a build from the client's files to what it wants of it.

use std::cell::RefCell;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::json;

use super::builds::Builds;
use super::content_store::ContentStore;
use super::export::{Export, push_as};
use super::frontend::Wish;
use super::job::Job;
use super::keeper::SessionKeeper;
use super::message::{BridgeRequest, Detail, Rpc, SolveRequest, SolveResponse};
use super::progress::Teller;
use super::server::Call;
use super::session::Session;
use super::sources::{Broken, Sources};
use super::status::{CANCELLED, Status, UNKNOWN};
use crate::build::{
    Built, Cancellation, Event, Excerpt, Failure, GitIdentity, Output, Replaced, STACK, Sink, StoreImages,
    build as build_image,
};
use crate::command::caches;
use crate::error::Kind;
use crate::registries::Registries;
use crate::registry::{Access, Credentials, Verification};

/// Under which the client is told of a cache's manifest.
const CACHE: &str = "cache.manifest";

/// How often it is looked whether the client is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Builds, and says what has come of it.
///
/// # Errors
/// Something of it cannot be, a step failed, or the client has gone.
pub fn solve(
    builds: &Builds,
    job: &Arc<Job>,
    request: SolveRequest,
    call: &mut Call,
) -> Result<SolveResponse, Status> {
    let asked = match request.frontend.is_empty() {
        false => Some(BridgeRequest {
            definition: request.definition.clone(),
            frontend: request.frontend.clone(),
            attributes: request.frontend_attributes.clone(),
            ..BridgeRequest::default()
        }),
        true => loop {
            if let Some(asked) = job.settled(LOOK)? {
                break asked;
            }
            refuse_given_up(call)?;
        },
    };
    // Clients that only want to know what can be done build nothing.
    let Some(asked) = asked else { return Ok(SolveResponse::default()) };
    let work = Work::prepare(builds, job.clone(), &request, asked)?;
    let cancellation = Cancellation::default();
    let (sender, receiver) = channel::<()>();
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK);
        let cancellation = &cancellation;
        let thread = builder.spawn_scoped(scope, move || {
            // The other end hears that this one is gone.
            let _sender = sender;
            work.run(cancellation)
        })?;
        while receiver.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if call.is_given_up() && !cancellation.is_cancelled() {
                cancellation.cancel(&builds.store);
            }
        }
        thread.join().map_err(|_| Status::new(UNKNOWN, "the build has ended without a word"))?
    })
}

fn refuse_given_up(call: &mut Call) -> Result<(), Status> {
    match call.is_given_up() {
        true => Err(Status::new(CANCELLED, "the client has given the build up")),
        false => Ok(()),
    }
}

/// What tells a build's parts from those of others: what is asked for, but for whose folders they are at the moment.
fn name_of(asked: &BridgeRequest) -> String {
    let is_lasting = |name: &str| !name.contains("session");
    let lasting = asked.attributes.iter().filter(|(name, _)| is_lasting(name));
    lasting.map(|(name, value)| format!("{name}={value}\0")).collect()
}

/// A build.
struct Work<'d> {
    builds: &'d Builds,
    session: Arc<Session>,
    keeper: Arc<SessionKeeper>,
    wish: Wish,
    export: Export,
    teller: Teller,
}

impl<'d> Work<'d> {
    fn prepare(
        builds: &'d Builds,
        job: Arc<Job>,
        request: &SolveRequest,
        asked: BridgeRequest,
    ) -> Result<Work<'d>, Status> {
        let name = name_of(&asked);
        let mut wish = Wish::parse(asked)?;
        wish.allow(&request.entitlements)?;
        if let Some(cache) = &request.cache {
            wish.take_imports(&cache.imports)?;
            wish.take_exports(&cache.exports)?;
        }
        let session = builds.sessions.find(&request.session)?;
        let export = Export::parse(request, &session, &builds.store)?;
        wish.options.outputs.clone_from(&export.outputs);
        if export.outputs.is_empty() && job.is_needed() {
            wish.options.outputs.push(Output::Image);
        }
        wish.options.tags.clone_from(&export.names);
        wish.options.annotations.clone_from(&export.annotations);
        let keeper = Arc::new(SessionKeeper::new(session.clone(), builds.store.clone()));
        wish.options.git = GitIdentity::Nobody;
        wish.options.keeper = Some(keeper.clone());
        let teller = Teller::new(job, &name);
        Ok(Work { builds, session, keeper, wish, export, teller })
    }

    fn run(mut self, cancellation: &Cancellation) -> Result<SolveResponse, Status> {
        let store = &self.builds.store.until(cancellation.stop());
        for warning in std::mem::take(&mut self.wish.warnings) {
            self.teller.note(Event::Warning(warning));
        }
        let sources =
            Sources { builds: self.builds, session: &self.session, wish: &self.wish, broken: Arc::default() };
        let named = sources.named(cancellation)?;
        let (context, dockerfile) = sources.fetch()?;
        let broken = sources.broken;
        self.wish.options.contexts = named.contexts();
        let access = self.access()?;
        let stores = self.open_caches()?;
        let is_asked = self.wish.options.platform.is_some();
        let images = StoreImages { store, is_asked, is_pulled: self.wish.is_pulled, access };
        let mut images = images;
        let mut replaced = Replaced { provider: &mut images, names: named.images.clone() };
        let (sources, options) = ((context, &dockerfile), &self.wish.options);
        let built = build_image(store, sources, options, &mut replaced, &self.teller, cancellation);
        let built: Option<Built> = built.map_err(|failure| explain(failure, &broken, cancellation))?;
        self.export.deliver(&self.session, &self.teller)?;
        let mut pushed = None;
        for name in self.export.pushes() {
            let Some(built) = &built else { break };
            let push = || push_as(store, built, name, &images.access);
            let digest = self.teller.part(&format!("pushing {}", name.familiar()), push)?;
            pushed.get_or_insert(digest);
        }
        let mut exporter = self.export.describe(built.as_ref(), pushed);
        exporter.extend(stores.iter().find_map(|store| Some((CACHE.to_string(), store.finished()?))));
        Ok(SolveResponse { exporter })
    }

    /// As whom registries are asked.
    fn access(&self) -> Result<Access, Status> {
        Ok(Access {
            registries: Registries::of_caller()?,
            credentials: Credentials::kept(self.keeper.clone()),
            verification: Verification::Required,
        })
    }

    /// Caches elsewhere; the result is those that are folders of the client's.
    fn open_caches(&mut self) -> Result<Vec<Arc<ContentStore>>, Status> {
        let (sources, targets) = (&mut self.wish.cache_sources, &mut self.wish.cache_targets);
        let (sources, targets) = (std::mem::take(sources), std::mem::take(targets));
        let stores = RefCell::new(Vec::new());
        let access = Arc::new(self.access()?);
        self.wish.options.caches = caches(&self.builds.store, &access, sources, targets, |folder| {
            let store = Arc::new(ContentStore::of_folder(self.session.clone(), &folder));
            stores.borrow_mut().push(store.clone());
            Ok(store)
        })?;
        Ok(stores.into_inner())
    }
}

/// A failure as the client is told of it.
fn explain(failure: Failure, broken: &Broken, cancellation: &Cancellation) -> Status {
    if let Some(status) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return status;
    }
    if cancellation.is_cancelled() && failure.error.kind() == Kind::Closed {
        return Status::new(CANCELLED, failure.error.to_string());
    }
    let status = Status::from(failure.error);
    let details = failure.excerpt.as_ref().map(|excerpt| source_details(excerpt, &status));
    Status { details, ..status }
}

/// The lines of the Dockerfile that an error is about, as clients show them.
fn source_details(excerpt: &Excerpt, status: &Status) -> Vec<u8> {
    let Excerpt { name, text, first, last } = excerpt;
    let source = json!({
        "info": {"filename": name, "data": STANDARD.encode(text), "language": "Dockerfile"},
        "ranges": [{"start": {"line": first}, "end": {"line": last}}],
    });
    let kind = "github.com/moby/buildkit/errdefs.Source+json".to_string();
    let details = vec![Detail { kind, value: source.to_string().into_bytes() }];
    // Whoever reads them compares the rest with what the call says.
    Rpc { code: status.code.cast_signed(), message: status.message.clone(), details }.encode_to_vec()
}
