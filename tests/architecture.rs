//! The rooms keep their order: in each crate they stand in a row, a room uses only those that stand before it, and in no folder of a
//! room files use each other in a circle. ARCHITECTURE.md lists the rooms.

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

const NETLINK: House = House {
    folder: "netlink/src",
    rooms: &["error", "attribute", "reply", "field", "message", "socket", "route", "nft", "conntrack"],
    has_small_rooms: true,
    top: &["lib.rs"],
};

const ENGINE: House = House {
    folder: "engine/src",
    rooms: &[
        "error",
        "message",
        "order",
        "folder",
        "file",
        "output",
        "thread",
        "program",
        "stop",
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
fn no_room_of_netlink_uses_one_that_stands_above_it() {
    let wrong = NETLINK.wrong();
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
        let code = code_of(&text);
        let reads = ["env::var", "env::vars", "env::current_dir", "env::args", "env::home_dir"];
        let is_test = path.to_string_lossy().ends_with("tests.rs");
        let is_reader = is_test || READERS.iter().any(|reader| path.ends_with(reader));
        assert!(is_reader || !reads.iter().any(|call| code.contains(call)), "{}", path.display());
    }
}

/// boxd's own limits are not for others.
#[test]
fn the_engine_starts_programs_in_one_place() {
    for path in sources(Path::new(ENGINE.folder)) {
        let text = fs::read_to_string(&path).expect("read a source file");
        let is_place = path.ends_with("program.rs") && path.parent() == Some(Path::new(ENGINE.folder));
        assert!(is_place || !code_of(&text).contains("Command::new("), "{}: use program()", path.display());
    }
}

/// In up to three lines, and behind them what it may use.
#[test]
fn every_room_says_what_belongs_there() {
    let rooms = RUNTIME.rooms;
    for (place, room) in rooms.iter().enumerate() {
        let path = Path::new(RUNTIME.folder).join(room).join("mod.rs");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let said: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let uses = match place {
            0 => " May use no other room.".to_string(),
            1 => format!(" May use `{}`.", rooms[0]),
            last if last + 1 == rooms.len() => " May use every other room.".to_string(),
            _ => format!(" May use `{}` and every room below it.", rooms[place - 1]),
        };
        let [what @ .., "", last] = &said[..] else {
            panic!("{}: what belongs in this room?", path.display())
        };
        assert!((1..=3).contains(&what.len()), "{}: {} lines", path.display(), what.len());
        assert_eq!(*last, uses, "{}", path.display());
    }
}

#[test]
fn an_arrow_against_the_order_is_seen() {
    let text = "use crate::text::{json, time};\n// crate::container\nuse crate::{\n    error::Result,\n    state::{Root, Status},\n};\n\
                fn f() { crate::check::look(); }\n#[cfg(test)]\nmod tests {\n    use crate::container::create;\n}\n";
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
    // By a name that the folder's face hands on.
    let texts =
        [("state", "mod.rs", "pub use record::{Record, Stored};"), ("state::record", "record.rs", "")];
    let texts = texts.map(|(module, file, text)| {
        (module.split("::").map(String::from).collect(), (PathBuf::from(file), text.to_string()))
    });
    let handed_on = handed_on(&BTreeMap::from(texts));
    let path = ["state", "Record", "of"].map(String::from);
    assert_eq!(defined_at(&path, &handed_on).join("::"), "state::record::Record::of");
    let own = ["state", "root"].map(String::from);
    let expected = (vec!["state".to_string()], "root".to_string(), "record".to_string());
    assert_eq!(side_by_side(&own, &defined_at(&path, &handed_on)), Some(expected));
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
        let texts = self.texts();
        let handed_on = handed_on(&texts);
        // Of each folder, which of its files and folders use which.
        let mut folders = BTreeMap::<Vec<String>, BTreeMap<String, BTreeSet<String>>>::new();
        for (module, (path, text)) in &texts {
            let Some(room) = module.first().filter(|room| self.rooms.contains(&room.as_str())) else {
                wrong.push(format!("{}: stands in no room that this test knows", path.display()));
                continue;
            };
            if module.len() == 1 && !path.ends_with("mod.rs") && !self.has_small_rooms {
                wrong.push(format!("{}: a room is a folder", path.display()));
            }
            if path.to_string_lossy().ends_with("tests.rs") {
                continue;
            }
            for mention in mentions(module, text) {
                let to = &mention.path[0];
                if to != room && !self.allows(room, &mention) {
                    let line = mention.line;
                    wrong.push(format!("{}:{line}: {room} uses {to}, which stands above it", path.display()));
                }
                let to = defined_at(&mention.path, &handed_on);
                if let Some((folder, from, to)) = side_by_side(module, &to) {
                    folders.entry(folder).or_default().entry(from).or_default().insert(to);
                }
            }
        }
        for (folder, mut graph) in folders {
            // What is no file is a name of the folder's face.
            let known: BTreeSet<String> = graph.keys().cloned().collect();
            for (file, used) in &mut graph {
                used.retain(|other| known.contains(other) && other != file);
            }
            if let Some(circle) = circle(&graph) {
                let folder = folder.join("/");
                wrong.push(format!("{}/{folder}: a circle of files: {}", self.folder, circle.join(", ")));
            }
        }
        wrong
    }

    /// The texts of all modules but those above the rooms, with their files.
    fn texts(&self) -> BTreeMap<Vec<String>, (PathBuf, String)> {
        let mut texts = BTreeMap::new();
        for path in sources(Path::new(self.folder)) {
            let inside = path.strip_prefix(self.folder).expect("below the folder");
            if !self.top.iter().any(|top| Path::new(top) == inside) {
                let text = fs::read_to_string(&path).expect("read a source file");
                texts.insert(module_of(inside), (path, text));
            }
        }
        texts
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

/// The names that the faces of folders hand on, with the place where each is defined: `state::Record` from
/// `state::record::Record`.
fn handed_on(texts: &BTreeMap<Vec<String>, (PathBuf, String)>) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut handed_on = BTreeMap::new();
    for (module, (_, text)) in texts {
        let code = code_of(text);
        for used in code.split('\n').enumerate().filter_map(|(line, text)| {
            let visible = text.strip_prefix("pub ").or_else(|| text.split_once(") ").map(|(_, rest)| rest));
            visible.unwrap_or(text).starts_with("use ").then_some(line)
        }) {
            let rest = code.split_inclusive('\n').skip(used).collect::<String>();
            let Some((_, rest)) = rest.split_once("use ") else { continue };
            for names in names(rest) {
                let (Some(file), Some(name)) = (names.first(), names.last()) else { continue };
                if names.len() > 1 && texts.contains_key(&joined(module, std::slice::from_ref(file))) {
                    handed_on.insert(joined(module, std::slice::from_ref(name)), joined(module, &names));
                }
            }
        }
    }
    handed_on
}

fn joined(module: &[String], names: &[String]) -> Vec<String> {
    [module, names].concat()
}

/// Where what a path names is defined, if a face hands it on.
fn defined_at(path: &[String], handed_on: &BTreeMap<Vec<String>, Vec<String>>) -> Vec<String> {
    let place = (1..=path.len()).rev().find_map(|length| Some((length, handed_on.get(&path[..length])?)));
    place.map_or_else(|| path.to_vec(), |(length, place)| joined(place, &path[length..]))
}

/// The folder in which a module and what it uses stand side by side, and what each is there; none where one stands in the other.
fn side_by_side(module: &[String], used: &[String]) -> Option<(Vec<String>, String, String)> {
    let depth = module.iter().zip(used).take_while(|(own, other)| own == other).count();
    let (own, other) = (module.get(depth)?, used.get(depth)?);
    (depth > 0).then(|| (module[..depth].to_vec(), own.clone(), other.clone()))
}

/// A module's text without its tests, comments and what they say.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_tests =
            |next: &&str| next.trim_start_matches("pub(crate) ").starts_with("mod ") && next.ends_with('{');
        if line == "#[cfg(test)]" && lines.peek().is_some_and(is_tests) {
            break;
        }
        code.extend([line.split("//").next().unwrap_or_default(), "\n"]);
    }
    code
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
    let code = code_of(text);
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
