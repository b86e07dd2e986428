//! Reading the log: lines, from the beginning or the last ones, and those that are still to come.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::index::Open;
use super::json_file::{is_gap, parse_line, rotated};
use super::reading::{begin_reading, is_deleted};
use super::record::{HEADER, Head, Stream};
use super::write::numbers;
use crate::error::{Context, Result};
use crate::file;
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
    /// That of what was read last.
    time: Moment,
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
        let (record, time) = (Vec::new(), Moment(0));
        LogReader { files, watch, file: None, record, open, cut, passes_over_cut: false, time }
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
                0 if !self.next_file(each)? => return Ok(()),
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
            match open_file(&path)? {
                Some(file) => self.file = Some(file),
                // The oldest has just been deleted or got another name, or there is none yet.
                None => match &mut self.files {
                    Files::Numbered { folder, number } => {
                        let oldest = numbers(folder)?.into_iter().find(|found| found > number);
                        let Some(oldest) = oldest else { return Ok(None) };
                        *number = oldest;
                    }
                    Files::Json(first) if path == *first => return Ok(None),
                    Files::Json(_) => {}
                },
            }
        }
        Ok(self.file.as_mut())
    }

    /// Goes on to the next file; false if there is none.
    fn next_file(&mut self, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let found = match &self.files {
            Files::Numbered { folder, number } => behind_number(folder, *number)?,
            Files::Json(path) => behind_file(path, file)?,
        };
        let next = match found {
            Behind::Nothing => return Ok(false),
            Behind::Unsure => return Ok(true),
            Behind::Next(next) => next,
        };
        // The writer may have added something before it went on; now it adds no more.
        let end = file.metadata().context(|| "log")?.len();
        if std::io::Seek::stream_position(file).context(|| "log")? < end {
            return Ok(true);
        }
        // A record that a killed monitor has left half is none.
        self.record.clear();
        self.file = Some(next.file);
        if let Files::Numbered { number, .. } = &mut self.files {
            *number = next.number;
        }
        if next.is_behind_gap {
            self.take_gap(each)?;
        }
        Ok(true)
    }

    /// Says that something is missing: a reader may be so far behind that no files stay for him any more.
    fn take_gap(&mut self, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        for mut line in self.open.iter_mut().filter_map(Option::take) {
            line.text.push(b'\n');
            each(line)?;
        }
        self.cut = [true; 3];
        let text = b"box: lines are missing here: their file was deleted before they were read\n".to_vec();
        each(Line { time: self.time, stream: Stream::Note, text, is_cut: false })
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
        self.time = time;
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

/// Opens a file to be read; `None` if there is none of that name.
pub(super) fn open_file(path: &Path) -> Result<Option<File>> {
    match file::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.context(|| path.display().to_string()).map(|file| Some(file).filter(begin_reading)),
    }
}

/// What there is behind a file.
enum Behind {
    Nothing,
    Next(Next),
    /// Names have just changed: another look tells.
    Unsure,
}

struct Next {
    file: File,
    number: u64,
    /// Whether others that lay in between are gone.
    is_behind_gap: bool,
}

fn behind_number(folder: &Path, number: u64) -> Result<Behind> {
    let Some(next) = numbers(folder)?.into_iter().find(|next| *next > number) else {
        return Ok(Behind::Nothing);
    };
    let opened = open_file(&folder.join(next.to_string()))?;
    let found = |file| Next { file, number: next, is_behind_gap: next > number + 1 };
    Ok(opened.map_or(Behind::Unsure, |file| Behind::Next(found(file))))
}

/// Files that change their names.
fn behind_file(path: &Path, file: &File) -> Result<Behind> {
    let own = file.metadata().context(|| "log")?.ino();
    // Its name, and that of the one behind it.
    let look = || -> Result<_> {
        let files = rotated(path)?;
        let index = files.iter().position(|path| inode(path) == Some(own));
        Ok(index.map(|index| (files[index].clone(), files.get(index + 1).cloned())))
    };
    let Some(names) = look()? else {
        if !is_deleted(file) {
            return Ok(Behind::Unsure);
        }
        // Of all that are left the oldest; how many were in between nobody knows.
        let oldest = rotated(path)?.swap_remove(0);
        let found = |file| Next { file, number: 0, is_behind_gap: true };
        return Ok(match open_file(&oldest)? {
            Some(file) => Behind::Next(found(file)),
            None if oldest == path => Behind::Nothing,
            None => Behind::Unsure,
        });
    };
    let Some(name) = &names.1 else { return Ok(Behind::Nothing) };
    let opened = open_file(name)?;
    // Another one may have got the name in between, and this one would be skipped.
    if look()?.as_ref() != Some(&names) {
        return Ok(Behind::Unsure);
    }
    Ok(match opened {
        Some(file) => Behind::Next(Next { file, number: 0, is_behind_gap: is_gap(&names.0, name) }),
        // The writer has put a file aside, and has begun none yet.
        None if name == path => Behind::Nothing,
        None => Behind::Unsure,
    })
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
