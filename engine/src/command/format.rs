//! `--format`: a table, JSON, or a template with fields as Docker's have them: `{{.ID}} {{.Names}}`.

use serde_json::Value;

use super::template::{self, Part};
use crate::error::Result;

/// How rows are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A table.
    Table,
    /// An object a line.
    Json,
    /// A template, filled in for each.
    Template(Vec<Part>),
}

impl Format {
    /// Reads what the command line says.
    ///
    /// # Errors
    /// A template has what is not known here.
    pub fn parse(text: Option<&str>) -> Result<Format> {
        match text {
            None | Some("table") => Ok(Format::Table),
            Some("json") => Ok(Format::Json),
            Some(text) => {
                let parsed = template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"));
                parsed.map(Format::Template).map_err(|error| error.context(format!("--format {text}")))
            }
        }
    }

    /// A row with its line end. Tables are another matter.
    ///
    /// # Errors
    /// There is no such field.
    pub fn row(&self, row: &Value) -> Result<String> {
        match self {
            Format::Template(parts) => {
                template::fill(parts, row).map(|text| text + "\n").map_err(|error| error.context("--format"))
            }
            Format::Table | Format::Json => Ok(format!("{row}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_json_or_templates() {
        let row = json!({"ID": "1", "State": {"Pid": 7}});
        let show = |text| Format::parse(Some(text)).and_then(|format| format.row(&row));
        assert_eq!(show("{{.ID}}:\\t{{ .State.Pid }}").unwrap(), "1:\t7\n");
        assert_eq!(show("json").unwrap(), "{\"ID\":\"1\",\"State\":{\"Pid\":7}}\n");
        let missing = show("{{.Nonesuch}}").unwrap_err().to_string();
        assert_eq!(missing, "--format: there is no field Nonesuch: there are ID, State");
        assert!(show("{{.ID").unwrap_err().to_string().starts_with("--format {{.ID: a }} is missing"));
    }
}
