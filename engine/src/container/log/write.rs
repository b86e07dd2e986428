//! Writing the log: it rotates, and a full disk stops it alone.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::path::{Path, PathBuf};

use super::record::{CONTENT_MAX, HEADER, Head, Stream};
use crate::container::options::LogOptions;
use crate::error::{Context, Result};
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
    pub fn of(options: LogOptions) -> LogBounds {
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
    number: u64,
    file: Option<File>,
    length: u64,
    /// Bytes of output that were not written.
    lost: u64,
}

impl LogWriter {
    /// Goes on behind what is there, in a file of its own: the last one may end in the middle of a record.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path, bounds: LogBounds) -> Result<LogWriter> {
        std::fs::create_dir_all(folder).context(|| format!("make the folder {}", folder.display()))?;
        let number = numbers(folder)?.last().map_or(0, |last| last + 1);
        Ok(LogWriter { folder: folder.to_path_buf(), bounds, number, file: None, length: 0, lost: 0 })
    }

    /// One that keeps nothing.
    pub fn none() -> LogWriter {
        let bounds = LogBounds { size: 0, count: 0 };
        LogWriter { folder: PathBuf::new(), bounds, number: 0, file: None, length: 0, lost: 0 }
    }

    /// Writes what a program wrote. What the disk does not take is lost, and noted as soon as it takes something again.
    pub fn write(&mut self, stream: Stream, content: &[u8]) {
        if self.bounds.count == 0 {
            return;
        }
        for part in content.chunks(CONTENT_MAX) {
            if self.lost > 0 {
                let text = format!(
                    "box: {} bytes of output are missing here: the disk did not take them\n",
                    self.lost
                );
                if self.write_record(Stream::Note, text.as_bytes()).is_err() {
                    self.lost += part.len() as u64;
                    continue;
                }
                self.lost = 0;
            }
            if self.write_record(stream, part).is_err() {
                self.lost += part.len() as u64;
            }
        }
    }

    fn write_record(&mut self, stream: Stream, content: &[u8]) -> std::io::Result<()> {
        if self.length >= self.bounds.size {
            self.file = None;
            self.number += 1;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = File::create(self.folder.join(self.number.to_string()))?;
                self.length = 0;
                // The oldest go when a new one is there.
                if let Some(oldest) = self.number.checked_sub(self.bounds.count) {
                    let _ = std::fs::remove_file(self.folder.join(oldest.to_string()));
                }
                none.insert(file)
            }
        };
        let head = Head { time: Moment::now(), length: content.len(), stream }.encode();
        let mut parts = [IoSlice::new(&head), IoSlice::new(content)];
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            match file.write_vectored(parts) {
                Ok(length) => IoSlice::advance_slices(&mut parts, length),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // No reader gets by a part of a record.
                    file.set_len(self.length)?;
                    std::io::Seek::seek(file, std::io::SeekFrom::Start(self.length))?;
                    return Err(error);
                }
            }
        }
        self.length += (HEADER + content.len()) as u64;
        Ok(())
    }
}

/// The numbers of the files, in order.
pub fn numbers(folder: &Path) -> Result<Vec<u64>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(|| folder.display().to_string())?,
    };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
