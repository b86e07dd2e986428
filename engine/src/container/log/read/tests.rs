//! What is written is read, over rotations and half records.

use super::super::scratch::Scratch;
use super::super::{LogBounds, LogWriter};
use super::*;

fn lines(reader: &mut LogReader, tail: Tail) -> Vec<String> {
    let mut texts = Vec::new();
    let mut each = |line: Line| {
        texts.push(format!("{:?} {}", line.stream, String::from_utf8(line.text).unwrap()));
        Ok(())
    };
    reader.read(tail, &mut each).unwrap();
    texts
}

#[test]
fn lines_come_whole_from_records_of_any_length() {
    let folder = Scratch::new("lines");
    let mut writer = LogWriter::open(&folder.0, LogBounds::default()).unwrap();
    writer.write(Stream::Stdout, b"one\ntw").unwrap();
    writer.write(Stream::Stderr, b"wrong\n").unwrap();
    writer.write(Stream::Stdout, b"o\nthree").unwrap();
    let mut reader = LogReader::open(&folder.0, false).unwrap();
    assert_eq!(lines(&mut reader, Tail::All), ["Stdout one\n", "Stderr wrong\n", "Stdout two\n"]);
    let mut rest = Vec::new();
    reader
        .finish(&mut |line| {
            rest.push(line.text);
            Ok(())
        })
        .unwrap();
    assert_eq!(rest, [b"three".to_vec()]);
    let mut reader = LogReader::open(&folder.0, false).unwrap();
    assert_eq!(lines(&mut reader, Tail::Lines(2)), ["Stdout two\n"]);
}

#[test]
fn a_follower_misses_nothing_over_a_rotation() {
    let folder = Scratch::new("rotation");
    let bounds = LogBounds { size: 100, count: 3 };
    let mut writer = LogWriter::open(&folder.0, bounds).unwrap();
    let mut reader = LogReader::open(&folder.0, true).unwrap();
    let mut seen = Vec::new();
    for number in 0..100 {
        writer.write(Stream::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        if number % 5 == 0 {
            seen.extend(lines(&mut reader, Tail::All));
        }
    }
    seen.extend(lines(&mut reader, Tail::All));
    let expected: Vec<_> = (0..100).map(|number| format!("Stdout line {number}\n")).collect();
    assert_eq!(seen, expected);
    assert_eq!(numbers(&folder.0).unwrap().len(), 3);
}

#[test]
fn many_starts_lose_nothing() {
    let folder = Scratch::new("starts");
    let bounds = LogBounds { size: 200, count: 3 };
    for number in 0..12 {
        LogWriter::open(&folder.0, bounds)
            .unwrap()
            .write(Stream::Stdout, format!("start {number}\n").as_bytes())
            .unwrap();
    }
    let mut reader = LogReader::open(&folder.0, false).unwrap();
    let expected: Vec<_> = (0..12).map(|number| format!("Stdout start {number}\n")).collect();
    assert_eq!(lines(&mut reader, Tail::All), expected);
    assert_eq!(numbers(&folder.0).unwrap(), [0, 1]);
}

#[test]
fn a_file_that_cannot_be_made_is_tried_again() {
    let folder = Scratch::new("refused");
    let bounds = LogBounds { size: 1, count: 3 };
    let mut writer = LogWriter::open(&folder.0, bounds).unwrap();
    writer.write(Stream::Stdout, b"first\n").unwrap();
    std::fs::create_dir(folder.0.join("1")).unwrap();
    for _ in 0..5 {
        writer.write(Stream::Stdout, b"lost\n").unwrap_err();
    }
    std::fs::remove_dir(folder.0.join("1")).unwrap();
    writer.write(Stream::Stdout, b"second\n").unwrap();
    let mut reader = LogReader::open(&folder.0, false).unwrap();
    let note = "Note box: 25 bytes of output are missing here: the disk did not take them\n";
    assert_eq!(lines(&mut reader, Tail::All), ["Stdout first\n", note, "Stdout second\n"]);
    assert_eq!(numbers(&folder.0).unwrap(), [0, 1, 2]);
}

#[test]
fn what_a_killed_monitor_left_half_is_passed_over() {
    let folder = Scratch::new("half");
    let mut writer = LogWriter::open(&folder.0, LogBounds::default()).unwrap();
    writer.write(Stream::Stdout, b"first\n").unwrap();
    writer.write(Stream::Stdout, b"lost\n").unwrap();
    let path = folder.0.join("0");
    let length = std::fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
    let mut writer = LogWriter::open(&folder.0, LogBounds::default()).unwrap();
    writer.write(Stream::Stdout, b"second\n").unwrap();
    let mut reader = LogReader::open(&folder.0, false).unwrap();
    assert_eq!(lines(&mut reader, Tail::All), ["Stdout first\n", "Stdout second\n"]);
}
