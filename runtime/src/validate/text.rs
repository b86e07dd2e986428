//! Rules for single strings.

use std::fmt;

use super::reject;
use crate::error::{Error, Result};
use crate::spec::json::Text;

/// A string for the kernel: it ends at the first NUL there.
pub(super) fn check_text(field: fmt::Arguments<'_>, text: &str) -> Result<()> {
    if text.contains('\0') {
        reject!("{field}: {text:?} contains a NUL character");
    }
    Ok(())
}

pub(super) fn check_texts(field: &str, texts: &[Text<'_>]) -> Result<()> {
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

/// A string that may be absent; callers write an empty one for that, too.
pub(super) fn optional<'a>(field: &str, text: Option<Text<'a>>) -> Result<Option<Text<'a>>> {
    let text = text.filter(|text| !text.is_empty());
    check_text(format_args!("{field}"), text.as_deref().unwrap_or_default())?;
    Ok(text)
}

pub(super) fn check_name(field: &str, name: &str, known: &[&str]) -> Result<()> {
    if known.contains(&name) {
        return Ok(());
    }
    Err(Error::new(format!("{field}: {name:?} is not one of {}", known.join(", "))))
}

pub(super) fn check_names(field: &str, names: &[Text<'_>], known: &[&str]) -> Result<()> {
    let mut names = names.iter().enumerate();
    names.try_for_each(|(index, name)| check_name(&format!("{field}[{index}]"), name, known))
}
