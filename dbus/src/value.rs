//! Values of D-Bus messages and their wire form: "Marshaling" in the D-Bus specification.

use crate::error::{Error, Result};

/// A value that a message can carry.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Boolean(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    ObjectPath(String),
    /// `g`
    Signature(String),
    /// `a`, with the signature that all its items have.
    Array(String, Vec<Value>),
    /// `(…)`
    Structure(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// A variant of this value.
    pub fn variant(self) -> Value {
        Value::Variant(Box::new(self))
    }

    /// The value's type, as the specification writes it.
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".into(),
            Value::Boolean(_) => "b".into(),
            Value::Int16(_) => "n".into(),
            Value::Uint16(_) => "q".into(),
            Value::Int32(_) => "i".into(),
            Value::Uint32(_) => "u".into(),
            Value::Int64(_) => "x".into(),
            Value::Uint64(_) => "t".into(),
            Value::Double(_) => "d".into(),
            Value::Text(_) => "s".into(),
            Value::ObjectPath(_) => "o".into(),
            Value::Signature(_) => "g".into(),
            Value::Array(items, _) => format!("a{items}"),
            Value::Structure(members) => {
                format!("({})", members.iter().map(Value::signature).collect::<String>())
            }
            Value::Variant(_) => "v".into(),
        }
    }
}

/// The alignment of a type, by the first character of its signature.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// Writes values in little-endian order; alignment counts from the beginning of `bytes`.
#[derive(Debug, Default)]
pub struct Writer {
    /// The bytes written so far.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// Appends zeros up to a multiple of `alignment`.
    pub fn pad(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.pad(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.fixed(&(text.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn short_text(&mut self, text: &str) {
        // Signatures have at most 255 characters: pillbox's own are short, and received ones have been
        // checked.
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// Appends a value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(byte) => self.bytes.push(*byte),
            Value::Boolean(truth) => self.fixed(&u32::from(*truth).to_le_bytes()),
            Value::Int16(number) => self.fixed(&number.to_le_bytes()),
            Value::Uint16(number) => self.fixed(&number.to_le_bytes()),
            Value::Int32(number) => self.fixed(&number.to_le_bytes()),
            Value::Uint32(number) => self.fixed(&number.to_le_bytes()),
            Value::Int64(number) => self.fixed(&number.to_le_bytes()),
            Value::Uint64(number) => self.fixed(&number.to_le_bytes()),
            Value::Double(number) => self.fixed(&number.to_le_bytes()),
            Value::Text(text) | Value::ObjectPath(text) => self.text(text),
            Value::Signature(signature) => self.short_text(signature),
            Value::Array(signature, items) => {
                self.fixed(&[0; 4]);
                let length_at = self.bytes.len() - 4;
                // The padding before the first item is not counted, and is there even if the array is empty.
                self.pad(alignment(signature));
                let start = self.bytes.len();
                items.iter().for_each(|item| self.value(item));
                let length = (self.bytes.len() - start) as u32;
                self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
            Value::Structure(members) => {
                self.pad(8);
                members.iter().for_each(|member| self.value(member));
            }
            Value::Variant(value) => {
                self.short_text(&value.signature());
                self.value(value);
            }
        }
    }
}

/// Deeper nesting than any reply has.
const DEPTH_MAX: usize = 16;

/// Reads values. Everything is checked: the bytes come from whatever listens on the socket.
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    big_endian: bool,
}

macro_rules! number {
    ($name:ident, $type:ty) => {
        fn $name(&mut self) -> Result<$type> {
            const SIZE: usize = size_of::<$type>();
            self.pad(SIZE)?;
            let mut bytes = [0; SIZE];
            bytes.copy_from_slice(self.take(SIZE)?);
            Ok(if self.big_endian { <$type>::from_be_bytes(bytes) } else { <$type>::from_le_bytes(bytes) })
        }
    };
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; alignment counts from their beginning.
    pub fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Reader { bytes, position: 0, big_endian }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("it ends too early"))?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn pad(&mut self, alignment: usize) -> Result<()> {
        self.take(self.position.next_multiple_of(alignment) - self.position).map(drop)
    }

    number!(u16, u16);
    number!(u32, u32);
    number!(u64, u64);

    fn text_of(&mut self, length: usize) -> Result<String> {
        let bytes = self.take(length)?;
        if self.take(1)? != [0] {
            return Err(malformed("a text without its end"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| malformed("a text that is not UTF-8"))
    }

    fn text(&mut self) -> Result<String> {
        let length = self.u32()? as usize;
        self.text_of(length)
    }

    fn short_text(&mut self) -> Result<String> {
        let length = self.take(1)?[0];
        self.text_of(usize::from(length))
    }

    /// The values that a signature describes.
    pub fn values(&mut self, signature: &str) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        let mut rest = signature;
        while !rest.is_empty() {
            let (first, remaining) = rest.split_at(complete_type(rest)?);
            values.push(self.value(first, 0)?);
            rest = remaining;
        }
        Ok(values)
    }

    /// One value of one complete type.
    fn value(&mut self, signature: &str, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(malformed("it is nested too deeply"));
        }
        Ok(match signature.as_bytes() {
            b"y" => Value::Byte(self.take(1)?[0]),
            b"b" => Value::Boolean(self.u32()? != 0),
            b"n" => Value::Int16(self.u16()?.cast_signed()),
            b"q" => Value::Uint16(self.u16()?),
            b"i" => Value::Int32(self.u32()?.cast_signed()),
            b"u" | b"h" => Value::Uint32(self.u32()?),
            b"x" => Value::Int64(self.u64()?.cast_signed()),
            b"t" => Value::Uint64(self.u64()?),
            b"d" => Value::Double(f64::from_bits(self.u64()?)),
            b"s" => Value::Text(self.text()?),
            b"o" => Value::ObjectPath(self.text()?),
            b"g" => Value::Signature(self.short_text()?),
            b"v" => {
                let signature = self.short_text()?;
                if complete_type(&signature)? != signature.len() {
                    return Err(malformed("a variant of several types"));
                }
                Value::Variant(Box::new(self.value(&signature, depth + 1)?))
            }
            [b'a', ..] => self.array(&signature[1..], depth)?,
            [b'(' | b'{', ..] => {
                self.pad(8)?;
                let mut members = Vec::new();
                let mut rest = &signature[1..signature.len() - 1];
                while !rest.is_empty() {
                    let (first, remaining) = rest.split_at(complete_type(rest)?);
                    members.push(self.value(first, depth + 1)?);
                    rest = remaining;
                }
                Value::Structure(members)
            }
            _ => return Err(malformed("a type that is not known")),
        })
    }

    fn array(&mut self, items: &str, depth: usize) -> Result<Value> {
        let length = self.u32()? as usize;
        self.pad(alignment(items))?;
        let end = self.position.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("an array longer than its message"))?;
        let mut values = Vec::new();
        while self.position < end {
            values.push(self.value(items, depth + 1)?);
        }
        if self.position != end {
            return Err(malformed("an array that ends inside of an item"));
        }
        Ok(Value::Array(items.to_string(), values))
    }
}

/// The length of the first complete type of a signature.
///
/// # Errors
/// There is none: it is empty, unbalanced, nested too deeply or has unknown letters.
pub fn complete_type(signature: &str) -> Result<usize> {
    let bytes = signature.as_bytes();
    let mut open = Vec::new();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'a' => {}
            b'(' => open.push(b')'),
            b'{' => open.push(b'}'),
            // Refuses an empty structure, and an array without a type.
            b')' | b'}' if index == 0 || matches!(bytes[index - 1], b'(' | b'{' | b'a') => break,
            b')' | b'}' if open.pop() != Some(*byte) => break,
            b')' | b'}' => {}
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v'
            | b'h' => {}
            _ => break,
        }
        if open.len() > DEPTH_MAX || index > 255 {
            break;
        }
        if open.is_empty() && *byte != b'a' {
            return Ok(index + 1);
        }
    }
    Err(malformed(&format!("a signature that is none: {signature:?}")))
}

pub(crate) fn malformed(what: &str) -> Error {
    Error::new(format_args!("D-Bus: a message that cannot be read: {what}"))
}
