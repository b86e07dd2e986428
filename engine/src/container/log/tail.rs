//! The last lines of a log, and those since a moment: it is read from where they may begin, and from further back if they do not.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::index::{Entry, entries};
use super::json_file::{parse_line, rotated};
use super::read::{Files, Line, LogReader, open_file};
use super::record::{HEADER, Head};
use super::write::numbers;
use crate::error::{Context, Result};
use crate::time::Moment;

/// How much is read at first; each time that is not enough it is this many times as much.
const FIRST: u64 = 1 << 16;
const MORE: u64 = 8;

/// No record of Docker's files is longer: a piece of a line, escaped.
const LONGEST: u64 = 1 << 20;

impl LogReader {
    /// The last lines of what is there now. Those that are not complete yet count, and come when they are.
    pub(super) fn read_last(&mut self, count: usize, each: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        let mut length = FIRST;
        loop {
            let is_whole = !self.go_back(length)?;
            let mut last = VecDeque::new();
            self.read_all(&mut |line| {
                last.push_back(line);
                if last.len() > count {
                    last.pop_front();
                }
                Ok(())
            })?;
            // Lines that are not complete yet come behind them.
            let open = self.open.iter().flatten().count();
            let most = count.saturating_sub(open);
            last.drain(..last.len().saturating_sub(most));
            let is_cut = last.iter().chain(self.open.iter().flatten()).any(|line| line.is_cut);
            if is_whole || (last.len() == most && !is_cut) {
                self.keep_open(count);
                return last.into_iter().try_for_each(each);
            }
            length = length.saturating_mul(MORE);
        }
    }

    /// Lines of a moment and of later ones, and some of earlier ones: what lies far before it is not read.
    pub(super) fn read_since(
        &mut self,
        moment: Moment,
        each: &mut dyn FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        let begun = match &self.files {
            Files::Numbered { folder, .. } => numbered_before(folder, moment)?,
            Files::Json(path) => json_before(path, moment)?,
        };
        self.go_to(begun);
        // They began earlier.
        self.passes_over_cut = true;
        self.read_all(each)
    }

    /// Of lines that are not complete only so many come in the end, unless one is still waited for.
    fn keep_open(&mut self, count: usize) {
        while self.watch.is_none() && self.open.iter().flatten().count() > count {
            let began = |line: &Option<Line>| line.as_ref().map(|line| line.time);
            let first = self.open.iter_mut().filter(|line| line.is_some()).min_by_key(|line| began(line));
            first.map(Option::take);
        }
    }

    /// Goes to where at least so many bytes are left, or fewer if files have been put aside meanwhile; false if that is the beginning.
    fn go_back(&mut self, length: u64) -> Result<bool> {
        let begun = match &self.files {
            Files::Numbered { folder, .. } => numbered(folder, length)?,
            Files::Json(path) => json(path, length)?,
        };
        Ok(self.go_to(begun))
    }

    /// Goes there, or to the beginning, which is false.
    fn go_to(&mut self, begun: Option<Begun>) -> bool {
        self.record.clear();
        self.open = [None, None, None];
        let is_within = begun.is_some();
        let (file, first, open) = match begun {
            Some(Begun { file, number, entry }) => (Some(file), number, entry.open),
            None => (None, 0, [false; 3]),
        };
        (self.file, self.cut) = (file, open);
        if let Files::Numbered { number, .. } = &mut self.files {
            *number = first;
        }
        is_within
    }
}

/// A file that is read from somewhere on.
struct Begun {
    file: File,
    number: u64,
    entry: Entry,
}

/// `None`: from the beginning of the oldest.
fn numbered(folder: &Path, mut length: u64) -> Result<Option<Begun>> {
    let mut numbers = numbers(folder)?;
    let oldest = numbers.first().copied();
    while let Some(number) = numbers.pop() {
        let path = folder.join(number.to_string());
        let Some((mut file, size)) = open(&path)? else { return Ok(None) };
        // Where the power was lost, what is noted may be anything.
        let is_far_enough =
            |entry: &Entry| size - entry.offset >= length && head_at(&file, entry.offset).is_some();
        let found = entries(&path, size).into_iter().rev().find(is_far_enough);
        // Where nothing is noted of a file, all lines may go on there.
        let beginning = Entry { offset: 0, open: [true; 3] };
        let is_enough = size >= length && Some(number) != oldest;
        if let Some(entry) = found.or(is_enough.then_some(beginning)) {
            file.seek(SeekFrom::Start(entry.offset)).context(|| path.display().to_string())?;
            return Ok(Some(Begun { file, number, entry }));
        }
        length = length.saturating_sub(size);
    }
    Ok(None)
}

/// The last record that is noted and is earlier than a moment; `None`: the beginning of the oldest.
fn numbered_before(folder: &Path, moment: Moment) -> Result<Option<Begun>> {
    for number in numbers(folder)?.into_iter().rev() {
        let path = folder.join(number.to_string());
        let Some((mut file, size)) = open(&path)? else { return Ok(None) };
        for entry in entries(&path, size).into_iter().rev() {
            if head_at(&file, entry.offset).is_some_and(|head| head.time < moment) {
                file.seek(SeekFrom::Start(entry.offset)).context(|| path.display().to_string())?;
                return Ok(Some(Begun { file, number, entry }));
            }
        }
    }
    Ok(None)
}

/// The record that begins there, if one does.
fn head_at(file: &File, offset: u64) -> Option<Head> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, offset).ok()?;
    Head::decode(&header)
}

/// The same of Docker's files, where nothing is noted: further and further from the end.
fn json_before(path: &Path, moment: Moment) -> Result<Option<Begun>> {
    let mut length = FIRST;
    loop {
        let Some(mut begun) = json(path, length)? else { return Ok(None) };
        let mut line = Vec::new();
        let named = || path.display().to_string();
        let start = begun.entry.offset;
        BufReader::new(&begun.file).take(LONGEST).read_until(b'\n', &mut line).context(named)?;
        if parse_line(&line).is_some_and(|(time, _, _)| time < moment) {
            begun.file.seek(SeekFrom::Start(start)).context(named)?;
            begun.entry.open = [false; 3];
            return Ok(Some(begun));
        }
        length = length.saturating_mul(MORE);
    }
}

/// The same of Docker's files, whose records end with their lines.
fn json(path: &Path, mut length: u64) -> Result<Option<Begun>> {
    for path in rotated(path)?.into_iter().rev() {
        let named = || path.display().to_string();
        let Some((mut file, size)) = open(&path)? else { return Ok(None) };
        if size <= length {
            length -= size;
            continue;
        }
        file.seek(SeekFrom::Start(size - length)).context(named)?;
        let mut reader = BufReader::new(file);
        let passed = reader.skip_until(b'\n').context(named)? as u64;
        let offset = size - length + passed;
        let mut file = reader.into_inner();
        file.seek(SeekFrom::Start(offset)).context(named)?;
        return Ok(Some(Begun { file, number: 0, entry: Entry { offset, open: [true; 3] } }));
    }
    Ok(None)
}

/// With its length; `None` if it is not there.
fn open(path: &Path) -> Result<Option<(File, u64)>> {
    let Some(file) = open_file(path)? else { return Ok(None) };
    let length = file.metadata().context(|| path.display().to_string())?.len();
    Ok(Some((file, length)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::json_file::{JsonWriter, json_file};
    use super::super::scratch::Scratch;
    use super::super::tag::LogSubject;
    use super::super::{LogBounds, LogWriter, Stream, Tail};
    use super::*;

    /// What a program may write: pieces of lines of any length, of both streams, with few lines of the one.
    fn pieces(count: u32) -> impl Iterator<Item = (Stream, Vec<u8>)> {
        (0..count).map(|number| {
            // A multiplicative sequence, the same each time.
            let any = number.wrapping_mul(2_654_435_761) >> 8;
            let stream = if any % 997 == 0 { Stream::Stderr } else { Stream::Stdout };
            let end = if any % 5 == 0 { "" } else { "\n" };
            let length = if any % 1009 == 0 { 70_000 } else { any % 200 } as usize;
            (stream, format!("{number} {}{end}", "x".repeat(length)).into_bytes())
        })
    }

    fn read(mut reader: LogReader, tail: Tail) -> Vec<(Stream, Vec<u8>)> {
        let mut lines = Vec::new();
        let mut take = |line: Line| {
            lines.push((line.stream, line.text));
            Ok(())
        };
        reader.read(tail, &mut take).unwrap();
        reader.finish(&mut take).unwrap();
        lines
    }

    /// The last ones are those of all of them.
    fn assert_tails(open: impl Fn() -> LogReader) {
        let all = read(open(), Tail::All);
        for count in [1, 2, 3, 10, 100, 1000, 10_000, 1_000_000] {
            let tail = read(open(), Tail::Lines(count));
            let expected = &all[all.len().saturating_sub(count)..];
            // What is not complete comes last, however many lines are wanted.
            assert!(tail.len() >= expected.len() && tail.len() <= expected.len() + 2, "{count}");
            assert!(tail.ends_with(expected) || tail == expected, "{count}");
        }
    }

    #[test]
    fn the_last_lines_are_those_of_all() {
        let folder = Scratch::new("tail-numbered");
        for bounds in [LogBounds::default(), LogBounds { size: 1 << 20, count: 4 }] {
            let mut number = 0;
            let mut writer = LogWriter::open(&folder.0, bounds).unwrap();
            for (stream, text) in pieces(30_000) {
                writer.write(stream, &text).unwrap();
                number += 1;
                // It goes on after a start.
                if number % 7001 == 0 {
                    writer = LogWriter::open(&folder.0, bounds).unwrap();
                }
            }
            assert_tails(|| LogReader::open(&folder.0, false).unwrap());
            // Where what is noted is wrong, and without it, as well.
            for number in numbers(&folder.0).unwrap() {
                let index = folder.0.join(format!("{number}.index"));
                let noted = std::fs::read(&index).unwrap_or_default();
                let wrong: Vec<u8> = noted.iter().map(|byte| byte ^ 0x38).collect();
                std::fs::write(index, wrong).unwrap();
            }
            assert_tails(|| LogReader::open(&folder.0, false).unwrap());
            for number in numbers(&folder.0).unwrap() {
                super::super::index::remove_index(&folder.0.join(number.to_string()));
            }
            assert_tails(|| LogReader::open(&folder.0, false).unwrap());
        }
    }

    #[test]
    fn the_last_lines_of_dockers_files() {
        let folder = Scratch::new("tail-json");
        let path = json_file(&folder.0, "0");
        let mut writer = JsonWriter::new(path.clone(), LogBounds { size: 1 << 20, count: 3 }, &subject());
        for (stream, text) in pieces(15_000) {
            writer.write(stream, &text).unwrap();
        }
        writer.finish().unwrap();
        assert_tails(|| LogReader::open_json(&path, false).unwrap());
    }

    fn subject() -> LogSubject {
        LogSubject {
            id: "0".into(),
            name: "web".into(),
            image: "busybox".into(),
            tag: "web".into(),
            has_tag: false,
            attributes: Vec::new(),
        }
    }

    /// Lines since a moment are those of all that are not earlier, and few others are read.
    fn assert_since(open: impl Fn() -> LogReader, moments: &[Moment]) {
        let read_since = |tail, moment: Moment| {
            let (mut lines, mut passed) = (Vec::new(), 0);
            let mut reader = open();
            let mut take = |line: Line| {
                passed += 1;
                if line.time >= moment {
                    lines.push((line.stream, line.text));
                }
                Ok(())
            };
            reader.read(tail, &mut take).unwrap();
            reader.finish(&mut take).unwrap();
            (lines, passed)
        };
        for &moment in moments {
            let (all, count) = read_since(Tail::All, moment);
            let (since, passed) = read_since(Tail::Since(moment), moment);
            assert!(since == all, "{} {}", since.len(), all.len());
            assert!(passed * 2 < count + 2 * all.len() + 10_000, "{passed} of {count} for {}", all.len());
        }
    }

    #[test]
    fn lines_since_a_moment() {
        let folder = Scratch::new("tail-since");
        let path = json_file(&folder.0, "0");
        for is_json in [false, true] {
            let bounds = LogBounds { size: 1 << 22, count: 3 };
            let mut numbered = LogWriter::open(&folder.0, bounds).unwrap();
            let mut json = JsonWriter::new(path.clone(), bounds, &subject());
            let mut moments = vec![Moment(1), Moment(u64::MAX)];
            for (number, (stream, text)) in pieces(30_000).enumerate() {
                if number % 4999 == 0 {
                    moments.push(Moment::now());
                }
                match is_json {
                    true => json.write(stream, &text).unwrap(),
                    false => numbered.write(stream, &text).unwrap(),
                }
            }
            moments.push(Moment::now());
            match is_json {
                true => {
                    json.finish().unwrap();
                    assert_since(|| LogReader::open_json(&path, false).unwrap(), &moments);
                }
                false => assert_since(|| LogReader::open(&folder.0, false).unwrap(), &moments),
            }
        }
    }

    /// Its beginning could be anything.
    #[test]
    fn the_beginning_is_not_read() {
        let folder = Scratch::new("tail-beginning");
        let mut writer = LogWriter::open(&folder.0, LogBounds::default()).unwrap();
        writer.write(Stream::Stderr, b"early\n").unwrap();
        for number in 0..60_000 {
            writer.write(Stream::Stdout, format!("line {number} {}\n", "x".repeat(80)).as_bytes()).unwrap();
        }
        writer.write(Stream::Stderr, b"late\n").unwrap();
        let mut file = File::options().write(true).open(folder.0.join("0")).unwrap();
        file.write_all(&vec![0; 5 << 20]).unwrap();
        let last = read(LogReader::open(&folder.0, false).unwrap(), Tail::Lines(3));
        let text =
            |(stream, text): &(Stream, Vec<u8>)| (*stream, String::from_utf8_lossy(&text[..5]).into_owned());
        let expected = [Stream::Stdout, Stream::Stdout, Stream::Stderr];
        assert_eq!(last.iter().map(text).collect::<Vec<_>>()[2], (Stream::Stderr, "late\n".to_string()));
        assert_eq!(last.iter().map(|(stream, _)| *stream).collect::<Vec<_>>(), expected);
        assert!(last[1].1.starts_with(b"line 59999 "));
    }
}
