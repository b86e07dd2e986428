//! images: which images there are.

use std::time::Duration;

use serde_json::{Value, json};

use super::format::{Format, Heads};
use super::image_filter::Filter;
use super::table::{columns, human_size};
use super::{Arguments, Command, Flag, Global, print, tell_broken};
use crate::container::span;
use crate::error::Result;
use crate::order;
use crate::reference::Reference;
use crate::store::ImageRecord;
use crate::time::{Moment, spoken};

pub const COMMAND: Command = Command {
    name: "images",
    aliases: &["image ls", "image list"],
    operands: "[REPOSITORY[:TAG]]",
    operand_count: 0..=1,
    help: "list images",
    flags: &[&[
        Flag { long: "all", short: Some('a'), value: None, help: "all images (there are no hidden ones)" },
        Flag { long: "quiet", short: Some('q'), value: None, help: "ids alone" },
        Flag { long: "no-trunc", short: None, value: None, help: "nothing is shortened" },
        Flag { long: "digests", short: None, value: None, help: "digests as well" },
        Flag {
            long: "filter",
            short: Some('f'),
            value: Some("NAME=VALUE"),
            help: "dangling=, label=, reference=, before=, since=",
        },
        Flag { long: "format", short: None, value: Some("FORMAT"), help: "json, or fields as {{.ID}}" },
    ]],
    ends_at_operand: false,
    run: images,
};

/// Those of a table come first, in their order.
const HEADS: &Heads = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("CreatedAt", "CREATED AT"),
];

/// What stands for a name that is not there.
const NONE: &str = "<none>";

fn images(global: &Global, arguments: &Arguments) -> Result<u8> {
    let store = global.store()?;
    let format = Format::parse(arguments.text("format")?)?;
    let filter = Filter::parse(&store, &arguments.texts("filter")?, arguments.operand(0)?)?;
    let (mut records, broken) = store.images_and_broken()?;
    tell_broken(&broken);
    let mut wrong = Ok(());
    records.retain(|record| {
        filter.accepts(&store, record).unwrap_or_else(|error| {
            wrong = Err(error);
            false
        })
    });
    wrong?;
    let mut dated: Vec<Dated> =
        records.into_iter().map(|record| Dated { created: record.moment(), record }).collect();
    order::sort_by_key(&mut dated, |one| std::cmp::Reverse(one.created));
    let whole = arguments.is_set("no-trunc");
    if arguments.is_set("quiet") {
        let mut ids: Vec<String> = dated.iter().map(|one| shown_id(&one.record, whole)).collect();
        ids.dedup();
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let now = Moment::now();
    if format == Format::Table {
        let with_digests = arguments.is_set("digests");
        let shown = HEADS[..6].iter().filter(|(field, _)| with_digests || *field != "Digest");
        let heads = shown.map(|(_, head)| head.to_string()).collect();
        let lines = dated.iter().map(|one| cells(one, whole, with_digests, now));
        return print(&columns(&std::iter::once(heads).chain(lines).collect::<Vec<_>>()));
    }
    let rows: Vec<Value> = dated.iter().map(|one| fields(one, whole, now)).collect();
    print(&format.show(&rows, HEADS, &[])?)
}

/// An image, and when it was made.
struct Dated {
    created: Option<Moment>,
    record: ImageRecord,
}

/// Repository and tag, as people write them.
pub fn repository_and_tag(record: &ImageRecord) -> (String, String) {
    match record.reference() {
        Some(Reference { repository, tag, .. }) => {
            (repository.familiar(), tag.unwrap_or_else(|| NONE.to_string()))
        }
        None => (NONE.to_string(), NONE.to_string()),
    }
}

fn shown_id(record: &ImageRecord, whole: bool) -> String {
    if whole { record.id.to_string() } else { record.id.digest().short() }
}

/// How long ago a moment was.
pub fn ago(moment: Option<Moment>, now: Moment) -> String {
    match moment {
        Some(moment) => format!("{} ago", span(Duration::from_nanos(now.0.saturating_sub(moment.0)))),
        None => "N/A".to_string(),
    }
}

fn digest(record: &ImageRecord) -> String {
    record.repo_digest.map_or(NONE.to_string(), |digest| digest.to_string())
}

/// What the table shows, in its order.
fn cells(one: &Dated, whole: bool, with_digest: bool, now: Moment) -> Vec<String> {
    let Dated { created, record } = one;
    let (repository, tag) = repository_and_tag(record);
    let digest = with_digest.then(|| digest(record));
    let rest = [shown_id(record, whole), ago(*created, now), human_size(record.size)];
    [repository, tag].into_iter().chain(digest).chain(rest).collect()
}

fn fields(one: &Dated, whole: bool, now: Moment) -> Value {
    let Dated { created, record } = one;
    let (repository, tag) = repository_and_tag(record);
    json!({
        "ID": shown_id(record, whole),
        "Repository": repository,
        "Tag": tag,
        "Digest": digest(record),
        "CreatedSince": ago(*created, now),
        "CreatedAt": created.map_or("N/A".to_string(), |created| spoken(created.whole_second())),
        "Size": human_size(record.size),
        // How many containers are made of it, and what it shares with others: Docker tells neither here.
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "VirtualSize": human_size(record.size),
        "Platform": record.platform.to_string(),
    })
}
