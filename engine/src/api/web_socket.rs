//! Web sockets (RFC 6455): the handshake and frames, for clients that attach from a browser.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// What a key is hashed with (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version of the protocol that there is.
pub const VERSION: &str = "13";

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The most bytes of a frame that is not data (section 5.5).
const CONTROL_MAX: u64 = 125;

/// Why a connection is closed (section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;

/// What the server shows for the key of a client's.
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()))
}

/// A piece of output as a frame.
pub fn frame(content: &[u8]) -> Vec<u8> {
    whole(BINARY, content)
}

/// The last frame.
pub fn end() -> Vec<u8> {
    whole(CLOSE, &NORMAL.to_be_bytes())
}

fn whole(opcode: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match (u8::try_from(content.len()), u16::try_from(content.len())) {
        (Ok(length @ 0..=125), _) => bytes.push(length),
        (_, Ok(length)) => {
            bytes.push(126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// The frames of a client, of which any part may come at once.
#[derive(Debug, Default)]
pub struct Frames {
    /// What has come of a frame's head, or of one that is not data.
    begun: Vec<u8>,
    /// The data that is still to come of a frame, with what it is masked by.
    open: Option<Data>,
    has_ended: bool,
}

#[derive(Debug)]
struct Data {
    left: u64,
    mask: [u8; 4],
    at: usize,
}

/// The head of a frame.
struct Head {
    opcode: u8,
    is_last: bool,
    length: u64,
    mask: [u8; 4],
    /// How many bytes it has.
    size: usize,
}

/// What has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// Input for the program.
    pub data: Vec<u8>,
    /// What the client is told because of it.
    pub answer: Vec<u8>,
}

impl Frames {
    /// Whether nothing more comes.
    pub fn have_ended(&self) -> bool {
        self.has_ended
    }

    /// Reads what has come.
    pub fn take(&mut self, bytes: &[u8]) -> Came {
        let (mut came, mut rest) = (Came::default(), bytes);
        while !self.has_ended && !rest.is_empty() {
            rest = match self.open.take() {
                Some(data) => self.data(data, rest, &mut came),
                None => self.head(rest, &mut came),
            };
        }
        came
    }

    /// The next bytes of a frame of data.
    fn data<'b>(&mut self, mut data: Data, bytes: &'b [u8], came: &mut Came) -> &'b [u8] {
        let length = usize::try_from(data.left).unwrap_or(usize::MAX).min(bytes.len());
        let (own, rest) = bytes.split_at(length);
        came.data.extend(own.iter().enumerate().map(|(index, byte)| byte ^ data.mask[(data.at + index) % 4]));
        data.at += length;
        data.left -= length as u64;
        self.open = Some(data).filter(|data| data.left > 0);
        rest
    }

    /// The next byte of a head, or of a frame that is not data.
    fn head<'b>(&mut self, bytes: &'b [u8], came: &mut Came) -> &'b [u8] {
        self.begun.push(bytes[0]);
        let rest = &bytes[1..];
        let Some(head) = parse(&self.begun) else { return rest };
        let Head { opcode, is_last, length, mask, size } = head;
        // A client masks what it sends, and no extension was agreed on.
        let is_valid = self.begun[0] & 0x70 == 0 && self.begun[1] & 0x80 != 0;
        match opcode {
            CONTINUATION | TEXT | BINARY if is_valid => {
                self.begun.clear();
                self.open = Some(Data { left: length, mask, at: 0 }).filter(|data| data.left > 0);
            }
            CLOSE | PING | PONG if is_valid && is_last && length <= CONTROL_MAX => {
                if self.begun.len() as u64 == size as u64 + length {
                    let content = std::mem::take(&mut self.begun).split_off(size);
                    let content = content.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]);
                    self.control(opcode, &content.collect::<Vec<_>>(), came);
                }
            }
            _ => {
                self.has_ended = true;
                came.answer.extend(whole(CLOSE, &PROTOCOL_ERROR.to_be_bytes()));
            }
        }
        rest
    }

    fn control(&mut self, opcode: u8, content: &[u8], came: &mut Came) {
        match opcode {
            PING => came.answer.extend(whole(PONG, content)),
            CLOSE => {
                self.has_ended = true;
                // The status is said back.
                came.answer.extend(whole(CLOSE, &content[..content.len().min(2)]));
            }
            _ => {}
        }
    }
}

/// `None` if it is not whole yet.
fn parse(begun: &[u8]) -> Option<Head> {
    let &[first, second, ref rest @ ..] = begun else { return None };
    let (length, behind) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
        length => (u64::from(length), 0),
    };
    let is_masked = second & 0x80 != 0;
    let mask = if is_masked { *rest[behind..].first_chunk()? } else { [0; 4] };
    let size = 2 + behind + if is_masked { 4 } else { 0 };
    Some(Head { opcode: first & 0xf, is_last: first & 0x80 != 0, length, mask, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, content: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = whole(first & 0xf, content);
        bytes[0] = first;
        let at = bytes.len() - content.len();
        bytes[1] |= 0x80;
        let body: Vec<u8> =
            bytes.drain(at..).enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
        [bytes, mask.to_vec(), body].concat()
    }

    #[test]
    fn keys_are_those_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn lengths_have_three_forms() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let content = vec![7; length];
            let head = frame(&content).len() - length;
            assert_eq!(head, [2, 4, 10][usize::from(length > 125) + usize::from(length > 65_535)]);
            assert_eq!(Frames::default().take(&masked(0x82, &content)).data, content);
        }
    }

    #[test]
    fn frames_come_in_any_pieces() {
        let sent =
            [masked(0x02, b"hel"), masked(0x89, b"ping"), masked(0x80, b"lo\n"), masked(0x88, &[3, 232])]
                .concat();
        for piece in [1, 2, 3, 7, sent.len()] {
            let (mut frames, mut all) = (Frames::default(), Came::default());
            for bytes in sent.chunks(piece) {
                let Came { data, answer } = frames.take(bytes);
                all.data.extend(data);
                all.answer.extend(answer);
            }
            assert_eq!(all.data, b"hello\n", "{piece}");
            assert_eq!(all.answer, [whole(PONG, b"ping"), end()].concat());
            assert!(frames.have_ended());
        }
    }

    #[test]
    fn what_breaks_the_protocol_ends_it() {
        for wrong in [frame(b"x"), masked(0xc2, b"x"), masked(0x83, b"x"), masked(0x09, b"x")] {
            let mut frames = Frames::default();
            let came = frames.take(&wrong);
            assert_eq!((came.data.len(), frames.have_ended()), (0, true), "{wrong:?}");
            assert_eq!(came.answer, whole(CLOSE, &PROTOCOL_ERROR.to_be_bytes()));
        }
    }
}
