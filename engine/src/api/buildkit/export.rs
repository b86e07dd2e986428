//! What comes out of a build, in BuildKit's words, and how it gets where it belongs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::file_send::{FileWriter, send_folder};
use super::message::{Exporter, SolveRequest};
use super::progress::Teller;
use super::session::Session;
use super::status::Status;
use crate::build::{Built, Destination, Output};
use crate::digest::Digest;
use crate::reference::Reference;
use crate::registry::Access;
use crate::store::{ImageRecord, NewLayer, Store};
use crate::transfer::{Silent, push};

/// By which name clients are told of an image's id.
pub const IMAGE_ID: &str = "containerimage.config.digest";

/// What may be said of an image without a consequence here: each value is what is done anyway.
const USUAL: [(&str, &str); 10] = [
    ("load", "true"),
    ("unpack", ""),
    ("store", "true"),
    ("oci-mediatypes", ""),
    ("compression", "gzip"),
    ("force-compression", "false"),
    ("name-canonical", ""),
    ("rewrite-timestamp", ""),
    ("prefer-image-digest", ""),
    ("tar", "true"),
];

/// What is to come out.
#[derive(Default)]
pub struct Export {
    /// As the builder has it.
    pub outputs: Vec<Output>,
    /// Names of the image.
    pub names: Vec<Reference>,
    /// What its manifest says, besides.
    pub annotations: BTreeMap<String, String>,
    is_pushed: bool,
    deliveries: Vec<Delivery>,
}

/// How an output gets to the client; the number is its place among all.
enum Delivery {
    /// As a file, while it is written.
    File(Arc<Mutex<FileWriter>>),
    /// As a folder, from one that is deleted then.
    Folder(NewLayer, usize),
}

impl Export {
    /// What a request asks for.
    ///
    /// # Errors
    /// It cannot come out.
    pub fn parse(request: &SolveRequest, session: &Arc<Session>, store: &Store) -> Result<Export, Status> {
        let older =
            Exporter { kind: request.exporter.clone(), attributes: request.exporter_attributes.clone() };
        let exporters = match &request.exporters[..] {
            [] if older.kind.is_empty() => &[],
            [] => std::slice::from_ref(&older),
            exporters => exporters,
        };
        let mut export = Export::default();
        for (number, exporter) in exporters.iter().enumerate() {
            export.take_attributes(exporter)?;
            export.add(&exporter.kind, number, session, store)?;
        }
        if export.is_pushed && export.names.is_empty() {
            return Err(Status::invalid("--output push=true: a name is needed for it"));
        }
        Ok(export)
    }

    fn take_attributes(&mut self, exporter: &Exporter) -> Result<(), Status> {
        let Exporter { kind, attributes } = exporter;
        let wrong = |what: String| Status::invalid(format!("--output type={kind}: {what}"));
        for (name, value) in attributes {
            match name.as_str() {
                "name" => {
                    for name in value.split(',').filter(|name| !name.is_empty()) {
                        let reference = Reference::parse(name);
                        let reference =
                            reference.map_err(|error| wrong(format!("invalid tag {name:?}: {error}")))?;
                        if reference.digest.is_some() {
                            return Err(wrong(format!("{name}: a digest cannot be chosen")));
                        }
                        if !self.names.contains(&reference) {
                            self.names.push(reference);
                        }
                    }
                }
                "push" => self.is_pushed |= is_true(value),
                name if annotation_of(name).is_some() => {
                    let key = annotation_of(name).unwrap_or_default();
                    self.annotations.insert(key.to_string(), value.clone());
                }
                "context" => {}
                "mode" | "platform-split" if kind == "local" => {}
                name if USUAL
                    .iter()
                    .any(|(known, usual)| *known == name && (usual.is_empty() || usual == value)) => {}
                _ => return Err(wrong(format!("{name}={value} is not done: leave it out"))),
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        kind: &str,
        number: usize,
        session: &Arc<Session>,
        store: &Store,
    ) -> Result<(), Status> {
        let mut file = || {
            let file = Arc::new(Mutex::new(FileWriter::new(session.clone(), number)));
            self.deliveries.push(Delivery::File(file.clone()));
            Destination::Stream(file)
        };
        let output = match kind {
            "moby" | "image" => Output::Image,
            "tar" => Output::Tar(file()),
            "docker" | "oci" => Output::Archive(file()),
            "local" => {
                let folder = store.layers().begin()?;
                let output = Output::Folder(folder.path());
                self.deliveries.push(Delivery::Folder(folder, number));
                output
            }
            _ => {
                let what = "the type must be image, local, tar, docker or oci";
                return Err(Status::invalid(format!("--output type={kind}: {what}")));
            }
        };
        self.outputs.push(output);
        Ok(())
    }

    /// Brings the client what has come out, and tells it of each part.
    ///
    /// # Errors
    /// The client does not take it.
    pub fn deliver(&self, session: &Session, teller: &Teller) -> Result<(), Status> {
        self.deliveries.iter().try_for_each(|delivery| match delivery {
            Delivery::File(file) => teller
                .part("sending the file", || file.lock().unwrap_or_else(PoisonError::into_inner).finish()),
            Delivery::Folder(folder, number) => {
                teller.part("copying files", || send_folder(session, &folder.path(), *number))
            }
        })
    }

    /// The names under which it goes to registries.
    pub fn pushes(&self) -> &[Reference] {
        if self.is_pushed { &self.names } else { &[] }
    }

    /// What is said of an image that has come out, and of its manifest in a registry, if it was pushed.
    pub fn describe(&self, built: Option<&Built>, pushed: Option<Digest>) -> BTreeMap<String, String> {
        let Some(built) = built else { return BTreeMap::new() };
        let digest = pushed.or(built.record.manifest);
        let mut said = BTreeMap::from([
            (IMAGE_ID.to_string(), built.id.to_string()),
            (
                "containerimage.digest".to_string(),
                digest.map_or(built.id.to_string(), |digest| digest.to_string()),
            ),
        ]);
        if !self.names.is_empty() {
            let names: Vec<String> = self.names.iter().map(Reference::to_string).collect();
            said.insert("image.name".to_string(), names.join(","));
        }
        said
    }
}

/// Sends an image to its registry under a name, and notes what it is there.
///
/// # Errors
/// The registry does not take it.
pub fn push_as(store: &Store, built: &Built, name: &Reference, access: &Access) -> Result<Digest, Status> {
    let (digest, _) = push(store, &built.record, name, access, &Silent)?;
    let known = ImageRecord {
        name: name.to_string(),
        manifest: Some(digest),
        repo_digest: Some(digest),
        ..built.record.clone()
    };
    store.name_image(&known)?;
    Ok(digest)
}

/// The key of an annotation of the manifest.
fn annotation_of(name: &str) -> Option<&str> {
    name.strip_prefix("annotation.").or_else(|| name.strip_prefix("annotation-manifest."))
}

/// As Go reads what is true.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}
