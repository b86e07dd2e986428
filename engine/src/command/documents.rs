//! Documents of things that are named on the command line.

use serde_json::Value;

use super::format::Format;
use super::{Arguments, print, say};
use crate::error::{Kind, Result};

/// The documents of everything that is named: an array, or a line each. What is not there is said, and shows in the status.
pub fn show_documents(arguments: &Arguments, find: impl Fn(&str) -> Result<Value>) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let (mut documents, mut status) = (Vec::new(), 0);
    for name in arguments.operands_from(0)? {
        match find(&name) {
            Ok(document) => documents.push(document),
            Err(error) if error.kind() == Kind::NotFound => {
                say(&error.to_string());
                status = 1;
            }
            Err(error) => return Err(error),
        }
    }
    let text = match format {
        Format::Table => format!("{:#}\n", Value::Array(documents)),
        Format::Json => format!("{}\n", Value::Array(documents)),
        Format::Template(_) | Format::Columns(_) => {
            documents.iter().map(|document| format.row(document)).collect::<Result<String>>()?
        }
    };
    print(&text)?;
    Ok(status)
}
