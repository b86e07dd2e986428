//! Rules for strings.

use std::fmt;

use crate::error::{Error, Result};
use crate::oci::spec::json::Text;

/// Returns an error from the calling function.
macro_rules! reject {
    ($($message:tt)*) => { return Err($crate::validate::text::rejected(format_args!($($message)*))) };
}
pub(super) use reject;

#[cold]
pub(super) fn rejected(message: fmt::Arguments<'_>) -> Error {
    Error::new(message.to_string())
}

/// Checks a string for the kernel, where it would end at the first NUL.
pub(super) fn check_text(field: fmt::Arguments<'_>, text: &str) -> Result<()> {
    if text.contains('\0') {
        reject!("{field}: {text:?} contains a NUL character");
    }
    Ok(())
}

pub(super) fn check_texts(field: fmt::Arguments<'_>, texts: &[Text<'_>]) -> Result<()> {
    let mut texts = texts.iter().enumerate();
    texts.try_for_each(|(index, text)| check_text(format_args!("{field}[{index}]"), text))
}

pub(super) fn check_absolute(field: fmt::Arguments<'_>, path: &str) -> Result<()> {
    check_text(field, path)?;
    if path.is_empty() {
        reject!("{field}: missing: write an absolute path");
    }
    if !path.starts_with('/') {
        reject!("{field}: {path:?} is not absolute: write {:?}", format!("/{path}"));
    }
    Ok(())
}

/// Checks an optional string. Callers also write an empty one for an absent one.
pub(super) fn check_optional(field: fmt::Arguments<'_>, text: &mut Option<Text<'_>>) -> Result<()> {
    if text.as_ref().is_some_and(|text| text.is_empty()) {
        *text = None;
    }
    check_text(field, text.as_deref().unwrap_or_default())
}

pub(super) fn check_name(field: fmt::Arguments<'_>, name: &str, known: &[&str]) -> Result<()> {
    if known.contains(&name) {
        return Ok(());
    }
    reject!("{field}: {name:?} is not one of {}", known.join(", "))
}

pub(super) fn check_names(field: fmt::Arguments<'_>, names: &[Text<'_>], known: &[&str]) -> Result<()> {
    let mut names = names.iter().enumerate();
    names.try_for_each(|(index, name)| check_name(format_args!("{field}[{index}]"), name, known))
}
