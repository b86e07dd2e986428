//! Layers from a registry: several at once, each in one pass from the socket to its files.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::CONNECTIONS;
use super::observer::{Observer, Step};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::image::{ChainId, Descriptor, DiffId};
use crate::layer::{Feed, pipe};
use crate::registry::Registry;
use crate::store::{Begun, CheckedBlob, Lock, PartialBlob, Store, UnpackedLayer};
use crate::thread::spawn;

/// How much is read from a connection at once.
const BUFFER: usize = 1 << 17;

/// After how many bytes the disk begins to write.
const SYNC_STEP: u64 = 24 << 20;

/// What becomes of a blob that another command is writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// It is fetched later, when what has come by then has been given its names: until then it is locked, and the other command
    /// may wait for it.
    Postponed,
    /// It is waited for.
    WaitedFor,
}

/// A layer that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted<'m> {
    /// Its blob.
    pub blob: &'m Descriptor,
    /// Its tar.
    pub diff_id: DiffId,
    /// Its name in the store.
    pub id: ChainId,
}

/// What has come, synced by nobody yet.
#[derive(Default)]
pub struct Fetched {
    /// Layers that were there.
    pub held: Vec<Lock>,
    /// Layers to be named.
    pub layers: Vec<(ChainId, UnpackedLayer)>,
    /// Blobs to be named.
    pub blobs: Vec<CheckedBlob>,
    /// Blobs that were postponed.
    pub busy: Vec<Digest>,
}

impl Fetched {
    fn join(mut self, other: Fetched) -> Fetched {
        self.held.extend(other.held);
        self.layers.extend(other.layers);
        self.blobs.extend(other.blobs);
        self.busy.extend(other.busy);
        self
    }
}

/// Fetches and unpacks the layers that are not there.
///
/// # Errors
/// One could not be fetched or unpacked. What has come of blobs by then stays, to go on from.
pub fn fetch(
    store: &Store,
    registry: &Registry,
    wanted: &[Wanted<'_>],
    busy: Busy,
    observer: &dyn Observer,
) -> Result<Fetched> {
    let (fetched, jobs) = plan(store, wanted, observer)?;
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let outcome = Mutex::new(Ok(fetched));
    let (written, (wake, woken)) = (AtomicU64::new(0), sync_channel(1));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done =
                Job { store, registry, busy, observer, stop: &stop, written: &written, wake: &wake }.run(job);
            let is_wrong = done.is_err();
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut *outcome, Ok(Fetched::default()));
            *outcome = match (before, done) {
                (Ok(before), Ok(done)) => Ok(before.join(done)),
                // The first error is the reason for those that follow.
                (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            };
            if is_wrong {
                stop.store(true, Ordering::Relaxed);
                return;
            }
        }
    };
    let synced = std::thread::scope(|scope| {
        // The disk begins to write while more comes: less is left for the end.
        let sync = move || woken.iter().take_while(|more| *more).try_for_each(|_| store.sync());
        let sync = spawn(scope, sync)?;
        let workers: Vec<_> =
            (0..CONNECTIONS.min(jobs.len())).map_while(|_| spawn(scope, work).ok()).collect();
        if workers.is_empty() {
            work();
        }
        let ended = workers.into_iter().all(|worker| worker.join().is_ok());
        // One that has failed listens no more.
        let _ = wake.send(false);
        match (ended, sync.join()) {
            (true, Ok(synced)) => synced,
            _ => Err(Error::invalid("a thread that fetches layers ended")),
        }
    });
    let fetched = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    fetched.and_then(|fetched| synced.map(|()| fetched))
}

/// What is there already, and what is to be done.
fn plan<'w, 'm>(
    store: &Store,
    wanted: &'w [Wanted<'m>],
    observer: &dyn Observer,
) -> Result<(Fetched, Vec<Vec<&'w Wanted<'m>>>)> {
    let mut fetched = Fetched::default();
    // The same blob twice in an image is one job: no thread waits for another.
    let mut jobs: Vec<Vec<&Wanted<'m>>> = Vec::new();
    for layer in wanted {
        // One that came in another form, from a file or a build, has no such blob: without it the image could be neither saved nor pushed.
        if store.blobs().has(&layer.blob.digest)
            && let Some(lock) = store.layers().hold(&layer.id)?
        {
            observer.note(&layer.blob.digest, Step::Present);
            fetched.held.push(lock);
            continue;
        }
        observer.note(&layer.blob.digest, Step::Waiting);
        match jobs.iter_mut().find(|job| job[0].blob.digest == layer.blob.digest) {
            Some(job) => job.push(layer),
            None => jobs.push(vec![layer]),
        }
    }
    Ok((fetched, jobs))
}

/// What fetching one blob needs.
struct Job<'a> {
    store: &'a Store,
    registry: &'a Registry,
    busy: Busy,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    /// By all jobs, since the beginning.
    written: &'a AtomicU64,
    /// Whoever makes the disk begin; false is the end.
    wake: &'a SyncSender<bool>,
}

impl Job<'_> {
    /// One blob, and all layers that it is.
    fn run(&self, layers: &[&Wanted<'_>]) -> Result<Fetched> {
        let (first, others) = layers.split_first().ok_or_else(|| Error::invalid("a job without a layer"))?;
        let digest = &first.blob.digest;
        let mut fetched = self.first(first).context(|| format!("layer {digest}"))?;
        if !fetched.busy.is_empty() {
            return Ok(fetched);
        }
        for layer in others {
            let mut file = match fetched.blobs.first() {
                Some(blob) => blob.open()?,
                None => self.store.blobs().open(digest)?,
            };
            let unpacked = self.store.unpack(&mut file, Some(&layer.diff_id))?;
            fetched.layers.push((layer.id, unpacked));
        }
        self.observer.note(digest, Step::Unpacked);
        Ok(fetched)
    }

    fn first(&self, layer: &Wanted<'_>) -> Result<Fetched> {
        let digest = &layer.blob.digest;
        match self.begin(digest)? {
            Begun::Others => Ok(Fetched { busy: vec![*digest], ..Fetched::default() }),
            Begun::There => {
                // Another command may have brought the layer meanwhile, too.
                if let Some(lock) = self.store.layers().hold(&layer.id)? {
                    return Ok(Fetched { held: vec![lock], ..Fetched::default() });
                }
                let mut file = self.store.blobs().open(digest)?;
                let unpacked = self.store.unpack(&mut file, Some(&layer.diff_id))?;
                Ok(Fetched { layers: vec![(layer.id, unpacked)], ..Fetched::default() })
            }
            Begun::Own(partial) => match self.stream(partial, layer)? {
                Outcome::Whole(fetched) => Ok(fetched),
                // What was there from before was no part of it.
                Outcome::Spoiled => self.again(layer),
            },
        }
    }

    /// From the first byte on.
    fn again(&self, layer: &Wanted<'_>) -> Result<Fetched> {
        match self.begin(&layer.blob.digest)? {
            Begun::Own(partial) => match self.stream(partial, layer)? {
                Outcome::Whole(fetched) => Ok(fetched),
                Outcome::Spoiled => Err(Error::corrupt("what came is not what its digest says")),
            },
            Begun::There | Begun::Others => self.first(layer),
        }
    }

    fn begin(&self, digest: &Digest) -> Result<Begun> {
        match self.busy {
            Busy::Postponed => self.store.blobs().try_begin(digest),
            Busy::WaitedFor => Ok(self.store.blobs().begin(digest)?.map_or(Begun::There, Begun::Own)),
        }
    }

    /// Downloads on one thread, and unpacks on this one.
    fn stream(&self, partial: PartialBlob, layer: &Wanted<'_>) -> Result<Outcome> {
        let (feed, mut drain) = pipe();
        std::thread::scope(|scope| {
            let download = spawn(scope, move || self.download(partial, layer.blob, feed))?;
            let unpacked = self.store.unpack(&mut drain, Some(&layer.diff_id));
            drop(drain);
            let downloaded =
                download.join().map_err(|_| Error::invalid("the thread that downloads ended"))?;
            match (downloaded, unpacked) {
                (Ok(Some(blob)), Ok(unpacked)) => Ok(Outcome::Whole(Fetched {
                    layers: vec![(layer.id, unpacked)],
                    blobs: vec![blob],
                    ..Fetched::default()
                })),
                (Ok(None), _) => Ok(Outcome::Spoiled),
                // It ended because nobody unpacks any more.
                (Err(error), Err(unpacking)) if error.kind() == Kind::Closed => Err(unpacking),
                (Err(error), _) | (_, Err(error)) => Err(error),
            }
        })
    }

    /// The blob into its file, and into the pipe. `None`: what was there from before has spoiled it, and is gone.
    fn download(
        &self,
        mut partial: PartialBlob,
        blob: &Descriptor,
        mut feed: Feed,
    ) -> Result<Option<CheckedBlob>> {
        let mut begun = 0;
        let gone_on = partial.go_on(|piece| {
            begun += piece.len() as u64;
            Ok(feed.write_all(piece)?)
        });
        let moved = gone_on.and_then(|_| match begun > blob.size {
            true => Err(Error::corrupt("more is here than there can be")),
            false => self.receive(&mut partial, blob, begun, &mut feed),
        });
        // What is here by then is to go on from.
        self.store.stop().check()?;
        match moved.and_then(|()| partial.is_right()) {
            Ok(()) => {
                let checked = partial.check()?;
                self.observer.note(&blob.digest, Step::Fetched);
                feed.end()?;
                Ok(Some(checked))
            }
            // It may be what was there from before that cannot be unpacked, or has the wrong digest.
            Err(error) if begun > 0 && matches!(error.kind(), Kind::Corrupt | Kind::Closed) => {
                partial.discard()?;
                Ok(None)
            }
            Err(error) if error.kind() == Kind::Corrupt => {
                partial.discard()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn receive(
        &self,
        partial: &mut PartialBlob,
        blob: &Descriptor,
        begun: u64,
        feed: &mut Feed,
    ) -> Result<()> {
        let mut reader = self.registry.blob(blob, begun);
        let mut buffer = vec![0; BUFFER];
        let mut done = begun;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Host, "another layer could not be fetched"));
            }
            self.store.stop().check()?;
            self.observer.note(&blob.digest, Step::Moving { done, total: blob.size });
            match reader.read(&mut buffer)? {
                0 => return Ok(()),
                length => {
                    partial.write_all(&buffer[..length]).context(|| "write")?;
                    feed.write_all(&buffer[..length])?;
                    done += length as u64;
                    let before = self.written.fetch_add(length as u64, Ordering::Relaxed);
                    if before / SYNC_STEP != (before + length as u64) / SYNC_STEP {
                        // If it is at it, it does not have to be told.
                        let _ = self.wake.try_send(true);
                    }
                }
            }
        }
    }
}

enum Outcome {
    Whole(Fetched),
    Spoiled,
}

/// A blob that is small enough to be read at once.
///
/// # Errors
/// It cannot be fetched, or is not what its digest says.
pub fn fetch_document(registry: &Registry, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    let Descriptor { digest, size, .. } = descriptor;
    if *size > limit {
        return Err(Error::corrupt(format!("blob {digest}: {size} bytes: at most {limit} are possible")));
    }
    let mut text = Vec::new();
    registry.blob(descriptor, 0).read_to_end(&mut text).context(|| format!("blob {digest}"))?;
    match Digest::of(&text) {
        found if found == *digest => Ok(text),
        found => Err(Error::corrupt(format!("blob {digest}: what came has the digest {found}"))),
    }
}
