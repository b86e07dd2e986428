//! history: how an image was made.

use serde_json::{Value, json};

use super::format::{Format, Heads};
use super::images::ago;
use super::table::{human_size, shortened};
use super::{Arguments, Command, Flag, Global, print};
use crate::error::Result;
use crate::image::Configuration;
use crate::store::{ImageRecord, Store};
use crate::time::{Moment, parse_rfc3339};

pub const COMMAND: Command = Command {
    name: "history",
    aliases: &["image history"],
    operands: "IMAGE",
    operand_count: 1..=1,
    help: "show how an image was made",
    flags: &[&[
        Flag { long: "quiet", short: Some('q'), value: None, help: "ids alone" },
        Flag { long: "no-trunc", short: None, value: None, help: "nothing is shortened" },
        Flag {
            long: "human",
            short: Some('H'),
            value: None,
            help: "sizes and times for people (default; =false)",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.ID}}" },
    ]],
    ends_at_operand: false,
    run: history,
};

const HEADS: &Heads = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

fn history(global: &Global, arguments: &Arguments) -> Result<u8> {
    let format = Format::parse(arguments.text("format")?)?;
    let store = global.store()?;
    let record = store.find_image(arguments.operand(0)?.unwrap_or_default())?;
    let config = store.load(&record)?.config;
    let (whole, human) = (arguments.is_set("no-trunc"), arguments.is_on("human"));
    let rows = rows(&store, &record, &config, whole, human)?;
    let cell = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_string();
    if arguments.is_set("quiet") {
        return print(&rows.iter().map(|row| cell(row, "ID") + "\n").collect::<String>());
    }
    let created = if human { "CreatedSince" } else { "CreatedAt" };
    print(&format.show(&rows, HEADS, &["ID", created, "CreatedBy", "Size", "Comment"])?)
}

/// The last step first. Only the last one has an image.
fn rows(
    store: &Store,
    record: &ImageRecord,
    config: &Configuration,
    whole: bool,
    human: bool,
) -> Result<Vec<Value>> {
    let now = Moment::now();
    let mut layers = record.layers.iter();
    let mut rows = Vec::new();
    for step in &config.history {
        let layer = if step.empty_layer { None } else { layers.next() };
        let size = layer.map_or(Ok(0), |layer| store.layers().record(layer).map(|record| record.size))?;
        let by = step.created_by.clone().unwrap_or_default();
        let created = step.created.clone().unwrap_or_default();
        rows.push(json!({
            "ID": "<missing>",
            "CreatedSince": ago(parse_rfc3339(&created), now),
            "CreatedAt": created,
            "CreatedBy": if whole { by } else { shortened(&by, 45) },
            "Size": if human { human_size(size) } else { size.to_string() },
            "Comment": step.comment.clone().unwrap_or_default(),
        }));
    }
    rows.reverse();
    if let Some(first) = rows.first_mut() {
        let id = record.id.to_string();
        first["ID"] = json!(if whole { id } else { record.id.digest().short() });
    }
    Ok(rows)
}
