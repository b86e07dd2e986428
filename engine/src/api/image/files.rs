//! Images from tars and into tars, and from containers.

use serde_json::{Value, json};

use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::presence::while_there;
use crate::archive::{load as load_tar, save as save_tar};
use crate::container::{CommitOptions, commit as commit_container};
use crate::image::Platform;
use crate::stop::Stop;
use crate::store::ImageRecord;

/// A tar of several images.
pub fn save(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let names: Vec<String> = exchange.head.query.texts("names").map(str::to_string).collect();
    match names.is_empty() {
        true => Err(Fault::invalid("parameter names is missing")),
        false => write(daemon, exchange, &names),
    }
}

/// A tar of one.
pub fn save_one(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let name = exchange.parameter(0).to_string();
    write(daemon, exchange, &[name])
}

fn write(daemon: &Daemon, exchange: &mut Exchange<'_>, names: &[String]) -> Outcome<Reply> {
    let records: Vec<ImageRecord> = names.iter().map(|name| daemon.image(name)).collect::<Outcome<_>>()?;
    let nameless = |record: &&ImageRecord| record.manifest.is_none();
    if let Some(record) = records.iter().find(nameless) {
        return Err(Fault::invalid(format!("{}: it was made from a file and has no manifest", record.name)));
    }
    let saved = exchange.write_late("application/x-tar", |out| save_tar(&daemon.store, &records, out))?;
    records.iter().for_each(|record| daemon.store.events().note_image(record, "save"));
    Ok(saved)
}

/// All images of a tar.
pub fn load(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let wrong = |text: &str| Fault::invalid(format!("\"{text}\" is an invalid OS or architecture"));
    let platform = exchange.head.query.text("platform");
    let platform = platform.map(|text| Platform::parse(text).ok_or_else(|| wrong(text))).transpose()?;
    let stop = Stop::default();
    let store = daemon.store.until(&stop);
    let connection = exchange.connection();
    let load = || load_tar(&store, &mut exchange.body(), platform.as_ref());
    let records = while_there(connection, || stop.set(), load)??;
    let mut stream = exchange.stream("application/json")?;
    for record in records {
        let line = match record.reference() {
            Some(name) => format!("Loaded image: {}\n", name.familiar()),
            None => format!("Loaded image ID: {}\n", record.id),
        };
        stream.document(&json!({"stream": line}))?;
    }
    exchange.end(stream)
}

/// An image of a container and what it has changed.
pub fn commit(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let _: Option<Value> = exchange.document_if_any()?;
    let query = &exchange.head.query;
    let name = query.text("container").ok_or_else(|| Fault::invalid("parameter container is missing"))?;
    let folder = daemon.container(name)?;
    let text = |name| query.text(name).unwrap_or_default().to_string();
    let options = CommitOptions {
        name: query.text("repo").map(|repo| super::reference(repo, query.text("tag"))).transpose()?,
        author: text("author"),
        message: text("comment"),
        changes: query.texts("changes").flat_map(str::lines).map(str::to_string).collect(),
        pause: query.is_on("pause", true),
    };
    let id = commit_container(&daemon.store, &folder, &options)?;
    Ok(Reply::Json(201, json!({"Id": id})))
}
