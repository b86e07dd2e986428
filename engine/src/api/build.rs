//! `POST /build`: images from a tar with a Dockerfile, as the client without BuildKit asks for them.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::container::{Resources, limits};
use super::daemon::Daemon;
use super::exchange::{Exchange, Reply, Stream};
use super::fault::{Fault, Outcome};
use super::image::registries;
use super::presence::while_there;
use super::query::Query;
use crate::build::{
    BuildOptions, Built, Caching, Cancellation, ContextSource, DockerfileSource, Ending, Event, Failure,
    GitIdentity, Output, STACK, Sink, StoreImages, build as build_image,
};
use crate::command::{CacheName, caches, prune_builds, target_of};
use crate::container::{NetworkMode, Options};
use crate::image::Platform;
use crate::layer::is_compressed;
use crate::order::Collect;
use crate::reference::Reference;

/// How many pieces of what is said wait for a client that does not read: then whoever writes waits as well.
const WAITING_MAX: usize = 16;

/// Builds an image.
pub fn build(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let query = exchange.head.query.clone();
    let mut options = options(&query)?;
    // Clients without any say `null`.
    let names: Option<Vec<String>> = document(&query, "cachefrom")?;
    let sources = names.into_iter().flatten().map(CacheName::Reference).collect();
    let targets = match options.arguments.get("BUILDKIT_INLINE_CACHE").map(String::as_str) {
        Some("1" | "true") => vec![target_of("inline", &BTreeMap::new())?],
        _ => Vec::new(),
    };
    let access = Arc::new(registries(exchange)?);
    options.caches = caches(&daemon.store, &access, sources, targets, |folder| Ok(folder.shelf()))?;
    let is_quiet = query.is_set("q");
    let dockerfile = match query.text("dockerfile") {
        Some(path) => DockerfileSource::InContext(path.to_string()),
        None => DockerfileSource::Usual,
    };
    let cancellation = Cancellation::default();
    let store = daemon.store.until(cancellation.stop());
    let mut images = StoreImages {
        store: &store,
        is_asked: options.platform.is_some(),
        is_pulled: query.is_set("pull"),
        access: registries(exchange)?,
    };
    let (context, dockerfile) = match query.text("remote").filter(|address| !address.is_empty()) {
        Some(address) if ContextSource::is_address(address) => {
            ContextSource::of_address(address, dockerfile)?
        }
        Some(address) => {
            let what = "it is no address of a tar, a Dockerfile or a repository of git";
            return Err(Fault::invalid(format!("parameter remote: {address}: {what}")));
        }
        None => (ContextSource::Tar(Box::new(Padded::new(exchange.take_body()?))), dockerfile),
    };
    let connection = exchange.connection();
    let mut stream = None;
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let built = std::thread::scope(|scope| {
        let teller = Teller { sender, hidden: Mutex::default() };
        let (store, cancellation) = (&store, &cancellation);
        let options = &options;
        let builder = std::thread::Builder::new().stack_size(STACK);
        let thread = builder.spawn_scoped(scope, move || {
            build_image(store, (context, &dockerfile), options, &mut images, &teller, cancellation)
        })?;
        let told = while_there(
            connection,
            || cancellation.cancel(store),
            || {
                for text in receiver {
                    let said = begin(exchange, &mut stream).map(|stream| match is_quiet {
                        true => Ok(()),
                        false => stream.document(&json!({ "stream": text })),
                    });
                    if !matches!(said, Ok(Ok(()))) {
                        cancellation.cancel(store);
                    }
                }
            },
        );
        if told.is_err() {
            cancellation.cancel(store);
        }
        thread.join().map_err(|_| Fault::new(500, "the build has ended without a word"))
    })?;
    // What is wrong with the Dockerfile itself is an error like any other.
    if let (None, Err(Failure { error, program: None, .. })) = (&stream, &built) {
        return Err(Fault::invalid(error.to_string()));
    }
    begin(exchange, &mut stream)?;
    let Some(mut stream) = stream else { return Ok(Reply::Sent) };
    finish(&mut stream, built, &options, is_quiet)?;
    exchange.end(stream)
}

/// The answer, as soon as there is something to say.
fn begin<'s, 'c>(
    exchange: &mut Exchange<'c>,
    stream: &'s mut Option<Stream<'c>>,
) -> Outcome<&'s mut Stream<'c>> {
    let begun = match stream.take() {
        Some(begun) => begun,
        None => exchange.stream("application/json")?,
    };
    Ok(stream.insert(begun))
}

fn finish(
    stream: &mut Stream<'_>,
    built: Result<Option<Built>, Failure>,
    options: &BuildOptions,
    is_quiet: bool,
) -> Outcome<()> {
    let built = match built {
        Ok(built) => built,
        Err(Failure { error, excerpt: _, program }) => {
            let text = error.to_string();
            // docker ends with the status of the program that failed.
            let detail = json!({"code": program.unwrap_or(1), "message": text});
            return Ok(stream.document(&json!({"errorDetail": detail, "error": text}))?);
        }
    };
    let Some(Built { id, .. }) = built else { return Ok(()) };
    if is_quiet {
        return Ok(stream.document(&json!({"stream": format!("{id}\n")}))?);
    }
    stream.document(&json!({"aux": {"ID": id}}))?;
    let short = id.digest().short();
    stream.document(&json!({"stream": format!("Successfully built {short}\n")}))?;
    for tag in &options.tags {
        stream.document(&json!({"stream": format!("Successfully tagged {}\n", tag.familiar())}))?;
    }
    Ok(())
}

/// As many bytes tell whether a stream is compressed.
const BEGINNING: usize = 6;

/// A tar as docker sends it: with `--file` it ends behind its last byte, in the middle of a block, and has no end of its own.
struct Padded<R> {
    inner: R,
    length: u64,
    /// Its first bytes, which may come one by one: what is compressed has its own end.
    beginning: Vec<u8>,
    /// How many zeros are still to come behind its end.
    missing: Option<u64>,
}

impl<R: Read> Padded<R> {
    fn new(inner: R) -> Padded<R> {
        Padded { inner, length: 0, beginning: Vec::new(), missing: None }
    }
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.missing.is_none() {
            let length = self.inner.read(buffer)?;
            let missing = BEGINNING.saturating_sub(self.beginning.len());
            self.beginning.extend_from_slice(&buffer[..length.min(missing)]);
            self.length += length as u64;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let to_block = self.length.next_multiple_of(BLOCK) - self.length;
            self.missing = Some(if self.length > 0 && !is_compressed(&self.beginning) {
                to_block + 2 * BLOCK
            } else {
                0
            });
        }
        let missing = self.missing.unwrap_or(0);
        let length = usize::try_from(missing).unwrap_or(usize::MAX).min(buffer.len());
        buffer[..length].fill(0);
        self.missing = Some(missing - length as u64);
        Ok(length)
    }
}

/// Of a tar.
const BLOCK: u64 = 512;

/// Passes on what happens, as lines.
struct Teller {
    sender: SyncSender<String>,
    /// Parts of which clients without BuildKit have never heard.
    hidden: Mutex<Vec<usize>>,
}

/// What those begin with: the Dockerfile is read.
const READING: &str = "[internal] load build";

impl Teller {
    fn is_hidden(&self, event: &Event) -> bool {
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Begun { vertex, name, .. } if name.starts_with(READING) => {
                hidden.push(*vertex);
                true
            }
            Event::Note { vertex, .. } => hidden.contains(vertex),
            _ => false,
        }
    }
}

impl Sink for Teller {
    fn note(&self, event: Event) {
        if self.is_hidden(&event) {
            return;
        }
        let text = match event {
            Event::Begun { name, .. } => format!("{name}\n"),
            Event::Output { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
            Event::Missed { reason, .. } => format!(" ---> not cached: {reason}\n"),
            Event::Note { text, .. } => format!(" ---> {text}\n"),
            Event::Ended { ending: Ending::Cached, .. } => " ---> Using cache\n".to_string(),
            Event::Ended { .. } => return,
            Event::Warning(text) => format!("[Warning] {text}\n"),
        };
        // Nobody listens to one whose client has gone.
        let _ = self.sender.send(text);
    }
}

/// A parameter that is a document.
fn document<T: DeserializeOwned + Default>(query: &Query, name: &str) -> Outcome<T> {
    let wrong = |error| Fault::invalid(format!("parameter {name}: {error}"));
    query.text(name).map_or(Ok(T::default()), |text| serde_json::from_str(text).map_err(wrong))
}

fn options(query: &Query) -> Outcome<BuildOptions> {
    if query.text("version") == Some("2") {
        return Err(Fault::invalid(
            "parameter version: 2 is BuildKit as old clients have it: docker 23 or newer with buildx, or DOCKER_BUILDKIT=0",
        ));
    }
    let refused = [("squash", "layers are not squashed"), ("outputs", "what comes out is an image")];
    for (name, what) in refused {
        if query.text(name).is_some() && (name != "squash" || query.is_set(name)) {
            return Err(Fault::invalid(format!("parameter {name}: {what}")));
        }
    }
    let given: BTreeMap<String, Option<String>> = document(query, "buildargs")?;
    let tag = |text: &str| {
        Reference::parse(text).map_err(|error| Fault::invalid(format!("invalid tag {text:?}: {error}")))
    };
    let wrong = |text: &str| Fault::invalid(format!("\"{text}\" is an invalid OS or architecture"));
    let platform = query.text("platform").map(|text| Platform::parse(text).ok_or_else(|| wrong(text)));
    Ok(BuildOptions {
        target: query.text("target").map(str::to_string),
        arguments: given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect_map(),
        labels: document(query, "labels")?,
        tags: query.texts("t").map(tag).collect::<Outcome<_>>()?,
        platform: platform.transpose()?,
        caching: if query.is_set("nocache") { Caching::Ignored } else { Caching::Used },
        git: GitIdentity::Nobody,
        outputs: vec![Output::Image],
        run: run_options(query)?,
        ..BuildOptions::default()
    })
}

/// How programs of RUN are run.
fn run_options(query: &Query) -> Outcome<Options> {
    let resources = Resources {
        memory: query.number("memory")?.unwrap_or(0),
        memory_swap: query.number("memswap")?.unwrap_or(0),
        cpu_shares: query.number("cpushares")?.unwrap_or(0),
        cpu_period: query.number("cpuperiod")?.unwrap_or(0),
        cpu_quota: query.number("cpuquota")?.unwrap_or(0),
        cpuset_cpus: query.text("cpusetcpus").unwrap_or_default().to_string(),
        cpuset_mems: query.text("cpusetmems").unwrap_or_default().to_string(),
        ulimits: document(query, "ulimits")?,
        ..Resources::default()
    };
    let mut options = Options { limits: limits(&resources)?, ..Options::default() };
    options.shm_size = query.number("shmsize")?.filter(|size| *size > 0);
    options.namespaces.cgroup_parent = query.text("cgroupparent").map(str::to_string);
    options.network.mode = match query.text("networkmode") {
        None | Some("default" | "bridge") => NetworkMode::Default,
        Some("none") => NetworkMode::None,
        Some("host") => NetworkMode::Host,
        Some(name) => match name.strip_prefix("container:") {
            Some(other) => NetworkMode::Container(other.to_string()),
            None => NetworkMode::Named(name.to_string()),
        },
    };
    options.network.hosts =
        query.text("extrahosts").into_iter().flat_map(|hosts| hosts.split(',')).map(str::to_string).collect();
    Ok(options)
}

/// Removes what builds go on from.
pub fn prune(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let filters = exchange.head.query.filters(&[
        "until",
        "id",
        "parent",
        "type",
        "description",
        "inuse",
        "shared",
        "private",
    ])?;
    if let Some(name) = ["until", "id", "parent", "type"].into_iter().find(|name| filters.has(name)) {
        return Err(Fault::invalid(format!("invalid filter '{name}': builds are pruned without it")));
    }
    let (names, freed) = prune_builds(&daemon.store)?;
    let deleted = if names.is_empty() { Value::Null } else { json!(names) };
    Ok(Reply::Json(200, json!({"CachesDeleted": deleted, "SpaceReclaimed": freed})))
}

/// Of a build that its client has left, which ends by itself.
pub fn cancel(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Ok(Reply::Empty(204))
}

/// A connection on which clients with BuildKit's protocol call.
pub fn grpc(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    daemon.builds.grpc(exchange)
}

/// A connection on which they are called.
pub fn session(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    daemon.builds.session(exchange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tars_have_an_end() {
        let read = |bytes: &[u8]| {
            let mut text = Vec::new();
            Padded::new(bytes).read_to_end(&mut text).unwrap();
            text
        };
        assert_eq!(read(&[b'a'; 700]).len(), 1024 + 1024);
        assert_eq!(read(&[b'a'; 512]).len(), 512 + 1024);
        assert_eq!((read(b"").len(), read(&[0x1f, 0x8b, 8]).len()), (0, 3));
        // A byte at a time.
        let mut padded = Padded::new((&[0x1f][..]).chain(&[0x8b, 8][..]));
        assert_eq!(padded.read_to_end(&mut Vec::new()).unwrap(), 3);
    }
}
