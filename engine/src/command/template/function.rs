//! The functions of templates: Docker's, and those of Go's templates.

use serde_json::Value;

use super::{is_true, members, shown};
use crate::error::{Error, Result};

/// The functions that there are, and how many values they take at least.
pub const FUNCTIONS: [(&str, usize); 23] = [
    ("json", 1),
    ("split", 2),
    ("join", 2),
    ("title", 1),
    ("lower", 1),
    ("upper", 1),
    ("pad", 3),
    ("truncate", 2),
    ("index", 2),
    ("slice", 1),
    ("len", 1),
    ("print", 0),
    ("println", 0),
    ("printf", 1),
    ("eq", 2),
    ("ne", 2),
    ("lt", 2),
    ("le", 2),
    ("gt", 2),
    ("ge", 2),
    ("not", 1),
    ("and", 1),
    ("or", 1),
];

/// Whether it is one of Docker's own, which leave what stands above a column as it is.
pub fn is_dockers(name: &str) -> bool {
    FUNCTIONS[..8].iter().any(|(known, _)| *known == name)
}

/// The value of a function.
///
/// # Errors
/// A value is none that it takes.
pub fn call(name: &str, values: &[Value]) -> Result<Value> {
    Ok(match (name, values) {
        ("json", [value, ..]) => value.to_string().into(),
        ("split", [value, separator, ..]) => {
            let (text, separator) = (shown(value), shown(separator));
            text.split(separator.as_str()).map(Value::from).collect()
        }
        ("join", [value, separator, ..]) => {
            let words: Vec<String> = members(value)?.iter().map(|(_, member)| shown(member)).collect();
            words.join(&shown(separator)).into()
        }
        ("title", [value, ..]) => title(&shown(value)).into(),
        ("lower", [value, ..]) => shown(value).to_lowercase().into(),
        ("upper", [value, ..]) => shown(value).to_uppercase().into(),
        ("pad", [value, before, behind, ..]) => {
            let text = shown(value);
            let space = |count| number(name, count).map(|count| " ".repeat(count));
            if text.is_empty() {
                text.into()
            } else {
                format!("{}{text}{}", space(before)?, space(behind)?).into()
            }
        }
        ("truncate", [value, most, ..]) => {
            shown(value).chars().take(number(name, most)?).collect::<String>().into()
        }
        ("index", [value, keys @ ..]) => keys.iter().fold(value.clone(), |value, key| {
            let found = match key {
                Value::String(name) => value.get(name),
                key => key.as_u64().and_then(|index| value.get(usize::try_from(index).ok()?)),
            };
            // As with Go's maps, what is not there is nothing.
            found.cloned().unwrap_or_default()
        }),
        ("slice", [value, bounds @ ..]) => slice(value, bounds)?,
        ("len", [value, ..]) => match value {
            Value::String(text) => text.len().into(),
            value => members(value)?.len().into(),
        },
        ("println", values) => (all(values) + "\n").into(),
        ("printf", [format, values @ ..]) => printf(&shown(format), values)?.into(),
        ("eq", [one, others @ ..]) => others.contains(one).into(),
        ("ne", [one, other, ..]) => (one != other).into(),
        ("lt", [one, other, ..]) => compare(name, one, other)?.is_lt().into(),
        ("le", [one, other, ..]) => compare(name, one, other)?.is_le().into(),
        ("gt", [one, other, ..]) => compare(name, one, other)?.is_gt().into(),
        ("ge", [one, other, ..]) => compare(name, one, other)?.is_ge().into(),
        ("not", [value, ..]) => (!is_true(value)).into(),
        (_, values) => all(values).into(),
    })
}

fn all(values: &[Value]) -> String {
    values.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// More than this is nobody's wish.
const NUMBER_MAX: u64 = 10_000;

fn number(name: &str, value: &Value) -> Result<usize> {
    let found = value.as_u64().filter(|number| *number <= NUMBER_MAX);
    let found = found.and_then(|number| usize::try_from(number).ok());
    found.ok_or_else(|| Error::invalid(format!("{name}: {value} must be a number from 0 to {NUMBER_MAX}")))
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let mut capital = |letter: char| {
        let is_first = !before.is_alphanumeric() && before != '_' && before != '\'';
        before = letter;
        if is_first { letter.to_uppercase().collect::<String>() } else { letter.to_string() }
    };
    text.chars().map(&mut capital).collect()
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value> {
    let bounds = bounds.iter().map(|bound| number("slice", bound)).collect::<Result<Vec<_>>>()?;
    let (from, to) = (bounds.first().copied().unwrap_or(0), bounds.get(1).copied());
    let wrong = || Error::invalid(format!("slice: {} has no part from {from}", shown(value)));
    match value {
        Value::Array(members) => {
            members.get(from..to.unwrap_or(members.len())).map(|part| part.to_vec().into()).ok_or_else(wrong)
        }
        value => {
            let text = shown(value);
            text.get(from..to.unwrap_or(text.len())).map(Value::from).ok_or_else(wrong)
        }
    }
}

fn compare(name: &str, one: &Value, other: &Value) -> Result<std::cmp::Ordering> {
    let found = match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64().partial_cmp(&other.as_f64()),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    };
    found.ok_or_else(|| Error::invalid(format!("{name}: {one} and {other} cannot be compared")))
}

/// Go's verbs `%s`, `%v`, `%d`, `%q`, `%t`, `%x` and `%f`, with a width, `-` and `0`.
fn printf(format: &str, values: &[Value]) -> Result<String> {
    let (mut text, mut rest, mut values) = (String::new(), format, values.iter());
    while let Some((before, behind)) = rest.split_once('%') {
        text += before;
        let end = behind.find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, '-' | '+' | '.'));
        let end =
            end.ok_or_else(|| Error::invalid(format!("printf: {format:?}: a verb is missing behind %")))?;
        let (flags, verb) = (&behind[..end], behind[end..].chars().next().unwrap_or_default());
        rest = &behind[end + verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        let value = values.next();
        let value =
            value.ok_or_else(|| Error::invalid(format!("printf: %{flags}{verb}: a value is missing")))?;
        text += &padded(&worded(verb, flags, value)?, flags)?;
    }
    match values.next() {
        Some(value) => Err(Error::invalid(format!("printf: {format:?}: no verb for {value}"))),
        None => Ok(text + rest),
    }
}

fn worded(verb: char, flags: &str, value: &Value) -> Result<String> {
    let no_number = || Error::invalid(format!("printf: %{verb}: {value} is no number"));
    match verb {
        's' | 'v' => {
            let most = flags.split_once('.').map_or(Ok(usize::MAX), |(_, most)| size(most))?;
            Ok(shown(value).chars().take(most).collect())
        }
        'q' => Ok(Value::from(shown(value)).to_string()),
        'd' => value.as_i64().map(|number| number.to_string()).ok_or_else(no_number),
        'x' => match value {
            Value::String(text) => Ok(text.bytes().map(|byte| format!("{byte:02x}")).collect()),
            value => value.as_u64().map(|number| format!("{number:x}")).ok_or_else(no_number),
        },
        'f' => {
            let places = flags.split_once('.').map_or(Ok(6), |(_, places)| size(places))?;
            value.as_f64().map(|number| format!("{number:.places$}")).ok_or_else(no_number)
        }
        't' => match value {
            Value::Bool(value) => Ok(value.to_string()),
            value => Err(Error::invalid(format!("printf: %t: {value} must be true or false"))),
        },
        _ => Err(Error::invalid(format!("printf: %{verb}: there are %s, %v, %q, %d, %x, %f and %t"))),
    }
}

fn padded(text: &str, flags: &str) -> Result<String> {
    let width = flags.split('.').next().unwrap_or_default().trim_start_matches(['-', '+']);
    let (is_left, is_zero) = (flags.starts_with('-'), width.starts_with('0'));
    let width = size(width)?;
    Ok(match (is_left, is_zero) {
        (true, _) => format!("{text:<width$}"),
        (false, true) => format!("{text:0>width$}"),
        (false, false) => format!("{text:>width$}"),
    })
}

fn size(text: &str) -> Result<usize> {
    match text {
        "" => Ok(0),
        text => number("printf", &text.parse::<u64>().unwrap_or(u64::MAX).into()),
    }
}
