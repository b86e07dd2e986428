//! COPY, ADD and WORKDIR: files become a tar, which is laid down in an overlay of the layers below and of the new one.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use super::Work;
use super::chain::Chain;
use crate::build::content::{Content, Key, read};
use crate::build::event::Vertex;
use crate::build::git::Git;
use crate::build::graph::{Archives, CopySource, CopyStep};
use crate::container::Accounts;
use crate::digest::{Digest, Hashing};
use crate::error::{Context, Error, Kind, Result};
use crate::inside::{Place, TarStream, lay};
use crate::layer::tar::{Entry, EntryKind, Time, Writer};
use crate::layer::{Gathering, Laying, gather_into};
use crate::registry::{Download, download};
use crate::store::NewLayer;
use crate::time::parse_http;

/// What a copy is made of.
pub struct Prepared<'w> {
    /// What its files are.
    pub content: Content,
    /// In numbers.
    pub(super) owner: Option<(u32, u32)>,
    /// Where they come from, if another process reads them.
    place: Option<Place>,
    /// The context, if this process reads them.
    root: Option<(&'w OwnedFd, &'w [String])>,
    /// What URLs led to, in the order of the sources.
    downloads: Vec<Downloaded>,
}

/// A file that has come.
struct Downloaded {
    name: String,
    folder: NewLayer,
}

impl Work<'_> {
    pub(super) fn prepare_copy(
        &self,
        chain: &Chain,
        step: &CopyStep,
        vertex: &Vertex<'_>,
    ) -> Result<Prepared<'_>> {
        let owner = step
            .owner
            .as_deref()
            .map(|owner| self.owner(chain, owner).map_err(|error| error.context(format!("--chown={owner}"))));
        let mut prepared = self.gather_copy(step, owner.transpose()?)?;
        for source in &step.sources {
            let commit = step.checksum.as_deref();
            match source {
                CopySource::Url(url) => prepared.downloads.push(self.download(url, commit)?),
                CopySource::Git(address) => {
                    let git = Git { options: self.options, cancellation: self.cancellation };
                    let folder = git.fetch_into(self.store, address, commit, step.git_folder, vertex)?;
                    let name = format!("./{}", address.folder());
                    prepared.downloads.push(Downloaded { name, folder });
                }
                CopySource::Path(_) | CopySource::File { .. } => {}
            }
        }
        prepared.content =
            read(|out| self.compose(step, &prepared, out), &mut std::io::sink(), self.store.stop())?;
        Ok(prepared)
    }

    /// Where its files come from; what they are is still to be looked at.
    pub(super) fn gather_copy(&self, step: &CopyStep, owner: Option<(u32, u32)>) -> Result<Prepared<'_>> {
        let place = self.place_of(&step.from)?;
        let has_paths_alone = step.sources.iter().all(|source| matches!(source, CopySource::Path(_)));
        if place.is_some() && !has_paths_alone {
            return Err(Error::invalid(
                "heredocs come from the Dockerfile: leave --from out, or make it two instructions",
            ));
        }
        let root = place
            .is_none()
            .then(|| self.context_of(&step.from))
            .map(|context| (&context.root, &context.ignored[..]));
        let owner = owner.or(root.map(|_| (0, 0)));
        let content = Content { digest: Digest::of(b""), files: Vec::new() };
        Ok(Prepared { content, owner, place, root, downloads: Vec::new() })
    }

    pub(super) fn describe_copy(&self, step: &CopyStep, owner: &impl Serialize, key: &mut Key) {
        key.add("copy");
        key.add(&step.destination);
        key.add_value(&(owner, &step.mode, step.link, step.parents));
    }

    pub(super) fn copy_step(
        &self,
        chain: &Chain,
        step: &CopyStep,
        prepared: Prepared<'_>,
        layer: &NewLayer,
    ) -> Result<()> {
        let laying = Laying {
            destination: step.destination.clone(),
            makes_folder: false,
            owner: step.owner.as_ref().and(prepared.owner).unwrap_or((0, 0)),
            mode: step.mode.as_ref().map_or(0o755, |mode| mode.apply(0o755, true)),
        };
        let below = if step.link { Chain::default() } else { chain.clone() };
        self.lay_down(&below, &laying, layer, &mut |out| {
            // What goes into the layer is what the key says.
            let content = read(|out| self.compose(step, &prepared, out), out, self.store.stop())?;
            match content.digest == prepared.content.digest {
                true => Ok(()),
                false => Err(Error::conflict("the files have changed while they were copied")),
            }
        })
    }

    pub(super) fn make_folder(&self, chain: &Chain, path: &str, user: &str, layer: &NewLayer) -> Result<()> {
        let owner = self.account(chain, user)?;
        let laying = Laying { destination: path.to_string(), makes_folder: true, owner, mode: 0o755 };
        self.lay_down(chain, &laying, layer, &mut |out| Writer::new(out).finish())
    }

    fn lay_down(
        &self,
        chain: &Chain,
        laying: &Laying,
        layer: &NewLayer,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        const EMPTY: &str = "empty";
        const WORK: &str = "work";
        let mut lower = chain.lower(self.store);
        for name in [EMPTY, WORK] {
            let path = layer.beside(name);
            std::fs::create_dir(&path).context(|| path.display().to_string())?;
        }
        match lower.first() {
            None => lower.push(layer.beside(EMPTY)),
            Some(topmost) => like(topmost, &layer.path())?,
        }
        let (upper, work) = (layer.path(), layer.beside(WORK));
        let place = Place::Overlay { lower, upper, work, volatile: true, binds: Vec::new() };
        let laid = lay(self.store.maps(), &place, laying, fill);
        // Of what was cut then the end is missing, which is not the reason.
        self.store.stop().check()?;
        laid?;
        layer.discard_beside(EMPTY)?;
        layer.discard_beside(WORK)
    }

    /// Writes the tar of everything that is copied.
    pub(super) fn compose(
        &self,
        step: &CopyStep,
        prepared: &Prepared<'_>,
        out: &mut dyn Write,
    ) -> Result<()> {
        let Prepared { owner, place, root, downloads, .. } = prepared;
        let gathering = |sources: Vec<String>, ignored: &[String], unpacks: bool| Gathering {
            sources,
            ignored: ignored.to_vec(),
            excluded: step.excludes.clone(),
            owner: *owner,
            mode: step.mode.clone(),
            parents: step.parents,
            unpacks,
            unpacked_owner: step.owner.as_ref().and(*owner),
        };
        if let Some(place) = place {
            let paths = step.sources.iter().filter_map(|source| match source {
                CopySource::Path(path) => Some(path.clone()),
                CopySource::Url(_) | CopySource::Git(_) | CopySource::File { .. } => None,
            });
            let gathering = gathering(paths.collect(), &[], false);
            let mut stream = TarStream::of_gathered(self.store.maps(), place, &gathering)?;
            let copied = std::io::copy(&mut stream, out).map(drop).map_err(closed);
            return stream.finish(copied);
        }
        let Some((root, ignored)) = root else { return Err(Error::invalid("no context")) };
        let mut out: Writer<&mut dyn Write> = Writer::new(out);
        let (mut number, mut downloads) = (0, downloads.iter());
        for source in &step.sources {
            match source {
                CopySource::Path(path) => {
                    let unpacks = step.unpacking != Archives::Kept;
                    number = gather_into(
                        root,
                        &gathering(vec![path.clone()], ignored, unpacks),
                        number,
                        &mut out,
                        self.store.stop(),
                    )?;
                }
                CopySource::Url(_) | CopySource::Git(_) => {
                    let Some(Downloaded { name, folder }) = downloads.next() else { continue };
                    let folder = open(&folder.path())?;
                    let unpacks = step.unpacking == Archives::All && matches!(source, CopySource::Url(_));
                    number = gather_into(
                        &folder,
                        &gathering(vec![name.clone()], &[], unpacks),
                        number,
                        &mut out,
                        self.store.stop(),
                    )?;
                }
                CopySource::File { name, content } => {
                    let (uid, gid) = owner.unwrap_or((0, 0));
                    out.entry(&Entry {
                        path: format!("m{number}/{name}").into_bytes(),
                        kind: EntryKind::File,
                        mode: step.mode.as_ref().map_or(0o644, |mode| mode.apply(0o644, false)),
                        uid,
                        gid,
                        mtime: self
                            .options
                            .epoch
                            .map_or_else(now, |seconds| Time { seconds, nanoseconds: 0 }),
                        atime: None,
                        size: content.len() as u64,
                        xattrs: Vec::new(),
                        segments: None,
                    })?;
                    out.content(content.as_bytes())?;
                    number += 1;
                }
            }
        }
        out.finish()
    }

    fn download(&self, url: &str, checksum: Option<&str>) -> Result<Downloaded> {
        let wanted = checksum
            .map(|text| text.parse::<Digest>().map_err(|error| error.context("ADD --checksum")))
            .transpose()?;
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let name =
            path.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        let name = name.rsplit('/').next().filter(|name| !name.is_empty() && *name != "..");
        let name = name
            .ok_or_else(|| Error::invalid(format!("ADD {url}: it ends with no name for the file")))?
            .to_string();
        let folder = self.store.layers().begin()?;
        let Download { body, modified } = download(url)?;
        let path = folder.path().join(&name);
        let mut body = Hashing::new(body);
        let mut file = std::fs::File::create(&path).context(|| url.to_string())?;
        std::io::copy(&mut self.store.stop().over(&mut body), &mut file).context(|| url.to_string())?;
        let found = body.hasher().digest();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(Error::corrupt(format!(
                "ADD --checksum={wanted} {url}: what came has the digest {found}"
            )));
        }
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).context(|| url.to_string())?;
        if let Some(modified) = modified.as_deref().and_then(parse_http) {
            file.set_modified(modified).context(|| url.to_string())?;
        }
        Ok(Downloaded { name, folder })
    }

    /// User and group of `--chown`: a group that is not named has the number of the user.
    fn owner(&self, chain: &Chain, text: &str) -> Result<(u32, u32)> {
        let accounts = self.accounts(chain)?;
        let account = accounts.find(text)?;
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        Ok(match user.parse::<u32>() {
            Ok(uid) if group.is_empty() => (account.uid, uid),
            _ => (account.uid, account.gid),
        })
    }

    /// The same of USER; root if there is none.
    pub(super) fn account(&self, chain: &Chain, user: &str) -> Result<(u32, u32)> {
        match user {
            "" => Ok((0, 0)),
            user => self.owner(chain, user).map_err(|error| error.context(format!("USER {user}"))),
        }
    }

    fn accounts(&self, chain: &Chain) -> Result<Accounts> {
        Accounts::of_layers(&chain.lower(self.store))
    }
}

fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time { seconds: since.as_secs().cast_signed(), nanoseconds: since.subsec_nanos() }
}

fn closed(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::new(Kind::Closed, "nobody reads the tar any more"),
        _ => error.into(),
    }
}

pub(super) fn open(folder: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).context(|| folder.display().to_string())
}

/// The root of an overlay has owner and mode of the upper folder.
fn like(below: &Path, upper: &Path) -> Result<()> {
    let status = std::fs::metadata(below).context(|| below.display().to_string())?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(upper, Some(status.uid()), Some(status.gid()))
            .context(|| upper.display().to_string())?;
    }
    // Of whoever could not enter it himself nobody could.
    let mode = std::fs::Permissions::from_mode(status.mode() & 0o7777 | 0o700);
    std::fs::set_permissions(upper, mode).context(|| upper.display().to_string())
}
