//! Why a document could not be read: the place, the value, and what was expected.

use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, Read as _};

use crate::reader::{Fault, FaultKind, Reader};

/// The size limit of a document in bytes; usual configurations have some ten KiB.
const SIZE_LIMIT: usize = 16 << 20;

/// How many characters of an offending value an error shows.
const SHOWN: usize = 40;

/// Why a document could not be read. The text continues the file's name: `config.json: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// Reads a document's file; of one that is too large, or endless, only as much as shows that it is.
///
/// # Errors
/// Those of read(2).
pub fn read_document(file: File) -> io::Result<Vec<u8>> {
    let most = SIZE_LIMIT + 1;
    // With room to spare, one more read(2) finds the end without growing the buffer.
    const ROOM: usize = 64;
    let size = file.metadata().map_or(0, |metadata| metadata.len() as usize);
    let mut document = Vec::with_capacity(size.min(most) + ROOM);
    file.take(most as u64).read_to_end(&mut document).map(|_| document)
}

/// Checks the size and the encoding of the whole document.
pub fn check_text(document: &[u8]) -> Result<&str, ParseError> {
    if document.len() > SIZE_LIMIT {
        return Err(ParseError(format!("has more than the limit of {SIZE_LIMIT} bytes (16 MiB)")));
    }
    match str::from_utf8(document) {
        Ok(text) if text.trim_ascii().is_empty() => Err(ParseError("is empty, not JSON".to_string())),
        Ok(text) => Ok(text),
        Err(error) => {
            let (before, after) = document.split_at(error.valid_up_to());
            let place = end_of(str::from_utf8(before).unwrap_or_default());
            Err(ParseError(format!("{place}: byte 0x{:02x} is not UTF-8", after[0])))
        }
    }
}

/// Line and column of the place after `text`; both count from 1, columns in characters.
fn end_of(text: &str) -> String {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

/// Describes a fault of the reader's.
#[cold]
pub fn describe(document: &str, fault: Fault) -> ParseError {
    let Fault { at, expected, kind } = fault;
    let path = || find_path(document, at).unwrap_or_default();
    match kind {
        FaultKind::Malformed => {}
        FaultKind::Mistyped => return describe_mistyped(document, at, expected),
        FaultKind::Unknown => return ParseError(format!("{}: unknown", path())),
        FaultKind::Repeated => return ParseError(format!("{}: is there twice", path())),
        FaultKind::Missing => {
            let object = path();
            let dot = if object.is_empty() { "" } else { "." };
            return ParseError(format!("{object}{dot}{expected}: missing"));
        }
    }
    let (before, after) = document.split_at_checked(at).unwrap_or((document, ""));
    let place = end_of(before);
    ParseError(match after.chars().next() {
        None => format!("{place}: the document ends too early: expected {expected}"),
        Some(found) if found.is_control() => {
            format!("{place}: expected {expected}, found character 0x{:02x}", u32::from(found))
        }
        Some(found) => format!("{place}: expected {expected}, found '{found}'"),
    })
}

fn describe_mistyped(document: &str, at: usize, expected: &str) -> ParseError {
    let mut field = find_path(document, at).unwrap_or_default();
    if !field.is_empty() {
        field += ": ";
    }
    let mut reader = Reader::new(&document[at..]);
    // It has been skipped once already, so this can't fail.
    let end = at + reader.skip_value().map_or(0, |()| reader.at());
    ParseError(format!("{field}{} is not {expected}", shorten(&document[at..end])))
}

/// The path of the value that begins at `at`, such as `mounts[3].options[1]`.
fn find_path(document: &str, at: usize) -> Option<String> {
    let mut path = String::new();
    let mut reader = Reader::new(document);
    while reader.peek().is_some() && reader.at() < at {
        let opening = reader.peek()?;
        let bracket = if opening == b'{' { b'}' } else { b']' };
        reader.open(opening, "").ok()?;
        for position in 0.. {
            if !reader.next(bracket, position == 0).ok()? {
                return None;
            }
            let key = if bracket == b'}' { Some(reader.key().ok()?) } else { None };
            // Unless this value ends before `at`, the place is in it.
            let mut behind = reader;
            if behind.skip_value().is_ok() && behind.at() <= at {
                reader = behind;
                continue;
            }
            match key {
                Some(key) if path.is_empty() => path += &key,
                Some(key) => drop(write!(path, ".{key}")),
                None => drop(write!(path, "[{position}]")),
            }
            break;
        }
    }
    Some(path)
}

/// The value on one line, and not too long.
fn shorten(value: &str) -> String {
    let mut shown = String::new();
    for character in value.chars() {
        match character {
            ' ' | '\n' | '\t' | '\r' if shown.ends_with(' ') => continue,
            '\n' | '\t' | '\r' => shown.push(' '),
            character => shown.push(character),
        }
        if shown.chars().count() > SHOWN {
            shown.pop();
            shown.push('…');
            break;
        }
    }
    shown
}
