//! `POST /images/NAME/tag` and `push`.

use serde_json::{Value, json};

use super::credentials::access;
use super::progress::{Words, tell};
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::digest::Digest;
use crate::reference::Reference;
use crate::store::ImageRecord;
use crate::transfer::push as push_image;

/// One more name for an image.
pub fn tag(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let record = daemon.image(exchange.parameter(0))?;
    let query = &exchange.head.query;
    let name = query.text("repo").ok_or_else(|| Fault::invalid("parameter repo is missing"))?;
    let reference = super::reference(name, query.text("tag"))?;
    if reference.digest.is_some() {
        return Err(Fault::invalid("refusing to create a tag with a digest reference"));
    }
    let named = ImageRecord { name: reference.to_string(), repo_digest: None, ..record };
    daemon.store.name_image(&named)?;
    daemon.store.events().note_image(&named, "tag");
    Ok(Reply::Empty(201))
}

/// Sends an image to its registry: under one tag, or without one under all that it has there.
pub fn push(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let store = &daemon.store;
    let name = exchange.parameter(0).to_string();
    let references = match exchange.head.query.text("tag") {
        Some(tag) => vec![super::reference(&name, Some(tag))?],
        None => tags(daemon, &name)?,
    };
    let access = access(exchange)?;
    let records: Vec<(Reference, ImageRecord)> = references
        .into_iter()
        .map(|reference| {
            let record = store.find_image(&reference.to_string()).map_err(|_| {
                Fault::missing(format!(
                    "An image does not exist locally with the tag: {}",
                    reference.repository.familiar()
                ))
            })?;
            Ok((reference, record))
        })
        .collect::<Outcome<_>>()?;
    let repository =
        records.first().map(|(reference, _)| reference.repository.to_string()).unwrap_or_default();
    let first = json!({"status": format!("The push refers to repository [{repository}]")});
    tell(
        exchange,
        Words::Push,
        Some(first),
        store,
        |store, observer| {
            let mut pushed = Vec::new();
            for (reference, record) in &records {
                let (digest, length) = push_image(store, record, reference, &access, observer)?;
                // It is another one where layers had to be compressed.
                let known = ImageRecord {
                    name: reference.to_string(),
                    manifest: Some(digest),
                    repo_digest: Some(digest),
                    ..record.clone()
                };
                store.name_image(&known)?;
                pushed.push((reference.target(), digest, length));
            }
            Ok(pushed)
        },
        |pushed| pushed.iter().flat_map(|(tag, digest, length)| said(tag, digest, *length)).collect(),
        Fault::from,
    )
}

fn said(tag: &str, digest: &Digest, length: u64) -> [Value; 2] {
    [
        json!({"status": format!("{tag}: digest: {digest} size: {length}")}),
        json!({"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": length}}),
    ]
}

fn tags(daemon: &Daemon, name: &str) -> Outcome<Vec<Reference>> {
    let wanted = super::reference(name, None)?.repository;
    let records = daemon.store.images().list()?;
    let names = records.iter().filter_map(ImageRecord::reference);
    let found: Vec<Reference> =
        names.filter(|name| name.repository == wanted && name.digest.is_none()).collect();
    match found.is_empty() {
        true => Err(Fault::missing(format!("An image does not exist locally with the tag: {name}"))),
        false => Ok(found),
    }
}
