//! What an archive of `save` has of an image: what it says of itself, its history, and the files of its layers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use pillbox_engine::Digest;
use pillbox_engine::image::Platform;
use pillbox_engine::layer::tar::{Archive, Entry, EntryKind};
use pillbox_engine::stop::Stop;
use serde_json::{Value, json};

/// What was made then is dated by the clock.
const CLOCK: std::ops::Range<i64> = 1_700_000_000..4_000_000_000;

/// The image as it is recorded.
pub fn describe(archive: &Path) -> Value {
    let files = contents(archive);
    let document = |name: &str| -> Value { serde_json::from_slice(&files[name]).expect("JSON") };
    let manifest = &document("manifest.json")[0];
    let name = |value: &Value| value.as_str().expect("a name").to_string();
    let config = document(&name(&manifest["Config"]));
    let layers = manifest["Layers"].as_array().expect("layers");
    let mut layers = layers.iter().map(|layer| listing(&files[&name(layer)]));
    let history = config["history"].as_array().cloned().unwrap_or_default();
    let steps: Vec<Value> = history
        .iter()
        .map(|line| {
            let is_empty = line["empty_layer"].as_bool().unwrap_or(false);
            let layer = (!is_empty).then(|| layers.next().expect("a layer for each line that has made one"));
            // The same on every machine.
            let words = line["created_by"].as_str();
            let words = words.map(|words| words.replace(&Platform::of_machine().to_string(), "PLATFORM"));
            json!({ "line": words, "comment": line["comment"], "layer": layer })
        })
        .collect();
    assert_eq!(layers.next(), None, "a layer without a line");
    let mut own = serde_json::Map::new();
    for (name, value) in config.as_object().expect("an object") {
        let elsewhere = ["created", "history", "rootfs", "config", "architecture", "variant"];
        if !elsewhere.contains(&name.as_str()) {
            own.insert(name.clone(), value.clone());
        }
    }
    let config = config["config"].as_object().cloned().unwrap_or_default();
    json!({ "image": own, "config": config, "steps": steps })
}

fn contents(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = Archive::new(File::open(archive).expect("archive"));
    let mut files = BTreeMap::new();
    while let Some(entry) = archive.next_entry().expect("entry") {
        if entry.kind == EntryKind::File {
            let name = String::from_utf8(entry.path.clone()).expect("a name");
            files.insert(name, content(&mut archive, &entry));
        }
    }
    files
}

fn content(archive: &mut Archive<impl Read>, entry: &Entry) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(entry.size).expect("a size")];
    let mut at = 0;
    while at < content.len() {
        match archive.read_content(&mut content[at..]).expect("content") {
            0 => panic!("the archive is cut"),
            length => at += length,
        }
    }
    content
}

/// One line for each entry, in order of their paths; `base` for the layer with the root file system.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut archive = Archive::new(pillbox_engine::layer::uncompress(tar, &Stop::default()).expect("a tar"));
    let mut lines = BTreeMap::new();
    let (mut links, mut names) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    while let Some(entry) = archive.next_entry().expect("entry") {
        let path = plain(&entry.path);
        if path == "bin/busybox" {
            return vec!["base".to_string()];
        }
        let file = if entry.kind == EntryKind::File { content(&mut archive, &entry) } else { Vec::new() };
        if let EntryKind::HardLink(to) = &entry.kind {
            links.push((path, plain(to)));
            continue;
        }
        // What says that something was removed has no mode and no time of its own.
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        match name.strip_prefix(".wh.") {
            Some(".wh..opq") => lines.insert(path.clone(), format!("{folder} is hidden")),
            Some(name) => lines.insert(path.clone(), format!("{name} is removed")),
            None => lines.insert(path, line(&entry, &file)),
        };
    }
    // Which of a file's names comes first does not matter.
    for (path, to) in links {
        names.entry(to).or_default().push(path);
    }
    for (first, mut others) in names {
        let text = lines.remove(&first).expect("what a link leads to");
        others.push(first);
        others.sort();
        for other in others.iter().skip(1) {
            lines.insert(other.clone(), format!("= {}", others[0]));
        }
        lines.insert(others[0].clone(), text);
    }
    lines.into_iter().map(|(path, line)| format!("/{path} {line}")).collect()
}

fn plain(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    path.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/').to_string()
}

fn line(entry: &Entry, content: &[u8]) -> String {
    let kind = match &entry.kind {
        EntryKind::File => format!("file {} {}", entry.size, &Digest::of(content).hex()[..12]),
        EntryKind::Folder => "folder".to_string(),
        EntryKind::SymbolicLink(to) => format!("-> {}", String::from_utf8_lossy(to)),
        EntryKind::HardLink(_) => String::new(),
        EntryKind::Character(device) => format!("character {}:{}", device.major, device.minor),
        EntryKind::Block(device) => format!("block {}:{}", device.major, device.minor),
        EntryKind::Fifo => "fifo".to_string(),
    };
    let time = match entry.mtime.seconds {
        seconds if CLOCK.contains(&seconds) => "now".to_string(),
        seconds => seconds.to_string(),
    };
    let mut line = format!("{:o} {}:{} {time} {kind}", entry.mode, entry.uid, entry.gid);
    for (name, value) in &entry.xattrs {
        line += &format!(" {}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    }
    line
}
