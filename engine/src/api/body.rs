//! The body of a request, as it comes: with a length, or in chunks.

use std::io::{BufRead, Error, ErrorKind, Read, Result};
use std::os::unix::net::UnixStream;

use super::head::Length;

/// The most bytes of a line that says how long a chunk is, and of all that stands behind the last one.
const LINE_MAX: usize = 8 << 10;

/// The beginning of a body that has come with the head, and the rest of it on the connection.
#[derive(Debug)]
pub struct Body<'c> {
    source: Source<'c>,
    left: Left,
    /// The client waits for a word before it sends anything.
    is_expected: bool,
}

/// What is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// So many bytes.
    Bytes(u64),
    /// So many of a chunk, and others behind it.
    Chunk(u64),
    /// A line with the length of the next chunk.
    ChunkLength,
    /// Nothing.
    Nothing,
}

/// Bytes of a connection: first those that were read with a head.
#[derive(Debug)]
struct Source<'c> {
    begun: Vec<u8>,
    at: usize,
    connection: Connection<'c>,
}

/// The connection, as others have it as well, or by a descriptor of one's own.
#[derive(Debug)]
enum Connection<'c> {
    Lent(&'c UnixStream),
    Own(UnixStream),
}

impl Connection<'_> {
    fn socket(&self) -> &UnixStream {
        match self {
            Connection::Lent(socket) => socket,
            Connection::Own(socket) => socket,
        }
    }
}

impl<'c> Body<'c> {
    /// The body behind a head.
    pub fn new(begun: Vec<u8>, connection: &'c UnixStream, length: Length, is_expected: bool) -> Body<'c> {
        let left = match length {
            Length::Known(0) => Left::Nothing,
            Length::Known(bytes) => Left::Bytes(bytes),
            Length::Chunked => Left::ChunkLength,
        };
        Body { source: Source { begun, at: 0, connection: Connection::Lent(connection) }, left, is_expected }
    }

    /// Whether all of it has been read.
    pub fn is_over(&self) -> bool {
        self.left == Left::Nothing
    }

    /// Reads what nobody wanted to read, up to `most` bytes; false if there was more.
    pub fn discard(&mut self, most: u64) -> bool {
        // Who waits for a word has sent nothing.
        if self.is_expected && !self.is_over() {
            return false;
        }
        let read = std::io::copy(&mut self.by_ref().take(most), &mut std::io::sink());
        read.is_ok() && self.is_over()
    }

    /// The rest of it, for a reader that may outlive the exchange.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn into_own(self) -> Result<Body<'static>> {
        let Body { source: Source { begun, at, connection }, left, is_expected } = self;
        let connection = Connection::Own(connection.socket().try_clone()?);
        Ok(Body { source: Source { begun, at, connection }, left, is_expected })
    }

    /// What has come behind it: the beginning of the next request, or of a stream.
    pub fn into_rest(self) -> Vec<u8> {
        let Source { mut begun, at, .. } = self.source;
        begun.drain(..at);
        begun
    }

    fn chunk_length(&mut self) -> Result<()> {
        let line = self.source.line()?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        let wrong = || Error::new(ErrorKind::InvalidData, format!("the length of a chunk: {digits:?}"));
        self.left = match length.ok_or_else(wrong)? {
            0 => {
                let mut length = 0;
                loop {
                    let line = self.source.line()?;
                    length += line.len();
                    if line.is_empty() {
                        break Left::Nothing;
                    }
                    if length > LINE_MAX {
                        return Err(Error::new(ErrorKind::InvalidData, "too much behind the last chunk"));
                    }
                }
            }
            length => Left::Chunk(length),
        };
        Ok(())
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() || self.is_over() {
            return Ok(0);
        }
        if std::mem::take(&mut self.is_expected) {
            std::io::Write::write_all(
                &mut self.source.connection.socket(),
                b"HTTP/1.1 100 Continue\r\n\r\n",
            )?;
        }
        while self.left == Left::ChunkLength {
            self.chunk_length()?;
        }
        let (Left::Bytes(left) | Left::Chunk(left)) = self.left else { return Ok(0) };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.source.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the client has gone before the body's end"));
        }
        let left = left - length as u64;
        self.left = match self.left {
            Left::Bytes(_) if left == 0 => Left::Nothing,
            Left::Bytes(_) => Left::Bytes(left),
            _ if left == 0 => {
                if !self.source.line()?.is_empty() {
                    return Err(Error::new(ErrorKind::InvalidData, "a chunk is longer than it says"));
                }
                Left::ChunkLength
            }
            _ => Left::Chunk(left),
        };
        Ok(length)
    }
}

impl Source<'_> {
    /// A line without its end.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            if self.read(&mut byte)? == 0 {
                return Err(Error::new(
                    ErrorKind::UnexpectedEof,
                    "the client has gone before the body's end",
                ));
            }
            match byte[0] {
                b'\n' => break,
                byte => line.push(byte),
            }
            if line.len() > LINE_MAX {
                return Err(Error::new(ErrorKind::InvalidData, "the length of a chunk: a long line"));
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line)
            .map_err(|_| Error::new(ErrorKind::InvalidData, "the length of a chunk: no text"))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.at == self.begun.len() && buffer.len() < SMALL {
            // Small pieces are not worth a call each.
            self.begun.resize(SMALL, 0);
            let read = self.connection.socket().read(&mut self.begun);
            self.begun.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            read?;
        }
        match &self.begun[self.at..] {
            [] if buffer.len() >= SMALL => self.connection.socket().read(buffer),
            begun => {
                let mut begun = begun;
                let length = BufRead::fill_buf(&mut begun)?.read(buffer)?;
                self.at += length;
                Ok(length)
            }
        }
    }
}

/// Below this, more is read than is wanted now.
const SMALL: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(begun: &[u8], rest: &[u8], length: Length) -> Result<(Vec<u8>, Vec<u8>)> {
        let (connection, mut other) = UnixStream::pair().unwrap();
        other.write_all(rest).unwrap();
        drop(other);
        let mut body = Body::new(begun.to_vec(), &connection, length, false);
        let mut text = Vec::new();
        body.read_to_end(&mut text)?;
        assert!(body.is_over());
        Ok((text, body.into_rest()))
    }

    #[test]
    fn bodies_end_where_they_say() {
        let both = |text: &[u8], rest: &[u8]| (text.to_vec(), rest.to_vec());
        assert_eq!(read(b"abcGET", b"", Length::Known(3)).unwrap(), both(b"abc", b"GET"));
        assert_eq!(read(b"a", b"bc", Length::Known(3)).unwrap(), both(b"abc", b""));
        let chunks = b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: a\r\n\r\nGET";
        // What nobody has read yet is not left of it.
        for split in 0..chunks.len() - b"GET".len() {
            let (begun, rest) = chunks.split_at(split);
            let (text, left) = read(begun, rest, Length::Chunked).unwrap();
            assert_eq!((&text[..], &left[..]), (&b"abc0123456789"[..], &b"GET"[..]), "{split}");
        }
    }

    #[test]
    fn broken_bodies_are_errors() {
        for wrong in [
            "x\r\n",
            "-1\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nab",
            "fffffffffffffffff\r\n",
            "",
            "+3\r\nabc\r\n",
        ] {
            assert!(read(wrong.as_bytes(), b"", Length::Chunked).is_err(), "{wrong:?}");
        }
        assert!(read(b"ab", b"", Length::Known(3)).is_err());
        assert!(read(&vec![b'1'; LINE_MAX + 2], b"", Length::Chunked).is_err());
    }
}
