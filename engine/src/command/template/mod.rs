//! Templates of `--format`: as much of Go's as people use with Docker: fields, `range`, `if`, `with`, and Docker's functions.

mod function;
mod parse;
#[cfg(test)]
mod tests;

pub use parse::parse;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::message;

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// A value.
    Show(Expression),
    /// The same for each member, or else.
    Range { of: Expression, names: Vec<String>, each: Vec<Part>, otherwise: Vec<Part> },
    /// One or the other. The value may have a name there.
    If { condition: Expression, name: Option<String>, then: Vec<Part>, otherwise: Vec<Part> },
    /// From where something stands that is not empty, or else.
    With { of: Expression, name: Option<String>, then: Vec<Part>, otherwise: Vec<Part> },
    /// A name for a value until the end of the block.
    Declare(String, Expression),
    /// Another value for a name.
    Assign(String, Expression),
}

/// What has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `.A.B`, `$name.A`: from a variable, or from where the template stands.
    Field(Option<String>, Vec<String>),
    /// `(A).B.C`: from what stands in brackets.
    Inner(Box<Expression>, Vec<String>),
    /// A text, a number.
    Literal(Value),
    /// `.Label "name"`, which is Docker's.
    Label(Box<Expression>),
    /// A function of others.
    Call(String, Vec<Expression>),
}

/// Fields that Docker's documents have only where there is something, each behind one by which such a document is known. Templates
/// ask whether there is something: `{{if .State.Health}}`.
const OPTIONAL: [(&str, &str); 8] = [
    ("ExitCode", "Health"),
    ("Destination", "Driver"),
    ("Destination", "Name"),
    ("Labels", "ExposedPorts"),
    ("Labels", "Healthcheck"),
    ("Labels", "Shell"),
    ("Labels", "StopSignal"),
    ("Labels", "StopTimeout"),
];

/// The member with the labels of a row, which `.Label` looks into, and which is no field.
pub const LABELS: &str = "Label";

/// What a template is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    /// A row's values.
    Row,
    /// A row's values as cells of a table.
    Cells,
    /// What stands above them.
    Heads,
}

/// Where the template stands.
#[derive(Clone, Copy)]
struct Scope<'a> {
    filling: Filling,
    labels: &'a Value,
    dot: &'a Value,
}

/// The values of names, the innermost last.
type Names<'a> = Vec<(&'a str, Value)>;

/// Fills a template in.
///
/// # Errors
/// There is no such field; the error says which there are.
pub fn fill(parts: &[Part], row: &Value) -> Result<String> {
    fill_with(parts, row, Filling::Row)
}

/// The same for a line of a table: nothing in a value begins another cell or line.
///
/// # Errors
/// As for [`fill`].
pub fn fill_cells(parts: &[Part], row: &Value) -> Result<String> {
    fill_with(parts, row, Filling::Cells)
}

/// The line above a table; `heads` are the names of columns by their fields.
///
/// # Errors
/// As for [`fill`].
pub fn fill_heads(parts: &[Part], heads: &Value) -> Result<String> {
    fill_with(parts, heads, Filling::Heads)
}

fn fill_with(parts: &[Part], row: &Value, filling: Filling) -> Result<String> {
    let mut row = row.clone();
    let labels = row.as_object_mut().and_then(|row| row.remove(LABELS)).unwrap_or_default();
    block(parts, Scope { filling, labels: &labels, dot: &row }, &mut vec![("$", row.clone())])
}

/// Parts of a block, whose names are nobody's behind it.
fn block<'a>(parts: &'a [Part], scope: Scope<'_>, names: &mut Names<'a>) -> Result<String> {
    let outer = names.len();
    let text = fill_in(parts, scope, names);
    names.truncate(outer);
    text
}

fn fill_in<'a>(parts: &'a [Part], scope: Scope<'_>, names: &mut Names<'a>) -> Result<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(part) => text += part,
            Part::Show(expression) => {
                let shown = shown(&value(expression, scope, names)?);
                match scope.filling {
                    Filling::Row => text += &shown,
                    Filling::Cells | Filling::Heads => text += &message::line(&shown),
                }
            }
            Part::Declare(name, expression) => {
                let value = value(expression, scope, names)?;
                names.push((name, value));
            }
            Part::Assign(name, expression) => {
                let value = value(expression, scope, names)?;
                let found = names.iter_mut().rev().find(|(known, _)| known == name);
                found.ok_or_else(|| unknown(name))?.1 = value;
            }
            Part::If { condition, name, then, otherwise } => {
                let condition = value(condition, scope, names)?;
                text += &branch(&condition, scope, name.as_deref(), [then, otherwise], names)?;
            }
            Part::With { of, name, then, otherwise } => {
                let value = value(of, scope, names)?;
                let inner = if is_true(&value) { Scope { dot: &value, ..scope } } else { scope };
                text += &branch(&value, inner, name.as_deref(), [then, otherwise], names)?;
            }
            Part::Range { of, names: members_names, each, otherwise } => {
                let members = match value(of, scope, names)? {
                    // What stands above it has none.
                    Value::String(_) if scope.filling == Filling::Heads => Vec::new(),
                    value => members(&value)?,
                };
                text += &match members.is_empty() {
                    true => block(otherwise, scope, names)?,
                    false => repeat(each, members_names, members, scope, names)?,
                };
            }
        }
    }
    Ok(text)
}

/// The first one if the value is true, which has a name in both.
fn branch<'a>(
    value: &Value,
    scope: Scope<'_>,
    name: Option<&'a str>,
    [then, otherwise]: [&'a [Part]; 2],
    names: &mut Names<'a>,
) -> Result<String> {
    let outer = names.len();
    names.extend(name.map(|name| (name, value.clone())));
    let text = block(if is_true(value) { then } else { otherwise }, scope, names);
    names.truncate(outer);
    text
}

fn repeat<'a>(
    each: &'a [Part],
    own: &'a [String],
    members: Vec<(Value, Value)>,
    scope: Scope<'_>,
    names: &mut Names<'a>,
) -> Result<String> {
    let outer = names.len();
    let one = |(key, member): (Value, Value)| {
        // One name is the value's, of two the first is the key's.
        match own {
            [name, of_value] => names.extend([(name.as_str(), key), (of_value.as_str(), member.clone())]),
            own => names.extend(own.iter().map(|name| (name.as_str(), member.clone()))),
        }
        let text = block(each, Scope { dot: &member, ..scope }, names);
        names.truncate(outer);
        text
    };
    members.into_iter().map(one).collect()
}

fn members(value: &Value) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(members) => {
            Ok(members.iter().enumerate().map(|(index, member)| (index.into(), member.clone())).collect())
        }
        Value::Object(members) => {
            Ok(members.iter().map(|(name, member)| (name.as_str().into(), member.clone())).collect())
        }
        other => Err(Error::invalid(format!("{other} has no members"))),
    }
}

fn value(expression: &Expression, scope: Scope<'_>, names: &Names<'_>) -> Result<Value> {
    match expression {
        Expression::Literal(value) => Ok(value.clone()),
        Expression::Field(None, path) => field(scope.dot, path, scope),
        Expression::Field(Some(name), path) => {
            let found = names.iter().rev().find(|(known, _)| known == name);
            field(&found.ok_or_else(|| unknown(name))?.1, path, scope)
        }
        Expression::Inner(inner, path) => match value(inner, scope, names)? {
            // What is above a column is no row's value.
            value if scope.filling == Filling::Heads => Ok(value),
            value => field(&value, path, scope),
        },
        Expression::Label(name) => {
            let name = shown(&value(name, scope, names)?);
            Ok(match scope.filling {
                Filling::Heads => name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ").into(),
                Filling::Row | Filling::Cells => scope.labels.get(name).cloned().unwrap_or_else(|| "".into()),
            })
        }
        // What stands behind the one that decides is not looked at: it may be a field of what is not there.
        Expression::Call(name, values) if matches!(name.as_str(), "and" | "or") => {
            let mut last = Value::Null;
            for one in values {
                last = value(one, scope, names)?;
                if is_true(&last) == (name == "or") {
                    break;
                }
            }
            Ok(last)
        }
        Expression::Call(name, values) => {
            let values = values.iter().map(|one| value(one, scope, names)).collect::<Result<Vec<_>>>()?;
            match scope.filling {
                Filling::Heads if function::is_dockers(name) => {
                    Ok(values.into_iter().next().unwrap_or_default())
                }
                _ => function::call(name, &values),
            }
        }
    }
}

fn field(value: &Value, path: &[String], scope: Scope<'_>) -> Result<Value> {
    let mut value = value;
    for name in path {
        value = match value.get(name) {
            Some(value) => value,
            None if scope.filling == Filling::Heads => {
                return Ok(path.last().map(|name| name.to_uppercase()).unwrap_or_default().into());
            }
            None if is_optional(value, name) => &Value::Null,
            None => return Err(missing(value, name)),
        };
    }
    Ok(value.clone())
}

fn is_optional(value: &Value, name: &str) -> bool {
    OPTIONAL.iter().any(|(beside, optional)| *optional == name && value.get(beside).is_some())
}

fn unknown(name: &str) -> Error {
    Error::invalid(format!("{name}: there is no such variable"))
}

fn missing(value: &Value, name: &str) -> Error {
    let known = value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
    let known = known.filter(|known| !known.is_empty()).unwrap_or_else(|| "none".to_string());
    Error::invalid(format!("there is no field {name}: there are {known}"))
}

/// Go's rule: what is empty, zero or nothing is false.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(members) => !members.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// As Go shows it: lists as `[a b]`, maps as `map[a:1]`.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(members) => format!("[{}]", members.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| format!("{name}:{}", shown(member)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
        value => value.to_string(),
    }
}
