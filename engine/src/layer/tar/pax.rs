//! What stands before a header and replaces parts of it: PAX records and GNU's long names.

use super::Time;
use super::header::{decimal, id, length, not_a_number};
use super::sparse::Segment;
use crate::error::{Error, Result};

/// What is said of the next entry.
#[derive(Debug, Default)]
pub struct Extended {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
    pub atime: Option<Time>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: Option<Sparse>,
}

/// A sparse file, as GNU tar writes it into PAX headers.
#[derive(Debug, Default)]
pub struct Sparse {
    /// Its name; the header has another one.
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    /// Version 1.0: the map stands before the data.
    pub is_in_content: bool,
    /// Versions 0.0 and 0.1.
    pub segments: Vec<Segment>,
}

impl Extended {
    /// Reads records: `LENGTH NAME=VALUE` and a line end each, where the length counts the whole record.
    ///
    /// # Errors
    /// A record is cut, or a value cannot be.
    pub fn read_pax(&mut self, text: &[u8]) -> Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let (name, value, behind) = record(rest)?;
            self.set(name, value)
                .map_err(|error| error.context(format!("PAX {}", String::from_utf8_lossy(name))))?;
            rest = behind;
        }
        Ok(())
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        if let Some(xattr) = name.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push((xattr.to_vec(), value.to_vec()));
            return Ok(());
        }
        if let Some(name) = name.strip_prefix(b"GNU.sparse.") {
            return self.sparse.get_or_insert_default().set(name, value);
        }
        match name {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(length(decimal(value)?)?),
            b"uid" => self.uid = Some(id(decimal(value)?)?),
            b"gid" => self.gid = Some(id(decimal(value)?)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"atime" => self.atime = Some(time(value)?),
            // Names of owners, comments, other programs' own: nothing of them is in a file system.
            _ => {}
        }
        Ok(())
    }
}

impl Sparse {
    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        match name {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(length(decimal(value)?)?),
            b"major" => self.is_in_content = decimal(value)? == 1,
            b"minor" | b"numblocks" => {}
            // Version 0.0 has a record for each offset and for each length.
            b"offset" => self.segments.push(Segment { offset: decimal(value)?, length: 0 }),
            b"numbytes" => match self.segments.last_mut() {
                Some(segment) => segment.length = decimal(value)?,
                None => return Err(Error::corrupt("a length without an offset")),
            },
            b"map" => {
                let numbers = value.split(|&byte| byte == b',').map(decimal).collect::<Result<Vec<u64>>>()?;
                let pairs = numbers.chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    return Err(Error::corrupt("an offset without a length"));
                }
                self.segments = pairs.map(|pair| Segment { offset: pair[0], length: pair[1] }).collect();
            }
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(Error::corrupt(format!("{other}: a form of sparse files that is not known")));
            }
        }
        Ok(())
    }
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(text: &[u8]) -> Result<Record<'_>> {
    let wrong = || Error::corrupt("no tar: a PAX record is cut");
    let space = text.iter().position(|&byte| byte == b' ').ok_or_else(wrong)?;
    let length = decimal(&text[..space]).map_err(|_| wrong())?;
    let length = usize::try_from(length).ok().filter(|&length| length > space + 1 && length <= text.len());
    let (record, behind) = text.split_at(length.ok_or_else(wrong)?);
    let content = record[space + 1..].strip_suffix(b"\n").ok_or_else(wrong)?;
    let equals = content.iter().position(|&byte| byte == b'=').ok_or_else(wrong)?;
    Ok((&content[..equals], &content[equals + 1..], behind))
}

/// Seconds with a fraction, before 1970 negative.
fn time(text: &[u8]) -> Result<Time> {
    let wrong = || not_a_number(text);
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |&byte| byte == b'.');
    let seconds = decimal(parts.next().unwrap_or_default())?;
    let seconds = i64::try_from(seconds).map_err(|_| wrong())?;
    let fraction = parts.next().unwrap_or_default();
    let mut nanoseconds = 0;
    for index in 0..9 {
        let digit = fraction.get(index).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err(wrong());
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    Ok(match (is_negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        let of = |text: &str| time(text.as_bytes()).ok().map(|time| (time.seconds, time.nanoseconds));
        assert_eq!(of("1700000000.5"), Some((1_700_000_000, 500_000_000)));
        assert_eq!(of("3"), Some((3, 0)));
        assert_eq!(of("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(of("1.0000000019"), Some((1, 1)));
        assert_eq!(of("x"), None);
        assert_eq!(of("1.x"), None);
    }

    #[test]
    fn records_have_their_length() {
        let read = |text: &[u8]| {
            let mut extended = Extended::default();
            extended.read_pax(text).map(|()| extended)
        };
        assert_eq!(read(b"14 path=a=b c\n").unwrap().path.as_deref(), Some(&b"a=b c"[..]));
        for wrong in [&b"12 path=abc"[..], b"99 path=abc\n", b"x", b"0 =\n", b"5 ab\n", b"10 size=-1\n"] {
            assert!(read(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        let two = read(b"29 SCHILY.xattr.user.k=a\nb\0c\n8 uid=7\n").unwrap();
        assert_eq!(two.xattrs, [(b"user.k".to_vec(), b"a\nb\0c".to_vec())]);
        assert_eq!(two.uid, Some(7));
    }
}
