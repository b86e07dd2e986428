//! Templates of `--format`: as much of Go's as people use with Docker: fields, `range`, `if`, `index`, `json`, `len`, `join` …

use serde_json::Value;

use crate::error::{Error, Result};

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// A value.
    Show(Expression),
    /// The same for each member, or else.
    Range { of: Expression, names: Vec<String>, each: Vec<Part>, otherwise: Vec<Part> },
    /// One or the other.
    If { condition: Expression, then: Vec<Part>, otherwise: Vec<Part> },
}

/// What has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `.A.B`, `$name.A`: from a variable, or from where the template stands.
    Field(Option<String>, Vec<String>),
    /// A text, a number.
    Literal(Value),
    /// A function of others.
    Call(String, Vec<Expression>),
}

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

/// The values of names, and where the template stands.
struct Scope<'a> {
    dot: &'a Value,
    names: Vec<(&'a str, Value)>,
}

/// Fills a template in.
///
/// # Errors
/// There is no such field; the error says which there are.
pub fn fill(parts: &[Part], row: &Value) -> Result<String> {
    fill_in(parts, &Scope { dot: row, names: vec![("$", row.clone())] })
}

fn fill_in(parts: &[Part], scope: &Scope<'_>) -> Result<String> {
    let mut text = String::new();
    for part in parts {
        text += &match part {
            Part::Text(part) => part.clone(),
            Part::Show(expression) => shown(&value(expression, scope)?),
            Part::If { condition, then, otherwise } => {
                let branch = if is_true(&value(condition, scope)?) { then } else { otherwise };
                fill_in(branch, scope)?
            }
            Part::Range { of, names, each, otherwise } => {
                let members = members(&value(of, scope)?)?;
                if members.is_empty() {
                    fill_in(otherwise, scope)?
                } else {
                    let all = members.iter().map(|(key, member)| {
                        let mut inner = scope.names.clone();
                        // One name is the value's, of two the first is the key's.
                        if let [.., name] = &names[..] {
                            inner.push((name, member.clone()));
                        }
                        if let [name, _] = &names[..] {
                            inner.push((name, key.clone()));
                        }
                        fill_in(each, &Scope { dot: member, names: inner })
                    });
                    all.collect::<Result<String>>()?
                }
            }
        };
    }
    Ok(text)
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
        other => Err(Error::invalid(format!("range: {other} has no members"))),
    }
}

fn value(expression: &Expression, scope: &Scope<'_>) -> Result<Value> {
    match expression {
        Expression::Literal(value) => Ok(value.clone()),
        Expression::Field(name, path) => {
            let mut value = match name {
                None => scope.dot,
                Some(name) => {
                    let found = scope.names.iter().rev().find(|(known, _)| known == name);
                    &found.ok_or_else(|| Error::invalid(format!("{name}: there is no such variable")))?.1
                }
            };
            for name in path {
                value = value.get(name).ok_or_else(|| missing(value, name))?;
            }
            Ok(value.clone())
        }
        Expression::Call(name, values) => {
            let values = values.iter().map(|one| value(one, scope)).collect::<Result<Vec<_>>>()?;
            function(name, &values)
        }
    }
}

fn missing(value: &Value, name: &str) -> Error {
    let known = value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
    let known = known.filter(|known| !known.is_empty()).unwrap_or_else(|| "none".to_string());
    Error::invalid(format!("there is no field {name}: there are {known}"))
}

fn function(name: &str, values: &[Value]) -> Result<Value> {
    let all = || values.iter().map(shown).collect::<Vec<_>>().join(" ");
    Ok(match (name, values) {
        ("json", [value, ..]) => value.to_string().into(),
        ("index", [value, keys @ ..]) => keys.iter().fold(value.clone(), |value, key| {
            let found = match key {
                Value::String(name) => value.get(name),
                key => key.as_u64().and_then(|index| value.get(usize::try_from(index).ok()?)),
            };
            // As with Go's maps, what is not there is nothing.
            found.cloned().unwrap_or_default()
        }),
        ("len", [value, ..]) => match value {
            Value::String(text) => text.len().into(),
            value => members(value)?.len().into(),
        },
        ("join", [value, separator, ..]) => {
            let words: Vec<String> = members(value)?.iter().map(|(_, member)| shown(member)).collect();
            words.join(&shown(separator)).into()
        }
        ("lower", [value, ..]) => shown(value).to_lowercase().into(),
        ("upper", [value, ..]) => shown(value).to_uppercase().into(),
        ("println", _) => (all() + "\n").into(),
        ("eq", [one, others @ ..]) => others.contains(one).into(),
        ("ne", [one, other, ..]) => (one != other).into(),
        ("not", [value, ..]) => (!is_true(value)).into(),
        ("and", values) => {
            values.iter().find(|value| !is_true(value)).or(values.last()).cloned().unwrap_or_default()
        }
        ("or", values) => {
            values.iter().find(|value| is_true(value)).or(values.last()).cloned().unwrap_or_default()
        }
        _ => all().into(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn show(text: &str) -> String {
        let row = json!({
            "ID": "1",
            "State": {"Pid": 7, "Running": true},
            "Args": ["a", "b"],
            "Networks": {"one": {"IP": "10.0.0.2"}, "two": {"IP": ""}},
            "Labels": {"com.example/x": "y"},
        });
        parse(text).and_then(|parts| fill(&parts, &row)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn templates_of_docker() {
        assert_eq!(show("{{.ID}}: {{ .State.Pid }} {{json .State}}"), "1: 7 {\"Pid\":7,\"Running\":true}");
        assert_eq!(show("{{range .Networks}}{{.IP}};{{end}}"), "10.0.0.2;;");
        assert_eq!(
            show("{{range $name, $net := .Networks}}{{$name}}={{$net.IP}} {{end}}"),
            "one=10.0.0.2 two= "
        );
        assert_eq!(show("{{index .Labels \"com.example/x\"}}{{index .Labels \"none\"}}"), "y");
        assert_eq!(show("{{index .Args 1}} {{len .Args}} {{join .Args \",\"}} {{.Args}}"), "b 2 a,b [a b]");
        assert_eq!(show("{{if .State.Running}}up{{else}}down{{end}}"), "up");
        assert_eq!(show("{{if eq .ID \"2\"}}two{{else if (eq .ID \"1\")}}one{{end}}"), "one");
        assert_eq!(show("{{range .Args -}}  {{upper . | println}}{{- end}}{{$.ID}}"), "A\nB\n1");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(show("{{.None}}"), "there is no field None: there are Args, ID, Labels, Networks, State");
        assert_eq!(show("{{.State.Pid.x}}"), "there is no field x: there are none");
        assert_eq!(show("{{.ID"), "a }} is missing");
        assert_eq!(show("{{range .Args}}"), "{{end}} is missing");
        assert_eq!(show("{{end}}"), "{{end}} without a beginning");
        assert!(
            show("{{title .ID}}").starts_with("title: there are fields such as {{.ID}}, and range, if, json")
        );
        assert_eq!(show("{{index .Args}}"), "{{index .Args}}: a value is missing");
        assert_eq!(show("{{.ID .ID}}"), "{{.ID .ID}}: must be one value, or a function with values");
        assert_eq!(show("{{$x}}"), "$x: there is no such variable");
    }
}
