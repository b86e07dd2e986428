//! Templates of `--format`: as much of Go's as people use with Docker: fields, `range`, `if`, `with`, and Docker's functions.

mod function;
mod parse;

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
    /// One or the other.
    If { condition: Expression, then: Vec<Part>, otherwise: Vec<Part> },
    /// From where something stands that is not empty, or else.
    With { of: Expression, then: Vec<Part>, otherwise: Vec<Part> },
}

/// What has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `.A.B`, `$name.A`: from a variable, or from where the template stands.
    Field(Option<String>, Vec<String>),
    /// A text, a number.
    Literal(Value),
    /// `.Label "name"`, which is Docker's.
    Label(Box<Expression>),
    /// A function of others.
    Call(String, Vec<Expression>),
}

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

/// The values of names, and where the template stands.
struct Scope<'a> {
    filling: Filling,
    labels: &'a Value,
    dot: &'a Value,
    names: Vec<(&'a str, Value)>,
}

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
    fill_in(parts, &Scope { filling, labels: &labels, dot: &row, names: vec![("$", row.clone())] })
}

fn fill_in(parts: &[Part], scope: &Scope<'_>) -> Result<String> {
    let mut text = String::new();
    for part in parts {
        text += &match part {
            Part::Text(part) => part.clone(),
            Part::Show(expression) => {
                let shown = shown(&value(expression, scope)?);
                if scope.filling == Filling::Row { shown } else { message::line(&shown).into_owned() }
            }
            Part::If { condition, then, otherwise } => {
                let branch = if is_true(&value(condition, scope)?) { then } else { otherwise };
                fill_in(branch, scope)?
            }
            Part::With { of, then, otherwise } => match value(of, scope)? {
                value if is_true(&value) => {
                    fill_in(then, &Scope { dot: &value, names: scope.names.clone(), ..*scope })?
                }
                _ => fill_in(otherwise, scope)?,
            },
            Part::Range { of, names, each, otherwise } => {
                let members = match value(of, scope)? {
                    // What stands above it has none.
                    Value::String(_) if scope.filling == Filling::Heads => Vec::new(),
                    value => members(&value)?,
                };
                match members.is_empty() {
                    true => fill_in(otherwise, scope)?,
                    false => repeat(each, names, &members, scope)?,
                }
            }
        };
    }
    Ok(text)
}

fn repeat(each: &[Part], names: &[String], members: &[(Value, Value)], scope: &Scope<'_>) -> Result<String> {
    let one = |(key, member): &(Value, Value)| {
        let mut inner = scope.names.clone();
        // One name is the value's, of two the first is the key's.
        if let [.., name] = names {
            inner.push((name, member.clone()));
        }
        if let [name, _] = names {
            inner.push((name, key.clone()));
        }
        fill_in(each, &Scope { dot: member, names: inner, ..*scope })
    };
    members.iter().map(one).collect()
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

fn value(expression: &Expression, scope: &Scope<'_>) -> Result<Value> {
    match expression {
        Expression::Literal(value) => Ok(value.clone()),
        Expression::Field(name, path) => field(name.as_deref(), path, scope),
        Expression::Label(name) => {
            let name = shown(&value(name, scope)?);
            Ok(match scope.filling {
                Filling::Heads => name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ").into(),
                Filling::Row | Filling::Cells => scope.labels.get(name).cloned().unwrap_or_else(|| "".into()),
            })
        }
        Expression::Call(name, values) => {
            let values = values.iter().map(|one| value(one, scope)).collect::<Result<Vec<_>>>()?;
            match scope.filling {
                Filling::Heads if function::is_dockers(name) => {
                    Ok(values.into_iter().next().unwrap_or_default())
                }
                _ => function::call(name, &values),
            }
        }
    }
}

fn field(name: Option<&str>, path: &[String], scope: &Scope<'_>) -> Result<Value> {
    let mut value = match name {
        None => scope.dot,
        Some(name) => {
            let found = scope.names.iter().rev().find(|(known, _)| *known == name);
            &found.ok_or_else(|| Error::invalid(format!("{name}: there is no such variable")))?.1
        }
    };
    for name in path {
        value = match value.get(name) {
            Some(value) => value,
            None if scope.filling == Filling::Heads => {
                return Ok(path.last().map(|name| name.to_uppercase()).unwrap_or_default().into());
            }
            None => return Err(missing(value, name)),
        };
    }
    Ok(value.clone())
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> Value {
        json!({
            "ID": "1",
            "Name": "two words",
            "State": {"Pid": 7, "Running": true},
            "Args": ["a", "b"],
            "Networks": {"one": {"IP": "10.0.0.2"}, "two": {"IP": ""}},
            "Labels": {"com.example/x": "y"},
            "Label": {"com.docker.compose.project": "web"},
        })
    }

    fn show(text: &str) -> String {
        parse(text).and_then(|parts| fill(&parts, &row())).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn templates_of_docker() {
        assert_eq!(show("{{.ID}}: {{ .State.Pid }} {{json .State}}"), "1: 7 {\"Pid\":7,\"Running\":true}");
        assert_eq!(show("{{range .Networks}}{{.IP}};{{end}}"), "10.0.0.2;;");
        assert_eq!(
            show("{{range $name, $net := .Networks}}{{$name}}={{$net.IP}} {{end}}"),
            "one=10.0.0.2 two= "
        );
        assert_eq!(show("{{index .Labels \"com.example/x\"}}{{index .Labels `none`}}"), "y");
        assert_eq!(show("{{index .Args 1}} {{len .Args}} {{join .Args \",\"}} {{.Args}}"), "b 2 a,b [a b]");
        assert_eq!(show("{{if .State.Running}}up{{else}}down{{end}}"), "up");
        assert_eq!(show("{{if eq .ID \"2\"}}two{{else if (eq .ID \"1\")}}one{{end}}"), "one");
        assert_eq!(show("{{range .Args -}}  {{upper . | println}}{{- end}}{{$.ID}}"), "A\nB\n1");
        assert_eq!(
            show("{{with .State}}{{.Pid}}{{end}}{{with .Labels.x}}{{else}}-{{end}}"),
            "there is no field x: there are com.example/x"
        );
        assert_eq!(show("{{with .State}}{{.Pid}}{{end}}{{with index .Labels \"x\"}}{{else}}-{{end}}"), "7-");
        assert_eq!(show("{{/* nothing */}}{{json \"}}|\" }}"), "\"}}|\"");
        assert_eq!(show("{{.Label \"com.docker.compose.project\"}}{{.Label \"none\"}}"), "web");
    }

    #[test]
    fn functions_of_docker() {
        assert_eq!(
            show("{{title .Name}} {{lower \"ABC\"}} {{split .Name \" \"}}"),
            "Two Words abc [two words]"
        );
        assert_eq!(
            show("[{{pad .ID 1 2}}] [{{truncate .Name 5}}] {{(index (split .Name \" \") 1)}}"),
            "[ 1  ] [two w] words"
        );
        assert_eq!(
            show("{{printf \"%-5s|%5d|%q|%v|%%|%03d\" .ID .State.Pid .Name .Args 7}}"),
            "1    |    7|\"two words\"|[a b]|%|007"
        );
        assert_eq!(
            show("{{println .ID \"x\"}}{{print .ID 2}}{{gt .State.Pid 6}}{{slice .Name 4 6}}"),
            "1 x\n1 2truewo"
        );
        assert_eq!(show("{{printf \"%d\" .Name}}"), "printf: %d: \"two words\" is no number");
    }

    #[test]
    fn heads_are_the_names_of_columns() {
        let heads = |text: &str| fill_heads(&parse(text).unwrap(), &json!({"ID": "CONTAINER ID"})).unwrap();
        assert_eq!(
            heads("{{.ID}}\t{{upper .Status}}\t{{.Label \"com.example.my-name\"}}"),
            "CONTAINER ID\tSTATUS\tmy name"
        );
        assert_eq!(heads("{{json .ID}}{{range .Names}}{{.}}{{end}}"), "CONTAINER ID");
        let cells = fill_cells(&parse("{{.A}}\t{{.B}}").unwrap(), &json!({"A": "a\tb", "B": "c\nd"}));
        assert_eq!(cells.unwrap(), "a\\tb\tc\\nd");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            show("{{.None}}"),
            "there is no field None: there are Args, ID, Labels, Name, Networks, State"
        );
        assert_eq!(show("{{.State.Pid.x}}"), "there is no field x: there are none");
        assert_eq!(show("{{.ID"), "a }} is missing");
        assert_eq!(show("{{range .Args}}"), "{{end}} is missing");
        assert_eq!(show("{{end}}"), "{{end}} without a beginning");
        assert!(
            show("{{twist .ID}}")
                .starts_with("twist: there are fields such as {{.ID}}, and range, if, with, json")
        );
        assert_eq!(show("{{index .Args}}"), "{{index .Args}}: a value is missing");
        assert_eq!(show("{{.ID .ID}}"), "{{.ID .ID}}: must be one value, or a function with values");
        assert_eq!(show("{{$x}}"), "$x: there is no such variable");
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let deep = "nested deeper than 100 levels";
        let cases = [
            format!("{}{}", "{{if .ID}}".repeat(50_000), "{{end}}".repeat(50_000)),
            format!("{{{{if .ID}}}}{}{{{{end}}}}", "{{else if .ID}}".repeat(50_000)),
            format!("{{{{{}.ID{}}}}}", "(".repeat(50_000), ")".repeat(50_000)),
            format!("{{{{.ID{}}}}}", "|upper".repeat(50_000)),
            format!("{{{{{}", "(".repeat(50_000)),
        ];
        for text in cases {
            assert!(show(&text).contains(deep) || show(&text).contains("is missing"), "{}", &text[..40]);
        }
    }
}
