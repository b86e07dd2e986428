//! What is asked of a build.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::address::{GitAddress, GitFolder};
use super::cache::Caches;
use super::graph::EPOCH;
use crate::container::{Options as ContainerOptions, kill_step};
use crate::error::{Error, Result};
use crate::image::Platform;
use crate::reference::Reference;
use crate::stop::Stop;
use crate::store::Store;

/// Where the files of a build come from.
pub enum ContextSource {
    /// A folder of the host's.
    Folder(PathBuf),
    /// A repository of git.
    Git(GitAddress),
    /// A tar, compressed or not.
    Tar(Box<dyn Read + Send>),
    /// There are none.
    Nothing,
}

/// Where the files of a context with a name of its own come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder of the host's.
    Folder(PathBuf),
    /// A repository of git.
    Git(GitAddress),
    /// A tar at an address.
    Tar(String),
}

/// The Dockerfile.
pub enum DockerfileSource {
    /// The first one that is there of those with usual names in the context.
    Usual,
    /// By its path in the context.
    InContext(String),
    /// A file of the host's.
    File(PathBuf),
    /// Its text.
    Text {
        /// As errors call it.
        name: String,
        /// The text.
        text: String,
        /// What the `.dockerignore` beside it says, if there is one.
        ignored: Option<String>,
    },
}

/// What a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The content of a file.
    File(PathBuf),
    /// These bytes, as those of a variable.
    Value(Vec<u8>),
}

/// Whether what was made before is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Caching {
    /// It is.
    #[default]
    Used,
    /// It is not in these stages.
    IgnoredIn(Vec<String>),
    /// It is not.
    Ignored,
}

/// With whose settings and keys git works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GitIdentity {
    /// The caller's own.
    #[default]
    Caller,
    /// Nobody's: the build is somebody else's.
    Nobody,
}

/// Somebody who has secrets and SSH agents, and is asked when a RUN wants one that was not given.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// A secret; `None` if there is none of that name.
    ///
    /// # Errors
    /// It cannot be had.
    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>>;

    /// The socket of an agent; `None` if there is none of that name.
    ///
    /// # Errors
    /// It cannot be had.
    fn agent(&self, id: &str) -> Result<Option<PathBuf>>;
}

/// Where a tar goes.
#[derive(Clone)]
pub enum Destination {
    /// To stdout.
    Stdout,
    /// Into a file.
    File(PathBuf),
    /// To somebody who takes it.
    Stream(Arc<Mutex<dyn Write + Send>>),
}

impl fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stdout => formatter.write_str("Stdout"),
            Destination::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Destination::Stream(_) => formatter.write_str("Stream"),
        }
    }
}

/// What comes out.
#[derive(Debug, Clone)]
pub enum Output {
    /// An image in the store.
    Image,
    /// The files of its root, in a folder.
    Folder(PathBuf),
    /// The files of its root as a tar.
    Tar(Destination),
    /// An image as a tar.
    Archive(Destination),
    /// Nothing but what the next build goes on from.
    Nothing,
}

/// Rights that RUN may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entitlements {
    /// `--network=host`.
    pub host_network: bool,
    /// `--security=insecure`.
    pub insecure: bool,
}

impl Entitlements {
    /// By the words of `--allow`.
    ///
    /// # Errors
    /// There is no such right.
    pub fn parse(words: &[String]) -> Result<Entitlements> {
        let mut allowed = Entitlements::default();
        for word in words {
            match word.as_str() {
                "network.host" => allowed.host_network = true,
                "security.insecure" => allowed.insecure = true,
                other => {
                    return Err(Error::invalid(format!(
                        "--allow {other}: must be network.host or security.insecure"
                    )));
                }
            }
        }
        Ok(allowed)
    }
}

/// The moment after which nothing is dated, as arguments have it: seconds since 1970. An empty text is none.
///
/// # Errors
/// It is no such number.
pub fn parse_epoch(text: &str) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(seconds @ 0..) => Ok(Some(seconds)),
        _ => Err(Error::invalid(format!("{EPOCH}={text}: must be seconds since 1970"))),
    }
}

/// Everything that is asked for.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The stage that is wanted; the last one if none is named.
    pub target: Option<String>,
    /// `ARG` from outside.
    pub arguments: BTreeMap<String, String>,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// What its manifest says, besides.
    pub annotations: BTreeMap<String, String>,
    /// The names that the image gets.
    pub tags: Vec<Reference>,
    /// What it is to run on; `None`: this machine.
    pub platform: Option<Platform>,
    /// Whether what was made before is used.
    pub caching: Caching,
    /// Caches elsewhere.
    pub caches: Caches,
    /// Secrets by their names.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of SSH agents by their names.
    pub agents: BTreeMap<String, PathBuf>,
    /// Who has those that are not named here.
    pub keeper: Option<Arc<dyn Keeper>>,
    /// With whose settings repositories of git are fetched.
    pub git: GitIdentity,
    /// What becomes of `.git` of one that is the context.
    pub git_folder: GitFolder,
    /// Contexts with names of their own.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Network, hosts, limits of what is run.
    pub run: ContainerOptions,
    /// Rights that RUN may ask for.
    pub entitlements: Entitlements,
    /// What comes out; nothing, if there is none.
    pub outputs: Vec<Output>,
    /// Nothing is dated later, in seconds since 1970.
    pub epoch: Option<i64>,
}

/// By which a build is ended early.
#[derive(Debug, Default)]
pub struct Cancellation {
    stop: Stop,
    running: Mutex<Vec<String>>,
}

impl Cancellation {
    /// Ends what runs; nothing more is begun.
    pub fn cancel(&self, store: &Store) {
        self.stop.set();
        for id in self.running.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            kill_step(store, id);
        }
    }

    /// By which reading and unpacking are ended: for the store that a build, and whatever it pulls, is given.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Whether it is to end.
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_set()
    }

    /// A container runs.
    pub fn began(&self, id: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_string());
    }

    /// It has ended.
    pub fn ended(&self, id: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| known != id);
    }
}
