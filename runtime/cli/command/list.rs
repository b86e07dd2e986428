//! state and list.

use std::borrow::Cow;
use std::sync::OnceLock;

use pillbox::error::{Error, Result};
use pillbox::oci::spec::json::{Map, Text};
use pillbox::state::{NetworkRecord, Seen, Status, StoredRecord};
use pillbox::text::json;
use serde::Serialize;

use super::table::table;
use super::{container_id, print, root};
use crate::arguments::{Arguments, Global};

/// The state as the specification defines it, and members that callers of runc and crun also expect.
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
    annotations: &'a Map<'a, Text<'a>>,
    owner: Cow<'a, str>,
    #[serde(skip_serializing_if = "<[NetworkRecord]>::is_empty")]
    network: &'a [NetworkRecord],
}

impl<'a> StateDocument<'a> {
    fn new(record: &'a StoredRecord<'_>, status: Status) -> Self {
        let StoredRecord {
            oci_version, id, pid, bundle, rootfs, created, annotations, owner, network, ..
        } = record;
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
            network,
        }
    }

    /// The document of a container that cannot be read: only the id is known. The specification permits other
    /// statuses than its own.
    fn unknown(id: &'a str, annotations: &'a Map<'a, Text<'a>>) -> Self {
        let (bundle, rootfs, created, owner) = ("", "", "", "".into());
        StateDocument {
            oci_version: "",
            id,
            pid: 0,
            status: "unknown",
            bundle,
            rootfs,
            created,
            annotations,
            owner,
            network: &[],
        }
    }
}

/// The user's name in /etc/passwd, or the number if there is none.
fn user_name(uid: &str) -> Cow<'_, str> {
    if uid == "0" {
        return "root".into();
    }
    // Most containers of a list have the same owner.
    static FIRST: OnceLock<(String, String)> = OnceLock::new();
    let (first, name) = FIRST.get_or_init(|| (uid.to_string(), find_name(uid)));
    if first == uid { name.into() } else { find_name(uid).into() }
}

fn find_name(uid: &str) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    });
    name.unwrap_or(uid).to_string()
}

pub fn state(global: &Global, arguments: Arguments) -> Result<u8> {
    let mut head = Vec::new();
    let directory = root(global).find(&container_id(&arguments)?)?;
    let (record, status) = directory.look(&mut head)?;
    let text = json::to_string(&StateDocument::new(&record, status))?;
    print(&(json::pretty(&text) + "\n"))?;
    Ok(0)
}

/// The form in which `list` writes each container.
#[derive(Clone, Copy)]
enum Format {
    Ids,
    Table,
    Json,
}

/// Containers that cannot be read are listed too; stderr says why they cannot, and the status is 1.
pub fn list(global: &Global, arguments: Arguments) -> Result<u8> {
    let name = arguments.value("format").map_or("table".into(), |format| format.to_string_lossy());
    let format = match &*name {
        _ if arguments.is_set("quiet") => Format::Ids,
        "json" => Format::Json,
        "table" => Format::Table,
        other => return Err(Error::formatted(format_args!("--format {other}: must be table or json"))),
    };
    let root = root(global);
    let ids = root.ids()?;
    let mut unreadable = Vec::new();
    let mut written = Ok(());
    let text = root.survey(&ids, &mut |seen, text| {
        let result = match seen {
            Seen::Known(record, status) => write(format, &StateDocument::new(record, status), text),
            Seen::Unknown(id, error) => {
                unreadable.push(format!("container {id}: {error}"));
                write(format, &StateDocument::unknown(id, &Map::default()), text)
            }
        };
        written = std::mem::replace(&mut written, Ok(())).and(result);
    })?;
    written?;
    match format {
        Format::Ids => print(&text)?,
        Format::Json => print(&["[", text.strip_suffix(',').unwrap_or_default(), "]\n"].concat())?,
        Format::Table => print(&table(COLUMNS, &[HEAD, &text].concat()))?,
    }
    for error in &unreadable {
        global.log.write("error", error);
        eprintln!("pillbox: {error}");
    }
    Ok(u8::from(!unreadable.is_empty()))
}

/// The head of the table, and how many columns it has.
const HEAD: &str = "ID\0PID\0STATUS\0BUNDLE\0CREATED\0OWNER\0";
const COLUMNS: usize = 6;

fn write(format: Format, document: &StateDocument<'_>, text: &mut String) -> Result<()> {
    match format {
        Format::Ids => text.extend([document.id, "\n"]),
        Format::Json => text.extend([&*json::to_string(document)?, ","]),
        Format::Table => {
            let StateDocument { id, pid, status, bundle, created, owner, .. } = document;
            // None of these can contain a NUL.
            for cell in [id, &*pid.to_string(), status, bundle, created, owner] {
                text.extend([cell, "\0"]);
            }
        }
    }
    Ok(())
}
