//! What a monitor and its clients say to each other: frames of a kind, a length, and that many bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind as ErrorKind, Result};

/// What is said first, so that a later box can speak to an older monitor.
pub const VERSION: u32 = 2;

/// The first version whose clients know [`Kind::Exited`].
pub const KNOWS_EXITED: u32 = 2;

/// The most bytes of one frame.
pub const FRAME_MAX: usize = 1 << 16;

const HEADER: usize = 5;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// From a client, first of all: [`Hello`].
    Hello = 1,
    /// From the client that started the monitor: the program may begin.
    Start,
    /// From a client: bytes for the program's stdin.
    Input,
    /// From a client: its stdin has come to its end.
    InputEnd,
    /// From a client: [`Size`] of its terminal.
    Resize,
    /// To a client: the container is there, and waits for [`Kind::Start`].
    Created,
    /// To a client: the program runs.
    Started,
    /// To a client: it could not be started: [`Failure`].
    Failed,
    /// To a client: what the program wrote to stdout, or to its terminal.
    Stdout,
    /// To a client: what it wrote to stderr.
    Stderr,
    /// To a client: a line that its user should see.
    Warning,
    /// To a client: it has ended, with this status, and everything is recorded.
    Ended,
    /// To a client: the program has ended with this status, and may be started again.
    Exited,
    /// From a client: the container is on a network with names. To a client: it is answered for them.
    Names,
}

impl Kind {
    const ALL: [Kind; 14] = [
        Kind::Hello,
        Kind::Start,
        Kind::Input,
        Kind::InputEnd,
        Kind::Resize,
        Kind::Created,
        Kind::Started,
        Kind::Failed,
        Kind::Stdout,
        Kind::Stderr,
        Kind::Warning,
        Kind::Ended,
        Kind::Exited,
        Kind::Names,
    ];
}

/// Who a client is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// It wants to see what the program writes.
    pub output: bool,
    /// It has something for the program to read.
    pub input: bool,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Size {
    /// From top to bottom.
    pub rows: u16,
    /// From left to right.
    pub columns: u16,
}

/// Why a program does not run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// In words.
    pub text: String,
    /// With which box exits.
    pub status: u8,
    /// What a caller can do about it; a monitor of an older box does not say.
    #[serde(default)]
    pub kind: Option<ErrorKind>,
}

/// The most bytes of a text in words; one that names something longer is cut.
const TEXT_MAX: usize = 4 << 10;

impl Failure {
    /// Why. A text that no frame would take is cut.
    pub fn of(error: &Error) -> Failure {
        Failure { text: shortened(&error.to_string()), status: error.status(), kind: Some(error.kind()) }
    }
}

/// A frame with a line that its user should see.
pub fn encode_warning(text: &str) -> Vec<u8> {
    encode(Kind::Warning, shortened(text).as_bytes())
}

fn shortened(text: &str) -> String {
    match text.char_indices().find(|(at, _)| *at > TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// A frame in bytes.
pub fn encode(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.push(kind as u8);
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A frame with a value in it.
pub fn encode_value(kind: Kind, value: &impl Serialize) -> Vec<u8> {
    // Structs of numbers and texts can be written.
    encode(kind, &serde_json::to_vec(value).unwrap_or_default())
}

/// The value in a frame.
///
/// # Errors
/// It is none.
pub fn decode_value<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    serde_json::from_slice(payload).map_err(|error| Error::corrupt(format!("monitor: {error}")))
}

/// Frames out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Takes more bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is complete.
    ///
    /// # Errors
    /// It is none that is known.
    pub fn next_frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>> {
        let Some((header, rest)) = self.bytes.split_at_checked(HEADER) else { return Ok(None) };
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == header[0]);
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let wrong =
            || Error::corrupt("monitor: it says what this box does not know: they are of different versions");
        let kind = kind.filter(|_| length <= FRAME_MAX).ok_or_else(wrong)?;
        if rest.len() < length {
            return Ok(None);
        }
        let payload = rest[..length].to_vec();
        self.bytes.drain(..HEADER + length);
        Ok(Some((kind, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let bytes =
            [encode(Kind::Input, b"text"), encode_value(Kind::Resize, &Size { rows: 24, columns: 80 })]
                .concat();
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for byte in bytes {
            decoder.add(&[byte]);
            frames.extend(decoder.next_frame().unwrap());
        }
        assert_eq!(frames[0], (Kind::Input, b"text".to_vec()));
        let size: Size = decode_value(&frames[1].1).unwrap();
        assert_eq!((size.rows, size.columns), (24, 80));
        let error = Error::new(ErrorKind::PortTaken, "ä".repeat(FRAME_MAX));
        decoder.add(&encode_value(Kind::Failed, &Failure::of(&error)));
        let failure: Failure = decode_value(&decoder.next_frame().unwrap().unwrap().1).unwrap();
        assert!(failure.text.ends_with("ä…") && failure.text.len() < 5000);
        assert_eq!((failure.status, failure.kind), (125, Some(ErrorKind::PortTaken)));
        decoder.add(&[99, 0, 0, 0, 0]);
        assert!(decoder.next_frame().is_err());
        let mut decoder = Decoder::default();
        decoder.add(&[1, 0xff, 0xff, 0xff, 0xff]);
        assert!(decoder.next_frame().is_err());
    }
}
