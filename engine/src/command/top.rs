//! top: the processes of a container.

use std::collections::BTreeSet;

use super::table::columns;
use super::{Arguments, Command, Global, print};
use crate::container::{Happening, ProcessLine, note_of, pids, processes};
use crate::error::{Context, Error, Result};
use crate::program::program;
use crate::store::{ContainerFolder, Store};
use crate::time::{Moment, rfc3339};

pub const COMMAND: Command = Command {
    name: "top",
    aliases: &["container top"],
    operands: "CONTAINER [PS-ARGUMENT …]",
    operand_count: 1..=usize::MAX,
    help: "show the processes of a container; with arguments as the host's ps shows them",
    flags: &[],
    ends_at_operand: true,
    run: top,
};

fn top(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let folder = store.containers().find(arguments.operand(0)?.unwrap_or_default())?;
    let wanted = arguments.operands_from(1)?;
    let (heads, rows) = processes_table(&store, &folder, &wanted).map_err(|error| error.with_status(1))?;
    print(&columns(&[vec![heads], rows].concat()))
}

/// The columns of ps -ef.
const COLUMNS: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// The processes of a container in columns: their heads, and a row for each process.
///
/// # Errors
/// It does not run; ps(1) does not know what is wanted.
pub fn processes_table(
    store: &Store,
    folder: &ContainerFolder,
    wanted: &[String],
) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    note_of(store, folder, &Happening::Top);
    if wanted.is_empty() {
        let rows = processes(store, folder)?.iter().map(|process| cells(process).to_vec()).collect();
        return Ok((COLUMNS.map(str::to_string).to_vec(), rows));
    }
    let text = by_ps(store, folder, wanted)?;
    let mut lines = text.lines();
    let split = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<String>>();
    let heads = split(lines.next().unwrap_or_default());
    // The last column has blanks in it.
    let row = |line: &str| {
        let mut words = split(line);
        let last = words.split_off(words.len().min(heads.len().saturating_sub(1)));
        words.push(last.join(" "));
        words
    };
    let rows = lines.map(row).collect();
    Ok((heads, rows))
}

fn cells(process: &ProcessLine) -> [String; 8] {
    let ProcessLine { user, pid, parent, load, began, terminal, time, command, .. } = process;
    let since = rfc3339(Moment(began * 1_000_000_000));
    [
        user.clone(),
        pid.to_string(),
        parent.to_string(),
        load.to_string(),
        since[11..16].to_string(),
        terminal.clone(),
        format!("{:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60),
        command.clone(),
    ]
}

/// Of what the host's ps(1) shows, the lines of the container's processes, found by the column PID, as Docker does.
fn by_ps(store: &Store, folder: &ContainerFolder, wanted: &[String]) -> Result<String> {
    let pids: BTreeSet<i32> = pids(store, folder)?.into_iter().collect();
    let output = program("ps").args(wanted).output();
    let output = output.context(|| "ps (without arguments, box top needs no such program)")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it failed");
        return Err(Error::invalid(format!("ps {}: {line}", wanted.join(" "))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|name| name == "PID");
    let column =
        column.ok_or_else(|| Error::invalid(format!("ps {}: it shows no column PID", wanted.join(" "))))?;
    let is_one = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(head).chain(lines.filter(is_one)).map(|line| format!("{line}\n")).collect())
}
