//! What all requests share: the store, and what the daemon was told. It owns no state: everything is in the store and the kernel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::buildkit::Builds;
use super::counters::Counters;
use super::fault::{Fault, Outcome};
use super::head::Head;
use super::known::KnownContainers;
use super::log::{Level, Log};
use super::terminals::Terminals;
use crate::container::sweep;
use crate::error::{Error, Kind};
use crate::store::{ContainerFolder, ImageRecord, Leftover, NetworkRecord, Store};

/// How long what killed ones have left may lie.
const SWEEPING: Duration = Duration::from_secs(1);

/// The daemon, as requests see it.
#[derive(Debug)]
pub struct Daemon {
    /// Images, containers, volumes, networks.
    pub store: Store,
    /// What is written down of requests.
    pub log: Log,
    /// Whether `/metrics` answers.
    pub has_metrics: bool,
    /// What is counted for that.
    pub counters: Counters,
    /// Records that have been read, as long as they are as they were.
    pub known: KnownContainers,
    /// Of programs that are run for clients.
    pub terminals: Terminals,
    /// Builds of clients that speak BuildKit's protocol.
    pub builds: Builds,
    /// When it was swept last.
    swept: Mutex<Option<Instant>>,
    /// Whether it is to be swept behind an answer.
    is_sweep_due: AtomicBool,
    /// What is left of containers that are gone.
    leftovers: Mutex<Vec<Leftover>>,
}

impl Daemon {
    /// A daemon for a store.
    pub fn new(store: Store, log: Log, has_metrics: bool) -> Daemon {
        let builds = Builds::new(store.clone());
        Daemon {
            store,
            log,
            has_metrics,
            counters: Counters::default(),
            known: KnownContainers::default(),
            terminals: Terminals::default(),
            builds,
            swept: Mutex::new(None),
            is_sweep_due: AtomicBool::new(false),
            leftovers: Mutex::default(),
        }
    }

    /// Puts away what killed commands and monitors have left, as each command of box does, but not for each of many requests.
    pub fn sweep(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_none_or(|last| last.elapsed() >= SWEEPING) {
            let mut warn = |error: &Error| self.log.write(Level::Error, &error.to_string());
            if let Err(error) = sweep(&self.store, &mut warn) {
                warn(&error);
            }
            *swept = Some(Instant::now());
        }
    }

    /// The same when the request at hand has been answered, for those whose answer does not depend on it.
    pub fn sweep_later(&self) {
        self.is_sweep_due.store(true, Ordering::Relaxed);
    }

    /// Deletes what is left of a container when the request at hand has been answered.
    pub fn delete_later(&self, leftover: Leftover) {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(leftover);
    }

    /// Does what [`Daemon::sweep_later`] and [`Daemon::delete_later`] have put off.
    pub fn do_what_is_due(&self) {
        let leftovers = std::mem::take(&mut *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner));
        for leftover in leftovers {
            if let Err(error) = leftover.delete() {
                self.log.write(Level::Error, &error.to_string());
            }
        }
        if self.is_sweep_due.swap(false, Ordering::Relaxed) {
            self.sweep();
        }
    }

    /// Counts a request and writes it down.
    pub fn note_request<T>(&self, head: &Head, outcome: &Outcome<T>) {
        let status = outcome.as_ref().map_or_else(|fault| fault.status(), |_| 200);
        self.counters.count(status);
        let Err(fault) = outcome else {
            return self.log.write(Level::Debug, &format!("{} {}", head.method, head.path));
        };
        let level = match status {
            _ if fault.is_of_gone_client() => Level::Debug,
            _ if status >= 500 => Level::Error,
            _ => Level::Info,
        };
        self.log.write(level, &format!("{} {}: {status}: {}", head.method, head.path, fault.message()));
    }

    /// A container by its name or the beginning of its id.
    ///
    /// # Errors
    /// There is none.
    pub fn container(&self, name: &str) -> Outcome<ContainerFolder> {
        self.sweep();
        self.store.containers().find(name.trim_start_matches('/')).map_err(|error| match error.kind() {
            Kind::NotFound => Fault::missing(format!("No such container: {name}")),
            _ => error.into(),
        })
    }

    /// An image by its name or the beginning of its id.
    ///
    /// # Errors
    /// There is none.
    pub fn image(&self, name: &str) -> Outcome<ImageRecord> {
        self.store.find_image(name).map_err(|error| no_image(name, error))
    }

    /// A network with a name of its user's.
    ///
    /// # Errors
    /// There is none.
    pub fn network(&self, name: &str) -> Outcome<NetworkRecord> {
        self.store.networks().find(name).map_err(|error| match error.kind() {
            Kind::NotFound => Fault::missing(format!("network {name} not found")),
            _ => error.into(),
        })
    }
}

/// Docker's words, by which clients see that they have to pull.
pub fn no_image(name: &str, error: Error) -> Fault {
    let is_whole = name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match error.kind() {
        Kind::NotFound if is_whole => Fault::missing(format!("No such image: {name}")),
        Kind::NotFound => Fault::missing(format!("No such image: {name}:latest")),
        _ => error.into(),
    }
}
