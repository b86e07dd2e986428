//! Strings for the kernel: each ends with a NUL.

use std::ffi::CString;

use pillbox_init::wire::Strings;

use crate::error::{Error, Result};

/// A string for the kernel; it cannot fail for fields that validation has checked for NULs.
pub(super) fn c_string(field: &str, text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::formatted(format_args!("{field}: {text:?} has a NUL character in it")))
}

/// Strings one after the other, each with its NUL.
pub(super) fn string_bytes<'s>(strings: impl Iterator<Item = &'s str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for string in strings {
        bytes.extend_from_slice(string.as_bytes());
        bytes.push(0);
    }
    bytes
}

pub(super) fn strings(bytes: &[u8]) -> Result<Strings<'_>> {
    Strings::new(bytes).map_err(|_| Error::new("a list of strings is too long"))
}
