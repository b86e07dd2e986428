//! Messages: header and body. "Message Format" in the D-Bus specification.

use crate::error::Result;
use crate::value::{Reader, Value, Writer, malformed};

/// Far more than any answer of systemd's; the specification allows 128 MiB.
const LENGTH_MAX: usize = 1 << 20;

/// The part of the header from which the length of the message follows.
pub const FIXED_HEADER: usize = 16;

/// The kind of a message; those with other numbers are to be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// METHOD_CALL
    Call = 1,
    /// METHOD_RETURN
    Return = 2,
    /// ERROR
    Error = 3,
    /// SIGNAL
    Signal = 4,
}

/// A method call: to which object, which method, with which arguments.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// A bus name.
    pub destination: &'a str,
    /// An object path.
    pub path: &'a str,
    /// An interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub body: &'a [Value],
}

impl Call<'_> {
    /// The message.
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let Call { destination, path, interface, member, body } = self;
        let mut fields = vec![
            field(1, Value::ObjectPath(path.to_string())),
            field(2, Value::text(*interface)),
            field(3, Value::text(*member)),
            field(6, Value::text(*destination)),
        ];
        encode(Kind::Call, serial, &mut fields, body)
    }
}

fn field(code: u8, value: Value) -> Value {
    Value::Structure(vec![Value::Byte(code), value.variant()])
}

/// Encodes a message of any kind; `fields` are its header fields except the signature.
pub fn encode(kind: Kind, serial: u32, fields: &mut Vec<Value>, body: &[Value]) -> Vec<u8> {
    let mut content = Writer::default();
    body.iter().for_each(|value| content.value(value));
    if !body.is_empty() {
        let signature = body.iter().map(Value::signature).collect();
        fields.push(field(8, Value::Signature(signature)));
    }
    let mut message = Writer { bytes: vec![b'l', kind as u8, 0, 1] };
    message.value(&Value::Uint32(content.bytes.len() as u32));
    message.value(&Value::Uint32(serial));
    message.value(&Value::Array("(yv)".into(), std::mem::take(fields)));
    message.pad(8);
    message.bytes.extend_from_slice(&content.bytes);
    message.bytes
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The number of its kind.
    pub kind: u8,
    /// The serial of the call that it answers.
    pub reply_serial: Option<u32>,
    /// Of a signal.
    pub interface: Option<String>,
    /// Of a signal.
    pub member: Option<String>,
    /// Of an error.
    pub error_name: Option<String>,
    /// The sender's unique name, set by the bus and not by the sender.
    pub sender: Option<String>,
    /// Its values.
    pub body: Vec<Value>,
}

/// The length of the whole message that begins with these bytes; `None` if there are too few to tell.
///
/// # Errors
/// They do not begin a message, or its length is over the limit.
pub fn whole_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(header) = bytes.get(..FIXED_HEADER) else { return Ok(None) };
    if !matches!(header[0], b'l' | b'B') || header[3] != 1 {
        return Err(malformed("it does not begin like one"));
    }
    let number = |at: usize| {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        (if header[0] == b'B' { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }) as usize
    };
    let (body, fields) = (number(4), number(12));
    if body > LENGTH_MAX || fields > LENGTH_MAX {
        return Err(malformed("it is longer than 1 MiB"));
    }
    Ok(Some((FIXED_HEADER + fields).next_multiple_of(8) + body))
}

impl Message {
    /// Decodes a whole message.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Message> {
        let length = whole_length(bytes)?.filter(|length| *length == bytes.len());
        let length = length.ok_or_else(|| malformed("its length is wrong"))?;
        let big_endian = bytes[0] == b'B';
        let header = Reader::new(bytes, big_endian).values("yyyyuua(yv)")?;
        let body_length = match header.get(4) {
            Some(Value::Uint32(length)) => *length as usize,
            _ => return Err(malformed("it has no length")),
        };
        let mut message = Message {
            kind: bytes[1],
            reply_serial: None,
            interface: None,
            member: None,
            error_name: None,
            sender: None,
            body: Vec::new(),
        };
        let mut signature = String::new();
        let Some(Value::Array(_, fields)) = header.into_iter().nth(6) else {
            return Err(malformed("it has no header fields"));
        };
        for field in fields {
            let Value::Structure(members) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = &members[..] else { continue };
            match (code, &**value) {
                (2, Value::Text(text)) => message.interface = Some(text.clone()),
                (3, Value::Text(text)) => message.member = Some(text.clone()),
                (4, Value::Text(text)) => message.error_name = Some(text.clone()),
                (5, Value::Uint32(serial)) => message.reply_serial = Some(*serial),
                (7, Value::Text(text)) => message.sender = Some(text.clone()),
                (8, Value::Signature(text)) => signature.clone_from(text),
                // Path, destination, and fields that later versions may add.
                _ => {}
            }
        }
        message.body = Reader::new(&bytes[length - body_length..], big_endian).values(&signature)?;
        Ok(message)
    }
}
