//! The configuration of an image: how its author wants it to be run, and what its layers are.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::manifest::DOCUMENT_MAX;
use super::{DiffId, Platform};
use crate::error::{Error, Result};

/// The configuration, of OCI and of Docker. Members that are not here are kept in the blob, which nobody rewrites.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Configuration {
    /// When it was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created: Option<String>,
    /// Who has made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub author: Option<String>,
    /// By Go's name.
    #[serde(default)]
    pub architecture: String,
    /// By Go's name.
    #[serde(default)]
    pub os: String,
    /// Of the architecture.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
    /// How it is run.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Execution,
    /// Its layers.
    pub rootfs: RootFs,
    /// How it was made.
    #[serde(skip_serializing_if = "Vec::is_empty", default, deserialize_with = "or_default")]
    pub history: Vec<History>,
    /// The build cache that is in it: only who looks for one reads it.
    #[serde(rename = "pillbox.build.cache.v1", skip_serializing_if = "Option::is_none", default)]
    pub cache: Option<serde_json::Value>,
}

/// How an image is run, where the command line says nothing else. What it does not say is left out, as builders do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// User and group, by names or numbers: `www-data`, `1000:1000`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp`: what it listens at.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What `Cmd` is arguments to.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The command, or the entry point's arguments.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Folders that are to be volumes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// The working folder.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Whatever its author says.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How its health is seen (Docker's).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What is done first in images that are made of it (Docker's).
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// What command lines are given to (Docker's).
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Whether the command is words already, which matters on Windows alone; builders set it with every `CMD` (Docker's).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// An object without members, as Docker writes sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// How a container's health is seen; times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `CMD` and a command, `CMD-SHELL` and a script, or `NONE`.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// Between two looks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// The longest that a look may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// While it starts, failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two looks while it starts.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The lowest one first.
    #[serde(deserialize_with = "or_default", default)]
    pub diff_ids: Vec<DiffId>,
}

/// One step of those that made an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whatever its author says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// What is as usual is left out, as Docker does.
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Docker writes `null` where nothing is.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Configuration {
    /// Its text, which its digest is of.
    ///
    /// # Errors
    /// It has become too long: nobody could read it again.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let text =
            serde_json::to_vec(self).map_err(|error| Error::invalid(format!("configuration: {error}")))?;
        match text.len() as u64 {
            0..=DOCUMENT_MAX => Ok(text),
            length => Err(Error::invalid(format!(
                "the image's configuration, which has variables, labels and the history, would have {length} bytes: {DOCUMENT_MAX} are the most"
            ))),
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &[u8]) -> Result<Configuration> {
        let config: Configuration = serde_json::from_slice(text)
            .map_err(|error| Error::corrupt(format!("the image's configuration: {error}")))?;
        if config.rootfs.kind != "layers" {
            return Err(Error::corrupt(format!(
                "the image's configuration: rootfs.type {:?}: must be \"layers\"",
                config.rootfs.kind
            )));
        }
        Ok(config)
    }

    /// What it runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_nothing() {
        let text = r#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": null},
            "config": {"Cmd": ["sh"], "Env": null, "Volumes": {"/data": {}}, "Healthcheck": null, "OnBuild": []}}"#;
        let config = Configuration::parse(text.as_bytes()).unwrap();
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.config.env.is_empty() && config.config.volumes.contains_key("/data"));
        let none = Configuration::parse(br#"{"rootfs": {"type": "layers"}, "config": null}"#).unwrap();
        assert_eq!(none.config, Execution::default());
        let error = Configuration::parse(br#"{"rootfs": {"type": "x"}}"#).unwrap_err().to_string();
        assert!(error.contains("rootfs.type \"x\""), "{error}");
    }
}
