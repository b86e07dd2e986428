//! Which files of the log are being read: whoever reads one has it locked with others until he has gone on to the next. So the writer
//! knows behind which file nobody may miss anything, however fast files are put aside.

use std::fs::File;
use std::path::Path;

use crate::file;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// What stays for readers, in bytes, besides what is kept anyway: one that reads no further fills no disk.
const MOST: u64 = 64 << 20;

/// The same in files, which a reader has to go through.
const MOST_FILES: usize = 640;

/// Begins to read a file; false if it has just been deleted. Where files cannot be locked nothing stays for readers.
pub fn begin_reading(file: &File) -> bool {
    // Whoever asks whether it is read has it for a moment.
    let _ = rustix::io::retry_on_intr(|| flock(file, FlockOperation::LockShared));
    !is_deleted(file)
}

/// Whether a file has no name any more.
pub fn is_deleted(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|status| status.st_nlink == 0)
}

/// Which files of this size nobody needs, of those that are more than are kept, the oldest first: those in front of the first one that
/// is read, and behind it as many as there is no room for. Not that one, because the next ones would seem to be read by nobody, nor the
/// last one: so a gap shows in their numbers.
pub fn unneeded<P: AsRef<Path>>(files: &[P], size: u64) -> Vec<usize> {
    let Some(first) = files.iter().position(is_read) else { return (0..files.len()).collect() };
    let most = usize::try_from(MOST / size.max(1)).map_or(MOST_FILES, |most| most.min(MOST_FILES));
    let excess = (files.len() - first).saturating_sub(most);
    let behind = (first + 1..files.len() - 1).filter(|&index| excess > 0 && !is_read(&files[index]));
    let behind: Vec<usize> = behind.take(excess).collect();
    match behind.len() < excess {
        true => (0..files.len()).collect(),
        false => (0..first).chain(behind).collect(),
    }
}

fn is_read<P: AsRef<Path>>(path: &P) -> bool {
    let asked = file::open(path.as_ref()).map(|file| flock(&file, FlockOperation::NonBlockingLockExclusive));
    asked.is_ok_and(|asked| asked == Err(Errno::WOULDBLOCK))
}

#[cfg(test)]
mod tests {
    use super::super::json_file::{JsonWriter, json_file, rotated};
    use super::super::scratch::Scratch;
    use super::super::tag::LogSubject;
    use super::super::write::numbers;
    use super::super::{Line, LogBounds, LogReader, LogWriter, Stream, Tail};
    use super::*;

    enum Writer {
        Numbered(LogWriter),
        Json(JsonWriter),
    }

    impl Writer {
        fn new(folder: &Path, bounds: LogBounds, is_json: bool) -> Writer {
            let text = String::new;
            let (has_tag, attributes) = (false, Vec::new());
            let subject =
                LogSubject { id: text(), name: text(), image: text(), tag: text(), has_tag, attributes };
            match is_json {
                true => Writer::Json(JsonWriter::new(json_file(folder, "0"), bounds, &subject)),
                false => Writer::Numbered(LogWriter::open(folder, bounds).unwrap()),
            }
        }

        fn write(&mut self, numbers: std::ops::Range<usize>) {
            for number in numbers {
                let text = format!("line {number}\n");
                match self {
                    Writer::Numbered(writer) => writer.write(Stream::Stdout, text.as_bytes()).unwrap(),
                    Writer::Json(writer) => writer.write(Stream::Stdout, text.as_bytes()).unwrap(),
                }
            }
        }
    }

    fn reader(folder: &Path, is_json: bool) -> LogReader {
        match is_json {
            true => LogReader::open_json(&json_file(folder, "0"), true).unwrap(),
            false => LogReader::open(folder, true).unwrap(),
        }
    }

    fn read(reader: &mut LogReader) -> Vec<String> {
        let mut lines = Vec::new();
        let mut take = |line: Line| {
            lines.push(String::from_utf8(line.text).unwrap());
            Ok(())
        };
        reader.read(Tail::All, &mut take).unwrap();
        lines
    }

    fn count(folder: &Path, is_json: bool) -> usize {
        match is_json {
            true => rotated(&json_file(folder, "0")).unwrap().len(),
            false => numbers(folder).unwrap().len(),
        }
    }

    fn lines(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("line {number}\n")).collect()
    }

    /// Files stay for whoever reads none of them for a while, and no longer.
    #[test]
    fn a_reader_that_waits() {
        for (is_json, kept) in [(false, 1), (false, 3), (true, 1), (true, 2), (true, 3)] {
            let folder = Scratch::new(&format!("waiting-{is_json}-{kept}"));
            let mut writer = Writer::new(&folder.0, LogBounds { size: 200, count: kept }, is_json);
            writer.write(0..1);
            let mut reader = reader(&folder.0, is_json);
            let mut seen = read(&mut reader);
            writer.write(1..1000);
            assert!(count(&folder.0, is_json) > 100, "{is_json} {kept}");
            seen.extend(read(&mut reader));
            writer.write(1000..1500);
            // Whoever begins reads what is there.
            assert_eq!(read(&mut self::reader(&folder.0, is_json)).last(), lines(1499..1500).last());
            seen.extend(read(&mut reader));
            assert!(seen == lines(0..1500), "{is_json} {kept}: {}", seen.len());
            writer.write(1500..1600);
            drop(reader);
            writer.write(1600..1700);
            assert_eq!(count(&folder.0, is_json) as u64, kept);
        }
    }

    /// Everything comes in order, but for what is said to be missing.
    #[test]
    fn a_reader_that_waits_for_too_long() {
        for is_json in [false, true] {
            let folder = Scratch::new(&format!("gap-{is_json}"));
            let mut writer = Writer::new(&folder.0, LogBounds { size: 10, count: 2 }, is_json);
            writer.write(0..1);
            let mut reader = reader(&folder.0, is_json);
            let mut seen = read(&mut reader);
            writer.write(1..MOST_FILES + 100);
            assert!(count(&folder.0, is_json) <= MOST_FILES + 2);
            seen.extend(read(&mut reader));
            assert_eq!(seen[0], "line 0\n");
            assert!(seen[1].starts_with("box: lines are missing here: "), "{}", seen[1]);
            assert!(seen.len() >= MOST_FILES, "{}", seen.len());
            assert_eq!(seen[2..], lines(MOST_FILES + 100 + 2 - seen.len()..MOST_FILES + 100));
        }
    }

    #[test]
    fn a_reader_beside_a_writer() {
        for is_json in [false, true] {
            let folder = Scratch::new(&format!("beside-{is_json}"));
            let mut writer = Writer::new(&folder.0, LogBounds { size: 2000, count: 2 }, is_json);
            writer.write(0..1);
            let mut reader = reader(&folder.0, is_json);
            // From here on it reads a file, whenever it is its turn.
            let mut seen = read(&mut reader);
            let writing = std::thread::spawn(move || writer.write(1..20_000));
            while !writing.is_finished() {
                seen.extend(read(&mut reader));
            }
            seen.extend(read(&mut reader));
            assert!(seen == lines(0..20_000), "{is_json}: {}", seen.len());
        }
    }
}
