//! From a container's record to what the runtime takes.

use std::path::Path;
use std::sync::Arc;

use pillbox::container::CniSettings;
use pillbox::root::RootSource;
use pillbox::{Bundle, CreateOptions};

use super::compile::compile;
use super::connector::Connector;
use super::facts::Facts;
use super::joined::are_one;
use super::network::look_up;
use super::options::{MountSource, Options};
use super::overlay::Overlay;
use super::record::ContainerRecord;
use super::root::RootFolders;
use super::rootless::{Namespaces, Rootless};
use super::status::Status;
use super::streams::Account;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{ContainerFolder, ContainerId, Store, VolumeDevice};

/// What the runtime takes.
#[derive(Debug)]
pub struct Prepared {
    /// The configuration.
    pub bundle: Bundle,
    /// Root and networks; streams are the caller's to add.
    pub options: CreateOptions,
    /// Whose program it is.
    pub account: Account,
    /// Of a container that is kept: as long as it is held, nobody waits for the disk.
    pub overlay: Option<Overlay>,
}

/// Prepares a container to be started. The caller holds its lock, because its root is a writable overlay.
///
/// # Errors
/// Something cannot be as it is asked for.
pub fn prepare(store: &Store, folder: &ContainerFolder, record: &ContainerRecord) -> Result<Prepared> {
    check_sources(&record.options)?;
    let root = RootFolders::make(store, folder, record)?;
    let layers = root.layers(record.auto_remove);
    // What is thrown away is never synced.
    let overlay = match record.auto_remove {
        true => None,
        false => Some(Overlay::begin(root.work())?),
    };
    let source = match store.maps() {
        Some(_) => RootSource::layers(layers),
        None => RootSource::layers_meanwhile(layers),
    };
    let mut facts = Facts::look(store, &record.id, &record.options, root.accounts()?)?;
    fill_volumes(store, &folder.id, &record.options, &facts, &root)?;
    let mut notes = Vec::new();
    let rootless = Rootless::of(store).filter(|_| !record.options.network.names().is_empty());
    let namespaces = rootless.map(|rootless| rootless.provide(store, &mut notes)).transpose()?;
    if let Some(path) = namespaces.as_ref().map(Namespaces::user_path) {
        if let Some(joined) = &facts.joined.user
            && !are_one(joined, &path)?
        {
            return Err(Error::conflict(
                "--pid, --ipc: on a network with a name an ordinary user's container can only join those that are on one as well",
            ));
        }
        facts.joined.user = Some(path);
    }
    let config = compile(&record.execution, &record.options, &facts)?;
    let bundle = Bundle {
        // On it the root is attached, where only init sees it: it must hide nothing that is mounted into the container.
        path: root.work().to_path_buf(),
        config: config.text(),
        config_name: record.name.clone(),
    };
    let names = folder.names();
    std::fs::create_dir_all(&names).context(|| format!("make the folder {}", names.display()))?;
    let (document, mut networks) = look_up(store, &record.execution, &record.options, names)?;
    // Where pasta and slirp4netns are.
    let mut settings = CniSettings::default();
    settings.path = std::env::var("PATH").ok();
    networks.set_cni(settings);
    if let Some(namespaces) = namespaces {
        networks.set_elsewhere(Arc::new(Connector::new(namespaces, document, notes)));
    }
    let options = CreateOptions::new().root(source).networks(networks).init(record.options.init);
    Ok(Prepared { bundle, options, account: Account::of(config.process()), overlay })
}

/// A source that has gone since the flags were read is said before anything is made.
fn check_sources(options: &Options) -> Result<()> {
    for mount in &options.mounts {
        if let MountSource::Bind { path, .. } = &mount.source
            && let Err(error) = std::fs::metadata(path)
        {
            let path = path.display();
            let error = Error::from(error);
            return Err(match error.kind() {
                Kind::NotFound => Error::not_found(format!(
                    "the mount {path}:{}: {path} is missing: make it first (mkdir -p {path})",
                    mount.destination
                )),
                _ => error.context(format!("the mount {path}:{}", mount.destination)),
            });
        }
    }
    Ok(())
}

/// A volume that is empty begins with what the image has at its place.
fn fill_volumes(
    store: &Store,
    own: &ContainerId,
    options: &Options,
    facts: &Facts,
    root: &RootFolders,
) -> Result<()> {
    for mount in &options.mounts {
        let MountSource::Volume { name, copies, .. } = &mount.source else { continue };
        let copy = |folder: &Path| root.copy_out(store, &mount.destination, folder);
        match facts.volume_devices.get(name) {
            Some(VolumeDevice::Bind { path, .. }) => {
                let named = || format!("volume {name}: its folder {}", path.display());
                let is_empty = std::fs::read_dir(path).context(named)?.next().is_none();
                if is_empty && *copies {
                    copy(path)?;
                }
                continue;
            }
            // It begins with its mount.
            Some(VolumeDevice::Tmpfs { .. }) => {
                refuse_shared(store, own, name)?;
                continue;
            }
            None => {}
        }
        if *copies {
            store.volumes().fill(name, copy)?;
        } else {
            store.volumes().finish(name)?;
        }
    }
    Ok(())
}

/// Each container has a mount of its own of a volume in memory: what one writes another one would not see.
fn refuse_shared(store: &Store, own: &ContainerId, name: &str) -> Result<()> {
    for folder in store.containers().list()? {
        let Ok(Some(record)) = ContainerRecord::read(&folder) else { continue };
        let has_it = folder.id != *own && record.options.has_volume(name);
        if has_it && Status::of(store, &folder).is_ok_and(|status| status.is_alive()) {
            return Err(Error::conflict(format!(
                "volume {name}: type=tmpfs is for one container at a time, and {} runs with it: stop that, or take a volume on disk",
                record.name
            )));
        }
    }
    Ok(())
}
