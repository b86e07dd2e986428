//! `POST /images/create`: an image from a registry, or from a tar of a root file system.

use serde_json::json;

use super::credentials::access;
use super::progress::{Words, pulling, tell};
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::presence::while_there;
use crate::archive::{Imported, import as import_tar};
use crate::container::change_execution;
use crate::error::Kind;
use crate::image::{Execution, Platform};
use crate::reference::{Reference, Repository};
use crate::stop::Stop;
use crate::transfer::{Pulled, pull as pull_image, pull_all as pull_images};

/// Pulls an image, or imports one.
pub fn create(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let query = &exchange.head.query;
    let wrong = |text: &str| Fault::invalid(format!("\"{text}\" is an invalid OS or architecture"));
    let platform =
        query.text("platform").map(|text| Platform::parse(text).ok_or_else(|| wrong(text))).transpose()?;
    match (query.text("fromImage"), query.text("fromSrc")) {
        (Some(name), _) => match (query.text("tag"), Repository::parse(name)) {
            // Neither a tag nor a digest, here or there.
            (None | Some(""), Ok(repository)) => pull_all(daemon, exchange, &repository, platform.as_ref()),
            (tag, _) => {
                let reference = super::reference(name, tag)?;
                pull(daemon, exchange, &reference, platform.as_ref())
            }
        },
        (None, Some("-")) => import(daemon, exchange, platform),
        (None, Some(source)) => Err(Fault::invalid(format!(
            "fromSrc={source}: box fetches no tars: curl {source} | docker import -"
        ))),
        (None, None) => Err(Fault::invalid("fromImage or fromSrc is missing")),
    }
}

fn pull(
    daemon: &Daemon,
    exchange: &mut Exchange<'_>,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Outcome<Reply> {
    let access = access(exchange)?;
    let store = &daemon.store;
    let name = reference.familiar();
    let missing = format!("manifest for {name} not found: manifest unknown");
    tell(
        exchange,
        Words::Pull,
        Some(pulling(reference)),
        store,
        |store, observer| pull_image(store, reference, platform, &access, observer),
        |Pulled { digest, was_there, .. }| {
            vec![json!({"status": format!("Digest: {digest}")}), json!({"status": status(*was_there, &name)})]
        },
        |error| match error.kind() {
            Kind::NotFound => Fault::missing(format!("{missing}: manifest unknown")),
            _ => error.into(),
        },
    )
}

/// All images of a repository.
fn pull_all(
    daemon: &Daemon,
    exchange: &mut Exchange<'_>,
    repository: &Repository,
    platform: Option<&Platform>,
) -> Outcome<Reply> {
    let access = access(exchange)?;
    let (store, name) = (&daemon.store, repository.familiar());
    tell(
        exchange,
        Words::Pull,
        None,
        store,
        |store, observer| pull_images(store, repository, platform, &access, observer),
        |pulled| {
            let digests =
                pulled.iter().map(|Pulled { digest, .. }| json!({"status": format!("Digest: {digest}")}));
            let status = json!({"status": status(pulled.iter().all(|one| one.was_there), &name)});
            digests.chain([status]).collect()
        },
        Fault::from,
    )
}

fn status(was_there: bool, name: &str) -> String {
    let status = if was_there { "Image is up to date for" } else { "Downloaded newer image for" };
    format!("Status: {status} {name}")
}

fn import(daemon: &Daemon, exchange: &mut Exchange<'_>, platform: Option<Platform>) -> Outcome<Reply> {
    let query = &exchange.head.query;
    let name = query.text("repo").map(|name| super::reference(name, query.text("tag"))).transpose()?;
    if name.as_ref().is_some_and(|name| name.digest.is_some()) {
        return Err(Fault::invalid("cannot import digest reference"));
    }
    let mut execution = Execution::default();
    let changes: Vec<String> = query.texts("changes").map(str::to_string).collect();
    change_execution(&mut execution, &changes)?;
    let message = query.text("message").unwrap_or("Imported from -").to_string();
    let imported = Imported {
        name: name.as_ref(),
        platform: platform.unwrap_or_else(Platform::of_machine),
        message: Some(message),
        execution,
        expected: None,
    };
    let stop = Stop::default();
    let store = daemon.store.until(&stop);
    let record =
        while_there(exchange.connection(), || stop.set(), || import_tar(&store, exchange.body(), imported))??;
    let mut stream = exchange.stream("application/json")?;
    stream.document(&json!({"status": record.id}))?;
    exchange.end(stream)
}
