//! `/images`, and what else has to do with registries.

mod credentials;
mod describe;
mod files;
mod progress;
mod pull;
mod push;
mod remove;

pub use credentials::{auth, distribution, registries};
pub use describe::{documents, history, inspect, list};
pub use files::{commit, load, save, save_one};
pub use pull::create;
pub use push::{push, tag};
pub use remove::{prune, remove};

use super::daemon::Daemon;
use super::exchange::{Exchange, Reply};
use super::fault::{Fault, Outcome};
use crate::reference::Reference;

/// Registries have no search that box knows.
pub fn search(_: &Daemon, _: &mut Exchange<'_>) -> Outcome<Reply> {
    Err(Fault::new(501, "box does not search registries: their own pages do"))
}

/// A name with a tag or a digest, of parameters that may have it in one or in two.
fn reference(name: &str, tag: Option<&str>) -> Outcome<Reference> {
    let text = match tag {
        Some(digest) if digest.contains(':') => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
        None => name.to_string(),
    };
    Reference::parse(&text).map_err(|error| Fault::invalid(format!("invalid reference format: {error}")))
}
