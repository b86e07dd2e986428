//! stats: what containers use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::format::{Format, Heads};
use super::stdout::{print_while_read, wipe_screen};
use super::table::human_size;
use super::{Arguments, Command, Flag, Global, whole};
use crate::container::{ContainerRecord, Sample, Status};
use crate::error::{Kind, Result};
use crate::order::{self, Collect};
use crate::store::{ContainerFolder, ContainerId, Store};

pub const COMMAND: Command = Command {
    name: "stats",
    aliases: &["container stats"],
    operands: "[CONTAINER …]",
    operand_count: 0..=usize::MAX,
    help: "show what containers use, again and again",
    flags: &[&[
        Flag { long: "all", short: Some('a'), value: None, help: "those as well that do not run" },
        Flag { long: "no-stream", short: None, value: None, help: "once" },
        Flag { long: "no-trunc", short: None, value: None, help: "nothing is shortened" },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.CPUPerc}}" },
    ]],
    ends_at_operand: false,
    run: stats,
};

const HEADS: &Heads = &[
    ("ID", "CONTAINER ID"),
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Before the first line there is something to compare with.
const FIRST: Duration = Duration::from_millis(250);

struct Row {
    record: ContainerRecord,
    now: Option<Sample>,
    before: Option<Sample>,
}

fn stats(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let format = Format::parse(arguments.text("format")?)?;
    let names = arguments.operands_from(0)?;
    let once = arguments.is_set("no-stream");
    // Whoever is named must be there.
    names.iter().try_for_each(|name| store.containers().find(name).map(drop))?;
    let mut told = BTreeSet::new();
    let mut before = samples(&look(&store, &names, arguments, &mut told)?);
    std::thread::sleep(FIRST);
    loop {
        let mut rows = look(&store, &names, arguments, &mut told)?;
        for row in &mut rows {
            row.before = before.get(&row.record.id).copied();
        }
        before = samples(&rows);
        let text = show(&rows, &format, arguments.is_set("no-trunc"))?;
        // The screen is wiped, as with top(1).
        let is_read = (once || wipe_screen()?) && print_while_read(&text)?;
        if !is_read || once {
            return Ok(0);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn samples(rows: &[Row]) -> BTreeMap<String, Sample> {
    rows.iter().filter_map(|row| Some((row.record.id.clone(), row.now?))).collect_map()
}

/// What is wrong with a container is told once, however often it is looked at: `told` are those.
fn look(
    store: &Store,
    names: &[String],
    arguments: &Arguments,
    told: &mut BTreeSet<ContainerId>,
) -> Result<Vec<Row>> {
    let all = arguments.is_set("all") || !names.is_empty();
    let folders: Vec<ContainerFolder> = match names {
        [] => store.containers().list()?,
        // One that is gone meanwhile is not shown any more.
        names => names.iter().filter_map(|name| store.containers().find(name).ok()).collect(),
    };
    let mut rows = Vec::new();
    for folder in folders {
        let found = ContainerRecord::read(&folder)
            .and_then(|record| Ok(record.zip(Some(Status::of(store, &folder)?))));
        if found.is_err() && !told.insert(folder.id.clone()) {
            continue;
        }
        let Some(Some((record, status))) = whole(&folder, found) else { continue };
        let now = match status.is_alive() {
            true => match Sample::take(store, &folder, &record) {
                Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => None,
                sample => Some(sample?),
            },
            false => None,
        };
        if all || now.is_some() {
            rows.push(Row { record, now, before: None });
        }
    }
    order::sort_by_key(&mut rows, |row| std::cmp::Reverse(row.record.created));
    Ok(rows)
}

fn show(rows: &[Row], format: &Format, whole: bool) -> Result<String> {
    let rows: Vec<Value> = rows.iter().map(|row| fields(row, whole)).collect();
    let shown = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
    format.show(&rows, HEADS, &shown)
}

fn fields(row: &Row, whole: bool) -> Value {
    let Row { record, now, before } = row;
    let id = if whole { &record.id } else { &record.id[..12] };
    let Some(now) = now else {
        let none = "--";
        return json!({
            "ID": id, "Container": id, "Name": record.name, "CPUPerc": none, "MemUsage": "-- / --",
            "MemPerc": none, "NetIO": none, "BlockIO": none, "PIDs": none,
        });
    };
    let load = before.map_or(0.0, |before| now.load_since(&before));
    let share = now.memory as f64 / now.memory_max.max(1) as f64 * 100.0;
    let pair = |(one, other): (u64, u64)| format!("{} / {}", human_size(one), human_size(other));
    json!({
        "ID": id,
        "Container": id,
        "Name": record.name,
        "CPUPerc": format!("{load:.2}%"),
        "MemUsage": format!("{} / {}", binary(now.memory), binary(now.memory_max)),
        "MemPerc": format!("{share:.2}%"),
        "NetIO": pair(now.network),
        "BlockIO": pair(now.blocks),
        "PIDs": now.pids.to_string(),
    })
}

/// Memory is shown in powers of two, as Docker does.
fn binary(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    let text = format!("{value:.3}");
    let text: String = text.chars().take(5).collect();
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_as_docker_shows_it() {
        let shown = [0, 1023, 1024, 1_551_892, 25_000_000_000].map(binary);
        assert_eq!(shown, ["0B", "1023B", "1KiB", "1.48MiB", "23.28GiB"]);
    }
}
