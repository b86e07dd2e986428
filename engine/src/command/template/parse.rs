//! Reading templates.

use serde_json::Value;

use super::{Expression, Part};
use crate::error::{Error, Result};

/// The functions that there are, and how many values they take at least.
const FUNCTIONS: [(&str, usize); 13] = [
    ("json", 1),
    ("index", 2),
    ("len", 1),
    ("join", 2),
    ("lower", 1),
    ("upper", 1),
    ("println", 0),
    ("print", 0),
    ("eq", 2),
    ("ne", 2),
    ("not", 1),
    ("and", 1),
    ("or", 1),
];

/// Reads a template.
///
/// # Errors
/// It has what is not known here; the error names it.
pub fn parse(text: &str) -> Result<Vec<Part>> {
    let pieces = pieces(text)?;
    let mut rest = pieces.iter();
    let (parts, end) = parts(&mut rest)?;
    match end {
        None => Ok(parts),
        Some(word) => Err(Error::invalid(format!("{{{{{word}}}}} without a beginning"))),
    }
}

enum Piece {
    Text(String),
    Action(String),
}

/// Text and actions. `{{-` and `-}}` take the space beside them away.
fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let (mut rest, mut trims) = (text, false);
    while let Some(start) = rest.find("{{") {
        let (before, behind) = (&rest[..start], &rest[start + 2..]);
        let (inside, behind) = behind.split_once("}}").ok_or_else(|| Error::invalid("a }} is missing"))?;
        let before = if trims { before.trim_start() } else { before };
        let left = inside.strip_prefix("- ");
        pieces.push(Piece::Text(if left.is_some() { before.trim_end() } else { before }.to_string()));
        let inside = left.unwrap_or(inside);
        trims = inside.ends_with(" -");
        pieces.push(Piece::Action(inside.strip_suffix(" -").unwrap_or(inside).trim().to_string()));
        rest = behind;
    }
    pieces.push(Piece::Text(if trims { rest.trim_start() } else { rest }.to_string()));
    Ok(pieces)
}

/// Parts until an `end` or `else` that belongs to somebody above, which is the second result.
fn parts<'a>(rest: &mut std::slice::Iter<'a, Piece>) -> Result<(Vec<Part>, Option<&'a str>)> {
    let mut found = Vec::new();
    while let Some(piece) = rest.next() {
        let action = match piece {
            Piece::Text(text) => {
                found.push(Part::Text(text.clone()));
                continue;
            }
            Piece::Action(action) => action.as_str(),
        };
        let (word, behind) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
        match word {
            "end" => return Ok((found, Some("end"))),
            "else" => return Ok((found, Some(action))),
            "range" => {
                let (names, of) = match behind.split_once(":=") {
                    Some((names, of)) => (names.split(',').map(|name| name.trim().to_string()).collect(), of),
                    None => (Vec::new(), behind),
                };
                let (each, otherwise) = branches(rest)?;
                found.push(Part::Range { of: expression(of)?, names, each, otherwise });
            }
            "if" => {
                let (then, otherwise) = branches(rest)?;
                found.push(Part::If { condition: expression(behind)?, then, otherwise });
            }
            _ => found.push(Part::Show(expression(action)?)),
        }
    }
    Ok((found, None))
}

fn branches<'a>(rest: &mut std::slice::Iter<'a, Piece>) -> Result<(Vec<Part>, Vec<Part>)> {
    let (first, end) = parts(rest)?;
    match end {
        Some("end") => Ok((first, Vec::new())),
        Some("else") => match parts(rest)? {
            (second, Some("end")) => Ok((first, second)),
            _ => Err(Error::invalid("{{end}} is missing")),
        },
        Some(other) => match other.strip_prefix("else if ") {
            Some(condition) => {
                let (then, otherwise) = branches(rest)?;
                Ok((first, vec![Part::If { condition: expression(condition)?, then, otherwise }]))
            }
            None => Err(Error::invalid(format!("{{{{{other}}}}}: must be {{{{else}}}}"))),
        },
        None => Err(Error::invalid("{{end}} is missing")),
    }
}

/// `A | B x`: what comes out of the first one is the last value of the second.
fn expression(text: &str) -> Result<Expression> {
    let mut value: Option<Expression> = None;
    for stage in split_pipes(text) {
        let mut words = words(&stage)?;
        words.extend(value.take());
        value = Some(call(words, text)?);
    }
    value.ok_or_else(|| Error::invalid("{{}} is empty"))
}

fn split_pipes(text: &str) -> Vec<String> {
    let (mut stages, mut is_quoted) = (vec![String::new()], false);
    for letter in text.chars() {
        is_quoted ^= letter == '"';
        match stages.last_mut() {
            Some(stage) if letter != '|' || is_quoted => stage.push(letter),
            _ => stages.push(String::new()),
        }
    }
    stages
}

/// The first word may be a function's, and the others are its values.
fn call(words: Vec<Expression>, text: &str) -> Result<Expression> {
    let mut words = words.into_iter();
    match (words.next(), words.len()) {
        (Some(Expression::Call(name, inner)), _) if inner.is_empty() => {
            let values: Vec<Expression> = words.collect();
            match FUNCTIONS.iter().find(|(known, _)| *known == name) {
                Some((_, least)) if values.len() >= *least => Ok(Expression::Call(name, values)),
                Some(_) => Err(Error::invalid(format!("{{{{{}}}}}: a value is missing", text.trim()))),
                None => Err(Error::invalid(format!(
                    "{name}: there are fields such as {{{{.ID}}}}, and range, if, {}",
                    FUNCTIONS.map(|(known, _)| known).join(", ")
                ))),
            }
        }
        (Some(value), 0) => Ok(value),
        _ => Err(Error::invalid(format!(
            "{{{{{}}}}}: must be one value, or a function with values",
            text.trim()
        ))),
    }
}

fn words(text: &str) -> Result<Vec<Expression>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' => {
                let end = rest[1..].find('"').ok_or_else(|| Error::invalid("a \" is missing"))?;
                (Expression::Literal(Value::String(rest[1..=end].to_string())), &rest[end + 2..])
            }
            '(' => {
                let end = closing(rest).ok_or_else(|| Error::invalid("a ) is missing"))?;
                (expression(&rest[1..end])?, &rest[end + 1..])
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (word(&rest[..end])?, &rest[end..])
            }
        };
        found.push(word);
        rest = behind.trim_start();
    }
    Ok(found)
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    text.char_indices().find_map(|(index, letter)| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(index)
    })
}

fn word(text: &str) -> Result<Expression> {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    let path = |path: &str| -> Result<Vec<String>> {
        let names: Vec<&str> = path.split('.').filter(|name| !name.is_empty()).collect();
        match names.iter().find(|name| !is_name(name)) {
            Some(_) => Err(Error::invalid(format!("{text}: not a field"))),
            None => Ok(names.into_iter().map(str::to_string).collect()),
        }
    };
    match text.chars().next() {
        Some('.') => Ok(Expression::Field(None, path(text)?)),
        Some('$') => {
            let (name, rest) = text.split_once('.').unwrap_or((text, ""));
            Ok(Expression::Field(Some(name.to_string()), path(rest)?))
        }
        Some(digit) if digit.is_ascii_digit() || digit == '-' => text
            .parse::<i64>()
            .map(|number| Expression::Literal(number.into()))
            .map_err(|_| Error::invalid(format!("{text}: not a number"))),
        _ if matches!(text, "true" | "false") => Ok(Expression::Literal((text == "true").into())),
        _ if is_name(text) => Ok(Expression::Call(text.to_string(), Vec::new())),
        _ => Err(Error::invalid(format!("{text}: not a field and not a function"))),
    }
}
