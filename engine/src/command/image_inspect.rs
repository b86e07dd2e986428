//! image inspect: everything that is known of images, as Docker's members have it.

use serde_json::{Value, json};

use super::format::Format;
use super::{Arguments, Command, Flag, Global, print, say};
use crate::error::{Context, Error, Result};
use crate::image::DOCUMENT_MAX;
use crate::store::{ImageRecord, Store};

pub const COMMAND: Command = Command {
    name: "image inspect",
    aliases: &["image show"],
    operands: "IMAGE …",
    operand_count: 1..=usize::MAX,
    help: "show what is known of images, as JSON",
    flags: &[&[Flag { long: "format", short: Some('f'), value: Some("FORMAT"), help: "fields as {{.Id}}" }]],
    ends_at_operand: false,
    run: inspect,
};

fn inspect(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let store = global.store()?;
    let mut status = 0;
    let mut found = Vec::new();
    for name in arguments.operands_from(0)? {
        match store.find_image(&name).and_then(|record| describe(&store, &record)) {
            Ok(image) => found.push(image),
            Err(error) => {
                say(&error.to_string());
                status = 1;
            }
        }
    }
    match format {
        Format::Table => {
            let text =
                serde_json::to_string_pretty(&found).map_err(|error| Error::invalid(error.to_string()))?;
            print(&(text + "\n"))?;
        }
        format => {
            print(&found.iter().map(|image| format.row(image)).collect::<Result<String>>()?)?;
        }
    }
    Ok(status)
}

/// An image as Docker describes it.
///
/// # Errors
/// Its configuration cannot be read.
pub fn describe(store: &Store, record: &ImageRecord) -> Result<Value> {
    let named = || format!("image {}", record.name);
    let text = store.blobs().read(record.id.digest(), DOCUMENT_MAX).context(named)?;
    let raw: Value =
        serde_json::from_slice(&text).map_err(|error| Error::corrupt(format!("{}: {error}", named())))?;
    let names: Vec<ImageRecord> =
        store.images().list()?.into_iter().filter(|other| other.id == record.id).collect();
    let references = || names.iter().filter_map(|record| Some((record.reference()?, record.repo_digest)));
    let tags: Vec<String> = references()
        .filter(|(name, _)| name.tag.is_some() && name.digest.is_none())
        .map(|(name, _)| name.familiar())
        .collect();
    let mut digests: Vec<String> = references()
        .filter_map(|(name, digest)| Some(format!("{}@{}", name.repository.familiar(), digest?)))
        .collect();
    digests.dedup();
    let layers: Vec<String> =
        record.layers.iter().map(|layer| store.layers().path(layer).display().to_string()).collect();
    let member = |name: &str| raw.get(name).cloned().unwrap_or(json!(""));
    Ok(json!({
        "Id": record.id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": member("created"),
        "Author": member("author"),
        "Config": execution(&raw["config"]),
        "Architecture": record.platform.architecture,
        "Variant": record.platform.variant,
        "Os": record.platform.os,
        "Size": record.size,
        "Manifest": record.manifest,
        "RootFS": {"Type": "layers", "Layers": raw["rootfs"]["diff_ids"]},
        "GraphDriver": {"Name": "overlayfs", "Data": {"Layers": layers}},
    }))
}

/// What an image says of how it is run, with the members that Docker shows of every image.
fn execution(said: &Value) -> Value {
    let mut shown = json!({
        "Cmd": null, "Entrypoint": null, "Env": null, "Labels": null, "OnBuild": null, "User": "", "Volumes": null,
        "WorkingDir": "",
    });
    for (name, value) in said.as_object().into_iter().flatten() {
        shown[name] = value.clone();
    }
    shown
}
