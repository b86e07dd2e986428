//! Reading templates.

use serde_json::Value;

use super::function::FUNCTIONS;
use super::{Expression, LABELS, Part};
use crate::error::{Error, Result};

/// How deep blocks, brackets and pipes may be nested: nobody writes more, and each level takes room on the stack.
const DEPTH_MAX: usize = 100;

/// Reads a template.
///
/// # Errors
/// It has what is not known here; the error names it.
pub fn parse(text: &str) -> Result<Vec<Part>> {
    let pieces = pieces(text)?;
    let mut rest = pieces.iter();
    let (parts, end) = parts(&mut rest, 0)?;
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
        let end = action_end(behind).ok_or_else(|| Error::invalid("a }} is missing"))?;
        let (inside, behind) = (&behind[..end], &behind[end + 2..]);
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

/// Where the braces are that no quotes are around.
fn action_end(text: &str) -> Option<usize> {
    let (mut quote, mut is_escaped) = (None, false);
    for (index, letter) in text.char_indices() {
        match (quote, letter) {
            _ if is_escaped => is_escaped = false,
            (Some('"'), '\\') => is_escaped = true,
            (Some(open), letter) => quote = quote.filter(|_| open != letter),
            (None, '"' | '`') => quote = Some(letter),
            (None, '}') if text[index..].starts_with("}}") => return Some(index),
            (None, _) => {}
        }
    }
    None
}

fn deeper(depth: usize) -> Result<usize> {
    match depth < DEPTH_MAX {
        true => Ok(depth + 1),
        false => Err(Error::invalid(format!("nested deeper than {DEPTH_MAX} levels"))),
    }
}

/// Parts until an `end` or `else` that belongs to somebody above, which is the second result.
fn parts<'a>(rest: &mut std::slice::Iter<'a, Piece>, depth: usize) -> Result<(Vec<Part>, Option<&'a str>)> {
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
                let (names, of) =
                    declaration(behind).map_or((Vec::new(), behind), |(names, _, of)| (names, of));
                let (each, otherwise) = branches(rest, deeper(depth)?)?;
                found.push(Part::Range { of: expression(of, 0)?, names, each, otherwise });
            }
            "if" => {
                let (then, otherwise) = branches(rest, deeper(depth)?)?;
                let (name, condition) = named(behind)?;
                found.push(Part::If { condition: expression(condition, 0)?, name, then, otherwise });
            }
            "with" => {
                let (then, otherwise) = branches(rest, deeper(depth)?)?;
                let (name, of) = named(behind)?;
                found.push(Part::With { of: expression(of, 0)?, name, then, otherwise });
            }
            _ if action.starts_with("/*") && action.ends_with("*/") => {}
            _ => found.push(match (declaration(action), named(action)?) {
                (Some((_, is_new, _)), (Some(name), of)) => {
                    let value = expression(of, 0)?;
                    if is_new { Part::Declare(name, value) } else { Part::Assign(name, value) }
                }
                _ => Part::Show(expression(action, 0)?),
            }),
        }
    }
    Ok((found, None))
}

/// `$name := VALUE`, `$name, $other := VALUE`, `$name = VALUE`: the names, whether they are new, and the value.
fn declaration(text: &str) -> Option<(Vec<String>, bool, &str)> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && !"$_, \t\n".contains(letter))?;
    let (names, rest) = text.split_at(end);
    let of = rest.strip_prefix(":=").or_else(|| rest.strip_prefix('='))?;
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_string()).collect();
    let is_name =
        |name: &String| name.len() > 1 && name.rfind('$') == Some(0) && !name.contains(char::is_whitespace);
    names.iter().all(is_name).then_some((names, rest.starts_with(':'), of))
}

/// The same where there is one name at most.
fn named(text: &str) -> Result<(Option<String>, &str)> {
    match declaration(text) {
        Some((names, _, of)) if names.len() == 1 => Ok((names.into_iter().next(), of)),
        Some(_) => Err(Error::invalid(format!("{{{{{}}}}}: two names are those of range", text.trim()))),
        None => Ok((None, text)),
    }
}

fn branches<'a>(rest: &mut std::slice::Iter<'a, Piece>, depth: usize) -> Result<(Vec<Part>, Vec<Part>)> {
    let (first, end) = parts(rest, depth)?;
    match end {
        Some("end") => Ok((first, Vec::new())),
        Some("else") => match parts(rest, depth)? {
            (second, Some("end")) => Ok((first, second)),
            _ => Err(Error::invalid("{{end}} is missing")),
        },
        Some(other) => match other.strip_prefix("else if ") {
            Some(condition) => {
                let (then, otherwise) = branches(rest, deeper(depth)?)?;
                let (name, condition) = named(condition)?;
                Ok((first, vec![Part::If { condition: expression(condition, 0)?, name, then, otherwise }]))
            }
            None => Err(Error::invalid(format!("{{{{{other}}}}}: must be {{{{else}}}}"))),
        },
        None => Err(Error::invalid("{{end}} is missing")),
    }
}

/// `A | B x`: what comes out of the first one is the last value of the second.
fn expression(text: &str, depth: usize) -> Result<Expression> {
    let mut value: Option<Expression> = None;
    let mut depth = depth;
    for stage in split_pipes(text) {
        depth = deeper(depth)?;
        let mut words = words(&stage, depth)?;
        words.extend(value.take());
        value = Some(call(words, text)?);
    }
    value.ok_or_else(|| Error::invalid("{{}} is empty"))
}

fn split_pipes(text: &str) -> Vec<String> {
    let (mut stages, mut rest, mut depth) = (vec![String::new()], text, 0usize);
    while let Some(letter) = rest.chars().next() {
        // What stands in quotes or brackets is the stage's own.
        let length = quoted(rest).unwrap_or(letter.len_utf8());
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match stages.last_mut() {
            Some(stage) if letter != '|' || depth > 0 => stage.push_str(&rest[..length]),
            _ => stages.push(String::new()),
        }
        rest = &rest[length..];
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
                    "{name}: there are fields such as {{{{.ID}}}}, and range, if, with, {}",
                    FUNCTIONS.map(|(known, _)| known).join(", ")
                ))),
            }
        }
        (Some(Expression::Field(None, path)), 1) if path == [LABELS] => {
            let name = words.next().unwrap_or(Expression::Literal(Value::Null));
            Ok(Expression::Label(Box::new(name)))
        }
        (Some(value), 0) => Ok(value),
        _ => Err(Error::invalid(format!(
            "{{{{{}}}}}: must be one value, or a function with values",
            text.trim()
        ))),
    }
}

fn words(text: &str, depth: usize) -> Result<Vec<Expression>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' | '`' => {
                let end = quoted(rest).ok_or_else(|| Error::invalid(format!("a {first} is missing")))?;
                (Expression::Literal(literal(&rest[..end])?), &rest[end..])
            }
            '(' => {
                let end = closing(rest).ok_or_else(|| Error::invalid("a ) is missing"))?;
                let (inner, behind) = (expression(&rest[1..end], deeper(depth)?)?, &rest[end + 1..]);
                let (path, behind) =
                    behind.split_at(behind.find(char::is_whitespace).unwrap_or(behind.len()));
                match (path, word(path)) {
                    ("", _) => (inner, behind),
                    (_, Ok(Expression::Field(None, path))) => {
                        (Expression::Inner(Box::new(inner), path), behind)
                    }
                    _ => {
                        return Err(Error::invalid(format!(
                            "{{{{{}}}}}: must be one value, or a function with values",
                            text.trim()
                        )));
                    }
                }
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

/// Where a text in quotes, which stands at the beginning, is over.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '`'))?;
    let mut is_escaped = false;
    text.char_indices().skip(1).find_map(|(index, letter)| {
        let is_end = letter == quote && !is_escaped;
        is_escaped = quote == '"' && letter == '\\' && !is_escaped;
        is_end.then_some(index + 1)
    })
}

/// What stands in quotes, as Go reads it.
fn literal(text: &str) -> Result<Value> {
    let inner = &text[1..text.len() - 1];
    if text.starts_with('`') {
        return Ok(inner.into());
    }
    // Tabs and line ends may have been put in for their names.
    let text = text.replace('\t', "\\t").replace('\n', "\\n");
    serde_json::from_str(&text).map_err(|error| Error::invalid(format!("{text}: {error}")))
}

fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut index) = (0usize, 0);
    while let Some(letter) = text[index..].chars().next() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
        index += quoted(&text[index..]).unwrap_or(letter.len_utf8());
    }
    None
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
        Some(digit) if digit.is_ascii_digit() || digit == '-' => {
            let number =
                text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from));
            number.map(Expression::Literal).map_err(|_| Error::invalid(format!("{text}: not a number")))
        }
        _ if matches!(text, "true" | "false") => Ok(Expression::Literal((text == "true").into())),
        _ if is_name(text) => Ok(Expression::Call(text.to_string(), Vec::new())),
        _ => Err(Error::invalid(format!("{text}: not a field and not a function"))),
    }
}
