//! state.json: the record, with the container's configuration as the last member; written by rename.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::record::StoredRecord;
use super::{NEW, Record, STATE, StateDirectory, Status, unfinished};
use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;
use crate::oci::spec::Spec;
use crate::oci::spec::json::{object, parse};
use crate::text::json;

/// How the configuration begins.
const CONFIG: &[u8] = b",\"config\":{";

/// Longer than any state.json: a config.json may have 16 MiB.
const STATE_MAX: u64 = 17 << 20;

/// How much to read at first, in bytes: usually enough for everything before the configuration.
const HEAD: usize = 1024;

object! {
    /// The container's configuration alone.
    StoredConfig<'a> {
        "config" => config: Option<Spec<'a>>,
    }
}

/// What a container's folder says about it.
#[derive(Debug)]
pub enum Recorded {
    /// Everything, with the whole text of state.json: see [`stored_config`].
    Whole(Record, Vec<u8>),
    /// Its creation was not finished. If the record had been written but not published, this is it.
    Unfinished(Option<(Record, Vec<u8>)>),
    /// state.json is not as it was written.
    Damaged(Error),
}

impl StateDirectory {
    /// Writes a new state.json, with the container's configuration as the last member. It takes effect with
    /// [`Self::publish`].
    pub fn store(&self, record: &Record, config: &str) -> Result<()> {
        let record = json::to_string(record)?;
        let Some(record) = record.strip_suffix('}') else {
            return Err(Error::new("state.json: not an object"));
        };
        self.write_document(&format!("{record},\"config\":{}}}\n", config.trim()))
    }

    /// Replaces state.json atomically: readers see either the old text or the new one.
    pub fn replace_document(&self, document: &str) -> Result<()> {
        self.write_document(document).and_then(|()| self.publish())
    }

    /// Replaces the record atomically; the configuration stays as it stands in `document`, the text before.
    ///
    /// # Errors
    /// There is none in it; it cannot be written.
    pub fn replace_record(&self, record: &Record, document: &[u8]) -> Result<()> {
        let config = find_config(document).and_then(|place| {
            let text = std::str::from_utf8(&document[place + CONFIG.len() - 1..]).ok()?;
            text.trim_end().strip_suffix('}')
        });
        let config = config.ok_or_else(|| Error::new("state.json: it has no configuration"))?;
        self.store(record, config).and_then(|()| self.publish())
    }

    /// Renames what was written to state.json.
    pub fn publish(&self) -> Result<()> {
        rustix::fs::renameat(&self.directory, NEW, &self.directory, STATE)
            .context(|| format!("write {}/{STATE}", self.path.display()))
    }

    /// Writes another file of the folder, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_file(&self, name: &str, text: &str) -> Result<()> {
        let step = || format!("write {}/{name}", self.path.display());
        let new = format!("{name}.new");
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        let file = rustix::fs::openat(&self.directory, &*new, flags, mode).context(step)?;
        write_all(&file, text.as_bytes()).context(step)?;
        rustix::fs::renameat(&self.directory, &*new, &self.directory, name).context(step)
    }

    /// The content of another file of the folder, if it is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match open_document(&self.directory, name) {
            Err(Errno::NOENT) => Ok(None),
            file => {
                self.read_whole(&file.context(|| format!("read {}/{name}", self.path.display()))?).map(Some)
            }
        }
    }

    /// Removes a file that [`Self::write_file`] has written, however much of it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_file(&self, name: &str) -> Result<()> {
        for name in [&*format!("{name}.new"), name] {
            match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("remove {}/{name}", self.path.display())),
            }
        }
        Ok(())
    }

    fn write_document(&self, document: &str) -> Result<()> {
        let step = || format!("write {}/{STATE}", self.path.display());
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::openat(&self.directory, NEW, flags, Mode::from_raw_mode(0o600)).context(step)?;
        write_all(&file, document.as_bytes()).context(step)
    }

    /// The text of state.json.
    ///
    /// # Errors
    /// It is missing (`create` was killed), or too long.
    pub fn read_document(&self) -> Result<Vec<u8>> {
        self.read_whole(&self.open_document()?)
    }

    fn read_whole(&self, file: &OwnedFd) -> Result<Vec<u8>> {
        let step = || format!("read {}/{STATE}", self.path.display());
        let size = rustix::fs::fstat(file).context(step)?.st_size as u64;
        if size > STATE_MAX {
            let text = format!("{}: {size} bytes are more than a state can have", step());
            return Err(Error::of(Kind::Invalid, text));
        }
        read_all(file, size as usize).context(step)
    }

    /// The record of a container whose folder is locked, so that it is not being created just now.
    ///
    /// # Errors
    /// It cannot be read, and so nothing is known.
    pub fn recorded(&self) -> Result<Recorded> {
        match self.load_whole() {
            Ok((record, document)) => Ok(Recorded::Whole(record, document)),
            Err(error) if error.kind() == Kind::NotFound => self.read_unpublished().map(Recorded::Unfinished),
            Err(error) if error.kind() == Kind::Invalid => Ok(Recorded::Damaged(error)),
            Err(error) => Err(error),
        }
    }

    /// What `create` wrote before it was killed; `None` if it wrote nothing, or only a part.
    fn read_unpublished(&self) -> Result<Option<(Record, Vec<u8>)>> {
        let file = match open_document(&self.directory, NEW) {
            Err(Errno::NOENT) => return Ok(None),
            file => file.context(|| format!("read {}/{NEW}", self.path.display()))?,
        };
        let document = self.read_whole(&file)?;
        Ok(self.record_in(&document).ok().map(|record| (record, document)))
    }

    fn open_document(&self) -> Result<OwnedFd> {
        match open_document(&self.directory, STATE) {
            Err(Errno::NOENT) => Err(unfinished(&self.id)),
            file => file.context(|| format!("read {}/{STATE}", self.path.display())),
        }
    }

    /// The container's record, and its status as the kernel knows it; `head` holds the text.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn look<'a>(&self, head: &'a mut Vec<u8>) -> Result<(StoredRecord<'a>, Status)> {
        let step = || format!("read {}/{STATE}", self.path.display());
        read_head(&self.open_document()?, head).context(step)?;
        let record = parse_head(head, &self.id).context(step)?;
        let status = self.status_of(record.init(), &record.boot_id, record.cgroup.as_deref())?;
        Ok((record, status))
    }

    /// The container's record.
    ///
    /// # Errors
    /// As for [`Self::read_document`]; or it is incomplete, or another container's.
    pub fn load(&self) -> Result<Record> {
        self.record_in(&self.read_document()?)
    }

    /// The record, and the whole text with the configuration: see [`stored_config`].
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_whole(&self) -> Result<(Record, Vec<u8>)> {
        let document = self.read_document()?;
        Ok((self.record_in(&document)?, document))
    }

    fn record_in(&self, document: &[u8]) -> Result<Record> {
        let head = find_config(document)
            .map_or_else(|| document.to_vec(), |config| [&document[..config], b"}"].concat());
        parse_head(&head, &self.id)
            .map(Record::from)
            .context(|| format!("read {}/{STATE}", self.path.display()))
    }
}

/// Opens a state.json, without ever blocking: another kind of file might, such as a FIFO.
pub(super) fn open_document(folder: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(folder, path, flags, Mode::empty())
}

/// Finds where the configuration begins. It comes last and is most of the text, but usually only what stands
/// before it is needed. No annotation can be mistaken for it, because their values are not objects.
fn find_config(document: &[u8]) -> Option<usize> {
    let mut behind = 0;
    loop {
        // This byte is rare before the configuration, so that the search is fast.
        behind += document[behind..].iter().position(|&byte| byte == CONFIG[CONFIG.len() - 1])? + 1;
        if document[..behind].ends_with(CONFIG) {
            return Some(behind - CONFIG.len());
        }
    }
}

/// Reads what stands before the configuration and closes it as an object, into a buffer that is reused for
/// every container.
pub(super) fn read_head(file: &OwnedFd, head: &mut Vec<u8>) -> rustix::io::Result<()> {
    head.clear();
    while head.len() < STATE_MAX as usize {
        head.reserve(HEAD);
        if rustix::io::read(file, rustix::buffer::spare_capacity(head))? == 0 {
            break;
        }
        if let Some(config) = find_config(head) {
            head.truncate(config);
            head.push(b'}');
            break;
        }
    }
    Ok(())
}

/// Parses the record in the text of a state.json that ends before the configuration.
///
/// # Errors
/// It is incomplete, or another container's.
pub(super) fn parse_head<'a>(head: &'a [u8], id: &ContainerId) -> Result<StoredRecord<'a>> {
    let stored: StoredRecord<'_> =
        parse(head).map_err(|error| Error::from(error).with_kind(Kind::Invalid))?;
    // If one of these were missing, a live process would count as gone.
    let names_process = stored.pid > 0 && stored.pidfd_inode | stored.start_time != 0;
    if *stored.id != *id.as_str() || !names_process || stored.boot_id.is_empty() {
        return Err(Error::of(Kind::Invalid, format!("not the state of container {id}")));
    }
    Ok(stored)
}

/// Parses the configuration in the text of a state.json.
///
/// # Errors
/// It has none, or the text is not a state.json.
pub fn stored_config(document: &[u8]) -> Result<Spec<'_>> {
    let stored: StoredConfig<'_> =
        parse(document).map_err(|error| Error::formatted(format_args!("{STATE}: {error}")))?;
    stored.config.ok_or_else(|| Error::new("state.json: it has no configuration"))
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(file, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Reads to the end of the file; `size` is a guess.
fn read_all(file: &OwnedFd, size: usize) -> rustix::io::Result<Vec<u8>> {
    let mut document = Vec::with_capacity(size + 1);
    while rustix::io::read(file, rustix::buffer::spare_capacity(&mut document))? > 0 {
        if document.len() == document.capacity() {
            document.reserve(document.len());
        }
    }
    Ok(document)
}
