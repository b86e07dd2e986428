//! What the child does: it enters its namespaces, says so, waits for its ids, works, and answers in a line on stderr.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use pillbox::root::Layers;
use pillbox_network::responder::Sockets;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::READY;
use super::place::{Place, Standing, open_in};
use super::rootless::{self, Entrance, Forwarding, Interface, NetworkAct};
use super::streams::leave_streams;
use crate::error::{Context, Error, Kind, Result};
use crate::layer::{AS_ROOT, open_beneath};
use crate::layer::{
    Boundary, Change, Content, Extraction, Gathering, Landing, Laying, Ownership, Rights, Unpacked,
    Unpacking, bare_mountpoints, changes, copy_tree, date_back, extract, gather, lay, move_tree, pack,
    unpack, usage,
};
use crate::stop::Stop;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    Unpack { folder: PathBuf },
    Delete { folder: PathBuf },
    Pack { place: Place, pick: Pick },
    PackLayer(OwnLayer),
    CopyIn { place: Place, copy: Copy },
    CopyOut { layers: Vec<PathBuf>, path: String, to: PathBuf },
    Move { from: PathBuf, to: PathBuf },
    Changes(OwnLayer),
    Usage { folder: PathBuf },
    Gather { place: Place, gathering: Gathering },
    Lay { place: Place, laying: Laying },
    Date { folder: PathBuf, latest: i64 },
    Hold { lock: PathBuf },
    Network { entrance: Entrance, store: PathBuf, act: NetworkAct },
    Forward { entrance: Entrance, lock: PathBuf, ports: Vec<String>, container: i32 },
    OpenNameSockets { container: i32 },
}

/// What of a container's root is packed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pick {
    /// Absolute.
    pub path: PathBuf,
    /// Its path in the tar; empty for what is in the folder alone.
    pub name: Vec<u8>,
    /// Whether a link is followed.
    pub follow: bool,
    /// Whether what is mounted goes along.
    pub with_mounts: bool,
}

/// A container's own layer, and what it lies on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OwnLayer {
    /// Its folder.
    pub upper: PathBuf,
    /// Those below, the topmost one first.
    pub lower: Vec<PathBuf>,
    /// Where something is mounted in the container: what was made for that alone is no part of the layer.
    pub mounted: Vec<String>,
}

/// How what comes is put into a container's root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Copy {
    /// Absolute; what it is decides where things go.
    pub destination: PathBuf,
    /// The name of what comes, `None`: the content of a folder.
    pub source: Source,
    /// Whose the files are.
    pub rights: Rights,
}

/// What comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A tar, for a folder that is there.
    Tar,
    /// A file or folder with a name.
    Named(Vec<u8>),
    /// What is in a folder.
    ContentOfFolder,
}

/// How it went, in one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Unpacked { unpacked: Unpacked },
    Changes(Vec<Change>),
    Usage(u64),
    Interfaces(Vec<Interface>),
    Ports(Vec<u16>),
    Descriptors([i32; 2]),
    Done,
    Refused { text: String, kind: Kind },
}

impl Task {
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Task::Pack { place, .. }
            | Task::CopyIn { place, .. }
            | Task::Gather { place, .. }
            | Task::Lay { place, .. } => Some(place),
            Task::Unpack { .. }
            | Task::Delete { .. }
            | Task::PackLayer(_)
            | Task::CopyOut { .. }
            | Task::Move { .. }
            | Task::Usage { .. }
            | Task::Date { .. }
            | Task::Hold { .. }
            | Task::Network { .. }
            | Task::Forward { .. }
            | Task::OpenNameSockets { .. }
            | Task::Changes(_) => None,
        }
    }

    fn run(self, root: Option<OwnedFd>) -> Result<(Answer, Afterwards)> {
        match self {
            Task::Hold { lock } => {
                let held = rootless::hold(&lock)?;
                Ok((Answer::Done, Afterwards::Hold(held)))
            }
            Task::Forward { entrance, lock, ports, container } => {
                let forwarding = rootless::listen(&entrance, &lock, &ports, container)?;
                let chosen = forwarding.listeners.ports.iter().map(|port| port.host_port).collect();
                Ok((Answer::Ports(chosen), Afterwards::Forward(forwarding)))
            }
            Task::OpenNameSockets { container } => {
                let sockets = rootless::open_name_sockets(container)?;
                Ok((Answer::Descriptors(rootless::numbers(&sockets)), Afterwards::Keep(sockets)))
            }
            task => task.finish(root).map(|answer| (answer, Afterwards::End)),
        }
    }

    /// One after which there is nothing more to do.
    fn finish(self, root: Option<OwnedFd>) -> Result<Answer> {
        let root = |place: &Place| root.map_or_else(|| place.make(), Ok);
        match self {
            Task::Unpack { folder } => {
                // What has come already may be very much when it is uncompressed, and nobody waits for it any more.
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
                let unpacking = Unpacking::new(Ownership::KeptInUserNamespace);
                let unpacked = unpack(std::io::stdin().lock(), &folder, unpacking, &Stop::default())?;
                Ok(Answer::Unpacked { unpacked })
            }
            Task::Delete { folder } => remove(&folder).map(|()| Answer::Done),
            Task::Pack { place, pick } => send(&root(&place)?, &pick).map(|()| Answer::Done),
            Task::PackLayer(OwnLayer { upper, lower, mounted }) => {
                let left_out = bare_mountpoints(&upper, &lower, &mounted)?;
                let top = open(&upper)?;
                let mut out = std::io::BufWriter::with_capacity(1 << 17, std::io::stdout().lock());
                pack(&top, b"", Boundary::Mounts, Content::Layer { left_out: &left_out }, &mut out)?;
                Ok(Answer::Done)
            }
            Task::CopyIn { place, copy } => receive(&root(&place)?, &copy).map(|()| Answer::Done),
            Task::CopyOut { layers, path, to } => {
                // An overlay is made where its layers' mounts are.
                pillbox_init::sys::unshare_namespaces(super::place::NEW_MOUNTS)
                    .context(|| "make a mount namespace")?;
                copy_out_of(&layers, &path, &to, true).map(|()| Answer::Done)
            }
            Task::Gather { place, gathering } => {
                let mut out = std::io::BufWriter::with_capacity(1 << 17, std::io::stdout().lock());
                gather(&root(&place)?, &gathering, &mut out, &Stop::default())?;
                Ok(Answer::Done)
            }
            Task::Lay { place, laying } => {
                lay(std::io::stdin().lock(), &root(&place)?, &laying).map(|()| Answer::Done)
            }
            Task::Date { folder, latest } => date_back(&folder, latest).map(|()| Answer::Done),
            Task::Move { from, to } => move_into(&from, &to, true).map(|()| Answer::Done),
            Task::Usage { folder } => usage(&folder).map(Answer::Usage),
            Task::Changes(OwnLayer { upper, lower, mounted }) => {
                let left_out = bare_mountpoints(&upper, &lower, &mounted)?;
                changes(&upper, &lower, &left_out).map(Answer::Changes)
            }
            Task::Network { entrance, store, act } => {
                rootless::act(&entrance, &store, act).map(Answer::Interfaces)
            }
            Task::Hold { .. } | Task::Forward { .. } | Task::OpenNameSockets { .. } => {
                Err(Error::invalid("a task that goes on"))
            }
        }
    }
}

/// Packs it to stdout.
fn send(root: &OwnedFd, pick: &Pick) -> Result<()> {
    let flags = if pick.follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
    let named = || pick.path.display().to_string();
    let found = open_in(root, &pick.path, flags).map_err(|errno| match errno {
        Errno::NOENT => Error::not_found(format!("{}: there is no such file in the container", named())),
        errno => Error::from(errno).context(named()),
    })?;
    let boundary = if pick.with_mounts { Boundary::None } else { Boundary::Mounts };
    let mut out = std::io::BufWriter::with_capacity(1 << 17, std::io::stdout().lock());
    pack(&found, &pick.name, boundary, Content::Files, &mut out).context(named)
}

/// Unpacks stdin.
fn receive(root: &OwnedFd, copy: &Copy) -> Result<()> {
    let find = |path: &Path| open_in(root, path, OFlags::PATH);
    let (folder, extraction) = landing(find, &copy.destination, &copy.source, copy.rights)?;
    extract(std::io::stdin().lock(), &folder, &extraction).context(|| copy.destination.display().to_string())
}

/// Docker's rules for what a destination means. `find` opens a path, through links.
///
/// # Errors
/// There is no folder to put it into.
pub fn landing(
    find: impl Fn(&Path) -> rustix::io::Result<OwnedFd>,
    destination: &Path,
    source: &Source,
    rights: Rights,
) -> Result<(OwnedFd, Extraction)> {
    let named = || destination.display().to_string();
    let as_named = |name: Option<Vec<u8>>, takes_file: bool, takes_folder: bool| Extraction {
        rights,
        landing: Landing::As(name),
        takes_folder,
        takes_file,
    };
    match find(destination) {
        Ok(found) if is_folder(&found)? => Ok(match source {
            Source::Tar => {
                let landing = Landing::AsNamed;
                (found, Extraction { rights, landing, takes_folder: true, takes_file: true })
            }
            Source::Named(name) => (found, as_named(Some(name.clone()), true, true)),
            Source::ContentOfFolder => (found, as_named(None, false, true)),
        }),
        Err(errno) if errno != Errno::NOENT => Err(errno).context(named),
        Ok(_) | Err(_) if *source == Source::Tar => {
            Err(Error::not_found(format!("{}: a folder is needed for a tar", named())))
        }
        found => {
            let is_there = found.is_ok();
            // What comes is put there under another name.
            let (Some(above), Some(name)) = (destination.parent(), destination.file_name()) else {
                return Err(Error::invalid(format!("{}: no name for what is copied", named())));
            };
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            let folder = find(above).map_err(|errno| match errno {
                Errno::NOENT => {
                    Error::not_found(format!("{}: its folder is missing: make it first", named()))
                }
                errno => Error::from(errno).context(named()),
            })?;
            let wants_folder = destination.as_os_str().as_encoded_bytes().ends_with(b"/");
            let name = name.as_encoded_bytes().to_vec();
            Ok((folder, as_named(Some(name), !wants_folder, !is_there)))
        }
    }
}

fn is_folder(found: &OwnedFd) -> Result<bool> {
    let mode = rustix::fs::fstat(found)?.st_mode;
    Ok(FileType::from_raw_mode(mode) == FileType::Directory)
}

/// Copies what layers, the topmost one first, have together in a folder, with the rights of the calling process.
///
/// # Errors
/// Something cannot be copied.
pub fn copy_out_of(layers: &[PathBuf], path: &str, to: &Path, keeps_owners: bool) -> Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let to = rustix::fs::open(to, flags, Mode::empty()).context(|| to.display().to_string())?;
    let root = match keeps_owners {
        true => Layers::new(layers.iter().map(PathBuf::as_path)).mount()?,
        // Without rights there is no overlay: the topmost layer that has the folder is what there is.
        false => {
            let has_it = |layer: &&PathBuf| layer.join(path.trim_start_matches('/')).is_dir();
            let Some(layer) = layers.iter().find(has_it) else { return Ok(()) };
            rustix::fs::open(layer, flags, Mode::empty()).context(|| layer.display().to_string())?
        }
    };
    match open_beneath(&root, path.as_bytes(), flags, AS_ROOT) {
        // The container has an empty folder there.
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(rustix::fs::fchmod(&to, Mode::from_raw_mode(0o755))?),
        folder => copy_tree(folder?, &to, keeps_owners),
    }
}

/// Moves what is in a folder into another one, with the rights of the calling process.
///
/// # Errors
/// Something cannot be moved.
pub fn move_into(from: &Path, to: &Path, keeps_owners: bool) -> Result<()> {
    let open = |path: &Path| {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).context(|| path.display().to_string())
    };
    move_tree(open(from)?, open(to)?, keeps_owners)
}

fn open(folder: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).context(|| folder.display().to_string())
}

fn remove(folder: &Path) -> Result<()> {
    let name = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).map_err(std::io::Error::from)?;
    Ok(crate::deletion::delete(rustix::fs::CWD, &name)?)
}

/// What the child does when it has answered.
enum Afterwards {
    End,
    /// Holds its namespaces and its lock, until it is killed.
    Hold(File),
    /// Forwards until a container's process ends.
    Forward(Forwarding),
    /// Keeps them open until its parent has them.
    Keep(Sockets),
}

impl Afterwards {
    fn live(self) -> Result<()> {
        match self {
            Afterwards::End => Ok(()),
            Afterwards::Keep(_sockets) => Ok(std::io::stdin().read_to_end(&mut Vec::new()).map(drop)?),
            Afterwards::Hold(_file) => {
                leave_streams()?;
                loop {
                    std::thread::park();
                }
            }
            Afterwards::Forward(forwarding) => {
                leave_streams()?;
                forwarding.live()
            }
        }
    }
}

pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let (answer, afterwards) = work(arguments).unwrap_or_else(|error| {
        (Answer::Refused { text: error.to_string(), kind: error.kind() }, Afterwards::End)
    });
    let text = serde_json::to_string(&answer).unwrap_or_default();
    let is_said = std::io::stderr().write_all(format!("{text}\n").as_bytes()).is_ok();
    if !is_said || matches!(answer, Answer::Refused { .. }) {
        return 1;
    }
    u8::from(afterwards.live().is_err())
}

fn work(mut arguments: impl Iterator<Item = OsString>) -> Result<(Answer, Afterwards)> {
    let mut next = || arguments.next().and_then(|text| text.into_string().ok()).unwrap_or_default();
    let wrong = |error: serde_json::Error| Error::invalid(format!("the task: {error}"));
    let standing: Standing = serde_json::from_str(&next()).map_err(wrong)?;
    let task: Task = serde_json::from_str(&next()).map_err(wrong)?;
    let root = standing.enter(task.place())?;
    let mut stdout = std::io::stdout();
    stdout.write_all(READY.as_bytes()).and_then(|()| stdout.flush())?;
    let mut go = [0];
    if !matches!(std::io::stdin().read(&mut go), Ok(1)) {
        return Err(Error::invalid("whoever wanted it has gone"));
    }
    task.run(root)
}
