//! `Control.Solve`: a build from the client's files to what it wants of it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::export::Export;
use super::file_sync::{Selection, read_files, read_folder};
use super::frontend::{ContextWish, Wish};
use super::job::Job;
use super::keeper::SessionKeeper;
use super::message::{BridgeRequest, SolveRequest, SolveResponse};
use super::progress::Teller;
use super::server::Call;
use super::session::{Session, Sessions};
use super::status::{CANCELLED, Status, UNKNOWN};
use crate::api::daemon::Daemon;
use crate::build::{
    Built, Cancellation, ContextSource, DockerfileSource, Event, Failure, Sink, StoreImages, TEXT_MAX,
    build as build_image,
};
use crate::layer::{Feed, pipe};
use crate::registries::Registries;
use crate::registry::{Access, Credentials, Verification};

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
        let export = Export::parse(request)?;
        let mut wish = Wish::parse(asked)?;
        wish.allow(&request.entitlements)?;
        wish.take_caches(request.cache.as_ref().map_or(&[], |cache| &cache.exports))?;
        wish.options.output = export.output.clone();
        wish.options.tags.clone_from(&export.names);
        let session = daemon.sessions.find(&request.session)?;
        wish.options.keeper = Some(Arc::new(SessionKeeper(session.clone())));
        let teller = Teller::new(job, &request.reference);
        Ok(Work { daemon, session, wish, export, teller, broken: Arc::default() })
    }

    fn run(mut self, cancellation: &Cancellation) -> Result<SolveResponse, Status> {
        for warning in std::mem::take(&mut self.wish.warnings) {
            self.teller.note(Event::Warning(warning));
        }
        let (context, dockerfile) = self.sources()?;
        let credentials = Credentials::kept(Arc::new(SessionKeeper(self.session.clone())));
        let access = Access {
            registries: Registries::of_caller()?,
            credentials,
            verification: Verification::Required,
        };
        let mut images = StoreImages {
            store: &self.daemon.store,
            is_asked: self.wish.options.platform.is_some(),
            is_pulled: self.wish.is_pulled,
            access,
        };
        let sources = (context, &dockerfile);
        let built = build_image(
            &self.daemon.store,
            sources,
            &self.wish.options,
            &mut images,
            &self.teller,
            cancellation,
        );
        let built: Option<Built> = built.map_err(|failure| self.explain(failure, cancellation))?;
        Ok(SolveResponse { exporter: self.export.describe(built.as_ref()) })
    }

    /// A failure as the client is told of it.
    fn explain(&self, failure: Failure, cancellation: &Cancellation) -> Status {
        if let Some(status) = self.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return status;
        }
        if cancellation.is_cancelled() && failure.error.kind() == crate::error::Kind::Closed {
            return Status::new(CANCELLED, failure.error.to_string());
        }
        failure.error.into()
    }

    /// Whose folder it is.
    fn session_of(&self, folder: &str) -> Result<Arc<Session>, Status> {
        let sessions: &Sessions = &self.daemon.sessions;
        self.wish.sessions.get(folder).map_or(Ok(self.session.clone()), |id| sessions.find(id))
    }

    fn sources(&self) -> Result<(ContextSource, DockerfileSource), Status> {
        let dockerfile = self.dockerfile()?;
        let folder = match &self.wish.context {
            ContextWish::Folder(folder) => folder,
            ContextWish::Address(address) => {
                return Err(Status::invalid(format!("context {address}: it is not fetched")));
            }
        };
        let session = self.session_of(folder)?;
        let ignored = match &dockerfile {
            DockerfileSource::Text { ignored: Some(ignored), .. } => ignored.clone(),
            _ => {
                const NAMES: [&str; 2] = [".dockerignore", ".containerignore"];
                let mut found = read_files(&session, folder, &NAMES, TEXT_MAX)?;
                let text = NAMES.iter().find_map(|name| found.remove(*name)).unwrap_or_default();
                String::from_utf8_lossy(&text).into_owned()
            }
        };
        let excluded = crate::layer::Patterns::of_lines(&ignored);
        let context = self.fetch(session, folder, excluded)?;
        Ok((context, dockerfile))
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
