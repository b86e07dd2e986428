//! `POST /containers/create`.

use std::os::fd::AsFd;
use std::path::Path;

use serde_json::json;

use super::body::CreateBody;
use super::host_config::options;
use crate::api::daemon::{Daemon, no_image};
use crate::api::exchange::has_gone;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::container::{Lifetime, MountSource, Options, Source, Start, create as make};
use crate::error::{Error, Kind};
use crate::image::Platform;
use crate::store::Store;

/// Makes a container.
pub fn create(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let body: CreateBody = exchange.document()?;
    daemon.sweep();
    let store = &daemon.store;
    let name = exchange.head.query.text("name").map(|name| name.trim_start_matches('/').to_string());
    let mut source =
        Source::of_name(store, &body.image, None).map_err(|error| no_image(&body.image, error))?;
    if let Some(platform) = exchange.head.query.text("platform") {
        check_platform(store, &body.image, platform)?;
    }
    let options = options(&body, &mut source.execution)?;
    make_folders(&body, &options)?;
    let lifetime = if body.host_config.auto_remove { Lifetime::OfProgram } else { Lifetime::Kept };
    let made = make(store, source, name.clone(), options, lifetime, Start::Later);
    let own = made.map_err(|error| match error.kind() {
        // The client would take it for a missing image, and pull that.
        Kind::NotFound => Fault::invalid(error.to_string()),
        _ => taken(store, name.as_deref(), error),
    })?;
    if has_gone(exchange.connection().as_fd()) {
        // Nobody would ever know of it.
        own.remove(store)?;
        return Err(Error::new(Kind::Closed, "the client has gone meanwhile").into());
    }
    Ok(Reply::Json(201, json!({"Id": own.record.id, "Warnings": []})))
}

/// `docker run -v` makes folders that are missing; a mount does not.
fn make_folders(body: &CreateBody, options: &Options) -> Outcome<()> {
    let binds = options.mounts.iter().take(body.host_config.binds.len());
    for mount in binds {
        if let MountSource::Bind { path, .. } = &mount.source
            && !Path::new(path).exists()
        {
            std::fs::create_dir_all(path).map_err(|error| {
                Fault::new(
                    500,
                    format!("error while creating mount source path '{}': {error}", path.display()),
                )
            })?;
        }
    }
    Ok(())
}

fn check_platform(store: &Store, image: &str, text: &str) -> Outcome<()> {
    let wrong = || Fault::invalid(format!("\"{text}\" is an invalid OS or architecture"));
    let wanted = Platform::parse(text).ok_or_else(wrong)?;
    match wanted.accepts(&store.find_image(image)?.platform) {
        true => Ok(()),
        false => Err(Fault::missing(format!(
            "No such image: {image} (it is there, but not for the platform {text})"
        ))),
    }
}

/// Docker's words for a name that another container has.
pub fn taken(store: &Store, name: Option<&str>, error: Error) -> Fault {
    let owner = name.and_then(|name| store.containers().find(name).ok());
    match (error.kind(), name, owner) {
        (Kind::Conflict, Some(name), Some(owner)) => Fault::conflict(format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
            owner.id
        )),
        _ => error.into(),
    }
}
