//! What happens to containers, written down.

use std::collections::BTreeMap;

use super::network::own_network_id;
use super::options::{Access, MountSource, NetworkMode, USUAL};
use super::record::{ContainerRecord, was_asked_to_stop};
use crate::store::{ContainerFolder, Event, EventKind, Store};
use crate::time::Moment;

/// Something that happens to containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// It was made.
    Create,
    /// Its program runs.
    Start,
    /// Its program has ended: with this status, after so many seconds.
    Die(u8, u64),
    /// It was killed because its memory was exhausted.
    OutOfMemory,
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
    /// An image was made of it.
    Commit {
        /// Its id.
        image: String,
        /// Its name.
        name: String,
        /// What for.
        comment: String,
    },
    /// Somebody looks at its processes.
    Top,
    /// Files were taken from it.
    Archive,
    /// Files were put into it.
    Extract,
    /// All its files were taken.
    Export,
    /// Somebody looks on.
    Attach,
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
    store.events().note(&event(record, happening));
}

/// The same of one whose record is not at hand. One that has gone is nobody's any more.
pub fn note_of(store: &Store, folder: &ContainerFolder, happening: &Happening) {
    if let Ok(Some(record)) = ContainerRecord::read(folder) {
        note(store, &record, happening);
    }
}

/// Writes down that a container's program begins, behind what it is on and has mounted.
pub fn note_start(store: &Store, record: &ContainerRecord) {
    let mounts = record.options.mounts.iter().filter_map(|mount| {
        let MountSource::Volume { name, .. } = &mount.source else { return None };
        let attributes = [
            ("container", record.id.clone()),
            ("destination", mount.destination.clone()),
            ("driver", "local".to_string()),
            ("propagation", String::new()),
            ("read/write", (mount.access == Access::ReadWrite).to_string()),
        ];
        Some(Event::now(EventKind::Volume, name.clone(), "mount", attributes))
    });
    let mut events: Vec<Event> = mounts.collect();
    events.extend(connections(store, record, "connect"));
    events.push(event(record, &Happening::Start));
    store.events().note_all(&events);
}

/// Writes down that it has ended, and what it lets go of.
pub fn note_end(store: &Store, folder: &ContainerFolder, record: &ContainerRecord, endings: &[Happening]) {
    // It may have been connected and disconnected meanwhile.
    let now = ContainerRecord::read(folder).ok().flatten();
    let mut events = connections(store, now.as_ref().unwrap_or(record), "disconnect");
    events.extend(record.options.volumes().map(|name| {
        let attributes = [("container", record.id.clone()), ("driver", "local".to_string())];
        Event::now(EventKind::Volume, name.to_string(), "unmount", attributes)
    }));
    let stop = was_asked_to_stop(folder).then_some(&Happening::Stop);
    events.extend(stop.into_iter().chain(endings).map(|happening| event(record, happening)));
    store.events().note_all(&events);
}

/// What happens to the networks of a container that begins or ends.
fn connections(store: &Store, record: &ContainerRecord, action: &str) -> Vec<Event> {
    let network = &record.options.network;
    let on = |id: String, name: &str, kind: &str| {
        let attributes =
            [("container", record.id.clone()), ("name", name.to_string()), ("type", kind.to_string())];
        Event::now(EventKind::Network, id, action, attributes)
    };
    let own = |name: &str, kind: &str| on(own_network_id(name), name, kind);
    match network.mode {
        NetworkMode::None => return vec![own("none", "null")],
        NetworkMode::Host => return vec![own("host", "host")],
        _ => {}
    }
    let connections = network.connections().into_iter();
    connections
        .filter_map(|connection| match connection.network.as_str() {
            USUAL => Some(own(USUAL, "bridge")),
            name => store.networks().find(name).ok().map(|one| on(one.id, &one.name, one.driver.name())),
        })
        .collect()
}

/// As Docker has them: with a blank behind a program without arguments.
fn words_of(words: &[String]) -> String {
    let (program, arguments) =
        words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    format!("{program} {}", arguments.join(" "))
}

fn event(record: &ContainerRecord, happening: &Happening) -> Event {
    let mut attributes: BTreeMap<String, String> = record.options.labels.clone();
    attributes.insert("image".into(), record.image.clone());
    attributes.insert("name".into(), record.name.clone());
    let action = match happening {
        Happening::Create => "create".to_string(),
        Happening::Start => "start".to_string(),
        Happening::Die(status, seconds) => {
            attributes.insert("exitCode".into(), status.to_string());
            attributes.insert("execDuration".into(), seconds.to_string());
            "die".to_string()
        }
        Happening::OutOfMemory => "oom".to_string(),
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
                ExecEvent::Create(words) => format!("exec_create: {}", words_of(words)),
                ExecEvent::Start(words) => format!("exec_start: {}", words_of(words)),
                ExecEvent::Die(status) => {
                    attributes.insert("exitCode".into(), status.to_string());
                    "exec_die".to_string()
                }
            }
        }
        Happening::Pause => "pause".to_string(),
        Happening::Unpause => "unpause".to_string(),
        Happening::Rename(before) => {
            // With a slash, as Docker's have always had.
            attributes.insert("oldName".into(), format!("/{before}"));
            "rename".to_string()
        }
        Happening::Update => "update".to_string(),
        Happening::Commit { image, name, comment } => {
            let more = [("imageID", image), ("imageRef", name), ("comment", comment)];
            attributes.extend(more.map(|(name, value)| (name.to_string(), value.clone())));
            "commit".to_string()
        }
        Happening::Top => "top".to_string(),
        Happening::Archive => "archive-path".to_string(),
        Happening::Extract => "extract-to-dir".to_string(),
        Happening::Export => "export".to_string(),
        Happening::Attach => "attach".to_string(),
        Happening::Health(status) => format!("health_status: {status}"),
    };
    let id = record.id.clone();
    Event { time: Moment::now(), kind: EventKind::Container, action, id, attributes }
}
