//! Where a build's files come from: folders of the client's, files that it sends, addresses, results of other builds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::builds::Builds;
use super::content_store::ContentStore;
use super::file_sync::{Selection, read_files, read_folder};
use super::frontend::{ContextWish, Wish};
use super::session::Session;
use super::status::{CANCELLED, Status, UNKNOWN};
use super::upload;
use crate::build::{
    Cancellation, ContextSource, DockerfileSource, GitAddress, NamedContext, TEXT_MAX, import_image,
    unpack_context, whole_name,
};
use crate::image::Platform;
use crate::layer::{Patterns, pipe};
use crate::order::Collect;
use crate::store::NewLayer;

/// How often it is looked whether another build is still waited for.
const LOOK: Duration = Duration::from_millis(200);

/// What a thread that receives a folder may have on its stack.
const STACK: usize = 1 << 20;

/// What went wrong while a folder was on its way, which its reader sees as a tar that was cut.
pub type Broken = Arc<Mutex<Option<Status>>>;

/// The files of a build.
pub struct Sources<'b> {
    /// Where they are kept.
    pub builds: &'b Builds,
    /// Whose they are.
    pub session: &'b Arc<Session>,
    /// Which they are.
    pub wish: &'b Wish,
    /// What went wrong with those that are on their way.
    pub broken: Broken,
}

/// Contexts with names of their own.
#[derive(Debug, Default)]
pub struct Named {
    /// Folders, as they came. They are deleted with this value.
    folders: BTreeMap<String, NewLayer>,
    /// What is fetched from elsewhere.
    others: BTreeMap<String, NamedContext>,
    /// Names of images that stand for others.
    pub images: BTreeMap<String, String>,
}

impl Named {
    /// Where their files are.
    pub fn contexts(&self) -> BTreeMap<String, NamedContext> {
        let folders = self.folders.iter();
        let folders = folders.map(|(name, folder)| (name.clone(), NamedContext::Folder(folder.path())));
        folders.chain(self.others.clone()).collect_map()
    }
}

impl Sources<'_> {
    /// Whose folder it is.
    fn session_of(&self, folder: &str) -> Result<Arc<Session>, Status> {
        let known = self.wish.sessions.get(folder);
        known.map_or(Ok(self.session.clone()), |id| self.builds.sessions.find(id))
    }

    /// The context and the Dockerfile.
    ///
    /// # Errors
    /// The client does not send them.
    pub fn fetch(&self) -> Result<(ContextSource, DockerfileSource), Status> {
        let folder = match &self.wish.context {
            ContextWish::Folder(folder) => folder,
            ContextWish::Address(address) => return self.fetched(address),
        };
        let dockerfile = self.dockerfile()?;
        let session = self.session_of(folder)?;
        let text = match &dockerfile {
            DockerfileSource::Text { ignored: Some(ignored), .. } => ignored.clone(),
            _ => ignored(&session, folder)?,
        };
        let excluded = Patterns::of_lines(&text);
        let context = self.receive(session, folder, excluded)?;
        Ok((context, dockerfile))
    }

    /// A context that has an address, or that the client sends as a file.
    fn fetched(&self, address: &str) -> Result<(ContextSource, DockerfileSource), Status> {
        let dockerfile = match self.wish.dockerfile.as_str() {
            _ if self.wish.is_dockerfile_local => self.dockerfile()?,
            "Dockerfile" => DockerfileSource::Usual,
            name => DockerfileSource::InContext(name.to_string()),
        };
        Ok(match upload::path_of(address) {
            Some(path) => {
                ContextSource::of_stream(upload::receive(self.session, path)?, "stdin", dockerfile)?
            }
            None => ContextSource::of_address(address, dockerfile)?,
        })
    }

    /// Contexts with names of their own.
    ///
    /// # Errors
    /// There is no such context, or the client does not send it.
    pub fn named(&self, cancellation: &Cancellation) -> Result<Named, Status> {
        let mut named = Named::default();
        for (name, place) in &self.wish.named {
            let wrong = |what: &str| Status::invalid(format!("--build-context {name}={place}: {what}"));
            match place.split_once(':') {
                Some(("local", folder)) => {
                    let folder = self.folder(folder).map_err(|status| wrong(&status.message))?;
                    named.folders.insert(name.clone(), folder);
                }
                Some(("docker-image", image)) => {
                    named.images.insert(whole_name(name), image.trim_start_matches("//").to_string());
                }
                Some(("input", input)) => {
                    let build = self.wish.inputs.get(input).ok_or_else(|| wrong("there is no such input"))?;
                    let image = self.result_of(build, cancellation)?;
                    let missing = || wrong("no image has come of the build that it is");
                    named.images.insert(whole_name(name), image.ok_or_else(missing)?);
                }
                Some(("oci-layout", layout)) => {
                    let (id, digest) =
                        layout.trim_start_matches("//").rsplit_once('@').unwrap_or((layout, ""));
                    // The client has looked for the tag.
                    let id = id.split(':').next().unwrap_or_default();
                    let digest = digest.parse().map_err(|_| wrong("must end with a digest"))?;
                    let store = ContentStore::new(self.session.clone(), format!("oci:{id}"), Some(digest));
                    let platform = self.wish.options.platform.clone().unwrap_or_else(Platform::of_machine);
                    let image = import_image(&self.builds.store, Arc::new(store), &platform);
                    let image = image.map_err(|error| wrong(&error.to_string()))?;
                    named.images.insert(whole_name(name), image.id.to_string());
                }
                _ if GitAddress::is_one(place) => {
                    let address = GitAddress::parse(place)?;
                    named.others.insert(name.clone(), NamedContext::Git(address));
                }
                Some(("http" | "https", _)) => {
                    named.others.insert(name.clone(), NamedContext::Tar(place.clone()));
                }
                _ => {
                    return Err(wrong(
                        "must be a folder, docker-image:// with the name of an image, oci-layout://, or an address of a tar or a repository of git",
                    ));
                }
            }
        }
        Ok(named)
    }

    /// The image that comes of another build.
    fn result_of(&self, build: &str, cancellation: &Cancellation) -> Result<Option<String>, Status> {
        let job = self.builds.jobs.find(build)?;
        while !cancellation.is_cancelled() {
            if let Some(image) = job.image(LOOK) {
                return Ok(image);
            }
        }
        Err(Status::new(CANCELLED, "the client has given the build up"))
    }

    /// A whole folder of the client's.
    fn folder(&self, folder: &str) -> Result<NewLayer, Status> {
        let session = self.session_of(folder)?;
        let ignored = ignored(&session, folder)?;
        let ContextSource::Tar(tar) = self.receive(session, folder, Patterns::of_lines(&ignored))? else {
            return Err(Status::new(UNKNOWN, "a folder that is no tar"));
        };
        let unpacked = unpack_context(&self.builds.store, tar);
        match self.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(status) => Err(status),
            None => Ok(unpacked?),
        }
    }

    /// The Dockerfile, with what lies beside it.
    fn dockerfile(&self) -> Result<DockerfileSource, Status> {
        let name = self.wish.dockerfile.as_str();
        let folder = self.wish.dockerfile_folder.as_str();
        let ignore = format!("{name}.dockerignore");
        // In lower case it is one as well.
        let lower = name.strip_suffix("Dockerfile").map(|start| format!("{start}dockerfile"));
        let mut names = vec![name, ignore.as_str()];
        names.extend(lower.as_deref());
        let mut found = read_files(&*self.session_of(folder)?, folder, &names, TEXT_MAX)?;
        let text = found.remove(name).or_else(|| found.remove(lower.as_deref()?)).ok_or_else(|| {
            Status::invalid(format!("failed to read dockerfile: open {name}: no such file or directory"))
        })?;
        let text =
            String::from_utf8(text).map_err(|_| Status::invalid(format!("{name}: it is not UTF-8")))?;
        let ignored = found.remove(&ignore).map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(DockerfileSource::Text { name: name.to_string(), text, ignored })
    }

    /// A folder of the client's, as it comes.
    fn receive(
        &self,
        session: Arc<Session>,
        folder: &str,
        excluded: Vec<String>,
    ) -> Result<ContextSource, Status> {
        let (feed, drain) = pipe();
        let (folder, broken) = (folder.to_string(), self.broken.clone());
        let receive = move || {
            let mut feed = feed;
            let selection = Selection { folder: &folder, excluded: &excluded, only: &[] };
            let received = read_folder(&session, &selection, &mut feed);
            match received {
                // A reader that has gone wanted no more.
                Ok(()) => drop(feed.end()),
                Err(status) if status.code == CANCELLED => {}
                Err(status) => {
                    // Before the reader sees that it was cut.
                    broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(status);
                    drop(feed);
                }
            }
        };
        std::thread::Builder::new().stack_size(STACK).spawn(receive)?;
        Ok(ContextSource::Tar(Box::new(drain)))
    }
}

/// What a folder's own file says is to be left out of it.
fn ignored(session: &Session, folder: &str) -> Result<String, Status> {
    const NAMES: [&str; 2] = [".dockerignore", ".containerignore"];
    let mut found = read_files(session, folder, &NAMES, TEXT_MAX)?;
    let text = NAMES.iter().find_map(|name| found.remove(*name)).unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).into_owned())
}
