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
    /// It was sent this signal.
    Kill(i32),
    /// It has ended because somebody asked for that.
    Stop,
    /// It was ended and started again because somebody asked for that.
    Restart,
    /// Something happens to one more program in it.
    Exec(ExecHappening),
    /// All its processes were stopped.
    Pause,
    /// They go on.
    Unpause,
    /// It had this name before.
    Rename(String),
    /// Its limits are others.
    Update,
    /// A look at its health has changed what is known of it.
    Health(&'static str),
}

/// Something that happens to a program that runs beside a container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecHappening {
    /// Its id.
    pub id: String,
    /// What happens.
    pub what: ExecEvent,
}

/// What that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// It is to be run: these words.
    Create(Vec<String>),
    /// It runs: these words.
    Start(Vec<String>),
    /// It has ended with this status.
    Die(u8),
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
        Happening::Kill(signal) => {
            attributes.insert("signal".into(), signal.to_string());
            "kill".to_string()
        }
        Happening::Stop => "stop".to_string(),
        Happening::Restart => "restart".to_string(),
        Happening::Exec(ExecHappening { id, what }) => {
            attributes.insert("execID".into(), id.clone());
            match what {
                ExecEvent::Create(words) => format!("exec_create: {}", words.join(" ")),
                ExecEvent::Start(words) => format!("exec_start: {}", words.join(" ")),
                ExecEvent::Die(status) => {
                    attributes.insert("exitCode".into(), status.to_string());
                    "exec_die".to_string()
                }
            }
        }
        Happening::Pause => "pause".to_string(),
        Happening::Unpause => "unpause".to_string(),
        Happening::Rename(before) => {
            attributes.insert("oldName".into(), before.clone());
            "rename".to_string()
        }
        Happening::Update => "update".to_string(),
        Happening::Health(status) => format!("health_status: {status}"),
    };
    let id = record.id.clone();
    store.events().note(&Event { time: Moment::now(), kind: EventKind::Container, action, id, attributes });
}
