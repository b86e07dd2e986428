//! A record: 16 bytes that tell time, length and stream, then what was read at once. Lines are found by the reader.

use crate::time::Moment;

/// The bytes before the content.
pub const HEADER: usize = 16;

/// The most bytes of content.
pub const CONTENT_MAX: usize = 1 << 16;

/// Who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// The program, to stdout or to its terminal.
    Stdout = 1,
    /// The program, to stderr.
    Stderr = 2,
    /// The monitor: something is missing here.
    Note = 3,
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub time: Moment,
    pub length: usize,
    pub stream: Stream,
}

impl Head {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.time.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.length as u32).to_le_bytes());
        bytes[12] = self.stream as u8;
        bytes
    }

    /// `None`: what is there is no record, or only a part of one.
    pub fn decode(bytes: &[u8; HEADER]) -> Option<Head> {
        let [time @ .., _, _, _, _, _, _, _, _] = *bytes;
        let length = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        let stream = match bytes[12] {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            3 => Stream::Note,
            _ => return None,
        };
        let is_possible = length <= CONTENT_MAX && bytes[13..] == [0; 3];
        is_possible.then_some(Head { time: Moment(u64::from_le_bytes(time)), length, stream })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let head = Head { time: Moment(1 << 60), length: 4000, stream: Stream::Stderr };
        assert_eq!(Head::decode(&head.encode()), Some(head));
        assert_eq!(Head::decode(&[0; HEADER]), None);
        assert_eq!(Head::decode(&[0xff; HEADER]), None);
    }
}
