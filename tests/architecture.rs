//! The rooms keep their order: in each crate they stand in a row, a room uses only those that stand before it, and within a room no
//! files use each other in a circle. ARCHITECTURE.md lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of a source folder, from the bottom up.
struct House {
    folder: &'static str,
    rooms: &'static [&'static str],
    /// Whether a room may be one file.
    has_small_rooms: bool,
    /// Files beside the rooms, which may use all of them.
    top: &'static [&'static str],
}

const RUNTIME: House = House {
    folder: "runtime/src",
    rooms: &[
        "error",
        "text",
        "sys",
        "root",
        "oci",
        "validate",
        "seccomp",
        "resources",
        "plan",
        "explain",
        "host",
        "cgroup",
        "console",
        "spawn",
        "state",
        "container",
        "check",
    ],
    has_small_rooms: false,
    top: &["lib.rs"],
};

const INIT: House = House {
    folder: "init/src",
    rooms: &[
        "mem",
        "tree",
        "wire",
        "sys",
        "plan",
        "report",
        "failure",
        "path",
        "descriptor",
        "channel",
        "copy_up",
        "mount",
        "device",
        "identity",
        "attribute",
        "reaper",
        "program",
        "unmount",
        "entry",
        "execute",
    ],
    has_small_rooms: true,
    top: &["lib.rs", "main.rs"],
};

const NETWORK: House = House {
    folder: "network/src",
    rooms: &[
        "error",
        "sys",
        "cidr",
        "ip",
        "port",
        "network",
        "kernel",
        "attachment",
        "request",
        "dns",
        "link",
        "filter",
        "netconf",
        "cni",
        "namespace",
        "firewalld",
        "responder",
        "host",
        "foreign",
        "tracked",
        "rootless",
        "store",
        "subnet",
        "bridge",
        "passage",
        "bring_up",
        "detach",
        "allot",
        "attach",
        "connection",
        "inspect",
        "plugin",
    ],
    has_small_rooms: true,
    top: &["lib.rs"],
};

const ENGINE: House = House {
    folder: "engine/src",
    rooms: &[
        "error",
        "message",
        "thread",
        "time",
        "digest",
        "reference",
        "registries",
        "image",
        "deletion",
        "ids",
        "names",
        "layer",
        "forward",
        "inside",
        "store",
        "archive",
        "registry",
        "transfer",
        "container",
        "build",
        "command",
        "api",
    ],
    has_small_rooms: true,
    top: &["lib.rs", "main.rs"],
};

/// A name in a source text, and its line.
#[derive(Debug, PartialEq, Eq)]
struct Mention {
    /// From the crate on: `["state", "journal"]` in `crate::state::journal::Entry`.
    path: Vec<String>,
    line: usize,
}

#[test]
fn no_room_of_the_runtime_uses_one_that_stands_above_it() {
    let wrong = RUNTIME.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_part_of_init_uses_one_that_stands_above_it() {
    let wrong = INIT.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_of_the_networks_uses_one_that_stands_above_it() {
    let wrong = NETWORK.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_of_the_engine_uses_one_that_stands_above_it() {
    let wrong = ENGINE.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Programs that embed the library decide what it learns from the environment.
#[test]
fn the_library_reads_the_environment_where_its_name_says_so() {
    const READERS: [&str; 2] = ["sys/surroundings.rs", "state/root.rs"];
    for path in sources(Path::new(RUNTIME.folder)) {
        let text = fs::read_to_string(&path).expect("read a source file");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let reads = ["env::var", "env::vars", "env::current_dir", "env::args", "env::home_dir"];
        let is_test = path.to_string_lossy().ends_with("tests.rs");
        let is_reader = is_test || READERS.iter().any(|reader| path.ends_with(reader));
        assert!(is_reader || !reads.iter().any(|call| code.contains(call)), "{}", path.display());
    }
}

#[test]
fn every_room_says_what_belongs_there() {
    for room in RUNTIME.rooms {
        let path = Path::new(RUNTIME.folder).join(room).join("mod.rs");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.starts_with("//! "), "{}: what belongs in this room?", path.display());
    }
}

#[test]
fn an_arrow_against_the_order_is_seen() {
    let text = "use crate::text::{json, time};\n// crate::container\nuse crate::{\n    error::Result,\n    state::{Root, Status},\n};\n\
                fn f() { crate::check::look(); }\n#[cfg(test)]\nmod tests { use crate::container::create; }\n";
    let mentions = mentions(&["sys".into(), "signal".into()], text);
    let found: Vec<_> = mentions.iter().map(|mention| (mention.path[0].as_str(), mention.line)).collect();
    assert_eq!(found, [("text", 1), ("text", 1), ("error", 3), ("state", 3), ("state", 3), ("check", 7)]);
    let wrong: BTreeSet<_> = mentions
        .iter()
        .filter(|mention| !RUNTIME.allows("sys", mention))
        .map(|mention| mention.path[0].as_str())
        .collect();
    assert_eq!(wrong, BTreeSet::from(["check", "state"]));
}

#[test]
fn a_circle_of_files_is_seen() {
    let mention = |module: &[&str], text| {
        let module: Vec<String> = module.iter().map(ToString::to_string).collect();
        mentions(&module, text).into_iter().map(|mention| mention.path.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(
        mention(&["state", "root"], "use super::{StateDirectory, record::Record};"),
        ["state::StateDirectory", "state::record::Record"]
    );
    assert_eq!(mention(&["state", "a", "b"], "use super::super::record;"), ["state::record"]);
    let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")];
    let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
    for (from, to) in edges {
        graph.entry(from.into()).or_default().insert(to.into());
    }
    assert_eq!(circle(&graph), Some(vec!["b".to_string(), "c".to_string()]));
    graph.remove("c");
    assert_eq!(circle(&graph), None);
}

impl House {
    /// What stands in no room, every arrow against the order, every circle in a room.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        // Of each room, which of its files use which.
        let mut files = BTreeMap::<String, BTreeMap<String, BTreeSet<String>>>::new();
        for path in sources(Path::new(self.folder)) {
            let inside = path.strip_prefix(self.folder).expect("below the folder");
            if self.top.iter().any(|top| Path::new(top) == inside) {
                continue;
            }
            let module = module_of(inside);
            let Some(room) = module.first().filter(|room| self.rooms.contains(&room.as_str())) else {
                wrong.push(format!("{}: stands in no room that this test knows", path.display()));
                continue;
            };
            if inside.parent() == Some(Path::new("")) && !self.has_small_rooms {
                wrong.push(format!("{}: a room is a folder", path.display()));
            }
            if inside.to_string_lossy().ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("read a source file");
            for mention in mentions(&module, &text) {
                let to = &mention.path[0];
                if to != room && !self.allows(room, &mention) {
                    wrong.push(format!(
                        "{}:{}: {room} uses {to}, which stands above it",
                        path.display(),
                        mention.line
                    ));
                }
                if let (Some(file), Some(other)) = (module.get(1), mention.path.get(1).filter(|_| to == room))
                {
                    files
                        .entry(room.clone())
                        .or_default()
                        .entry(file.clone())
                        .or_default()
                        .insert(other.clone());
                }
            }
        }
        for (room, mut graph) in files {
            // What is no file is a name that the room's face hands on.
            let known: BTreeSet<String> = graph.keys().cloned().collect();
            for (file, used) in &mut graph {
                used.retain(|other| known.contains(other) && other != file);
            }
            if let Some(circle) = circle(&graph) {
                wrong.push(format!("{}/{room}: a circle of files: {}", self.folder, circle.join(", ")));
            }
        }
        wrong
    }

    /// Names that are no rooms are re-exports of the crate's face: no room may use those either.
    fn allows(&self, from: &str, mention: &Mention) -> bool {
        let place = |room: &str| self.rooms.iter().position(|known| *known == room);
        // The face of init's library, for its own parts.
        if self.has_small_rooms && place(&mention.path[0]).is_none() {
            return true;
        }
        place(&mention.path[0]).is_some_and(|to| place(from).is_some_and(|from| to <= from))
    }
}

/// The files that use each other in the first circle that there is, sorted.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let reached = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            for other in graph.get(file).into_iter().flatten() {
                if reached.insert(other.clone()) {
                    next.push(other);
                }
            }
        }
        reached
    };
    let first = graph.keys().find(|file| reached(file).contains(*file))?;
    let of_circle = |other: &&String| reached(other).contains(first);
    Some(reached(first).iter().filter(of_circle).cloned().collect())
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("read a source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The module that a file is, from the crate on.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// The paths from `crate` or `super` on that a module's text names outside of its tests and comments.
fn mentions(module: &[String], text: &str) -> Vec<Mention> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut mentions = Vec::new();
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before)) {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let mut rest = &code[at..];
            let mut base = module.to_vec();
            if let Some(after) = rest.strip_prefix("crate::") {
                (base, rest) = (Vec::new(), after);
            }
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            for names in names(rest) {
                let path = base.iter().cloned().chain(names).collect();
                mentions.push(Mention { path, line });
            }
        }
    }
    mentions.retain(|mention| !mention.path.is_empty());
    mentions.sort_by_key(|mention| mention.line);
    mentions
}

/// The names of a path, or of each path in braces.
fn names(rest: &str) -> Vec<Vec<String>> {
    let name = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        let first = name(rest);
        let after = &rest[first.len()..];
        let Some(after) = after.strip_prefix("::").filter(|_| !first.is_empty()) else {
            return vec![vec![first].into_iter().filter(|name| !name.is_empty()).collect()];
        };
        let deeper = names(after).into_iter();
        return deeper.map(|deeper| [first.clone()].into_iter().chain(deeper).collect()).collect();
    };
    let mut found = names(group);
    let mut depth = 0;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.extend(names(&group[at + 1..])),
            _ => {}
        }
    }
    found.retain(|names| !names.is_empty());
    found
}
