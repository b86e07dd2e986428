//! `Control.Solve`: a build from the client's files to what it wants of it.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::json;

use super::export::{Export, push_as};
use super::file_sync::{Selection, read_files, read_folder};
use super::frontend::{ContextWish, Wish};
use super::images::{Images, whole};
use super::job::Job;
use super::keeper::SessionKeeper;
use super::message::{BridgeRequest, Detail, Rpc, SolveRequest, SolveResponse};
use super::progress::Teller;
use super::server::Call;
use super::session::{Session, Sessions};
use super::status::{CANCELLED, Status, UNKNOWN};
use super::upload;
use crate::api::daemon::Daemon;
use crate::build::{
    Built, Cancellation, ContextSource, DockerfileSource, Event, Excerpt, Failure, Sink, StoreImages,
    TEXT_MAX, build as build_image, unpack_context,
};
use crate::layer::{Feed, Patterns, pipe};
use crate::registries::Registries;
use crate::registry::{Access, Credentials, Verification};
use crate::store::NewLayer;

/// How often it is looked whether the client is still there.
const LOOK: Duration = Duration::from_millis(200);

/// What a thread that builds may have on its stack.
const STACK: usize = 2 << 20;

/// Builds, and says what has come of it.
///
/// # Errors
/// Something of it cannot be, a step failed, or the client has gone.
pub fn solve(
    daemon: &Daemon,
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
    let work = Work::prepare(daemon, job.clone(), &request, asked)?;
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
                cancellation.cancel(&daemon.store);
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

/// A build.
struct Work<'d> {
    daemon: &'d Daemon,
    session: Arc<Session>,
    keeper: Arc<SessionKeeper>,
    wish: Wish,
    export: Export,
    teller: Teller,
    /// What went wrong while the context was on its way, which the builder sees as a tar that was cut.
    broken: Arc<Mutex<Option<Status>>>,
}

impl<'d> Work<'d> {
    fn prepare(
        daemon: &'d Daemon,
        job: Arc<Job>,
        request: &SolveRequest,
        asked: BridgeRequest,
    ) -> Result<Work<'d>, Status> {
        let mut wish = Wish::parse(asked)?;
        wish.allow(&request.entitlements)?;
        wish.take_caches(request.cache.as_ref().map_or(&[], |cache| &cache.exports))?;
        let session = daemon.sessions.find(&request.session)?;
        let export = Export::parse(request, &session, &daemon.store)?;
        wish.options.output = export.output.clone();
        wish.options.tags.clone_from(&export.names);
        let keeper = Arc::new(SessionKeeper::new(session.clone(), daemon.store.clone()));
        wish.options.keeper = Some(keeper.clone());
        let teller = Teller::new(job, &request.reference);
        Ok(Work { daemon, session, keeper, wish, export, teller, broken: Arc::default() })
    }

    fn run(mut self, cancellation: &Cancellation) -> Result<SolveResponse, Status> {
        let store = &self.daemon.store;
        for warning in std::mem::take(&mut self.wish.warnings) {
            self.teller.note(Event::Warning(warning));
        }
        let (folders, replaced) = self.contexts()?;
        let paths = folders.iter().map(|(name, folder)| (name.clone(), folder.path()));
        self.wish.options.contexts = paths.collect();
        let (context, dockerfile) = self.sources()?;
        let access = Access {
            registries: Registries::of_caller()?,
            credentials: Credentials::kept(self.keeper.clone()),
            verification: Verification::Required,
        };
        let is_asked = self.wish.options.platform.is_some();
        let images = StoreImages { store, is_asked, is_pulled: self.wish.is_pulled, access };
        let mut images = Images { images, replaced };
        let (sources, options) = ((context, &dockerfile), &self.wish.options);
        let built = build_image(store, sources, options, &mut images, &self.teller, cancellation);
        let built: Option<Built> = built.map_err(|failure| self.explain(failure, cancellation))?;
        if let Some(what) = self.export.delivery() {
            self.teller.part(what, || self.export.deliver(&self.session))?;
        }
        let mut pushed = None;
        for name in self.export.pushes() {
            let Some(built) = &built else { break };
            let push = || push_as(store, built, name, &images.images.access);
            let digest = self.teller.part(&format!("pushing {}", name.familiar()), push)?;
            pushed.get_or_insert(digest);
        }
        Ok(SolveResponse { exporter: self.export.describe(built.as_ref(), pushed) })
    }

    /// A failure as the client is told of it.
    fn explain(&self, failure: Failure, cancellation: &Cancellation) -> Status {
        if let Some(status) = self.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return status;
        }
        if cancellation.is_cancelled() && failure.error.kind() == crate::error::Kind::Closed {
            return Status::new(CANCELLED, failure.error.to_string());
        }
        let status = Status::from(failure.error);
        let details = failure.excerpt.as_ref().map(|excerpt| source_details(excerpt, &status));
        Status { details, ..status }
    }

    /// Whose folder it is.
    fn session_of(&self, folder: &str) -> Result<Arc<Session>, Status> {
        let sessions: &Sessions = &self.daemon.sessions;
        self.wish.sessions.get(folder).map_or(Ok(self.session.clone()), |id| sessions.find(id))
    }

    fn sources(&self) -> Result<(ContextSource, DockerfileSource), Status> {
        let folder = match &self.wish.context {
            ContextWish::Folder(folder) => folder,
            ContextWish::Address(address) => return self.fetched(address),
        };
        let dockerfile = self.dockerfile()?;
        let session = self.session_of(folder)?;
        let text = match &dockerfile {
            DockerfileSource::Text { ignored: Some(ignored), .. } => ignored.clone(),
            _ => ignored(&session, folder)?,
        };
        let excluded = Patterns::of_lines(&text);
        let context = self.fetch(session, folder, excluded)?;
        Ok((context, dockerfile))
    }

    /// A context that has an address, or that the client sends as a file.
    fn fetched(&self, address: &str) -> Result<(ContextSource, DockerfileSource), Status> {
        let dockerfile = match self.wish.dockerfile.as_str() {
            _ if self.wish.is_dockerfile_local => self.dockerfile()?,
            "Dockerfile" => DockerfileSource::Usual,
            name => DockerfileSource::InContext(name.to_string()),
        };
        Ok(match upload::path_of(address) {
            Some(path) => {
                ContextSource::of_stream(upload::receive(&self.session, path)?, "stdin", dockerfile)?
            }
            None => ContextSource::of_address(address, dockerfile)?,
        })
    }

    /// Contexts with names of their own: folders, as they came, and names of images that stand for others.
    fn contexts(&self) -> Result<(BTreeMap<String, NewLayer>, BTreeMap<String, String>), Status> {
        let (mut folders, mut replaced) = (BTreeMap::new(), BTreeMap::new());
        for (name, place) in &self.wish.named {
            let wrong = |what: &str| Status::invalid(format!("--build-context {name}={place}: {what}"));
            match place.split_once(':') {
                Some(("local", folder)) => {
                    drop(
                        folders.insert(
                            name.clone(),
                            self.folder(folder).map_err(|status| wrong(&status.message))?,
                        ),
                    );
                }
                Some(("docker-image", image)) => {
                    drop(replaced.insert(whole(name), image.trim_start_matches("//").to_string()));
                }
                _ => return Err(wrong("must be a folder, or docker-image:// and the name of an image")),
            }
        }
        Ok((folders, replaced))
    }

    /// A whole folder of the client's.
    fn folder(&self, folder: &str) -> Result<NewLayer, Status> {
        let session = self.session_of(folder)?;
        let ignored = ignored(&session, folder)?;
        let ContextSource::Tar(tar) = self.fetch(session, folder, Patterns::of_lines(&ignored))? else {
            return Err(Status::new(UNKNOWN, "a folder that is no tar"));
        };
        let unpacked = unpack_context(&self.daemon.store, tar);
        match self.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(status) => Err(status),
            None => Ok(unpacked?),
        }
    }

    /// The Dockerfile, with what lies beside it.
    fn dockerfile(&self) -> Result<DockerfileSource, Status> {
        let name = self.wish.dockerfile.as_str();
        let folder = self.wish.dockerfile_folder.as_str();
        let ignore = format!("{name}.dockerignore");
        // In lower case it is one as well.
        let lower = name.strip_suffix("Dockerfile").map(|start| format!("{start}dockerfile"));
        let mut names = vec![name, ignore.as_str()];
        names.extend(lower.as_deref());
        let mut found = read_files(&*self.session_of(folder)?, folder, &names, TEXT_MAX)?;
        let text = found.remove(name).or_else(|| found.remove(lower.as_deref()?)).ok_or_else(|| {
            Status::invalid(format!("failed to read dockerfile: open {name}: no such file or directory"))
        })?;
        let text =
            String::from_utf8(text).map_err(|_| Status::invalid(format!("{name}: it is not UTF-8")))?;
        let ignored = found.remove(&ignore).map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(DockerfileSource::Text { name: name.to_string(), text, ignored })
    }

    /// A folder of the client's, as it comes.
    fn fetch(
        &self,
        session: Arc<Session>,
        folder: &str,
        excluded: Vec<String>,
    ) -> Result<ContextSource, Status> {
        let (feed, drain) = pipe();
        let (folder, broken) = (folder.to_string(), self.broken.clone());
        let receive = move || {
            let mut feed: Feed = feed;
            let selection = Selection { folder: &folder, excluded: &excluded, only: &[] };
            let received = read_folder(&session, &selection, &mut feed);
            match received.and_then(|()| Ok(feed.end()?)) {
                Ok(()) => {}
                // Nobody wanted it any more.
                Err(status) if status.code == CANCELLED => {}
                Err(status) => {
                    broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(status);
                }
            }
        };
        std::thread::Builder::new().stack_size(STACK).spawn(receive)?;
        Ok(ContextSource::Tar(Box::new(drain)))
    }
}

/// What a folder's own file says is to be left out of it.
fn ignored(session: &Session, folder: &str) -> Result<String, Status> {
    const NAMES: [&str; 2] = [".dockerignore", ".containerignore"];
    let mut found = read_files(session, folder, &NAMES, TEXT_MAX)?;
    let text = NAMES.iter().find_map(|name| found.remove(*name)).unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).into_owned())
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
