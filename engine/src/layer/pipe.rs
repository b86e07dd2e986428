//! Bytes from one thread to another, a few pieces ahead.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How much goes at once, and how many pieces may wait.
const PIECE: usize = 1 << 18;
const AHEAD: usize = 4;

/// The end that takes bytes in. Dropped without [`Feed::end`], the other end reads an error: nothing is taken for whole that is cut.
pub struct Feed {
    sender: SyncSender<Option<Vec<u8>>>,
    piece: Vec<u8>,
}

/// The end that bytes come out of.
pub struct Drain {
    receiver: Receiver<Option<Vec<u8>>>,
    piece: Vec<u8>,
    position: usize,
    is_ended: bool,
}

/// Both ends.
pub fn pipe() -> (Feed, Drain) {
    let (sender, receiver) = sync_channel(AHEAD);
    let drain = Drain { receiver, piece: Vec::new(), position: 0, is_ended: false };
    (Feed { sender, piece: Vec::with_capacity(PIECE) }, drain)
}

impl Feed {
    /// Everything has been written.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn end(mut self) -> Result<()> {
        self.flush()?;
        self.sender.send(None).map_err(|_| Error::from(ErrorKind::BrokenPipe))
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.send(Some(piece)).map_err(|_| Error::from(ErrorKind::BrokenPipe))
    }
}

impl Read for Drain {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.position == self.piece.len() && !self.is_ended {
            match self.receiver.recv() {
                Ok(Some(piece)) => (self.piece, self.position) = (piece, 0),
                Ok(None) => self.is_ended = true,
                Err(_) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        let rest = &self.piece[self.position..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_no_end() {
        let (mut feed, mut drain) = pipe();
        let writer =
            std::thread::spawn(move || feed.write_all(&vec![7; 3 * PIECE + 5]).and_then(|()| feed.end()));
        let mut bytes = Vec::new();
        drain.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 3 * PIECE + 5);
        assert!(writer.join().unwrap().is_ok());
        let (mut feed, mut drain) = pipe();
        feed.write_all(b"half").and_then(|()| feed.flush()).unwrap();
        drop(feed);
        assert_eq!(drain.read_to_end(&mut bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let (mut feed, drain) = pipe();
        drop(drain);
        assert_eq!(feed.write_all(&vec![7; PIECE]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
