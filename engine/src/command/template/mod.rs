//! Templates of `--format`: as much of Go's as people use with Docker: fields, `range`, `if`, `index`, `json`, `len`, `join` …

mod parse;

pub use parse::parse;
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
