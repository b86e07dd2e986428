//! Reading JSON into spec structs: borrowed strings, field paths in errors, bounded depth.
//!
//! serde-json-core reports what went wrong but not where, so every object and list notes its own place on
//! the way out of a failure: [`parse`] puts the pieces together to `process.user.uid`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

thread_local! {
    /// The pieces of the path to the value that failed, innermost first.
    static FAILED_AT: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
}

/// One piece of a path into a document.
#[derive(Debug, Clone)]
pub enum Step {
    /// A member of an object.
    Member(Cow<'static, str>),
    /// An element of a list.
    Element(usize),
}

/// Notes that the value at `step` of the innermost container failed; called while an error travels outwards.
pub fn note_failure(step: Step) {
    FAILED_AT.with_borrow_mut(|path| path.push(step));
}

/// A JSON string with its escapes resolved; borrowed from the document unless it had any.
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

/// A JSON list; like a `Vec`, but its errors know which element failed.
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

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut elements = Vec::new();
                loop {
                    match seq.next_element() {
                        Ok(Some(element)) => elements.push(element),
                        Ok(None) => return Ok(List(elements)),
                        Err(error) => {
                            note_failure(Step::Element(elements.len()));
                            return Err(error);
                        }
                    }
                }
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// A JSON object with free keys, in the document's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map<'a, T>(pub Vec<(Text<'a>, T)>);

impl<'a, T> Deref for Map<'a, T> {
    type Target = [(Text<'a>, T)];
    fn deref(&self) -> &[(Text<'a>, T)] {
        &self.0
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Map<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'a, T>(PhantomData<(&'a (), T)>);
        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Members<'a, T> {
            type Value = Map<'a, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<Text<'a>>()? {
                    match map.next_value() {
                        Ok(value) => members.push((key, value)),
                        Err(error) => {
                            note_failure(Step::Member(Cow::Owned(key.to_string())));
                            return Err(error);
                        }
                    }
                }
                Ok(Map(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Defines a struct that is read from a JSON object: unknown members are skipped, `null` counts as absent.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? { $($(#[$doc:meta])* $key:literal => $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        // The specification documents each member; only what it leaves open is said here.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name $(<$life>)? { $($(#[$doc])* pub $field: $type,)* }

        impl<'de $(: $life, $life)?> serde::de::Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members $(<$life>(std::marker::PhantomData<&$life ()>))?;
                impl<'de $(: $life, $life)?> serde::de::Visitor<'de> for Members $(<$life>)? {
                    type Value = $name $(<$life>)?;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut object = Self::Value::default();
                        while let Some(key) = map.next_key::<$crate::spec::json::Text<'de>>()? {
                            match &*key {
                                $($key => match map.next_value::<Option<$type>>() {
                                    Ok(value) => object.$field = value.unwrap_or_default(),
                                    Err(error) => {
                                        $crate::spec::json::note_failure($crate::spec::json::Step::Member($key.into()));
                                        return Err(error);
                                    }
                                },)*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(object!(@visitor Members $($life)?))
            }
        }
    };
    (@visitor $members:ident $life:lifetime) => { $members(std::marker::PhantomData) };
    (@visitor $members:ident) => { $members };
}
pub(crate) use object;

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Characters<'a> {
            type Value = Text<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, escaped: &'de str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Borrowed(escaped)))
            }
        }
        deserializer.deserialize_str(Characters(PhantomData))
    }
}
