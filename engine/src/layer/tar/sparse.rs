//! Maps of sparse files: where the data in the tar belongs.

use std::io::Read;

use super::fill;
use super::header::{BLOCK, Header, decimal, number};
use crate::error::{Error, Result};

/// A part of a file that is data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// The most parts that a file may have.
const SEGMENTS_MAX: usize = 1 << 20;

/// Reads the map of a GNU sparse file: in its header, and in blocks behind that.
pub fn read_gnu(header: &Header, reader: &mut impl Read) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    add_gnu(&mut segments, header.segments())?;
    let mut is_continued = header.is_continued();
    while is_continued {
        let mut block = [0; BLOCK];
        if fill(reader, &mut block)? < BLOCK {
            return Err(Error::corrupt("its map of data is cut"));
        }
        add_gnu(&mut segments, &block[..504])?;
        is_continued = block[504] != 0;
        if segments.len() > SEGMENTS_MAX {
            return Err(too_many());
        }
    }
    Ok(segments)
}

fn add_gnu(segments: &mut Vec<Segment>, fields: &[u8]) -> Result<()> {
    for field in fields.chunks_exact(24).take_while(|field| field[0] != 0) {
        segments.push(Segment { offset: number(&field[..12])?, length: number(&field[12..])? });
    }
    Ok(())
}

/// Segments come one after the other, within the file, and are as long together as the data.
///
/// # Errors
/// They are not.
pub fn check(segments: &[Segment], size: u64, data: u64) -> Result<()> {
    let (mut end, mut sum) = (0, 0u64);
    for Segment { offset, length } in segments {
        let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
        end = next.ok_or_else(|| Error::corrupt("its map of data goes back, or beyond its end"))?;
        sum += length;
    }
    if sum == data {
        Ok(())
    } else {
        Err(Error::corrupt(format!("its map says {sum} bytes of data, and there are {data}")))
    }
}

fn too_many() -> Error {
    Error::corrupt(format!("a sparse file of more than {SEGMENTS_MAX} parts"))
}

/// The map of PAX' version 1.0: numbers in lines, how many segments first, padded to a block.
#[derive(Default)]
pub struct Lines {
    text: Vec<u8>,
}

impl Lines {
    /// Takes one more block in.
    pub fn add(&mut self, block: &[u8; BLOCK]) -> Result<()> {
        self.text.extend_from_slice(block);
        // A line has 20 digits at most.
        if self.text.len() > SEGMENTS_MAX * 2 * 21 { Err(too_many()) } else { Ok(()) }
    }

    /// Whether there must be more blocks.
    pub fn wants_more(&self) -> Result<bool> {
        let lines = self.text.iter().filter(|&&byte| byte == b'\n').count();
        Ok(match self.count()? {
            None => true,
            Some(count) => lines < 1 + 2 * count,
        })
    }

    fn count(&self) -> Result<Option<usize>> {
        let Some(end) = self.text.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        match usize::try_from(decimal(&self.text[..end])?) {
            Ok(count) if count <= SEGMENTS_MAX => Ok(Some(count)),
            _ => Err(too_many()),
        }
    }

    /// What they say.
    pub fn segments(&self) -> Result<Vec<Segment>> {
        let count = self.count()?.unwrap_or(0);
        let numbers = self.text.split(|&byte| byte == b'\n').skip(1).take(2 * count);
        let numbers = numbers.map(decimal).collect::<Result<Vec<u64>>>()?;
        Ok(numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect())
    }
}
