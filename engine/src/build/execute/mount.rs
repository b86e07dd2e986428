//! What a RUN has mounted: files of a context or a stage, caches, secrets, sockets. Files are copied first, because a context is not
//! all that its folder has, and a stage is no folder.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::Work;
use super::agent_socket::AgentSocket;
use super::run_folder::RunFolder;
use crate::build::content::{Content, read};
use crate::build::graph::{Origin, StepMount};
use crate::build::options::Secret;
use crate::build::syntax::{Access, CacheSharing, MountKind};
use crate::container::{Access as MountAccess, Mount, MountSource, Options};
use crate::error::{Context, Error, Result};
use crate::inside::{Place, TarStream, lay};
use crate::layer::tar::Writer;
use crate::layer::{Gathering, Laying, gather};
use crate::store::{CacheMount, NewLayer, Sharing, Store};

/// The name of what is mounted, in the folder that it was copied to.
const FILES: &str = "files";

/// What is held as long as a RUN runs.
#[derive(Default)]
pub struct Held {
    layers: Vec<Arc<NewLayer>>,
    caches: Vec<CacheMount>,
    secrets: Option<RunFolder>,
    agents: Vec<AgentSocket>,
}

impl Work<'_> {
    /// What the files of a mount are; `None` if it has none.
    pub(super) fn mount_content(&self, mount: &StepMount) -> Result<Option<Content>> {
        let MountKind::Bind { source, .. } = &mount.kind else { return Ok(None) };
        let Some(origin) = &mount.from else { return Ok(None) };
        let gathered = self.gathered(origin, source)?;
        read(|out| gathered.write(self.store, out), &mut std::io::sink(), self.store.stop()).map(Some)
    }

    fn gathered(&self, origin: &Origin, source: &str) -> Result<Gathered<'_>> {
        let place = self.place_of(origin)?;
        let context = self.context_of(origin);
        let is_own = place.is_none();
        let gathering = Gathering {
            sources: vec![if source.is_empty() { ".".to_string() } else { source.to_string() }],
            ignored: if is_own { context.ignored.clone() } else { Vec::new() },
            owner: is_own.then_some((0, 0)),
            ..Gathering::default()
        };
        Ok(Gathered { place, root: &context.root, gathering })
    }

    /// Adds a mount to what a container is asked to have.
    pub(super) fn add_mount(
        &self,
        mount: &StepMount,
        content: Option<&Content>,
        options: &mut Options,
        held: &mut Held,
    ) -> Result<()> {
        match &mount.kind {
            MountKind::Bind { source, writable, .. } => {
                let Some(origin) = &mount.from else { return Ok(()) };
                let path = self.material(origin, source, content.filter(|_| !writable), held)?;
                let access = if *writable { MountAccess::ReadWrite } else { MountAccess::ReadOnly };
                bind(options, path, target(mount)?, access);
            }
            MountKind::Tmpfs { size } => {
                let options_of_it =
                    size.map(|size| format!("size={size}")).into_iter().chain(["exec".to_string()]).collect();
                let source = MountSource::Tmpfs { options: options_of_it };
                options.mounts.push(Mount::new(source, target(mount)?, MountAccess::ReadWrite));
            }
            MountKind::Cache { read_only, .. } => {
                let cache = self.cache(mount)?;
                let access = if *read_only { MountAccess::ReadOnly } else { MountAccess::ReadWrite };
                bind(options, cache.path.clone(), target(mount)?, access);
                held.caches.push(cache);
            }
            MountKind::Secret { id, variable, required, owner } => {
                let id = id
                    .clone()
                    .or_else(|| mount.target.as_deref().map(base_name))
                    .or_else(|| variable.clone());
                let id = id.ok_or_else(|| Error::invalid("RUN --mount=type=secret: id is missing"))?;
                self.add_secret(
                    &id,
                    mount.target.as_deref(),
                    variable.as_deref(),
                    (*required, *owner),
                    options,
                    held,
                )?;
            }
            MountKind::Ssh { id, required, owner } => {
                self.add_agent(id.as_deref(), mount.target.as_deref(), (*required, *owner), options, held)?;
            }
        }
        Ok(())
    }

    /// A copy of files, made once for each of those who only read it.
    fn material(
        &self,
        origin: &Origin,
        source: &str,
        content: Option<&Content>,
        held: &mut Held,
    ) -> Result<PathBuf> {
        let key = content.map(|content| content.digest.hex());
        let mut materials = self.materials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = key.as_ref().and_then(|key| materials.get(key)) {
            held.layers.push(known.clone());
            return Ok(known.path().join(FILES));
        }
        let layer = Arc::new(self.store.layers().begin()?);
        let gathered = self.gathered(origin, source)?;
        self.fill(&layer.path(), FILES, (0, 0), 0o755, &mut |out| gathered.write(self.store, out))?;
        held.layers.push(layer.clone());
        let path = layer.path().join(FILES);
        if let Some(key) = key {
            materials.insert(key, layer);
        }
        Ok(path)
    }

    fn fill(
        &self,
        folder: &Path,
        name: &str,
        owner: (u32, u32),
        mode: u32,
        fill: &mut dyn FnMut(&mut dyn std::io::Write) -> Result<()>,
    ) -> Result<()> {
        let laying = Laying { destination: format!("/{name}"), makes_folder: false, owner, mode };
        lay(self.store.maps(), &Place::Folder(folder.to_path_buf()), &laying, fill)
    }

    fn cache(&self, mount: &StepMount) -> Result<CacheMount> {
        let MountKind::Cache { id, sharing, source, owner, .. } = &mount.kind else {
            return Err(Error::invalid("no cache"));
        };
        let target = target(mount)?;
        let name = id.as_deref().unwrap_or(&target);
        let cache = self.store.build_cache();
        let found = match sharing {
            CacheSharing::Shared => cache.mount(name, Sharing::Shared, true)?,
            CacheSharing::Locked => cache.mount(name, Sharing::Exclusive, true)?,
            CacheSharing::Private => {
                let mut names =
                    std::iter::once(name.to_string()).chain((1..).map(|number| format!("{name}\0{number}")));
                let mut free = None;
                while free.is_none() {
                    free = cache.mount(&names.next().unwrap_or_default(), Sharing::Exclusive, false)?;
                }
                free
            }
        };
        let found = found.ok_or_else(|| Error::conflict(format!("the cache {name}: somebody uses it")))?;
        if !found.path.exists() {
            self.begin_cache(mount, &found, source, *owner)?;
        }
        Ok(found)
    }

    /// What it begins with.
    fn begin_cache(&self, mount: &StepMount, cache: &CacheMount, source: &str, owner: Access) -> Result<()> {
        let Access { uid, gid, mode } = owner;
        let folder = cache.path.parent().unwrap_or(&cache.path);
        let name = base_name(&cache.path.to_string_lossy());
        let laying = Laying { destination: format!("/{name}"), makes_folder: true, owner: (uid, gid), mode };
        let place = Place::Folder(folder.to_path_buf());
        let gathered = mount.from.as_ref().map(|origin| self.gathered(origin, source)).transpose()?;
        lay(self.store.maps(), &place, &laying, &mut |out| match &gathered {
            Some(gathered) => gathered.write(self.store, out),
            None => Writer::new(out).finish(),
        })
    }

    fn add_secret(
        &self,
        id: &str,
        target: Option<&str>,
        variable: Option<&str>,
        (required, owner): (bool, Access),
        options: &mut Options,
        held: &mut Held,
    ) -> Result<()> {
        let Some(bytes) = self.secret(id)? else {
            return match required {
                true => Err(Error::not_found(format!(
                    "the secret {id} is missing: --secret id={id},src=FILE gives it"
                ))),
                false => Ok(()),
            };
        };
        let named = || format!("the secret {id}");
        if let Some(variable) = variable {
            let text = String::from_utf8(bytes.clone())
                .map_err(|_| Error::invalid(format!("{}: not UTF-8", named())))?;
            options.environment.push(format!("{variable}={text}"));
            if target.is_none() {
                return Ok(());
            }
        }
        let folder = match &mut held.secrets {
            Some(folder) => folder,
            none => none.insert(RunFolder::make(self.store)?),
        };
        let name = options.mounts.len().to_string();
        let path = folder.path().join(&name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .context(named)?;
        std::io::Write::write_all(&mut file, &bytes).context(named)?;
        folder.give(self.store, &name, owner, &named())?;
        let target = target.map_or_else(|| format!("/run/secrets/{id}"), str::to_string);
        bind(options, path, target, MountAccess::ReadOnly);
        Ok(())
    }

    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        match (self.options.secrets.get(id), &self.options.keeper) {
            (Some(Secret::File(path)), _) => {
                std::fs::read(path).map(Some).context(|| format!("--secret id={id}: {}", path.display()))
            }
            (Some(Secret::Value(bytes)), _) => Ok(Some(bytes.clone())),
            (None, Some(keeper)) => keeper.secret(id).context(|| format!("the secret {id}")),
            (None, None) => Ok(None),
        }
    }

    fn add_agent(
        &self,
        id: Option<&str>,
        target: Option<&str>,
        (required, owner): (bool, Access),
        options: &mut Options,
        held: &mut Held,
    ) -> Result<()> {
        let id = id.unwrap_or("default");
        let asked = || self.options.keeper.as_ref().map_or(Ok(None), |keeper| keeper.agent(id));
        let given = self.options.agents.get(id).cloned();
        let Some(agent) = given.map_or_else(asked, |agent| Ok(Some(agent)))? else {
            return match required {
                true => Err(Error::not_found(format!("the SSH agent {id} is missing: --ssh {id} gives it"))),
                false => Ok(()),
            };
        };
        let count = options.mounts.len();
        let target = target.map_or_else(|| format!("/run/buildkit/ssh_agent.{count}"), str::to_string);
        options.environment.push(format!("SSH_AUTH_SOCK={target}"));
        let socket = AgentSocket::to_agent(self.store, id, &agent)?;
        socket.give(self.store, owner)?;
        bind(options, socket.path(), target, MountAccess::ReadWrite);
        held.agents.push(socket);
        Ok(())
    }

    /// A script that stands in the Dockerfile.
    pub(super) fn add_script(
        &self,
        name: &str,
        text: &str,
        folder: &str,
        options: &mut Options,
        held: &mut Held,
    ) -> Result<()> {
        let layer = self.store.layers().begin()?;
        let path = layer.path().join(name);
        let named = || format!("the script {name}");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&path)
            .context(named)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).context(named)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).context(named)?;
        bind(options, layer.path(), folder.to_string(), MountAccess::ReadOnly);
        held.layers.push(Arc::new(layer));
        Ok(())
    }
}

/// Files of a context or of layers.
struct Gathered<'w> {
    place: Option<Place>,
    root: &'w std::os::fd::OwnedFd,
    gathering: Gathering,
}

impl Gathered<'_> {
    fn write(&self, store: &Store, out: &mut dyn std::io::Write) -> Result<()> {
        match &self.place {
            None => gather(self.root, &self.gathering, out, store.stop()),
            Some(place) => {
                let mut stream = TarStream::of_gathered(store.maps(), place, &self.gathering)?;
                let copied = std::io::copy(&mut stream, out).map(drop).map_err(Error::from);
                stream.finish(copied)
            }
        }
    }
}

fn bind(options: &mut Options, path: PathBuf, destination: String, access: MountAccess) {
    let source = MountSource::Bind { path, propagation: None };
    options.mounts.push(Mount::new(source, destination, access));
}

fn target(mount: &StepMount) -> Result<String> {
    mount.target.clone().ok_or_else(|| Error::invalid("RUN --mount: target is missing"))
}

fn base_name(path: &str) -> String {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_string()
}
