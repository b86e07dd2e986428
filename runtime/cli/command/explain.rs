//! explain: the plan of a bundle, without running it.

use std::fmt::Write as _;

use pillbox::ContainerId;
use pillbox::container::{Prepared, Wishes};
use pillbox::error::{Error, Result, Warning};
use pillbox::explain::{OperationDocument, describe, one_line};
use pillbox::text::json::{self, Members};
use serde::Serialize;

use super::{bundle, networks, print, root};
use crate::arguments::{Arguments, Global};

pub fn explain(global: &Global, arguments: Arguments) -> Result<u8> {
    let format = arguments.value("format").map_or("text".into(), |format| format.to_string_lossy());
    let bundle = bundle(global, &arguments)?;
    // The id is used only for the default cgroup path and the name of the keyring.
    let id = ContainerId::new("ID")?;
    let wishes = Wishes {
        wait_for_start: true,
        driver: global.driver,
        networks: networks(global, &arguments)?,
        state_folder: root(global).path().join(id.as_str()),
        ..Wishes::default()
    };
    let prepared = Prepared::new(&bundle, &id, wishes)?;
    let text = match &*format {
        "text" => text(&prepared)?,
        "json" => json::pretty(&json::to_string(&document(&prepared)?)?) + "\n",
        other => return Err(Error::formatted(format_args!("--format {other}: must be text or json"))),
    };
    print(&text)?;
    Ok(0)
}

fn text(prepared: &Prepared<'_>) -> Result<String> {
    let mut text = "runtime:\n".to_string();
    for (number, (step, object)) in prepared.host_lines()?.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>4}  {step:<22} {}", number + 1, one_line(object));
    }
    text += "init:\n";
    for (number, operation) in prepared.plan.operations().enumerate() {
        let _ = writeln!(text, "{:>4}  {}", number + 1, describe(&operation, &prepared.plan));
    }
    for warning in &prepared.plan.warnings {
        let _ = writeln!(text, "warning: {}", one_line(warning.text()));
    }
    Ok(text)
}

#[derive(Serialize)]
struct Document<'p> {
    runtime: Vec<Members>,
    init: Vec<OperationDocument<'p>>,
    warnings: Vec<&'p str>,
}

fn document<'p>(prepared: &'p Prepared<'_>) -> Result<Document<'p>> {
    let plan = &prepared.plan;
    let steps = prepared.host_lines()?;
    let member = |(step, object): (&str, String)| {
        Members(vec![("operation".to_string(), step.to_string()), ("object".to_string(), object)])
    };
    Ok(Document {
        runtime: steps.into_iter().map(member).collect(),
        init: prepared.plan.operations().map(|operation| OperationDocument { operation, plan }).collect(),
        warnings: plan.warnings.iter().map(Warning::text).collect(),
    })
}
