//! What a container's line in a list shows, and what filters of lists ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compile::arguments;
use super::exposed::{ExposedPort, exposed_ports};
use super::options::NetworkMode;
use super::record::{ContainerRecord, Progress};
use crate::image::ImageId;
use crate::time::Moment;

/// A container's record in short. Lists of hundreds keep those of containers at rest in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The image, as the command line named it.
    pub image: String,
    /// That image's id, if it is made of one.
    pub image_id: Option<ImageId>,
    /// Its program with all arguments.
    pub command: String,
    /// When it was made.
    pub created: Moment,
    /// The labels of the command line.
    pub labels: BTreeMap<String, String>,
    /// Where something is mounted.
    pub destinations: Vec<String>,
    /// The volumes that are among that.
    pub volumes: Vec<String>,
    /// The names of its networks, or of what it has instead.
    pub networks: Vec<String>,
    /// The ports that the command line publishes.
    pub published: Vec<String>,
    /// The ports that its image or the command line exposes, as `80/tcp`.
    pub exposed: Vec<String>,
    /// How far it had come.
    pub progress: Progress,
}

impl Summary {
    /// Of a record.
    pub fn of(record: ContainerRecord, progress: Progress) -> Summary {
        let command = arguments(&record.execution, &record.options).unwrap_or_default().join(" ");
        // An image may say what is none.
        let exposed = exposed_ports(&record.execution, &record.options.network).unwrap_or_default();
        let volumes = record.options.volumes().map(str::to_string).collect();
        let (networks, image_id) = (networks(&record), record.image_id().copied());
        let ContainerRecord { name, image, options, created, .. } = record;
        Summary {
            name,
            image,
            image_id,
            command,
            created,
            labels: options.labels,
            destinations: options.mounts.into_iter().map(|mount| mount.destination).collect(),
            volumes,
            networks,
            published: options.network.published,
            exposed: exposed.iter().map(ExposedPort::to_string).collect(),
            progress,
        }
    }
}

fn networks(record: &ContainerRecord) -> Vec<String> {
    let network = &record.options.network;
    match &network.mode {
        NetworkMode::None => vec!["none".to_string()],
        NetworkMode::Host => vec!["host".to_string()],
        // As with Docker, another one's network is none that it is on.
        NetworkMode::Container(_) => Vec::new(),
        NetworkMode::Default | NetworkMode::Named(_) => {
            network.connections().into_iter().map(|connection| connection.network).collect()
        }
    }
}
