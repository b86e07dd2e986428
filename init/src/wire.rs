//! How a plan encodes values: as little more than their memory, with a length before each value of variable
//! size.
//!
//! Decoding borrows from the bytes and never trusts them: whatever they hold, the result is a value or
//! [`Malformed`].

use core::ffi::CStr;

use rustix::fs::Mode;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::{Gid, Uid};

/// The bytes are not a plan of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Where encoded bytes go: a `Vec<u8>` in the runtime.
pub trait Sink: for<'x> Extend<&'x u8> {}
impl<T: for<'x> Extend<&'x u8>> Sink for T {}

/// Bytes that are still to be decoded.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, malformed: false }
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Notes that there is no value of the wanted type; nothing can be read from here on. Returns `instead`,
    /// because [`Wire::read`] has to return some value.
    pub fn fail<T>(&mut self, instead: T) -> T {
        *self = Reader { rest: &[], malformed: true };
        instead
    }

    /// Returns `value`, unless reading has [failed](Reader::fail).
    pub fn whole<T>(&self, value: T) -> Result<T, Malformed> {
        if self.malformed { Err(Malformed) } else { Ok(value) }
    }
}

/// A value as `explain` shows it.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A number.
    Number(i128),
    /// A file mode or a umask.
    Octal(u32),
    /// A bit set, to be shown in hexadecimal.
    Bits(u64),
    /// Yes or no.
    Flag(bool),
    /// A string.
    Text(&'a CStr),
    /// A list of strings.
    Texts(Strings<'a>),
    /// Opaque bytes: a filter program.
    Bytes(&'a [u8]),
    /// A list of numbers.
    Numbers(Numbers<'a>),
    /// Mount attributes.
    Attributes(MountAttrFlags),
    /// Mount propagation.
    Propagation(MountPropagationFlags),
    /// A mount tree.
    Tree(crate::tree::Tree<'a>),
    /// One of a fixed set of words.
    Word(&'static str),
}

/// A value that a plan can contain.
pub trait Wire<'a>: Sized {
    /// Appends the value to `out`.
    fn encode(&self, out: &mut impl Sink);
    /// Reads a value. If there is none, the reader [fails](Reader::fail) and the result means nothing. One
    /// check after many values is much less code than a `Result` for each.
    fn read(input: &mut Reader<'a>) -> Self;
    /// Reads a single value, and checks that it is there.
    fn decode(input: &mut Reader<'a>) -> Result<Self, Malformed> {
        let value = Self::read(input);
        input.whole(value)
    }
    /// The value as `explain` shows it.
    fn value(&self) -> Value<'a>;
}

macro_rules! wire_number {
    ($($number:ty),*) => {$(
        impl<'a> Wire<'a> for $number {
            fn encode(&self, out: &mut impl Sink) {
                out.extend(&self.to_le_bytes());
            }
            fn read(input: &mut Reader<'a>) -> Self {
                match input.rest.split_first_chunk() {
                    Some((bytes, rest)) => {
                        input.rest = rest;
                        <$number>::from_le_bytes(*bytes)
                    }
                    None => input.fail(0),
                }
            }
            fn value(&self) -> Value<'a> {
                Value::Number(i128::from(*self))
            }
        }
    )*};
}
wire_number!(u8, u16, u32, i32, u64, i64);

macro_rules! wire_flags {
    ($($flags:ty, $bits:ty => $value:expr;)*) => {$(
        impl<'a> Wire<'a> for $flags {
            fn encode(&self, out: &mut impl Sink) {
                out.extend(&(self.bits() as $bits).to_le_bytes());
            }
            fn read(input: &mut Reader<'a>) -> Self {
                Self::from_bits_retain(<$bits as Wire>::read(input) as _)
            }
            fn value(&self) -> Value<'a> {
                $value(*self)
            }
        }
    )*};
}
wire_flags! {
    MountAttrFlags, u64 => Value::Attributes;
    MountPropagationFlags, u32 => Value::Propagation;
    Mode, u32 => |mode: Mode| Value::Octal(mode.bits());
}

macro_rules! wire_id {
    ($($id:ty),*) => {$(
        impl<'a> Wire<'a> for $id {
            fn encode(&self, out: &mut impl Sink) {
                self.as_raw().encode(out);
            }
            fn read(input: &mut Reader<'a>) -> Self {
                match u32::read(input) {
                    // To setresuid(2) and chown(2) it would mean "leave it as it is".
                    u32::MAX => input.fail(<$id>::ROOT),
                    id => <$id>::from_raw(id),
                }
            }
            fn value(&self) -> Value<'a> {
                self.as_raw().value()
            }
        }
    )*};
}
wire_id!(Uid, Gid);

impl<'a> Wire<'a> for bool {
    fn encode(&self, out: &mut impl Sink) {
        u8::from(*self).encode(out);
    }
    fn read(input: &mut Reader<'a>) -> Self {
        match u8::read(input) {
            0 => false,
            1 => true,
            _ => input.fail(false),
        }
    }
    fn value(&self) -> Value<'a> {
        Value::Flag(*self)
    }
}

/// A set of capabilities, bit n for capability number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u64);

impl<'a> Wire<'a> for Capabilities {
    fn encode(&self, out: &mut impl Sink) {
        self.0.encode(out);
    }
    fn read(input: &mut Reader<'a>) -> Self {
        Capabilities(u64::read(input))
    }
    fn value(&self) -> Value<'a> {
        Value::Bits(self.0)
    }
}

impl<'a> Wire<'a> for &'a [u8] {
    fn encode(&self, out: &mut impl Sink) {
        (self.len() as u32).encode(out);
        out.extend(*self);
    }
    fn read(input: &mut Reader<'a>) -> Self {
        let length = u32::read(input);
        input.take(length as usize).unwrap_or_else(|_| input.fail(&[]))
    }
    fn value(&self) -> Value<'a> {
        Value::Bytes(self)
    }
}

impl<'a> Wire<'a> for &'a CStr {
    fn encode(&self, out: &mut impl Sink) {
        self.to_bytes_with_nul().encode(out);
    }
    fn read(input: &mut Reader<'a>) -> Self {
        let bytes = <&[u8]>::read(input);
        // `from_bytes_with_nul` would add code to init that nothing else there needs.
        match CStr::from_bytes_until_nul(bytes) {
            Ok(string) if string.count_bytes() + 1 == bytes.len() => string,
            _ => input.fail(c""),
        }
    }
    fn value(&self) -> Value<'a> {
        Value::Text(self)
    }
}

/// A list of strings: `count` of them, each with its NUL, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strings<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// The strings in `bytes`, each of which ends with a NUL.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.last().is_some_and(|&last| last != 0) {
            return Err(Malformed);
        }
        let count = bytes.iter().filter(|&&byte| byte == 0).count();
        Ok(Strings { count: count.try_into().map_err(|_| Malformed)?, bytes })
    }

    /// The number of strings.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no strings.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let string = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[string.count_bytes() + 1..];
            Some(string)
        })
    }
}

impl<'a> Wire<'a> for Strings<'a> {
    fn encode(&self, out: &mut impl Sink) {
        self.bytes.encode(out);
    }
    fn read(input: &mut Reader<'a>) -> Self {
        Strings::new(<&[u8]>::read(input)).unwrap_or_else(|_| input.fail(Strings::default()))
    }
    fn value(&self) -> Value<'a> {
        Value::Texts(*self)
    }
}

/// A list of 32-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers<'a>(pub &'a [u8]);

impl<'a> Numbers<'a> {
    /// The number at `index`.
    pub fn get(&self, index: usize) -> Option<u32> {
        self.0.as_chunks::<4>().0.get(index).map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.0.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

impl<'a> Wire<'a> for Numbers<'a> {
    fn encode(&self, out: &mut impl Sink) {
        self.0.encode(out);
    }
    fn read(input: &mut Reader<'a>) -> Self {
        let bytes = <&[u8]>::read(input);
        if bytes.len() % 4 == 0 { Numbers(bytes) } else { input.fail(Numbers::default()) }
    }
    fn value(&self) -> Value<'a> {
        Value::Numbers(*self)
    }
}
