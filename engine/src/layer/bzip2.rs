//! bzip2, which is read alone: Huffman codes, moved to the front, sorted by Burrows and Wheeler, with runs. There is little enough of
//! it that no crate is worth its size.

use std::io::{BufRead, Read, Result};

use crate::error::Error;

/// What a block begins with: π, as decimals.
const BLOCK: u64 = 0x3141_5926_5359;

/// What the end of a stream begins with: its square root.
const END: u64 = 0x1772_4538_5090;

/// The longest code of a symbol, in bits.
const LENGTH_MAX: usize = 20;

/// How many symbols come before another code is used.
const GROUP: usize = 50;

/// All streams of a file, one after the other.
pub struct Bzip2<R> {
    bits: Bits<R>,
    /// The most bytes of a block; 0 before the first stream.
    most: usize,
    /// What the blocks of the stream come to so far.
    combined: u32,
    block: Block,
}

/// A block that is given out: each value has a byte, and above it the place of the next one.
#[derive(Default)]
struct Block {
    values: Vec<u32>,
    at: u32,
    left: usize,
    /// The last byte, how often it came in a row, and how often it comes once more.
    last: u8,
    equal: u8,
    repeats: u8,
    checksum: u32,
    expected: u32,
}

impl<R: BufRead> Bzip2<R> {
    pub fn new(stream: R) -> Bzip2<R> {
        Bzip2 { bits: Bits { stream, held: 0, count: 0 }, most: 0, combined: 0, block: Block::default() }
    }

    fn begin_stream(&mut self) -> Result<()> {
        let [b'B', b'Z', b'h', level @ b'1'..=b'9'] = self.bits.take(32)?.to_be_bytes() else {
            return Err(wrong("another stream was expected"));
        };
        (self.most, self.combined) = (usize::from(level - b'0') * 100_000, 0);
        Ok(())
    }

    /// Reads the next block; false if there is none.
    fn begin_block(&mut self) -> Result<bool> {
        if self.most == 0 {
            self.begin_stream()?;
        }
        loop {
            match u64::from(self.bits.take(24)?) << 24 | u64::from(self.bits.take(24)?) {
                BLOCK => {
                    self.block =
                        read_block(&mut self.bits, self.most, std::mem::take(&mut self.block.values))?;
                    self.combined = self.combined.rotate_left(1) ^ self.block.expected;
                    return Ok(true);
                }
                END => {
                    if self.bits.take(32)? != self.combined {
                        return Err(wrong("the checksum of the stream is another one"));
                    }
                    if self.bits.is_at_end()? {
                        return Ok(false);
                    }
                    self.begin_stream()?;
                }
                _ => return Err(wrong("a block was expected")),
            }
        }
    }
}

impl<R: BufRead> Read for Bzip2<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.block.give(buffer)? {
                0 if !self.begin_block()? => return Ok(0),
                0 => {}
                length => return Ok(length),
            }
        }
    }
}

impl Block {
    /// Gives out as much as there is; nothing at the end, where the checksum must be right.
    fn give(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            if self.repeats > 0 {
                self.repeats -= 1;
            } else if self.left == 0 {
                break;
            } else {
                let value = self.values[self.at as usize];
                (self.at, self.left) = (value >> 8, self.left - 1);
                let byte = value as u8;
                if self.equal == 4 {
                    (self.repeats, self.equal) = (byte, 0);
                    continue;
                }
                self.equal = if byte == self.last { self.equal + 1 } else { 1 };
                self.last = byte;
            }
            buffer[length] = self.last;
            length += 1;
            let index = (self.checksum >> 24) as u8 ^ self.last;
            self.checksum = self.checksum << 8 ^ CHECKSUMS[usize::from(index)];
        }
        if length == 0 && !self.checksum != self.expected && !self.values.is_empty() {
            return Err(wrong("the checksum of a block is another one"));
        }
        Ok(length)
    }
}

fn read_block<R: BufRead>(bits: &mut Bits<R>, most: usize, mut values: Vec<u32>) -> Result<Block> {
    let expected = bits.take(32)?;
    if bits.take(1)? != 0 {
        return Err(wrong("a block is shuffled, as those of versions before 1.0 may be"));
    }
    let first = bits.take(24)? as usize;
    values.clear();
    read_values(bits, most, &mut values)?;
    if first >= values.len() {
        return Err(wrong("a block begins behind its end"));
    }
    // How many bytes are smaller than each: there the first one of its kind is in the sorted order.
    let (mut places, mut sum) = ([0_u32; 256], 0);
    for value in &values {
        places[*value as usize] += 1;
    }
    for place in &mut places {
        (*place, sum) = (sum, sum + *place);
    }
    for index in 0..values.len() {
        let place = &mut places[values[index] as usize & 0xff];
        values[*place as usize] |= (index as u32) << 8;
        *place += 1;
    }
    let (at, left) = (values[first] >> 8, values.len());
    Ok(Block { values, at, left, last: 0, equal: 0, repeats: 0, checksum: u32::MAX, expected })
}

/// The bytes of a block, sorted as they are.
fn read_values<R: BufRead>(bits: &mut Bits<R>, most: usize, values: &mut Vec<u32>) -> Result<()> {
    let mut front = read_alphabet(bits)?;
    let end = front.len() + 1;
    let (codes, selectors) = read_codes(bits, end + 1)?;
    let mut run = Run::default();
    for selector in selectors {
        let code = codes.get(usize::from(selector)).ok_or_else(|| wrong("there is no such code"))?;
        for _ in 0..GROUP {
            let symbol = usize::from(code.read(bits)?);
            if symbol <= 1 {
                run.add(symbol, most)?;
                continue;
            }
            let repeats = std::mem::take(&mut run).length;
            if values.len() + repeats + usize::from(symbol != end) > most {
                return Err(wrong("a block is longer than it may be"));
            }
            values.resize(values.len() + repeats, u32::from(front[0]));
            if symbol == end {
                return Ok(());
            }
            front[..symbol].rotate_right(1);
            values.push(u32::from(front[0]));
        }
    }
    Err(wrong("a block has no end"))
}

/// How often the byte in front comes: a number with the digits 1 and 2, the lowest one first.
#[derive(Default)]
struct Run {
    length: usize,
    digits: u32,
}

impl Run {
    fn add(&mut self, symbol: usize, most: usize) -> Result<()> {
        self.length += (symbol + 1) << self.digits;
        self.digits += 1;
        if self.length > most {
            return Err(wrong("a block is longer than it may be"));
        }
        Ok(())
    }
}

/// The bytes that come in a block, in order.
fn read_alphabet<R: BufRead>(bits: &mut Bits<R>) -> Result<Vec<u8>> {
    let rows = bits.take(16)?;
    let mut alphabet = Vec::new();
    for row in (0..16).filter(|row| rows >> (15 - row) & 1 == 1) {
        let columns = bits.take(16)?;
        alphabet.extend(
            (0..16).filter(|column| columns >> (15 - column) & 1 == 1).map(|column| row * 16 + column),
        );
    }
    match alphabet.is_empty() {
        true => Err(wrong("a block has no bytes")),
        false => Ok(alphabet),
    }
}

/// The codes of a block, and which of them each group of symbols has.
fn read_codes<R: BufRead>(bits: &mut Bits<R>, symbols: usize) -> Result<(Vec<Code>, Vec<u8>)> {
    let count = bits.take(3)? as u8;
    let mut front: Vec<u8> = (0..count).collect();
    let mut selectors = Vec::new();
    for _ in 0..bits.take(15)? {
        let mut place = 0;
        while bits.take(1)? == 1 {
            place += 1;
        }
        if place >= front.len() {
            return Err(wrong("there is no such code"));
        }
        front[..=place].rotate_right(1);
        selectors.push(front[0]);
    }
    let codes = (0..count).map(|_| Code::parse(bits, symbols)).collect::<Result<_>>()?;
    Ok((codes, selectors))
}

/// A code of Huffman's in its usual form: how many symbols have each length, and the symbols by their lengths.
struct Code {
    counts: [u16; LENGTH_MAX + 1],
    symbols: Vec<u16>,
}

impl Code {
    fn parse<R: BufRead>(bits: &mut Bits<R>, symbols: usize) -> Result<Code> {
        let mut length = bits.take(5)? as usize;
        let (mut counts, mut lengths) = ([0; LENGTH_MAX + 1], Vec::new());
        for _ in 0..symbols {
            while bits.take(1)? == 1 {
                length = if bits.take(1)? == 0 { length + 1 } else { length.wrapping_sub(1) };
                if length > LENGTH_MAX {
                    break;
                }
            }
            if !(1..=LENGTH_MAX).contains(&length) {
                return Err(wrong("the code of a symbol is too long or too short"));
            }
            counts[length] += 1;
            lengths.push(length);
        }
        let mut sorted = Vec::new();
        for length in 1..=LENGTH_MAX {
            sorted.extend((0..symbols as u16).filter(|symbol| lengths[usize::from(*symbol)] == length));
        }
        Ok(Code { counts, symbols: sorted })
    }

    fn read<R: BufRead>(&self, bits: &mut Bits<R>) -> Result<u16> {
        // The code so far, the first one of its length, and the symbols with shorter ones.
        let (mut code, mut first, mut shorter) = (0_u32, 0_u32, 0_usize);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            let place = code.wrapping_sub(first);
            if place < u32::from(*count) {
                return Ok(self.symbols[shorter + place as usize]);
            }
            shorter += usize::from(*count);
            first = (first + u32::from(*count)) << 1;
            code <<= 1;
        }
        Err(wrong("there is no such symbol"))
    }
}

/// Bits, the highest one of each byte first.
struct Bits<R> {
    stream: R,
    /// The lowest ones are those that come last.
    held: u64,
    count: u32,
}

impl<R: BufRead> Bits<R> {
    /// Takes as many as that, 32 at the most.
    fn take(&mut self, count: u32) -> Result<u32> {
        while self.count < count {
            let Some(byte) = self.stream.fill_buf()?.first().copied() else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            self.stream.consume(1);
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
        self.count -= count;
        Ok((self.held >> self.count & ((1 << count) - 1)) as u32)
    }

    /// Goes to the next byte; true if there is none.
    fn is_at_end(&mut self) -> Result<bool> {
        self.count -= self.count % 8;
        Ok(self.count == 0 && self.stream.fill_buf()?.is_empty())
    }
}

/// CRC-32 with the highest bit first.
const CHECKSUMS: [u32; 256] = {
    let (mut table, mut index) = ([0; 256], 0);
    while index < 256 {
        let (mut sum, mut bit) = ((index as u32) << 24, 0);
        while bit < 8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

fn wrong(what: &str) -> std::io::Error {
    std::io::Error::other(Error::corrupt(format!("bzip2: {what}")))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    // As bzip2 1.0.8 writes them.
    const EMPTY: &str = "QlpoORdyRThQkAAAAAA=";
    const WORDS: &str = "QlpoOTFBWSZTWfss58IAAAKRgEAAAgKMQCAAMQwBBk9HI8RJRdyRThQkPss58IA=";
    const RUN: &str = "QlpoOTFBWSZTWZe+3DgAB6iBQKAAAAIACCAAMMwJqmmVJDapSQ8XckU4UJCXvtw4";
    const BYTES: &str = "QlpoOTFBWSZTWaQ08B8AAAP/////////////////////////////////////////////sAFwAJMABMAATAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAKqqSMAAAAAAEwAAAAAABMAAAAAAAAAAAAAAAAAAAAAAAAAAAJMABMAATAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD8fz/IBAoFAf7AQNBEFQZB0IQlCkLQxDUOQ9EERRJE0URVFkXRhGUaRtHEdR5H0gSFIkjSRJUmSdKEpSpK3/JYlqXJemCYpkmaaJqmybpwnKdJ2niep8n6gKCoShqIoqjKOpCkqUpamKapynqgqKpKmqiqqsq6sP/VlWlbVxXVeV9YFhWJY1kWVZlnWhaVqWtbFtW5b1wXFclzXRdV2XdeF5Xpe18X1fl/YBgWCYNhGFYZh2IYlimLYxjWOY9kGRZJk2UZVlmXZhmWaZtnGdZ5n2gaFomjaRpWmadqGpapq2sa1rmvbBsWybNtG1bZt24blum7bxvW+b9wHBcJw3EcVxnHchyXKctzHNc5z3QdF0nTdR1XWdd2HZdp23cd13nfeB4XieN5HleZ53oel6nrex7Xue98HxfJ830fV9n3fh9vy/L9P2/j+i7kinChIUhp4D4A==";
    const BLOCKS: &str = "QlpoMTFBWSZTWV9HFZsAOpVZAAAQQAB/4AIlIACQKYACaCaqoNqYyj1NEoE1SUWOElFhJReaSi+UlFzSUXVJRd0lFmkotUlFklAmyUCbJQJ+JQJslAn8xQVkmU1lROxdjAELzWQAAEEAAf+ACJSAAkCmAAmgmqqNNG0yj1NEoE1SUXqkouaSi90lFjpJRYSUXmkou6SizSUWqSiySgTZKBNkoE/EoE2SgT+YoKyTKazeREc2gAOjrIAACCAAP/ABEpAAOCmAAmgUqo09Rpsk9TSUU1VD1VDFUPdUPlUOaoY+1Q6CMhGgjKUU2lFNpRT8lFNpRT+LuSKcKEgx8XtjAA==";

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        Bzip2::new(bytes).read_to_end(&mut text)?;
        Ok(text)
    }

    fn vector(text: &str) -> Vec<u8> {
        STANDARD.decode(text).expect("base64")
    }

    #[test]
    fn streams_are_read_to_their_ends() {
        assert_eq!(read(&vector(EMPTY)).unwrap(), b"");
        assert_eq!(read(&vector(WORDS)).unwrap(), b"some text");
        assert_eq!(read(&vector(RUN)).unwrap(), vec![b'a'; 1_000_000]);
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(read(&vector(BYTES)).unwrap(), [&bytes[..], &[0; 259], &bytes].concat());
        let lines: String = (0..30_000).map(|number| format!("{} line\n", number % 10)).collect();
        assert_eq!(read(&vector(BLOCKS)).unwrap(), lines.as_bytes());
        let several = [vector(WORDS), vector(EMPTY), vector(WORDS)].concat();
        assert_eq!(read(&several).unwrap(), b"some textsome text");
    }

    #[test]
    fn what_is_broken_is_said() {
        for whole in [WORDS, BYTES].map(vector) {
            for length in 0..whole.len() {
                let error = read(&whole[..length]).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{length}: {error}");
            }
            let text = read(&whole).unwrap();
            for bit in 0..whole.len() * 8 {
                let mut broken = whole.clone();
                broken[bit / 8] ^= 0x80 >> (bit % 8);
                // Neither the level nor the last bits are part of a checksum.
                assert!(read(&broken).map_or(true, |read| read == text), "{bit}");
            }
        }
        let error = read(&[vector(WORDS), b"more".to_vec()].concat()).unwrap_err().to_string();
        assert_eq!(error, "bzip2: another stream was expected");
    }
}
