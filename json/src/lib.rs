//! JSON (RFC 8259), strictly: borrowed strings, paths in errors, limited depth; and writing it.
//!
//! [`object!`] turns a table of members into a struct and the one function that is specific to it. Everything else is
//! in [`Reader`] and compiled once: with serde's visitors the same structs needed more than twice the code.
//!
//! ```
//! use pillbox_json::{List, Text, object, parse};
//!
//! object! {
//!     /// A shelf.
//!     Shelf<'a> {
//!         "name" required => name: Text<'a>,
//!         "books" => books: List<Text<'a>>,
//!     }
//! }
//!
//! let shelf: Shelf<'_> = parse(br#"{"name": "upper", "books": ["Emma"]}"#)?;
//! assert_eq!((&*shelf.name, shelf.books.len()), ("upper", 1));
//! let error = parse::<Shelf<'_>>(br#"{"name": "upper", "books": [7]}"#).unwrap_err();
//! assert_eq!(error.to_string(), "books[0]: 7 is not a string");
//! # Ok::<(), pillbox_json::ParseError>(())
//! ```
#![forbid(unsafe_code)]

mod fault;
pub mod merge;
pub mod order;
pub mod reader;
pub mod write;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::Serialize;

pub use fault::{ParseError, read_document};
pub use reader::{Failed, Reader};

/// Reads a whole document.
///
/// # Errors
/// It is not JSON, with line and column; a value has the wrong type, with its path.
pub fn parse<'de, T: Value<'de> + Default>(document: &'de [u8]) -> Result<T, ParseError> {
    let mut value = T::default();
    read_with(document, false, &mut value)?;
    Ok(value)
}

/// As [`parse`], for documents in which no member may be unknown.
///
/// # Errors
/// As for [`parse`]; an object has a member that is none of its struct's, with its path.
pub fn parse_strictly<'de, T: Value<'de> + Default>(document: &'de [u8]) -> Result<T, ParseError> {
    let mut value = T::default();
    read_with(document, true, &mut value)?;
    Ok(value)
}

// Not inlined, and without a type parameter: one copy for all types.
#[inline(never)]
fn read_with<'de>(
    document: &'de [u8],
    is_strict: bool,
    value: &mut dyn Value<'de>,
) -> Result<(), ParseError> {
    let text = fault::check_text(document)?;
    let mut reader = Reader::new(text);
    if is_strict {
        reader = reader.strict();
    }
    reader.peek();
    value
        .read(&mut reader)
        .and_then(|()| reader.finish())
        .map_err(|Failed| fault::describe(text, reader.fault()))
}

/// A type that can be read from a document.
pub trait Value<'de> {
    /// Reads the value at the reader's place into `self`, which has its default value.
    ///
    /// # Errors
    /// The value has another type, or is not JSON.
    fn read(&mut self, reader: &mut Reader<'de>) -> Result<(), Failed>;
}

/// A struct that is read from a JSON object.
pub trait Object<'de> {
    /// The names of the members, and which of them are required: bit n stands for the one at place n.
    fn members(&self) -> (&'static [&'static str], u32);

    /// The member at `place`; none for a place that is none.
    fn member(&mut self, place: usize) -> Option<&mut dyn Value<'de>>;
}

/// Reads a member's value, which has its default until then; `null` counts as absent.
pub fn read_member<'de>(member: &mut dyn Value<'de>, reader: &mut Reader<'de>) -> Result<(), Failed> {
    if reader.take_null()? { Ok(()) } else { member.read(reader) }
}

impl Value<'_> for bool {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failed> {
        *self = reader.boolean("true or false")?;
        Ok(())
    }
}

macro_rules! integers {
    ($($type:ident: $expected:literal,)*) => {
        $(impl Value<'_> for $type {
            fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failed> {
                *self = reader.integer($type::MIN as i64, $type::MAX as u64, $expected)? as $type;
                Ok(())
            }
        })*
    };
}

integers! {
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number from 0 to 18446744073709551615",
    i32: "a whole number from -2147483648 to 2147483647",
    i64: "a whole number from -9223372036854775808 to 9223372036854775807",
}

impl<'de, T: Value<'de> + Default> Value<'de> for Option<T> {
    fn read(&mut self, reader: &mut Reader<'de>) -> Result<(), Failed> {
        self.insert(T::default()).read(reader)
    }
}

/// A JSON string with its escapes resolved; borrowed from the document unless it has any.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text(Cow::Borrowed(text))
    }
}

impl<'de: 'a, 'a> Value<'de> for Text<'a> {
    fn read(&mut self, reader: &mut Reader<'de>) -> Result<(), Failed> {
        *self = Text(reader.string("a string")?);
        Ok(())
    }
}

impl Value<'_> for String {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failed> {
        *self = reader.string("a string")?.into_owned();
        Ok(())
    }
}

/// A value of any type, as it stands in the document; the default is `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(pub &'a str);

impl Default for Raw<'_> {
    fn default() -> Self {
        Raw("null")
    }
}

impl<'de: 'a, 'a> Value<'de> for Raw<'a> {
    fn read(&mut self, reader: &mut Reader<'de>) -> Result<(), Failed> {
        *self = Raw(reader.raw()?);
        Ok(())
    }
}

/// A JSON list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(elements: Vec<T>) -> Self {
        List(elements)
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Value<'de> + Default> Value<'de> for List<T> {
    fn read(&mut self, reader: &mut Reader<'de>) -> Result<(), Failed> {
        reader.open(b'[', "a list")?;
        while reader.next(b']', self.is_empty())? {
            let mut element = T::default();
            element.read(reader)?;
            self.0.push(element);
        }
        Ok(())
    }
}

/// A JSON object with arbitrary keys, each of which occurs once, in the document's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map<'a, T>(pub Vec<(Text<'a>, T)>);

impl<'a, T> Deref for Map<'a, T> {
    type Target = [(Text<'a>, T)];
    fn deref(&self) -> &[(Text<'a>, T)] {
        &self.0
    }
}

impl Serialize for Map<'_, Text<'_>> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(key, value)| (&**key, &**value)))
    }
}

impl<'de: 'a, 'a, T: Value<'de> + Default> Value<'de> for Map<'a, T> {
    fn read(&mut self, reader: &mut Reader<'de>) -> Result<(), Failed> {
        reader.open(b'{', "an object")?;
        let mut places = Vec::new();
        while reader.next(b'}', self.is_empty())? {
            let key = Text(reader.key()?);
            places.push(reader.at());
            let mut value = T::default();
            read_member(&mut value, reader)?;
            self.0.push((key, value));
        }
        let keys: Vec<&str> = self.iter().map(|(key, _)| &**key).collect();
        match first_repeated(&keys) {
            Some(index) => Err(reader.repeated(places[index])),
            None => Ok(()),
        }
    }
}

/// Defines a struct that is read from a JSON object. Unknown members are skipped. `null` counts as absent,
/// and so is an error for `required` members. Required strings are not marked: for them validation says what
/// to write.
#[macro_export]
macro_rules! object {
    ($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$doc:meta])* $key:literal $($required:ident)? => $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        // The specification documents each member; comments here only add what it leaves open.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name $(<$life>)? { $($(#[$doc])* pub $field: $type,)* }

        impl<'de $(: $life, $life)?> $crate::Object<'de> for $name $(<$life>)? {
            fn members(&self) -> (&'static [&'static str], u32) {
                const REQUIRED: u32 = {
                    let places = [$($crate::is_required!($($required)?),)*];
                    let (mut bits, mut place) = (0, 0);
                    while place < places.len() {
                        bits |= (places[place] as u32) << place;
                        place += 1;
                    }
                    bits
                };
                (&[$($key,)*], REQUIRED)
            }

            fn member(&mut self, place: usize) -> Option<&mut dyn $crate::Value<'de>> {
                let mut at = 0;
                $(
                    if place == at {
                        return Some(&mut self.$field);
                    }
                    at += 1;
                )*
                debug_assert!(place < at, "a place among the members'");
                None
            }
        }

        impl<'de $(: $life, $life)?> $crate::Value<'de> for $name $(<$life>)? {
            fn read(
                &mut self,
                reader: &mut $crate::Reader<'de>,
            ) -> std::result::Result<(), $crate::Failed> {
                reader.object(self)
            }
        }

    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! is_required {
    () => {
        false
    };
    (required) => {
        true
    };
}

/// The indices of the keys in sorted order, equal keys side by side.
fn in_order(keys: &[&str]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order::sort(&mut order, |&left, &right| (keys[left], left) < (keys[right], right));
    order
}

/// The index of a key that occurs for the second time.
pub fn first_repeated(keys: &[&str]) -> Option<usize> {
    in_order(keys).windows(2).find(|pair| keys[pair[0]] == keys[pair[1]]).map(|pair| pair[1])
}

/// For repeated keys: the indices of the elements to keep, in order, such that the last of equal keys counts
/// and stands at the place of the first. `None` if no key is repeated.
pub fn latest_of_each(keys: &[&str]) -> Option<Vec<usize>> {
    let order = in_order(keys);
    let same = |left: &usize, right: &usize| keys[*left] == keys[*right];
    if !order.windows(2).any(|pair| same(&pair[0], &pair[1])) {
        return None;
    }
    let mut latest = vec![None; keys.len()];
    for equal in order.chunk_by(same) {
        latest[equal[0]] = equal.last().copied();
    }
    Some(latest.into_iter().flatten().collect())
}

/// The elements at `places`, each of which occurs once.
pub fn pick<T>(elements: Vec<T>, places: &[usize]) -> Vec<T> {
    let mut elements: Vec<Option<T>> = elements.into_iter().map(Some).collect();
    places.iter().filter_map(|&place| elements[place].take()).collect()
}
