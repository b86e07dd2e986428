//! Reading the log: lines, from the beginning or the last ones, and those that are still to come.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::index::Open;
use super::json_file::{parse_line, rotated};
use super::record::{HEADER, Head, Stream};
use super::write::numbers;
use crate::error::{Context, Result};
use crate::store::FolderWatch;
use crate::time::Moment;

/// A line, with the line end that it has; the last one of a stream may have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its beginning was read.
    pub time: Moment,
    /// Who wrote it.
    pub stream: Stream,
    /// Its bytes.
    pub text: Vec<u8>,
    /// Whether it may have begun before what was read.
    pub(super) is_cut: bool,
}

/// How much of what is there is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// All of it.
    All,
    /// The last lines.
    Lines(usize),
    /// Lines since a moment; some that are earlier come as well.
    Since(Moment),
}

/// Longer lines come in parts.
const LINE_MAX: usize = 1 << 20;

/// Reads a log from its beginning.
#[derive(Debug)]
pub struct LogReader {
    pub(super) files: Files,
    pub(super) watch: Option<FolderWatch>,
    pub(super) file: Option<File>,
    /// What has been read of a record that is not complete yet.
    pub(super) record: Vec<u8>,
    /// The beginnings of lines: of stdout, of stderr, and of notes.
    pub(super) open: [Option<Line>; 3],
    /// Where the next line may be the end of one that was not read.
    pub(super) cut: Open,
    /// Whether lines whose beginnings were not read are left out.
    pub(super) passes_over_cut: bool,
}

/// Where it is, and how far it was read.
#[derive(Debug)]
pub(super) enum Files {
    /// Records in files with numbers.
    Numbered { folder: PathBuf, number: u64 },
    /// Lines of JSON in a file and its older ones.
    Json(PathBuf),
}

impl LogReader {
    /// Of Docker's json-file, by its path. To follow it, its folder is watched from now on.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open_json(path: &Path, follow: bool) -> Result<LogReader> {
        let folder = path.parent().unwrap_or(path);
        let watch = follow.then(|| watch(folder).context(|| format!("watch {}", folder.display())));
        Ok(LogReader::new(Files::Json(path.to_path_buf()), watch.transpose()?))
    }

    fn new(files: Files, watch: Option<FolderWatch>) -> LogReader {
        let (open, cut) = ([None, None, None], [false; 3]);
        LogReader { files, watch, file: None, record: Vec::new(), open, cut, passes_over_cut: false }
    }

    /// Of the log in a folder. To follow it, it is watched from now on.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(folder: &Path, follow: bool) -> Result<LogReader> {
        let watch = match follow {
            true => Some(watch(folder).context(|| format!("watch {}", folder.display()))?),
            false => None,
        };
        let number = numbers(folder)?.first().copied().unwrap_or(0);
        Ok(LogReader::new(Files::Numbered { folder: folder.to_path_buf(), number }, watch))
    }

    /// What is there now, line by line.
    ///
    /// # Errors
    /// `each` failed, or a file cannot be read.
    pub fn read(&mut self, tail: Tail, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        match tail {
            Tail::All => self.read_all(each),
            Tail::Lines(count) => self.read_last(count, each),
            Tail::Since(moment) => self.read_since(moment, each),
        }
    }

    pub(super) fn read_all(&mut self, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Some(file) = self.current()? else { return Ok(()) };
            match file.read(&mut buffer).context(|| "log")? {
                0 if !self.next_file()? => return Ok(()),
                0 => {}
                length => {
                    self.record.extend_from_slice(&buffer[..length]);
                    self.take_records(each)?;
                }
            }
        }
    }

    /// The last lines, if nothing ends them.
    ///
    /// # Errors
    /// `each` failed.
    pub fn finish(&mut self, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        let passes_over_cut = self.passes_over_cut;
        let left = self.open.iter_mut().filter_map(Option::take);
        left.filter(|line| !(passes_over_cut && line.is_cut)).try_for_each(each)
    }

    /// Waits until there may be more, or something comes from `writer`. True if `reader` has been closed.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn wait(&mut self, writer: Option<BorrowedFd<'_>>, reader: Option<BorrowedFd<'_>>) -> Result<bool> {
        let Some(watch) = &self.watch else { return Ok(true) };
        let (told, limit) = watch.wait();
        let mut polled: Vec<PollFd<'_>> = told.into_iter().chain(writer).map(readable).collect();
        let index = polled.len();
        // That it is closed is always told.
        polled.extend(reader.map(|reader| PollFd::from_borrowed_fd(reader, PollFlags::empty())));
        match poll(&mut polled, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the log"),
        }
        let is_closed = polled.get(index).is_some_and(|reader| !reader.revents().is_empty());
        watch.forget();
        Ok(is_closed)
    }

    fn current(&mut self) -> Result<Option<&mut File>> {
        while self.file.is_none() {
            let path = match &self.files {
                Files::Numbered { folder, number } => folder.join(number.to_string()),
                Files::Json(path) => rotated(path)?.swap_remove(0),
            };
            match File::open(&path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let Files::Numbered { folder, number } = &mut self.files else { return Ok(None) };
                    // The oldest has just been deleted, or there is none yet.
                    let oldest = numbers(folder)?.into_iter().find(|found| found > number);
                    let Some(oldest) = oldest else { return Ok(None) };
                    *number = oldest;
                }
                Err(error) => return Err(error).context(|| path.display().to_string()),
            }
        }
        Ok(self.file.as_mut())
    }

    /// Goes on to the next file; false if there is none.
    fn next_file(&mut self) -> Result<bool> {
        let (path, next) = match &self.files {
            Files::Numbered { folder, number } => {
                let next = numbers(folder)?.into_iter().find(|next| next > number);
                let Some(next) = next else { return Ok(false) };
                (folder.join(next.to_string()), next)
            }
            Files::Json(path) => match self.next_json(path)? {
                Some(path) => (path, 0),
                None => return Ok(false),
            },
        };
        // The writer may have added something before it went on; now it adds no more.
        if let Some(file) = &mut self.file {
            let end = file.metadata().context(|| "log")?.len();
            if std::io::Seek::stream_position(file).context(|| "log")? < end {
                return Ok(true);
            }
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            // It has just got another name, or is gone: the next look finds what there is.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error).context(|| path.display().to_string()),
        };
        if let Files::Json(path) = &self.files {
            // Another one may have got the name in between, and this one would be skipped.
            let next = self.next_json(path)?.and_then(|next| inode(&next));
            if next != Some(file.metadata().context(|| "log")?.ino()) {
                return Ok(true);
            }
        }
        // A record that a killed monitor has left half is none.
        self.record.clear();
        self.file = Some(file);
        if let Files::Numbered { number, .. } = &mut self.files {
            *number = next;
        }
        Ok(true)
    }

    /// The file behind the one that is read: they change their names. The oldest, if that one is gone.
    fn next_json(&self, path: &Path) -> Result<Option<PathBuf>> {
        let Some(file) = &self.file else { return Ok(None) };
        let own = file.metadata().context(|| "log")?.ino();
        let files = rotated(path)?;
        let is_own = |path: &PathBuf| inode(path) == Some(own);
        match files.iter().position(is_own) {
            Some(index) => Ok(files.into_iter().nth(index + 1)),
            None => Ok(files.into_iter().find(|path| path.exists())),
        }
    }

    fn take_records(&mut self, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        if let Files::Json(_) = self.files {
            return self.take_json(each);
        }
        let mut start = 0;
        while let Some((header, rest)) = self.record[start..].split_first_chunk::<HEADER>() {
            let Some(head) = Head::decode(header) else {
                // Whatever it is: the next file begins with a record.
                start = self.record.len();
                break;
            };
            let Some(content) = rest.get(..head.length) else { break };
            let content = content.to_vec();
            start += HEADER + head.length;
            self.take_lines(head.time, head.stream, &content, each)?;
        }
        self.record.drain(..start);
        Ok(())
    }

    fn take_json(&mut self, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        let record = std::mem::take(&mut self.record);
        let mut rest = &record[..];
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            // What is no line of Docker's is passed over.
            if let Some((time, stream, text)) = parse_line(&rest[..end]) {
                self.take_lines(time, stream, &text, each)?;
            }
            rest = &rest[end + 1..];
        }
        self.record = rest.to_vec();
        Ok(())
    }

    fn take_lines(
        &mut self,
        time: Moment,
        stream: Stream,
        content: &[u8],
        each: &mut dyn FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        let index = stream as usize - 1;
        let (open, cut) = (&mut self.open[index], &mut self.cut[index]);
        for part in content.split_inclusive(|&byte| byte == b'\n') {
            let mut line = open.take().unwrap_or(Line { time, stream, text: Vec::new(), is_cut: *cut });
            line.text.extend_from_slice(part);
            *cut &= !part.ends_with(b"\n");
            if line.text.ends_with(b"\n") || line.text.len() > LINE_MAX {
                if !(self.passes_over_cut && line.is_cut) {
                    each(line)?;
                }
            } else {
                *open = Some(line);
            }
        }
        Ok(())
    }
}

fn readable(descriptor: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(descriptor, PollFlags::IN)
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|status| status.ino())
}

fn watch(folder: &Path) -> Result<FolderWatch> {
    std::fs::create_dir_all(folder)?;
    FolderWatch::begin(folder)
}

#[cfg(test)]
mod tests;
