//! What comes out of a build, on its way to the client: a file as it is written, or a folder that the client asks for file by file.

use std::collections::BTreeMap;
use std::fs::{DirEntry, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

use super::frame::{Incoming, Outgoing};
use super::message::{Bytes, Packet, PacketKind, Stat};
use super::session::Session;
use super::stat::mode;
use super::status::{NOT_FOUND, Status, UNAVAILABLE, UNKNOWN};
use crate::order;
use crate::thread::spawn;

/// The call, and how it says which of the outputs it is.
const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";
const OUTPUT: &str = "buildkit-attachable-exporter-id";

/// How many bytes go in a message.
const PIECE: usize = 64 << 10;

/// A file of the client's that is written.
pub struct FileWriter {
    session: Arc<Session>,
    /// Which of the outputs it is.
    number: usize,
    /// Nothing is begun before there is something to write.
    begun: Option<(Outgoing, Incoming)>,
}

impl FileWriter {
    /// For the output of a build.
    pub fn new(session: Arc<Session>, number: usize) -> FileWriter {
        FileWriter { session, number, begun: None }
    }

    fn begin(&mut self) -> Result<&mut (Outgoing, Incoming), Status> {
        if self.begun.is_none() {
            self.begun = Some(self.session.call(METHOD, &[(OUTPUT, &self.number.to_string())])?);
        }
        self.begun.as_mut().ok_or_else(|| Status::new(UNAVAILABLE, "the client takes nothing"))
    }

    /// Waits until the client has all of it.
    ///
    /// # Errors
    /// It has not taken it.
    pub fn finish(&mut self) -> Result<(), Status> {
        let (outgoing, incoming) = self.begin()?;
        outgoing.end()?;
        while incoming.next::<Bytes>()?.is_some() {}
        Ok(())
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = bytes.len().min(PIECE);
        let data = bytes::Bytes::copy_from_slice(&bytes[..length]);
        let (outgoing, incoming) = self.begin().map_err(refusal)?;
        match outgoing.send(&Bytes { data }) {
            Ok(()) => Ok(length),
            // Why it takes no more is said at the end.
            Err(status) => Err(refusal(incoming.reason(status))),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn refusal(status: Status) -> std::io::Error {
    match status.is_of_gone_peer() {
        true => std::io::ErrorKind::BrokenPipe.into(),
        false => std::io::Error::other(status.message),
    }
}

/// Sends everything in a folder.
///
/// # Errors
/// It cannot be read, or the client does not take it.
pub fn send_folder(session: &Session, folder: &Path, number: usize) -> Result<(), Status> {
    let mut listing = Listing { folder, files: Vec::new(), known: BTreeMap::new() };
    listing.add_folder(Path::new(""))?;
    let (outgoing, mut incoming) = session.call(METHOD, &[(OUTPUT, &number.to_string())])?;
    let outgoing = Mutex::new(outgoing);
    let send = |packet: &Packet| outgoing.lock().unwrap_or_else(PoisonError::into_inner).send(packet);
    let of = |kind: PacketKind| Packet { kind: kind.into(), ..Packet::default() };
    let files = &listing.files;
    std::thread::scope(|scope| {
        // The client asks before everything is named.
        spawn(scope, || {
            let name = |stat: &Stat| send(&Packet { stat: Some(stat.clone()), ..of(PacketKind::Stat) });
            // Whoever takes no more says so to the other thread.
            let _ = files.iter().try_for_each(name).and_then(|()| send(&of(PacketKind::Stat)));
        })?;
        while let Some(packet) = incoming.next::<Packet>()? {
            match PacketKind::try_from(packet.kind) {
                Ok(PacketKind::Request) => {
                    let stat = usize::try_from(packet.id).ok().and_then(|index| files.get(index));
                    let stat = stat.filter(|stat| stat.mode & mode::KIND == 0 && stat.link.is_empty());
                    let missing = || Status::new(NOT_FOUND, format!("file {} was not named", packet.id));
                    let path = folder.join(std::ffi::OsStr::from_bytes(&stat.ok_or_else(missing)?.path));
                    send_file(&path, packet.id, &send)?;
                }
                Ok(PacketKind::End) => {
                    send(&of(PacketKind::End))?;
                    // The client may have ended before.
                    let _ = outgoing.lock().unwrap_or_else(PoisonError::into_inner).end();
                }
                Ok(PacketKind::Error) => {
                    let text = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(Status::new(UNKNOWN, format!("the client: {text}")));
                }
                _ => return Err(Status::invalid(format!("a packet of the kind {}", packet.kind))),
            }
        }
        Ok(())
    })
}

fn send_file(path: &Path, id: u32, send: &impl Fn(&Packet) -> Result<(), Status>) -> Result<(), Status> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut buffer = vec![0; PIECE];
    loop {
        let length = file.read(&mut buffer)?;
        let data = bytes::Bytes::copy_from_slice(&buffer[..length]);
        send(&Packet { kind: PacketKind::Data.into(), id, data, stat: None })?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// Everything in a folder, in the order of the names on the way to it.
struct Listing<'f> {
    folder: &'f Path,
    files: Vec<Stat>,
    /// First names of files that have several.
    known: BTreeMap<(u64, u64), Vec<u8>>,
}

impl Listing<'_> {
    fn add_folder(&mut self, path: &Path) -> Result<(), Status> {
        let mut entries: Vec<DirEntry> =
            std::fs::read_dir(self.folder.join(path))?.collect::<Result<_, _>>()?;
        order::sort_by_key(&mut entries, DirEntry::file_name);
        for entry in entries {
            let path: PathBuf = path.join(entry.file_name());
            let is_folder = entry.file_type()?.is_dir();
            self.add(&path)?;
            if is_folder {
                self.add_folder(&path)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<(), Status> {
        let whole = self.folder.join(path);
        let status = std::fs::symlink_metadata(&whole)?;
        let kind = status.file_type();
        let name = path.as_os_str().as_bytes().to_vec();
        let mut link = Vec::new();
        if kind.is_symlink() {
            link = std::fs::read_link(&whole)?.as_os_str().as_bytes().to_vec();
        } else if kind.is_file() && status.nlink() > 1 {
            let first = self.known.entry((status.dev(), status.ino())).or_insert_with(|| name.clone());
            if *first != name {
                link = first.clone();
            }
        }
        let kinds = [
            (kind.is_dir(), mode::FOLDER),
            (kind.is_symlink(), mode::LINK),
            (kind.is_block_device(), mode::DEVICE),
            (kind.is_char_device(), mode::DEVICE | mode::CHARACTERS),
            (kind.is_fifo(), mode::FIFO),
            (kind.is_socket(), mode::SOCKET),
            (status.mode() & 0o4000 != 0, mode::SETUID),
            (status.mode() & 0o2000 != 0, mode::SETGID),
            (status.mode() & 0o1000 != 0, mode::STICKY),
        ];
        let bits: u32 = kinds.iter().filter(|(is_so, _)| *is_so).map(|(_, bits)| bits).sum();
        self.files.push(Stat {
            path: name,
            mode: bits | (status.mode() & 0o777),
            uid: status.uid(),
            gid: status.gid(),
            size: if kind.is_file() { status.size().cast_signed() } else { 0 },
            modified: status.mtime().saturating_mul(1_000_000_000).saturating_add(status.mtime_nsec()),
            link,
            major: i64::from(rustix::fs::major(status.rdev())),
            minor: i64::from(rustix::fs::minor(status.rdev())),
            attributes: BTreeMap::new(),
        });
        Ok(())
    }
}
