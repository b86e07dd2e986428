//! state and list.

use std::borrow::Cow;

use pillbox::ContainerId;
use pillbox::error::{Error, Result};
use pillbox::json::{self, Members};
use pillbox::state::{Record, Root, Status};
use serde::Serialize;

use super::{container_id, print, root};
use crate::cli::{Arguments, Global};

/// What the specification calls the state, with what callers of runc and crun expect besides.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StateDocument<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: &'a str,
    bundle: &'a str,
    rootfs: &'a str,
    created: &'a str,
    annotations: &'a Members,
    owner: Cow<'a, str>,
}

impl<'a> StateDocument<'a> {
    fn new(record: &'a Record, status: Status) -> Self {
        let Record { oci_version, id, pid, bundle, rootfs, created, annotations, owner, .. } = record;
        let owner = user_name(owner);
        let pid = if status == Status::Stopped { 0 } else { *pid };
        StateDocument {
            oci_version,
            id,
            pid,
            status: status.as_str(),
            bundle,
            rootfs,
            created,
            annotations,
            owner,
        }
    }
}

/// The user's name in /etc/passwd, else the number.
fn user_name(uid: &str) -> Cow<'_, str> {
    if uid == "0" {
        return "root".into();
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_string())
    });
    name.map_or(uid.into(), Cow::Owned)
}

pub fn state(global: &Global, arguments: Arguments) -> Result<u8> {
    let (record, status) = look(&root(global), &container_id(&arguments)?)?;
    let text = json::to_string(&StateDocument::new(&record, status))?;
    print(&(json::pretty(&text) + "\n"))?;
    Ok(0)
}

fn look(root: &Root, id: &ContainerId) -> Result<(Record, Status)> {
    let directory = root.find(id)?;
    let record = directory.load()?;
    let status = directory.status(&record)?;
    Ok((record, status))
}

pub fn list(global: &Global, arguments: Arguments) -> Result<u8> {
    let format = arguments.value("format").map_or("table".into(), |format| format.to_string_lossy());
    let root = root(global);
    let ids = root.ids()?;
    if arguments.is_set("quiet") {
        print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(0);
    }
    // One that is being made or was just deleted is no container; one that cannot be read must not hide the others.
    let found: Vec<_> = ids.iter().filter_map(|id| look(&root, id).ok()).collect();
    match &*format {
        "json" => {
            let documents: Vec<_> =
                found.iter().map(|(record, status)| StateDocument::new(record, *status)).collect();
            print(&(json::to_string(&documents)? + "\n"))?;
        }
        "table" => print(&table(&found))?,
        other => return Err(Error::formatted(format_args!("--format {other}: must be table or json"))),
    }
    Ok(0)
}

fn table(found: &[(Record, Status)]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_string);
    let rows: Vec<[String; 6]> = std::iter::once(head)
        .chain(found.iter().map(|(record, status)| {
            let document = StateDocument::new(record, *status);
            [
                document.id,
                &document.pid.to_string(),
                document.status,
                document.bundle,
                document.created,
                &document.owner,
            ]
            .map(str::to_string)
        }))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..6).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_string() + "\n"
        })
        .collect()
}
