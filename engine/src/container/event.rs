//! What happens to containers, written down.

use std::collections::BTreeMap;

use super::record::ContainerRecord;
use crate::store::{Event, EventKind, Store};
use crate::time::Moment;

/// Something that happens to containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// It was made.
    Create,
    /// Its program runs.
    Start,
    /// Its program has ended with this status.
    Die(u8),
    /// It was removed.
    Destroy,
    /// All its processes were stopped.
    Pause,
    /// They go on.
    Unpause,
    /// It had this name before.
    Rename(String),
    /// Its limits are others.
    Update,
    /// It is on this network from now on.
    Connect(String),
    /// It is no longer on this network.
    Disconnect(String),
    /// A look at its health has changed what is known of it.
    Health(&'static str),
}

/// Writes it down.
pub fn note(store: &Store, record: &ContainerRecord, happening: &Happening) {
    let mut attributes: BTreeMap<String, String> = record.options.labels.clone();
    attributes.insert("image".into(), record.image.clone());
    attributes.insert("name".into(), record.name.clone());
    let action = match happening {
        Happening::Create => "create".to_string(),
        Happening::Start => "start".to_string(),
        Happening::Die(status) => {
            attributes.insert("exitCode".into(), status.to_string());
            "die".to_string()
        }
        Happening::Destroy => "destroy".to_string(),
        Happening::Pause => "pause".to_string(),
        Happening::Unpause => "unpause".to_string(),
        Happening::Rename(before) => {
            attributes.insert("oldName".into(), before.clone());
            "rename".to_string()
        }
        Happening::Update => "update".to_string(),
        Happening::Connect(network) | Happening::Disconnect(network) => {
            attributes.insert("network".into(), network.clone());
            let is_connected = matches!(happening, Happening::Connect(_));
            if is_connected { "network-connect" } else { "network-disconnect" }.to_string()
        }
        Happening::Health(status) => format!("health_status: {status}"),
    };
    let id = record.id.clone();
    store.events().note(&Event { time: Moment::now(), kind: EventKind::Container, action, id, attributes });
}
