//! `--format`: JSON, or a template with fields as Docker's have them: `{{.ID}} {{.Names}}`.

use serde_json::Value;

use crate::error::{Error, Result};

/// How rows are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A table.
    Table,
    /// An object a line.
    Json,
    /// Text and names of fields, one after the other.
    Template(Vec<Part>),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// The names on the way to a field; whether it is to be shown as JSON.
    Field(Vec<String>, bool),
}

impl Format {
    /// Reads what the command line says.
    ///
    /// # Errors
    /// A template has more than fields.
    pub fn parse(text: Option<&str>) -> Result<Format> {
        match text {
            None | Some("table") => Ok(Format::Table),
            Some("json") => Ok(Format::Json),
            Some(text) => parse_template(text).map(Format::Template),
        }
    }

    /// A row with its line end. Tables are another matter.
    ///
    /// # Errors
    /// There is no such field.
    pub fn row(&self, row: &Value) -> Result<String> {
        let Format::Template(parts) = self else { return Ok(format!("{row}\n")) };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(part) => text += part,
                Part::Field(names, as_json) => text += &field(row, names, *as_json)?,
            }
        }
        text.push('\n');
        Ok(text)
    }
}

fn parse_template(text: &str) -> Result<Vec<Part>> {
    let wrong = |what: &str| {
        Error::invalid(format!(
            "--format {text}: {what}: there are fields such as {{{{.ID}}}}, {{{{json .}}}} and `json`"
        ))
    };
    let text_with_tabs = text.replace("\\t", "\t").replace("\\n", "\n");
    let mut rest = text_with_tabs.as_str();
    let mut parts = Vec::new();
    while let Some(start) = rest.find("{{") {
        parts.push(Part::Text(rest[..start].to_string()));
        let (inside, behind) = rest[start + 2..].split_once("}}").ok_or_else(|| wrong("a }} is missing"))?;
        let inside = inside.trim().trim_matches('-').trim();
        let (as_json, path) = match inside.strip_prefix("json ") {
            Some(path) => (true, path.trim()),
            None => (false, inside),
        };
        let path = path.strip_prefix('.').ok_or_else(|| wrong(inside))?;
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
        };
        let names: Vec<String> =
            path.split('.').filter(|name| !name.is_empty()).map(str::to_string).collect();
        if !names.iter().all(|name| is_name(name)) || (names.is_empty() && !as_json) {
            return Err(wrong(inside));
        }
        parts.push(Part::Field(names, as_json));
        rest = behind;
    }
    parts.push(Part::Text(rest.to_string()));
    Ok(parts)
}

fn field(row: &Value, names: &[String], as_json: bool) -> Result<String> {
    let mut value = row;
    for name in names {
        value = value.get(name).ok_or_else(|| {
            let known = value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
            let known = known.unwrap_or_else(|| "none".to_string());
            Error::invalid(format!("--format: there is no field {name}: there are {known}"))
        })?;
    }
    Ok(match value {
        Value::String(text) if !as_json => text.clone(),
        Value::Null if !as_json => String::new(),
        value => value.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_have_fields() {
        let row = json!({"ID": "1", "State": {"Pid": 7}});
        let show = |text| Format::parse(Some(text)).and_then(|format| format.row(&row));
        assert_eq!(show("{{.ID}}:\\t{{ .State.Pid }}").unwrap(), "1:\t7\n");
        assert_eq!(show("{{json .State}}").unwrap(), "{\"Pid\":7}\n");
        assert_eq!(show("json").unwrap(), "{\"ID\":\"1\",\"State\":{\"Pid\":7}}\n");
        assert!(
            show("{{.Nonesuch}}").unwrap_err().to_string().contains("no field Nonesuch: there are ID, State")
        );
        assert!(show("{{range .Ports}}").is_err() && show("{{.ID").is_err());
    }
}
