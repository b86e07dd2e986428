//! A container is made: its folder, its name, what was asked for.

use super::capability::Capabilities;
use super::check::check_options;
use super::event::{Happening, note};
use super::exposed::ports_to_publish;
use super::health::HealthCheck;
use super::joined::pin_others;
use super::name::{check_name, random_name};
use super::neighbours::check_names_on_networks;
use super::options::{Access, Mount, MountSource, Options, VolumeWish};
use super::own::{Own, discard, remove_volumes};
use super::record::{ContainerRecord, Progress};
use super::source::Source;
use crate::error::{Context, Error, Result};
use crate::image::Execution;
use crate::store::{ContainerId, HeldVolume, Store, VolumeRecord};
use crate::time::Moment;

/// How long a container is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until somebody removes it.
    Kept,
    /// Until its program ends.
    OfProgram,
    /// As long as the command that runs it.
    OfCommand,
}

/// When a container that is made is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// By the same command: if that is killed, what is removed when it ends is removed.
    Now,
    /// By another one.
    Later,
}

/// Makes a container.
///
/// # Errors
/// The name is taken, or cannot be one; the disk did not take it.
pub fn create(
    store: &Store,
    source: Source,
    name: Option<String>,
    mut options: Options,
    lifetime: Lifetime,
    start: Start,
) -> Result<Own> {
    check(&source, &options)?;
    let name = match name {
        Some(name) => check_name(&name).map(|()| name)?,
        None => random_name()?,
    };
    check_names_on_networks(&name, &options)?;
    pin_others(store, &mut options, &name)?;
    let id = ContainerId::random()?;
    let (folder, lock) = store.containers().make(&id, &name)?;
    let Source { name: image, base, execution, locks } = source;
    let has_health = HealthCheck::compile(&execution, &options.health).is_some();
    let record = ContainerRecord {
        id: id.as_str().to_string(),
        name,
        image,
        base,
        execution,
        options,
        created: Moment::now(),
        auto_remove: lifetime != Lifetime::Kept,
        // Its health is looked at by its monitor.
        is_foreground: lifetime == Lifetime::OfCommand && !has_health,
    };
    let mut own = Own { folder, record, lock };
    match complete(store, &mut own, start) {
        Ok(held) => {
            // From here on the record keeps layers and volumes.
            drop((locks, held));
            note(store, &own.record, &Happening::Create);
            Ok(own)
        }
        Err(error) => {
            // Whatever cannot be removed now, the next command puts away.
            let _ = remove_volumes(store, &own.record);
            discard(store, &own.folder)?.delete()?;
            Err(error)
        }
    }
}

/// What is wrong with a container is found before it is made.
///
/// # Errors
/// Something cannot be; it is named by its flag.
pub fn check(source: &Source, options: &Options) -> Result<()> {
    super::compile::arguments(&source.execution, options)?;
    ports_to_publish(&source.execution, &options.network)?;
    check_stop_signal(source, options)?;
    check_host_name(options)?;
    check_options(options)?;
    Capabilities::choose(&options.rights.added, &options.rights.dropped).map(drop)
}

/// Makes the volumes of a container, and writes its record, which names them. Until then nobody removes them.
fn complete(store: &Store, own: &mut Own, start: Start) -> Result<Vec<HeldVolume>> {
    let ContainerRecord { execution, options, auto_remove, .. } = &mut own.record;
    let held = make_volumes(store, execution, options)?;
    if start == Start::Now {
        let (started, is_kept) = (Some(Moment::now()), !*auto_remove);
        Progress { started, is_kept, ..Progress::default() }.write(&own.folder)?;
    }
    own.record.write(&own.folder)?;
    Ok(held)
}

/// A name with white space or a line end would mean something else in /etc/hosts.
fn check_host_name(options: &Options) -> Result<()> {
    let names = [("hostname", &options.hostname), ("domainname", &options.domainname)];
    for (flag, name) in names.into_iter().filter_map(|(flag, name)| Some((flag, name.as_ref()?))) {
        if name.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            return Err(Error::invalid(format!("--{flag} {name:?}: must have no white space")));
        }
    }
    Ok(())
}

/// `--stop-signal` takes the place of the image's.
fn check_stop_signal(source: &Source, options: &Options) -> Result<()> {
    match &source.execution.stop_signal {
        Some(signal) if options.stop_signal.is_none() => {
            pillbox::signal::parse(signal).map(drop).map_err(|error| {
                Error::invalid(format!(
                    "{}: StopSignal of the image: {error}: choose another one by --stop-signal",
                    source.name
                ))
            })
        }
        _ => Ok(()),
    }
}

/// Makes the volumes that are named, and those that have no name: of the command line and of the image.
fn make_volumes(store: &Store, execution: &Execution, options: &mut Options) -> Result<Vec<HeldVolume>> {
    for from in options.volumes_from.clone() {
        add_mounts_of(store, &from, &mut options.mounts).context(|| format!("--volumes-from {from}"))?;
    }
    for path in execution.volumes.keys() {
        let is_there = options.mounts.iter().any(|mount| is_same(&mount.destination, path));
        if !is_there {
            options.mounts.push(Mount::of_volume(String::new(), path.clone()));
        }
    }
    let mut held = Vec::new();
    for mount in &mut options.mounts {
        if let MountSource::Volume { name, is_anonymous, copies: _, wish } = &mut mount.source {
            let VolumeWish { labels, options } = wish.clone();
            if name.is_empty() {
                let volume = store.volumes().hold_anonymous(VolumeRecord {
                    labels,
                    options,
                    ..VolumeRecord::new("")
                })?;
                (*name, *is_anonymous) = (volume.name.clone(), true);
                held.push(volume);
            } else {
                if !wish.is_usual() {
                    store.volumes().make(VolumeRecord { labels, options, ..VolumeRecord::new(name) })?;
                }
                held.push(store.volumes().hold(name)?);
            }
        }
    }
    Ok(held)
}

/// What another container has mounted, `CONTAINER` or `CONTAINER:ro`. What this one has in the same place is its own.
fn add_mounts_of(store: &Store, from: &str, mounts: &mut Vec<Mount>) -> Result<()> {
    let (name, access) = match from.split_once(':') {
        None => (from, None),
        Some((name, "rw")) => (name, None),
        Some((name, "ro")) => (name, Some(Access::ReadOnly)),
        Some(_) => return Err(Error::invalid("must be CONTAINER, or CONTAINER:ro")),
    };
    let folder = store.containers().find(name)?;
    for mut mount in ContainerRecord::of(&folder)?.options.mounts {
        let is_taken = mounts.iter().any(|own| is_same(&own.destination, &mount.destination));
        if is_taken || matches!(mount.source, MountSource::Tmpfs { .. }) {
            continue;
        }
        mount.access = access.unwrap_or(mount.access);
        mounts.push(mount);
    }
    Ok(())
}

fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
