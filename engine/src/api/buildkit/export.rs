//! What comes out of a build, in BuildKit's words, and how it gets to the client.

use std::collections::BTreeMap;

use super::message::{Exporter, SolveRequest};
use super::status::{Status, UNIMPLEMENTED};
use crate::build::{Built, Output};
use crate::reference::Reference;

/// What is to come out.
#[derive(Debug, Default)]
pub struct Export {
    /// As the builder has it.
    pub output: Output,
    /// Names of the image.
    pub names: Vec<Reference>,
    /// Whether it goes to its registries.
    pub is_pushed: bool,
}

impl Export {
    /// What a request asks for.
    ///
    /// # Errors
    /// It cannot come out.
    pub fn parse(request: &SolveRequest) -> Result<Export, Status> {
        let older =
            Exporter { kind: request.exporter.clone(), attributes: request.exporter_attributes.clone() };
        let exporter = match &request.exporters[..] {
            [] if older.kind.is_empty() => {
                return Ok(Export { output: Output::Nothing, ..Export::default() });
            }
            [] => &older,
            [one] => one,
            _ => return Err(Status::new(UNIMPLEMENTED, "several outputs: one comes out of a build")),
        };
        let mut export = Export::default();
        let mut attributes = exporter.attributes.clone();
        for name in attributes.remove("name").unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
            let wrong = |error| Status::invalid(format!("invalid tag {name:?}: {error}"));
            export.names.push(Reference::parse(name).map_err(wrong)?);
        }
        export.is_pushed = attributes.remove("push").is_some_and(|value| is_true(&value));
        export.output = match exporter.kind.as_str() {
            "moby" | "image" => Output::Image,
            other => {
                return Err(Status::invalid(format!(
                    "output type={other}: must be image, local, tar, docker or oci"
                )));
            }
        };
        Ok(export)
    }

    /// What is said of an image that has come out.
    pub fn describe(&self, built: Option<&Built>) -> BTreeMap<String, String> {
        let Some(built) = built else { return BTreeMap::new() };
        let digest = built.record.manifest.map_or(built.id.to_string(), |manifest| manifest.to_string());
        let mut said = BTreeMap::from([
            ("containerimage.config.digest".to_string(), built.id.to_string()),
            ("containerimage.digest".to_string(), digest),
        ]);
        if !self.names.is_empty() {
            let names: Vec<String> = self.names.iter().map(Reference::to_string).collect();
            said.insert("image.name".to_string(), names.join(","));
        }
        said
    }
}

/// As Go reads what is true.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}
