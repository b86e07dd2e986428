//! A tar becomes a folder: entries in order, the folders' own modes and times last.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attribute::Attributes;
use super::folders::{Folders, MEMORY_MAX};
use super::tar::{Archive, Device, Entry, EntryKind};
use super::tree::{Place, Standing, Tree, normalise, split};
use super::whiteout::{Marks, Whiteout, hide, parse};
use crate::digest::Hashing;
use crate::error::{Context, Error, Kind, Result};
use crate::image::DiffId;
use crate::stop::Stop;
use crate::thread::spawn;

/// Whose the files are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// As the tar says.
    Kept,
    /// As the tar says, by the ids of a user namespace in which the caller is root. Devices are left out: nobody could open them.
    KeptInUserNamespace,
    /// All the caller's, who has no rights. Devices and file capabilities are left out.
    Squashed,
}

/// How a layer is unpacked, and how much of it at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacking {
    /// Whose the files are.
    pub ownership: Ownership,
    /// The most bytes of the tar, uncompressed.
    pub bytes_max: u64,
    /// The most entries.
    pub entries_max: u64,
    /// The most bytes of memory for its folders.
    pub memory_max: usize,
}

impl Unpacking {
    /// As many entries and bytes as fit on a large disk; what is more is a bomb.
    pub fn new(ownership: Ownership) -> Unpacking {
        Unpacking { ownership, bytes_max: 1 << 40, entries_max: 20_000_000, memory_max: MEMORY_MAX }
    }
}

/// What has been unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size: u64,
    /// Devices that were left out.
    pub devices_left_out: u64,
}

/// Unpacks a tar, compressed or not, into an empty folder. The stream is read to its end.
///
/// # Errors
/// It is no tar, has an entry that no layer can have, or the disk did not take it; the error names the entry. The caller throws the
/// folder away then.
pub fn unpack(stream: impl Read, folder: &Path, unpacking: Unpacking, stop: &Stop) -> Result<Unpacked> {
    unpack_tar(super::compression::uncompress_layer(stream, stop)?, folder, unpacking)
}

/// The same, inflated by one thread and unpacked by another.
///
/// # Errors
/// As for [`unpack`].
pub fn unpack_aside(
    stream: impl Read + Send,
    folder: &Path,
    unpacking: Unpacking,
    stop: &Stop,
) -> Result<Unpacked> {
    let (mut feed, drain) = super::pipe();
    std::thread::scope(|scope| {
        let inflate = move || -> Result<()> {
            let mut stream = super::compression::uncompress_layer(stream, stop)?;
            let mut buffer = vec![0; BUFFER];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(feed.end()?),
                    length => feed.write_all(&buffer[..length])?,
                }
            }
        };
        let inflated = spawn(scope, inflate)?;
        let unpacked = unpack_tar(drain, folder, unpacking);
        match inflated.join() {
            // The thread that unpacks is the reason.
            Ok(Err(error)) if unpacked.is_ok() || error.kind() != Kind::Closed => Err(error),
            _ => unpacked,
        }
    })
}

fn unpack_tar(stream: impl Read, folder: &Path, unpacking: Unpacking) -> Result<Unpacked> {
    let mut stream = Hashing::new(stream.take(unpacking.bytes_max + 1));
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty()).context(|| folder.display())?;
    rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).context(|| folder.display())?;
    let mut writer = Writer::new(Tree::new(root), unpacking);
    let done = writer.write_all(&mut Archive::new(&mut stream));
    // What lies behind the tar's end belongs to its digest.
    let rest = done.and_then(|()| Ok(std::io::copy(&mut stream, &mut std::io::sink())?));
    if stream.hasher().length() > unpacking.bytes_max {
        let most = unpacking.bytes_max;
        return Err(Error::corrupt(format!("the layer has more than {most} bytes, uncompressed")));
    }
    rest?;
    Ok(Unpacked {
        diff_id: stream.hasher().digest().into(),
        size: writer.size,
        devices_left_out: writer.devices_left_out,
    })
}

/// How much is copied at once.
const BUFFER: usize = 1 << 18;

struct Writer {
    tree: Tree,
    unpacking: Unpacking,
    marks: Marks,
    folders: Folders,
    buffer: Vec<u8>,
    size: u64,
    devices_left_out: u64,
}

impl Writer {
    fn new(tree: Tree, unpacking: Unpacking) -> Writer {
        let marks = match unpacking.ownership {
            Ownership::Kept => Marks::Trusted,
            Ownership::KeptInUserNamespace | Ownership::Squashed => Marks::User,
        };
        let buffer = vec![0; BUFFER];
        Writer {
            tree,
            unpacking,
            marks,
            folders: Folders::new(unpacking.memory_max),
            buffer,
            size: 0,
            devices_left_out: 0,
        }
    }

    fn write_all(&mut self, archive: &mut Archive<impl Read>) -> Result<()> {
        let mut entries = 0;
        while let Some(entry) = archive.next_entry()? {
            entries += 1;
            if entries > self.unpacking.entries_max {
                let most = self.unpacking.entries_max;
                return Err(Error::corrupt(format!("the layer has more than {most} entries")));
            }
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            self.write(archive, entry).map_err(|error| error.context(format!("layer: {name}")))?;
        }
        self.finish_folders()
    }

    fn write(&mut self, archive: &mut Archive<impl Read>, entry: Entry) -> Result<()> {
        let path = normalise(&entry.path)?;
        if path.is_empty() {
            // The layer's own folder.
            if entry.kind == EntryKind::Folder {
                self.folders.keep(path, entry)?;
            }
            return Ok(());
        }
        if let Some(whiteout) = parse(split(&path).1) {
            return self.write_whiteout(&path, whiteout);
        }
        match &entry.kind {
            EntryKind::Folder => self.write_folder(path, entry),
            EntryKind::File => self.write_file(archive, &path, &entry),
            EntryKind::HardLink(to) => self.write_hard_link(&path, to),
            EntryKind::SymbolicLink(to) => {
                let place = self.tree.place(&path)?;
                self.make(&place, |place| rustix::fs::symlinkat(&to[..], &*place.folder, place.name))?;
                self.attributes(&entry).apply_at(&place, true)
            }
            EntryKind::Character(device) => {
                self.write_node(&path, FileType::CharacterDevice, Some(*device), &entry)
            }
            EntryKind::Block(device) => self.write_node(&path, FileType::BlockDevice, Some(*device), &entry),
            EntryKind::Fifo => self.write_node(&path, FileType::Fifo, None, &entry),
        }
    }

    /// Makes something, in the place of what stands there from before.
    fn make<T>(
        &mut self,
        place: &Place<'_>,
        mut make: impl FnMut(&Place<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make(place) {
            Err(Errno::EXIST) => {
                place.remove()?;
                self.tree.forget();
                Ok(make(place)?)
            }
            made => Ok(made?),
        }
    }

    fn write_whiteout(&mut self, path: &[u8], whiteout: Whiteout<'_>) -> Result<()> {
        let place = self.tree.place(path)?;
        match whiteout {
            Whiteout::Foreign => Ok(()),
            Whiteout::Opaque => self.make_opaque(&place.folder),
            Whiteout::Of(name) => {
                let hidden = Place { name: std::os::unix::ffi::OsStrExt::from_bytes(name), ..place };
                match hidden.look()? {
                    Standing::Nothing => hide(&hidden),
                    // It is of this layer, and what is below it is hidden.
                    Standing::Folder => self.make_opaque(&hidden.open(OFlags::DIRECTORY)?),
                    Standing::Whiteout | Standing::Other => Ok(()),
                }
            }
        }
    }

    /// `folder` may be open without a right to change it.
    fn make_opaque(&self, folder: &OwnedFd) -> Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, c".", flags, Mode::empty())?;
        self.marks.make_opaque(opened)
    }

    fn write_folder(&mut self, path: Vec<u8>, entry: Entry) -> Result<()> {
        let place = self.tree.place(&path)?;
        // Until everything is in it, its owner has to be able to write.
        let mode = Mode::from_raw_mode(entry.mode | 0o700);
        let standing = place.look()?;
        if standing != Standing::Folder {
            if standing != Standing::Nothing {
                place.remove()?;
                self.tree.forget();
            }
            rustix::fs::mkdirat(&*place.folder, place.name, mode)?;
            if standing == Standing::Whiteout {
                self.make_opaque(&place.open(OFlags::DIRECTORY)?)?;
            }
        }
        self.folders.keep(path, entry)
    }

    fn write_file(&mut self, archive: &mut Archive<impl Read>, path: &[u8], entry: &Entry) -> Result<()> {
        let place = self.tree.place(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.make(&place, |place| {
            rustix::fs::openat(&*place.folder, place.name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let mut file = std::fs::File::from(file);
        match &entry.segments {
            None => self.copy(archive, &mut file, u64::MAX)?,
            Some(segments) => {
                file.set_len(entry.size)?;
                for segment in segments {
                    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(segment.offset))?;
                    self.copy(archive, &mut file, segment.length)?;
                }
            }
        }
        self.attributes(entry).apply(&file)
    }

    fn copy(&mut self, archive: &mut Archive<impl Read>, file: &mut std::fs::File, most: u64) -> Result<()> {
        let mut left = most;
        while left > 0 {
            let wanted = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let length = archive.read_content(&mut self.buffer[..wanted])?;
            if length == 0 {
                break;
            }
            file.write_all(&self.buffer[..length])?;
            left -= length as u64;
            self.size += length as u64;
        }
        Ok(())
    }

    fn write_hard_link(&mut self, path: &[u8], to: &[u8]) -> Result<()> {
        let shown = || format!("the hard link's target {}", String::from_utf8_lossy(to));
        let to = normalise(to).context(shown)?;
        // Another place of the tree, so the folder that was last is not this one's.
        let target = self.tree.existing_place(&to).context(shown)?;
        let place = self.tree.place(path)?;
        let link = |place: &Place<'_>| {
            rustix::fs::linkat(&*target.folder, target.name, &*place.folder, place.name, AtFlags::empty())
        };
        match target.look().context(shown)? {
            Standing::Nothing | Standing::Whiteout => {
                Err(Error::corrupt("not in the layer").context(shown()))
            }
            Standing::Folder => Err(Error::corrupt("a folder").context(shown())),
            Standing::Other => self.make(&place, link).context(shown),
        }
    }

    fn write_node(
        &mut self,
        path: &[u8],
        kind: FileType,
        device: Option<Device>,
        entry: &Entry,
    ) -> Result<()> {
        let place = self.tree.place(path)?;
        if device.is_some() && self.unpacking.ownership != Ownership::Kept {
            self.devices_left_out += 1;
            return place.remove();
        }
        let number: Dev = device.map_or(0, |Device { major, minor }| rustix::fs::makedev(major, minor));
        let mode = Mode::from_raw_mode(entry.mode);
        self.make(&place, |place| rustix::fs::mknodat(&*place.folder, place.name, kind, mode, number))?;
        self.attributes(entry).apply_at(&place, false)
    }

    fn attributes<'e>(&self, entry: &'e Entry) -> Attributes<'e> {
        let attributes = Attributes::of_entry(entry);
        match self.unpacking.ownership {
            Ownership::Kept | Ownership::KeptInUserNamespace => attributes,
            Ownership::Squashed => attributes.without_owner().with_users_xattrs(),
        }
    }

    fn finish_folders(&mut self) -> Result<()> {
        for (path, entry) in self.folders.take() {
            let named = || format!("layer: {}", String::from_utf8_lossy(&path));
            self.finish_folder(&path, &entry).context(named)?;
        }
        Ok(())
    }

    fn finish_folder(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        if path.is_empty() {
            let root = rustix::fs::openat(
                &*self.tree.root(),
                c".",
                OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            return self.attributes(entry).apply(root);
        }
        let place = match self.tree.existing_place(path) {
            Ok(place) => place,
            // A later entry has taken it away.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => return Ok(()),
            Err(error) => return Err(error),
        };
        match place.look()? {
            Standing::Folder => self.attributes(entry).apply(place.open(OFlags::DIRECTORY)?),
            _ => Ok(()),
        }
    }
}
