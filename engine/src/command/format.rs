//! `--format`: a table, JSON, or a template with fields as Docker's have them: `{{.ID}} {{.Names}}`.

use serde_json::Value;

use super::table::columns;
use super::template::{self, LABELS, Part};
use crate::error::Result;
use crate::order::Collect;

/// How rows are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A table.
    Table,
    /// A table with columns of one's own: what each has is filled in, and tabs are between them.
    Columns(Vec<Part>),
    /// An object a line.
    Json,
    /// A template, filled in for each.
    Template(Vec<Part>),
}

/// The fields that rows have, and what stands above each in a table.
pub type Heads = [(&'static str, &'static str)];

impl Format {
    /// Reads what the command line says.
    ///
    /// # Errors
    /// A template has what is not known here.
    pub fn parse(text: Option<&str>) -> Result<Format> {
        let read = |template: &str| {
            let parsed = template::parse(&template.replace("\\t", "\t").replace("\\n", "\n"));
            parsed.map_err(|error| error.context(format!("--format {}", text.unwrap_or_default())))
        };
        match text {
            None | Some("" | "table") => Ok(Format::Table),
            Some("json") => Ok(Format::Json),
            Some(text) => {
                match text.strip_prefix("table").filter(|rest| rest.starts_with([' ', '\t', '\\', '{'])) {
                    Some(columns) => read(columns.trim_start_matches("\\t").trim()).map(Format::Columns),
                    None => read(text).map(Format::Template),
                }
            }
        }
    }

    /// All rows. A table without columns of one's own has those of the fields in `shown`.
    ///
    /// # Errors
    /// There is no such field.
    pub fn show(&self, rows: &[Value], heads: &Heads, shown: &[&str]) -> Result<String> {
        let head = |field: &str| {
            heads.iter().find(|(known, _)| *known == field).map_or(field, |(_, head)| head).to_string()
        };
        match self {
            Format::Table => {
                let cell = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_string();
                let mut lines = vec![shown.iter().map(|field| head(field)).collect()];
                lines.extend(rows.iter().map(|row| shown.iter().map(|field| cell(row, field)).collect()));
                Ok(columns(&lines))
            }
            Format::Columns(parts) => {
                let heads = heads.iter().map(|(field, head)| (field.to_string(), Value::from(*head)));
                let cells = |line: String| line.split('\t').map(str::to_string).collect::<Vec<_>>();
                let named = |error: crate::Error| error.context("--format");
                let heads = Value::Object(heads.collect_map());
                let mut lines = vec![cells(template::fill_heads(parts, &heads).map_err(named)?)];
                for row in rows {
                    lines.push(cells(template::fill_cells(parts, row).map_err(named)?));
                }
                Ok(columns(&lines))
            }
            Format::Json | Format::Template(_) => rows.iter().map(|row| self.row(row)).collect(),
        }
    }

    /// A row with its line end. Tables are another matter.
    ///
    /// # Errors
    /// There is no such field.
    pub fn row(&self, row: &Value) -> Result<String> {
        match self {
            Format::Template(parts) | Format::Columns(parts) => {
                template::fill(parts, row).map(|text| text + "\n").map_err(|error| error.context("--format"))
            }
            Format::Table | Format::Json => {
                let mut row = row.clone();
                row.as_object_mut().map(|row| row.remove(LABELS));
                Ok(format!("{row}\n"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_json_or_templates() {
        let row = json!({"ID": "1", "State": {"Pid": 7}, "Label": {"a": "b"}});
        let show = |text| Format::parse(Some(text)).and_then(|format| format.row(&row));
        assert_eq!(show("{{.ID}}:\\t{{ .State.Pid }}").unwrap(), "1:\t7\n");
        assert_eq!(show("{{.Label \"a\"}}{{.Label \"c\"}}").unwrap(), "b\n");
        assert_eq!(show("json").unwrap(), "{\"ID\":\"1\",\"State\":{\"Pid\":7}}\n");
        let missing = show("{{.Nonesuch}}").unwrap_err().to_string();
        assert_eq!(missing, "--format: there is no field Nonesuch: there are ID, State");
        assert!(show("{{.ID").unwrap_err().to_string().starts_with("--format {{.ID: a }} is missing"));
    }

    #[test]
    fn tables_have_heads() {
        let rows = [json!({"ID": "1", "Names": "web"}), json!({"ID": "22222222222", "Names": "a\tb\nc"})];
        let heads: &Heads = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];
        let show = |text: Option<&str>| {
            Format::parse(text).and_then(|format| format.show(&rows, heads, &["Names", "ID"]))
        };
        let table = "NAMES     CONTAINER ID\nweb       1\na\\tb\\nc   22222222222\n";
        assert_eq!(show(None).unwrap(), table);
        assert_eq!(show(Some("table")).unwrap(), table);
        assert_eq!(show(Some("table {{.Names}}\\t{{.ID}}")).unwrap(), table);
        assert_eq!(show(Some("table {{.ID | lower}}")).unwrap(), "CONTAINER ID\n1\n22222222222\n");
        assert_eq!(show(Some("{{.ID}}")).unwrap(), "1\n22222222222\n");
    }
}
