//! Docker's json-file: a line of JSON for each line, in `ID-json.log` in the container's folder; older ones end with `.1`, `.2`, ….

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::lines::{Lines, Part};
use super::reading::unneeded;
use super::record::Stream;
use super::tag::LogSubject;
use super::write::LogBounds;
use crate::error::{Context, Result};
use crate::file;
use crate::order::{self, Collect};
use crate::time::{Moment, parse_rfc3339, rfc3339};

/// The numbers of files that stay for readers are below this one, and above all others.
const ASIDE: u64 = 1_000_000_000;

/// The file that is written, in a container's folder.
pub fn json_file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}-json.log"))
}

/// The files with this one's older ones, the oldest first.
pub fn rotated(path: &Path) -> Result<Vec<PathBuf>> {
    let older = older(path)?.into_iter().map(|number| numbered(path, number));
    Ok(older.chain([path.to_path_buf()]).collect())
}

/// The numbers of the older ones, the oldest first.
fn older(path: &Path) -> Result<Vec<u64>> {
    let folder = path.parent().unwrap_or(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut numbers: Vec<u64> = Vec::new();
    for entry in std::fs::read_dir(folder).context(|| folder.display().to_string())?.flatten() {
        let found = entry.file_name();
        let number = found.to_str().and_then(|found| found.strip_prefix(&name)?.strip_prefix('.'));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    order::sort_by_key(&mut numbers, |number| std::cmp::Reverse(*number));
    Ok(numbers)
}

/// Whether others were put aside between one file and the next, which stay no more.
pub fn is_gap(file: &Path, next: &Path) -> bool {
    let number = |path: &Path| path.extension()?.to_str()?.parse::<u64>().ok().filter(|it| *it > ASIDE / 2);
    matches!((number(file), number(next)), (Some(number), Some(next)) if number != next + 1)
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    PathBuf::from(format!("{}.{number}", path.display()))
}

/// The end of such a log.
#[derive(Debug)]
pub struct JsonWriter {
    path: PathBuf,
    bounds: LogBounds,
    file: Option<File>,
    length: u64,
    lines: Lines,
    /// Chosen labels and variables, and the tag.
    attributes: Option<Value>,
    /// Lines that the disk did not take.
    lost: u64,
}

impl JsonWriter {
    /// Goes on behind what is there.
    pub fn new(path: PathBuf, bounds: LogBounds, subject: &LogSubject) -> JsonWriter {
        let chosen = subject.attributes.iter().map(|(name, value)| (name.clone(), json!(value)));
        let mut attributes: Map<String, Value> = chosen.collect_map();
        if subject.has_tag {
            attributes.insert("tag".into(), json!(subject.tag));
        }
        let attributes = Some(attributes).filter(|chosen| !chosen.is_empty()).map(Value::Object);
        JsonWriter { path, bounds, file: None, length: 0, lines: Lines::default(), attributes, lost: 0 }
    }

    /// Writes what a program wrote.
    ///
    /// # Errors
    /// The disk did not take it. It is noted as soon as it takes something again.
    pub fn write(&mut self, stream: Stream, content: &[u8]) -> std::io::Result<()> {
        let mut taken = Taken::default();
        let attributes = self.attributes.as_ref();
        self.lines.take(stream, content, &mut |part| taken.add(part, attributes));
        self.append(&taken)
    }

    /// The program has ended.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn finish(&mut self) -> std::io::Result<()> {
        let mut taken = Taken::default();
        let attributes = self.attributes.as_ref();
        self.lines.finish(&mut |part| taken.add(part, attributes));
        self.append(&taken)
    }

    fn append(&mut self, taken: &Taken) -> std::io::Result<()> {
        if taken.count == 0 {
            return Ok(());
        }
        let mut written = Ok(());
        if self.lost > 0 {
            let mut note = Taken::default();
            let text = format!("box: {} lines are missing here: the disk did not take them", self.lost);
            note.add(Part { stream: Stream::Stderr, text: text.as_bytes(), is_last: true }, None);
            written = self.write_whole(&note.text);
            if written.is_ok() {
                self.lost = 0;
            }
        }
        let written = written.and_then(|()| self.write_whole(&taken.text));
        if written.is_err() {
            self.lost += taken.count;
        }
        written
    }

    fn write_whole(&mut self, text: &[u8]) -> std::io::Result<()> {
        if self.file.is_some() && self.length >= self.bounds.size {
            self.rotate()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (file, length) = open(&self.path)?;
                self.length = length;
                none.insert(file)
            }
        };
        match file.write_all(text) {
            Ok(()) => self.length += text.len() as u64,
            Err(error) => {
                // No reader gets by a part of a line: it is taken away when the file is opened again.
                self.file = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Every file gets the next number; the oldest goes.
    fn rotate(&mut self) -> std::io::Result<()> {
        let last = self.bounds.count.saturating_sub(1);
        let named = |number: u64| match number {
            0 => self.path.clone(),
            number => numbered(&self.path, number),
        };
        self.put_aside(last, &named)?;
        for number in (1..=last).rev() {
            if_there(std::fs::rename(named(number - 1), named(number)))?;
        }
        self.file = None;
        Ok(())
    }

    /// Takes the oldest that is kept out of the way. It is deleted, like those that are older, unless somebody is still to read it: then
    /// it gets a number between theirs and those that are kept, once and for all.
    fn put_aside(&self, last: u64, named: &dyn Fn(u64) -> PathBuf) -> std::io::Result<()> {
        let mut numbers = older(&self.path).unwrap_or_default();
        numbers.push(0);
        numbers.retain(|number| *number >= last);
        let files: Vec<PathBuf> = numbers.iter().map(|number| named(*number)).collect();
        for path in unneeded(&files, self.bounds.size).into_iter().map(|index| &files[index]) {
            if_there(std::fs::remove_file(path))?;
        }
        let lowest = numbers.into_iter().rfind(|number| *number > last).unwrap_or(ASIDE);
        if_there(std::fs::rename(named(last), named((lowest - 1).max(last + 1))))
    }
}

fn if_there(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Opens the file to write behind what is there, without a line that a killed monitor has left half.
fn open(path: &Path) -> std::io::Result<(File, u64)> {
    let mut file =
        file::open_with(File::options().read(true).write(true).create(true).truncate(false), path)?;
    let length = file.metadata()?.len();
    let mut end = length;
    let mut chunk = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(chunk.len() as u64);
        let chunk = &mut chunk[..usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(chunk)?;
        if let Some(index) = chunk.iter().rposition(|&byte| byte == b'\n') {
            end = start + index as u64 + 1;
            break;
        }
        end = start;
    }
    if end < length {
        file.set_len(end)?;
    }
    file.seek(SeekFrom::Start(end))?;
    Ok((file, end))
}

/// Lines that are written at once.
#[derive(Default)]
struct Taken {
    text: Vec<u8>,
    count: u64,
}

impl Taken {
    fn add(&mut self, part: Part<'_>, attributes: Option<&Value>) {
        let Part { stream, text, is_last } = part;
        let mut line = String::from_utf8_lossy(text).into_owned();
        if is_last {
            line.push('\n');
        }
        let stream = if stream == Stream::Stderr { "stderr" } else { "stdout" };
        // In Docker's order.
        let line = Value::String(line);
        let attributes = attributes.map_or(String::new(), |attributes| format!(",\"attrs\":{attributes}"));
        let time = rfc3339(Moment::now());
        self.text.extend_from_slice(
            format!("{{\"log\":{line},\"stream\":\"{stream}\"{attributes},\"time\":\"{time}\"}}\n")
                .as_bytes(),
        );
        self.count += 1;
    }
}

/// What stands in a line of the file; `None`: it is none.
pub fn parse_line(line: &[u8]) -> Option<(Moment, Stream, Vec<u8>)> {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        log: String,
        #[serde(default)]
        stream: String,
        time: String,
    }
    let Written { log, stream, time } = serde_json::from_slice(line).ok()?;
    let stream = if stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
    Some((parse_rfc3339(&time)?, stream, log.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::super::{LogReader, Tail};
    use super::*;

    fn writer(folder: &Scratch, bounds: LogBounds, attributes: &[(&str, &str)]) -> JsonWriter {
        let attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let subject = LogSubject {
            id: "0".into(),
            name: "web".into(),
            image: "busybox".into(),
            tag: "web".into(),
            has_tag: false,
            attributes,
        };
        JsonWriter::new(json_file(&folder.0, "0"), bounds, &subject)
    }

    fn lines(reader: &mut LogReader) -> Vec<String> {
        let mut texts = Vec::new();
        reader
            .read(Tail::All, &mut |line| {
                texts.push(format!("{:?} {}", line.stream, String::from_utf8_lossy(&line.text)));
                Ok(())
            })
            .unwrap();
        texts
    }

    #[test]
    fn lines_are_dockers() {
        let folder = Scratch::new("json-form");
        let mut writer = writer(&folder, LogBounds::default(), &[("app", "web")]);
        writer.write(Stream::Stdout, b"a \"b\"\nhalf").unwrap();
        writer.write(Stream::Stderr, b"\xff\n").unwrap();
        writer.finish().unwrap();
        let text = std::fs::read_to_string(json_file(&folder.0, "0")).unwrap();
        let first = text.lines().next().unwrap();
        let expected = r#"{"log":"a \"b\"\n","stream":"stdout","attrs":{"app":"web"},"time":"2"#;
        assert!(first.starts_with(expected), "{first}");
        let mut reader = LogReader::open_json(&json_file(&folder.0, "0"), false).unwrap();
        assert_eq!(lines(&mut reader), ["Stdout a \"b\"\n", "Stderr \u{fffd}\n", "Stdout half\n"]);
    }

    #[test]
    fn a_follower_misses_nothing_over_a_rotation() {
        let folder = Scratch::new("json-rotation");
        let path = json_file(&folder.0, "0");
        let mut writer = writer(&folder, LogBounds { size: 300, count: 3 }, &[]);
        let mut reader = LogReader::open_json(&path, true).unwrap();
        let mut seen = Vec::new();
        for number in 0..100 {
            writer.write(Stream::Stdout, format!("line {number}\n").as_bytes()).unwrap();
            if number % 5 == 0 {
                seen.extend(lines(&mut reader));
            }
        }
        seen.extend(lines(&mut reader));
        let expected: Vec<_> = (0..100).map(|number| format!("Stdout line {number}\n")).collect();
        assert_eq!(seen, expected);
        assert_eq!(rotated(&path).unwrap().len(), 3);
    }

    #[test]
    fn what_a_killed_monitor_left_half_is_taken_away() {
        let folder = Scratch::new("json-half");
        writer(&folder, LogBounds::default(), &[]).write(Stream::Stdout, b"first\nlost\n").unwrap();
        let path = json_file(&folder.0, "0");
        let length = std::fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
        writer(&folder, LogBounds::default(), &[]).write(Stream::Stdout, b"second\n").unwrap();
        let mut reader = LogReader::open_json(&path, false).unwrap();
        assert_eq!(lines(&mut reader), ["Stdout first\n", "Stdout second\n"]);
    }
}
