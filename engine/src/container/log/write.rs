//! Writing the log: it rotates, and a full disk stops it alone.

use std::fs::File;
use std::io::{BufReader, IoSlice, Read, Write};
use std::path::{Path, PathBuf};

use super::index::{Entry, Index, Open, STEP, remove_index};
use super::reading::unneeded;
use super::record::{CONTENT_MAX, HEADER, Head, Stream};
use crate::container::options::LogOptions;
use crate::error::{Context, Result};
use crate::file;
use crate::order;
use crate::time::Moment;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// Bytes of one file.
    pub size: u64,
    /// How many files.
    pub count: u64,
}

impl LogBounds {
    /// As the options say, or as is usual.
    pub fn of(options: &LogOptions) -> LogBounds {
        let LogBounds { size, count } = LogBounds::default();
        LogBounds { size: options.size.unwrap_or(size), count: options.count.unwrap_or(count) }
    }
}

impl Default for LogBounds {
    fn default() -> Self {
        LogBounds { size: 10 << 20, count: 3 }
    }
}

/// The end of a log.
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    bounds: LogBounds,
    /// Of the last file, if there is one.
    number: Option<u64>,
    file: Option<File>,
    length: u64,
    /// Of the last file.
    index: Option<Index>,
    /// Bytes of output that were not written.
    lost: u64,
}

impl LogWriter {
    /// Goes on behind what is there: in the last file, so that many starts do not push out what they have hardly filled. One that ends in
    /// the middle of a record, because its writer was killed, is left: behind that no reader finds a record.
    ///
    /// # Errors
    /// The folder cannot be made, or the last file not be read.
    pub fn open(folder: &Path, bounds: LogBounds) -> Result<LogWriter> {
        std::fs::create_dir_all(folder).context(|| format!("make the folder {}", folder.display()))?;
        let number = numbers(folder)?.last().copied();
        let folder = folder.to_path_buf();
        let mut writer = LogWriter { folder, bounds, number, file: None, length: 0, index: None, lost: 0 };
        if let Some(number) = number {
            let path = writer.path(number);
            let named = || path.display().to_string();
            let mut file = file::open_with(File::options().read(true).append(true), &path).context(named)?;
            if let Some(Whole { length, entries, open }) = look_through(&mut file).context(named)? {
                writer.index = Some(Index::again(&path, &entries, open));
                (writer.length, writer.file) = (length, Some(file));
            }
        }
        Ok(writer)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// Writes what a program wrote. What the disk does not take is lost, and noted as soon as it takes something again.
    ///
    /// # Errors
    /// Why the disk did not take it.
    pub fn write(&mut self, stream: Stream, content: &[u8]) -> std::io::Result<()> {
        let mut written = Ok(());
        for part in content.chunks(CONTENT_MAX) {
            if self.lost > 0 {
                let text = format!(
                    "box: {} bytes of output are missing here: the disk did not take them\n",
                    self.lost
                );
                if let Err(error) = self.write_record(Stream::Note, text.as_bytes()) {
                    self.lost += part.len() as u64;
                    written = Err(error);
                    continue;
                }
                self.lost = 0;
            }
            if let Err(error) = self.write_record(stream, part) {
                self.lost += part.len() as u64;
                written = Err(error);
            }
        }
        written
    }

    /// Begins the next file. Only when it is there it counts, and the oldest go.
    fn begin_file(&mut self) -> std::io::Result<File> {
        let number = self.number.map_or(0, |last| last + 1);
        let file = File::options().create_new(true).append(true).open(self.path(number))?;
        (self.number, self.length) = (Some(number), 0);
        // What lies before a file that ends in the middle of a record is not known.
        let open = self.index.take().map_or([number > 0; 3], |index| index.open());
        self.index = Some(Index::begin(&self.path(number), open, number == 0));
        self.delete_old((number + 1).saturating_sub(self.bounds.count));
        Ok(file)
    }

    /// Deletes files whose numbers are lower, but for those that somebody is still to read.
    fn delete_old(&self, kept: u64) {
        let numbers = numbers(&self.folder).unwrap_or_default();
        let old = numbers.into_iter().filter(|number| *number < kept);
        let old: Vec<PathBuf> = old.map(|number| self.path(number)).collect();
        for path in unneeded(&old, self.bounds.size).into_iter().map(|index| &old[index]) {
            let _ = std::fs::remove_file(path);
            remove_index(path);
        }
    }

    fn write_record(&mut self, stream: Stream, content: &[u8]) -> std::io::Result<()> {
        let file = match self.file.take() {
            Some(file) if self.length < self.bounds.size => file,
            _ => self.begin_file()?,
        };
        let file = self.file.insert(file);
        if let Some(index) = &mut self.index {
            index.note(self.length);
        }
        let head = Head { time: Moment::now(), length: content.len(), stream }.encode();
        let mut parts = [IoSlice::new(&head), IoSlice::new(content)];
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            match file.write_vectored(parts) {
                Ok(length) => IoSlice::advance_slices(&mut parts, length),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // No reader gets by a part of a record: behind one that stays, the next file begins.
                    if file.set_len(self.length).is_err() {
                        self.file = None;
                    }
                    return Err(error);
                }
            }
        }
        self.length += (HEADER + content.len()) as u64;
        if let Some(index) = &mut self.index {
            index.add(stream, content);
        }
        Ok(())
    }
}

/// A file that ends with a whole record.
struct Whole {
    length: u64,
    /// What is noted of it.
    entries: Vec<Entry>,
    /// How it ends.
    open: Open,
}

/// `None` if it does not end with a whole record.
fn look_through(file: &mut File) -> std::io::Result<Option<Whole>> {
    let end = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut header = [0; HEADER];
    let mut found = Whole { length: 0, entries: Vec::new(), open: [false; 3] };
    while found.length < end {
        match reader.read_exact(&mut header) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let Some(head) = Head::decode(&header) else { return Ok(None) };
        if found.length - found.entries.last().map_or(0, |entry| entry.offset) >= STEP {
            found.entries.push(Entry { offset: found.length, open: found.open });
        }
        found.length += (HEADER + head.length) as u64;
        if found.length > end {
            return Ok(None);
        }
        let mut last = [0];
        if head.length > 0 {
            reader.seek_relative(head.length as i64 - 1)?;
            reader.read_exact(&mut last)?;
        }
        found.open[head.stream as usize - 1] = last != *b"\n";
    }
    Ok(Some(found))
}

/// The numbers of the files, in order.
pub fn numbers(folder: &Path) -> Result<Vec<u64>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(|| folder.display().to_string())?,
    };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    order::sort(&mut numbers);
    Ok(numbers)
}
